/* avx_vnni_dot.h - avx2_dot.h where AVX-VNNI multiplies and adds in one instruction; for kernels/ only. */
#ifndef TQ_KERNELS_AVX_VNNI_DOT_H
#define TQ_KERNELS_AVX_VNNI_DOT_H

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))

INLINE __m256i add_bytes(__m256i sum, __m256i a, __m256i b) {
    return _mm256_dpbusd_avx_epi32(sum, a, b);
}

INLINE __m256i add_words(__m256i sum, __m256i a, __m256i b) {
    return _mm256_dpwssd_avx_epi32(sum, a, b);
}

#endif
