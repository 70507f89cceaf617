/* kernels_float.c - tests of conversions, vectors, softmax and its kin, plain matrices times vectors. */
#include "tests/kernels_tests.h"
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SIZE_LIMIT = 4100, ROWS_LIMIT = 9 };

/* Three guarded inputs and two guarded outputs of SIZE_LIMIT floats. */
typedef struct arena {
    kt_guarded in[3], out[2];
} arena;

static void arena_new(arena *a, size_t floats) {
    for (size_t i = 0; i < 3; i++)
        kt_guarded_new(&a->in[i], floats * sizeof(float));
    for (size_t i = 0; i < 2; i++)
        kt_guarded_new(&a->out[i], floats * sizeof(float));
}

static void arena_free(arena *a) {
    for (size_t i = 0; i < 3; i++)
        kt_guarded_free(&a->in[i]);
    for (size_t i = 0; i < 2; i++)
        kt_guarded_free(&a->out[i]);
}

static void arena_check(const arena *a) {
    for (size_t i = 0; i < 3; i++)
        kt_check(&a->in[i]);
    for (size_t i = 0; i < 2; i++)
        kt_check(&a->out[i]);
}

/* Input i: n floats, random. kind 0: normal; 1: adversarial but finite; 2: with infinities and NaN. */
static float *input(kt_context *c, arena *a, size_t i, size_t n, int placement, int kind) {
    float *x = kt_place(&a->in[i], n * sizeof *x, sizeof *x, placement);
    kt_fill_floats(&c->random, x, n, kind > 0, kind > 1);
    return x;
}

static float *output(arena *a, size_t i, size_t n, int placement) {
    return kt_place(&a->out[i], n * sizeof(float), sizeof(float), placement);
}

/* Runs `body` with an arena for every size, placement and kind of input. */
typedef void each_body(kt_context *c, arena *a, size_t n, int placement, int kind);

static void each(kt_context *c, each_body *body) {
    arena a;
    size_t n;
    arena_new(&a, SIZE_LIMIT);
    for (size_t i = 0; (n = kt_size(i)) != SIZE_MAX; i++) {
        for (int placement = 0; placement < KT_PLACEMENTS; placement++) {
            for (int kind = 0; kind < 3; kind++) {
                body(c, &a, n, placement, kind);
                arena_check(&a);
            }
        }
    }
    arena_free(&a);
}

/* ---- conversions ---- */

static void widen(kt_context *c, arena *a, size_t n, int placement, int kind) {
    uint16_t *src = kt_place(&a->in[0], n * sizeof *src, sizeof *src, placement);
    float *dst = output(a, 0, n, placement), *ref = output(a, 1, n, placement);
    (void)kind;
    kt_fill_bytes(&c->random, src, n * sizeof *src, 255);
    c->k->bf16_to_f32(dst, src, n);
    c->s->bf16_to_f32(ref, src, n);
    assert_memory_equal(dst, ref, n * sizeof *dst);
    c->k->f16_to_f32(dst, src, n);
    c->s->f16_to_f32(ref, src, n);
    assert_memory_equal(dst, ref, n * sizeof *dst);
}

static void narrow(kt_context *c, arena *a, size_t n, int placement, int kind) {
    float *src = input(c, a, 0, n, placement, kind);
    uint16_t *dst = kt_place(&a->out[0], n * sizeof *dst, sizeof *dst, placement);
    uint16_t *ref = kt_place(&a->out[1], n * sizeof *ref, sizeof *ref, placement);
    if (kind == 2) kt_fill_bytes(&c->random, src, n * sizeof *src, 255);
    c->k->f32_to_bf16(dst, src, n);
    c->s->f32_to_bf16(ref, src, n);
    assert_memory_equal(dst, ref, n * sizeof *dst);
    c->k->f32_to_f16(dst, src, n);
    c->s->f32_to_f16(ref, src, n);
    assert_memory_equal(dst, ref, n * sizeof *dst);
}

static void test_conversions(kt_context *c) {
    each(c, widen);
    each(c, narrow);
}

typedef struct small_format {
    int exponent_bits, mantissa_bits;
    void (*widen)(float *dst, const uint16_t *src, size_t n);
    void (*narrow)(uint16_t *dst, const float *src, size_t n);
} small_format;

static unsigned narrow_one(const small_format *f, float x) {
    uint16_t h;
    f->narrow(&h, &x, 1);
    return h;
}

/* All 65536 patterns by the definition; between each two neighbours ties go to the even one, the rest to the nearer. */
static void exhaust(const small_format *f) {
    unsigned infinity = ((1u << f->exponent_bits) - 1) << f->mantissa_bits;
    for (unsigned h = 0; h < 65536; h++) {
        uint16_t src = (uint16_t)h;
        float x;
        double defined = kt_small_float(h, f->exponent_bits, f->mantissa_bits);
        f->widen(&x, &src, 1);
        if (isnan(defined)) {
            unsigned back = narrow_one(f, x);
            assert_true(isnan(x));
            assert_true((back & 0x7fff) > infinity && (back ^ h) >> 15 == 0);
            continue;
        }
        assert_true((double)x == defined && !signbit(x) == !(h & 0x8000));
        assert_int_equal(narrow_one(f, x), h);
        if ((h & 0x7fff) >= infinity) continue;
        /* The neighbour away from zero; past the largest one, where it would be if the exponent had room. */
        double next = (h & 0x7fff) + 1 == infinity
                          ? 2 * defined - kt_small_float(h - 1, f->exponent_bits, f->mantissa_bits)
                          : kt_small_float(h + 1, f->exponent_bits, f->mantissa_bits);
        float middle = (float)((defined + next) / 2), outward = h & 0x8000 ? -INFINITY : INFINITY;
        assert_true((double)middle == (defined + next) / 2);
        assert_int_equal(narrow_one(f, middle), h & 1 ? h + 1 : h);
        assert_int_equal(narrow_one(f, nextafterf(middle, outward)), h + 1);
        assert_int_equal(narrow_one(f, nextafterf(middle, -outward)), h);
    }
}

static void test_conversions_exhaustively(kt_context *c) {
    exhaust(&(small_format){8, 7, c->k->bf16_to_f32, c->k->f32_to_bf16});
    exhaust(&(small_format){5, 10, c->k->f16_to_f32, c->k->f32_to_f16});
}

/* ---- vectors ---- */

/* The bound on a sum of n products in fp32 over at least 8 accumulators, plus the rounding of the result. */
static double sum_bound(size_t n, double sum_abs) {
    return ((double)n / 8 + 8) * (double)FLT_EPSILON / 2 * sum_abs;
}

static void near_sum(float got, float want, size_t n, double sum_abs, const char *what) {
    if (isnan(want) || isnan(got) || isinf(sum_abs) || sum_abs > (double)FLT_MAX) return;
    double error = fabs((double)got - want), bound = sum_bound(n, sum_abs) + 1e-44;
    if (!(error <= bound)) fail_msg("%s of %zu: %.9g for %.9g", what, n, (double)got, (double)want);
}

static double abs_dot(const float *a, const float *b, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += fabs((double)a[i] * b[i]);
    return sum;
}

static void dot_body(kt_context *c, arena *a, size_t n, int placement, int kind) {
    const float *x = input(c, a, 0, n, placement, kind), *w = input(c, a, 1, n, placement, kind);
    float got = c->k->dot(x, w, n), want = c->s->dot(x, w, n);
    double sum = abs_dot(x, w, n);
    if (isnan(sum)) assert_true(isnan(got));
    near_sum(got, want, n, sum, "dot");
}

static void elementwise_body(kt_context *c, arena *a, size_t n, int placement, int kind) {
    const float *x = input(c, a, 0, n, placement, kind), *w = input(c, a, 1, n, placement, kind);
    float *y = output(a, 0, n, placement), *ref = output(a, 1, n, placement);
    memcpy(y, w, n * sizeof *y);
    memcpy(ref, w, n * sizeof *ref);
    c->k->axpy(y, 0.7f, x, n);
    c->s->axpy(ref, 0.7f, x, n);
    kt_same_floats(y, ref, n, "axpy");
    c->k->mul(y, x, w, n);
    c->s->mul(ref, x, w, n);
    kt_same_floats(y, ref, n, "mul");
    memcpy(y, x, n * sizeof *y);
    c->k->mul(y, y, w, n);
    kt_same_floats(y, ref, n, "mul in place");
}

static void near_floats(const float *got, const float *want, size_t n, double relative, const char *what) {
    for (size_t i = 0; i < n; i++) {
        if (isnan(want[i]) != isnan(got[i])) fail_msg("%s: value %zu of %zu: NaN in one only", what, i, n);
        if (isnan(want[i]) || want[i] == got[i]) continue;
        double error = fabs((double)got[i] - want[i]), bound = relative * fabs((double)want[i]) + 2e-45;
        if (!(error <= bound))
            fail_msg("%s: value %zu of %zu: %.9g for %.9g", what, i, n, (double)got[i], (double)want[i]);
    }
}

static void rmsnorm_body(kt_context *c, arena *a, size_t n, int placement, int kind) {
    const float *x = input(c, a, 0, n, placement, 0), *w = input(c, a, 1, n, placement, kind ? 1 : 0);
    float *y = output(a, 0, n, placement), *ref = output(a, 1, n, placement);
    double relative = ((double)n / 8 + 16) * (double)FLT_EPSILON / 2;
    c->k->rmsnorm(y, x, w, n, 1e-6f);
    c->s->rmsnorm(ref, x, w, n, 1e-6f);
    near_floats(y, ref, n, relative, "rmsnorm");
    memcpy(y, x, n * sizeof *y);
    c->k->rmsnorm(y, y, w, n, 1e-6f);
    near_floats(y, ref, n, relative, "rmsnorm in place");
}

static void test_vectors(kt_context *c) {
    each(c, dot_body);
    each(c, elementwise_body);
    each(c, rmsnorm_body);
}

/* ---- the exponential function and what is made of it ---- */

/* 2e-7 of the exponential, of the divisor, and the roundings around them; sums of n in fp32 add theirs. */
static const double EXP_TOLERANCE = 6e-7;

static void softmax_body(kt_context *c, arena *a, size_t n, int placement, int kind) {
    float *y = output(a, 0, n, placement), *ref = output(a, 1, n, placement);
    kt_fill_floats(&c->random, y, n, 0, 0);
    for (size_t i = 0; i < n; i++) {
        y[i] *= kind == 1 ? 30 : 4;
        if (kind == 2 && i && kt_below(&c->random, 5) == 0) y[i] = -INFINITY;
    }
    memcpy(ref, y, n * sizeof *y);
    c->k->softmax(y, n);
    c->s->softmax(ref, n);
    for (size_t i = 0; i < n; i++) {
        double error = fabs((double)y[i] - ref[i]), bound = EXP_TOLERANCE + (double)n / 16 * (double)FLT_EPSILON;
        if (!(error <= bound * (double)ref[i] + 1e-38))
            fail_msg("softmax: value %zu of %zu: %.9g for %.9g", i, n, (double)y[i], (double)ref[i]);
    }
}

static void silu_body(kt_context *c, arena *a, size_t n, int placement, int kind) {
    float *gate = input(c, a, 0, n, placement, kind);
    const float *up = input(c, a, 1, n, placement, 0);
    float *y = output(a, 0, n, placement), *ref = output(a, 1, n, placement);
    for (size_t i = 0; i < n; i++)
        gate[i] *= 8;
    /* Where e^x leaves the normal floats the result is subnormal, and only its absolute error can be small. */
    for (size_t i = 0; i < n; i++)
        gate[i] = gate[i] < -86 && gate[i] > -110 ? 0 : gate[i];
    memcpy(y, gate, n * sizeof *y);
    memcpy(ref, gate, n * sizeof *ref);
    c->k->silu(y, n);
    c->s->silu(ref, n);
    near_floats(y, ref, n, EXP_TOLERANCE, "silu");
    c->k->silu_mul(y, gate, up, n);
    c->s->silu_mul(ref, gate, up, n);
    near_floats(y, ref, n, EXP_TOLERANCE, "silu_mul");
    memcpy(y, up, n * sizeof *y);
    memcpy(ref, up, n * sizeof *ref);
    c->k->sigmoid_mul(y, gate, n);
    c->s->sigmoid_mul(ref, gate, n);
    near_floats(y, ref, n, EXP_TOLERANCE, "sigmoid_mul");
}

/* 1 / (1 + e^-x) over the range of floats: e^-x alone where it is large, so this is the error of the exponential. */
static void exponential_sweep(kt_context *c) {
    enum { COUNT = 200003 };
    float *x = malloc(COUNT * sizeof *x), *y = malloc(COUNT * sizeof *y);
    double worst = 0;
    assert_true(x && y);
    for (size_t i = 0; i < COUNT; i++) {
        x[i] = -87.0f * (float)i / (float)COUNT;
        y[i] = 1;
    }
    c->k->sigmoid_mul(y, x, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        double want = 1 / (1 + exp(-(double)x[i])), error = fabs(y[i] / want - 1);
        if (error > worst) worst = error;
    }
    free(x);
    free(y);
    print_message("worst relative error of the sigmoid: %.2e\n", worst);
    assert_true(worst <= 3.5e-7); /* 2e-7 of the exponential, 6e-8 each of the addition and the division */
}

static void test_exponentials(kt_context *c) {
    each(c, softmax_body);
    each(c, silu_body);
    exponential_sweep(c);
}

static void near_double(double got, double want, const char *what, size_t n) {
    if (isnan(got) && isnan(want)) return;
    if (got == want) return;
    if (!(fabs(got - want) <= 1e-12 * (1 + fabs(want)))) fail_msg("%s of %zu: %.17g for %.17g", what, n, got, want);
}

static void kld_body(kt_context *c, arena *a, size_t n, int placement, int kind) {
    tq_kld_row got, want;
    float *base = input(c, a, 0, n, placement, 0), *quant = input(c, a, 1, n, placement, 0);
    size_t target = n ? kt_below(&c->random, n) : 0;
    for (size_t i = 0; i < n; i++) {
        base[i] *= 5;
        quant[i] = base[i] + (kind == 0 ? 1e-4f : 1) * quant[i];
        if (kind == 2 && kt_below(&c->random, 6) == 0) base[i] = -INFINITY;
        if (kind == 2 && kt_below(&c->random, 6) == 0) base[i] = base[0]; /* equal maxima */
        if (kind == 2 && kt_below(&c->random, 9) == 0) base[i] -= 750;
        if (kind == 2 && kt_below(&c->random, 40) == 0) quant[i] = kt_below(&c->random, 2) ? -INFINITY : NAN;
    }
    c->k->kld_row(&got, base, quant, n, target);
    c->s->kld_row(&want, base, quant, n, target);
    near_double(got.kld, want.kld, "kld", n);
    near_double(got.base_logp, want.base_logp, "base_logp", n);
    near_double(got.quant_logp, want.quant_logp, "quant_logp", n);
    assert_int_equal(got.base_top, want.base_top);
    assert_int_equal(got.quant_top, want.quant_top);
    if (kind < 2) assert_true(got.kld >= -1e-14);
    memcpy(quant, base, n * sizeof *quant);
    c->k->kld_row(&got, base, quant, n, target);
    if (isfinite(got.base_logp) || n == 0) assert_true(got.kld == 0);
    assert_true(got.base_top == got.quant_top);
}

/* Against the definition, and with a vocabulary of real size. */
static void kld_definition(kt_context *c) {
    enum { COUNT = 50001 };
    float *base = malloc(COUNT * sizeof *base), *quant = malloc(COUNT * sizeof *quant);
    long double zp = 0, zq = 0, kl = 0;
    tq_kld_row row;
    assert_true(base && quant);
    kt_fill_floats(&c->random, base, COUNT, 0, 0);
    kt_fill_floats(&c->random, quant, COUNT, 0, 0);
    for (size_t i = 0; i < COUNT; i++)
        quant[i] = base[i] + 0.01f * quant[i];
    for (size_t i = 0; i < COUNT; i++) {
        zp += expl(base[i]);
        zq += expl(quant[i]);
    }
    for (size_t i = 0; i < COUNT; i++)
        kl += expl(base[i]) / zp * ((base[i] - logl(zp)) - (quant[i] - logl(zq)));
    c->k->kld_row(&row, base, quant, COUNT, 7);
    assert_true(fabs(row.kld - (double)kl) <= 1e-13);
    assert_true(fabs(row.base_logp - (double)(base[7] - logl(zp))) <= 1e-12);
    free(base);
    free(quant);
}

static void test_divergence(kt_context *c) {
    each(c, kld_body);
    kld_definition(c);
}

/* ---- plain matrices ---- */

typedef struct matvec_case {
    const float *x;
    const uint16_t *w16;
    const float *w32;
    size_t rows, cols;
} matvec_case;

static void check_rows(const float *y, const float *want, const float *w, const matvec_case *m, const char *what) {
    for (size_t r = 0; r < m->rows; r++)
        near_sum(y[r], want[r], m->cols, abs_dot(w + r * m->cols, m->x, m->cols), what);
}

static void matvec_all(kt_context *c, arena *a, const matvec_case *m, float *wide, int placement) {
    float *y = output(a, 0, m->rows, placement), *ref = output(a, 1, m->rows, placement), alone;
    c->k->matvec_bf16(y, m->w16, m->x, m->rows, m->cols);
    c->s->matvec_bf16(ref, m->w16, m->x, m->rows, m->cols);
    c->s->bf16_to_f32(wide, m->w16, m->rows * m->cols);
    check_rows(y, ref, wide, m, "matvec_bf16");
    for (size_t r = 0; r < m->rows; r++) {
        c->k->matvec_bf16(&alone, m->w16 + r * m->cols, m->x, 1, m->cols);
        kt_same_floats(&alone, y + r, 1, "a row alone, bf16");
    }
    c->k->matvec_f16(y, m->w16, m->x, m->rows, m->cols);
    c->s->matvec_f16(ref, m->w16, m->x, m->rows, m->cols);
    c->s->f16_to_f32(wide, m->w16, m->rows * m->cols);
    check_rows(y, ref, wide, m, "matvec_f16");
    for (size_t r = 0; r < m->rows; r++) {
        c->k->matvec_f16(&alone, m->w16 + r * m->cols, m->x, 1, m->cols);
        kt_same_floats(&alone, y + r, 1, "a row alone, f16");
    }
    c->k->matvec_f32(y, m->w32, m->x, m->rows, m->cols);
    c->s->matvec_f32(ref, m->w32, m->x, m->rows, m->cols);
    check_rows(y, ref, m->w32, m, "matvec_f32");
}

/* w as [cols, rows] too: its rows are then summed up. */
static void matvec_transposed(kt_context *c, arena *a, const matvec_case *m, float *column, int placement) {
    float *y = output(a, 0, m->rows, placement), *ref = output(a, 1, m->rows, placement);
    c->k->matvec_t_f32(y, m->w32, m->x, m->cols, m->rows);
    c->s->matvec_t_f32(ref, m->w32, m->x, m->cols, m->rows);
    for (size_t r = 0; r < m->rows; r++) {
        double want = 0;
        for (size_t i = 0; i < m->cols; i++) {
            column[i] = m->w32[i * m->rows + r];
            want += (double)column[i] * m->x[i];
        }
        double bound = abs_dot(column, m->x, m->cols);
        near_sum(ref[r], (float)want, m->cols, bound, "matvec_t_f32 by its definition");
        near_sum(y[r], ref[r], m->cols, bound, "matvec_t_f32");
    }
}

static void test_plain_matvec(kt_context *c) {
    arena a;
    size_t cols;
    float *wide = malloc((size_t)SIZE_LIMIT * ROWS_LIMIT * sizeof *wide);
    assert_non_null(wide);
    arena_new(&a, (size_t)SIZE_LIMIT * ROWS_LIMIT);
    for (size_t i = 0; (cols = kt_size(i)) != SIZE_MAX; i++) {
        size_t rows = kt_below(&c->random, ROWS_LIMIT + 1), n = rows * cols;
        int placement = (int)kt_below(&c->random, KT_PLACEMENTS), kind = (int)kt_below(&c->random, 2);
        float *w32 = input(c, &a, 0, n, placement, kind);
        uint16_t *w16 = kt_place(&a.in[1], n * sizeof *w16, sizeof *w16, placement);
        for (size_t j = 0; j < n; j++)
            w16[j] = (uint16_t)(kt_next(&c->random) & 0xbfff); /* finite in both formats */
        matvec_case m = {input(c, &a, 2, cols, placement, kind), w16, w32, rows, cols};
        matvec_all(c, &a, &m, wide, placement);
        matvec_transposed(c, &a, &m, wide, placement);
        arena_check(&a);
    }
    arena_free(&a);
    free(wide);
}

static void read_sum_body(kt_context *c, arena *a, size_t n, int placement, int kind) {
    (void)kind;
    uint8_t *p = kt_place(&a->in[0], n, 1, placement);
    kt_fill_bytes(&c->random, p, n, 255);
    assert_true(c->k->read_sum(p, n) == c->s->read_sum(p, n));
}

static void test_read_sum(kt_context *c) {
    each(c, read_sum_body);
}

const kt_test kt_float_tests[] = {
    {"conversions", test_conversions}, {"conversions, every pattern", test_conversions_exhaustively},
    {"vectors", test_vectors},         {"exponentials", test_exponentials},
    {"divergence", test_divergence},   {"plain matrices", test_plain_matvec},
    {"read_sum", test_read_sum},       {NULL, NULL}};
