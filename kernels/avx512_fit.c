/* avx512_fit.c - codes, levels and moments in one pass, in AVX-512.
 *
 * A table of 64 intervals tells a code but for one comparison. The sums are kept in fp32 over a few hundred values, as
 * those of the error e = z - step * level and not of z itself: nothing cancels, and double takes over from there. */
#include "kernels/internal.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))

enum { PIECE = 256 };

/* A coder in registers; the tables of levels are those of avx512_coding.c. */
typedef struct fit_tables {
    __m512i first, fine_first[2];
    __m512 bounds, fine_bounds[2], fine_a, inv_v;
    __m512 a, v, fine[2];
} fit_tables;

INLINE fit_tables load_coder(const tq_coder *c) {
    const tq_levels *l = c->levels;
    fit_tables t;
    t.first = _mm512_loadu_si512(c->first);
    t.bounds = _mm512_loadu_ps(c->bounds);
    t.fine_a = _mm512_loadu_ps(c->search.a);
    t.inv_v = _mm512_loadu_ps(c->inv_v);
    t.a = _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(_mm256_loadu_si256((const __m256i *)l->a)));
    t.v = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)l->v)));
    for (int k = 0; k < 2; k++) {
        t.fine_first[k] = _mm512_loadu_si512(c->fine_first[k]);
        t.fine_bounds[k] = _mm512_loadu_ps(c->fine_bounds[k]);
        t.fine[k] = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)l->fine[k])));
    }
    return t;
}

/* 0 .. 63 for NaN and whatever lies outside too. */
INLINE __m512i interval(__m512 x) {
    const __m512 last = _mm512_set1_ps(63);
    return _mm512_cvtps_epi32(_mm512_min_ps(_mm512_max_ps(x, _mm512_setzero_ps()), last));
}

/* The bytes above the lowest of a lane are the table's entry 0, and cut off. */
INLINE __m512i first_of(__m512i index, __m512i table) {
    return _mm512_and_si512(_mm512_permutexvar_epi8(index, table), _mm512_set1_epi32(15));
}

INLINE __m512i add_one(__m512i code, __mmask16 m) {
    return _mm512_mask_add_epi32(code, m, code, _mm512_set1_epi32(1));
}

INLINE __m512i coarse_code(const fit_tables *t, __m512 z, __m512 scale, __m512 offset) {
    __m512i code = first_of(interval(_mm512_fmadd_ps(z, scale, offset)), t->first);
    return add_one(code, _mm512_cmp_ps_mask(_mm512_permutexvar_ps(code, t->bounds), z, _CMP_LT_OQ));
}

/* index: the coarse code; 16 is added to the residual code's index into two tables of outer cells. */
INLINE __m512i fine_code(const fit_tables *t, __m512i code, __m512i outer, __m512 z) {
    __m512 x =
        _mm512_mul_ps(_mm512_sub_ps(z, _mm512_permutexvar_ps(code, t->fine_a)), _mm512_permutexvar_ps(code, t->inv_v));
    __m512i index = _mm512_add_epi32(interval(x), _mm512_slli_epi32(outer, 2));
    __m512i r = _mm512_permutex2var_epi8(t->fine_first[0], index, t->fine_first[1]);
    r = _mm512_and_si512(r, _mm512_set1_epi32(15));
    __m512 bound = _mm512_permutex2var_ps(t->fine_bounds[0], _mm512_add_epi32(r, outer), t->fine_bounds[1]);
    return add_one(r, _mm512_cmp_ps_mask(bound, x, _CMP_LT_OQ));
}

/* 16 where the code is 0 or 15: the one place where code + 1 has no other bit than 16 or 1. */
INLINE __m512i outer_of(__m512i code) {
    const __m512i low = _mm512_set1_epi32(14);
    __mmask16 inner = _mm512_test_epi32_mask(_mm512_add_epi32(code, _mm512_set1_epi32(1)), low);
    return _mm512_mask_set1_epi32(_mm512_set1_epi32(16), inner, 0);
}

typedef struct fit_sums {
    __m512 ee, ec, cc;
} fit_sums;

INLINE void fit16(uint8_t *codes, uint8_t *fine, const float *z, __mmask16 m, const fit_tables *t, const tq_coder *c,
                  int residual, fit_sums *s) {
    __m512 x = _mm512_maskz_loadu_ps(m, z);
    __m512i code = coarse_code(t, x, _mm512_set1_ps(c->scale), _mm512_set1_ps(c->offset));
    __m512 level = _mm512_permutexvar_ps(code, t->a);
    _mm512_mask_cvtepi32_storeu_epi8(codes, m, code);
    if (residual) {
        __m512i outer = outer_of(code), r = fine_code(t, code, outer, x);
        __m512 shape = _mm512_permutex2var_ps(t->fine[0], _mm512_add_epi32(r, outer), t->fine[1]);
        level = _mm512_fmadd_ps(_mm512_permutexvar_ps(code, t->v), shape, level);
        _mm512_mask_cvtepi32_storeu_epi8(fine, m, r);
    }
    level = _mm512_maskz_mov_ps(m, level);
    __m512 e = _mm512_fnmadd_ps(_mm512_set1_ps(c->levels->step), level, x);
    s->ee = _mm512_fmadd_ps(e, e, s->ee);
    s->ec = _mm512_fmadd_ps(e, level, s->ec);
    s->cc = _mm512_fmadd_ps(level, level, s->cc);
}

INLINE void fit_piece(uint8_t *codes, uint8_t *fine, double sums[3], const float *z, size_t n, const fit_tables *t,
                      const tq_coder *c, int residual) {
    fit_sums s[2];
    for (int i = 0; i < 2; i++)
        s[i].ee = s[i].ec = s[i].cc = _mm512_setzero_ps();
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        fit16(codes + i, fine + i, z + i, 0xffff, t, c, residual, &s[0]);
        fit16(codes + i + 16, fine + i + 16, z + i + 16, 0xffff, t, c, residual, &s[1]);
    }
    for (; i < n; i += 16) {
        __mmask16 m = n - i >= 16 ? 0xffff : (__mmask16)((1u << (n - i)) - 1);
        fit16(codes + i, fine + i, z + i, m, t, c, residual, &s[0]);
    }
    double step = c->levels->step, ee = _mm512_reduce_add_ps(_mm512_add_ps(s[0].ee, s[1].ee));
    double ec = _mm512_reduce_add_ps(_mm512_add_ps(s[0].ec, s[1].ec));
    double cc = _mm512_reduce_add_ps(_mm512_add_ps(s[0].cc, s[1].cc));
    sums[0] += step * cc + ec;
    sums[1] += cc;
    sums[2] += ee + 2 * step * ec + step * step * cc;
}

static void encode_fit(uint8_t *codes, uint8_t *fine, double sums[3], const float *z, size_t n, const tq_coder *c) {
    if (!c->shortcut) {
        tq_encode_fit_with(tq_kernels_find("avx512"), codes, fine, sums, z, n, c);
        return;
    }
    const fit_tables t = load_coder(c);
    sums[0] = sums[1] = sums[2] = 0;
    for (size_t i = 0; i < n; i += PIECE) {
        size_t m = n - i < PIECE ? n - i : PIECE;
        if (c->search.count)
            fit_piece(codes + i, fine + i, sums, z + i, m, &t, c, 1);
        else
            fit_piece(codes + i, codes, sums, z + i, m, &t, c, 0);
    }
}

void tq_kernels_fill_avx512_fit(tq_kernels *k) {
    k->encode_fit = encode_fit;
}
#endif
