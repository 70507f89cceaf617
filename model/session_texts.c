/* session_texts.c - texts beside the one that is evaluated: each with its own evaluator, as incremental as that one. */
#include <stdlib.h>
#include <string.h>

#include "model/session_internal.h"

static void side_text_free(tq_side_text *t) {
    tq_evaluator_free(t->evaluator);
    free(t->name);
    free(t->path);
    free(t->ids);
    *t = (tq_side_text){0};
}

void tq_session_drop_texts(tq_session *s) {
    for (size_t i = 0; i < s->n_texts; i++)
        side_text_free(&s->texts[i]);
    s->n_texts = 0;
}

void tq_session_touch_texts(tq_session *s, size_t block) {
    for (size_t i = 0; i < s->n_texts; i++)
        if (s->texts[i].evaluator) tq_evaluator_touch(s->texts[i].evaluator, block);
}

void tq_session_drop_text_evaluators(tq_session *s) {
    for (size_t i = 0; i < s->n_texts; i++) {
        tq_evaluator_free(s->texts[i].evaluator);
        s->texts[i].evaluator = NULL;
    }
}

static int read_side_text(tq_session *s, const char *path, tq_side_text *t, tq_err *err) {
    const char *slash = strrchr(path, '/');
    if (!s->tokenizer)
        return tq_fail(err, "%s: no tokenizer.json: a text cannot be evaluated", tq_source_path(s->source));
    if (tq_session_read_ids(s, path, false, &t->ids, &t->tokens, t->hash, err) != TQ_OK) return TQ_FAIL;
    t->name = strdup(slash ? slash + 1 : path);
    t->path = realpath(path, NULL);
    return t->name && t->path ? TQ_OK : tq_fail(err, "%s: out of memory", path);
}

int tq_session_add_text(tq_session *s, const char *path, tq_text_role role, tq_err *err) {
    tq_side_text t = {.role = role};
    if (s->n_texts + 1 >= TQ_TEXTS_MAX) return tq_fail(err, "%s: %d texts are there already", path, TQ_TEXTS_MAX);
    int rc = read_side_text(s, path, &t, err);
    bool there = rc == TQ_OK && s->text_name && strcmp(t.hash, s->text_hash) == 0;
    if (there && role == TQ_TEXT_TUNING) s->text_role = role;
    for (size_t i = 0; rc == TQ_OK && i < s->n_texts; i++) {
        if (strcmp(s->texts[i].hash, t.hash) != 0) continue;
        there = true;
        if (role == TQ_TEXT_TUNING) s->texts[i].role = role;
    }
    if (rc != TQ_OK || there)
        side_text_free(&t);
    else
        s->texts[s->n_texts++] = t;
    return rc;
}

int tq_session_add_tuning_text(tq_session *s, tq_err *err) {
    const char *path = s->tuning.path ? s->tuning.path : s->calibration.path;
    return path ? tq_session_add_text(s, path, TQ_TEXT_TUNING, err) : TQ_OK;
}

size_t tq_session_texts(const tq_session *s) {
    return s->text_name ? s->n_texts + 1 : 0;
}

const char *tq_session_text_at(const tq_session *s, size_t i, tq_text_role *role) {
    *role = i ? s->texts[i - 1].role : s->text_role;
    for (size_t k = 0; i == 0 && k < s->n_texts; k++) /* the tuning text, loaded as the main one */
        if (s->texts[k].role == TQ_TEXT_TUNING && strcmp(s->texts[k].hash, s->text_hash) == 0) *role = TQ_TEXT_TUNING;
    return i ? s->texts[i - 1].name : s->text_name;
}

const char *tq_session_text_path(const tq_session *s, size_t i) {
    return i ? s->texts[i - 1].path : s->text_path ? s->text_path : "";
}

size_t tq_session_text_length(const tq_session *s, size_t i) {
    return i ? s->texts[i - 1].tokens : tq_session_text_tokens(s);
}

static int side_evaluator(tq_session *s, tq_side_text *t, const tq_eval_options *o, tq_err *err) {
    if (t->evaluator && t->options.ctx == o->ctx && t->options.tokens == o->tokens &&
        t->options.score_half == o->score_half && t->options.fast == o->fast)
        return TQ_OK;
    tq_evaluator_free(t->evaluator);
    t->evaluator = NULL;
    t->options = *o;
    if (t->tokens < o->ctx)
        return tq_fail(err, "%s: %zu tokens, expected at least one window of %zu", t->name, t->tokens, o->ctx);
    return tq_session_new_evaluator(s, t->ids, t->tokens, o, &t->evaluator, err);
}

int tq_session_eval_text(tq_session *s, size_t i, const tq_eval_options *o, const tq_progress *p, tq_text_figures *out,
                         tq_err *err) {
    tq_eval_options options = *o;
    tq_eval_result r = {0};
    *out = (tq_text_figures){0};
    if (!options.ctx) options.ctx = TQ_CTX_DEFAULT;
    if (i == 0) {
        int rc = tq_session_eval(s, &options, p, NULL, NULL, &r, err);
        if (rc == TQ_OK) *out = s->known.figures;
        return rc;
    }
    tq_side_text *t = &s->texts[i - 1];
    int rc = tq_session_apply(s, p, NULL, NULL, err);
    if (rc == TQ_OK) rc = side_evaluator(s, t, &options, err);
    if (rc == TQ_OK) rc = tq_evaluator_run(t->evaluator, s->q, p, NULL, NULL, &r, err);
    if (rc == TQ_OK) *out = tq_text_figures_of(t->evaluator, &r);
    return rc;
}

tq_text_figures tq_session_last_figures(const tq_session *s) {
    return s->known.has ? s->known.figures : (tq_text_figures){0};
}
