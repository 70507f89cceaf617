/* x86_bytes.h - what byte_blocks.h asks for, as far as AVX2 and AVX-512 do it alike. Included by their *_blocks.c only.
 */
#ifndef TQ_KERNELS_X86_BYTES_H
#define TQ_KERNELS_X86_BYTES_H

#include "kernels/blocks.h"
#include <immintrin.h>

typedef __m128i bytes16;

static inline bytes16 load16(const uint8_t *p) {
    return _mm_loadu_si128((const __m128i *)p);
}

/* A macro, as shifts want constants; bits that come over from the next byte are masked off. */
#define field(x, shift, mask, left)                                                                                    \
    _mm_slli_epi16(_mm_and_si128(_mm_srli_epi16((x), (shift)), _mm_set1_epi8(mask)), (left))

static inline bytes16 join(bytes16 x, bytes16 y) {
    return _mm_or_si128(x, y);
}

static inline bytes16 less(bytes16 x, int n) {
    return _mm_sub_epi8(x, _mm_set1_epi8((char)n));
}

static inline bytes16 uneven(bytes16 x) {
    return _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)tq_block_uneven), x);
}

static inline bytes16 spread(uint16_t bits) {
    const __m128i bit = _mm_set1_epi64x((long long)0x8040201008040201u);
    const __m128i half_of = _mm_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
    __m128i own = _mm_and_si128(_mm_shuffle_epi8(_mm_cvtsi32_si128(bits), half_of), bit);
    return _mm_and_si128(_mm_cmpeq_epi8(own, bit), _mm_set1_epi8(16));
}

static inline float half(const uint8_t *p) {
    return _cvtsh_ss(tq_block_u16(p));
}

#endif
