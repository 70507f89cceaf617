/* avx2_trellis.h - codes of a trellis times a vector, for AVX2 and what extends it; for kernels/ only. The file that
 * includes this defines INLINE and add_words, see avx2_dot.h. */
#ifndef TQ_KERNELS_AVX2_TRELLIS_H
#define TQ_KERNELS_AVX2_TRELLIS_H

#include <immintrin.h>

#include "kernels/internal.h"

typedef struct byte_tables {
    __m256i v, u, t, a;
} byte_tables;

INLINE __m256i repeat(const int8_t table[16]) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)table));
}

INLINE byte_tables make_tables(const tq_levels *l) {
    int8_t a[16];
    for (int i = 0; i < 16; i++)
        a[i] = (int8_t)(l->a[i] / TQ_TRELLIS_UNIT);
    return (byte_tables){repeat(l->v), repeat(l->u), repeat(l->t), repeat(a)};
}

INLINE __m256i nibbles(const uint8_t *codes, int part) {
    __m256i v = _mm256_loadu_si256((const __m256i *)codes);
    return _mm256_and_si256(part ? _mm256_srli_epi16(v, 4) : v, _mm256_set1_epi8(15));
}

/* The activations of one block, each four columns in order and repeated: [8]. */
INLINE void spread(__m256i x[8], const int16_t *wide) {
    const __m256i order = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 0, 1, 4, 5, 2, 3, 6, 7));
    for (int i = 0; i < 8; i++) {
        long long four;
        memcpy(&four, wide + (ptrdiff_t)4 * i, sizeof four);
        x[i] = _mm256_shuffle_epi8(_mm256_set1_epi64x(four), order);
    }
}

/* Adds eight rows of one block of `count` tiles to sum[tile][two of four columns]; codes[2 + i] are those of tile i,
 * codes[1] and codes[0] of the tiles before. */
INLINE void add_block(__m256i sum[][2], const byte_tables *t, const uint8_t *const codes[], int count, int deep,
                      const __m256i x[8]) {
    const __m256i unit = _mm256_set1_epi8(TQ_TRELLIS_UNIT);
    for (int i = 0; i < 8; i++) {
        ptrdiff_t at = (ptrdiff_t)64 * (i / 2);
        __m256i before2 = deep ? nibbles(codes[0] + at, i & 1) : unit;
        __m256i before = nibbles(codes[1] + at, i & 1);
        for (int j = 0; j < count; j++) {
            __m256i n = nibbles(codes[2 + j] + at, i & 1);
            __m256i v = _mm256_shuffle_epi8(t->v, n), a = _mm256_shuffle_epi8(t->a, n);
            __m256i s = _mm256_shuffle_epi8(t->u, before);
            if (deep) s = _mm256_add_epi8(s, _mm256_shuffle_epi8(t->t, before2));
            __m256i low = _mm256_maddubs_epi16(_mm256_unpacklo_epi8(v, unit), _mm256_unpacklo_epi8(s, a));
            __m256i high = _mm256_maddubs_epi16(_mm256_unpackhi_epi8(v, unit), _mm256_unpackhi_epi8(s, a));
            sum[j][0] = add_words(sum[j][0], low, x[i]);
            sum[j][1] = add_words(sum[j][1], high, x[i]);
            before2 = before;
            before = n;
        }
    }
}

/* One block of `count` tiles, eight rows: group_sum += the product. */
INLINE void block_rows(__m256 *group_sum, const byte_tables *t, const uint8_t *const codes[], int count, int deep,
                       const __m256i x[8], float x_scale) {
    __m256i sum[2][2] = {{_mm256_setzero_si256(), _mm256_setzero_si256()},
                         {_mm256_setzero_si256(), _mm256_setzero_si256()}};
    add_block(sum, t, codes, count, deep, x);
    for (int i = 0; i < count; i++) {
        __m256 f = _mm256_cvtepi32_ps(_mm256_hadd_epi32(sum[i][0], sum[i][1]));
        group_sum[i] = _mm256_fmadd_ps(f, _mm256_set1_ps(x_scale), group_sum[i]);
    }
}

/* `count` tiles (at most 2) from `tile` on. The order of rounding is that of the scalar reference. */
INLINE void multiply_tiles(float *y, const tq_packed *p, const byte_tables *t, const tq_xq *x, size_t tile, int count,
                           int deep) {
    const uint16_t *scales = tq_tile_scales(p, tile);
    size_t groups = p->blocks ? (p->blocks - 1) / p->group_blocks + 1 : 0;
    const __m256 mul = _mm256_set1_ps(p->scale_mul * p->levels->step), zero = _mm256_setzero_ps();
    __m256 sum[2][2] = {{zero, zero}, {zero, zero}};
    const uint8_t *codes[2][4];
    const ptrdiff_t ahead = (ptrdiff_t)((size_t)count * p->blocks * 256); /* the next tiles */
    for (int i = 0; i < count + 2; i++) {
        size_t back = i < 2 ? (size_t)(2 - i) : 0;
        codes[0][i] = tq_trellis_codes(p, tile + (size_t)(i < 2 ? 0 : i - 2), back, 0);
        codes[1][i] = codes[0][i] + 32;
    }
    for (size_t b = 0; b < p->blocks; scales += TQ_TILE_ROWS) {
        size_t end = p->blocks - b > p->group_blocks ? b + p->group_blocks : p->blocks;
        __m256 group_sum[2][2] = {{zero, zero}, {zero, zero}};
        for (; b < end; b++) {
            __m256i wide[8];
            spread(wide, x->wide + b * TQ_BLOCK);
            for (int i = 0; i < count; i++)
                tq_ask_ahead(codes[0][2 + i], 4, ahead);
            for (int half = 0; half < 2; half++) {
                block_rows(group_sum[half], t, codes[half], count, deep, wide, x->scale[b]);
                for (int i = 0; i < count + 2; i++)
                    codes[half][i] += 256;
            }
        }
        for (int half = 0; half < 2; half++) {
            for (int i = 0; i < count; i++) {
                const uint16_t *at = scales + (size_t)i * groups * TQ_TILE_ROWS + (ptrdiff_t)8 * half;
                __m256 scale = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)at));
                sum[half][i] = _mm256_fmadd_ps(scale, group_sum[half][i], sum[half][i]);
            }
        }
    }
    for (int i = 0; i < 2 * count; i++)
        _mm256_storeu_ps(y + (ptrdiff_t)8 * i, _mm256_mul_ps(sum[i & 1][i / 2], mul));
}

INLINE void multiply(float *y, const tq_packed *p, const tq_xq *x, size_t tile0, size_t tiles, int deep) {
    const byte_tables t = make_tables(p->levels);
    size_t i = 0;
    for (; i + 2 <= tiles; i += 2)
        multiply_tiles(y + TQ_TILE_ROWS * i, p, &t, x, tile0 + i, 2, deep);
    if (i < tiles) multiply_tiles(y + TQ_TILE_ROWS * i, p, &t, x, tile0 + i, 1, deep);
}

INLINE void matvec_trellis(float *y, const tq_packed *p, const tq_xq *x, size_t tile0, size_t tiles) {
    if (tq_trellis_deep(p->levels))
        multiply(y, p, x, tile0, tiles, 1);
    else
        multiply(y, p, x, tile0, tiles, 0);
}

#endif
