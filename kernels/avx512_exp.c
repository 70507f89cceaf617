/* avx512_exp.c - the AVX-512 kernels that need the exponential function. */
#include "kernels/internal.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>

static __mmask16 tail_mask(size_t n) {
    return n >= 16 ? 0xffff : (__mmask16)((1u << n) - 1);
}

/* e^x = 2^k e^r, |r| <= ln 2 / 2, e^r by its Taylor polynomial of degree 7 (truncation 5e-9): relative error <= 2e-7.
 * Overflow gives infinity, NaN stays NaN. */
static __m512 exp16(__m512 x) {
    x = _mm512_min_ps(_mm512_set1_ps(130), _mm512_max_ps(_mm512_set1_ps(-130), x)); /* NaN: the second operand */
    __m512 k = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(0x1.715476p+0f)), _MM_FROUND_TO_NEAREST_INT);
    __m512 r = _mm512_fnmadd_ps(k, _mm512_set1_ps(0x1.63p-1f), x);
    r = _mm512_fnmadd_ps(k, _mm512_set1_ps(-0x1.bd0106p-13f), r);
    __m512 p = _mm512_set1_ps(1.0f / 5040);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 720));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 120));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 24));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 6));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.5f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1));
    return _mm512_scalef_ps(p, k);
}

/* The same in double with degree 12 (truncation 2e-16), for x <= 0; below TQ_KLD_EXP_MIN it is 0. */
static __m512d exp8(__m512d x) {
    __mmask8 keep = _mm512_cmp_pd_mask(x, _mm512_set1_pd(TQ_KLD_EXP_MIN), _CMP_NLT_UQ);
    __m512d k = _mm512_roundscale_pd(_mm512_mul_pd(x, _mm512_set1_pd(0x1.71547652b82fep+0)), _MM_FROUND_TO_NEAREST_INT);
    __m512d r = _mm512_fnmadd_pd(k, _mm512_set1_pd(0x1.62e42fee00000p-1), x);
    r = _mm512_fnmadd_pd(k, _mm512_set1_pd(0x1.a39ef35793c76p-33), r);
    static const double inverse_factorial[] = {1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320,
                                               1.0 / 5040,     1.0 / 720,     1.0 / 120,    1.0 / 24,
                                               1.0 / 6,        0.5,           1.0,          1.0};
    __m512d p = _mm512_set1_pd(1.0 / 479001600);
    for (size_t i = 0; i < sizeof inverse_factorial / sizeof *inverse_factorial; i++)
        p = _mm512_fmadd_pd(p, r, _mm512_set1_pd(inverse_factorial[i]));
    return _mm512_maskz_scalef_pd(keep, p, k);
}

static float max_of(const float *x, size_t n) {
    const __m512 least = _mm512_set1_ps(-INFINITY);
    __m512 max = least;
    for (size_t i = 0; i < n; i += 16) /* a NaN leaves the second operand */
        max = _mm512_max_ps(_mm512_mask_loadu_ps(least, tail_mask(n - i), x + i), max);
    return _mm512_reduce_max_ps(max);
}

static size_t index_of(const float *x, size_t n, float max) {
    const __m512 wanted = _mm512_set1_ps(max);
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 m = tail_mask(n - i);
        __mmask16 found = _mm512_mask_cmp_ps_mask(m, _mm512_maskz_loadu_ps(m, x + i), wanted, _CMP_EQ_OQ);
        if (found) return i + (size_t)__builtin_ctz(found);
    }
    return 0;
}

static void softmax(float *x, size_t n) {
    if (n == 0) return;
    const __m512 max = _mm512_set1_ps(max_of(x, n));
    __m512 sum = _mm512_setzero_ps();
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 m = tail_mask(n - i);
        __m512 e = exp16(_mm512_sub_ps(_mm512_maskz_loadu_ps(m, x + i), max));
        _mm512_mask_storeu_ps(x + i, m, e);
        sum = _mm512_mask_add_ps(sum, m, sum, e);
    }
    const __m512 inv = _mm512_set1_ps(1 / _mm512_reduce_add_ps(sum));
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 m = tail_mask(n - i);
        _mm512_mask_storeu_ps(x + i, m, _mm512_mul_ps(_mm512_maskz_loadu_ps(m, x + i), inv));
    }
}

/* 1 + e^-x */
static __m512 sigmoid_divisor(__m512 x) {
    return _mm512_add_ps(_mm512_set1_ps(1), exp16(_mm512_sub_ps(_mm512_setzero_ps(), x)));
}

static void silu(float *x, size_t n) {
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 m = tail_mask(n - i);
        __m512 v = _mm512_maskz_loadu_ps(m, x + i);
        _mm512_mask_storeu_ps(x + i, m, _mm512_div_ps(v, sigmoid_divisor(v)));
    }
}

static void silu_mul(float *y, const float *gate, const float *up, size_t n) {
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 m = tail_mask(n - i);
        __m512 g = _mm512_maskz_loadu_ps(m, gate + i);
        __m512 act = _mm512_div_ps(g, sigmoid_divisor(g));
        _mm512_mask_storeu_ps(y + i, m, _mm512_mul_ps(act, _mm512_maskz_loadu_ps(m, up + i)));
    }
}

static void sigmoid_mul(float *y, const float *gate, size_t n) {
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 m = tail_mask(n - i);
        __m512 divisor = sigmoid_divisor(_mm512_maskz_loadu_ps(m, gate + i));
        _mm512_mask_storeu_ps(y + i, m, _mm512_div_ps(_mm512_maskz_loadu_ps(m, y + i), divisor));
    }
}

static void kld_row(tq_kld_row *out, const float *base, const float *quant, size_t n, size_t target) {
    *out = (tq_kld_row){0, 0, 0, 0, 0};
    if (n == 0) return;
    float base_max = max_of(base, n), quant_max = max_of(quant, n);
    const __m512d pmax = _mm512_set1_pd(base_max), qmax = _mm512_set1_pd(quant_max);
    __m512d zp = _mm512_setzero_pd(), zq = zp, sum = zp;
    for (size_t i = 0; i < n; i += 8) {
        __mmask8 m = n - i >= 8 ? 0xff : (__mmask8)((1u << (n - i)) - 1);
        __m512d d = _mm512_sub_pd(_mm512_cvtps_pd(_mm256_maskz_loadu_ps(m, base + i)), pmax);
        __m512d e = _mm512_sub_pd(_mm512_cvtps_pd(_mm256_maskz_loadu_ps(m, quant + i)), qmax);
        __m512d p = exp8(d);
        zp = _mm512_mask_add_pd(zp, m, zp, p);
        zq = _mm512_mask_add_pd(zq, m, zq, exp8(e));
        __mmask8 counts = _mm512_mask_cmp_pd_mask(m, p, _mm512_setzero_pd(), _CMP_NEQ_UQ);
        sum = _mm512_mask3_fmadd_pd(p, _mm512_sub_pd(d, e), sum, counts);
    }
    double sum_p = _mm512_reduce_add_pd(zp), sum_q = _mm512_reduce_add_pd(zq);
    out->kld = _mm512_reduce_add_pd(sum) / sum_p + (log(sum_q) - log(sum_p));
    out->base_logp = (double)base[target] - base_max - log(sum_p);
    out->quant_logp = (double)quant[target] - quant_max - log(sum_q);
    out->base_top = index_of(base, n, base_max);
    out->quant_top = index_of(quant, n, quant_max);
}

void tq_kernels_fill_avx512_exp(tq_kernels *k) {
    k->softmax = softmax;
    k->silu = silu;
    k->silu_mul = silu_mul;
    k->sigmoid_mul = sigmoid_mul;
    k->kld_row = kld_row;
}
#endif
