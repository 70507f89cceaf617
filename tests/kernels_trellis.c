/* kernels_trellis.c - tests of the search for trellis codes and of their levels. All to the bit. */
#include "tests/kernels_tests.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { STEPS_MAX = 300, LANES = TQ_TILE_ROWS };

/* As kernels.h words it. */
static int32_t branch_of(const tq_levels *l, int states, unsigned i) {
    unsigned n = i >> 4 & 15, p = states == 16 ? i & 15 : i >> 8, pp = states == 16 ? 0 : i & 15;
    int level = (l->a[n] + l->v[n] * (l->u[p] + l->t[pp])) / 2 * 2;
    return (int32_t)((uint32_t)((level * level + 1024) / 2048) << 16 | (uint16_t)(-2 * level));
}

static void random_trellis(kt_random *r, tq_trellis *t, int states, int extreme) {
    tq_levels l;
    kt_random_trellis(r, &l, states > 16, extreme);
    t->states = states;
    for (unsigned i = 0; i < (unsigned)states * 16; i++)
        t->branch[i] = branch_of(&l, states, i);
}

/* kind 0: about the range of the levels, 1: anything, 2: at the limits, long stretches of one sign, 3: all equal */
static void fill_steps(kt_random *r, int16_t *z, size_t n, int kind) {
    int sign = 1, same = (int)kt_below(r, 2 * TQ_TRELLIS_Z_MAX + 1) - TQ_TRELLIS_Z_MAX;
    for (size_t i = 0; i < n; i++) {
        if (kt_below(r, 100) == 0) sign = -sign;
        int any = (int)kt_below(r, 2 * TQ_TRELLIS_Z_MAX + 1) - TQ_TRELLIS_Z_MAX;
        z[i] = (int16_t)(kind == 0 ? any / 3 : kind == 1 ? any : kind == 2 ? sign * TQ_TRELLIS_Z_MAX : same);
    }
}

typedef struct buffers {
    kt_guarded z, codes, ref, work[2];
} buffers;

static void buffers_new(buffers *g) {
    kt_guarded_new(&g->z, STEPS_MAX * LANES * sizeof(int16_t));
    kt_guarded_new(&g->codes, STEPS_MAX * LANES);
    kt_guarded_new(&g->ref, STEPS_MAX * LANES);
    for (int i = 0; i < 2; i++)
        kt_guarded_new(&g->work[i], TQ_TRELLIS_WORK(256, STEPS_MAX));
}

static void buffers_free(buffers *g) {
    kt_guarded_free(&g->z);
    kt_guarded_free(&g->codes);
    kt_guarded_free(&g->ref);
    for (int i = 0; i < 2; i++)
        kt_guarded_free(&g->work[i]);
}

/* Costs of beginning: 0 in the state first, or (NULL) different ones in all. */
static void start_costs(int32_t *cost, int states, const uint8_t *first) {
    for (int s = 0; s < states; s++)
        for (int i = 0; i < LANES; i++)
            cost[s * LANES + i] = (first ? (first[i] == s ? 0 : TQ_TRELLIS_FORBIDDEN) : (s * 31 + i) % 64 * 4096) |
                                  tq_trellis_index(states, s);
}

static void search_case(kt_context *c, buffers *g, const tq_trellis *t, size_t steps, int kind) {
    size_t n = steps * LANES, work = TQ_TRELLIS_WORK(t->states, steps);
    int placement = (int)kt_below(&c->random, KT_PLACEMENTS);
    int16_t *z = kt_place(&g->z, n * sizeof *z, sizeof *z, placement);
    uint8_t *codes = kt_place(&g->codes, n, 1, placement), *ref = kt_place(&g->ref, n, 1, placement);
    void *work_k = kt_place(&g->work[0], work, 4, placement), *work_s = kt_place(&g->work[1], work, 4, KT_AT_END);
    fill_steps(&c->random, z, n, kind);
    uint8_t ends[2][LANES];
    for (size_t i = 0; i < LANES; i++) {
        ends[0][i] = (uint8_t)kt_below(&c->random, (size_t)t->states);
        ends[1][i] = (uint8_t)kt_below(&c->random, (size_t)t->states);
    }
    const uint8_t *first = kt_below(&c->random, 2) ? ends[0] : NULL, *last = kt_below(&c->random, 2) ? ends[1] : NULL;
    int32_t cost[3][256 * LANES];
    for (int i = 0; i < 3; i++)
        start_costs(cost[i], t->states, first);
    c->k->trellis(codes, z, steps, t, cost[0], last, work_k);
    c->s->trellis(ref, z, steps, t, cost[1], last, work_s);
    assert_memory_equal(codes, ref, n);
    assert_memory_equal(cost[0], cost[1], (size_t)t->states * LANES * sizeof **cost);
    for (size_t i = 0; i < n; i++)
        assert_true(codes[i] < 16);
    for (size_t i = 0; last && steps && i < LANES; i++)
        assert_int_equal(codes[n - LANES + i], last[i] & 15);
    kt_check(&g->z);
    kt_check(&g->codes);
    kt_check(&g->work[0]);
    c->k->trellis((uint8_t *)z, z, steps, t, cost[2], last, work_k); /* in place */
    assert_memory_equal(z, ref, n);
}

static void test_search(kt_context *c) {
    static const size_t steps[] = {0, 1, 2, 3, 4, 5, 8, 9, 31, 64, STEPS_MAX};
    tq_trellis *t = malloc(sizeof *t);
    buffers g;
    assert_non_null(t);
    buffers_new(&g);
    for (int states = 16; states <= 256; states += 240) {
        for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
            for (int kind = 0; kind < 8; kind++) {
                random_trellis(&c->random, t, states, kind >= 4);
                search_case(c, &g, t, steps[i], kind % 4);
            }
        }
    }
    buffers_free(&g);
    free(t);
}

static int64_t path_cost(const tq_trellis *t, const int16_t *z, const unsigned *codes, size_t steps) {
    int64_t cost = 0;
    unsigned p = 0, pp = 0;
    for (size_t k = 0; k < steps; k++) {
        unsigned n = codes[k];
        int32_t b = t->branch[t->states == 16 ? n * 16 + p : (p * 16 + n) * 16 + pp];
        cost += (int64_t)2048 * (b >> 16) + (int64_t)((z[k * LANES] + 2) & ~3) * (int16_t)(b & 0xffff);
        pp = p;
        p = n;
    }
    return cost;
}

/* No other path of three codes costs less. */
static void test_best(kt_context *c) {
    enum { STEPS = 3 };
    tq_trellis *t = malloc(sizeof *t);
    int16_t z[STEPS * LANES];
    uint8_t codes[STEPS * LANES], zeros[LANES] = {0};
    int32_t cost[256 * LANES];
    uint32_t work[TQ_TRELLIS_WORK(256, STEPS) / 4];
    assert_non_null(t);
    for (int round = 0; round < 24; round++) {
        random_trellis(&c->random, t, round & 1 ? 256 : 16, 0);
        fill_steps(&c->random, z, STEPS * LANES, round % 3);
        start_costs(cost, t->states, zeros);
        c->k->trellis(codes, z, STEPS, t, cost, NULL, work);
        for (size_t lane = 0; lane < LANES; lane++) {
            unsigned path[STEPS] = {codes[lane], codes[LANES + lane], codes[2 * LANES + lane]};
            int64_t found = path_cost(t, z + lane, path, STEPS), least = INT64_MAX;
            for (unsigned i = 0; i < 4096; i++) {
                int64_t other = path_cost(t, z + lane, (const unsigned[]){i & 15, i >> 4 & 15, i >> 8}, STEPS);
                if (other < least) least = other;
            }
            assert_true(found == least);
        }
    }
    free(t);
}

static void test_levels(kt_context *c) {
    size_t n;
    kt_guarded codes[3], out;
    for (int i = 0; i < 3; i++)
        kt_guarded_new(&codes[i], 4100);
    kt_guarded_new(&out, 4100 * sizeof(float));
    for (size_t i = 0; (n = kt_size(i)) != SIZE_MAX; i++) {
        int placement = (int)(i % KT_PLACEMENTS);
        tq_levels l;
        uint8_t *in[3];
        float *y = kt_place(&out, n * sizeof *y, sizeof *y, placement);
        kt_random_trellis(&c->random, &l, i & 1, i % 5 == 0);
        for (int j = 0; j < 3; j++) {
            in[j] = kt_place(&codes[j], n, 1, placement);
            kt_fill_bytes(&c->random, in[j], n, 15);
        }
        c->k->trellis_levels(y, in[0], in[1], in[2], n, &l);
        for (size_t j = 0; j < n; j++)
            assert_true(y[j] == (float)(l.a[in[0][j]] + l.v[in[0][j]] * (l.u[in[1][j]] + l.t[in[2][j]])));
        kt_check(&out);
    }
    for (int i = 0; i < 3; i++)
        kt_guarded_free(&codes[i]);
    kt_guarded_free(&out);
}

const kt_test kt_trellis_tests[] = {
    {"trellis", test_search}, {"trellis, every path", test_best}, {"trellis_levels", test_levels}, {NULL, NULL}};
