/* session_eval.c - the text, its evaluation, and what is saved of both. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "model/session_internal.h"
#include "model/source_internal.h"
#include "model/tensor_writer.h"

#define MAX_PLAN ((size_t)64 << 20)

static void drop_evaluators(tq_session *s) {
    for (size_t i = 0; i < TQ_SESSION_EVALUATORS; i++) {
        tq_evaluator_free(s->slots[i].evaluator);
        s->slots[i] = (tq_eval_slot){0};
    }
    tq_session_drop_text_evaluators(s);
    s->known.has = false;
}

void tq_session_drop_text(tq_session *s) {
    drop_evaluators(s);
    tq_session_drop_costs(s);
    free(s->text_name);
    free(s->text_path);
    free(s->text_ids);
    s->text_name = s->text_path = NULL;
    s->text_ids = NULL;
    s->text_tokens = 0;
    s->text_role = TQ_TEXT_HELD_OUT;
}

void tq_session_touch(tq_session *s, size_t block) {
    if (s->aside) return;
    s->generation++;
    s->known.has = false;
    for (size_t i = 0; i < TQ_SESSION_EVALUATORS; i++)
        if (s->slots[i].evaluator) tq_evaluator_touch(s->slots[i].evaluator, block);
    tq_session_touch_texts(s, block);
}

int tq_session_set_text(tq_session *s, const char *name, const char *text, size_t bytes, tq_err *err) {
    tq_err inner = {{0}};
    int *ids = NULL;
    size_t n = 0;
    if (!s->tokenizer)
        return tq_fail(err, "%s: no tokenizer.json: a text cannot be evaluated", tq_source_path(s->source));
    char *copy = strdup(name);
    int rc = copy ? tq_tokenizer_encode(s->tokenizer, text, bytes, false, false, &ids, &n, &inner)
                  : tq_fail(&inner, "out of memory");
    if (rc != TQ_OK) {
        free(copy);
        return tq_fail(err, "%s: %s", name, inner.msg);
    }
    tq_session_drop_text(s);
    s->text_name = copy;
    s->text_ids = ids;
    s->text_tokens = n;
    (void)snprintf(s->text_hash, sizeof s->text_hash, "%016" PRIx64, tq_hash_bytes(TQ_HASH_SEED, text, bytes));
    return TQ_OK;
}

int tq_session_load_text(tq_session *s, const char *path, tq_err *err) {
    char *text = NULL;
    size_t n = 0;
    const char *slash = strrchr(path, '/');
    if (tq_read_file(path, TQ_SESSION_MAX_TEXT, &text, &n, err) != TQ_OK) return TQ_FAIL;
    int rc = n ? tq_session_set_text(s, slash ? slash + 1 : path, text, n, err)
               : tq_fail(err, "%s: empty, expected a text to evaluate", path);
    if (rc == TQ_OK) s->text_path = realpath(path, NULL);
    free(text);
    return rc;
}

const char *tq_session_text_name(const tq_session *s) {
    return s->text_name;
}
const char *tq_session_text_hash(const tq_session *s) {
    return s->text_hash;
}

size_t tq_session_text_tokens(const tq_session *s) {
    return s->text_tokens;
}

const int *tq_session_text_ids(const tq_session *s) {
    return s->text_ids;
}

const tq_worst *tq_session_worst(const tq_session *s, size_t *n) {
    *n = s->known.has ? s->known.n_worst : 0;
    return s->known.worst;
}

int tq_session_set_reference(tq_session *s, const char *path, tq_err *err) {
    tq_source *source = NULL;
    tq_model *model = NULL;
    int rc = path ? tq_session_bind(path, &source, &model, err) : TQ_OK;
    if (rc != TQ_OK) {
        tq_source_close(source);
        return rc;
    }
    drop_evaluators(s);
    if (model) tq_model_set_streaming(model, tq_needs_streaming(model, s->machine));
    tq_model_free(s->reference);
    tq_source_close(s->reference_source);
    s->reference = model;
    s->reference_source = source;
    tq_session_note_figures(s);
    return TQ_OK;
}

/* A new evaluator of the session's model, against its reference when it has one. */
int tq_session_new_evaluator(tq_session *s, const int *ids, size_t n, const tq_eval_options *o, tq_evaluator **out,
                             tq_err *err) {
    tq_err inner = {{0}};
    size_t quarter = s->machine / 4; /* for hidden states, where that is less than what they take anyway */
    int rc = tq_evaluator_new(s->model, s->pool, ids, n, o,
                              quarter && quarter < TQ_EVAL_MEMORY ? quarter : TQ_EVAL_MEMORY, out, err);
    if (rc != TQ_OK || !s->reference) return rc;
    rc = tq_evaluator_against(*out, s->reference, &inner);
    if (rc == TQ_OK) return TQ_OK;
    tq_evaluator_free(*out);
    *out = NULL;
    return tq_fail(err, "%s: %s", tq_source_path(s->reference_source), inner.msg);
}

static bool same_options(const tq_eval_options *a, const tq_eval_options *b) {
    return a->ctx == b->ctx && a->tokens == b->tokens && a->score_half == b->score_half && a->fast == b->fast;
}

/* The evaluator of these options; the one that was not used for longest makes room. */
static int get_evaluator(tq_session *s, const tq_eval_options *o, tq_evaluator **out, tq_err *err) {
    tq_eval_slot *slot = &s->slots[0];
    for (size_t i = 0; i < TQ_SESSION_EVALUATORS; i++) {
        tq_eval_slot *x = &s->slots[i];
        if (x->evaluator && same_options(&x->options, o)) {
            x->used = ++s->uses;
            *out = x->evaluator;
            return TQ_OK;
        }
        if (x->used < slot->used) slot = x;
    }
    tq_evaluator_free(slot->evaluator);
    *slot = (tq_eval_slot){0};
    tq_evaluator *e = NULL;
    int rc = tq_session_new_evaluator(s, s->text_ids, s->text_tokens, o, &e, err);
    if (rc != TQ_OK) return rc;
    *slot = (tq_eval_slot){.options = *o, .evaluator = e, .used = ++s->uses};
    *out = e;
    return TQ_OK;
}

int tq_session_eval(tq_session *s, const tq_eval_options *o, const tq_progress *p,
                    void (*partial)(void *ctx, const tq_eval_result *so_far), void *ctx, tq_eval_result *out,
                    tq_err *err) {
    tq_eval_options options = *o;
    size_t context = tq_model_config(s->model)->context;
    tq_evaluator *e = NULL;
    if (!options.ctx) options.ctx = TQ_CTX_DEFAULT;
    if (!s->text_name) return tq_fail(err, "no text to evaluate");
    if (context && options.ctx > context)
        return tq_fail(err, "%s: windows of %zu tokens, the model takes at most %zu", tq_source_path(s->source),
                       options.ctx, context);
    if (s->text_tokens < options.ctx)
        return tq_fail(err, "%s: %zu tokens, expected at least one window of %zu", s->text_name, s->text_tokens,
                       options.ctx);
    int rc = tq_session_apply(s, p, NULL, NULL, err);
    if (rc == TQ_OK) rc = get_evaluator(s, &options, &e, err);
    if (rc == TQ_OK) rc = tq_evaluator_run(e, s->q, p, partial, ctx, out, err);
    if (rc != TQ_OK) return rc;
    s->known.has = true;
    s->known.result = *out;
    s->known.options = options;
    s->known.figures = tq_text_figures_of(e, out);
    s->known.n_worst = tq_evaluator_worst(e, TQ_WORST_MAX, s->known.worst);
    return TQ_OK;
}

tq_plan_figures tq_session_plan_figures(tq_session *s) {
    tq_plan_figures f = {.distortion = s->distortion, .bytes = s->bytes};
    for (size_t i = 0; i < s->count; i++)
        s->bytes[i] = tq_session_matrix_bytes(s, i);
    if (tq_session_stale(s)) f.distortion = NULL;
    if (!s->known.has || tq_session_stale(s)) return f;
    f.eval = &s->known.result;
    f.options = &s->known.options;
    f.text_name = s->text_name;
    memcpy(f.text_hash, s->text_hash, sizeof f.text_hash);
    return f;
}

int tq_session_save_plan(tq_session *s, const char *path, bool force, tq_err *err) {
    struct stat st;
    char *json = NULL;
    bool exists = lstat(path, &st) == 0;
    if (!exists && errno != ENOENT) return tq_fail(err, "%s: cannot look at it: %s", path, strerror(errno));
    if (exists && !S_ISREG(st.st_mode)) return tq_fail(err, "%s: not overwritten, it is no regular file", path);
    if (exists && !force) return tq_fail(err, "%s: exists, --force overwrites it", path);
    tq_plan_figures figures = tq_session_plan_figures(s);
    int rc = tq_plan_to_json(s->plan, &figures, &json, err);
    if (rc == TQ_OK) rc = tq_write_file(path, json, strlen(json), err);
    free(json);
    return rc;
}

int tq_session_read_plan(const tq_session *s, const char *path, tq_plan **out, tq_err *err) {
    char *text = NULL;
    size_t n = 0;
    *out = NULL;
    int rc = tq_read_file(path, MAX_PLAN, &text, &n, err);
    if (rc == TQ_OK) rc = tq_plan_from_json(s->model, text, n, path, out, err);
    free(text);
    return rc;
}

int tq_session_load_plan(tq_session *s, const char *path, tq_err *err) {
    tq_plan *plan = NULL;
    int rc = tq_session_read_plan(s, path, &plan, err);
    if (rc == TQ_OK) rc = tq_session_set_plan(s, plan, err);
    tq_plan_free(plan);
    return rc;
}

int tq_session_export(tq_session *s, tq_export_format f, const char *path, bool force, const tq_progress *p,
                      tq_err *err) {
    const tq_export_traits *format = tq_export_get(f);
    int rc = tq_export_check(f, s->plan, err);
    if (rc == TQ_OK && !format->recipe) rc = tq_session_apply(s, p, NULL, NULL, err);
    if (rc != TQ_OK) return rc;
    if (!format->write) return tq_session_save_plan(s, path, force, err);
    tq_plan_figures figures = tq_session_plan_figures(s);
    tq_export_job job = {s->model, s->plan, &figures, format->recipe ? NULL : s->q, path, force, s->pool};
    return format->write(&job, p, err);
}
