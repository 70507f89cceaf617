/* kernels_coding.c - tests of the Hadamard transform, of codes, levels and moments. All but moments to the bit. */
#include "tests/kernels_tests.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void hadamard_definition(kt_context *c, const float *x, const float *got, size_t n, float scale) {
    (void)c;
    for (size_t i = 0; i < n; i++) {
        double sum = 0, sum_abs = 0;
        for (size_t j = 0; j < n; j++) {
            sum += __builtin_parityll(i & j) ? -(double)x[j] : x[j];
            sum_abs += fabs((double)x[j]);
        }
        assert_true(fabs(got[i] - sum * scale) <= 1e-6 * sum_abs * scale); /* 13 stages of half an ulp: 7.8e-7 */
    }
}

static void test_hadamard(kt_context *c) {
    enum { LIMIT = 8192 };
    kt_guarded got, want;
    float *x = malloc(LIMIT * sizeof *x);
    assert_non_null(x);
    kt_guarded_new(&got, LIMIT * sizeof *x);
    kt_guarded_new(&want, LIMIT * sizeof *x);
    for (size_t n = 1; n <= LIMIT; n *= 2) {
        for (int round = 0; round < 6; round++) {
            int placement = round % KT_PLACEMENTS, kind = round / KT_PLACEMENTS;
            float scale = (float)(1 / sqrt((double)n));
            float *y = kt_place(&got, n * sizeof *y, sizeof *y, placement);
            float *ref = kt_place(&want, n * sizeof *ref, sizeof *ref, KT_AT_END);
            kt_fill_floats(&c->random, x, n, kind, kind);
            memcpy(y, x, n * sizeof *y);
            memcpy(ref, x, n * sizeof *ref);
            c->k->hadamard(y, n, scale);
            c->s->hadamard(ref, n, scale);
            kt_same_floats(y, ref, n, "hadamard");
            kt_check(&got);
            if (kind == 0 && n <= 1024) hadamard_definition(c, x, y, n, scale);
        }
    }
    float nothing = 5;
    c->k->hadamard(&nothing, 0, 2);
    assert_true(nothing == 5);
    kt_guarded_free(&got);
    kt_guarded_free(&want);
    free(x);
}

static int ascending(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Ascending bounds, now and then equal ones. */
static void random_bounds(kt_random *r, float *bounds, int count) {
    for (int i = 0; i < count; i++)
        bounds[i] = i && kt_below(r, 8) == 0 ? bounds[i - 1] : kt_normal(r);
    qsort(bounds, (size_t)count, sizeof *bounds, ascending);
}

typedef struct coding {
    kt_guarded z, codes, fine, out[2];
} coding;

enum { SIZE_LIMIT = 4100 };

static void coding_new(coding *g) {
    kt_guarded_new(&g->z, SIZE_LIMIT * sizeof(float));
    kt_guarded_new(&g->codes, SIZE_LIMIT);
    kt_guarded_new(&g->fine, SIZE_LIMIT);
    for (size_t i = 0; i < 2; i++)
        kt_guarded_new(&g->out[i], SIZE_LIMIT * sizeof(float));
}

static void coding_free(coding *g) {
    kt_guarded_free(&g->z);
    kt_guarded_free(&g->codes);
    kt_guarded_free(&g->fine);
    for (size_t i = 0; i < 2; i++)
        kt_guarded_free(&g->out[i]);
}

static void encode_case(kt_context *c, coding *g, size_t n, int placement) {
    static const int counts[] = {15, 3, 1, 7, 14, 255, 0};
    float bounds[255], *z = kt_place(&g->z, n * sizeof *z, sizeof *z, placement);
    uint8_t *codes = kt_place(&g->codes, n, 1, placement), *ref = kt_place(&g->out[0], n, 1, placement);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        int count = counts[i];
        random_bounds(&c->random, bounds, count);
        kt_fill_floats(&c->random, z, n, 1, 1);
        for (size_t j = 0; j < n && count > 0; j++) {
            if (kt_below(&c->random, 4) == 0) z[j] = bounds[kt_below(&c->random, (size_t)count)];
        }
        c->k->encode(codes, z, n, bounds, count);
        c->s->encode(ref, z, n, bounds, count);
        assert_memory_equal(codes, ref, n);
        kt_check(&g->codes);
    }
}

static void encode_fine_case(kt_context *c, coding *g, size_t n, int placement) {
    float *z = kt_place(&g->z, n * sizeof *z, sizeof *z, placement);
    uint8_t *codes = kt_place(&g->codes, n, 1, placement), *fine = kt_place(&g->fine, n, 1, placement);
    uint8_t *ref = kt_place(&g->out[0], n, 1, placement);
    for (int count = 3; count <= 15; count += 12) {
        tq_fine_search s = {.count = count};
        random_bounds(&c->random, s.bounds[0], count);
        random_bounds(&c->random, s.bounds[1], count);
        for (size_t i = 0; i < 16; i++) {
            s.a[i] = kt_normal(&c->random);
            s.inv_v[i] = kt_normal(&c->random);
        }
        kt_fill_floats(&c->random, z, n, 1, 1);
        kt_fill_bytes(&c->random, codes, n, 15);
        c->k->encode_fine(fine, codes, z, n, &s);
        c->s->encode_fine(ref, codes, z, n, &s);
        assert_memory_equal(fine, ref, n);
        kt_check(&g->fine);
    }
}

static void levels_case(kt_context *c, coding *g, size_t n, int placement) {
    uint8_t *codes = kt_place(&g->codes, n, 1, placement), *fine = kt_place(&g->fine, n, 1, placement);
    float *out = kt_place(&g->out[0], n * sizeof *out, sizeof *out, placement);
    float *ref = kt_place(&g->out[1], n * sizeof *ref, sizeof *ref, placement);
    for (int extreme = 0; extreme < 2; extreme++) {
        tq_levels l;
        kt_random_levels(&c->random, &l, 4, extreme);
        kt_fill_bytes(&c->random, codes, n, 15);
        kt_fill_bytes(&c->random, fine, n, 15);
        c->k->levels(out, codes, fine, n, &l);
        c->s->levels(ref, codes, fine, n, &l);
        kt_same_floats(out, ref, n, "levels");
        for (size_t i = 0; i < n; i++) {
            int outer = codes[i] == 0 || codes[i] == 15;
            assert_true(out[i] == (float)(l.a[codes[i]] + l.v[codes[i]] * l.fine[outer][fine[i]]));
        }
        c->k->levels(out, codes, NULL, n, &l);
        c->s->levels(ref, codes, NULL, n, &l);
        kt_same_floats(out, ref, n, "levels without a fine plane");
        kt_check(&g->out[0]);
    }
}

static void moments_case(kt_context *c, coding *g, size_t n, int placement) {
    float *z = kt_place(&g->z, n * sizeof *z, sizeof *z, placement);
    float *q = kt_place(&g->out[0], n * sizeof *q, sizeof *q, placement);
    double got[3], want[3], sum_abs = 0;
    kt_fill_floats(&c->random, z, n, 1, 0);
    kt_fill_floats(&c->random, q, n, 1, 0);
    c->k->moments(got, z, q, n);
    c->s->moments(want, z, q, n);
    for (size_t i = 0; i < n; i++)
        sum_abs += fabs((double)z[i] * q[i]);
    double relative = ((double)n + 8) * 0x1p-53 * 2;
    assert_true(fabs(got[0] - want[0]) <= relative * sum_abs);
    assert_true(fabs(got[1] - want[1]) <= relative * want[1]);
    assert_true(fabs(got[2] - want[2]) <= relative * want[2]);
}

typedef void coding_case(kt_context *c, coding *g, size_t n, int placement);

static void each_coding(kt_context *c, coding_case *body) {
    coding g;
    size_t n;
    coding_new(&g);
    for (size_t i = 0; (n = kt_size(i)) != SIZE_MAX; i++) {
        for (int placement = 0; placement < KT_PLACEMENTS; placement++)
            body(c, &g, n, placement);
    }
    coding_free(&g);
}

static void test_encode(kt_context *c) {
    each_coding(c, encode_case);
}
static void test_encode_fine(kt_context *c) {
    each_coding(c, encode_fine_case);
}
static void test_levels(kt_context *c) {
    each_coding(c, levels_case);
}
static void test_moments(kt_context *c) {
    each_coding(c, moments_case);
}

/* Codes and residual codes are those of encode and encode_fine, whether the shortcut is taken or not. */
static void fit_case(kt_context *c, coding *g, const tq_coder *coder, size_t n, int kind) {
    int placement = (int)kt_below(&c->random, KT_PLACEMENTS), residual = coder->search.count > 0;
    float *z = kt_place(&g->z, n * sizeof *z, sizeof *z, placement);
    uint8_t *codes = kt_place(&g->codes, n, 1, placement), *fine = kt_place(&g->fine, n, 1, placement);
    uint8_t *ref = kt_place(&g->out[0], 2 * n, 1, KT_AT_END);
    kt_fill_floats(&c->random, z, n, kind, kind);
    for (size_t i = 0; i < n && kind; i++)
        if (kt_below(&c->random, 4) == 0) z[i] = coder->bounds[kt_below(&c->random, (size_t)coder->count)];
    double sums[3], want[3];
    memset(fine, 0x5a, n);
    c->k->encode_fit(codes, fine, sums, z, n, coder);
    c->s->encode(ref, z, n, coder->bounds, coder->count);
    assert_memory_equal(codes, ref, n);
    if (residual) {
        c->s->encode_fine(ref + n, ref, z, n, &coder->search);
        assert_memory_equal(fine, ref + n, n);
    }
    kt_check(&g->codes);
    kt_check(&g->fine);
    if (kind) return;
    c->s->encode_fit(ref, ref + n, want, z, n, coder);
    double step = (double)coder->levels->step, cross = step * want[0], energy = step * step * want[1];
    double error = want[2] - 2 * cross + energy, got = sums[2] - 2 * step * sums[0] + step * step * sums[1];
    double root = sqrt(fabs(error) * want[1]); /* at least the magnitude of <z - step * c, c> */
    assert_true(fabs(sums[0] - want[0]) <= 1e-6 * (step * want[1] + root));
    assert_true(fabs(sums[1] - want[1]) <= 1e-6 * want[1]);
    assert_true(fabs(sums[2] - want[2]) <= 1e-6 * (fabs(error) + 2 * step * root + energy));
    assert_true(fabs(got - error) <= 1e-6 * fabs(error) + 1e-12 * (want[2] + energy));
    if (energy == 0) return;
    double left = want[2] - cross * cross / energy, got_left = sums[2] - sums[0] * sums[0] / sums[1];
    assert_true(fabs(got_left - left) <= 2e-6 * fabs(error) + 1e-12 * (want[2] + energy));
}

static void test_encode_fit(kt_context *c) {
    static const float lloyd[] = {-2.4F, -1.84F, -1.44F, -1.1F, -0.8F, -0.52F, -0.26F, 0,
                                  0.26F, 0.52F,  0.8F,   1.1F,  1.44F, 1.84F,  2.4F};
    coding g;
    coding_new(&g);
    int shortcuts = 0;
    for (int round = 0; round < 40; round++) {
        tq_levels levels;
        tq_fine_search search = {.count = round % 4 == 0 ? 0 : round % 2 ? 15 : 3};
        float bounds[15];
        int plain = round & 8;
        kt_random_levels(&c->random, &levels, search.count == 0 ? 0 : search.count == 3 ? 2 : 4, 0);
        levels.step = 2.7F / (search.count ? 32767 : 127);
        random_bounds(&c->random, bounds, 15);
        for (int i = 0; i < 16; i++) {
            search.a[i] = levels.step * (float)levels.a[i];
            search.inv_v[i] = 100 + 10 * kt_normal(&c->random);
        }
        for (int i = 0; i < search.count; i++)
            for (int k = 0; k < 2; k++)
                search.bounds[k][i] = (k ? 7 : 2) * (float)(i + 1) + (plain ? 0 : 2 * kt_normal(&c->random));
        for (int k = 0; k < 2; k++)
            qsort(search.bounds[k], (size_t)search.count, sizeof(float), ascending);
        tq_coder coder;
        tq_coder_init(&coder, &levels, plain ? lloyd : bounds, 15, &search);
        shortcuts += coder.shortcut;
        for (size_t n = 0; n < 300; n += 1 + n / 20)
            for (int kind = 0; kind < 2; kind++)
                fit_case(c, &g, &coder, n, kind);
    }
    assert_in_range(shortcuts, 10, 39);
    coding_free(&g);
}

static void test_rotate(kt_context *c) {
    float x[1024], signs[1024], y[1024], want[1024];
    for (size_t n = 1; n <= 1024; n *= 2) {
        kt_fill_floats(&c->random, x, n, 0, 0);
        for (size_t i = 0; i < n; i++)
            want[i] = x[i] * (signs[i] = kt_below(&c->random, 2) ? -1 : 1);
        c->s->hadamard(want, n, 0.3F);
        c->k->rotate(y, x, signs, n, 0.3F);
        kt_same_floats(y, want, n, "rotate");
        c->k->rotate(x, x, signs, n, 0.3F);
        kt_same_floats(x, want, n, "rotate in place");
    }
}

const kt_test kt_coding_tests[] = {{"hadamard", test_hadamard},       {"encode", test_encode},
                                   {"encode_fine", test_encode_fine}, {"levels", test_levels},
                                   {"moments", test_moments},         {"encode_fit", test_encode_fit},
                                   {"rotate", test_rotate},           {NULL, NULL}};
