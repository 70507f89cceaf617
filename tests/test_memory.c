/* test_memory.c - what a model is said to take, and that one larger than memory goes through block by block. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/session.h"
#include "tests/logits_fixture.h"
#include "tui/bench_model.h"

/* Scratch after a prompt of 512 tokens, as stored and packed: what is foretold is enough, and not absurdly much. */
static void activations_are_foretold(void **state) {
    enum { N = 512 };
    (void)state;
    for (size_t k = 0; k < logits_fixtures_count; k++) {
        logits_fixture f;
        tq_err err = {{0}};
        int ids[N];
        logits_fixture_open(&f, logits_fixtures[k], 2);
        float *logits = calloc(f.config.vocab, sizeof *logits);
        for (size_t i = 0; i < N; i++)
            ids[i] = f.ids[i % f.n_ids];
        size_t n =
            f.config.context && f.config.context < N ? f.config.context : N; /* GPT-2 has learned so many positions */
        size_t said = tq_activation_bytes(f.model, n, n, 2) + tq_model_state_bytes(f.model, 0);
        tq_qmatrix **q = logits_variant_new(&f, TQ_BITS_4, 32, TQ_RESIDUAL_NESTED);
        for (int packed = 0; packed < 2; packed++) {
            tq_cache *c = tq_cache_new(f.model, n, &err);
            assert_non_null(c);
            assert_int_equal(tq_forward_append(f.forward, packed ? q : NULL, c, ids, n, logits, NULL, &err), TQ_OK);
            tq_cache_free(c);
        }
        size_t held = tq_forward_held(f.forward);
        print_message("%-20s %8zu bytes foretold, %8zu held\n", logits_fixtures[k], said, held);
        assert_true(held <= said && said < 4 * held);
        free(logits);
        logits_variant_free(&f, q);
        logits_fixture_close(&f);
    }
}

static void plans_add_up(void **state) {
    tq_session *s = NULL;
    tq_err err = {{0}};
    (void)state;
    assert_int_equal(tq_session_open(LOGITS_SAMPLE, &(tq_session_options){.threads = 1}, &s, &err), TQ_OK);
    tq_memory m = tq_session_memory(s);
    tq_memory_plan p = tq_session_memory_plan(s, 512), longer = tq_session_memory_plan(s, 4096);
    assert_int_equal(p.packed + p.mapped, m.total);
    assert_int_equal(p.total, p.packed + p.mapped + p.state + p.activations);
    assert_int_equal(p.state, tq_model_state_bytes(tq_session_model(s), 512));
    assert_true(longer.state > 2 * p.state && longer.activations >= p.activations);
    assert_true(p.machine > 0 && p.machine == tq_machine_memory() && !p.streams);
    tq_session_close(s);
    assert_int_equal(tq_session_open(LOGITS_SAMPLE, &(tq_session_options){.threads = 1, .memory = m.total}, &s, &err),
                     TQ_OK);
    p = tq_session_memory_plan(s, 512);
    assert_true(p.machine == m.total && p.streams);
    tq_session_close(s);
}

/* --- streaming --- */

/* A line of /proc/self/status, in bytes; 0: there is none. */
static size_t status_of(const char *key) {
    char line[256];
    size_t n = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, key, strlen(key)) == 0) n = strtoul(line + strlen(key), NULL, 10) * 1024;
    if (f) fclose(f);
    return n;
}

typedef struct watch {
    size_t before, most;
} watch;

static void look(void *ctx, double done, double total) {
    watch *w = ctx;
    size_t now = status_of("RssFile:");
    (void)done, (void)total;
    if (now > w->before && now - w->before > w->most) w->most = now - w->before;
}

/* 4 bits everywhere on a model of random weights; the most of its file that was in memory at a time. */
static tq_eval_result evaluate(size_t memory, const tq_shape *shape, size_t *most, size_t *stored) {
    enum { CTX = 64, N = 2 * CTX };
    tq_session *s = NULL;
    tq_evaluator *e = NULL;
    tq_eval_result r;
    tq_err err = {{0}};
    int ids[N];
    for (int i = 0; i < N; i++)
        ids[i] = i * 37 % (int)shape->vocab;
    assert_int_equal(tq_bench_model(shape, &(tq_session_options){.threads = 2, .memory = memory}, &s, &err), TQ_OK);
    watch w = {.before = status_of("RssFile:")};
    tq_progress p = {.report = look, .ctx = &w};
    tq_plan *plan = tq_plan_copy(tq_session_plan(s));
    assert_int_equal(tq_plan_rule(plan, "*=4", NULL, &err), TQ_OK);
    assert_int_equal(tq_session_set_plan(s, plan, &err), TQ_OK);
    assert_int_equal(tq_session_apply(s, &p, NULL, NULL, &err), TQ_OK);
    assert_int_equal(
        tq_evaluator_new(tq_session_model(s), tq_session_pool(s), ids, N, &(tq_eval_options){.ctx = CTX}, 0, &e, &err),
        TQ_OK);
    assert_int_equal(tq_evaluator_run(e, tq_session_variant(s), &p, NULL, NULL, &r, &err), TQ_OK);
    *most = w.most;
    *stored = tq_model_matrix_bytes(tq_session_model(s));
    tq_evaluator_free(e);
    tq_plan_free(plan);
    tq_session_close(s);
    r.seconds = 0;
    return r;
}

static void larger_than_memory_goes_through(void **state) {
    static const tq_shape shape = {
        .hidden = 512, .intermediate = 2048, .blocks = 12, .heads = 8, .kv_heads = 8, .vocab = 1024};
    size_t all = 0, streamed = 0, stored = 0, mib = 1048576;
    (void)state;
    if (!status_of("RssFile:")) {
        print_message("no RssFile in /proc/self/status: not measured\n");
        skip();
    }
    tq_eval_result a = evaluate(0, &shape, &all, &stored), b = evaluate(32 * mib, &shape, &streamed, &stored);
    print_message("%zu MiB of matrices; in memory at most %zu, streamed %zu\n", stored / mib, all / mib,
                  streamed / mib);
    assert_memory_equal(&a, &b, sizeof a); /* the same figures */
    assert_true(all > stored / 2);
    assert_true(streamed < 4 * stored / shape.blocks); /* two blocks, and what the kernel maps around a fault */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(activations_are_foretold),
        cmocka_unit_test(plans_add_up),
        cmocka_unit_test(larger_than_memory_goes_through),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
