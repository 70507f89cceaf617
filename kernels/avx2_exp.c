/* avx2_exp.c - the AVX2 kernels that need the exponential function. */
#include "kernels/internal.h"

#if defined(__x86_64__)
#include "kernels/avx2_tail.h"
#include <math.h>

/* 2^k for |k| <= 126 and a little over: the exponent field alone. */
static __m256 power_of_two(__m256i k) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(k, _mm256_set1_epi32(127)), 23));
}

/* e^x = 2^k e^r, |r| <= ln 2 / 2, e^r by its Taylor polynomial of degree 7 (truncation 5e-9): relative error <= 2e-7.
 * Overflow gives infinity, NaN stays NaN; 2^k is applied in two halves, so that subnormal results are right. */
static __m256 exp8(__m256 x) {
    x = _mm256_min_ps(_mm256_set1_ps(130), _mm256_max_ps(_mm256_set1_ps(-130), x)); /* NaN: the second operand */
    __m256 k = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(0x1.715476p+0f)), _MM_FROUND_TO_NEAREST_INT);
    __m256 r = _mm256_fnmadd_ps(k, _mm256_set1_ps(0x1.63p-1f), x);
    r = _mm256_fnmadd_ps(k, _mm256_set1_ps(-0x1.bd0106p-13f), r);
    __m256 p = _mm256_set1_ps(1.0f / 5040);
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 720));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 120));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 24));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 6));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0.5f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1));
    __m256i ki = _mm256_cvtps_epi32(k), half = _mm256_srai_epi32(ki, 1);
    p = _mm256_mul_ps(p, power_of_two(half));
    return _mm256_mul_ps(p, power_of_two(_mm256_sub_epi32(ki, half)));
}

/* The same in double with degree 12 (truncation 2e-16), for x <= 0; below TQ_KLD_EXP_MIN it is 0. Adding 1.5 * 2^52
 * rounds to an integer and leaves it in the low bits, from where it is shifted into the exponent. */
static __m256d exp4(__m256d x) {
    static const double inverse_factorial[] = {1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320,
                                               1.0 / 5040,     1.0 / 720,     1.0 / 120,    1.0 / 24,
                                               1.0 / 6,        0.5,           1.0,          1.0};
    const __m256d magic = _mm256_set1_pd(0x1.8p52);
    __m256d zero = _mm256_cmp_pd(x, _mm256_set1_pd(TQ_KLD_EXP_MIN), _CMP_LT_OQ);
    __m256d shifted = _mm256_fmadd_pd(x, _mm256_set1_pd(0x1.71547652b82fep+0), magic);
    __m256d k = _mm256_sub_pd(shifted, magic);
    __m256d r = _mm256_fnmadd_pd(k, _mm256_set1_pd(0x1.62e42fee00000p-1), x);
    r = _mm256_fnmadd_pd(k, _mm256_set1_pd(0x1.a39ef35793c76p-33), r);
    __m256d p = _mm256_set1_pd(1.0 / 479001600);
    for (size_t i = 0; i < sizeof inverse_factorial / sizeof *inverse_factorial; i++)
        p = _mm256_fmadd_pd(p, r, _mm256_set1_pd(inverse_factorial[i]));
    __m256i exponent = _mm256_slli_epi64(_mm256_add_epi64(_mm256_castpd_si256(shifted), _mm256_set1_epi64x(1023)), 52);
    return _mm256_andnot_pd(zero, _mm256_mul_pd(p, _mm256_castsi256_pd(exponent)));
}

static float max_of(const float *x, size_t n) {
    __m256 max = _mm256_set1_ps(-INFINITY);
    size_t i = 0;
    float lanes[8], result;
    for (; i + 8 <= n; i += 8) /* a NaN leaves the second operand */
        max = _mm256_max_ps(_mm256_loadu_ps(x + i), max);
    _mm256_storeu_ps(lanes, max);
    result = lanes[0];
    for (size_t j = 1; j < 8; j++)
        result = lanes[j] > result ? lanes[j] : result;
    for (; i < n; i++)
        result = x[i] > result ? x[i] : result;
    return result;
}

static size_t index_of(const float *x, size_t n, float max) {
    const __m256 wanted = _mm256_set1_ps(max);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        int found = _mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(x + i), wanted, _CMP_EQ_OQ));
        if (found) return i + (size_t)__builtin_ctz((unsigned)found);
    }
    for (; i < n; i++) {
        if (x[i] == max) return i;
    }
    return 0;
}

static void softmax(float *x, size_t n) {
    if (n == 0) return;
    const __m256 max = _mm256_set1_ps(max_of(x, n));
    __m256 sum = _mm256_setzero_ps();
    for (size_t i = 0; i < n; i += 8) {
        __m256 e = exp8(_mm256_sub_ps(tq_load8(x + i, n - i), max));
        if (n - i < 8) e = _mm256_and_ps(e, _mm256_castsi256_ps(tq_tail_mask8(n - i)));
        tq_store8(x + i, n - i, e);
        sum = _mm256_add_ps(sum, e);
    }
    const __m256 inv = _mm256_set1_ps(1 / tq_sum8(sum));
    for (size_t i = 0; i < n; i += 8)
        tq_store8(x + i, n - i, _mm256_mul_ps(tq_load8(x + i, n - i), inv));
}

/* 1 + e^-x */
static __m256 sigmoid_divisor(__m256 x) {
    return _mm256_add_ps(_mm256_set1_ps(1), exp8(_mm256_sub_ps(_mm256_setzero_ps(), x)));
}

static void silu(float *x, size_t n) {
    for (size_t i = 0; i < n; i += 8) {
        __m256 v = tq_load8(x + i, n - i);
        tq_store8(x + i, n - i, _mm256_div_ps(v, sigmoid_divisor(v)));
    }
}

static void silu_mul(float *y, const float *gate, const float *up, size_t n) {
    for (size_t i = 0; i < n; i += 8) {
        __m256 g = tq_load8(gate + i, n - i);
        tq_store8(y + i, n - i, _mm256_mul_ps(_mm256_div_ps(g, sigmoid_divisor(g)), tq_load8(up + i, n - i)));
    }
}

static void sigmoid_mul(float *y, const float *gate, size_t n) {
    for (size_t i = 0; i < n; i += 8) {
        __m256 divisor = sigmoid_divisor(tq_load8(gate + i, n - i));
        tq_store8(y + i, n - i, _mm256_div_ps(tq_load8(y + i, n - i), divisor));
    }
}

/* The sums of kld_row: sum e^d, sum e^e, sum e^d (d - e). */
typedef struct kld_sums {
    __m256d zp, zq, sum;
} kld_sums;

static inline void kld_add(kld_sums *s, const float *base, const float *quant, __m256d base_max, __m256d quant_max) {
    __m256d d = _mm256_sub_pd(_mm256_cvtps_pd(_mm_loadu_ps(base)), base_max);
    __m256d e = _mm256_sub_pd(_mm256_cvtps_pd(_mm_loadu_ps(quant)), quant_max);
    __m256d p = exp4(d), absent = _mm256_cmp_pd(p, _mm256_setzero_pd(), _CMP_EQ_OQ);
    s->zp = _mm256_add_pd(s->zp, p);
    s->zq = _mm256_add_pd(s->zq, exp4(e));
    s->sum = _mm256_fmadd_pd(p, _mm256_andnot_pd(absent, _mm256_sub_pd(d, e)), s->sum);
}

static void kld_row(tq_kld_row *out, const float *base, const float *quant, size_t n, size_t target) {
    *out = (tq_kld_row){0, 0, 0, 0, 0};
    if (n == 0) return;
    float base_max = max_of(base, n), quant_max = max_of(quant, n);
    const __m256d pmax = _mm256_set1_pd(base_max), qmax = _mm256_set1_pd(quant_max);
    kld_sums s = {_mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd()};
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        kld_add(&s, base + i, quant + i, pmax, qmax);
    if (i < n) {
        float rest[2][4] = {{-INFINITY, -INFINITY, -INFINITY, -INFINITY}, {-INFINITY, -INFINITY, -INFINITY, -INFINITY}};
        memcpy(rest[0], base + i, (n - i) * sizeof *base);
        memcpy(rest[1], quant + i, (n - i) * sizeof *quant);
        kld_add(&s, rest[0], rest[1], pmax, qmax);
    }
    double sum_p = tq_sum4d(s.zp), sum_q = tq_sum4d(s.zq);
    out->kld = tq_sum4d(s.sum) / sum_p + (log(sum_q) - log(sum_p));
    out->base_logp = (double)base[target] - base_max - log(sum_p);
    out->quant_logp = (double)quant[target] - quant_max - log(sum_q);
    out->base_top = index_of(base, n, base_max);
    out->quant_top = index_of(quant, n, quant_max);
}

void tq_kernels_fill_avx2_exp(tq_kernels *k) {
    k->softmax = softmax;
    k->silu = silu;
    k->silu_mul = silu_mul;
    k->sigmoid_mul = sigmoid_mul;
    k->kld_row = kld_row;
}
#endif
