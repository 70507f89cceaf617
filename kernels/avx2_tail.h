/* avx2_tail.h - eight values or the last few of an array, which AVX2 has no masks for. Included by avx2*.c only. */
#ifndef TQ_KERNELS_AVX2_TAIL_H
#define TQ_KERNELS_AVX2_TAIL_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* All ones in the first n lanes of 32 bits; n < 8. */
static inline __m256i tq_tail_mask8(size_t n) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), lane);
}

/* Lanes past n are zero. */
static inline __m256 tq_load8(const float *p, size_t n) {
    return n >= 8 ? _mm256_loadu_ps(p) : _mm256_maskload_ps(p, tq_tail_mask8(n));
}

static inline void tq_store8(float *p, size_t n, __m256 v) {
    if (n >= 8)
        _mm256_storeu_ps(p, v);
    else
        _mm256_maskstore_ps(p, tq_tail_mask8(n), v);
}

static inline __m128i tq_load8_u16(const uint16_t *p, size_t n) {
    uint16_t part[8] = {0};
    if (n >= 8) return _mm_loadu_si128((const __m128i *)p);
    memcpy(part, p, n * sizeof *p);
    return _mm_loadu_si128((const __m128i *)part);
}

static inline void tq_store8_u16(uint16_t *p, size_t n, __m128i v) {
    uint16_t part[8];
    if (n >= 8) {
        _mm_storeu_si128((__m128i *)p, v);
        return;
    }
    _mm_storeu_si128((__m128i *)part, v);
    memcpy(p, part, n * sizeof *p);
}

/* Eight bytes as 32-bit integers. */
static inline __m256i tq_load8_u8(const uint8_t *p, size_t n) {
    uint64_t part = 0;
    memcpy(&part, p, n >= 8 ? 8 : n);
    return _mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)part));
}

/* The low bytes of eight 32-bit integers. */
static inline void tq_store8_u8(uint8_t *p, size_t n, __m256i v) {
    const __m256i low = _mm256_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 4, 8, 12, -1,
                                         -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
    __m256i bytes = _mm256_shuffle_epi8(v, low);
    __m128i joined = _mm_unpacklo_epi32(_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1));
    uint64_t part = (uint64_t)_mm_cvtsi128_si64(joined);
    memcpy(p, &part, n >= 8 ? 8 : n);
}

static inline float tq_sum8(__m256 v) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

static inline double tq_sum4d(__m256d v) {
    __m128d s = _mm_add_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd(v, 1));
    return _mm_cvtsd_f64(_mm_add_sd(s, _mm_unpackhi_pd(s, s)));
}

/* A table of 16 floats by index, of which the low 4 bits count. */
static inline __m256 tq_lookup16(__m256 low, __m256 high, __m256i index) {
    __m256 a = _mm256_permutevar8x32_ps(low, index), b = _mm256_permutevar8x32_ps(high, index);
    return _mm256_blendv_ps(a, b, _mm256_castsi256_ps(_mm256_slli_epi32(index, 28)));
}

#endif
