/* avx2_matvec.h - packed codes times a vector, straight from the planes, for AVX2 and what extends it; for kernels/
 * only.
 *
 * A register of codes holds 8 rows (lanes of 32 bits) of four columns. 8-bit levels are offset by 128 to unsigned bytes
 * for a byte product, the offset is taken back through the sums in tq_xq. 16-bit levels are made for even and odd
 * columns apart and multiplied by activations widened likewise. The file that includes this defines INLINE, add_bytes
 * and add_words, see avx2_dot.h. */
#ifndef TQ_KERNELS_AVX2_MATVEC_H
#define TQ_KERNELS_AVX2_MATVEC_H

#include <immintrin.h>

#include "kernels/internal.h"

/* The tables of tq_levels, each repeated in both 128-bit lanes. With 4 fine bits outer has its top bit set in the outer
 * cells; with 2 it is 4 there, and fine[0] holds the inner shape and from 4 on the outer one. */
typedef struct byte_tables {
    __m256i offset, a_low, a_high, v, outer, fine[2];
} byte_tables;

INLINE __m256i repeat(const uint8_t table[16]) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)table));
}

INLINE byte_tables make_tables(const tq_levels *l, int fine_bits) {
    uint8_t offset[16], low[16], high[16], v[16], fine[2][16], outer[16] = {0};
    for (size_t i = 0; i < 16; i++) {
        offset[i] = (uint8_t)(l->a[i] + 128);
        low[i] = (uint8_t)(l->a[i] & 255);
        high[i] = (uint8_t)(l->a[i] >> 8 & 255);
        v[i] = (uint8_t)l->v[i];
        fine[0][i] = fine_bits == 2 ? l->fine[i / 4 % 2][i % 4] : l->fine[0][i];
        fine[1][i] = l->fine[1][i];
    }
    outer[0] = outer[15] = fine_bits == 2 ? 4 : 0x80;
    return (byte_tables){repeat(offset), repeat(low),   repeat(high),
                         repeat(v),      repeat(outer), {repeat(fine[0]), repeat(fine[1])}};
}

INLINE __m256i load32(const uint8_t *p) {
    return _mm256_loadu_si256((const __m256i *)p);
}

INLINE __m256i broadcast4(const int8_t *x) {
    int v;
    memcpy(&v, x, sizeof v);
    return _mm256_set1_epi32(v);
}

INLINE __m256i part_of(__m256i v, int part, int bits) {
    __m256i mask = _mm256_set1_epi8((char)((1 << bits) - 1));
    return _mm256_and_si256(part ? _mm256_srli_epi16(v, part * bits) : v, mask);
}

/* Sums of sixteen rows over one block, levels of 8 bits: [eight rows each][high and low part of the activations]. */
INLINE void block_bytes(__m256i sums[2][2], const byte_tables *t, const uint8_t *codes, const int8_t *hi,
                        const int8_t *lo, int bits) {
    for (int j = 0; j < bits; j++, codes += 64) {
        __m256i v[2] = {load32(codes), load32(codes + 32)};
        for (int part = 0; part < 8 / bits; part++, hi += 4, lo += 4) {
            __m256i x[2] = {broadcast4(hi), broadcast4(lo)};
            for (int half = 0; half < 2; half++) {
                __m256i level = _mm256_shuffle_epi8(t->offset, part_of(v[half], part, bits));
                sums[half][0] = add_bytes(sums[half][0], level, x[0]);
                sums[half][1] = add_bytes(sums[half][1], level, x[1]);
            }
        }
    }
}

/* The shape's entry: with 2 bits both shapes are in one table, with 4 bits one of two is taken. */
INLINE __m256i fine_bytes(const byte_tables *t, __m256i n, __m256i r, int fine_bits) {
    __m256i outer = _mm256_shuffle_epi8(t->outer, n);
    if (fine_bits == 2) return _mm256_shuffle_epi8(t->fine[0], _mm256_or_si256(r, outer));
    return _mm256_blendv_epi8(_mm256_shuffle_epi8(t->fine[0], r), _mm256_shuffle_epi8(t->fine[1], r), outer);
}

/* The same with levels of 16 bits: even columns in level[0], odd ones in level[1], a row still one 32-bit lane. */
INLINE void wide_levels(__m256i level[2], const byte_tables *t, __m256i n, __m256i fine) {
    const __m256i even = _mm256_set1_epi16(0x00ff);
    __m256i low = _mm256_shuffle_epi8(t->a_low, n), high = _mm256_shuffle_epi8(t->a_high, n);
    __m256i v = _mm256_shuffle_epi8(t->v, n);
    __m256i a0 = _mm256_or_si256(_mm256_and_si256(even, low), _mm256_slli_epi16(high, 8));
    __m256i a1 = _mm256_or_si256(_mm256_srli_epi16(low, 8), _mm256_andnot_si256(even, high));
    level[0] = _mm256_add_epi16(a0, _mm256_maddubs_epi16(_mm256_and_si256(even, fine), v));
    level[1] = _mm256_add_epi16(a1, _mm256_maddubs_epi16(_mm256_andnot_si256(even, fine), v));
}

/* Four activations of one part as 16 bits: the even columns, and the odd ones. */
INLINE void widen(__m256i x[2], const int8_t *four) {
    __m256i all = broadcast4(four);
    x[0] = _mm256_srai_epi16(_mm256_slli_epi16(all, 8), 8);
    x[1] = _mm256_srai_epi16(all, 8);
}

/* Four columns of sixteen rows: n and r of the two halves. */
INLINE void add_fine(__m256i sums[2][2], const byte_tables *t, const __m256i n[2], const __m256i r[2], const int8_t *hi,
                     const int8_t *lo, int fine_bits) {
    __m256i x[2][2];
    widen(x[0], hi);
    widen(x[1], lo);
    for (int half = 0; half < 2; half++) {
        __m256i level[2];
        wide_levels(level, t, n[half], fine_bytes(t, n[half], r[half], fine_bits));
        for (int part = 0; part < 2; part++) {
            sums[half][part] = add_words(sums[half][part], level[0], x[part][0]);
            sums[half][part] = add_words(sums[half][part], level[1], x[part][1]);
        }
    }
}

INLINE void block_fine(__m256i sums[2][2], const byte_tables *t, const uint8_t *codes, const uint8_t *fine,
                       const int8_t *hi, const int8_t *lo, int fine_bits) {
    for (int j = 0; j < 4; j++, codes += 64, hi += 8, lo += 8) {
        /* A chunk of 2-bit codes has 16 columns, two of 4-bit codes. */
        const uint8_t *at = fine_bits == 4 ? fine + (ptrdiff_t)64 * j : fine + (ptrdiff_t)64 * (j / 2);
        int part = fine_bits == 4 ? 0 : 2 * (j % 2);
        __m256i v[2] = {load32(codes), load32(codes + 32)}, f[2] = {load32(at), load32(at + 32)};
        for (int i = 0; i < 2; i++) {
            __m256i n[2] = {part_of(v[0], i, 4), part_of(v[1], i, 4)};
            __m256i r[2] = {part_of(f[0], part + i, fine_bits), part_of(f[1], part + i, fine_bits)};
            add_fine(sums, t, n, r, hi + (ptrdiff_t)4 * i, lo + (ptrdiff_t)4 * i, fine_bits);
        }
    }
}

/* Sixteen rows of one block: the two halves. */
INLINE void block_product(__m256 out[2], const byte_tables *t, const uint8_t *codes, const uint8_t *fine,
                          const tq_xq *x, size_t b, int code_bits, int fine_bits) {
    const int8_t *hi = x->hi + b * TQ_BLOCK, *lo = x->lo + b * TQ_BLOCK;
    const __m256i zero = _mm256_setzero_si256();
    __m256i sums[2][2] = {{zero, zero}, {zero, zero}};
    if (fine_bits)
        block_fine(sums, t, codes, fine, hi, lo, fine_bits);
    else
        block_bytes(sums, t, codes, hi, lo, code_bits);
    for (int half = 0; half < 2; half++) {
        for (size_t part = 0; part < 2 && !fine_bits; part++)
            sums[half][part] = _mm256_sub_epi32(sums[half][part], _mm256_set1_epi32(128 * x->sum[2 * b + part]));
        out[half] =
            _mm256_fmadd_ps(_mm256_set1_ps(128), _mm256_cvtepi32_ps(sums[half][0]), _mm256_cvtepi32_ps(sums[half][1]));
    }
}

/* The order of rounding is that of the scalar reference. */
INLINE void matvec_bits(float *y, const tq_packed *p, const tq_xq *x, size_t tile0, size_t tiles, int code_bits,
                        int fine_bits) {
    const byte_tables t = make_tables(p->levels, fine_bits);
    const __m256 mul = _mm256_set1_ps(p->scale_mul * p->levels->step);
    const uint8_t *codes = p->codes + tile0 * p->blocks * 64 * (size_t)code_bits;
    const uint8_t *fine = fine_bits ? p->fine + tile0 * p->blocks * 64 * (size_t)fine_bits : codes; /* not read */
    const uint16_t *scales = tq_tile_scales(p, tile0);
    const ptrdiff_t ahead = tq_ask_distance(fine_bits);
    for (size_t i = 0; i < tiles; i++) {
        __m256 sum[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
        for (size_t b = 0; b < p->blocks; scales += TQ_TILE_ROWS) {
            size_t end = p->blocks - b > p->group_blocks ? b + p->group_blocks : p->blocks;
            __m256 group_sum[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
            for (; b < end; b++, codes += 64 * code_bits, fine += 64 * fine_bits) {
                tq_ask_ahead(codes, code_bits, ahead);
                tq_ask_ahead(fine, fine_bits, ahead);
                __m256 f[2], x_scale = _mm256_set1_ps(x->scale[b]);
                block_product(f, &t, codes, fine, x, b, code_bits, fine_bits);
                for (size_t half = 0; half < 2; half++)
                    group_sum[half] = _mm256_fmadd_ps(f[half], x_scale, group_sum[half]);
            }
            for (size_t half = 0; half < 2; half++) {
                __m256 scale = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(scales + 8 * half)));
                sum[half] = _mm256_fmadd_ps(scale, group_sum[half], sum[half]);
            }
        }
        for (size_t half = 0; half < 2; half++)
            _mm256_storeu_ps(y + TQ_TILE_ROWS * i + 8 * half, _mm256_mul_ps(sum[half], mul));
    }
}

/* Whatever is no trellis. */
INLINE void matvec_codes(float *y, const tq_packed *p, const tq_xq *x, size_t tile0, size_t tiles) {
    if (p->fine_bits == 4)
        matvec_bits(y, p, x, tile0, tiles, 4, 4);
    else if (p->fine_bits == 2)
        matvec_bits(y, p, x, tile0, tiles, 4, 2);
    else if (p->code_bits == 4)
        matvec_bits(y, p, x, tile0, tiles, 4, 0);
    else
        matvec_bits(y, p, x, tile0, tiles, 2, 0);
}

#endif
