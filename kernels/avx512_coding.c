/* avx512_coding.c - Hadamard transform, codes, levels and whole tiles as floats, in AVX-512. Packing stays with AVX2.
 */
#include "kernels/internal.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))

static __mmask16 tail_mask(size_t n) {
    return n >= 16 ? 0xffff : (__mmask16)((1u << n) - 1);
}

/* One stage inside a register: lane i meets lane i ^ h; the upper lane of a pair becomes lower - upper. */
INLINE __m512 stage(__m512 x, __m512 swapped, __mmask16 upper) {
    return _mm512_mask_sub_ps(_mm512_add_ps(x, swapped), upper, swapped, x);
}

INLINE __m512 stages_1_to_8(__m512 x) {
    x = stage(x, _mm512_permute_ps(x, 0xb1), 0xaaaa);
    x = stage(x, _mm512_permute_ps(x, 0x4e), 0xcccc);
    x = stage(x, _mm512_shuffle_f32x4(x, x, 0xb1), 0xf0f0);
    return stage(x, _mm512_shuffle_f32x4(x, x, 0x4e), 0xff00);
}

/* All stages of 16 * count values held in registers: y = scale * H (x * signs), signs NULL for none. */
INLINE void rotate_registers(float *y, const float *x, const float *signs, int count, float scale) {
    const __m512 s = _mm512_set1_ps(scale);
    __m512 v[16];
    for (int i = 0; i < count; i++) {
        v[i] = _mm512_loadu_ps(x + 16 * i);
        if (signs) v[i] = _mm512_mul_ps(v[i], _mm512_loadu_ps(signs + 16 * i));
        v[i] = stages_1_to_8(v[i]);
    }
    for (int h = 1; h < count; h *= 2) {
        for (int i = 0; i < count; i++) {
            if (i & h) continue;
            __m512 a = v[i], b = v[i + h];
            v[i] = _mm512_add_ps(a, b);
            v[i + h] = _mm512_sub_ps(a, b);
        }
    }
    for (int i = 0; i < count; i++)
        _mm512_storeu_ps(y + 16 * i, _mm512_mul_ps(v[i], s));
}

/* The stages h and 2h (or h alone) over memory in one pass. */
static void memory_stages(float *x, size_t n, size_t h, int two, float scale) {
    const __m512 s = _mm512_set1_ps(scale);
    size_t span = two ? 4 * h : 2 * h;
    for (size_t i = 0; i < n; i += span) {
        for (float *p = x + i; p < x + i + h; p += 16) {
            __m512 a = _mm512_loadu_ps(p), b = _mm512_loadu_ps(p + h);
            __m512 sum = _mm512_add_ps(a, b), diff = _mm512_sub_ps(a, b);
            if (two) {
                __m512 c = _mm512_loadu_ps(p + 2 * h), d = _mm512_loadu_ps(p + 3 * h);
                __m512 sum2 = _mm512_add_ps(c, d), diff2 = _mm512_sub_ps(c, d);
                _mm512_storeu_ps(p + 2 * h, _mm512_mul_ps(_mm512_sub_ps(sum, sum2), s));
                _mm512_storeu_ps(p + 3 * h, _mm512_mul_ps(_mm512_sub_ps(diff, diff2), s));
                sum = _mm512_add_ps(sum, sum2);
                diff = _mm512_add_ps(diff, diff2);
            }
            _mm512_storeu_ps(p, _mm512_mul_ps(sum, s));
            _mm512_storeu_ps(p + h, _mm512_mul_ps(diff, s));
        }
    }
}

static void hadamard_small(float *x, size_t n, float scale) {
    for (size_t h = 1; h < n; h *= 2) {
        for (size_t i = 0; i < n; i++) {
            if (i & h) continue;
            float a = x[i], b = x[i + h];
            x[i] = a + b;
            x[i + h] = a - b;
        }
    }
    for (size_t i = 0; i < n; i++)
        x[i] *= scale;
}

static void rotate_small(float *y, const float *x, const float *signs, size_t n, float scale) {
    for (size_t i = 0; i < n; i++)
        y[i] = signs ? x[i] * signs[i] : x[i];
    hadamard_small(y, n, scale);
}

INLINE void rotate_any(float *y, const float *x, const float *signs, size_t n, float scale) {
    switch (n) {
    case 16:
        rotate_registers(y, x, signs, 1, scale);
        return;
    case 32:
        rotate_registers(y, x, signs, 2, scale);
        return;
    case 64:
        rotate_registers(y, x, signs, 4, scale);
        return;
    case 128:
        rotate_registers(y, x, signs, 8, scale);
        return;
    case 256:
        rotate_registers(y, x, signs, 16, scale);
        return;
    default:
        break;
    }
    if (n < 16) {
        rotate_small(y, x, signs, n, scale);
        return;
    }
    for (size_t i = 0; i < n; i += 256)
        rotate_registers(y + i, x + i, signs ? signs + i : NULL, 16, 1);
    for (size_t h = 256; h < n; h *= 4)
        memory_stages(y, n, h, 2 * h < n, 4 * h >= n ? scale : 1);
}

static void hadamard(float *x, size_t n, float scale) {
    rotate_any(x, x, NULL, n, scale);
}

static void rotate(float *y, const float *x, const float *signs, size_t n, float scale) {
    rotate_any(y, x, signs, n, scale);
}

INLINE __m512i step(__m512i path, __m512 t, const float tree[16]) {
    __m512 bound = _mm512_permutexvar_ps(path, _mm512_loadu_ps(tree));
    __mmask16 below = _mm512_cmp_ps_mask(bound, t, _CMP_LT_OQ);
    path = _mm512_add_epi32(path, path);
    return _mm512_mask_or_epi32(path, below, path, _mm512_set1_epi32(1));
}

INLINE __m512i search(__m512i shape, __m512 t, float tree[4][16]) {
    __m512i path = shape;
    for (int s = 0; s < 4; s++)
        path = step(path, t, tree[s]);
    return _mm512_and_si512(path, _mm512_set1_epi32(15));
}

static void encode(uint8_t *codes, const float *z, size_t n, const float *bounds, int count) {
    float tree[4][16];
    if (count > 15) {
        for (size_t i = 0; i < n; i++) {
            unsigned code = 0;
            for (int j = 0; j < count; j++)
                code += bounds[j] < z[i];
            codes[i] = (uint8_t)code;
        }
        return;
    }
    tq_search_tree(tree, (const float *[2]){bounds, bounds}, count);
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 m = tail_mask(n - i);
        __m512i code = search(_mm512_setzero_si512(), _mm512_maskz_loadu_ps(m, z + i), tree);
        _mm512_mask_cvtepi32_storeu_epi8(codes + i, m, code);
    }
}

INLINE __m512i load_codes(const uint8_t *codes, __mmask16 m) {
    __m512i n = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(m, codes));
    return _mm512_and_si512(n, _mm512_set1_epi32(15));
}

/* 1 in the outer cells, n = 0 and n = 15. */
INLINE __m512i outer_cells(__m512i n) {
    const __m512i one = _mm512_set1_epi32(1), last = _mm512_set1_epi32(15);
    __mmask16 outer = _mm512_cmpeq_epi32_mask(n, _mm512_setzero_si512()) | _mm512_cmpeq_epi32_mask(n, last);
    return _mm512_maskz_mov_epi32(outer, one);
}

static void encode_fine(uint8_t *fine, const uint8_t *codes, const float *z, size_t n, const tq_fine_search *s) {
    float tree[4][16];
    tq_search_tree(tree, (const float *[2]){s->bounds[0], s->bounds[1]}, s->count);
    const __m512 a = _mm512_loadu_ps(s->a), inv_v = _mm512_loadu_ps(s->inv_v);
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 m = tail_mask(n - i);
        __m512i c = load_codes(codes + i, m);
        __m512 t = _mm512_sub_ps(_mm512_maskz_loadu_ps(m, z + i), _mm512_permutexvar_ps(c, a));
        t = _mm512_mul_ps(t, _mm512_permutexvar_ps(c, inv_v));
        _mm512_mask_cvtepi32_storeu_epi8(fine + i, m, search(outer_cells(c), t, tree));
    }
}

/* The tables of tq_levels as floats: every level is an integer below 2^15, so the arithmetic is exact. */
typedef struct level_tables {
    __m512 a, v, fine[2];
} level_tables;

INLINE level_tables load_levels(const tq_levels *l) {
    level_tables t;
    t.a = _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(_mm256_loadu_si256((const __m256i *)l->a)));
    t.v = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)l->v)));
    for (int k = 0; k < 2; k++)
        t.fine[k] = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)l->fine[k])));
    return t;
}

INLINE __m512 level16(const level_tables *t, const uint8_t *codes, const uint8_t *fine, __mmask16 m) {
    __m512i n = load_codes(codes, m);
    __m512 a = _mm512_permutexvar_ps(n, t->a);
    if (!fine) return a;
    __m512i index = _mm512_add_epi32(load_codes(fine, m), _mm512_slli_epi32(outer_cells(n), 4));
    __m512 f = _mm512_permutex2var_ps(t->fine[0], index, t->fine[1]);
    return _mm512_fmadd_ps(_mm512_permutexvar_ps(n, t->v), f, a);
}

static void levels(float *out, const uint8_t *codes, const uint8_t *fine, size_t n, const tq_levels *l) {
    const level_tables t = load_levels(l);
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 m = tail_mask(n - i);
        _mm512_mask_storeu_ps(out + i, m, level16(&t, codes + i, fine ? fine + i : NULL, m));
    }
}

static void moments(double sums[3], const float *z, const float *c, size_t n) {
    __m512d zc = _mm512_setzero_pd(), cc = zc, zz = zc;
    for (size_t i = 0; i < n; i += 8) {
        __mmask8 m = n - i >= 8 ? 0xff : (__mmask8)((1u << (n - i)) - 1);
        __m512d a = _mm512_cvtps_pd(_mm256_maskz_loadu_ps(m, z + i));
        __m512d b = _mm512_cvtps_pd(_mm256_maskz_loadu_ps(m, c + i));
        zc = _mm512_fmadd_pd(a, b, zc);
        cc = _mm512_fmadd_pd(b, b, cc);
        zz = _mm512_fmadd_pd(a, a, zz);
    }
    sums[0] = _mm512_reduce_add_pd(zc);
    sums[1] = _mm512_reduce_add_pd(cc);
    sums[2] = _mm512_reduce_add_pd(zz);
}

static void decode_tile(float *out, size_t ld, const tq_packed *p, size_t tile) {
    if (p->trellis) {
        tq_trellis_tile_avx512(out, ld, p, tile);
        return;
    }
    const level_tables t = load_levels(p->levels);
    const uint16_t *scales = tq_tile_scales(p, tile);
    const __m512 mul = _mm512_set1_ps(p->scale_mul * p->levels->step);
    size_t code_bytes = 64 * (size_t)p->code_bits, fine_bytes = 64 * (size_t)p->fine_bits;
    for (size_t b = 0; b < p->blocks; b++) {
        uint8_t codes[TQ_TILE_ROWS * TQ_BLOCK], fine[TQ_TILE_ROWS * TQ_BLOCK];
        float scale[TQ_TILE_ROWS];
        size_t index = tile * p->blocks + b;
        const uint16_t *group = scales + b / p->group_blocks * TQ_TILE_ROWS;
        _mm512_storeu_ps(scale, _mm512_mul_ps(mul, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)group))));
        tq_unpack_avx2(codes, TQ_BLOCK, p->codes + index * code_bytes, 1, p->code_bits);
        if (p->fine_bits) tq_unpack_avx2(fine, TQ_BLOCK, p->fine + index * fine_bytes, 1, p->fine_bits);
        for (size_t i = 0; i < TQ_TILE_ROWS * TQ_BLOCK; i += 16) {
            size_t row = i / TQ_BLOCK;
            __m512 level = level16(&t, codes + i, p->fine_bits ? fine + i : NULL, 0xffff);
            float *place = out + row * ld + b * TQ_BLOCK + i % TQ_BLOCK;
            _mm512_storeu_ps(place, _mm512_mul_ps(_mm512_set1_ps(scale[row]), level));
        }
    }
}

void tq_kernels_fill_avx512_coding(tq_kernels *k) {
    k->hadamard = hadamard;
    k->rotate = rotate;
    k->encode = encode;
    k->encode_fine = encode_fine;
    k->levels = levels;
    k->moments = moments;
    k->decode_tile = decode_tile;
}
#endif
