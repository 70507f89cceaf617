/* Sampling: greedy, the sets of top-k and top-p against sorting, reproducible draws in the right proportions. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/sampler.h"

#define VOCAB 1000

static uint64_t random_state = 1;

static float random_float(void) {
    random_state = random_state * 6364136223846793005U + 1442695040888963407U;
    return (float)((double)(random_state >> 33) / 2147483648.0 * 12.0 - 6.0);
}

static void random_logits(float *x, size_t n) {
    for (size_t i = 0; i < n; i++)
        x[i] = random_float();
}

static int draw(tq_sampler *s, const float *logits, size_t n) {
    float *copy = malloc(n * sizeof *copy);
    assert_non_null(copy);
    memcpy(copy, logits, n * sizeof *copy);
    int id = tq_sampler_next(s, copy, n);
    free(copy);
    assert_in_range(id, 0, n - 1);
    return id;
}

static void test_greedy(void **state) {
    (void)state;
    tq_sampler s;
    tq_sampler_init(&s, &(tq_sampling){.temperature = 0.0F, .top_p = 1.0F, .seed = 1});
    const float x[] = {-3.0F, 2.0F, 7.5F, 7.5F, -INFINITY};
    assert_int_equal(draw(&s, x, 5), 2); /* the lowest of equals */
    assert_int_equal(draw(&s, x, 2), 1);
    assert_int_equal(draw(&s, x, 1), 0);
}

static void test_seed_decides(void **state) {
    (void)state;
    float x[VOCAB];
    random_logits(x, VOCAB);
    tq_sampling o = {.temperature = 1.0F, .top_k = 50, .top_p = 0.9F, .seed = 7};
    tq_sampler a, b, c;
    tq_sampler_init(&a, &o);
    tq_sampler_init(&b, &o);
    o.seed = 8;
    tq_sampler_init(&c, &o);
    int same = 0;
    for (int i = 0; i < 200; i++) {
        int id = draw(&a, x, VOCAB);
        assert_int_equal(id, draw(&b, x, VOCAB));
        same += id == draw(&c, x, VOCAB);
    }
    assert_true(same < 100);
}

typedef struct ranked {
    float x;
    int id;
} ranked;

static int best_first(const void *a, const void *b) {
    const ranked *p = a, *q = b;
    if (p->x != q->x) return p->x > q->x ? -1 : 1;
    return p->id - q->id;
}

/* Which ids may come, by sorting; returns how many. */
static size_t allowed_set(const float *x, size_t n, const tq_sampling *o, bool *allowed) {
    ranked *r = calloc(n, sizeof *r);
    double total = 0.0, sum = 0.0;
    size_t kept = 0;
    assert_non_null(r);
    for (size_t i = 0; i < n; i++)
        r[i] = (ranked){.x = x[i], .id = (int)i};
    qsort(r, n, sizeof *r, best_first);
    size_t k = o->top_k && o->top_k < n ? o->top_k : n;
    for (size_t i = 0; i < k; i++)
        total += exp((double)((r[i].x - r[0].x) / o->temperature));
    memset(allowed, 0, n * sizeof *allowed);
    for (size_t i = 0; i < k; i++) {
        if (kept && sum >= (double)o->top_p * total) break;
        allowed[r[i].id] = true;
        sum += exp((double)((r[i].x - r[0].x) / o->temperature));
        kept++;
    }
    free(r);
    return kept;
}

/* Only ids of the set come, and all of a small set do. */
static void check_set(const float *x, size_t n, const tq_sampling *o) {
    bool *allowed = calloc(n, sizeof *allowed), *seen = calloc(n, sizeof *seen);
    assert_non_null(allowed);
    assert_non_null(seen);
    size_t kept = allowed_set(x, n, o, allowed), distinct = 0;
    tq_sampler s;
    tq_sampler_init(&s, o);
    for (int i = 0; i < 2000; i++) {
        int id = draw(&s, x, n);
        if (!allowed[id])
            fail_msg("id %d is not among the %zu best (k %zu, p %g)", id, kept, o->top_k, (double)o->top_p);
        distinct += !seen[id];
        seen[id] = true;
    }
    if (kept <= 8) assert_int_equal(distinct, kept);
    free(allowed);
    free(seen);
}

static void test_top_k(void **state) {
    (void)state;
    float x[VOCAB];
    random_logits(x, VOCAB);
    static const size_t ks[] = {1, 2, 5, 40, 999, 1000, 5000};
    for (size_t i = 0; i < sizeof ks / sizeof ks[0]; i++)
        check_set(x, VOCAB, &(tq_sampling){.temperature = 2.0F, .top_k = ks[i], .top_p = 1.0F, .seed = 3});
    /* Equal values: the lowest ids stay. */
    for (size_t i = 0; i < VOCAB; i++)
        x[i] = i % 3 == 0 ? 1.5F : -1.5F;
    check_set(x, VOCAB, &(tq_sampling){.temperature = 1.0F, .top_k = 4, .top_p = 1.0F, .seed = 3});
    for (size_t i = 0; i < VOCAB; i++)
        x[i] = i == 500 ? 0.25F : i == 501 ? -0.25F : -INFINITY;
    check_set(x, VOCAB, &(tq_sampling){.temperature = 1.0F, .top_k = 8, .top_p = 1.0F, .seed = 3});
}

static void test_top_p(void **state) {
    (void)state;
    float x[VOCAB];
    random_logits(x, VOCAB);
    static const float ps[] = {0.0F, 0.01F, 0.3F, 0.5F, 0.9F, 0.95F, 0.999F};
    for (size_t i = 0; i < sizeof ps / sizeof ps[0]; i++) {
        check_set(x, VOCAB, &(tq_sampling){.temperature = 0.5F, .top_p = ps[i], .seed = 4});
        check_set(x, VOCAB, &(tq_sampling){.temperature = 1.3F, .top_k = 30, .top_p = ps[i], .seed = 4});
    }
    for (size_t i = 0; i < 8; i++)
        x[i] = 0.0F; /* .5 of eight equals: four */
    check_set(x, 8, &(tq_sampling){.temperature = 1.0F, .top_p = 0.5F, .seed = 4});
}

static void test_frequencies(void **state) {
    (void)state;
    const double want[] = {0.5, 0.25, 0.15, 0.1};
    float x[4];
    enum { DRAWS = 40000 };
    int count[4] = {0};
    for (int i = 0; i < 4; i++)
        x[i] = (float)log(want[i]) * 0.7F + 11.0F;
    tq_sampler s;
    tq_sampler_init(&s, &(tq_sampling){.temperature = 0.7F, .top_p = 1.0F, .seed = 42});
    for (int i = 0; i < DRAWS; i++)
        count[draw(&s, x, 4)]++;
    for (int i = 0; i < 4; i++) { /* four standard deviations */
        double deviation = sqrt(want[i] * (1.0 - want[i]) / DRAWS);
        assert_true(fabs((double)count[i] / DRAWS - want[i]) < 4.0 * deviation);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greedy), cmocka_unit_test(test_seed_decides), cmocka_unit_test(test_top_k),
        cmocka_unit_test(test_top_p),  cmocka_unit_test(test_frequencies),
    };
    return cmocka_run_group_tests_name("sampler", tests, NULL, NULL);
}
