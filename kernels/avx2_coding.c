/* avx2_coding.c - Hadamard transform, codes and levels in AVX2. */
#include "kernels/internal.h"

#if defined(__x86_64__)
#include "kernels/avx2_tail.h"

#define INLINE static inline __attribute__((always_inline))

/* The first stages inside a register: lane i meets lane i ^ h; the upper lane of a pair becomes lower - upper. */
INLINE __m256 stages_1_to_4(__m256 x) {
    __m256 swapped = _mm256_permute_ps(x, 0xb1);
    x = _mm256_blend_ps(_mm256_add_ps(x, swapped), _mm256_sub_ps(swapped, x), 0xaa);
    swapped = _mm256_permute_ps(x, 0x4e);
    x = _mm256_blend_ps(_mm256_add_ps(x, swapped), _mm256_sub_ps(swapped, x), 0xcc);
    swapped = _mm256_permute2f128_ps(x, x, 0x01);
    return _mm256_blend_ps(_mm256_add_ps(x, swapped), _mm256_sub_ps(swapped, x), 0xf0);
}

/* All stages of 8 * count values held in registers. */
INLINE void hadamard_registers(float *x, int count, float scale) {
    const __m256 s = _mm256_set1_ps(scale);
    __m256 v[8];
    for (int i = 0; i < count; i++)
        v[i] = stages_1_to_4(_mm256_loadu_ps(x + 8 * i));
    for (int h = 1; h < count; h *= 2) {
        for (int i = 0; i < count; i++) {
            if (i & h) continue;
            __m256 a = v[i], b = v[i + h];
            v[i] = _mm256_add_ps(a, b);
            v[i + h] = _mm256_sub_ps(a, b);
        }
    }
    for (int i = 0; i < count; i++)
        _mm256_storeu_ps(x + 8 * i, _mm256_mul_ps(v[i], s));
}

/* The stages h and 2h (or h alone) over memory in one pass. */
static void memory_stages(float *x, size_t n, size_t h, int two, float scale) {
    const __m256 s = _mm256_set1_ps(scale);
    size_t span = two ? 4 * h : 2 * h;
    for (size_t i = 0; i < n; i += span) {
        for (float *p = x + i; p < x + i + h; p += 8) {
            __m256 a = _mm256_loadu_ps(p), b = _mm256_loadu_ps(p + h);
            __m256 sum = _mm256_add_ps(a, b), diff = _mm256_sub_ps(a, b);
            if (two) {
                __m256 c = _mm256_loadu_ps(p + 2 * h), d = _mm256_loadu_ps(p + 3 * h);
                __m256 sum2 = _mm256_add_ps(c, d), diff2 = _mm256_sub_ps(c, d);
                _mm256_storeu_ps(p + 2 * h, _mm256_mul_ps(_mm256_sub_ps(sum, sum2), s));
                _mm256_storeu_ps(p + 3 * h, _mm256_mul_ps(_mm256_sub_ps(diff, diff2), s));
                sum = _mm256_add_ps(sum, sum2);
                diff = _mm256_add_ps(diff, diff2);
            }
            _mm256_storeu_ps(p, _mm256_mul_ps(sum, s));
            _mm256_storeu_ps(p + h, _mm256_mul_ps(diff, s));
        }
    }
}

static void hadamard(float *x, size_t n, float scale) {
    if (n < 8) {
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
        return;
    }
    switch (n) {
    case 8:
        hadamard_registers(x, 1, scale);
        return;
    case 16:
        hadamard_registers(x, 2, scale);
        return;
    case 32:
        hadamard_registers(x, 4, scale);
        return;
    case 64:
        hadamard_registers(x, 8, scale);
        return;
    default:
        break;
    }
    for (size_t i = 0; i < n; i += 64)
        hadamard_registers(x + i, 8, 1);
    for (size_t h = 64; h < n; h *= 4)
        memory_stages(x, n, h, 2 * h < n, 4 * h >= n ? scale : 1);
}

static void rotate(float *y, const float *x, const float *signs, size_t n, float scale) {
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] * signs[i];
    hadamard(y, n, scale);
}

/* Steps 0 to 2 have at most 8 bounds, both shapes together; so has step 3 when there is one shape. */
INLINE __m256i search(__m256i path, __m256 t, const __m256 tree[5], int shapes) {
    for (int s = 0; s < 4; s++) {
        __m256 bound =
            s == 3 && shapes == 2 ? tq_lookup16(tree[3], tree[4], path) : _mm256_permutevar8x32_ps(tree[s], path);
        __m256i below = _mm256_castps_si256(_mm256_cmp_ps(bound, t, _CMP_LT_OQ));
        path = _mm256_sub_epi32(_mm256_add_epi32(path, path), below);
    }
    return _mm256_and_si256(path, _mm256_set1_epi32(15));
}

INLINE void load_tree(__m256 out[5], const float *bounds0, const float *bounds1, int count) {
    float tree[4][16];
    tq_search_tree(tree, (const float *[2]){bounds0, bounds1}, count);
    for (int s = 0; s < 4; s++)
        out[s] = _mm256_loadu_ps(tree[s]);
    out[4] = _mm256_loadu_ps(tree[3] + 8);
}

static void encode(uint8_t *codes, const float *z, size_t n, const float *bounds, int count) {
    if (count > 15) {
        for (size_t i = 0; i < n; i++) {
            unsigned code = 0;
            for (int j = 0; j < count; j++)
                code += bounds[j] < z[i];
            codes[i] = (uint8_t)code;
        }
        return;
    }
    __m256 tree[5];
    load_tree(tree, bounds, bounds, count);
    for (size_t i = 0; i < n; i += 8)
        tq_store8_u8(codes + i, n - i, search(_mm256_setzero_si256(), tq_load8(z + i, n - i), tree, 1));
}

INLINE __m256i load_codes(const uint8_t *codes, size_t n) {
    return _mm256_and_si256(tq_load8_u8(codes, n), _mm256_set1_epi32(15));
}

/* All ones in the outer cells, n = 0 and n = 15. */
INLINE __m256i outer_cells(__m256i n) {
    return _mm256_or_si256(_mm256_cmpeq_epi32(n, _mm256_setzero_si256()), _mm256_cmpeq_epi32(n, _mm256_set1_epi32(15)));
}

static void encode_fine(uint8_t *fine, const uint8_t *codes, const float *z, size_t n, const tq_fine_search *s) {
    __m256 tree[5];
    load_tree(tree, s->bounds[0], s->bounds[1], s->count);
    const __m256 a0 = _mm256_loadu_ps(s->a), a1 = _mm256_loadu_ps(s->a + 8);
    const __m256 v0 = _mm256_loadu_ps(s->inv_v), v1 = _mm256_loadu_ps(s->inv_v + 8);
    for (size_t i = 0; i < n; i += 8) {
        __m256i c = load_codes(codes + i, n - i);
        __m256 t = _mm256_sub_ps(tq_load8(z + i, n - i), tq_lookup16(a0, a1, c));
        t = _mm256_mul_ps(t, tq_lookup16(v0, v1, c));
        tq_store8_u8(fine + i, n - i, search(_mm256_srli_epi32(outer_cells(c), 31), t, tree, 2));
    }
}

/* The tables of tq_levels as floats, low and high halves: every level is an integer below 2^15, so the arithmetic is
 * exact. */
typedef struct level_tables {
    __m256 a[2], v[2], fine[2][2];
} level_tables;

INLINE level_tables load_levels(const tq_levels *l) {
    level_tables t;
    for (size_t h = 0; h < 2; h++) {
        t.a[h] = _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(_mm_loadu_si128((const __m128i *)(l->a + 8 * h))));
        t.v[h] = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(l->v + 8 * h))));
        for (size_t k = 0; k < 2; k++) {
            __m128i bytes = _mm_loadl_epi64((const __m128i *)(l->fine[k] + 8 * h));
            t.fine[k][h] = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
        }
    }
    return t;
}

INLINE __m256 level8(const level_tables *t, __m256i n) {
    return tq_lookup16(t->a[0], t->a[1], n);
}

INLINE __m256 level8_fine(const level_tables *t, __m256i n, __m256i r) {
    __m256 inner = tq_lookup16(t->fine[0][0], t->fine[0][1], r), outer = tq_lookup16(t->fine[1][0], t->fine[1][1], r);
    __m256 f = _mm256_blendv_ps(inner, outer, _mm256_castsi256_ps(outer_cells(n)));
    return _mm256_fmadd_ps(tq_lookup16(t->v[0], t->v[1], n), f, level8(t, n));
}

static void levels(float *out, const uint8_t *codes, const uint8_t *fine, size_t n, const tq_levels *l) {
    const level_tables t = load_levels(l);
    for (size_t i = 0; i < n; i += 8) {
        __m256i c = load_codes(codes + i, n - i);
        tq_store8(out + i, n - i, fine ? level8_fine(&t, c, load_codes(fine + i, n - i)) : level8(&t, c));
    }
}

static void moments(double sums[3], const float *z, const float *c, size_t n) {
    __m256d zc = _mm256_setzero_pd(), cc = zc, zz = zc;
    for (size_t i = 0; i < n; i += 8) {
        __m256 zi = tq_load8(z + i, n - i), ci = tq_load8(c + i, n - i);
        for (int half = 0; half < 2; half++) {
            __m256d a = _mm256_cvtps_pd(half ? _mm256_extractf128_ps(zi, 1) : _mm256_castps256_ps128(zi));
            __m256d b = _mm256_cvtps_pd(half ? _mm256_extractf128_ps(ci, 1) : _mm256_castps256_ps128(ci));
            zc = _mm256_fmadd_pd(a, b, zc);
            cc = _mm256_fmadd_pd(b, b, cc);
            zz = _mm256_fmadd_pd(a, a, zz);
        }
    }
    sums[0] = tq_sum4d(zc);
    sums[1] = tq_sum4d(cc);
    sums[2] = tq_sum4d(zz);
}

static void encode_fit(uint8_t *codes, uint8_t *fine, double sums[3], const float *z, size_t n, const tq_coder *coder) {
    static const tq_kernels own = {.encode = encode, .encode_fine = encode_fine, .levels = levels, .moments = moments};
    tq_encode_fit_with(&own, codes, fine, sums, z, n, coder);
}

static void decode_tile(float *out, size_t ld, const tq_packed *p, size_t tile) {
    if (p->trellis) {
        tq_trellis_tile_avx2(out, ld, p, tile);
        return;
    }
    const level_tables t = load_levels(p->levels);
    const uint16_t *scales = tq_tile_scales(p, tile);
    const __m256 mul = _mm256_set1_ps(p->scale_mul * p->levels->step);
    size_t code_bytes = 64 * (size_t)p->code_bits, fine_bytes = 64 * (size_t)p->fine_bits;
    for (size_t b = 0; b < p->blocks; b++) {
        uint8_t codes[TQ_TILE_ROWS * TQ_BLOCK], fine[TQ_TILE_ROWS * TQ_BLOCK];
        float scale[TQ_TILE_ROWS];
        size_t index = tile * p->blocks + b;
        const uint16_t *group = scales + b / p->group_blocks * TQ_TILE_ROWS;
        _mm256_storeu_ps(scale, _mm256_mul_ps(mul, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)group))));
        _mm256_storeu_ps(scale + 8, _mm256_mul_ps(mul, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(group + 8)))));
        tq_unpack_avx2(codes, TQ_BLOCK, p->codes + index * code_bytes, 1, p->code_bits);
        if (p->fine_bits) tq_unpack_avx2(fine, TQ_BLOCK, p->fine + index * fine_bytes, 1, p->fine_bits);
        for (size_t i = 0; i < TQ_TILE_ROWS * TQ_BLOCK; i += 8) {
            size_t row = i / TQ_BLOCK;
            __m256i c = tq_load8_u8(codes + i, 8);
            __m256 level = p->fine_bits ? level8_fine(&t, c, tq_load8_u8(fine + i, 8)) : level8(&t, c);
            float *place = out + row * ld + b * TQ_BLOCK + i % TQ_BLOCK;
            _mm256_storeu_ps(place, _mm256_mul_ps(_mm256_set1_ps(scale[row]), level));
        }
    }
}

void tq_kernels_fill_avx2_coding(tq_kernels *k) {
    k->hadamard = hadamard;
    k->rotate = rotate;
    k->encode = encode;
    k->encode_fine = encode_fine;
    k->levels = levels;
    k->moments = moments;
    k->encode_fit = encode_fit;
    k->decode_tile = decode_tile;
}
#endif
