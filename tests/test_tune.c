/* What matrices cost alone, the journal that keeps it, and plans for budgets out of it. */
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "model/budget.h"
#include "model/journal.h"
#include "model/session.h"
#include "model/tensor_writer.h"
#include "tests/logits_fixture.h"
#include "tests/session_fixture.h"

#define CTX 32
#define TOKENS 384
#define HASH "0123456789abcdef"

static char *work; /* a directory of this test's own */

static int make_work(void **state) {
    (void)state;
    work = strdup("/tmp/tq-tune-XXXXXX");
    return work && mkdtemp(work) ? 0 : -1;
}

static int remove_work(void **state) {
    char *command = NULL;
    (void)state;
    int rc = asprintf(&command, "rm -rf '%s'", work) < 0 ? -1 : system(command);
    free(command);
    free(work);
    return rc;
}

/* --- the journal --- */

typedef struct lines {
    size_t n;
    char text[16][64];
} lines;

static bool take(void *ctx, const char *line) {
    lines *l = ctx;
    if (strncmp(line, "bad", 3) == 0 || l->n == 16) return false;
    (void)snprintf(l->text[l->n++], sizeof l->text[0], "%s", line);
    return true;
}

static tq_journal *open_journal(uint64_t key, lines *l) {
    tq_journal *j = NULL;
    tq_err err = {{0}};
    *l = (lines){0};
    int rc = tq_journal_open(work, "lines", key, take, l, NULL, &j, &err);
    if (rc != TQ_OK) print_error("%s\n", err.msg);
    assert_int_equal(rc, TQ_OK);
    return j;
}

static void add(tq_journal *j, const char *line) {
    tq_err err = {{0}};
    assert_int_equal(tq_journal_add(j, line, &err), TQ_OK);
}

static char *contents(const char *name, size_t *n) {
    char path[256], *text = NULL;
    tq_err err = {{0}};
    (void)snprintf(path, sizeof path, "%s/%s", work, name);
    assert_int_equal(tq_read_file(path, 1 << 20, &text, n, &err), TQ_OK);
    return text;
}

static void overwrite(const char *name, const char *text, size_t n) {
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", work, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static void lines_come_back(void **state) {
    lines l;
    (void)state;
    tq_journal *j = open_journal(7, &l), *second = NULL;
    tq_err err = {{0}};
    assert_int_equal(l.n, 0);
    add(j, "one 1");
    add(j, "two  2");
    atomic_bool cancel = true; /* the lock is waited for */
    tq_progress p = {.cancel = &cancel};
    assert_int_equal(tq_journal_open(work, "lines", 7, take, &l, &p, &second, &err), TQ_CANCELLED);
    assert_int_equal(tq_journal_read(work, "lines", 7, take, &l, &err), TQ_OK); /* to read there is no need of it */
    assert_int_equal(l.n, 2);
    tq_journal_close(j);
    j = open_journal(7, &l);
    assert_int_equal(l.n, 2);
    assert_string_equal(l.text[0], "one 1");
    assert_string_equal(l.text[1], "two  2");
    add(j, "bad three"); /* what is refused is dropped */
    add(j, "four");
    tq_journal_close(j);
    tq_journal_close(open_journal(7, &l));
    assert_int_equal(l.n, 3);
    tq_journal_close(open_journal(8, &l)); /* another key: nothing is trusted */
    assert_int_equal(l.n, 0);
    tq_journal_close(open_journal(7, &l));
    assert_int_equal(l.n, 0);
}

/* Cut anywhere, whole lines are there and can be added to; a changed byte costs its line alone. */
static void damage_is_dropped(void **state) {
    lines l;
    size_t n = 0, first = 0;
    (void)state;
    tq_journal *j = open_journal(9, &l);
    add(j, "alpha");
    add(j, "beta");
    add(j, "gamma");
    tq_journal_close(j);
    char *whole = contents("lines", &n);
    first = strcspn(whole, "\n") + 1;
    for (size_t cut = 0; cut <= n; cut++) {
        overwrite("lines", whole, cut);
        size_t want = 0;
        for (size_t i = 0; i < cut; i++)
            want += whole[i] == '\n';
        j = open_journal(9, &l);
        assert_int_equal(l.n, want);
        add(j, "delta");
        tq_journal_close(j);
        tq_journal_close(open_journal(9, &l));
        assert_int_equal(l.n, want + 1);
        assert_string_equal(l.text[want], "delta");
    }
    for (size_t at = 0; at < first; at++) {
        char *changed = malloc(n);
        assert_non_null(changed);
        memcpy(changed, whole, n);
        changed[at] = (char)(changed[at] ^ 1);
        overwrite("lines", changed, n);
        tq_journal_close(open_journal(9, &l));
        assert_in_range(l.n, 1, 2); /* without its newline, a line is one with the next */
        assert_string_equal(l.text[l.n - 1], "gamma");
        free(changed);
    }
    free(whole);
}

/* --- the sweep --- */

typedef struct sweep {
    logits_fixture f;
    tq_plan *base;
    int *ids;
} sweep;

static void sweep_open(sweep *x, const char *fixture) {
    tq_err err = {{0}};
    logits_fixture_open(&x->f, fixture, 2);
    x->base = tq_plan_new(x->f.model, &err);
    x->ids = calloc(TOKENS, sizeof *x->ids);
    assert_non_null(x->base);
    assert_non_null(x->ids);
    for (size_t i = 0; i < TOKENS; i++)
        x->ids[i] = x->f.ids[(i * 7 + i / 5) % x->f.n_ids];
}

static void sweep_close(sweep *x) {
    tq_plan_free(x->base);
    free(x->ids);
    logits_fixture_close(&x->f);
}

static const tq_choice configs[] = {{TQ_BITS_4, 32}, {TQ_BITS_4_2, 64}, {TQ_BITS_4_4, 64}};

static tq_sensitivity *new_sensitivity(const sweep *x, const char *dir) {
    tq_sensitivity *s = NULL;
    tq_err err = {{0}};
    tq_sweep_options o = {.ctx = CTX, .tokens = TOKENS, .configs = configs, .n_configs = 3};
    int rc = tq_sensitivity_new(x->f.model, x->f.pool, x->ids, TOKENS, HASH, x->base, &o, dir, &s, &err);
    if (rc != TQ_OK) print_error("%s\n", err.msg);
    assert_int_equal(rc, TQ_OK);
    return s;
}

static void run(tq_sensitivity *s) {
    tq_err err = {{0}};
    int rc = tq_sensitivity_run(s, NULL, NULL, NULL, &err);
    if (rc != TQ_OK) print_error("%s\n", err.msg);
    assert_int_equal(rc, TQ_OK);
    assert_int_equal(tq_sensitivity_left(s), 0);
}

static tq_qmatrix *encode(const sweep *x, size_t i, tq_choice c) {
    const tq_matrix *m = tq_model_matrix(x->f.model, i);
    tq_common common = tq_common_default();
    tq_qspec spec = tq_qspec_of(c.bits, c.group, &common);
    tq_qmatrix *q = NULL;
    tq_err err = {{0}};
    assert_int_equal(tq_qmatrix_encode(&m->w, &spec, tq_model_rotations(x->f.model), x->f.pool, NULL, &q, NULL, &err),
                     TQ_OK);
    return q;
}

/* A whole evaluation of the base plan with one change. */
static double evaluate(const sweep *x, size_t matrix, tq_choice c) {
    size_t n = tq_model_matrices(x->f.model);
    tq_qmatrix **q = calloc(n + 1, sizeof(tq_qmatrix *));
    tq_evaluator *e = NULL;
    tq_eval_result r;
    tq_err err = {{0}};
    for (size_t i = 0; i < n; i++) {
        tq_choice at = i == matrix ? c : tq_plan_get(x->base, i);
        if (at.bits != TQ_BITS_KEEP) q[i] = encode(x, i, at);
    }
    assert_int_equal(
        tq_evaluator_new(x->f.model, x->f.pool, x->ids, TOKENS, &(tq_eval_options){.ctx = CTX}, 0, &e, &err), TQ_OK);
    assert_int_equal(tq_evaluator_run(e, q, NULL, NULL, NULL, &r, &err), TQ_OK);
    tq_evaluator_free(e);
    for (size_t i = 0; i < n; i++)
        tq_qmatrix_free(q[i]);
    free(q);
    return r.kld_mean;
}

/* Each measurement is what a whole evaluation gives, bit for bit, whatever the base plan; what the base plan has itself
 * costs nothing at all. */
static void measured_is_evaluated(void **state) {
    (void)state;
    for (int pass = 0; pass < 2; pass++) {
        sweep x;
        tq_err err = {{0}};
        sweep_open(&x, "qwen3_5-tied");
        if (pass) assert_int_equal(tq_plan_rule(x.base, "*=4+2:64", NULL, &err), TQ_OK);
        if (pass) assert_int_equal(tq_plan_rule(x.base, "1.*=keep", NULL, &err), TQ_OK);
        double own = evaluate(&x, SIZE_MAX, (tq_choice){TQ_BITS_KEEP, 0});
        assert_true(pass ? own > 0 : own == 0);
        tq_sensitivity *s = new_sensitivity(&x, NULL);
        run(s);
        for (size_t i = 0; i < tq_model_matrices(x.f.model); i += 3)
            for (size_t k = 0; k < 3; k++) {
                tq_sensed got = tq_sensitivity_get(s, i, configs[k]);
                assert_true(got.measured);
                assert_true(got.kld == evaluate(&x, i, configs[k]) - own);
                if (tq_choice_equal(configs[k], tq_plan_get(x.base, i)))
                    assert_true(got.kld == 0);
                else
                    assert_true(got.rel_mse > 0 && (pass || got.kld > 0));
            }
        tq_sensitivity_free(s);
        sweep_close(&x);
    }
}

/* Cancels when so many are done. */
typedef struct canceller {
    atomic_bool cancel;
    size_t taken, most;
} canceller;

static void count(void *ctx, size_t matrix) {
    canceller *c = ctx;
    (void)matrix;
    if (++c->taken == c->most) atomic_store(&c->cancel, true);
}

static void assert_same(const sweep *x, const tq_sensitivity *a, const tq_sensitivity *b) {
    for (size_t i = 0; i < tq_model_matrices(x->f.model); i++)
        for (size_t k = 0; k < 3; k++) {
            tq_sensed p = tq_sensitivity_get(a, i, configs[k]), q = tq_sensitivity_get(b, i, configs[k]);
            assert_true(p.measured == q.measured && p.kld == q.kld && p.rel_mse == q.rel_mse);
            assert_true(p.kld_error == q.kld_error);
        }
}

/* Stopped and gone on with, in memory and through the file, it takes every measurement once and finds the same. */
static void nothing_is_taken_twice(void **state) {
    sweep x;
    tq_err err = {{0}};
    (void)state;
    sweep_open(&x, "qwen3_5-tied");
    tq_sensitivity *whole = new_sensitivity(&x, NULL), *s = new_sensitivity(&x, work);
    size_t total = tq_sensitivity_total(whole), taken = 0;
    run(whole);
    for (int round = 0; tq_sensitivity_left(s); round++) {
        canceller c = {.most = 1 + (size_t)round * 5};
        tq_progress p = {.cancel = &c.cancel};
        int rc = tq_sensitivity_run(s, &p, count, &c, &err);
        assert_true(rc == TQ_CANCELLED || rc == TQ_OK);
        taken += c.taken;
        assert_int_equal(tq_sensitivity_left(s), total - taken);
        if (round % 2) continue;
        tq_sensitivity_free(s);
        s = new_sensitivity(&x, work);
        assert_int_equal(tq_sensitivity_left(s), total - taken);
    }
    assert_int_equal(taken, total);
    assert_same(&x, whole, s);
    tq_sensitivity_free(s);
    assert_int_equal(tq_plan_rule(x.base, "*=4+2:64", NULL, &err), TQ_OK); /* another base plan is another sweep */
    s = new_sensitivity(&x, work);
    assert_int_equal(tq_sensitivity_left(s), tq_sensitivity_total(s));
    tq_sensitivity_free(s);
    tq_sensitivity_free(whole);
    sweep_close(&x);
}

/* --- budgets --- */

static tq_costs *new_costs(const sweep *x, tq_sensitivity *s) {
    tq_costs *costs = NULL;
    tq_err err = {{0}};
    run(s);
    int rc = tq_costs_new(x->f.model, x->base, s, NULL, NULL, &costs, &err);
    if (rc != TQ_OK) print_error("%s\n", err.msg);
    assert_int_equal(rc, TQ_OK);
    return costs;
}

static void costs_are_what_is_known(void **state) {
    sweep x;
    (void)state;
    sweep_open(&x, "qwen3_5-tied");
    tq_sensitivity *s = new_sensitivity(&x, NULL);
    tq_costs *costs = new_costs(&x, s);
    for (size_t i = 0; i < tq_model_matrices(x.f.model); i++) {
        const tq_matrix *m = tq_model_matrix(x.f.model, i);
        size_t n = 0;
        const tq_cost *c = tq_costs_of(costs, i, &n);
        assert_true(n > 5 && c[0].choice.bits == TQ_BITS_KEEP && c[0].kld == 0 && c[0].bytes == m->tensor->bytes);
        for (size_t k = 1; k < n; k++) {
            tq_common common = tq_common_default();
            tq_qspec spec = tq_qspec_of(c[k].choice.bits, c[k].choice.group, &common);
            assert_int_equal(c[k].bytes, tq_qspec_bytes(&spec, m->w.rows, m->w.cols));
            assert_true(c[k].kld > 0 && c[k].rel_mse > 0);
            double a = c[k].kld / c[k].rel_mse;
            assert_true(a > 1e-6 && a < 1e6);
        }
        for (size_t k = 0; k < 3; k++) {
            const tq_cost *at = tq_costs_find(costs, i, configs[k]);
            assert_true(at && at->kld >= 0);
        }
    }
    tq_costs_free(costs);
    tq_sensitivity_free(s);
    sweep_close(&x);
}

/* For one budget, what it does not choose is not coded in all ways, and the plan is the same. */
static void what_is_not_chosen_is_not_coded(void **state) {
    sweep x;
    tq_err err = {{0}};
    (void)state;
    sweep_open(&x, "qwen3_5-tied");
    size_t n = tq_model_matrices(x.f.model), rows = 0, whole_rows = 0;
    const tq_choice odd = {TQ_BITS_4_2, 64};
    bool *pinned = calloc(n + 1, sizeof *pinned);
    tq_plan *plan = tq_plan_copy(x.base), *whole_plan = tq_plan_copy(x.base);
    assert_non_null(pinned);
    assert_non_null(plan);
    assert_non_null(whole_plan);
    assert_int_equal(tq_model_block_matrices(x.f.model), n - 1);
    pinned[n - 1] = true;
    tq_plan_set(plan, n - 1, odd);
    tq_plan_set(whole_plan, n - 1, odd);
    tq_sensitivity *s = new_sensitivity(&x, NULL), *whole_s = new_sensitivity(&x, NULL);
    tq_costs *whole = new_costs(&x, whole_s), *costs = NULL;
    const tq_costs_scope only = {pinned, plan};
    run(s);
    assert_int_equal(tq_costs_new(x.f.model, x.base, s, &only, NULL, &costs, &err), TQ_OK);
    for (size_t i = 0; i < n; i++) {
        const tq_cost *some = tq_costs_of(costs, i, &rows);
        (void)tq_costs_of(whole, i, &whole_rows);
        assert_int_equal(rows, i < n - 1 ? whole_rows : 2);
        for (size_t k = 0; k < rows; k++) {
            const tq_cost *same = tq_costs_find(whole, i, some[k].choice);
            assert_true(same && same->kld == some[k].kld && same->bytes == some[k].bytes);
        }
    }
    assert_true(tq_sensitivity_get(whole_s, n - 1, (tq_choice){TQ_BITS_4_4, 32}).coded);
    assert_false(tq_sensitivity_get(s, n - 1, (tq_choice){TQ_BITS_4_4, 32}).coded);
    const tq_target targets[] = {
        {TQ_TARGET_BPW, 9}, {TQ_TARGET_BYTES, 0.8 * (double)tq_model_stored_bytes(x.f.model)}, {TQ_TARGET_KLD, 0.5}};
    for (size_t k = 0; k < sizeof targets / sizeof *targets; k++) {
        const tq_target t = targets[k];
        tq_budget a, b;
        if (tq_budget_solve(costs, &t, pinned, plan, &a, &err) != TQ_OK) fail_msg("%s", err.msg);
        assert_int_equal(tq_budget_solve(whole, &t, pinned, whole_plan, &b, &err), TQ_OK);
        for (size_t i = 0; i < n; i++)
            assert_true(tq_choice_equal(tq_plan_get(plan, i), tq_plan_get(whole_plan, i)));
        assert_true(a.sum == b.sum && a.bytes == b.bytes && a.foretold == b.foretold);
        assert_true(tq_choice_equal(tq_plan_get(plan, n - 1), odd));
    }
    free(pinned);
    tq_plan_free(plan);
    tq_plan_free(whole_plan);
    tq_costs_free(costs);
    tq_costs_free(whole);
    tq_sensitivity_free(s);
    tq_sensitivity_free(whole_s);
    sweep_close(&x);
}

/* More measured for more, never the other way round, and the inverse is one. */
static void the_scale_is_learnt(void **state) {
    sweep x;
    (void)state;
    sweep_open(&x, "qwen3_5-tied");
    tq_sensitivity *s = new_sensitivity(&x, NULL);
    tq_costs *costs = new_costs(&x, s);
    assert_true(tq_costs_foretell(costs, 0.5) == 0.5 && tq_costs_sum_for(costs, 0.5) == 0.5); /* nothing learnt yet */
    static const double points[][2] = {{1e-2, 2e-2}, {1e-4, 1.1e-4}, {1, 0.7}, {2e-2, 1e-2}};
    for (size_t i = 0; i < sizeof points / sizeof *points; i++)
        tq_costs_learn(costs, points[i][0], points[i][1]);
    assert_true(fabs(tq_costs_foretell(costs, 1e-2) / 2e-2 - 1) < 1e-12);
    assert_true(fabs(tq_costs_foretell(costs, 1) / 0.7 - 1) < 1e-12);
    assert_true(fabs(tq_costs_foretell(costs, 1e-8) / 1.1e-8 - 1) < 1e-12);
    assert_true(tq_costs_foretell(costs, 0) == 0);
    double last = 0;
    for (double sum = 1e-7; sum < 10; sum *= 1.3) {
        double kld = tq_costs_foretell(costs, sum);
        assert_true(kld > last);
        assert_true(fabs(tq_costs_sum_for(costs, kld) / sum - 1) < 1e-9);
        last = kld;
    }
    tq_costs_free(costs);
    tq_sensitivity_free(s);
    sweep_close(&x);
}

/* Of what a budget covers. */
static size_t bytes_of(const sweep *x, const tq_plan *p, const bool *pinned) {
    size_t bytes = 0;
    for (size_t i = 0; i < tq_model_matrices(x->f.model); i++) {
        tq_qspec spec = tq_plan_spec(p, i);
        const tq_matrix *m = tq_model_matrix(x->f.model, i);
        if (!tq_budget_covers(x->f.model, pinned, i)) continue;
        bytes += spec.bits == TQ_BITS_KEEP ? m->tensor->bytes : tq_qspec_bytes(&spec, m->w.rows, m->w.cols);
    }
    return bytes;
}

/* Within the bytes, pins as they were, and never worse than the uniform plan of no more bytes. */
/* ends: embedding and head are chosen too. */
static void check_budgets(bool ends) {
    sweep x;
    tq_err err = {{0}};
    sweep_open(&x, "qwen3_5-tied");
    tq_sensitivity *s = new_sensitivity(&x, NULL);
    tq_costs *costs = new_costs(&x, s);
    size_t n = tq_model_matrices(x.f.model);
    bool *pinned = calloc(n + 1, sizeof *pinned);
    pinned[0] = pinned[n - 2] = true;
    pinned[n - 1] = !ends;
    double last = INFINITY;
    size_t ends_packed = 0;
    for (double bpw = 6.5; bpw < 16; bpw += 0.7) {
        tq_target t = {TQ_TARGET_BPW, bpw};
        tq_plan *plan = tq_plan_copy(x.base), *same = tq_plan_copy(x.base);
        tq_budget b, u;
        tq_plan_set(plan, 0, (tq_choice){TQ_BITS_4_2, 64});
        tq_plan_set(same, 0, (tq_choice){TQ_BITS_4_2, 64});
        assert_int_equal(tq_budget_solve(costs, &t, pinned, plan, &b, &err), TQ_OK);
        assert_true(tq_choice_equal(tq_plan_get(plan, 0), (tq_choice){TQ_BITS_4_2, 64}));
        assert_true(tq_choice_equal(tq_plan_get(plan, n - 2), (tq_choice){TQ_BITS_KEEP, 0}));
        assert_true(ends || tq_plan_get(plan, n - 1).bits == TQ_BITS_KEEP);
        ends_packed += tq_plan_get(plan, n - 1).bits != TQ_BITS_KEEP;
        assert_int_equal(b.bytes, bytes_of(&x, plan, pinned));
        assert_true((double)b.bytes <= bpw * (double)tq_budget_weights(x.f.model, pinned) / 8 && b.bpw <= bpw);
        assert_true(b.gap >= 0 && b.gap < 1e-9);
        assert_true(b.sum <= last);
        last = b.sum;
        if (tq_budget_uniform(costs, &t, pinned, same, &u)) {
            assert_true(u.sum >= b.sum && u.bpw <= bpw && u.bytes == bytes_of(&x, same, pinned));
            assert_true(tq_choice_equal(tq_plan_get(same, 0), (tq_choice){TQ_BITS_4_2, 64}));
        }
        tq_target kld = {TQ_TARGET_KLD, b.foretold * (1 + 1e-9)}; /* and back: no more bytes for the same KLD */
        size_t bytes = b.bytes;
        assert_int_equal(tq_budget_solve(costs, &kld, pinned, plan, &b, &err), TQ_OK);
        assert_true(b.bytes <= bytes && b.foretold <= kld.value * (1 + 1e-9));
        tq_plan_free(plan);
        tq_plan_free(same);
    }
    assert_int_equal(ends_packed > 0, ends);
    tq_plan *plan = tq_plan_copy(x.base);
    tq_budget b;
    assert_int_equal(tq_budget_solve(costs, &(tq_target){TQ_TARGET_BPW, 2}, NULL, plan, &b, &err), TQ_FAIL);
    char *nearest = strstr(err.msg, "nearest possible is ");
    assert_non_null(nearest);
    tq_target reachable = {TQ_TARGET_BPW, strtod(nearest + strlen("nearest possible is "), NULL)};
    assert_int_equal(tq_budget_solve(costs, &reachable, NULL, plan, &b, &err), TQ_OK);
    assert_int_equal(tq_budget_solve(costs, &(tq_target){TQ_TARGET_KLD, 0}, NULL, plan, &b, &err), TQ_OK);
    assert_int_equal(b.bytes, bytes_of(&x, x.base, NULL)); /* all kept */
    assert_true(b.foretold == 0);
    tq_plan_free(plan);
    free(pinned);
    tq_costs_free(costs);
    tq_sensitivity_free(s);
    sweep_close(&x);
}

static void budgets_are_kept(void **state) {
    (void)state;
    check_budgets(false);
    check_budgets(true);
}

static void sizes_are_read(void **state) {
    double b = 0;
    (void)state;
    assert_true(tq_size_parse("400MiB", &b) && b == 400.0 * 1048576);
    assert_true(tq_size_parse("1.5GiB", &b) && b == 1.5 * 1073741824);
    assert_true(tq_size_parse("12", &b) && b == 12);
    assert_false(tq_size_parse("", &b) || tq_size_parse("-1", &b) || tq_size_parse("4MB", &b) ||
                 tq_size_parse("nan", &b) || tq_size_parse("MiB", &b) || tq_size_parse("1e999", &b));
}

/* --- the session --- */

static tq_session *open_sample(void) {
    tq_session *s = open_session(LOGITS_SAMPLE, 2);
    tq_err err = {{0}};
    assert_int_equal(tq_session_load_text(s, "samples/eval.txt", &err), TQ_OK);
    return s;
}

/* Measuring a plan leaves the one in force as it was. */
static void measuring_changes_nothing(void **state) {
    tq_session *s = open_sample();
    tq_err err = {{0}};
    tq_eval_options o = {.ctx = 64, .tokens = 256};
    tq_eval_result before, other, after;
    (void)state;
    tq_plan *p = tq_plan_copy(tq_session_plan(s));
    assert_int_equal(tq_plan_rule(p, "2.*=4", NULL, &err), TQ_OK);
    assert_int_equal(tq_session_set_plan(s, p, &err), TQ_OK);
    assert_int_equal(tq_session_eval(s, &o, NULL, NULL, NULL, &before, &err), TQ_OK);
    assert_int_equal(tq_plan_rule(p, "5.*=4", NULL, &err), TQ_OK);
    assert_int_equal(tq_session_measure(s, p, &o, NULL, &other, &err), TQ_OK);
    assert_true(other.kld_mean > before.kld_mean);
    tq_plan_figures f = tq_session_plan_figures(s); /* what a saved plan would say */
    assert_true(f.eval && f.eval->kld_mean == before.kld_mean);
    assert_int_equal(tq_session_stale(s), 0);
    assert_int_equal(tq_session_eval(s, &o, NULL, NULL, NULL, &after, &err), TQ_OK);
    assert_true(after.kld_mean == before.kld_mean && after.ppl == before.ppl);
    assert_int_equal(tq_session_set_plan(s, p, &err), TQ_OK);
    assert_int_equal(tq_session_eval(s, &o, NULL, NULL, NULL, &after, &err), TQ_OK);
    assert_true(after.kld_mean == other.kld_mean);
    tq_plan_free(p);
    tq_session_close(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_come_back),         cmocka_unit_test(damage_is_dropped),
        cmocka_unit_test(measured_is_evaluated),   cmocka_unit_test(nothing_is_taken_twice),
        cmocka_unit_test(costs_are_what_is_known), cmocka_unit_test(what_is_not_chosen_is_not_coded),
        cmocka_unit_test(the_scale_is_learnt),     cmocka_unit_test(budgets_are_kept),
        cmocka_unit_test(sizes_are_read),          cmocka_unit_test(measuring_changes_nothing),
    };
    return cmocka_run_group_tests(tests, make_work, remove_work);
}
