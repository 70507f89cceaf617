/* tune.c - budgets on the screen: what the sweep found, pins, the solver behind a key, and how the table is sorted. */
#include "tui/tune.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tui/format.h"

/* A step of the lever: bits a weight, and what bytes and KLD are multiplied with. */
#define STEP_BPW 0.1
#define STEP_BYTES 1.01
#define STEP_KLD 1.15

bool tq_tune_init(tq_tune *t, size_t matrices) {
    *t = (tq_tune){.matrices = matrices};
    t->felt = calloc(matrices + 1, sizeof *t->felt);
    t->pinned = calloc(matrices + 1, sizeof *t->pinned);
    t->held = calloc(matrices + 1, sizeof *t->held);
    t->keys = calloc(matrices + 1, sizeof *t->keys);
    return t->felt && t->pinned && t->held && t->keys;
}

void tq_tune_free(tq_tune *t) {
    tq_costs_free(t->costs);
    free(t->felt);
    free(t->pinned);
    free(t->held);
    free(t->keys);
    *t = (tq_tune){0};
}

/* --- what is known --- */

/* Costs are of one residual, rotation and seed. */
static bool fits(const tq_app *a) {
    tq_common c = tq_plan_common(tq_draft_plan(&a->draft)), of = a->tune.common;
    return c.residual == of.residual && c.rotation == of.rotation && c.seed == of.seed;
}

const tq_costs *tq_tune_costs(const tq_app *a) {
    return a->tune.costs && fits(a) ? a->tune.costs : NULL;
}

double tq_tune_own(const tq_app *a, size_t matrix) {
    const tq_costs *costs = tq_tune_costs(a);
    tq_choice c = tq_plan_get(tq_draft_plan(&a->draft), matrix);
    if (costs) {
        const tq_cost *cost = tq_costs_find(costs, matrix, c);
        return cost ? cost->kld : NAN;
    }
    const tq_felt *felt = &a->tune.felt[matrix];
    if (felt->rel_mse == 0) return NAN;
    if (c.bits == TQ_BITS_KEEP) return 0;
    const tq_measured *m = &a->measured[matrix];
    tq_qspec spec = tq_plan_spec(tq_draft_plan(&a->draft), matrix);
    return m->known && tq_qspec_equal(&m->spec, &spec) ? felt->kld / felt->rel_mse * m->figures.distortion.rel_mse
                                                       : NAN;
}

double tq_tune_in_four(const tq_app *a, size_t matrix) {
    const tq_felt *felt = &a->tune.felt[matrix];
    return felt->rel_mse > 0 ? felt->kld : NAN;
}

bool tq_tune_any(const tq_app *a) {
    if (tq_tune_costs(a)) return true;
    for (size_t i = 0; i < a->tune.matrices; i++)
        if (a->tune.felt[i].rel_mse > 0) return true;
    return false;
}

double tq_tune_gain(const tq_app *a, size_t matrix) {
    const tq_costs *costs = tq_tune_costs(a);
    const tq_cost *now = costs ? tq_costs_find(costs, matrix, tq_plan_get(tq_draft_plan(&a->draft), matrix)) : NULL;
    size_t n = 0;
    double best = 0;
    if (!now) return NAN;
    const tq_cost *c = tq_costs_of(costs, matrix, &n);
    for (size_t k = 0; k < n; k++)
        if (c[k].bytes > now->bytes)
            best = fmax(best, (now->kld - c[k].kld) / ((double)(c[k].bytes - now->bytes) / 1048576));
    return best;
}

bool tq_tune_foretold(const tq_app *a, double *kld) {
    const tq_costs *costs = tq_tune_costs(a);
    size_t bytes = 0;
    if (!costs) return false;
    *kld = tq_costs_foretell(costs, tq_costs_sum(costs, tq_draft_plan(&a->draft), &bytes));
    return isfinite(*kld);
}

bool tq_tune_plain(const tq_app *a) {
    tq_common c = tq_plan_common(tq_draft_plan(&a->draft));
    return c.calibrate == TQ_CALIBRATE_NONE && c.states == TQ_STATES_DEFAULT;
}

/* --- the target --- */

bool tq_target_parse(const char *text, tq_target *t) {
    char *end = NULL;
    text += strspn(text, " ");
    if (strncasecmp(text, "kld", 3) == 0) {
        text += 3 + strspn(text + 3, " =");
        double v = strtod(text, &end);
        *t = (tq_target){TQ_TARGET_KLD, v};
        return end != text && !*end && v >= 0 && v <= 100;
    }
    double v = strtod(text, &end);
    if (end == text || !(v >= 0)) return false;
    end += strspn(end, " ");
    bool bare = !*end;
    if (strcasecmp(end, "bpw") == 0 || strncasecmp(end, "bits", 4) == 0 || (bare && v >= 1)) {
        *t = (tq_target){TQ_TARGET_BPW, v};
        return v >= 1 && v <= 64;
    }
    if (bare) {
        *t = (tq_target){TQ_TARGET_KLD, v};
        return true;
    }
    char size[64];
    if (*end < 'A') return false; /* no unit */
    if (snprintf(size, sizeof size, "%.*g%s", 17, v, end) >= (int)sizeof size) return false;
    t->kind = TQ_TARGET_BYTES;
    return tq_size_parse(size, &t->value);
}

const char *tq_target_name(const tq_target *t, char buf[48]) {
    if (t->kind == TQ_TARGET_KLD)
        snprintf(buf, 48, "KLD %.3g", t->value);
    else if (t->kind == TQ_TARGET_BPW)
        snprintf(buf, 48, "%.4g bits/weight", t->value);
    else
        snprintf(buf, 48, "%.2f MiB", t->value / 1048576);
    return buf;
}

/* --- solving --- */

/* Without a text nothing can be measured. */
static bool no_text(tq_app *a) {
    bool reading = a->status.job == TQ_JOB_OPEN || a->status.job == TQ_JOB_TEXT || a->status.asked == TQ_JOB_TEXT;
    if (a->status.text_tokens || a->options->tune_text || reading) return false;
    tq_say(a, TQ_REFUSES, "there is no text to measure on: ':text FILE' gives one, ':text sample' the sample's");
    return true;
}

static bool ready(tq_app *a) {
    if (tq_tune_costs(a)) return true;
    a->tune.pending = !no_text(a);
    if (!a->tune.pending) return false;
    tq_worker_want_sweep(a->worker);
    tq_say(a, TQ_SAYS, "measuring what each matrix costs first; the budget follows by itself");
    return false;
}

/* One budget after the other is one change of the plan. */
static void push(tq_app *a, tq_plan *plan) {
    char what[96], name[48];
    snprintf(what, sizeof what, "budget %s", tq_target_name(&a->tune.target, name));
    if (a->tune.serial == tq_draft_serial(&a->draft)) (void)tq_draft_drop(&a->draft);
    tq_edit_push(a, plan, what);
    a->tune.serial = tq_draft_serial(&a->draft);
}

bool tq_tune_held(const tq_app *a, size_t matrix) {
    return a->tune.pinned[matrix] != (tq_model_matrix(a->model, matrix)->end != TQ_END_NONE);
}

static const bool *held(tq_app *a) {
    for (size_t i = 0; i < a->tune.matrices; i++)
        a->tune.held[i] = tq_tune_held(a, i);
    return a->tune.held;
}

static void compare(tq_app *a) {
    tq_plan *uniform = tq_plan_copy(tq_draft_plan(&a->draft));
    tq_budget b;
    if (uniform && tq_budget_uniform(a->tune.costs, &a->tune.target, held(a), uniform, &b))
        tq_worker_want_compare(a->worker, uniform, a->tune.serial);
    else
        tq_plan_free(uniform);
}

static bool solve(tq_app *a) {
    tq_plan *plan = tq_plan_copy(tq_draft_plan(&a->draft));
    tq_budget b = {0};
    tq_err err = {{0}};
    char name[48], said[112];
    tq_text kld;
    int rc = plan ? tq_budget_solve(a->tune.costs, &a->tune.target, held(a), plan, &b, &err)
                  : tq_fail(&err, "out of memory");
    if (rc != TQ_OK) {
        tq_plan_free(plan);
        tq_say(a, TQ_REFUSES, "%s", err.msg);
        return false;
    }
    push(a, plan);
    bool bits = a->tune.target.kind == TQ_TARGET_BPW;
    int n = snprintf(said, sizeof said, "budget %s: ", tq_target_name(&a->tune.target, name));
    if (!bits) snprintf(said + n, sizeof said - (size_t)n, "%.3f bits/weight, ", b.bpw);
    tq_say(a, TQ_SAYS, "%sKLD %s predicted%s", said, tq_fmt_kld(b.foretold, kld),
           tq_tune_plain(a) ? "" : " for plain codes");
    return true;
}

void tq_tune_budget(tq_app *a, const char *text) {
    tq_target t;
    if (!tq_target_parse(text, &t)) {
        tq_say(a, TQ_REFUSES, "budget '%.60s': expected a size (6MiB), bits/weight (5.0) or a KLD (0.01)", text);
        return;
    }
    a->tune.target = t;
    a->tune.has_target = true;
    a->tune.serial = 0; /* a change of its own */
    if (!ready(a)) return;
    if (solve(a)) compare(a);
}

void tq_tune_lever(tq_app *a, int by) {
    tq_tune *t = &a->tune;
    if (!t->has_target) {
        t->target = (tq_target){TQ_TARGET_BPW, tq_plan_memory(a->model, tq_draft_plan(&a->draft)).bpw_linear};
        t->has_target = true;
    }
    if (!ready(a)) return;
    tq_target before = t->target;
    if (t->target.kind == TQ_TARGET_BPW)
        t->target.value = fmin(fmax(round((before.value + by * STEP_BPW) / STEP_BPW) * STEP_BPW, 1), 16);
    else
        t->target.value *= pow(before.kind == TQ_TARGET_KLD ? STEP_KLD : STEP_BYTES,
                               before.kind == TQ_TARGET_KLD ? -by : by); /* more of it is less KLD */
    if (!solve(a)) t->target = before;
}

void tq_tune_sweep(tq_app *a) {
    if (tq_tune_costs(a)) {
        tq_say(a, TQ_SAYS, "what each matrix costs is known: b sets a budget, S sorts");
        return;
    }
    if (no_text(a)) return;
    tq_worker_want_sweep(a->worker);
    if (a->status.job == TQ_JOB_SWEEP) return;
    tq_say(a, TQ_SAYS, "measuring what each matrix costs alone%s",
           a->status.job == TQ_JOB_NONE ? "" : ", after what is being done");
}

/* --- news --- */

static void swept(tq_app *a, tq_event *e) {
    if (e->rc != TQ_OK) {
        if (e->rc == TQ_FAIL) tq_say(a, TQ_REFUSES, "%s", e->err.msg);
        a->tune.pending = false;
        a->keep.wants_sort = TQ_ORDER_MODEL;
        return;
    }
    tq_costs_free(a->tune.costs);
    a->tune.costs = e->costs;
    a->tune.common = e->common;
    a->tune.on_text = e->tunes_on_text;
    e->costs = NULL;
    tq_say(a, TQ_SAYS, "own KLD of every matrix is known%s: b sets a budget, S sorts",
           e->tunes_on_text ? ", on the text that is evaluated (--tune-text takes another)" : "");
    if (a->keep.wants_sort != TQ_ORDER_MODEL && tq_tune_costs(a)) { /* by S, or as the session had it */
        tq_tune_sort_by(a, a->keep.wants_sort);
        tq_table_show(&a->table, a->keep.sort_cursor);
        a->keep.wants_sort = TQ_ORDER_MODEL;
    }
    bool pending = a->tune.pending && tq_tune_costs(a);
    a->tune.pending = false;
    if (pending && solve(a)) compare(a);
}

static void compared(tq_app *a, tq_event *e) {
    const tq_state *now = &a->draft.states[a->draft.now];
    tq_text uniform, solved;
    if (e->rc == TQ_FAIL) tq_say(a, TQ_REFUSES, "%s", e->err.msg);
    if (e->rc != TQ_OK || e->serial != now->serial || !now->eval_known) return;
    tq_fmt_kld(e->eval.kld_mean, uniform);
    tq_fmt_kld(now->eval.kld_mean, solved);
    bool kld = a->tune.target.kind == TQ_TARGET_KLD; /* then the solved plan is the smaller one */
    if (kld || now->eval.kld_mean <= e->eval.kld_mean) {
        tq_say(a, TQ_SAYS, "KLD %s measured; the uniform plan that fits %s", solved, uniform);
        return;
    }
    push(a, e->plan);
    e->plan = NULL;
    tq_say(a, TQ_SAYS, "the uniform plan measures a KLD of %s, the solved one %s: the uniform one is kept%s", uniform,
           solved, a->tune.on_text ? "" : "; the other is better on the tuning text alone");
}

void tq_tune_event(tq_app *a, tq_event *e) {
    if (e->job == TQ_JOB_SWEEP)
        swept(a, e);
    else
        compared(a, e);
}

void tq_tune_forget(tq_app *a) {
    tq_costs_free(a->tune.costs);
    a->tune.costs = NULL;
    tq_table_sort(&a->table, NULL);
}

/* --- pins and order --- */

void tq_tune_pin(tq_app *a) {
    size_t n = tq_table_targets(&a->table, a->targets);
    bool all = true;
    for (size_t i = 0; i < a->tune.matrices; i++)
        if (a->targets[i] && !tq_tune_held(a, i)) all = false;
    for (size_t i = 0; i < a->tune.matrices; i++)
        if (a->targets[i] && tq_tune_held(a, i) == all) a->tune.pinned[i] = !a->tune.pinned[i];
    tq_say(a, TQ_SAYS, "%zu %s: budgets %s", n, all ? "unpinned" : "pinned",
           all ? "choose again" : "leave them as they are");
}

size_t tq_tune_pins(const tq_app *a) {
    size_t n = 0;
    for (size_t i = 0; i < a->tune.matrices; i++)
        n += a->tune.pinned[i] && tq_tune_held(a, i);
    return n;
}

/* What the table is sorted by; false: nothing is known to be larger than 0. */
static bool fill_keys(tq_app *a, tq_order order) {
    bool any = false;
    for (size_t i = 0; i < a->tune.matrices; i++) {
        bool kept = tq_plan_get(tq_draft_plan(&a->draft), i).bits == TQ_BITS_KEEP;
        double own = kept ? tq_tune_in_four(a, i) : tq_tune_own(a, i);
        a->tune.keys[i] = order == TQ_ORDER_GAIN ? tq_tune_gain(a, i) : own;
        any |= a->tune.keys[i] > 0;
    }
    return any;
}

void tq_tune_sort_by(tq_app *a, tq_order order) {
    static const char *const said[] = {"as the model has them",
                                       "sorted by KLD saved per MiB spent; S again: by own KLD",
                                       "sorted by own KLD; S again: as the model has them"};
    if (order == TQ_ORDER_GAIN && !fill_keys(a, order)) order = TQ_ORDER_OWN; /* nothing is quantized */
    if (order != TQ_ORDER_MODEL) (void)fill_keys(a, order);
    a->tune.order = order;
    a->tune.sorted = tq_draft_serial(&a->draft);
    tq_table_sort(&a->table, order == TQ_ORDER_MODEL ? NULL : a->tune.keys);
    if (order != TQ_ORDER_MODEL) tq_table_move(&a->table, -(long)a->table.count);
    tq_say(a, TQ_SAYS, "%s", said[order]);
}

/* Sorted when costs are known, which are measured for it; once more chooses the next order, or none. */
static void sort_later(tq_app *a, tq_order first) {
    static const char *const said[] = {"the table stays in its order; Esc stops measuring",
                                       "measuring first, then sorted by KLD saved per MiB spent; S again: by own KLD",
                                       "measuring first, then sorted by own KLD; S again: not sorted"};
    tq_order wanted = a->keep.wants_sort;
    if (no_text(a)) return;
    a->keep.wants_sort = wanted == TQ_ORDER_MODEL ? first : (tq_order)((wanted + 1) % TQ_ORDER_COUNT);
    a->keep.sort_cursor = SIZE_MAX;
    if (a->status.job != TQ_JOB_SWEEP) tq_worker_want_sweep(a->worker);
    tq_say(a, TQ_SAYS, "%s", said[a->keep.wants_sort]);
}

void tq_tune_sort(tq_app *a) {
    tq_order now = a->table.order ? a->tune.order : TQ_ORDER_MODEL;
    bool fresh = a->tune.sorted == tq_draft_serial(&a->draft);
    tq_order next = now == TQ_ORDER_MODEL || fresh ? (tq_order)((now + 1) % TQ_ORDER_COUNT) : now;
    if (next == TQ_ORDER_MODEL || tq_tune_costs(a))
        tq_tune_sort_by(a, next);
    else
        sort_later(a, next);
}
