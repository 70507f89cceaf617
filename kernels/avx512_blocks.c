/* avx512_blocks.c - AVX-512: blocks of quantized weights to floats. */
#include "kernels/internal.h"

#if defined(__x86_64__)
#include "kernels/x86_bytes.h"

static inline __m512 floats16(bytes16 x) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(x));
}

static inline void put(float *out, bytes16 x, float a) {
    _mm512_storeu_ps(out, _mm512_mul_ps(floats16(x), _mm512_set1_ps(a)));
}

static inline void put_more(float *out, bytes16 x, float a, float b) {
    _mm512_storeu_ps(out, _mm512_add_ps(_mm512_mul_ps(floats16(x), _mm512_set1_ps(a)), _mm512_set1_ps(b)));
}

#include "kernels/byte_blocks.h"

void tq_kernels_fill_avx512_blocks(tq_kernels *k) {
    fill_blocks(k);
}
#endif
