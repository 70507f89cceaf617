/* neon.c - AArch64: conversions, vectors, plain matrices. What needs e^x stays with the scalar reference. */
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

/* Conversions as F16C does them: a signalling NaN becomes quiet. */
static void f16_to_f32(float *dst, const uint16_t *src, size_t n) {
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        vst1q_f32(dst + i, vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(src + i))));
    for (; i < n; i++)
        dst[i] = tq_f16_value(src[i]);
}

static void f32_to_f16(uint16_t *dst, const float *src, size_t n) {
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        vst1_u16(dst + i, vreinterpret_u16_f16(vcvt_f16_f32(vld1q_f32(src + i))));
    for (; i < n; i++)
        dst[i] = tq_f16_code(src[i]);
}

static void mul(float *y, const float *x, const float *w, size_t n) {
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        vst1q_f32(y + i, vmulq_f32(vld1q_f32(x + i), vld1q_f32(w + i)));
    for (; i < n; i++)
        y[i] = x[i] * w[i];
}

static void rmsnorm(float *y, const float *x, const float *w, size_t n, float eps) {
    float scale = 1 / __builtin_sqrtf(dot(x, x, n) / (float)n + eps);
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        vst1q_f32(y + i, vmulq_f32(vmulq_n_f32(vld1q_f32(x + i), scale), vld1q_f32(w + i)));
    for (; i < n; i++)
        y[i] = x[i] * scale * w[i];
}

static void matvec_f16(float *y, const uint16_t *w, const float *x, size_t rows, size_t cols) {
    for (size_t r = 0; r < rows; r++, w += cols) {
        float32x4_t s0 = vdupq_n_f32(0), s1 = s0;
        size_t i = 0;
        for (; i + 8 <= cols; i += 8) {
            float16x8_t v = vreinterpretq_f16_u16(vld1q_u16(w + i));
            s0 = vfmaq_f32(s0, vcvt_f32_f16(vget_low_f16(v)), vld1q_f32(x + i));
            s1 = vfmaq_f32(s1, vcvt_high_f32_f16(v), vld1q_f32(x + i + 4));
        }
        float sum = vaddvq_f32(vaddq_f32(s0, s1));
        for (; i < cols; i++)
            sum = __builtin_fmaf(tq_f16_value(w[i]), x[i], sum);
        y[r] = sum;
    }
}

static inline __attribute__((always_inline)) void add_row16(float32x4_t sum[4], const float *w, float x) {
    for (size_t j = 0; j < 4; j++)
        sum[j] = vfmaq_n_f32(sum[j], vld1q_f32(w + 4 * j), x);
}

/* 16 columns, of two rows at a time so that sums need not wait for each other. */
static void columns16(float *y, const float *w, const float *x, size_t rows, size_t ld) {
    float32x4_t even[4], odd[4];
    size_t r = 0;
    for (size_t j = 0; j < 4; j++)
        even[j] = odd[j] = vdupq_n_f32(0);
    for (; r + 2 <= rows; r += 2, w += 2 * ld) {
        add_row16(even, w, x[r]);
        add_row16(odd, w + ld, x[r + 1]);
    }
    if (r < rows) add_row16(even, w, x[r]);
    for (size_t j = 0; j < 4; j++)
        vst1q_f32(y + 4 * j, vaddq_f32(even[j], odd[j]));
}

static void matvec_t_f32(float *y, const float *w, const float *x, size_t rows, size_t cols) {
    size_t c = 0;
    for (; c + 16 <= cols; c += 16)
        columns16(y + c, w + c, x, rows, cols);
    for (; c < cols; c++) {
        float sum = 0;
        for (size_t r = 0; r < rows; r++)
            sum = __builtin_fmaf(w[r * cols + c], x[r], sum);
        y[c] = sum;
    }
}

static uint64_t read_sum(const void *p, size_t bytes) {
    uint64x2_t sum[4] = {vdupq_n_u64(0), vdupq_n_u64(0), vdupq_n_u64(0), vdupq_n_u64(0)};
    const uint8_t *at = p;
    size_t i = 0;
    for (; i + 64 <= bytes; i += 64)
        for (size_t j = 0; j < 4; j++)
            sum[j] = vaddq_u64(sum[j], vreinterpretq_u64_u8(vld1q_u8(at + i + 16 * j)));
    uint64_t total = vaddvq_u64(vaddq_u64(vaddq_u64(sum[0], sum[1]), vaddq_u64(sum[2], sum[3])));
    for (; i < bytes; i += 8) {
        uint64_t word = 0;
        memcpy(&word, at + i, bytes - i < 8 ? bytes - i : 8);
        total += word;
    }
    return total;
}

void tq_kernels_fill_neon(tq_kernels *k) {
    k->bf16_to_f32 = bf16_to_f32;
    k->f16_to_f32 = f16_to_f32;
    k->f32_to_f16 = f32_to_f16;
    k->dot = dot;
    k->axpy = axpy;
    k->mul = mul;
    k->rmsnorm = rmsnorm;
    k->matvec_bf16 = matvec_bf16;
    k->matvec_f16 = matvec_f16;
    k->matvec_f32 = matvec_f32;
    k->matvec_t_f32 = matvec_t_f32;
    k->hadamard = hadamard;
    k->rotate = rotate;
    k->read_sum = read_sum;
    tq_kernels_fill_neon_blocks(k);
    tq_kernels_fill_neon_coding(k);
    tq_kernels_fill_neon_matvec(k);
    tq_kernels_fill_neon_trellis(k);
}
#endif
