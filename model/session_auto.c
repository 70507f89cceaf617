/* session_auto.c - a plan within a target: solved, measured beside the uniform one, and the better put in force. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/session_internal.h"

/* A KLD is met when what is measured lies between this much of it and all of it. */
#define MET 0.93
#define ROUNDS_MAX 6

typedef struct search {
    tq_session *s;
    const tq_costs *costs;
    const tq_target *target;
    const bool *pinned;
    const tq_plan *plan;
    const tq_eval_options *options;
    const tq_progress *progress;
    void (*step)(void *ctx, const char *what);
    void *ctx;
    double scale; /* measured KLD over what is foretold for plain codes */
} search;

static void tell(const search *x, const char *what) {
    if (x->step) x->step(x->ctx, what);
}

static void tried_free(tq_tried *t) {
    tq_plan_free(t->plan);
    *t = (tq_tried){0};
}

void tq_auto_result_free(tq_auto_result *r) {
    tried_free(&r->solved);
    tried_free(&r->uniform);
}

static bool meets(const search *x, const tq_tried *t) {
    return t->plan && (x->target->kind != TQ_TARGET_KLD || t->eval.kld_mean <= x->target->value);
}

/* Does a serve the target better than b? What misses it is worse than what meets it. */
static bool better(const search *x, const tq_tried *a, const tq_tried *b) {
    if (!a->plan || !b->plan) return a->plan != NULL;
    if (meets(x, a) != meets(x, b)) return meets(x, a);
    if (x->target->kind == TQ_TARGET_KLD && meets(x, a) && a->budget.bytes != b->budget.bytes)
        return a->budget.bytes < b->budget.bytes;
    return a->eval.kld_mean < b->eval.kld_mean;
}

/* The codes are not those that the costs were measured with. */
static bool differs_in_codes(const search *x) {
    tq_common c = tq_plan_common(x->plan);
    return c.calibrate != TQ_CALIBRATE_NONE || c.states != TQ_STATES_DEFAULT;
}

static int try_uniform(search *x, tq_tried *t, tq_err *err) {
    t->plan = tq_plan_copy(x->plan);
    if (!t->plan) return tq_fail(err, "out of memory for a plan");
    if (!tq_budget_uniform(x->costs, x->target, x->pinned, t->plan, &t->budget)) {
        tried_free(t);
        return TQ_OK;
    }
    tell(x, "measuring the uniform plan");
    int rc = tq_session_measure(x->s, t->plan, x->options, x->progress, &t->eval, err);
    if (rc != TQ_OK) return rc;
    bool scales = differs_in_codes(x) && t->budget.foretold > 0 && t->eval.kld_mean > 0;
    if (scales) x->scale = t->eval.kld_mean / t->budget.foretold;
    t->foretold = t->budget.foretold * (scales ? 1 : x->scale);
    return TQ_OK;
}

/* Solves for the target, divided by what the scale makes of it, and measures; the plan is then in force. */
static int try_solved(search *x, tq_tried *t, tq_err *err) {
    tq_target target = *x->target;
    if (target.kind == TQ_TARGET_KLD) target.value /= x->scale;
    t->plan = tq_plan_copy(x->plan);
    if (!t->plan) return tq_fail(err, "out of memory for a plan");
    int rc = tq_budget_solve(x->costs, &target, x->pinned, t->plan, &t->budget, err);
    if (rc != TQ_OK) return rc;
    t->foretold = t->budget.foretold * x->scale;
    rc = tq_session_set_plan(x->s, t->plan, err);
    tell(x, "quantizing");
    if (rc == TQ_OK) rc = tq_session_apply(x->s, x->progress, NULL, NULL, err);
    tell(x, "measuring");
    if (rc == TQ_OK) rc = tq_session_eval(x->s, x->options, x->progress, NULL, NULL, &t->eval, err);
    return rc;
}

/* One plan for bytes. For a KLD as many as it takes, each with the scale that the one before has shown. */
static int solve(search *x, tq_tried *best, tq_err *err) {
    int rounds = x->target->kind == TQ_TARGET_KLD ? ROUNDS_MAX : 1;
    for (int round = 0; round < rounds; round++) {
        tq_tried t = {0};
        int rc = try_solved(x, &t, err);
        if (rc != TQ_OK) {
            tried_free(&t);
            return best->plan && rc == TQ_FAIL ? TQ_OK : rc; /* tightened too far: what was found before stays */
        }
        double measured = t.eval.kld_mean;
        if (measured > 0 && t.budget.foretold > 0) x->scale = measured / t.budget.foretold / (round ? 0.99 : 1);
        bool met = measured <= x->target->value && measured >= MET * x->target->value;
        bool is_better = better(x, &t, best);
        if (is_better) tried_free(best);
        if (is_better)
            *best = t;
        else
            tried_free(&t);
        if (met || measured == 0) return TQ_OK;
    }
    return TQ_OK;
}

/* The better one is put in force; the last plan solved for usually is it, and then costs nothing. */
static int settle(search *x, tq_auto_result *out, tq_err *err) {
    out->kept_uniform = better(x, &out->uniform, &out->solved);
    tq_tried *kept = out->kept_uniform ? &out->uniform : &out->solved;
    out->in_reach = meets(x, kept);
    int rc = tq_session_set_plan(x->s, kept->plan, err);
    if (rc == TQ_OK && (tq_session_stale(x->s) || !x->s->known.has)) {
        tell(x, "quantizing");
        rc = tq_session_apply(x->s, x->progress, NULL, NULL, err);
        if (rc == TQ_OK) rc = tq_session_eval(x->s, x->options, x->progress, NULL, NULL, &kept->eval, err);
    }
    return rc;
}

int tq_session_auto(tq_session *s, const tq_costs *costs, const tq_target *t, const bool *pinned, const tq_plan *plan,
                    const tq_eval_options *o, const tq_progress *p, void (*step)(void *ctx, const char *what),
                    void *ctx, tq_auto_result *out, tq_err *err) {
    search x = {s, costs, t, pinned, plan, o, p, step, ctx, 1};
    tq_plan *trial = tq_plan_copy(plan);
    tq_budget first;
    *out = (tq_auto_result){0};
    if (!trial) return tq_fail(err, "out of memory for a plan");
    int rc = tq_budget_solve(costs, t, pinned, trial, &first, err); /* what is impossible is said at once */
    tq_plan_free(trial);
    if (rc == TQ_OK) rc = try_uniform(&x, &out->uniform, err);
    if (rc == TQ_OK) rc = solve(&x, &out->solved, err);
    if (rc == TQ_OK) rc = settle(&x, out, err);
    if (rc != TQ_OK) tq_auto_result_free(out);
    return rc;
}
