/* avx512_pairs.h - integer levels to pairs of bf16, for the AVX-512 files that decode for gemm_bf16. */
#ifndef TQ_KERNELS_AVX512_PAIRS_H
#define TQ_KERNELS_AVX512_PAIRS_H

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))

/* Two neighbouring columns of 16 rows: lanes hold a row's pair. */
INLINE __m512i tq_round_pair(__m512i even, __m512i odd, __m512 scale) {
    const __m512i interleave = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22,
                                                6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    __m512 f0 = _mm512_mul_ps(scale, _mm512_cvtepi32_ps(even)), f1 = _mm512_mul_ps(scale, _mm512_cvtepi32_ps(odd));
    return _mm512_permutexvar_epi16(interleave, (__m512i)_mm512_cvtne2ps_pbh(f1, f0));
}

#endif
