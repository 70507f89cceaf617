/* avx2_matvec.c - packed codes times a vector in AVX2, and the vector made ready for that. */
#include "kernels/internal.h"

#if defined(__x86_64__)
#include "kernels/avx2_dot.h"
#include "kernels/avx2_matvec.h"

static void matvec(float *y, const tq_packed *p, const tq_xq *x, size_t tile0, size_t tiles) {
    if (p->trellis)
        tq_trellis_matvec_avx2(y, p, x, tile0, tiles);
    else
        matvec_codes(y, p, x, tile0, tiles);
}

static int32_t sum8(__m256i v) {
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}

static uint32_t max_abs_bits(const float *x) {
    const __m256i no_sign = _mm256_set1_epi32(0x7fffffff);
    __m256i max = _mm256_setzero_si256();
    for (size_t i = 0; i < TQ_BLOCK; i += 8)
        max = _mm256_max_epu32(max, _mm256_and_si256(_mm256_loadu_si256((const __m256i *)(x + i)), no_sign));
    __m128i m = _mm_max_epu32(_mm256_castsi256_si128(max), _mm256_extracti128_si256(max, 1));
    m = _mm_max_epu32(m, _mm_shuffle_epi32(m, 0x4e));
    return (uint32_t)_mm_cvtsi128_si32(_mm_max_epu32(m, _mm_shuffle_epi32(m, 0xb1)));
}

/* 32 integers that fit in a byte, in order. */
static __m256i pack_bytes(const __m256i v[4]) {
    __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(v[0], v[1]), _mm256_packs_epi32(v[2], v[3]));
    return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

/* 16 integers that fit in 16 bits, of each four in the order 0 2 1 3. */
static __m256i pack_wide(__m256i a, __m256i b) {
    __m256i words = _mm256_packs_epi32(_mm256_shuffle_epi32(a, 0xd8), _mm256_shuffle_epi32(b, 0xd8));
    return _mm256_permute4x64_epi64(words, 0xd8);
}

static void quantize_x(tq_xq *dst, const float *x, size_t blocks) {
    const __m256i half = _mm256_set1_epi32(64);
    for (size_t b = 0; b < blocks; b++, x += TQ_BLOCK) {
        uint32_t max_bits = max_abs_bits(x);
        float max = tq_bits_f32(max_bits);
        int finite = max_bits < 0x7f800000u, zero = !finite || max < TQ_XQ_TINY;
        const __m256 inv = _mm256_set1_ps(zero ? 0 : TQ_XQ_MAX / max);
        __m256i all[4], hi[4], lo[4], sum_hi = _mm256_setzero_si256(), sum_lo = sum_hi;
        for (size_t i = 0; i < 4; i++) {
            __m256i q = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 8 * i), inv));
            if (zero) q = _mm256_setzero_si256();
            all[i] = q;
            hi[i] = _mm256_srai_epi32(_mm256_add_epi32(q, half), 7);
            lo[i] = _mm256_sub_epi32(q, _mm256_slli_epi32(hi[i], 7));
            sum_hi = _mm256_add_epi32(sum_hi, hi[i]);
            sum_lo = _mm256_add_epi32(sum_lo, lo[i]);
        }
        _mm256_storeu_si256((__m256i *)(dst->hi + b * TQ_BLOCK), pack_bytes(hi));
        _mm256_storeu_si256((__m256i *)(dst->lo + b * TQ_BLOCK), pack_bytes(lo));
        for (size_t i = 0; dst->wide && i < 2; i++)
            _mm256_storeu_si256((__m256i *)(dst->wide + b * TQ_BLOCK + 16 * i), pack_wide(all[2 * i], all[2 * i + 1]));
        dst->scale[b] = zero ? (finite ? 0 : __builtin_nanf("")) : max / TQ_XQ_MAX;
        dst->sum[2 * b] = sum8(sum_hi);
        dst->sum[2 * b + 1] = sum8(sum_lo);
    }
}

void tq_kernels_fill_avx2_matvec(tq_kernels *k) {
    k->quantize_x = quantize_x;
    k->matvec = matvec;
}
#endif
