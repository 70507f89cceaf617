/* bench_speed.c - decode and prefill with every bit config, and what an evaluation costs. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tui/bench.h"

enum { PREFILL = 512, PROMPT = 16, CONTEXT = 2048, MIN_TOKENS = 8, HEAD_GROUP = 128 };
#define DECODE_SECONDS 1.0 /* of a row; with several rounds half of it in each */
#define SLICE_SECONDS 0.04 /* of decoding between two readings of memory */
#define STEADY 0.1         /* of what was read before and after, at most the difference */

/* One row: its matrices, which it owns unless they are the session's, and what computes with them. */
typedef struct bench_row {
    tq_bits bits;     /* TQ_BITS_COUNT: as the plan has them */
    tq_qmatrix **own; /* [matrices], entries NULL until they are quantized */
    tq_variant q;
    tq_forward *forward;
} bench_row;

struct tq_bench_models {
    tq_session *s;
    tq_batch *b;
    const tq_model *model;
    tq_bench_result *r;
    bench_row row[TQ_BENCH_SPEEDS]; /* as r->speed has them */
    bool side_by_side;
    tq_cache *cache;
    tq_evaluator *evaluator; /* NULL: nothing to evaluate */
    size_t eval_row, prefill;
    float *logits; /* [vocab] */
    int ids[PREFILL];
};

/* --- the rows --- */

static int apply_plan(tq_bench_models *m, bench_row *row, tq_err *err) {
    int rc = tq_session_apply(m->s, &m->b->progress, NULL, NULL, err);
    row->q = tq_session_variant(m->s);
    return rc;
}

/* Every matrix at the row's config, groups as the plan has them. */
static int quantize_row(tq_bench_models *m, bench_row *row, tq_err *err) {
    size_t n = tq_model_matrices(m->model);
    char rule[32];
    (void)snprintf(rule, sizeof rule, "*=%s", tq_bits_get(row->bits)->name);
    tq_plan *plan = tq_plan_copy(tq_session_plan(m->s));
    row->own = calloc(n + 1, sizeof(tq_qmatrix *));
    int rc = plan && row->own ? tq_plan_rule(plan, rule, NULL, err) : tq_fail(err, "out of memory for a plan");
    if (rc == TQ_OK) row->q = row->own;
    for (size_t i = 0; rc == TQ_OK && i < n && row->bits != TQ_BITS_KEEP; i++) {
        tq_qspec spec = tq_plan_spec(plan, i);
        if (spec.bits == TQ_BITS_KEEP) continue; /* embedding and head, unless the plan packs them */
        spec.calibrate = TQ_CALIBRATE_NONE;
        rc = tq_qmatrix_encode(&tq_model_matrix(m->model, i)->w, &spec, tq_model_rotations(m->model),
                               tq_session_pool(m->s), NULL, &row->own[i], NULL, err);
        tq_progress_report(&m->b->progress, (double)(i + 1), (double)n);
        if (rc == TQ_OK && tq_progress_cancelled(&m->b->progress)) rc = tq_cancelled(err);
    }
    tq_plan_free(plan);
    return rc;
}

static void drop_row(const tq_bench_models *m, bench_row *row) {
    for (size_t i = 0; row->own && i < tq_model_matrices(m->model); i++)
        tq_qmatrix_free(row->own[i]);
    free(row->own);
    row->own = NULL;
}

/* Where the plan says nothing of the head it is at 4+4 beside packed matrices, as other programs pack theirs, and
 * beside stored ones as stored; --head decides otherwise. */
static int pack_head(const tq_bench_models *m, const bench_row *row, const tq_options *o, tq_bits *head, tq_err *err) {
    tq_common common = tq_plan_common(tq_session_plan(m->s));
    bool packed = tq_session_is_packed(m->s);
    size_t n = tq_model_matrices(m->model);
    const tq_matrix *last = tq_model_matrix(m->model, n - 1);
    const tq_qmatrix *own = row->q[n - 1] ? row->q[n - 1] : last->packed;
    for (size_t i = 0; i < n; i++)
        packed = packed || row->q[i];
    if (own && !o->head_given) {
        *head = tq_qmatrix_spec(own)->bits;
        return TQ_OK;
    }
    *head = o->head_given ? o->head : packed ? TQ_BITS_4_4 : TQ_BITS_KEEP;
    if (*head == TQ_BITS_KEEP) return TQ_OK;
    tq_qspec spec = tq_qspec_of(*head, HEAD_GROUP, &common);
    spec.calibrate = TQ_CALIBRATE_NONE;
    return tq_forward_pack_head(row->forward, &spec, err);
}

/* What one token reads of the model: all weights, but of an embedding that is not the head too only a row. */
static size_t bytes_per_token(const tq_bench_models *m, const bench_row *row) {
    const tq_config *c = tq_model_config(m->model);
    size_t bytes = tq_model_kept_bytes(m->model) - tq_forward_head_saves(row->forward);
    for (size_t i = 0; i < tq_model_matrices(m->model); i++) {
        const tq_matrix *w = tq_model_matrix(m->model, i);
        if (w->end == TQ_END_EMBEDDING) continue;
        const tq_qmatrix *q = row->q[i] ? row->q[i] : w->packed;
        size_t own = q ? tq_qmatrix_bytes(q) : tq_matrix_bytes(&w->w);
        bytes += w->expert == SIZE_MAX ? own : own * c->experts_used / c->experts; /* of a token's own experts */
    }
    return bytes;
}

static int make_row(tq_bench_models *m, const tq_options *o, tq_bits bits, tq_err *err) {
    tq_bench_speed *out = &m->r->speed[m->r->n_speed];
    bench_row *row = &m->row[m->r->n_speed++];
    row->bits = bits;
    out->bits = bits == TQ_BITS_COUNT ? "plan" : tq_bits_get(bits)->name;
    row->forward = tq_forward_new(m->model, tq_session_pool(m->s), err);
    if (!row->forward) return TQ_FAIL;
    int rc = bits == TQ_BITS_COUNT ? apply_plan(m, row, err) : quantize_row(m, row, err);
    if (rc == TQ_OK) rc = pack_head(m, row, o, &out->head, err);
    if (rc == TQ_OK) out->token_bytes = bytes_per_token(m, row);
    if (rc == TQ_OK && !m->side_by_side) drop_row(m, row);
    return rc;
}

/* Do all rows fit into half of the machine's memory together? */
static bool enough_memory(const tq_bench_models *m) {
    double pages = (double)sysconf(_SC_PHYS_PAGES), page = (double)sysconf(_SC_PAGESIZE), bits = 0;
    for (size_t i = TQ_BITS_KEEP + 1; i < TQ_BITS_COUNT; i++)
        bits += 1 + tq_bits_get((tq_bits)i)->code_bits + tq_bits_get((tq_bits)i)->fine_bits;
    return (double)tq_model_matrix_weights(m->model) * bits / 8 < 0.5 * pages * page;
}

/* The first row with a packed matrix is evaluated. */
static int make_evaluator(tq_bench_models *m, tq_err *err) {
    tq_eval_options options = {.ctx = m->prefill, .tokens = m->prefill};
    if (tq_session_is_packed(m->s) || m->prefill < 4) return TQ_OK;
    for (m->eval_row = 0; m->eval_row < m->r->n_speed; m->eval_row++)
        if (m->r->speed[m->eval_row].token_bytes < m->r->model_bytes && m->row[m->eval_row].bits != TQ_BITS_KEEP) break;
    if (m->eval_row == m->r->n_speed) return TQ_OK;
    m->r->eval.bits = m->r->speed[m->eval_row].bits;
    m->r->eval.tokens = m->prefill;
    return tq_evaluator_new(m->model, tq_session_pool(m->s), m->ids, m->prefill, &options, 0, &m->evaluator, err);
}

int tq_bench_models_new(const tq_options *o, tq_session *s, tq_batch *b, tq_bench_result *r, tq_bench_models **out,
                        tq_err *err) {
    tq_bench_models *m = calloc(1, sizeof *m);
    if (!m) return tq_fail(err, "out of memory");
    *out = m;
    m->s = s;
    m->b = b;
    m->r = r;
    m->model = tq_session_model(s);
    m->side_by_side = enough_memory(m);
    const tq_config *c = tq_model_config(m->model);
    size_t context = c->context && c->context < CONTEXT ? c->context : CONTEXT;
    m->prefill = PREFILL < context ? PREFILL : context / 2;
    for (size_t i = 0; i < PREFILL; i++)
        m->ids[i] = (int)(i * 7919 % c->vocab);
    m->cache = tq_cache_new(m->model, context, err);
    if (!m->cache) return TQ_FAIL;
    m->logits = tq_calloc_aligned(c->vocab, sizeof *m->logits);
    if (!m->logits) return tq_fail(err, "out of memory");
    bool planned = o->plan || o->n_rules || tq_session_is_packed(s);
    int rc = planned ? make_row(m, o, TQ_BITS_COUNT, err) : TQ_OK;
    for (size_t i = 0; i < TQ_BITS_COUNT && rc == TQ_OK && !planned; i++)
        rc = make_row(m, o, (tq_bits)i, err);
    return rc == TQ_OK ? make_evaluator(m, err) : rc;
}

void tq_bench_models_free(tq_bench_models *m) {
    if (!m) return;
    for (size_t i = 0; i < m->r->n_speed; i++) {
        tq_forward_free(m->row[i].forward);
        drop_row(m, &m->row[i]);
    }
    tq_evaluator_free(m->evaluator);
    tq_cache_free(m->cache);
    free(m->logits);
    free(m);
}

/* --- a round --- */

static int append(const tq_bench_models *m, const bench_row *row, size_t n, double *seconds, tq_err *err) {
    double start = tq_now();
    tq_cache_reset(m->cache);
    int rc = tq_forward_append(row->forward, row->q, m->cache, m->ids, n, m->logits, &m->b->progress, err);
    *seconds = tq_now() - start;
    return rc;
}

static int measure_prefill(const tq_bench_models *m, const bench_row *row, tq_samples *out, tq_err *err) {
    double seconds = 0;
    int rc = out->n ? TQ_OK : append(m, row, m->prefill, &seconds, err); /* the first run makes the scratch memory */
    if (rc == TQ_OK) rc = append(m, row, m->prefill, &seconds, err);
    if (rc == TQ_OK) tq_samples_add(out, (double)m->prefill / seconds);
    return rc;
}

/* Tokens until `seconds` have passed, adding to *tokens and *bytes; stops where the cache is full. */
static int decode_for(const tq_bench_models *m, const bench_row *row, size_t token_bytes, double *seconds,
                      size_t *tokens, double *bytes, tq_err *err) {
    double start = tq_now(), limit = *seconds;
    int rc = TQ_OK;
    do {
        *bytes += (double)(token_bytes + tq_cache_token_bytes(m->cache));
        rc = tq_forward_append(row->forward, row->q, m->cache, &m->ids[(*tokens)++ % PREFILL], 1, m->logits, NULL, err);
        if (rc == TQ_OK && tq_progress_cancelled(&m->b->progress)) rc = tq_cancelled(err);
        *seconds = tq_now() - start;
    } while (rc == TQ_OK && *seconds < limit && tq_cache_length(m->cache) < tq_cache_capacity(m->cache));
    return rc;
}

/* The median over the slices from `first` on; of the steady ones where there are any. */
static double share_of_slices(const tq_bench_speed *s, size_t first) {
    tq_samples all = {.n = 0}, steady = {.n = 0};
    for (size_t i = first; i < s->n_slices; i++) {
        const tq_bench_slice *x = &s->slice[i];
        tq_samples_add(&all, x->decode / x->read);
        if (x->steady) tq_samples_add(&steady, x->decode / x->read);
    }
    return tq_samples_median(steady.n ? &steady : &all);
}

static int measure_decode(const tq_bench_models *m, const bench_row *row, tq_bench_speed *out, tq_bench_reader *reader,
                          tq_err *err) {
    size_t tokens = 0, context = tq_cache_capacity(m->cache), first = out->n_slices;
    double seconds = 0, bytes = 0, limit = m->r->rounds > 1 ? 0.5 * DECODE_SECONDS : DECODE_SECONDS;
    int rc = append(m, row, context / 2 < PROMPT ? 1 : PROMPT, &seconds, err);
    double before = tq_bench_read_once(reader);
    tq_forward_reset_seconds(row->forward);
    seconds = 0;
    while (rc == TQ_OK && tq_cache_length(m->cache) < context && (tokens < MIN_TOKENS || seconds < limit)) {
        double slice_seconds = SLICE_SECONDS, slice_bytes = 0;
        rc = decode_for(m, row, out->token_bytes, &slice_seconds, &tokens, &slice_bytes, err);
        double after = tq_bench_read_once(reader), read = 0.5 * (before + after);
        if (out->n_slices < TQ_BENCH_SLICES)
            out->slice[out->n_slices++] =
                (tq_bench_slice){read, slice_bytes / slice_seconds * 1e-9, fabs(after - before) <= STEADY * read};
        seconds += slice_seconds;
        bytes += slice_bytes;
        before = after;
    }
    if (rc != TQ_OK) return rc;
    tq_samples_add(&out->tok_per_s, (double)tokens / seconds);
    tq_samples_add(&out->gbps, bytes / seconds * 1e-9);
    tq_samples_add(&out->share, share_of_slices(out, first));
    out->seconds += seconds;
    for (int i = 0; i < TQ_PART_COUNT; i++)
        out->part[i] += tq_forward_seconds(row->forward)[i];
    return TQ_OK;
}

static int evaluate(const tq_bench_models *m, const bench_row *row, size_t block, tq_samples *out, tq_err *err) {
    tq_eval_result result;
    tq_evaluator_touch(m->evaluator, block);
    int rc = tq_evaluator_run(m->evaluator, row->q, &m->b->progress, NULL, NULL, &result, err);
    if (rc == TQ_OK && out) tq_samples_add(out, result.seconds);
    return rc;
}

static int measure_eval(const tq_bench_models *m, const bench_row *row, tq_bench_eval *out, tq_err *err) {
    double seconds = 0;
    tq_forward_set_arithmetic(row->forward, TQ_ARITHMETIC_EXACT);
    int rc = out->full.n ? TQ_OK : append(m, row, m->prefill, &seconds, err);
    if (rc == TQ_OK && !out->full.n) rc = evaluate(m, row, 0, NULL, err); /* the base model's pass */
    if (rc == TQ_OK) rc = append(m, row, m->prefill, &seconds, err);
    if (rc == TQ_OK) tq_samples_add(&out->prefill, seconds);
    if (rc == TQ_OK) rc = evaluate(m, row, 0, &out->full, err);
    if (rc != TQ_OK) return rc;
    out->seconds += out->full.value[out->full.n - 1];
    for (int i = 0; i < TQ_PART_COUNT; i++)
        out->part[i] += tq_evaluator_seconds(m->evaluator)[i];
    return evaluate(m, row, tq_model_config(m->model)->blocks - 1, &out->last, err);
}

int tq_bench_models_round(tq_bench_models *m, tq_bench_reader *reader, tq_err *err) {
    for (size_t i = 0; i < m->r->n_speed; i++) {
        bench_row *row = &m->row[i];
        tq_bench_speed *out = &m->r->speed[i];
        int rc = row->bits == TQ_BITS_COUNT || row->own ? TQ_OK : quantize_row(m, row, err);
        tq_forward_set_arithmetic(row->forward, tq_session_arithmetic(m->s));
        if (rc == TQ_OK) rc = measure_prefill(m, row, &out->prefill, err);
        if (rc == TQ_OK) rc = measure_decode(m, row, out, reader, err);
        if (rc == TQ_OK && m->evaluator && i == m->eval_row) rc = measure_eval(m, row, &m->r->eval, err);
        if (!m->side_by_side) drop_row(m, row);
        if (rc != TQ_OK) return rc;
    }
    return TQ_OK;
}
