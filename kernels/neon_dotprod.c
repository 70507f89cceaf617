/* neon_dotprod.c - Armv8.2 with the dot product of signed bytes: low halves of levels meet it less 128. */
#include "kernels/internal.h"

#if defined(__aarch64__)
#include "kernels/neon_dot.h"

INLINE int32x4_t add_signed(int32x4_t sum, uint8x16_t low, int8x16_t x) {
    return vdotq_s32(sum, vreinterpretq_s8_u8(veorq_u8(low, vdupq_n_u8(128))), x);
}

INLINE block_sums product(const level_tables *t, const uint8_t *codes, const uint8_t *fine, const int8_t *hi,
                          const int8_t *lo, const int32_t *x_sum, int code_bits, int fine_bits) {
    return dot_block(t, codes, fine, hi, lo, x_sum, code_bits, fine_bits, add_signed, 128);
}

static void matvec(float *y, const tq_packed *p, const tq_xq *x, size_t tile0, size_t tiles) {
    matvec_with(y, p, x, tile0, tiles, product);
}

void tq_kernels_fill_neon_dotprod(tq_kernels *k) {
    k->matvec = matvec;
}
#endif
