/* neon_matvec.h - packed codes times a vector; the files of each instruction set say how one block is multiplied. */
#ifndef TQ_KERNELS_NEON_MATVEC_H
#define TQ_KERNELS_NEON_MATVEC_H

#include "kernels/neon_levels.h"

/* Sums of one block with the high and the low part of the activations, four rows a register. */
typedef struct block_sums {
    int32x4_t hi[4], lo[4];
} block_sums;

/* One block of 16 rows: x, x_sum: of tq_xq. fine is not looked at when fine_bits is 0. */
typedef block_sums (*block_product)(const level_tables *t, const uint8_t *codes, const uint8_t *fine, const int8_t *hi,
                                    const int8_t *lo, const int32_t *x_sum, int code_bits, int fine_bits);

/* The order of rounding is that of the scalar reference. */
INLINE void matvec_bits(float *y, const tq_packed *p, const tq_xq *x, size_t tile0, size_t tiles, int code_bits,
                        int fine_bits, block_product product) {
    const level_tables t = load_levels(p->levels);
    const float mul = p->scale_mul * p->levels->step;
    const uint8_t *codes = p->codes + tile0 * p->blocks * 64 * (size_t)code_bits;
    const uint8_t *fine = fine_bits ? p->fine + tile0 * p->blocks * 64 * (size_t)fine_bits : codes; /* not read */
    const uint16_t *scales = tq_tile_scales(p, tile0);
    for (size_t i = 0; i < tiles; i++) {
        float32x4_t sum[4] = {vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0)};
        for (size_t b = 0; b < p->blocks; scales += TQ_TILE_ROWS) {
            size_t end = p->blocks - b > p->group_blocks ? b + p->group_blocks : p->blocks;
            float32x4_t group_sum[4] = {vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0)};
            for (; b < end; b++, codes += 64 * code_bits, fine += 64 * fine_bits) {
                block_sums s = product(&t, codes, fine, x->hi + b * TQ_BLOCK, x->lo + b * TQ_BLOCK, x->sum + 2 * b,
                                       code_bits, fine_bits);
                for (size_t q = 0; q < 4; q++) {
                    float32x4_t f = vfmaq_n_f32(vcvtq_f32_s32(s.lo[q]), vcvtq_f32_s32(s.hi[q]), 128);
                    group_sum[q] = vfmaq_n_f32(group_sum[q], f, x->scale[b]);
                }
            }
            for (size_t q = 0; q < 4; q++)
                sum[q] = vfmaq_f32(sum[q], load_f16(scales + 4 * q), group_sum[q]);
        }
        for (size_t q = 0; q < 4; q++)
            vst1q_f32(y + TQ_TILE_ROWS * i + 4 * q, vmulq_n_f32(sum[q], mul));
    }
}

INLINE void matvec_with(float *y, const tq_packed *p, const tq_xq *x, size_t tile0, size_t tiles,
                        block_product product) {
    if (p->trellis)
        tq_trellis_matvec_neon(y, p, x, tile0, tiles);
    else if (p->fine_bits == 4)
        matvec_bits(y, p, x, tile0, tiles, 4, 4, product);
    else if (p->fine_bits == 2)
        matvec_bits(y, p, x, tile0, tiles, 4, 2, product);
    else if (p->code_bits == 4)
        matvec_bits(y, p, x, tile0, tiles, 4, 0, product);
    else
        matvec_bits(y, p, x, tile0, tiles, 2, 0, product);
}

#endif
