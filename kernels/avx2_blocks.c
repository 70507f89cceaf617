/* avx2_blocks.c - AVX2: blocks of quantized weights to floats. */
#include "kernels/internal.h"

#if defined(__x86_64__)
#include "kernels/x86_bytes.h"

static inline __m256 floats8(bytes16 x) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(x));
}

static inline void put(float *out, bytes16 x, float a) {
    const __m256 va = _mm256_set1_ps(a);
    _mm256_storeu_ps(out, _mm256_mul_ps(floats8(x), va));
    _mm256_storeu_ps(out + 8, _mm256_mul_ps(floats8(_mm_srli_si128(x, 8)), va));
}

static inline void put_more(float *out, bytes16 x, float a, float b) {
    const __m256 va = _mm256_set1_ps(a), vb = _mm256_set1_ps(b);
    _mm256_storeu_ps(out, _mm256_add_ps(_mm256_mul_ps(floats8(x), va), vb));
    _mm256_storeu_ps(out + 8, _mm256_add_ps(_mm256_mul_ps(floats8(_mm_srli_si128(x, 8)), va), vb));
}

#include "kernels/byte_blocks.h"

void tq_kernels_fill_avx2_blocks(tq_kernels *k) {
    fill_blocks(k);
}
#endif
