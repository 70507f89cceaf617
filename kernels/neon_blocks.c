/* neon_blocks.c - AArch64: blocks of quantized weights to floats. */
#include "kernels/blocks.h"

#if defined(__aarch64__)
#include <arm_neon.h>

typedef uint8x16_t bytes16;

static inline bytes16 load16(const uint8_t *p) {
    return vld1q_u8(p);
}

static inline bytes16 field(bytes16 x, int shift, int mask, int left) {
    x = vandq_u8(vshlq_u8(x, vdupq_n_s8((int8_t)-shift)), vdupq_n_u8((uint8_t)mask));
    return vshlq_u8(x, vdupq_n_s8((int8_t)left));
}

static inline bytes16 join(bytes16 x, bytes16 y) {
    return vorrq_u8(x, y);
}

static inline bytes16 less(bytes16 x, int n) {
    return vsubq_u8(x, vdupq_n_u8((uint8_t)n));
}

static inline bytes16 uneven(bytes16 x) {
    return vreinterpretq_u8_s8(vqtbl1q_s8(vld1q_s8(tq_block_uneven), x));
}

static inline bytes16 spread(uint16_t bits) {
    const uint8x16_t bit = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201u));
    uint8x16_t own = vcombine_u8(vdup_n_u8((uint8_t)bits), vdup_n_u8((uint8_t)(bits >> 8)));
    return vandq_u8(vtstq_u8(own, bit), vdupq_n_u8(16));
}

static inline float half(const uint8_t *p) {
    return vgetq_lane_f32(vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(tq_block_u16(p)))), 0);
}

static inline void floats16(float32x4_t f[4], bytes16 x) {
    int8x16_t s = vreinterpretq_s8_u8(x);
    int16x8_t low = vmovl_s8(vget_low_s8(s)), high = vmovl_high_s8(s);
    f[0] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(low)));
    f[1] = vcvtq_f32_s32(vmovl_high_s16(low));
    f[2] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(high)));
    f[3] = vcvtq_f32_s32(vmovl_high_s16(high));
}

static inline void put(float *out, bytes16 x, float a) {
    float32x4_t f[4];
    floats16(f, x);
    for (size_t i = 0; i < 4; i++)
        vst1q_f32(out + 4 * i, vmulq_n_f32(f[i], a));
}

static inline void put_more(float *out, bytes16 x, float a, float b) {
    float32x4_t f[4];
    floats16(f, x);
    for (size_t i = 0; i < 4; i++)
        vst1q_f32(out + 4 * i, vaddq_f32(vmulq_n_f32(f[i], a), vdupq_n_f32(b)));
}

#include "kernels/byte_blocks.h"

void tq_kernels_fill_neon_blocks(tq_kernels *k) {
    fill_blocks(k);
}
#endif
