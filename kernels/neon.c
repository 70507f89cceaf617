/* neon.c - AArch64: the kernels that decoding text spends its time in. The rest stays with the scalar reference. */
#include "kernels/internal.h"

#if defined(__aarch64__)
#include <arm_neon.h>

#define INLINE static inline __attribute__((always_inline))

static void bf16_to_f32(float *dst, const uint16_t *src, size_t n) {
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        vst1q_f32(dst + i, vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(src + i), 16)));
    for (; i < n; i++)
        dst[i] = tq_bf16_value(src[i]);
}

static float dot(const float *a, const float *b, size_t n) {
    float32x4_t s0 = vdupq_n_f32(0), s1 = s0, s2 = s0, s3 = s0;
    size_t i = 0;
    float sum;
    for (; i + 16 <= n; i += 16) {
        s0 = vfmaq_f32(s0, vld1q_f32(a + i), vld1q_f32(b + i));
        s1 = vfmaq_f32(s1, vld1q_f32(a + i + 4), vld1q_f32(b + i + 4));
        s2 = vfmaq_f32(s2, vld1q_f32(a + i + 8), vld1q_f32(b + i + 8));
        s3 = vfmaq_f32(s3, vld1q_f32(a + i + 12), vld1q_f32(b + i + 12));
    }
    sum = vaddvq_f32(vaddq_f32(vaddq_f32(s0, s1), vaddq_f32(s2, s3)));
    for (; i < n; i++)
        sum = __builtin_fmaf(a[i], b[i], sum);
    return sum;
}

static void axpy(float *y, float a, const float *x, size_t n) {
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        vst1q_f32(y + i, vfmaq_n_f32(vld1q_f32(y + i), vld1q_f32(x + i), a));
    for (; i < n; i++)
        y[i] = __builtin_fmaf(a, x[i], y[i]);
}

static void matvec_bf16(float *y, const uint16_t *w, const float *x, size_t rows, size_t cols) {
    for (size_t r = 0; r < rows; r++, w += cols) {
        float32x4_t s0 = vdupq_n_f32(0), s1 = s0;
        size_t i = 0;
        for (; i + 8 <= cols; i += 8) {
            uint16x8_t v = vld1q_u16(w + i);
            s0 = vfmaq_f32(s0, vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(v), 16)), vld1q_f32(x + i));
            s1 = vfmaq_f32(s1, vreinterpretq_f32_u32(vshll_high_n_u16(v, 16)), vld1q_f32(x + i + 4));
        }
        float sum = vaddvq_f32(vaddq_f32(s0, s1));
        for (; i < cols; i++)
            sum = __builtin_fmaf(tq_bf16_value(w[i]), x[i], sum);
        y[r] = sum;
    }
}

static void matvec_f32(float *y, const float *w, const float *x, size_t rows, size_t cols) {
    for (size_t r = 0; r < rows; r++)
        y[r] = dot(w + r * cols, x, cols);
}

static void hadamard(float *x, size_t n, float scale) {
    for (size_t h = 1; h < n; h *= 2) {
        for (size_t i = 0; i < n; i += 2 * h) {
            size_t j = i;
            for (; j + 4 <= i + h; j += 4) {
                float32x4_t a = vld1q_f32(x + j), b = vld1q_f32(x + j + h);
                vst1q_f32(x + j, vaddq_f32(a, b));
                vst1q_f32(x + j + h, vsubq_f32(a, b));
            }
            for (; j < i + h; j++) {
                float a = x[j], b = x[j + h];
                x[j] = a + b;
                x[j + h] = a - b;
            }
        }
    }
    for (size_t i = 0; i < n; i++)
        x[i] *= scale;
}

static void rotate(float *y, const float *x, const float *signs, size_t n, float scale) {
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] * signs[i];
    hadamard(y, n, scale);
}

/* The tables of tq_levels; a as bytes of 8 bits for a matrix without a fine plane, as two bytes with one. */
typedef struct byte_tables {
    int8x16_t a;
    uint8x16_t a_low, a_high, outer, fine[2];
    int8x16_t v;
} byte_tables;

static byte_tables make_tables(const tq_levels *l) {
    uint8_t low[16], high[16];
    const uint8_t outer[16] = {255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255};
    byte_tables t;
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

/* Codes of four rows and the four columns from 4 * group on. */
INLINE uint8x16_t codes_at(const uint8_t *plane, int group, int bits) {
    int per_byte = 8 / bits;
    uint8x16_t v = vld1q_u8(plane + 64 * (group / per_byte));
    v = vshlq_u8(v, vdupq_n_s8((int8_t)(-(group % per_byte) * bits)));
    return vandq_u8(v, vdupq_n_u8((uint8_t)((1 << bits) - 1)));
}

INLINE int8x8_t broadcast4(const int8_t *x) {
    int32_t v;
    memcpy(&v, x, sizeof v);
    return vreinterpret_s8_s32(vdup_n_s32(v));
}

/* Sums of four rows over one block, levels of 8 bits; four products of at most 127 * 64 fit in 16 bits. */
INLINE int32x4_t block_bytes(const byte_tables *t, const uint8_t *codes, const int8_t *x, int bits) {
    int32x4_t rows01 = vdupq_n_s32(0), rows23 = rows01;
    for (int half = 0; half < 2; half++) {
        int16x8_t low = vdupq_n_s16(0), high = low;
        for (int group = 4 * half; group < 4 * half + 4; group++) {
            int8x16_t level = vqtbl1q_s8(t->a, codes_at(codes, group, bits));
            int8x8_t xs = broadcast4(x + 4 * group);
            low = vmlal_s8(low, vget_low_s8(level), xs);
            high = vmlal_s8(high, vget_high_s8(level), xs);
        }
        rows01 = vpadalq_s16(rows01, low);
        rows23 = vpadalq_s16(rows23, high);
    }
    return vpaddq_s32(rows01, rows23);
}

INLINE int16x8_t level16(uint8x8_t low, uint8x8_t high, int8x8_t v, uint8x8_t fine) {
    uint16x8_t a = vorrq_u16(vmovl_u8(low), vshll_n_u8(high, 8));
    return vmlaq_s16(vreinterpretq_s16_u16(a), vmovl_s8(v), vreinterpretq_s16_u16(vmovl_u8(fine)));
}

INLINE int32x4_t block_fine(const byte_tables *t, const uint8_t *codes, const uint8_t *fine, const int8_t *x,
                            int fine_bits) {
    int32x4_t row[4] = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};
    for (int group = 0; group < 8; group++) {
        uint8x16_t n = codes_at(codes, group, 4), r = codes_at(fine, group, fine_bits);
        uint8x16_t outer = vqtbl1q_u8(t->outer, n);
        uint8x16_t shape = vbslq_u8(outer, vqtbl1q_u8(t->fine[1], r), vqtbl1q_u8(t->fine[0], r));
        uint8x16_t low = vqtbl1q_u8(t->a_low, n), high = vqtbl1q_u8(t->a_high, n);
        int8x16_t v = vqtbl1q_s8(t->v, n);
        int16x8_t rows01 = level16(vget_low_u8(low), vget_low_u8(high), vget_low_s8(v), vget_low_u8(shape));
        int16x8_t rows23 = level16(vget_high_u8(low), vget_high_u8(high), vget_high_s8(v), vget_high_u8(shape));
        int16x4_t xs = vget_low_s16(vmovl_s8(broadcast4(x + 4 * group)));
        row[0] = vmlal_s16(row[0], vget_low_s16(rows01), xs);
        row[1] = vmlal_s16(row[1], vget_high_s16(rows01), xs);
        row[2] = vmlal_s16(row[2], vget_low_s16(rows23), xs);
        row[3] = vmlal_s16(row[3], vget_high_s16(rows23), xs);
    }
    return vpaddq_s32(vpaddq_s32(row[0], row[1]), vpaddq_s32(row[2], row[3]));
}

INLINE float32x4_t block_product(const byte_tables *t, const uint8_t *codes, const uint8_t *fine, const tq_xq *x,
                                 size_t b, int code_bits, int fine_bits) {
    const int8_t *hi = x->hi + b * TQ_BLOCK, *lo = x->lo + b * TQ_BLOCK;
    int32x4_t high = fine_bits ? block_fine(t, codes, fine, hi, fine_bits) : block_bytes(t, codes, hi, code_bits);
    int32x4_t low = fine_bits ? block_fine(t, codes, fine, lo, fine_bits) : block_bytes(t, codes, lo, code_bits);
    return vfmaq_n_f32(vcvtq_f32_s32(low), vcvtq_f32_s32(high), 128);
}

/* The order of rounding is that of the scalar reference. */
INLINE void matvec_bits(float *y, const tq_packed *p, const tq_xq *x, size_t tile0, size_t tiles, int code_bits,
                        int fine_bits) {
    const byte_tables t = make_tables(p->levels);
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
                for (size_t q = 0; q < 4; q++) {
                    float32x4_t f = block_product(&t, codes + 16 * q, fine + 16 * q, x, b, code_bits, fine_bits);
                    group_sum[q] = vfmaq_n_f32(group_sum[q], f, x->scale[b]);
                }
            }
            for (size_t q = 0; q < 4; q++) {
                float32x4_t scale = vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(scales + 4 * q)));
                sum[q] = vfmaq_f32(sum[q], scale, group_sum[q]);
            }
        }
        for (size_t q = 0; q < 4; q++)
            vst1q_f32(y + TQ_TILE_ROWS * i + 4 * q, vmulq_n_f32(sum[q], mul));
    }
}

static void matvec(float *y, const tq_packed *p, const tq_xq *x, size_t tile0, size_t tiles) {
    if (p->trellis)
        tq_matvec_scalar(y, p, x, tile0, tiles);
    else if (p->fine_bits == 4)
        matvec_bits(y, p, x, tile0, tiles, 4, 4);
    else if (p->fine_bits == 2)
        matvec_bits(y, p, x, tile0, tiles, 4, 2);
    else if (p->code_bits == 4)
        matvec_bits(y, p, x, tile0, tiles, 4, 0);
    else
        matvec_bits(y, p, x, tile0, tiles, 2, 0);
}

void tq_kernels_fill_neon(tq_kernels *k) {
    k->bf16_to_f32 = bf16_to_f32;
    k->dot = dot;
    k->axpy = axpy;
    k->matvec_bf16 = matvec_bf16;
    k->matvec_f32 = matvec_f32;
    k->hadamard = hadamard;
    k->rotate = rotate;
    k->matvec = matvec;
}
#endif
