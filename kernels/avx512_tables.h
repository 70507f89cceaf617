/* avx512_tables.h - levels as byte tables for vpermb; for the AVX-512 files that read packed codes. */
#ifndef TQ_KERNELS_AVX512_TABLES_H
#define TQ_KERNELS_AVX512_TABLES_H

#include "kernels/avx512_pairs.h"
#include "kernels/internal.h"

/* Bytes of level[n + 16 r]. Tables of at most 64 entries fill low[0] and high[0] periodically, so that vpermb may be
 * given indexes with foreign bits above. Without a fine plane low[0] holds the level. */
typedef struct byte_tables {
    __m512i low[4], high[4];
} byte_tables;

/* The levels of all n for residual code r, [16]. */
INLINE __m256i levels_of(const tq_levels *l, int r) {
    const __mmask16 outer = 0x8001;
    __m256i a = _mm256_loadu_si256((const __m256i *)l->a);
    __m256i v = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)l->v));
    __m256i fine = _mm256_mask_set1_epi16(_mm256_set1_epi16(l->fine[0][r]), outer, l->fine[1][r]);
    return _mm256_add_epi16(a, _mm256_mullo_epi16(v, fine));
}

/* Tables are made for every few rows, so this must cost nothing beside them. offset, 0 or 128, is added to the top
 * byte: 128 makes it unsigned. */
INLINE byte_tables make_tables(const tq_levels *l, int code_bits, int fine_bits, int offset) {
    byte_tables t;
    const __m128i sign = _mm_set1_epi8((char)offset);
    if (!fine_bits) {
        __m128i a = _mm256_cvtepi16_epi8(_mm256_loadu_si256((const __m256i *)l->a));
        if (code_bits == 2) a = _mm_shuffle_epi32(a, 0); /* four codes: repeated */
        t.low[0] = _mm512_broadcast_i32x4(_mm_xor_si128(a, sign));
        return t;
    }
    for (int i = 0; i < (fine_bits == 4 ? 4 : 1); i++) {
        uint8_t low[64], high[64];
        for (int r = 0; r < 4; r++) {
            __m256i level = levels_of(l, 4 * i + r);
            _mm_storeu_si128((__m128i *)(low + 16 * r), _mm256_cvtepi16_epi8(level));
            __m128i top = _mm256_cvtepi16_epi8(_mm256_srli_epi16(level, 8));
            _mm_storeu_si128((__m128i *)(high + 16 * r), _mm_xor_si128(top, sign));
        }
        t.low[i] = _mm512_loadu_si512(low);
        t.high[i] = _mm512_loadu_si512(high);
    }
    return t;
}

/* n from the low nibbles of codes, r from the high nibbles of fine. */
INLINE __m512i joint_index(__m512i codes, __m512i fine) {
    return _mm512_ternarylogic_epi32(_mm512_set1_epi8(15), codes, fine, 0xca);
}

/* upper: where the index is 128 or more. */
INLINE __m512i lookup256(const __m512i t[4], __m512i index, __mmask64 upper) {
    __m512i below = _mm512_permutex2var_epi8(t[0], index, t[1]);
    __m512i above = _mm512_permutex2var_epi8(t[2], index, t[3]);
    return _mm512_mask_blend_epi8(upper, below, above);
}

#endif
