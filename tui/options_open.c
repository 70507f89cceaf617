/* options_open.c - what the options describe, opened: the model, its plan, its texts; and where the sample model is. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/calibration.h"
#include "tui/options_table.h"

/* --- the sample model --- */

static char *existing(char *path) {
    if (path && access(path, R_OK) == 0) return path;
    free(path);
    return NULL;
}

static char *join3(const char *a, const char *b, const char *c) {
    char *path = NULL;
    return asprintf(&path, "%s%s%s", a, b, c) < 0 ? NULL : path;
}

/* Beside the build directory, or where make install puts it. */
char *tq_find_sample(void) {
    static const char *const places[] = {"/../samples/", "/../share/tqexplore/samples/"};
    char exe[PATH_MAX], *found = NULL;
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    exe[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(exe, '/');
    if (slash) *slash = '\0';
    for (size_t i = 0; slash && !found && i < sizeof places / sizeof *places; i++)
        found = existing(join3(exe, places[i], TQ_SAMPLE));
    if (!found) found = existing(join3(TQ_DATADIR, "/samples/", TQ_SAMPLE));
    if (!found) return NULL;
    char *real = realpath(found, NULL);
    free(found);
    return real;
}

char *tq_find_sample_text(void) {
    char *dir = tq_find_sample(), *path = dir ? existing(join3(dir, "/../", "eval.txt")) : NULL;
    char *real = path ? realpath(path, NULL) : NULL;
    free(path);
    free(dir);
    return real;
}

/* --- the session --- */

int tq_options_plan(const tq_options *o, tq_session *s, tq_err *err) {
    if (o->plan && tq_session_load_plan(s, o->plan, err) != TQ_OK) return TQ_FAIL;
    if (!tq_options_has_plan(o)) return TQ_OK;
    tq_plan *plan = tq_plan_copy(tq_session_plan(s));
    if (!plan) return tq_fail(err, "out of memory for a plan");
    tq_common common = tq_plan_common(plan);
    if (o->residual_given) common.residual = o->residual;
    if (o->rotation_given) common.rotation = o->rotation;
    if (o->rotation_seed_given) common.seed = o->rotation_seed;
    if (o->states) common.states = o->states;
    if (o->calibrate_given) common.calibrate = o->calibrate;
    tq_plan_set_common(plan, &common);
    int rc = TQ_OK;
    for (size_t i = 0; i < o->n_rules && rc == TQ_OK; i++)
        rc = tq_plan_rule(plan, o->rules[i], NULL, err);
    if (rc == TQ_OK) rc = tq_session_set_plan(s, plan, err);
    tq_plan_free(plan);
    return rc;
}

/* A file beside the sample model, when that is what is open; else NULL. */
static char *beside_sample(const tq_session *s, const char *file) {
    char *real = realpath(tq_source_dir(tq_model_source(tq_session_model(s))), NULL);
    const char *name = real ? strrchr(real, '/') : NULL;
    bool sample = name && strcmp(name, "/" TQ_SAMPLE) == 0;
    char *path = sample ? existing(join3(real, "/../", file)) : NULL;
    free(real);
    return path;
}

static int set_calibration(const tq_options *o, tq_session *s, tq_err *err) {
    char *beside = o->calib ? NULL : beside_sample(s, "calib.txt"), *cache = tq_cache_dir();
    const char *path = o->calib ? o->calib : beside;
    int rc = path ? tq_session_set_calibration(s, path, &o->calib_options, cache, err) : TQ_OK;
    free(beside);
    free(cache);
    return rc;
}

char *tq_options_questions(const tq_options *o, const tq_session *s) {
    if (o->questions) return strcmp(o->questions, "none") == 0 ? NULL : strdup(o->questions);
    return o->text ? NULL : beside_sample(s, "questions.jsonl");
}

int tq_options_text(const tq_options *o, tq_session *s, tq_err *err) {
    if (o->text) return tq_session_load_text(s, o->text, err);
    char *path = beside_sample(s, "eval.txt");
    int rc = path ? tq_session_load_text(s, path, err) : TQ_OK;
    free(path);
    return rc;
}

int tq_options_open(const tq_options *o, tq_session **out, tq_err *err) {
    tq_session_options options = {.threads = o->threads,
                                  .cpu = o->cpu,
                                  .exact = o->exact,
                                  .memory = o->memory,
                                  .chat_template = o->chat_template};
    int rc = tq_session_open(o->model, &options, out, err);
    if (rc == TQ_OK) rc = set_calibration(o, *out, err);
    if (rc == TQ_OK) rc = tq_options_plan(o, *out, err);
    if (rc == TQ_OK) return TQ_OK;
    tq_session_close(*out);
    *out = NULL;
    return rc;
}
