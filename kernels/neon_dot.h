/* neon_dot.h - blocks by the byte dot products of Armv8.2 (sdot): one adds four columns of four rows to their sums. */
#ifndef TQ_KERNELS_NEON_DOT_H
#define TQ_KERNELS_NEON_DOT_H

#include "kernels/neon_matvec.h"

/* Adds products of unsigned bytes, the low halves of levels, with activations. What it adds too much for each
 * activation is `low_offset`, a power of two that the caller takes back. */
typedef int32x4_t (*add_low)(int32x4_t sum, uint8x16_t low, int8x16_t x);

INLINE void dot_bytes(block_sums *s, const level_tables *t, const uint8_t *codes, const int8_t *hi, const int8_t *lo,
                      int bits) {
    for (int group = 0; group < 8; group++) {
        int8x16_t h = broadcast4(hi + (ptrdiff_t)4 * group), l = broadcast4(lo + (ptrdiff_t)4 * group);
        for (int q = 0; q < 4; q++) {
            int8x16_t level = vqtbl1q_s8(t->a, codes_at(codes + (ptrdiff_t)16 * q, group, bits));
            s->hi[q] = vdotq_s32(s->hi[q], level, h);
            s->lo[q] = vdotq_s32(s->lo[q], level, l);
        }
    }
}

/* Four rows, their levels of 16 bits taken apart into 256 * high + low. */
INLINE void dot_fine(int32x4_t *hi_sum, int32x4_t *lo_sum, const level_tables *t, const uint8_t *codes,
                     const uint8_t *fine, const int8_t *hi, const int8_t *lo, int fine_bits, add_low add) {
    int32x4_t top[2] = {vdupq_n_s32(0), vdupq_n_s32(0)}, bottom[2] = {vdupq_n_s32(0), vdupq_n_s32(0)};
    for (int group = 0; group < 8; group++) {
        int8x16_t h = broadcast4(hi + (ptrdiff_t)4 * group), l = broadcast4(lo + (ptrdiff_t)4 * group);
        int16x8x2_t level = levels_fine(t, codes_at(codes, group, 4), codes_at(fine, group, fine_bits));
        uint8x16_t first = vreinterpretq_u8_s16(level.val[0]), second = vreinterpretq_u8_s16(level.val[1]);
        uint8x16_t low = vuzp1q_u8(first, second);
        int8x16_t high = vreinterpretq_s8_u8(vuzp2q_u8(first, second));
        bottom[0] = add(bottom[0], low, h);
        bottom[1] = add(bottom[1], low, l);
        top[0] = vdotq_s32(top[0], high, h);
        top[1] = vdotq_s32(top[1], high, l);
    }
    *hi_sum = vaddq_s32(bottom[0], vshlq_n_s32(top[0], 8));
    *lo_sum = vaddq_s32(bottom[1], vshlq_n_s32(top[1], 8));
}

/* offset: what `add` takes from every low byte. */
INLINE block_sums dot_block(const level_tables *t, const uint8_t *codes, const uint8_t *fine, const int8_t *hi,
                            const int8_t *lo, const int32_t *x_sum, int code_bits, int fine_bits, add_low add,
                            int offset) {
    block_sums s;
    for (int q = 0; q < 4; q++)
        s.hi[q] = s.lo[q] = vdupq_n_s32(0);
    if (!fine_bits) {
        dot_bytes(&s, t, codes, hi, lo, code_bits);
        return s;
    }
    for (ptrdiff_t q = 0; q < 4; q++) {
        dot_fine(&s.hi[q], &s.lo[q], t, codes + 16 * q, fine + 16 * q, hi, lo, fine_bits, add);
        s.hi[q] = vaddq_s32(s.hi[q], vdupq_n_s32(offset * x_sum[0]));
        s.lo[q] = vaddq_s32(s.lo[q], vdupq_n_s32(offset * x_sum[1]));
    }
    return s;
}

#endif
