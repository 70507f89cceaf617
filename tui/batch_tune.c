/* batch_tune.c - sweep and auto: what matrices cost alone, and the plan for a budget, without a screen. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tui/batch.h"

/* --- sweep --- */

/* The configs that were measured. */
static const tq_choice *configs_of(const tq_options *o, size_t *n) {
    static const tq_choice defaults[] = {
        {TQ_BITS_4T, TQ_GROUP_DEFAULT}, {TQ_BITS_4_2, TQ_GROUP_DEFAULT}, {TQ_BITS_4_4, TQ_GROUP_DEFAULT}};
    *n = o->n_configs ? o->n_configs : sizeof defaults / sizeof *defaults;
    return o->n_configs ? o->configs : defaults;
}

static bool sensed_json(cJSON *list, tq_choice c, const tq_sensed *x) {
    cJSON *o = cJSON_CreateObject();
    return o && cJSON_AddItemToArray(list, o) && tq_json_choice(o, c) && tq_json_number(o, "rel_mse", x->rel_mse) &&
           tq_json_number(o, "kld", x->kld) && tq_json_number(o, "kld_stderr", x->kld_error) &&
           tq_json_number(o, "a", x->rel_mse > 0 ? x->kld / x->rel_mse : NAN);
}

static cJSON *sweep_json(const tq_options *o, const tq_session *s, size_t found, double seconds) {
    const tq_sensitivity *x = tq_session_sensitivity(s);
    const tq_model *m = tq_session_model(s);
    size_t n = 0;
    const tq_choice *configs = configs_of(o, &n);
    cJSON *root = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(root, "matrices");
    bool ok = list != NULL;
    for (size_t i = 0; ok && i < tq_model_matrices(m); i++) {
        cJSON *row = cJSON_CreateObject(), *sensed = NULL;
        ok = row && cJSON_AddItemToArray(list, row) &&
             cJSON_AddStringToObject(row, "name", tq_model_matrix(m, i)->name) &&
             (sensed = cJSON_AddArrayToObject(row, "configs"));
        for (size_t k = 0; ok && k < n; k++) {
            tq_sensed at = tq_sensitivity_get(x, i, configs[k]);
            if (at.measured) ok = sensed_json(sensed, configs[k], &at);
        }
    }
    ok = ok && tq_json_number(root, "measurements", (double)tq_sensitivity_total(x)) &&
         tq_json_number(root, "found", (double)found) &&
         tq_json_number(root, "tokens", (double)tq_sensitivity_tokens(x)) &&
         cJSON_AddStringToObject(root, "text", tq_session_tuning_name(s)) && tq_json_number(root, "seconds", seconds);
    const char *path = tq_sensitivity_path(x);
    ok = ok && (path ? cJSON_AddStringToObject(root, "journal", path) : cJSON_AddNullToObject(root, "journal"));
    return tq_json_done(root, ok);
}

static void print_sweep(const tq_options *o, const tq_session *s, size_t found, double seconds) {
    const tq_sensitivity *x = tq_session_sensitivity(s);
    const tq_model *m = tq_session_model(s);
    size_t n = 0;
    const tq_choice *configs = configs_of(o, &n);
    int width = 6;
    for (size_t i = 0; i < tq_model_matrices(m); i++) {
        int length = (int)strlen(tq_model_matrix(m, i)->name);
        width = length > width ? length : width;
    }
    printf("%-*s  %-5s%5s %9s %10s %10s %9s\n", width, "matrix", "bits", "group", "rel.MSE", "own KLD", "+-",
           "KLD/MSE");
    for (size_t i = 0; i < tq_model_matrices(m); i++)
        for (size_t k = 0; k < n; k++) {
            tq_sensed at = tq_sensitivity_get(x, i, configs[k]);
            char group[24];
            if (!at.measured) continue;
            printf("%-*s  %-5s%5s %9.2e %10.2e %10.1e %9.3g\n", width, tq_model_matrix(m, i)->name,
                   tq_bits_get(configs[k].bits)->name, tq_group_name(configs[k].group, group), at.rel_mse, at.kld,
                   at.kld_error, at.rel_mse > 0 ? at.kld / at.rel_mse : 0);
        }
    printf("%zu measurements on %zu tokens of %s, %zu of them from before, in %.1f s\n", tq_sensitivity_total(x),
           tq_sensitivity_tokens(x), tq_session_tuning_name(s), found, seconds);
}

/* The text that is evaluated, if there is one: it serves when there is no other. */
static int open_all(const tq_options *o, tq_session **s, tq_err *err) {
    int rc = tq_options_open(o, s, err);
    if (rc == TQ_OK) rc = tq_options_tuning(o, *s, err);
    return rc == TQ_OK ? tq_options_text(o, *s, err) : rc;
}

static void count(void *ctx, size_t matrix) {
    (void)matrix;
    (*(size_t *)ctx)++;
}

int tq_run_sweep(const tq_options *o) {
    tq_batch b;
    tq_err err = {{0}};
    tq_session *s = NULL;
    size_t taken = 0;
    tq_sweep_options sweep = tq_options_sweep(o);
    double start = tq_now();
    tq_batch_begin(&b);
    tq_batch_step(&b, "sweeping");
    int rc = open_all(o, &s, &err);
    if (rc == TQ_OK) rc = tq_session_sweep(s, tq_session_plan(s), &sweep, &b.progress, count, &taken, &err);
    if (rc == TQ_OK) {
        size_t found = tq_sensitivity_total(tq_session_sensitivity(s)) - taken;
        double seconds = tq_now() - start;
        tq_batch_end(&b);
        tq_batch_notes(s);
        if (o->json)
            rc = tq_batch_json(sweep_json(o, s, found, seconds), &err);
        else
            print_sweep(o, s, found, seconds);
    }
    if (rc == TQ_OK) rc = tq_batch_flush(&err);
    tq_session_close(s);
    return rc == TQ_OK ? EXIT_SUCCESS : tq_batch_fail(&b, &err);
}

/* --- auto --- */

static bool tried_json(cJSON *o, const tq_tried *t) {
    return tq_json_number(o, "predicted", t->foretold) && tq_json_number(o, "measured", t->eval.kld_mean) &&
           tq_json_number(o, "stderr", t->eval.kld_stderr) && tq_json_number(o, "ppl", t->eval.ppl) &&
           tq_json_number(o, "bpw", t->budget.bpw) && tq_json_number(o, "linear_bytes", (double)t->budget.bytes);
}

/* The plan as a row of choices. */
static bool choices_json(cJSON *root, const tq_session *s, const tq_plan *p) {
    cJSON *list = cJSON_AddArrayToObject(root, "matrices");
    bool ok = list != NULL;
    for (size_t i = 0; ok && i < tq_model_matrices(tq_session_model(s)); i++) {
        cJSON *o = cJSON_CreateObject();
        ok = o && cJSON_AddItemToArray(list, o) &&
             cJSON_AddStringToObject(o, "name", tq_model_matrix(tq_session_model(s), i)->name) &&
             tq_json_choice(o, tq_plan_get(p, i));
    }
    return ok;
}

static cJSON *auto_json(const tq_options *o, const tq_session *s, const tq_auto_result *r, double seconds) {
    const tq_tried *kept = r->kept_uniform ? &r->uniform : &r->solved;
    tq_memory memory = tq_session_memory(s);
    cJSON *root = cJSON_CreateObject(), *solved = NULL, *uniform = NULL;
    bool ok = tq_json_number(root, "predicted", kept->foretold) &&
              tq_json_number(root, "measured", kept->eval.kld_mean) &&
              tq_json_number(root, "stderr", kept->eval.kld_stderr) &&
              tq_json_number(root, "tokens", (double)kept->eval.tokens) &&
              cJSON_AddStringToObject(root, "kept", r->kept_uniform ? "uniform" : "solved") &&
              tq_json_memory(root, &memory) && (solved = cJSON_AddObjectToObject(root, "solved")) &&
              tried_json(solved, &r->solved) && tq_json_number(solved, "gap", r->solved.budget.gap);
    if (ok && r->uniform.plan)
        ok = (uniform = cJSON_AddObjectToObject(root, "uniform")) && tried_json(uniform, &r->uniform);
    else
        ok = ok && cJSON_AddNullToObject(root, "uniform");
    ok = ok && (o->out ? cJSON_AddStringToObject(root, "plan", o->out) : cJSON_AddNullToObject(root, "plan")) &&
         choices_json(root, s, kept->plan) && cJSON_AddStringToObject(root, "text", tq_session_text_name(s)) &&
         cJSON_AddStringToObject(root, "tune_text", tq_session_tuning_name(s)) &&
         tq_json_number(root, "seconds", seconds);
    return tq_json_done(root, ok);
}

static void print_tried(const char *name, const tq_tried *t, bool kept) {
    if (!t->plan) {
        printf("%-8s none fits\n", name);
        return;
    }
    printf("%-8s %.4f bits/weight, %.3f MiB   KLD predicted %.6f, measured %.6f +- %.6f   PPL %.4f%s\n", name,
           t->budget.bpw, tq_mib(t->budget.bytes), t->foretold, t->eval.kld_mean, t->eval.kld_stderr, t->eval.ppl,
           kept ? "   <- kept" : "");
}

static void print_auto(const tq_options *o, const tq_session *s, const tq_auto_result *r, double seconds) {
    const tq_tried *kept = r->kept_uniform ? &r->uniform : &r->solved;
    tq_memory m = tq_session_memory(s);
    char group[24];
    for (size_t i = 0; i < tq_model_matrices(tq_session_model(s)); i++) {
        tq_choice c = tq_plan_get(kept->plan, i);
        printf("%-45s %-5s%5s\n", tq_model_matrix(tq_session_model(s), i)->name, tq_bits_get(c.bits)->name,
               c.bits == TQ_BITS_KEEP ? "" : tq_group_name(c.group, group));
    }
    print_tried("solved", &r->solved, !r->kept_uniform);
    print_tried("uniform", &r->uniform, r->kept_uniform);
    printf("memory   %.3f of %.3f MiB in all (%.1f %%)\n", tq_mib(m.total), tq_mib(m.baseline),
           100 * (double)m.total / (double)m.baseline);
    printf("compared on %s, measured on %zu tokens of %s, %.1f s\n", tq_session_tuning_name(s), kept->eval.tokens,
           tq_session_text_name(s), seconds);
    if (o->out) printf("%s\n", o->out);
}

/* Pinned is what a rule names, and without --ends embedding and head. selected: [matrices], scratch. */
static int pin(const tq_options *o, const tq_session *s, tq_plan *plan, bool *pinned, bool *selected, tq_err *err) {
    const tq_model *m = tq_session_model(s);
    size_t n_matrices = tq_model_matrices(m);
    int rc = TQ_OK;
    for (size_t i = tq_model_block_matrices(m); i < n_matrices; i++)
        pinned[i] = !o->ends;
    for (size_t k = 0; rc == TQ_OK && k < o->n_pins; k++) {
        char glob[256];
        size_t n = strcspn(o->pins[k], "=");
        rc = tq_plan_rule(plan, o->pins[k], NULL, err);
        if (rc != TQ_OK || n >= sizeof glob) continue;
        memcpy(glob, o->pins[k], n);
        glob[n] = '\0';
        (void)tq_glob_select(m, glob, selected);
        for (size_t i = 0; i < n_matrices; i++)
            pinned[i] = pinned[i] || selected[i];
    }
    return rc;
}

static void step(void *ctx, const char *what) {
    tq_batch_step(ctx, what);
}

static int run_auto(const tq_options *o, tq_batch *b, tq_session *s, tq_auto_result *r, tq_err *err) {
    const tq_costs *costs = NULL;
    tq_sweep_options sweep = tq_options_sweep(o);
    tq_plan *plan = tq_plan_copy(tq_session_plan(s));
    size_t n = tq_model_matrices(tq_session_model(s));
    bool *pinned = calloc(2 * n + 1, sizeof *pinned);
    int rc = plan && pinned ? pin(o, s, plan, pinned, pinned + n, err) : tq_fail(err, "out of memory for a plan");
    const tq_costs_scope only = {pinned, plan};
    tq_batch_step(b, "sweeping");
    if (rc == TQ_OK) rc = tq_session_costs(s, &sweep, &o->eval, &only, &b->progress, &costs, err);
    if (rc == TQ_OK) rc = tq_session_auto(s, costs, &o->target, pinned, plan, &o->eval, &b->progress, step, b, r, err);
    tq_plan_free(plan);
    free(pinned);
    return rc;
}

static int may_write(const tq_options *o, tq_err *err) {
    struct stat st;
    if (!o->out || (lstat(o->out, &st) != 0 && errno == ENOENT)) return TQ_OK;
    return o->force ? TQ_OK : tq_fail(err, "%s: exists, --force overwrites it", o->out);
}

static void notes(const tq_session *s, const tq_auto_result *r) {
    tq_batch_notes(s);
    if (tq_session_tunes_on_text(s))
        fputs("tqexplore: note: matrices are compared on the text that is evaluated, --tune-text FILE takes another\n",
              stderr);
    else if (r->kept_uniform && r->solved.foretold < r->uniform.foretold)
        fprintf(stderr, "tqexplore: note: the solved plan is better on %s alone, on %s the uniform one is\n",
                tq_session_tuning_name(s), tq_session_text_name(s));
}

int tq_run_auto(const tq_options *o) {
    tq_batch b;
    tq_err err = {{0}};
    tq_session *s = NULL;
    tq_auto_result r = {0};
    double start = tq_now();
    tq_batch_begin(&b);
    int rc = may_write(o, &err);
    if (rc == TQ_OK) rc = open_all(o, &s, &err);
    if (rc == TQ_OK) rc = tq_batch_text(o, s, &err);
    if (rc == TQ_OK) rc = run_auto(o, &b, s, &r, &err);
    if (rc == TQ_OK && !r.in_reach)
        rc = tq_fail(&err, "no plan that was tried measures a KLD of %g, the nearest has %.4g", o->target.value,
                     (r.kept_uniform ? r.uniform : r.solved).eval.kld_mean);
    if (rc == TQ_OK && o->out) rc = tq_session_save_plan(s, o->out, o->force, &err);
    if (rc == TQ_OK) {
        tq_batch_end(&b);
        notes(s, &r);
        if (o->json)
            rc = tq_batch_json(auto_json(o, s, &r, tq_now() - start), &err);
        else
            print_auto(o, s, &r, tq_now() - start);
    }
    if (rc == TQ_OK) rc = tq_batch_flush(&err);
    tq_auto_result_free(&r);
    tq_session_close(s);
    return rc == TQ_OK ? EXIT_SUCCESS : tq_batch_fail(&b, &err);
}
