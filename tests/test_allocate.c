/* The solver against all combinations, and on problems too large for that against its own bound. --seed N. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "quant/allocate.h"

#define ITEMS_MAX 400
#define CHOICES_MAX 25

static uint64_t seed, random_state;

static uint64_t next(void) { /* splitmix64 */
    uint64_t z = random_state += 0x9e3779b97f4a7c15U;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

static double uniform(void) {
    return (double)(next() >> 11) * 0x1p-53;
}

typedef struct problem {
    tq_alloc_choice choices[ITEMS_MAX][CHOICES_MAX];
    tq_alloc_item items[ITEMS_MAX];
    size_t n, chosen[ITEMS_MAX];
} problem;

/* whole: small whole numbers, so that ties abound. */
static void make_problem(problem *p, size_t n, size_t choices, bool whole) {
    p->n = n;
    for (size_t i = 0; i < n; i++) {
        p->items[i] = (tq_alloc_item){p->choices[i], 1 + next() % choices};
        for (size_t c = 0; c < p->items[i].n; c++)
            p->choices[i][c] = whole ? (tq_alloc_choice){(double)(next() % 12), (double)(next() % 12)}
                                     : (tq_alloc_choice){1000 * uniform(), uniform()};
    }
}

static double total(const problem *p, bool heaviest) {
    double sum = 0;
    for (size_t i = 0; i < p->n; i++) {
        double w = p->choices[i][0].weight;
        for (size_t c = 1; c < p->items[i].n; c++)
            w = heaviest ? fmax(w, p->choices[i][c].weight) : fmin(w, p->choices[i][c].weight);
        sum += w;
    }
    return sum;
}

static double best_of_all(const problem *p, double limit) {
    size_t at[ITEMS_MAX] = {0};
    double best = INFINITY;
    for (;;) {
        double weight = 0, cost = 0;
        for (size_t i = 0; i < p->n; i++) {
            weight += p->choices[i][at[i]].weight;
            cost += p->choices[i][at[i]].cost;
        }
        if (weight <= limit) best = fmin(best, cost);
        size_t i = 0;
        while (i < p->n && ++at[i] == p->items[i].n)
            at[i++] = 0;
        if (i == p->n) return best;
    }
}

static tq_allocation solve(problem *p, double limit, bool *possible) {
    tq_allocation a;
    tq_err err = {{0}};
    assert_int_equal(tq_allocate(p->items, p->n, limit, p->chosen, &a, possible, &err), TQ_OK);
    double weight = 0, cost = 0;
    for (size_t i = 0; i < p->n; i++) {
        assert_true(p->chosen[i] < p->items[i].n);
        weight += p->choices[i][p->chosen[i]].weight;
        cost += p->choices[i][p->chosen[i]].cost;
    }
    assert_true(weight == a.weight && cost == a.cost);
    assert_true(a.bound <= a.cost);
    if (*possible) assert_true(weight <= limit * (1 + 1e-12));
    return a;
}

static void every_combination(void **state) {
    problem *p = malloc(sizeof *p);
    (void)state;
    for (int round = 0; round < 600; round++) {
        bool possible = false, whole = round % 2;
        make_problem(p, 1 + next() % 6, 5, whole);
        double least = total(p, false), most = total(p, true),
               limit = least + (most - least) * (1.1 * uniform() - 0.05);
        if (whole) limit = floor(limit);
        double best = best_of_all(p, limit);
        tq_allocation a = solve(p, limit, &possible);
        assert_int_equal(possible, isfinite(best));
        assert_true(fabs(a.least - least) <= 1e-9 * (1 + least));
        if (!possible) continue;
        assert_true(a.exact);
        assert_true(fabs(a.cost - best) <= 1e-9 * (1 + best));
        assert_true(a.bound == a.cost);
    }
    free(p);
}

/* As models are: the weights of all items stand in the same proportions, costs fall by an order of magnitude a step. */
static void as_large_as_models(void **state) {
    problem *p = malloc(sizeof *p);
    static const double bits[] = {4.06, 4.13, 4.25, 4.5, 6.06, 6.13, 6.25, 8.06, 8.13, 16};
    (void)state;
    for (int round = 0; round < 12; round++) {
        p->n = round < 8 ? 250 : ITEMS_MAX;
        for (size_t i = 0; i < p->n; i++) {
            double size = (double)((1 + next() % 12) << 17), a = exp(4 * uniform()) * size / 1e9;
            p->items[i] = (tq_alloc_item){p->choices[i], sizeof bits / sizeof *bits};
            for (size_t c = 0; c < p->items[i].n; c++)
                p->choices[i][c] =
                    (tq_alloc_choice){bits[c] * size, a * exp2(-1.9 * bits[c]) * (0.9 + 0.2 * uniform())};
        }
        bool possible = false;
        double least = total(p, false), most = total(p, true);
        double start = tq_now(), limit = least + (most - least) * (0.02 + 0.08 * round);
        tq_allocation a = solve(p, limit, &possible);
        print_message("%3zu items: cost %.6g, at most %.2g above the best%s, %.0f ms\n", p->n, a.cost, a.cost - a.bound,
                      a.exact ? " (exact)" : "", 1e3 * (tq_now() - start));
        assert_true(possible);
        assert_true(a.cost - a.bound <= 1e-3 * a.cost);
        assert_true(a.weight > 0.999 * limit);
    }
    free(p);
}

static void limits(void **state) {
    problem *p = malloc(sizeof *p);
    bool possible = true;
    tq_err err = {{0}};
    tq_allocation a;
    (void)state;
    make_problem(p, 20, 6, false);
    a = solve(p, INFINITY, &possible); /* the cheapest of each */
    double cheapest = 0;
    for (size_t i = 0; i < p->n; i++) {
        double c = INFINITY;
        for (size_t k = 0; k < p->items[i].n; k++)
            c = fmin(c, p->choices[i][k].cost);
        cheapest += c;
    }
    assert_true(possible && a.exact && fabs(a.cost - cheapest) < 1e-9);
    double least = a.least;
    a = solve(p, least, &possible); /* the lightest of each, no less */
    assert_true(possible && a.weight == least);
    a = solve(p, least * 0.999, &possible);
    assert_false(possible);
    assert_true(a.weight == least);
    assert_int_equal(tq_allocate(NULL, 0, 1, NULL, &a, &possible, &err), TQ_OK);
    assert_true(possible && a.cost == 0 && a.weight == 0);
    free(p);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_combination),
        cmocka_unit_test(as_large_as_models),
        cmocka_unit_test(limits),
    };
    seed = argc > 2 && strcmp(argv[1], "--seed") == 0 ? strtoull(argv[2], NULL, 10) : (uint64_t)time(NULL);
    random_state = seed;
    print_message("--seed %llu\n", (unsigned long long)seed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
