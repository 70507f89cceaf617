/* session_tune.c - what each matrix costs alone, and what other plans than the one in force would cost. */
#include <stdlib.h>
#include <string.h>

#include "model/session_internal.h"

void tq_session_drop_costs(tq_session *s) {
    tq_costs_free(s->tuning.costs);
    s->tuning.costs = NULL;
    if (!s->tuning.path && !s->calibration.path) tq_session_drop_tuning(s); /* it rests on the evaluated text */
}

void tq_session_drop_tuning(tq_session *s) {
    tq_session_tuning *t = &s->tuning;
    tq_costs_free(t->costs);
    tq_sensitivity_free(t->sensitivity);
    free(t->name);
    free(t->ids);
    *t = (tq_session_tuning){.path = t->path, .state_dir = t->state_dir};
}

int tq_session_set_tuning(tq_session *s, const char *path, const char *state_dir, tq_err *err) {
    char *path_copy = path ? strdup(path) : NULL, *dir_copy = state_dir ? strdup(state_dir) : NULL;
    if ((path && !path_copy) || (state_dir && !dir_copy)) {
        free(path_copy);
        free(dir_copy);
        return tq_fail(err, "out of memory");
    }
    tq_session_drop_tuning(s);
    free(s->tuning.path);
    free(s->tuning.state_dir);
    s->tuning.path = path_copy;
    s->tuning.state_dir = dir_copy;
    return TQ_OK;
}

bool tq_session_tunes_on_text(const tq_session *s) {
    return s->text_name && s->tuning.name && strcmp(s->text_hash, s->tuning.hash) == 0;
}

const char *tq_session_tuning_name(const tq_session *s) {
    return s->tuning.name;
}

/* --- the text --- */

static int read_text(tq_session *s, const char *path, tq_err *err) {
    tq_session_tuning *t = &s->tuning;
    const char *slash = strrchr(path, '/');
    if (tq_session_read_ids(s, path, true, &t->ids, &t->tokens, t->hash, err) != TQ_OK) return TQ_FAIL;
    t->name = strdup(slash ? slash + 1 : path);
    return t->name ? TQ_OK : tq_fail(err, "%s: out of memory", path);
}

static int copy_evaluated(tq_session *s, tq_err *err) {
    tq_session_tuning *t = &s->tuning;
    if (!s->text_name) return tq_fail(err, "no text to compare matrices on");
    t->name = strdup(s->text_name);
    t->ids = malloc((s->text_tokens + 1) * sizeof *t->ids);
    if (!t->name || !t->ids) return tq_fail(err, "out of memory");
    memcpy(t->ids, s->text_ids, s->text_tokens * sizeof *t->ids);
    memcpy(t->hash, s->text_hash, sizeof t->hash);
    t->tokens = s->text_tokens;
    return TQ_OK;
}

static int open_text(tq_session *s, tq_err *err) {
    tq_session_tuning *t = &s->tuning;
    const char *path = t->path ? t->path : s->calibration.path;
    if (t->name) return TQ_OK;
    if (!s->tokenizer)
        return tq_fail(err, "%s: no tokenizer.json: matrices cannot be compared on a text", tq_source_path(s->source));
    int rc = path ? read_text(s, path, err) : copy_evaluated(s, err);
    if (rc != TQ_OK) tq_session_drop_tuning(s);
    return rc;
}

/* --- the sweep --- */

/* Calibration and the effort of the trellis encoder stay out of what is compared. */
static tq_common compared(const tq_plan *p) {
    tq_common common = tq_plan_common(p);
    common.calibrate = TQ_CALIBRATE_NONE;
    common.states = TQ_STATES_DEFAULT;
    return common;
}

static int new_sensitivity(tq_session *s, const tq_plan *base, const tq_sweep_options *o, tq_err *err) {
    tq_session_tuning *t = &s->tuning;
    tq_plan *plan = base ? tq_plan_copy(base) : tq_plan_new(s->model, err);
    if (!plan) return base ? tq_fail(err, "out of memory for a plan") : TQ_FAIL;
    tq_common common = compared(base ? base : s->plan);
    tq_plan_set_common(plan, &common);
    tq_costs_free(t->costs);
    tq_sensitivity_free(t->sensitivity);
    t->costs = NULL;
    t->sensitivity = NULL;
    t->common = common;
    t->plain = tq_plan_keeps_all(plan);
    int rc =
        tq_sensitivity_new(s->model, s->pool, t->ids, t->tokens, t->hash, plan, o, t->state_dir, &t->sensitivity, err);
    tq_plan_free(plan);
    return rc;
}

int tq_session_sweep(tq_session *s, const tq_plan *base, const tq_sweep_options *o, const tq_progress *p,
                     void (*after)(void *ctx, size_t matrix), void *ctx, tq_err *err) {
    tq_session_tuning *t = &s->tuning;
    if (s->packed)
        return tq_fail(err, "%s: a packed export cannot be tuned: open the original model", tq_source_path(s->source));
    int rc = open_text(s, err);
    if (rc != TQ_OK) return rc;
    tq_common common = compared(base ? base : s->plan);
    bool same =
        t->sensitivity && t->plain && (!base || tq_plan_keeps_all(base)) && tq_common_equal(&common, &t->common);
    if (!same) rc = new_sensitivity(s, base, o, err);
    return rc == TQ_OK ? tq_sensitivity_run(t->sensitivity, p, after, ctx, err) : rc;
}

const tq_sensitivity *tq_session_sensitivity(const tq_session *s) {
    return s->tuning.sensitivity;
}

/* --- other plans than the one in force --- */

int tq_session_measure(tq_session *s, const tq_plan *plan, const tq_eval_options *o, const tq_progress *p,
                       tq_eval_result *out, tq_err *err) {
    tq_packing other;
    int rc = tq_packing_new(s, plan, &other, err);
    if (rc != TQ_OK) return rc;
    tq_known_eval known = s->known; /* of the plan in force: it stays known */
    size_t n_texts = s->n_texts;    /* their evaluators stay those of the plan in force */
    s->n_texts = 0;
    tq_packing_swap(s, &other);
    tq_session_touch(s, 0);
    rc = tq_session_eval(s, o, p, NULL, NULL, out, err);
    tq_packing_swap(s, &other);
    tq_session_touch(s, 0);
    s->n_texts = n_texts;
    s->known = known;
    tq_packing_free(&other, s->count);
    return rc;
}

/* --- the table for budgets --- */

/* Uniform plans on the text that is evaluated: the scale of what is foretold. */
static int learn_scale(tq_session *s, tq_costs *costs, const tq_eval_options *o, const tq_progress *p, tq_err *err) {
    size_t n = 0;
    const tq_choice *configs = tq_sweep_configs_default(&n);
    tq_plan *plan = tq_plan_copy(s->plan);
    int rc = plan ? TQ_OK : tq_fail(err, "out of memory for a plan");
    for (size_t i = 0; rc == TQ_OK && i < n; i++) {
        tq_eval_result r = {0};
        size_t bytes = 0;
        tq_plan_set_common(plan, &s->tuning.common);
        if (!tq_budget_set_all(costs, configs[i], NULL, plan)) continue;
        rc = tq_session_measure(s, plan, o, p, &r, err);
        if (rc == TQ_OK) tq_costs_learn(costs, tq_costs_sum(costs, plan, &bytes), r.kld_mean);
    }
    tq_plan_free(plan);
    return rc;
}

int tq_session_costs(tq_session *s, const tq_sweep_options *sweep, const tq_eval_options *o, const tq_costs_scope *only,
                     const tq_progress *p, const tq_costs **out, tq_err *err) {
    tq_session_tuning *t = &s->tuning;
    tq_costs *costs = NULL;
    tq_plan *base = tq_plan_new(s->model, err);
    *out = NULL;
    if (!base) return TQ_FAIL;
    int rc = tq_session_sweep(s, NULL, sweep, p, NULL, NULL, err);
    if (t->costs_scoped) tq_session_drop_costs(s);
    if (rc == TQ_OK && !t->costs) {
        tq_plan_set_common(base, &t->common);
        rc = tq_costs_new(s->model, base, t->sensitivity, only, p, &costs, err);
        if (rc == TQ_OK) rc = learn_scale(s, costs, o, p, err);
        if (rc == TQ_OK) {
            t->costs = costs;
            t->costs_scoped = only != NULL;
        } else {
            tq_costs_free(costs);
        }
    }
    tq_plan_free(base);
    if (rc == TQ_OK) *out = t->costs;
    return rc;
}
