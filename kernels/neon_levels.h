/* neon_levels.h - codes to integer levels by byte tables; for the NEON files that read codes. */
#ifndef TQ_KERNELS_NEON_LEVELS_H
#define TQ_KERNELS_NEON_LEVELS_H

#include <arm_neon.h>

#include "kernels/internal.h"

#define INLINE static inline __attribute__((always_inline))

/* The tables of tq_levels; a as bytes of 8 bits for a matrix without a fine plane, as two bytes with one. */
typedef struct level_tables {
    int8x16_t a, v;
    uint8x16_t a_low, a_high, outer, fine[2];
} level_tables;

INLINE level_tables load_levels(const tq_levels *l) {
    uint8_t low[16], high[16];
    const uint8_t outer[16] = {255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255};
    level_tables t;
    for (size_t i = 0; i < 16; i++) {
        low[i] = (uint8_t)(l->a[i] & 255);
        high[i] = (uint8_t)(l->a[i] >> 8 & 255);
    }
    t.a_low = vld1q_u8(low);
    t.a_high = vld1q_u8(high);
    t.a = vreinterpretq_s8_u8(t.a_low);
    t.v = vld1q_s8(l->v);
    t.outer = vld1q_u8(outer);
    t.fine[0] = vld1q_u8(l->fine[0]);
    t.fine[1] = vld1q_u8(l->fine[1]);
    return t;
}

INLINE int16x8_t level8(uint8x8_t low, uint8x8_t high, int8x8_t v, uint8x8_t fine) {
    uint16x8_t a = vorrq_u16(vmovl_u8(low), vshll_n_u8(high, 8));
    return vmlaq_s16(vreinterpretq_s16_u16(a), vmovl_s8(v), vreinterpretq_s16_u16(vmovl_u8(fine)));
}

/* The levels of 16 codes without a residual code. */
INLINE int16x8x2_t levels_of(const level_tables *t, uint8x16_t n) {
    uint8x16_t low = vqtbl1q_u8(t->a_low, n), high = vqtbl1q_u8(t->a_high, n);
    return (int16x8x2_t){{vreinterpretq_s16_u8(vzip1q_u8(low, high)), vreinterpretq_s16_u8(vzip2q_u8(low, high))}};
}

/* The same with residual codes r. */
INLINE int16x8x2_t levels_fine(const level_tables *t, uint8x16_t n, uint8x16_t r) {
    uint8x16_t outer = vqtbl1q_u8(t->outer, n);
    uint8x16_t shape = vbslq_u8(outer, vqtbl1q_u8(t->fine[1], r), vqtbl1q_u8(t->fine[0], r));
    uint8x16_t low = vqtbl1q_u8(t->a_low, n), high = vqtbl1q_u8(t->a_high, n);
    int8x16_t v = vqtbl1q_s8(t->v, n);
    return (int16x8x2_t){{level8(vget_low_u8(low), vget_low_u8(high), vget_low_s8(v), vget_low_u8(shape)),
                          level8(vget_high_u8(low), vget_high_u8(high), vget_high_s8(v), vget_high_u8(shape))}};
}

/* Of a trellis: a is in units of TQ_TRELLIS_UNIT. */
typedef struct trellis_tables {
    int8x16_t a, v, u, t;
} trellis_tables;

INLINE trellis_tables load_trellis(const tq_levels *l) {
    int8_t a[16];
    for (int i = 0; i < 16; i++)
        a[i] = (int8_t)(l->a[i] / TQ_TRELLIS_UNIT);
    return (trellis_tables){vld1q_s8(a), vld1q_s8(l->v), vld1q_s8(l->u), vld1q_s8(l->t)};
}

/* The levels of 16 codes n, s = u[p] + t[pp]. */
INLINE int16x8x2_t levels_trellis(const trellis_tables *t, uint8x16_t n, int8x16_t s) {
    const int8x8_t unit = vdup_n_s8(TQ_TRELLIS_UNIT);
    int8x16_t a = vqtbl1q_s8(t->a, n), v = vqtbl1q_s8(t->v, n);
    return (int16x8x2_t){{vmlal_s8(vmull_s8(vget_low_s8(v), vget_low_s8(s)), vget_low_s8(a), unit),
                          vmlal_s8(vmull_s8(vget_high_s8(v), vget_high_s8(s)), vget_high_s8(a), unit)}};
}

/* Codes of four rows and the four columns from 4 * group on: lanes of 32 bits are rows. */
INLINE uint8x16_t codes_at(const uint8_t *plane, int group, int bits) {
    int per_byte = 8 / bits;
    uint8x16_t v = vld1q_u8(plane + (ptrdiff_t)64 * (group / per_byte));
    v = vshlq_u8(v, vdupq_n_s8((int8_t)(-(group % per_byte) * bits)));
    return vandq_u8(v, vdupq_n_u8((uint8_t)((1 << bits) - 1)));
}

/* Four columns in every lane of 32 bits. */
INLINE int8x16_t broadcast4(const int8_t *x) {
    int32_t v;
    memcpy(&v, x, sizeof v);
    return vreinterpretq_s8_s32(vdupq_n_s32(v));
}

INLINE float32x4_t load_f16(const uint16_t *p) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
}

/* 16 levels times a factor. */
INLINE void store_levels(float *out, int16x8x2_t level, float factor) {
    for (int i = 0; i < 2; i++) {
        float32x4_t low = vcvtq_f32_s32(vmovl_s16(vget_low_s16(level.val[i])));
        float32x4_t high = vcvtq_f32_s32(vmovl_high_s16(level.val[i]));
        vst1q_f32(out + (ptrdiff_t)8 * i, vmulq_n_f32(low, factor));
        vst1q_f32(out + (ptrdiff_t)8 * i + 4, vmulq_n_f32(high, factor));
    }
}

/* kernels.h: unpack. */
void tq_unpack_neon(uint8_t *codes, size_t stride, const uint8_t *src, size_t blocks, int bits);

/* kernels.h: of a trellis. */
void tq_trellis_tile_neon(float *out, size_t ld, const tq_packed *p, size_t tile);
void tq_trellis_matvec_neon(float *y, const tq_packed *p, const tq_xq *x, size_t tile0, size_t tiles);

#endif
