/* avx2_pack.c - packing and unpacking in AVX2, eight rows at a time: a transposition of 32-bit lanes. */
#include "kernels/internal.h"

#if defined(__x86_64__)
#include <immintrin.h>

/* Columns 8q .. 8q+3 and 8q+4 .. 8q+7 of a row, joined into the low half of the 64-bit lane q. */
static __m256i join_columns(const uint8_t *row, int bits) {
    __m256i mask = _mm256_set1_epi8((char)((1 << bits) - 1));
    __m256i v = _mm256_and_si256(_mm256_loadu_si256((const __m256i *)row), mask);
    return _mm256_or_si256(v, _mm256_srli_epi64(v, 32 - bits));
}

#define SHUFFLE(a, b, imm) _mm256_castps_si256(_mm256_shuffle_ps(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b), imm))

/* out[q]: the joined columns of lane q, one row a 32-bit lane. */
static void transpose_in(__m256i out[4], const uint8_t *codes, size_t stride, int bits) {
    __m256i even[2], odd[2];
    for (size_t half = 0; half < 2; half++) {
        const uint8_t *row = codes + 4 * half * stride;
        __m256i rows01 = SHUFFLE(join_columns(row, bits), join_columns(row + stride, bits), 0x88);
        __m256i rows23 = SHUFFLE(join_columns(row + 2 * stride, bits), join_columns(row + 3 * stride, bits), 0x88);
        even[half] = SHUFFLE(rows01, rows23, 0x88); /* lanes 0 and 2 of four rows */
        odd[half] = SHUFFLE(rows01, rows23, 0xdd);  /* lanes 1 and 3 */
    }
    out[0] = _mm256_permute2x128_si256(even[0], even[1], 0x20);
    out[1] = _mm256_permute2x128_si256(odd[0], odd[1], 0x20);
    out[2] = _mm256_permute2x128_si256(even[0], even[1], 0x31);
    out[3] = _mm256_permute2x128_si256(odd[0], odd[1], 0x31);
}

static void pack(uint8_t *dst, const uint8_t *codes, size_t stride, size_t blocks, int bits) {
    for (size_t b = 0; b < blocks; b++, dst += 64 * bits, codes += TQ_BLOCK) {
        for (size_t half = 0; half < 2; half++) {
            __m256i q[4];
            transpose_in(q, codes + 8 * half * stride, stride, bits);
            uint8_t *place = dst + 32 * half;
            if (bits == 4) {
                for (size_t j = 0; j < 4; j++)
                    _mm256_storeu_si256((__m256i *)(place + 64 * j), q[j]);
            } else {
                for (size_t j = 0; j < 2; j++) {
                    __m256i v = _mm256_or_si256(q[2 * j], _mm256_slli_epi32(q[2 * j + 1], 4));
                    _mm256_storeu_si256((__m256i *)(place + 64 * j), v);
                }
            }
        }
    }
}

/* column[i]: columns 4i .. 4i+3, one row a 32-bit lane; stored as eight rows of 32 bytes. */
static void transpose_out(uint8_t *codes, size_t stride, const __m256i column[8]) {
    __m256i t[8], u[8];
    for (size_t i = 0; i < 4; i++) {
        t[2 * i] = _mm256_unpacklo_epi32(column[2 * i], column[2 * i + 1]);
        t[2 * i + 1] = _mm256_unpackhi_epi32(column[2 * i], column[2 * i + 1]);
    }
    for (size_t i = 0; i < 2; i++) {
        u[4 * i] = _mm256_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
        u[4 * i + 1] = _mm256_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
        u[4 * i + 2] = _mm256_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
        u[4 * i + 3] = _mm256_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
    }
    for (size_t i = 0; i < 4; i++) {
        _mm256_storeu_si256((__m256i *)(codes + i * stride), _mm256_permute2x128_si256(u[i], u[4 + i], 0x20));
        _mm256_storeu_si256((__m256i *)(codes + (4 + i) * stride), _mm256_permute2x128_si256(u[i], u[4 + i], 0x31));
    }
}

void tq_unpack_avx2(uint8_t *codes, size_t stride, const uint8_t *src, size_t blocks, int bits) {
    const __m256i mask = _mm256_set1_epi8((char)((1 << bits) - 1));
    for (size_t b = 0; b < blocks; b++, src += 64 * bits, codes += TQ_BLOCK) {
        for (size_t half = 0; half < 2; half++) {
            __m256i column[8];
            for (int i = 0; i < 8; i++) {
                int chunk = i * bits / 8, shift = i * bits % 8;
                __m256i v = _mm256_loadu_si256((const __m256i *)(src + 64 * chunk + 32 * half));
                column[i] = _mm256_and_si256(_mm256_srl_epi16(v, _mm_cvtsi32_si128(shift)), mask);
            }
            transpose_out(codes + 8 * half * stride, stride, column);
        }
    }
}

void tq_kernels_fill_avx2_pack(tq_kernels *k) {
    k->pack = pack;
    k->unpack = tq_unpack_avx2;
}
#endif
