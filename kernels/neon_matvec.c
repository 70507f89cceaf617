/* neon_matvec.c - packed codes times a vector on any AArch64: products of bytes are added up in 16 bits. */
#include "kernels/internal.h"

#if defined(__aarch64__)
#include "kernels/neon_matvec.h"

/* Sums of four rows over one block, levels of 8 bits; four products of at most 127 * 64 fit in 16 bits. */
INLINE void add_bytes(int32x4_t *hi_sum, int32x4_t *lo_sum, const level_tables *t, const uint8_t *codes,
                      const int8_t *hi, const int8_t *lo, int bits) {
    int32x4_t wide[4] = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};
    for (int half = 0; half < 2; half++) {
        int16x8_t s[4] = {vdupq_n_s16(0), vdupq_n_s16(0), vdupq_n_s16(0), vdupq_n_s16(0)};
        for (int group = 4 * half; group < 4 * half + 4; group++) {
            int8x16_t level = vqtbl1q_s8(t->a, codes_at(codes, group, bits));
            int8x16_t h = broadcast4(hi + (ptrdiff_t)4 * group), l = broadcast4(lo + (ptrdiff_t)4 * group);
            s[0] = vmlal_s8(s[0], vget_low_s8(level), vget_low_s8(h));
            s[1] = vmlal_high_s8(s[1], level, h);
            s[2] = vmlal_s8(s[2], vget_low_s8(level), vget_low_s8(l));
            s[3] = vmlal_high_s8(s[3], level, l);
        }
        for (int i = 0; i < 4; i++)
            wide[i] = vpadalq_s16(wide[i], s[i]);
    }
    *hi_sum = vpaddq_s32(wide[0], wide[1]);
    *lo_sum = vpaddq_s32(wide[2], wide[3]);
}

/* The same with levels of 16 bits. */
INLINE void add_fine(int32x4_t *hi_sum, int32x4_t *lo_sum, const level_tables *t, const uint8_t *codes,
                     const uint8_t *fine, const int8_t *hi, const int8_t *lo, int fine_bits) {
    int32x4_t h[4] = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};
    int32x4_t l[4] = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};
    for (int group = 0; group < 8; group++) {
        int16x8x2_t level = levels_fine(t, codes_at(codes, group, 4), codes_at(fine, group, fine_bits));
        int16x4_t xh = vget_low_s16(vmovl_s8(vget_low_s8(broadcast4(hi + (ptrdiff_t)4 * group))));
        int16x4_t xl = vget_low_s16(vmovl_s8(vget_low_s8(broadcast4(lo + (ptrdiff_t)4 * group))));
        for (int i = 0; i < 2; i++) {
            int16x4_t even = vget_low_s16(level.val[i]), odd = vget_high_s16(level.val[i]);
            h[2 * i] = vmlal_s16(h[2 * i], even, xh);
            h[2 * i + 1] = vmlal_s16(h[2 * i + 1], odd, xh);
            l[2 * i] = vmlal_s16(l[2 * i], even, xl);
            l[2 * i + 1] = vmlal_s16(l[2 * i + 1], odd, xl);
        }
    }
    *hi_sum = vpaddq_s32(vpaddq_s32(h[0], h[1]), vpaddq_s32(h[2], h[3]));
    *lo_sum = vpaddq_s32(vpaddq_s32(l[0], l[1]), vpaddq_s32(l[2], l[3]));
}

INLINE block_sums product(const level_tables *t, const uint8_t *codes, const uint8_t *fine, const int8_t *hi,
                          const int8_t *lo, const int32_t *x_sum, int code_bits, int fine_bits) {
    block_sums s;
    (void)x_sum;
    for (ptrdiff_t q = 0; q < 4; q++) {
        if (fine_bits)
            add_fine(&s.hi[q], &s.lo[q], t, codes + 16 * q, fine + 16 * q, hi, lo, fine_bits);
        else
            add_bytes(&s.hi[q], &s.lo[q], t, codes + 16 * q, hi, lo, code_bits);
    }
    return s;
}

static void matvec(float *y, const tq_packed *p, const tq_xq *x, size_t tile0, size_t tiles) {
    matvec_with(y, p, x, tile0, tiles, product);
}

static void quantize_x(tq_xq *dst, const float *x, size_t blocks) {
    const uint8x8_t order = vcreate_u8(0x0706030205040100); /* columns 0 2 1 3 */
    for (size_t b = 0; b < blocks; b++) {
        const float *in = x + b * TQ_BLOCK;
        uint32x4_t bits = vdupq_n_u32(0);
        for (size_t i = 0; i < TQ_BLOCK; i += 4)
            bits = vmaxq_u32(bits, vandq_u32(vreinterpretq_u32_f32(vld1q_f32(in + i)), vdupq_n_u32(0x7fffffff)));
        uint32_t max_bits = vmaxvq_u32(bits);
        float max = tq_bits_f32(max_bits);
        int finite = max_bits < 0x7f800000u, zero = !finite || max < TQ_XQ_TINY;
        float inv = zero ? 0 : TQ_XQ_MAX / max;
        int32x4_t sum_hi = vdupq_n_s32(0), sum_lo = sum_hi;
        for (size_t i = 0; i < TQ_BLOCK; i += 4) {
            size_t at = b * TQ_BLOCK + i;
            int32x4_t q = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(in + i), inv));
            if (zero) q = vdupq_n_s32(0);
            int32x4_t hi = vshrq_n_s32(vaddq_s32(q, vdupq_n_s32(64)), 7);
            int32x4_t lo = vsubq_s32(q, vshlq_n_s32(hi, 7));
            int16x4_t wide = vreinterpret_s16_u8(vtbl1_u8(vreinterpret_u8_s16(vmovn_s32(q)), order));
            if (dst->wide) vst1_s16(dst->wide + at, wide);
            int8x8_t bytes = vmovn_s16(vcombine_s16(vmovn_s32(hi), vmovn_s32(lo)));
            memcpy(dst->hi + at, &bytes, 4);
            memcpy(dst->lo + at, (const char *)&bytes + 4, 4);
            sum_hi = vaddq_s32(sum_hi, hi);
            sum_lo = vaddq_s32(sum_lo, lo);
        }
        dst->scale[b] = zero ? (finite ? 0 : __builtin_nanf("")) : max / TQ_XQ_MAX;
        dst->sum[2 * b] = vaddvq_s32(sum_hi);
        dst->sum[2 * b + 1] = vaddvq_s32(sum_lo);
    }
}

void tq_kernels_fill_neon_matvec(tq_kernels *k) {
    k->quantize_x = quantize_x;
    k->matvec = matvec;
}
#endif
