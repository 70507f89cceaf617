/* neon_i8mm.c - Armv8.6 with the dot product of unsigned and signed bytes, which low halves of levels want. Its product
 * of two by two rows (smmla) does twice as much as sdot, but wants eight columns of a row side by side: bringing them
 * there takes as many instructions as it saves. */
#include "kernels/internal.h"

#if defined(__aarch64__)
#include "kernels/neon_dot.h"

INLINE int32x4_t add_unsigned(int32x4_t sum, uint8x16_t low, int8x16_t x) {
    return vusdotq_s32(sum, low, x);
}

INLINE block_sums product(const level_tables *t, const uint8_t *codes, const uint8_t *fine, const int8_t *hi,
                          const int8_t *lo, const int32_t *x_sum, int code_bits, int fine_bits) {
    return dot_block(t, codes, fine, hi, lo, x_sum, code_bits, fine_bits, add_unsigned, 0);
}

static void matvec(float *y, const tq_packed *p, const tq_xq *x, size_t tile0, size_t tiles) {
    matvec_with(y, p, x, tile0, tiles, product);
}

void tq_kernels_fill_neon_i8mm(tq_kernels *k) {
    k->matvec = matvec;
}
#endif
