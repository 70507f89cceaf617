/* avx2_dot.h - the products of bytes and of words that avx2_matvec.h and avx2_product.h add up, in plain AVX2; for
 * kernels/ only. */
#ifndef TQ_KERNELS_AVX2_DOT_H
#define TQ_KERNELS_AVX2_DOT_H

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))

/* sum + the products of four unsigned by four signed bytes in every lane of 32 bits. |b| <= 64: two products of 255 fit
 * in 16 bits. */
INLINE __m256i add_bytes(__m256i sum, __m256i a, __m256i b) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), _mm256_set1_epi16(1)));
}

/* sum + the products of two signed words in every lane. */
INLINE __m256i add_words(__m256i sum, __m256i a, __m256i b) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
}

#endif
