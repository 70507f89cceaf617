/* session.c - one opened model, its plan, and its matrices packed as the plan says. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/json.h"
#include "model/packed.h"
#include "model/session_internal.h"
#include "model/tensor_writer.h"

#define MAX_PLAN ((size_t)64 << 20)

static void add_note(tq_session *s, const char *text) {
    size_t at = strlen(s->note);
    if (text && text[0]) (void)snprintf(s->note + at, sizeof s->note - at, "%s%s", at ? "\n" : "", text);
}

void tq_session_note_figures(tq_session *s) {
    char text[128];
    s->note[s->note_end] = 0;
    if (s->packed)
        add_note(s, s->reference
                        ? "packed export: open the original model to change the plan"
                        : "packed export: figures are against itself, open the original model to change the plan");
    if (tq_model_baseline(s->model)[0] && !s->reference) {
        (void)snprintf(text, sizeof text, "baseline: %s, already quantized: figures are against that",
                       tq_model_baseline(s->model));
        add_note(s, text);
    }
}

static int choose_kernels(const char *cpu, tq_err *err) {
    char names[128] = "";
    if (!cpu || strcmp(cpu, "auto") == 0 || tq_kernels_use(cpu) == 0) return TQ_OK;
    for (size_t i = 0, at = 0; tq_kernels_name(i) && at < sizeof names; i++)
        at += (size_t)snprintf(names + at, sizeof names - at, "%s%s", i ? ", " : "", tq_kernels_name(i));
    return tq_fail(err, "this machine cannot run the %s kernels, it can run %s", cpu, names);
}

static bool has_file(const char *dir, const char *name) {
    char *path = tq_path_join(dir, name);
    bool has = path && access(path, F_OK) == 0;
    free(path);
    return has;
}

static int open_tokenizer(tq_session *s, const char *template, tq_err *err) {
    int rc = tq_tokenizer_of(s->source, &s->tokenizer, err);
    if (rc == TQ_OK && !s->tokenizer) {
        add_note(s, "no tokenizer.json beside the model: no chat, no evaluation");
        return TQ_OK;
    }
    if (rc == TQ_OK) rc = tq_chat_of(s->source, template, s->tokenizer, tq_model_config(s->model), &s->chat, err);
    if (rc == TQ_OK) add_note(s, tq_chat_note(s->chat));
    return rc;
}

/* What an export says about its own distortion; a kept matrix has none. */
static int open_distortion(tq_session *s, tq_err *err) {
    char *path = NULL, *text = NULL;
    size_t n = 0;
    int rc = TQ_OK;
    for (size_t i = 0; i < s->count; i++) {
        bool packed = tq_model_matrix(s->model, i)->packed != NULL;
        s->distortion[i] = packed ? (tq_distortion){NAN, NAN} : (tq_distortion){0, 1};
    }
    if (!s->packed) return TQ_OK;
    if (!has_file(tq_source_dir(s->source), TQ_PLAN_FILE)) {
        add_note(s, "no " TQ_PLAN_FILE " in it: distortion unknown");
        return TQ_OK;
    }
    path = tq_path_join(tq_source_dir(s->source), TQ_PLAN_FILE);
    rc = path ? tq_read_file(path, MAX_PLAN, &text, &n, err) : tq_fail(err, "out of memory");
    if (rc == TQ_OK) rc = tq_plan_read_distortion(s->model, text, n, path, s->distortion, err);
    for (size_t i = 0; i < s->count && rc == TQ_OK; i++)
        if (!tq_model_matrix(s->model, i)->packed) s->distortion[i] = (tq_distortion){0, 1};
    free(text);
    free(path);
    return rc;
}

int tq_session_bind(const char *path, tq_source **source, tq_model **model, tq_err *err) {
    tq_config *config = calloc(1, sizeof *config);
    int rc = config ? tq_source_open(path, source, err) : tq_fail(err, "%s: out of memory", path);
    if (rc == TQ_OK) rc = tq_config_of(*source, config, err);
    if (rc == TQ_OK) rc = tq_model_bind(*source, config, model, err);
    free(config);
    return rc;
}

static int open_model(tq_session *s, const char *path, tq_err *err) {
    int rc = tq_session_bind(path, &s->source, &s->model, err);
    if (rc != TQ_OK) return rc;
    add_note(s, tq_model_note(s->model));
    s->packed = tq_packed_source(s->source);
    tq_model_set_streaming(s->model, tq_needs_streaming(s->model, s->machine));
    s->count = tq_model_matrices(s->model);
    s->plan = tq_plan_new(s->model, err);
    if (!s->plan) return TQ_FAIL;
    s->q = calloc(s->count + 1, sizeof(void *));
    s->distortion = calloc(s->count + 1, sizeof *s->distortion);
    s->bytes = calloc(s->count + 1, sizeof *s->bytes);
    s->calibrated = calloc(s->count + 1, sizeof *s->calibrated);
    if (!s->q || !s->distortion || !s->bytes || !s->calibrated) return tq_fail(err, "%s: out of memory", path);
    return open_distortion(s, err);
}

int tq_session_open(const char *path, const tq_session_options *options, tq_session **out, tq_err *err) {
    *out = NULL;
    if (choose_kernels(options->cpu, err) != TQ_OK) return TQ_FAIL;
    tq_session *s = calloc(1, sizeof *s);
    if (!s) return tq_fail(err, "%s: out of memory", path);
    s->exact = options->exact;
    s->machine = options->memory ? options->memory : tq_machine_memory();
    s->pool = tq_pool_new(options->threads, err);
    int rc = s->pool ? open_model(s, path, err) : TQ_FAIL;
    if (rc == TQ_OK) rc = open_tokenizer(s, options->chat_template, err);
    if (rc != TQ_OK) {
        tq_session_close(s);
        return rc;
    }
    s->note_end = strlen(s->note);
    tq_session_note_figures(s);
    *out = s;
    return TQ_OK;
}

void tq_session_close(tq_session *s) {
    if (!s) return;
    tq_session_drop_text(s);
    tq_session_drop_texts(s);
    tq_talk_free(&s->talk);
    for (size_t i = 0; s->q && i < s->count; i++)
        tq_qmatrix_free(s->q[i]);
    free(s->q);
    free(s->distortion);
    free(s->bytes);
    free(s->calibrated);
    tq_session_drop_calibration(s);
    tq_session_drop_tuning(s);
    tq_packing_free(&s->sides[0], s->count);
    tq_packing_free(&s->sides[1], s->count);
    free(s->tuning.path);
    free(s->tuning.state_dir);
    tq_plan_free(s->plan);
    tq_chat_free(s->chat);
    tq_tokenizer_free(s->tokenizer);
    tq_model_free(s->model);
    tq_source_close(s->source);
    tq_model_free(s->reference);
    tq_source_close(s->reference_source);
    tq_pool_free(s->pool);
    free(s);
}

const tq_model *tq_session_model(const tq_session *s) {
    return s->model;
}
const tq_tokenizer *tq_session_tokenizer(const tq_session *s) {
    return s->tokenizer;
}
const tq_chat *tq_session_chat(const tq_session *s) {
    return s->chat;
}
tq_pool *tq_session_pool(tq_session *s) {
    return s->pool;
}
tq_arithmetic tq_session_arithmetic(const tq_session *s) {
    return s->exact ? TQ_ARITHMETIC_EXACT : TQ_ARITHMETIC_FAST;
}
const char *tq_session_note(const tq_session *s) {
    return s->note;
}
bool tq_session_is_packed(const tq_session *s) {
    return s->packed;
}
const tq_plan *tq_session_plan(const tq_session *s) {
    return s->plan;
}

tq_variant tq_session_variant(const tq_session *s) {
    return s->q;
}

int tq_session_set_plan(tq_session *s, const tq_plan *plan, tq_err *err) {
    tq_common common = tq_plan_common(plan);
    for (size_t i = 0; i < s->count; i++) {
        const tq_matrix *m = tq_model_matrix(s->model, i);
        const char *why = tq_choice_blocked(m, tq_plan_get(plan, i), common.rotation);
        if (why) return tq_fail(err, "%s: %s %s", tq_source_path(s->source), m->name, why);
        if (!m->packed) continue;
        const tq_qspec *spec = tq_qmatrix_spec(m->packed);
        tq_qspec wanted = tq_qspec_of(spec->bits, spec->group, &common);
        if (!tq_qspec_same_layout(spec, &wanted))
            return tq_fail(err,
                           "%s: %s is packed in this export with residual %s, rotation %s, seed %llu: open the "
                           "original model to change that",
                           tq_source_path(s->source), m->name, tq_residual_name(spec->residual),
                           tq_rotation_name(spec->rotation), (unsigned long long)spec->seed);
    }
    tq_plan *copy = tq_plan_copy(plan);
    if (!copy) return tq_fail(err, "out of memory for a plan");
    tq_plan_free(s->plan);
    s->plan = copy;
    return TQ_OK;
}

static bool is_stale(const tq_session *s, size_t i) {
    if (tq_model_matrix(s->model, i)->packed) return false;
    tq_qspec spec = tq_plan_spec(s->plan, i);
    if (!s->q[i]) return spec.bits != TQ_BITS_KEEP;
    return !tq_qspec_equal(&spec, tq_qmatrix_spec(s->q[i]));
}

size_t tq_session_stale(const tq_session *s) {
    size_t stale = 0;
    for (size_t i = 0; i < s->count; i++)
        stale += is_stale(s, i);
    return stale;
}

size_t tq_session_matrix_bytes(const tq_session *s, size_t matrix) {
    const tq_matrix *m = tq_model_matrix(s->model, matrix);
    if (m->packed) return tq_qmatrix_bytes(m->packed);
    tq_qspec spec = tq_plan_spec(s->plan, matrix);
    return spec.bits == TQ_BITS_KEEP ? tq_matrix_bytes(&m->w) : tq_qspec_bytes(&spec, m->w.rows, m->w.cols);
}

tq_matrix_figures tq_session_figures(const tq_session *s, size_t matrix) {
    const tq_matrix *m = tq_model_matrix(s->model, matrix);
    tq_matrix_figures f = {.ready = !is_stale(s, matrix), .distortion = s->distortion[matrix]};
    f.bytes = tq_session_matrix_bytes(s, matrix);
    f.bpw = tq_bits_per_weight((double)f.bytes, m->w.rows * m->w.cols);
    if (s->q[matrix] && tq_qmatrix_spec(s->q[matrix])->calibrate != TQ_CALIBRATE_NONE) {
        f.calibrated = true;
        f.fell_back = s->calibrated[matrix].fell_back;
        f.unseen = s->calibrated[matrix].unseen;
        f.weighted = s->calibrated[matrix].weighted;
        f.plain = s->calibrated[matrix].plain;
    }
    return f;
}

/* Progress of one matrix as a part of that of many. */
typedef struct part_progress {
    const tq_progress *whole;
    double done, part, total;
} part_progress;

static void report_part(void *ctx, double done, double total) {
    const part_progress *p = ctx;
    tq_progress_report(p->whole, p->done + (total > 0 ? done / total : 0) * p->part, p->total);
}

int tq_session_encode(tq_session *s, size_t i, const tq_qspec *spec, const tq_progress *p, tq_qmatrix **out,
                      tq_distortion *distortion, tq_err *err) {
    const tq_matrix *m = tq_model_matrix(s->model, i);
    tq_err inner = {{0}};
    int rc = tq_qmatrix_encode(&m->w, spec, tq_model_rotations(s->model), s->pool, p, out, distortion, &inner);
    if (rc == TQ_CANCELLED) return tq_cancelled(err);
    if (rc != TQ_OK) return tq_fail(err, "%s: tensor %s.weight: %s", tq_source_path(s->source), m->name, inner.msg);
    return TQ_OK;
}

void tq_session_take(tq_session *s, size_t i, tq_qmatrix *q, const tq_calibrated *figures) {
    tq_qmatrix_free(s->q[i]);
    s->q[i] = q;
    s->calibrated[i] = *figures;
    s->distortion[i] = figures->distortion;
    tq_session_touch(s, tq_model_reach(s->model, i));
}

static int apply_one(tq_session *s, size_t i, const tq_progress *p, tq_err *err) {
    tq_qspec spec = tq_plan_spec(s->plan, i);
    tq_qmatrix *q = NULL;
    tq_calibrated figures = {.distortion = {0, 1}};
    int rc = spec.bits == TQ_BITS_KEEP ? TQ_OK
             : spec.calibrate == TQ_CALIBRATE_NONE
                 ? tq_session_encode(s, i, &spec, p, &q, &figures.distortion, err)
                 : tq_session_encode_calibrated(s, i, &spec, NULL, p, &q, &figures, err);
    tq_model_matrix_done(s->model, i);
    if (rc == TQ_OK) tq_session_take(s, i, q, &figures);
    return rc;
}

int tq_session_apply(tq_session *s, const tq_progress *p, void (*after)(void *ctx, size_t matrix), void *ctx,
                     tq_err *err) {
    if (tq_plan_common(s->plan).calibrate == TQ_CALIBRATE_ASYM && tq_session_stale(s))
        return tq_session_apply_asym(s, p, after, ctx, err);
    part_progress part = {.whole = p};
    tq_progress inner = {.report = report_part, .ctx = &part, .cancel = p ? p->cancel : NULL};
    for (size_t i = 0; i < s->count; i++)
        if (is_stale(s, i))
            part.total += (double)tq_model_matrix(s->model, i)->w.rows * (double)tq_model_matrix(s->model, i)->w.cols;
    for (size_t i = 0; i < s->count; i++) {
        if (!is_stale(s, i)) continue;
        if (tq_progress_cancelled(p)) return tq_cancelled(err);
        const tq_matrix_view *w = &tq_model_matrix(s->model, i)->w;
        part.part = (double)w->rows * (double)w->cols;
        int rc = apply_one(s, i, &inner, err);
        if (rc != TQ_OK) return rc;
        part.done += part.part;
        tq_progress_report(p, part.done, part.total);
        if (after) after(ctx, i);
    }
    return TQ_OK;
}

int tq_session_try(tq_session *s, size_t matrix, tq_choice c, tq_matrix_figures *out, tq_err *err) {
    const tq_matrix *m = tq_model_matrix(s->model, matrix);
    tq_qspec spec = tq_plan_spec(s->plan, matrix);
    const char *why = tq_choice_blocked(m, c, spec.rotation);
    if (why) return tq_fail(err, "%s %s", m->name, why);
    *out = tq_session_figures(s, matrix);
    if (m->packed || (out->ready && tq_choice_equal(c, tq_plan_get(s->plan, matrix)))) return TQ_OK;
    *out = (tq_matrix_figures){.ready = true, .distortion = {0, 1}};
    if (c.bits == TQ_BITS_KEEP) {
        out->bytes = tq_matrix_bytes(&m->w);
    } else {
        tq_qmatrix *q = NULL;
        spec.bits = c.bits;
        spec.group = c.group;
        spec.calibrate = TQ_CALIBRATE_NONE;
        int rc = tq_session_encode(s, matrix, &spec, NULL, &q, &out->distortion, err);
        if (rc != TQ_OK) return rc;
        out->bytes = tq_qmatrix_bytes(q);
        tq_qmatrix_free(q);
    }
    out->bpw = tq_bits_per_weight((double)out->bytes, m->w.rows * m->w.cols);
    return TQ_OK;
}

tq_memory tq_session_memory(const tq_session *s) {
    tq_memory r = {.kept = tq_model_kept_bytes(s->model)};
    size_t matrices = 0, in_blocks = tq_model_block_matrices(s->model);
    for (size_t i = 0; i < s->count; i++) {
        size_t bytes = tq_session_matrix_bytes(s, i);
        bool kept = tq_plan_get(s->plan, i).bits == TQ_BITS_KEEP;
        matrices += i < in_blocks ? bytes : 0;
        *(kept ? &r.kept : &r.quantized) += bytes;
    }
    r.total = r.kept + r.quantized;
    r.baseline = tq_model_stored_bytes(s->model);
    r.bpw_linear = tq_bits_per_weight((double)matrices, tq_model_matrix_weights(s->model));
    r.bpw_model = tq_bits_per_weight((double)r.total, tq_model_weights(s->model));
    return r;
}

size_t tq_session_machine(const tq_session *s) {
    return s->machine;
}

tq_memory_plan tq_session_memory_plan(const tq_session *s, size_t ctx) {
    tq_memory m = tq_session_memory(s);
    return tq_memory_plan_of(s->model, m.quantized, m.kept, ctx, (size_t)tq_pool_threads(s->pool), s->machine);
}
