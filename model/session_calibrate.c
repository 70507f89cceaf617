/* session_calibrate.c - the calibration of a session: its text, its moments, and what is encoded under them. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/session_internal.h"
#include "model/source_internal.h"
#include "model/tensor_writer.h"

void tq_session_drop_calibration(tq_session *s) {
    tq_session_calibration *c = &s->calibration;
    tq_calibration_free(c->c);
    free(c->path);
    free(c->cache_dir);
    *c = (tq_session_calibration){0};
}

int tq_session_set_calibration(tq_session *s, const char *path, const tq_calib_options *o, const char *cache_dir,
                               tq_err *err) {
    char *path_copy = strdup(path), *dir_copy = cache_dir ? strdup(cache_dir) : NULL;
    if (!path_copy || (cache_dir && !dir_copy)) {
        free(path_copy);
        free(dir_copy);
        return tq_fail(err, "%s: out of memory", path);
    }
    tq_session_drop_calibration(s);
    s->calibration.path = path_copy;
    s->calibration.cache_dir = dir_copy;
    s->calibration.options = *o;
    return TQ_OK;
}

bool tq_session_calibrates_on_text(const tq_session *s) {
    return s->text_name && s->calibration.c && tq_plan_common(s->plan).calibrate != TQ_CALIBRATE_NONE &&
           strcmp(s->text_hash, s->calibration.text_hash) == 0;
}

int tq_session_read_ids(const tq_session *s, const char *path, bool add_bos, int **ids, size_t *n, char hash[17],
                        tq_err *err) {
    char *text = NULL;
    size_t bytes = 0;
    tq_err inner = {{0}};
    if (tq_read_file(path, TQ_SESSION_MAX_TEXT, &text, &bytes, err) != TQ_OK) return TQ_FAIL;
    int rc = tq_tokenizer_encode(s->tokenizer, text, bytes, false, add_bos, ids, n, &inner);
    (void)snprintf(hash, 17, "%016" PRIx64, tq_hash_bytes(TQ_HASH_SEED, text, bytes));
    free(text);
    return rc == TQ_OK ? TQ_OK : tq_fail(err, "%s: %s", path, inner.msg);
}

/* Reads the text, if that is yet to be done. */
static int open_calibration(tq_session *s, tq_err *err) {
    tq_session_calibration *c = &s->calibration;
    int *ids = NULL;
    size_t n = 0, tokens = c->options.tokens ? c->options.tokens : TQ_CALIB_TOKENS_DEFAULT;
    tq_err inner = {{0}};
    if (c->c) return TQ_OK;
    if (!c->path)
        return tq_fail(err, "%s: no text to calibrate on, give one with --calib FILE", tq_source_path(s->source));
    if (!s->tokenizer) return tq_fail(err, "%s: no tokenizer.json: no text to calibrate on", tq_source_path(s->source));
    int rc = tq_session_read_ids(s, c->path, true, &ids, &n, c->text_hash, err);
    if (rc != TQ_OK) return rc;
    rc = tq_calibration_new(s->model, s->pool, ids, n, tokens, c->text_hash, c->cache_dir, &c->c, &inner);
    free(ids);
    return rc == TQ_OK ? TQ_OK : tq_fail(err, "%s: %s", c->path, inner.msg);
}

int tq_session_encode_calibrated(tq_session *s, size_t i, const tq_qspec *spec, const tq_moment *moment,
                                 const tq_progress *p, tq_qmatrix **out, tq_calibrated *figures, tq_err *err) {
    const tq_matrix *m = tq_model_matrix(s->model, i);
    double lambda = s->calibration.options.lambda > 0 ? s->calibration.options.lambda : TQ_LAMBDA_DEFAULT;
    tq_calibrate_options options = {lambda, TQ_SWEEPS_DEFAULT};
    tq_err inner = {{0}};
    tq_moment own;
    if (!moment) {
        int rc = open_calibration(s, err);
        if (rc == TQ_OK) rc = tq_calibration_moment(s->calibration.c, i, p, &own, err);
        if (rc != TQ_OK) return rc;
        moment = &own;
    }
    int rc = tq_qmatrix_encode_calibrated(&m->w, spec, moment, &options, tq_model_rotations(s->model), s->pool, p, out,
                                          figures, &inner);
    if (rc == TQ_CANCELLED) return tq_cancelled(err);
    if (rc != TQ_OK) return tq_fail(err, "%s: tensor %s.weight: %s", tq_source_path(s->source), m->name, inner.msg);
    return TQ_OK;
}

/* One run with the asymmetric target: the new matrices stand aside until all of them are there. */
typedef struct asym_apply {
    tq_session *s;
    tq_qmatrix **q;
    tq_calibrated *figures;
} asym_apply;

static int encode_next(void *ctx, size_t matrix, const tq_moment *moment, tq_err *err) {
    const asym_apply *a = ctx;
    tq_qspec spec = tq_plan_spec(a->s->plan, matrix);
    a->figures[matrix] = (tq_calibrated){.distortion = {0, 1}};
    if (spec.bits == TQ_BITS_KEEP) return TQ_OK;
    return tq_session_encode_calibrated(a->s, matrix, &spec, moment, NULL, &a->q[matrix], &a->figures[matrix], err);
}

int tq_session_apply_asym(tq_session *s, const tq_progress *p, void (*after)(void *ctx, size_t matrix), void *ctx,
                          tq_err *err) {
    asym_apply a = {s, calloc(s->count + 1, sizeof(void *)), calloc(s->count + 1, sizeof *a.figures)};
    int rc = a.q && a.figures ? open_calibration(s, err) : tq_fail(err, "out of memory for a plan");
    for (size_t i = tq_model_block_matrices(s->model); rc == TQ_OK && i < s->count; i++) {
        tq_qspec spec = tq_plan_spec(s->plan, i); /* what is looked up is there before the pass */
        a.figures[i].distortion = (tq_distortion){0, 1};
        if (spec.bits != TQ_BITS_KEEP && spec.calibrate == TQ_CALIBRATE_NONE)
            rc = tq_session_encode(s, i, &spec, p, &a.q[i], &a.figures[i].distortion, err);
    }
    if (rc == TQ_OK) rc = tq_calibration_asym(s->calibration.c, a.q, encode_next, &a, p, err);
    for (size_t i = 0; rc == TQ_OK && i < s->count; i++) {
        tq_session_take(s, i, a.q[i], &a.figures[i]);
        a.q[i] = NULL;
        if (after) after(ctx, i);
    }
    for (size_t i = 0; a.q && i < s->count; i++)
        tq_qmatrix_free(a.q[i]);
    free(a.q);
    free(a.figures);
    return rc;
}
