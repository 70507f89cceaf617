/* scalar.c - the reference for floating-point kernels: conversions, vectors, softmax, matrices times vectors.
 * Reductions run in double, transcendental functions are libm's; the other tables are held against these. */
#include "kernels/internal.h"
#include <math.h>

static void bf16_to_f32(float *dst, const uint16_t *src, size_t n) {
    for (size_t i = 0; i < n; i++)
        dst[i] = tq_bf16_value(src[i]);
}

static void f16_to_f32(float *dst, const uint16_t *src, size_t n) {
    for (size_t i = 0; i < n; i++)
        dst[i] = tq_f16_value(src[i]);
}

static void f32_to_bf16(uint16_t *dst, const float *src, size_t n) {
    for (size_t i = 0; i < n; i++)
        dst[i] = tq_bf16_code(src[i]);
}

static void f32_to_f16(uint16_t *dst, const float *src, size_t n) {
    for (size_t i = 0; i < n; i++)
        dst[i] = tq_f16_code(src[i]);
}

static float dot(const float *a, const float *b, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)a[i] * b[i];
    return (float)sum;
}

static void axpy(float *y, float a, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++)
        y[i] = fmaf(a, x[i], y[i]);
}

static void mul(float *y, const float *x, const float *w, size_t n) {
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] * w[i];
}

static void rmsnorm(float *y, const float *x, const float *w, size_t n, float eps) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * x[i];
    float inv = n ? (float)(1 / sqrt(sum / (double)n + eps)) : 0;
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] * inv * w[i];
}

static float max_of(const float *x, size_t n) {
    float max = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        if (x[i] > max) max = x[i];
    }
    return max;
}

static void softmax(float *x, size_t n) {
    float max = max_of(x, n);
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        x[i] = expf(x[i] - max);
        sum += x[i];
    }
    float inv = (float)(1 / sum);
    for (size_t i = 0; i < n; i++)
        x[i] *= inv;
}

static void silu(float *x, size_t n) {
    for (size_t i = 0; i < n; i++)
        x[i] = x[i] / (1 + expf(-x[i]));
}

static void silu_mul(float *y, const float *gate, const float *up, size_t n) {
    for (size_t i = 0; i < n; i++)
        y[i] = gate[i] / (1 + expf(-gate[i])) * up[i];
}

static void sigmoid_mul(float *y, const float *gate, size_t n) {
    for (size_t i = 0; i < n; i++)
        y[i] = y[i] / (1 + expf(-gate[i]));
}

/* The first index whose value is max; 0 when nothing compares equal (all NaN). */
static size_t index_of(const float *x, size_t n, float max) {
    for (size_t i = 0; i < n; i++) {
        if (x[i] == max) return i;
    }
    return 0;
}

/* KL = sum p_i (d_i - e_i) + log Zq - log Zp with d, e the logits less their maxima: equal inputs give exactly 0, and
 * nothing but rounding in double (about 1e-15) can make it negative. 0 log 0 is 0. */
static void kld_row(tq_kld_row *out, const float *base, const float *quant, size_t n, size_t target) {
    *out = (tq_kld_row){0, 0, 0, 0, 0};
    if (n == 0) return;
    float base_max = max_of(base, n), quant_max = max_of(quant, n);
    double zp = 0, zq = 0, sum = 0;
    size_t i = 0;
    do {
        double d = (double)base[i] - base_max, e = (double)quant[i] - quant_max;
        double p = d < TQ_KLD_EXP_MIN ? 0 : exp(d);
        zp += p;
        zq += e < TQ_KLD_EXP_MIN ? 0 : exp(e);
        if (p != 0) sum += p * (d - e);
    } while (++i < n);
    out->kld = sum / zp + (log(zq) - log(zp));
    out->base_logp = (double)base[target] - base_max - log(zp);
    out->quant_logp = (double)quant[target] - quant_max - log(zq);
    out->base_top = index_of(base, n, base_max);
    out->quant_top = index_of(quant, n, quant_max);
}

/* Stages ascend from distance 1 on every instruction set, so that results are the same to the bit. */
static void hadamard(float *x, size_t n, float scale) {
    for (size_t h = 1; h < n; h *= 2) {
        for (size_t i = 0; i < n; i += 2 * h) {
            for (size_t j = i; j < i + h; j++) {
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

static void matvec_bf16(float *y, const uint16_t *w, const float *x, size_t rows, size_t cols) {
    for (size_t r = 0; r < rows; r++, w += cols) {
        double sum = 0;
        for (size_t i = 0; i < cols; i++)
            sum += (double)tq_bf16_value(w[i]) * x[i];
        y[r] = (float)sum;
    }
}

static void matvec_f16(float *y, const uint16_t *w, const float *x, size_t rows, size_t cols) {
    for (size_t r = 0; r < rows; r++, w += cols) {
        double sum = 0;
        for (size_t i = 0; i < cols; i++)
            sum += (double)tq_f16_value(w[i]) * x[i];
        y[r] = (float)sum;
    }
}

static void matvec_f32(float *y, const float *w, const float *x, size_t rows, size_t cols) {
    for (size_t r = 0; r < rows; r++, w += cols)
        y[r] = dot(w, x, cols);
}

static void matvec_t_f32(float *y, const float *w, const float *x, size_t rows, size_t cols) {
    for (size_t c = 0; c < cols; c++) {
        double sum = 0;
        for (size_t r = 0; r < rows; r++)
            sum += (double)w[r * cols + c] * x[r];
        y[c] = (float)sum;
    }
}

static uint64_t read_sum(const void *p, size_t bytes) {
    const unsigned char *b = p;
    uint64_t sum = 0, word;
    size_t i = 0;
    for (; i + 8 <= bytes; i += 8) {
        memcpy(&word, b + i, 8);
        sum += word;
    }
    if (i < bytes) {
        word = 0;
        memcpy(&word, b + i, bytes - i);
        sum += word;
    }
    return sum;
}

void tq_kernels_fill_scalar(tq_kernels *k) {
    k->bf16_to_f32 = bf16_to_f32;
    k->f16_to_f32 = f16_to_f32;
    k->f32_to_bf16 = f32_to_bf16;
    k->f32_to_f16 = f32_to_f16;
    k->dot = dot;
    k->axpy = axpy;
    k->mul = mul;
    k->rmsnorm = rmsnorm;
    k->softmax = softmax;
    k->silu = silu;
    k->silu_mul = silu_mul;
    k->sigmoid_mul = sigmoid_mul;
    k->kld_row = kld_row;
    k->hadamard = hadamard;
    k->rotate = rotate;
    k->matvec_bf16 = matvec_bf16;
    k->matvec_f16 = matvec_f16;
    k->matvec_f32 = matvec_f32;
    k->matvec_t_f32 = matvec_t_f32;
    k->read_sum = read_sum;
    tq_kernels_fill_scalar_blocks(k);
    tq_kernels_fill_scalar_coding(k);
    tq_kernels_fill_scalar_gemm(k);
}
