/* forward.c - blocks, embedding, head, and the sequence that is continued. The parts are in linear.c, attention.c,
 * deltanet.c, rope.c and cache.c. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "model/linear.h"
#include "quant/pages.h"

/* Tokens of a prompt that go through the blocks together. */
#define PREFILL_TOKENS 512
#define REPORT_SECONDS 0.03
/* Values that one task adds up, multiplies or checks. */
#define TASK_VALUES 16384

int tq_buffer_need(tq_buffer *b, size_t n, tq_err *err) {
    if (n <= b->size) return TQ_OK;
    size_t bytes = 0;
    if (!tq_mul_size(&bytes, n, sizeof(float)) || bytes > SIZE_MAX - 64) return tq_fail(err, "out of memory");
    bytes = (bytes + 63) / 64 * 64;
    tq_buffer_free(b);
    b->data = aligned_alloc(64, bytes);
    if (!b->data) return tq_fail(err, "out of memory: %zu MiB of scratch", bytes >> 20);
    tq_pages_advise(b->data, bytes);
    b->size = n;
    return TQ_OK;
}

void tq_buffer_free(tq_buffer *b) {
    free(b->data);
    *b = (tq_buffer){0};
}

int tq_forward_work(tq_forward *f, size_t n, tq_err *err) {
    int rc = TQ_OK;
    for (size_t t = 0; t < f->threads && rc == TQ_OK; t++)
        rc = tq_buffer_need(&f->work[t], n, err);
    return rc;
}

void tq_forward_parallel(tq_forward *f, size_t n, size_t grain,
                         void (*fn)(void *ctx, size_t begin, size_t end, int thread), void *ctx) {
    if (n > grain)
        tq_pool_run(f->pool, n, grain, fn, ctx);
    else if (n)
        fn(ctx, 0, n, 0);
}

tq_forward *tq_forward_new(const tq_model *m, tq_pool *pool, tq_err *err) {
    tq_forward *f = calloc(1, sizeof *f);
    if (!f) goto fail;
    f->model = m;
    f->config = tq_model_config(m);
    f->pool = pool;
    f->threads = (size_t)tq_pool_threads(pool);
    f->work = calloc(f->threads, sizeof *f->work);
    if (!f->work) goto fail;
    return f;
fail:
    tq_forward_free(f);
    (void)tq_fail(err, "out of memory");
    return NULL;
}

void tq_forward_free(tq_forward *f) {
    if (!f) return;
    for (size_t t = 0; f->work && t < f->threads; t++)
        tq_buffer_free(&f->work[t]);
    for (size_t i = 0; i < TQ_ROTATED_SLOTS; i++) {
        tq_buffer_free(&f->rotated[i].x);
        tq_buffer_free(&f->rotated[i].integers);
        tq_buffer_free(&f->rotated[i].half);
    }
    for (size_t i = 0; i < sizeof f->mixed / sizeof f->mixed[0]; i++)
        tq_buffer_free(&f->mixed[i]);
    tq_buffer *rest[] = {&f->h, &f->x, &f->gate, &f->up, &f->final_norm, &f->half, &f->out, &f->part};
    for (size_t i = 0; i < sizeof rest / sizeof rest[0]; i++)
        tq_buffer_free(rest[i]);
    tq_routes_free(&f->routes);
    tq_rope_table_free(&f->rope[0]);
    tq_rope_table_free(&f->rope[1]);
    tq_qmatrix_free(f->head);
    free(f->work);
    free(f);
}

size_t tq_forward_held(const tq_forward *f) {
    const tq_buffer *single[] = {&f->h, &f->x, &f->gate, &f->up, &f->final_norm, &f->half, &f->out};
    size_t floats = 0;
    for (size_t i = 0; i < sizeof single / sizeof single[0]; i++)
        floats += single[i]->size;
    for (size_t i = 0; i < sizeof f->mixed / sizeof f->mixed[0]; i++)
        floats += f->mixed[i].size;
    for (size_t i = 0; i < TQ_ROTATED_SLOTS; i++)
        floats += f->rotated[i].x.size + f->rotated[i].half.size + f->rotated[i].integers.size;
    for (size_t t = 0; t < f->threads; t++)
        floats += f->work[t].size;
    return floats * sizeof(float);
}

void tq_forward_observe(tq_forward *f, tq_input_observer fn, void *ctx) {
    f->observe = fn;
    f->observe_ctx = ctx;
}

const char *tq_part_name(tq_part part) {
    static const char *const names[TQ_PART_COUNT] = {"rotation", "matrices", "attention", "deltanet", "logits", "kld"};
    return names[part];
}

const double *tq_forward_seconds(const tq_forward *f) {
    return f->seconds;
}

void tq_forward_reset_seconds(tq_forward *f) {
    memset(f->seconds, 0, sizeof f->seconds);
}

void tq_forward_set_arithmetic(tq_forward *f, tq_arithmetic a) {
    f->arithmetic = a;
}

int tq_forward_pack_head(tq_forward *f, const tq_qspec *spec, tq_err *err) {
    tq_qmatrix_free(f->head);
    f->head = NULL;
    return tq_qmatrix_encode(&tq_model_matrix(f->model, tq_model_head(f->model))->w, spec, tq_model_rotations(f->model),
                             f->pool, NULL, &f->head, NULL, err);
}

/* Matrix i as the variant has it packed; NULL: as stored. */
static const tq_qmatrix *packed_of(const tq_forward *f, tq_variant q, size_t i) {
    return q && q[i] ? q[i] : tq_model_matrix(f->model, i)->packed;
}

size_t tq_forward_head_saves(const tq_forward *f) {
    const tq_matrix_view *w = &tq_model_matrix(f->model, tq_model_head(f->model))->w;
    size_t stored = tq_matrix_bytes(w), packed = f->head ? tq_qmatrix_bytes(f->head) : stored;
    return stored > packed ? stored - packed : 0;
}

/* Rows of `width` values that every step over tokens works on. */
typedef struct token_rows {
    const tq_forward *f;
    float *y;
    const float *x;
    const float *w, *bias; /* of a norm; bias: of layer norms, else NULL */
    size_t width;
    atomic_bool bad;
} token_rows;

static size_t rows_grain(size_t width) {
    return TASK_VALUES / width + 1;
}

/* y = (x - mean) / sqrt(variance + eps) * w + bias; sums in double. */
static void layer_norm(float *y, const float *x, const float *w, const float *bias, size_t n, float eps) {
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i];
    double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++)
        squares += ((double)x[i] - mean) * ((double)x[i] - mean);
    float scale = (float)(1.0 / sqrt(squares / (double)n + (double)eps)), middle = (float)mean;
    for (size_t i = 0; i < n; i++)
        y[i] = (x[i] - middle) * scale * w[i] + bias[i];
}

static void norm_some(void *ctx, size_t begin, size_t end, int thread) {
    const token_rows *t = ctx;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        float *y = t->y + i * t->width;
        const float *x = t->x + i * t->width;
        if (t->bias)
            layer_norm(y, x, t->w, t->bias, t->width, t->f->config->norm_eps);
        else
            tq_k()->rmsnorm(y, x, t->w, t->width, t->f->config->norm_eps);
    }
}

/* bias: NULL for RMS norms. */
static void norm_rows(tq_forward *f, float *y, const float *x, const float *w, const float *bias, size_t n) {
    token_rows t = {.f = f, .y = y, .x = x, .w = w, .bias = bias, .width = f->config->hidden};
    tq_forward_parallel(f, n, rows_grain(t.width), norm_some, &t);
}

/* y += norm(x), x in place. */
static void norm_add_some(void *ctx, size_t begin, size_t end, int thread) {
    const token_rows *t = ctx;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        float *x = (float *)t->x + i * t->width;
        tq_k()->rmsnorm(x, x, t->w, t->width, t->f->config->norm_eps);
        tq_k()->axpy(t->y + i * t->width, 1.0F, x, t->width);
    }
}

/* What a mixer or an MLP gave into r->out goes to h through its norm, if it has one. */
static void take_out(const tq_block_run *r, tq_vector norm) {
    if (r->out == r->h) return;
    token_rows t = {.f = r->f, .y = r->h, .x = r->out, .w = r->w->vec[norm], .width = r->f->config->hidden};
    tq_forward_parallel(r->f, r->seqs * r->len, rows_grain(t.width), norm_add_some, &t);
}

/* gelu(g) * u, or gelu(g) where there is no u, with the tanh form of gelu:
 * g * sigmoid(2 sqrt(2 / pi) (g + 0.044715 g^3)). */
static void gelu_mul_some(void *ctx, size_t begin, size_t end, int thread) {
    enum { CHUNK = 256 };
    static const float twice = 1.5957691216057308F; /* 2 sqrt(2 / pi) */
    const token_rows *t = ctx;
    float inner[CHUNK];
    (void)thread;
    for (size_t at = begin * t->width, stop = end * t->width, n; at < stop; at += n) {
        n = stop - at < CHUNK ? stop - at : CHUNK;
        float *g = t->y + at;
        for (size_t i = 0; i < n; i++) {
            inner[i] = twice * (g[i] + 0.044715F * g[i] * g[i] * g[i]);
            if (t->x) g[i] *= t->x[at + i];
        }
        tq_k()->sigmoid_mul(g, inner, n);
    }
}

static void silu_mul_some(void *ctx, size_t begin, size_t end, int thread) {
    const token_rows *t = ctx;
    (void)thread;
    tq_k()->silu_mul(t->y + begin * t->width, t->y + begin * t->width, t->x + begin * t->width,
                     (end - begin) * t->width);
}

/* The largest exponent is that of infinities and NaNs; bits are quicker to look through than a sum. */
static void check_some(void *ctx, size_t begin, size_t end, int thread) {
    const uint32_t most = 0x7f800000;
    token_rows *t = ctx;
    uint32_t bad = 0;
    (void)thread;
    for (size_t i = begin * t->width; i < end * t->width; i++) {
        uint32_t bits;
        memcpy(&bits, &t->x[i], sizeof bits);
        bad |= (uint32_t)((bits & most) == most);
    }
    if (bad) atomic_store(&t->bad, true);
}

static bool is_finite(tq_forward *f, const float *x, size_t n, size_t width) {
    token_rows t = {.f = f, .x = x, .width = width};
    tq_forward_parallel(f, n, rows_grain(width), check_some, &t);
    return !atomic_load(&t.bad);
}

/* Rows of gate and up side by side: [n, 2 * width]. */
static void split_mul_some(void *ctx, size_t begin, size_t end, int thread) {
    const token_rows *t = ctx;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const float *gate = t->x + 2 * i * t->width;
        tq_k()->silu_mul(t->y + i * t->width, gate, gate + t->width, t->width);
    }
}

/* f->gate = act(gate x) * (up x): [n, width]. */
static int run_gate(const tq_block_run *r, size_t n, size_t width, tq_err *err) {
    tq_forward *f = r->f;
    bool fused = r->w->matrix[TQ_ROLE_GATE_UP] != SIZE_MAX;
    int rc = tq_buffer_need(&f->gate, n * width, err);
    if (rc == TQ_OK) rc = tq_buffer_need(&f->up, n * (fused ? 2 : 1) * width, err);
    if (rc != TQ_OK) return rc;
    token_rows t = {.f = f, .y = f->gate.data, .x = f->up.data, .width = width};
    if (!fused && r->w->matrix[TQ_ROLE_GATE] == SIZE_MAX) { /* GPT-2: act(up x) */
        tq_linear_job up = tq_linear_role(f, r->q, r->w, TQ_ROLE_UP, f->gate.data, width, false);
        t.x = NULL;
        rc = tq_linear_run(f, &up, 1, f->x.data, n, err);
        if (rc == TQ_OK) tq_forward_parallel(f, n, rows_grain(width), gelu_mul_some, &t);
        return rc;
    }
    if (fused) {
        tq_linear_job both = tq_linear_role(f, r->q, r->w, TQ_ROLE_GATE_UP, f->up.data, 2 * width, false);
        rc = tq_linear_run(f, &both, 1, f->x.data, n, err);
        if (rc == TQ_OK) tq_forward_parallel(f, n, rows_grain(width), split_mul_some, &t);
        return rc;
    }
    tq_linear_job in[] = {tq_linear_role(f, r->q, r->w, TQ_ROLE_GATE, f->gate.data, width, false),
                          tq_linear_role(f, r->q, r->w, TQ_ROLE_UP, f->up.data, width, false)};
    rc = tq_linear_run(f, in, 2, f->x.data, n, err);
    if (rc == TQ_OK)
        tq_forward_parallel(f, n, rows_grain(width),
                            f->config->activation == TQ_ACT_GELU_TANH ? gelu_mul_some : silu_mul_some, &t);
    return rc;
}

static int run_mlp(const tq_block_run *r, tq_err *err) {
    tq_forward *f = r->f;
    size_t n = r->seqs * r->len;
    int rc = run_gate(r, n, f->config->intermediate, err);
    if (rc != TQ_OK) return rc;
    tq_linear_job out = tq_linear_role(f, r->q, r->w, TQ_ROLE_DOWN, r->out, f->config->hidden, r->out == r->h);
    return tq_linear_run(f, &out, 1, f->gate.data, n, err);
}

/* x = norm(h), or h as it is where the architecture has no norm there. */
static void make_input(const tq_block_run *r, tq_vector norm, tq_vector bias) {
    tq_forward *f = r->f;
    size_t n = r->seqs * r->len;
    if (r->w->vec[norm])
        norm_rows(f, f->x.data, r->h, r->w->vec[norm], r->w->vec[bias], n);
    else
        memcpy(f->x.data, r->h, n * f->config->hidden * sizeof *r->h);
}

/* Learned positions are added where the first block begins, which knows where its sequences do. */
static int add_positions(const tq_block_run *r, tq_err *err) {
    const tq_matrix_view *w = tq_model_positions(r->f->model);
    size_t hidden = r->f->config->hidden;
    if (!w || r->block) return TQ_OK;
    if (r->position + r->len > w->rows)
        return tq_fail(err, "%zu tokens: the model has learned %zu positions", r->position + r->len, w->rows);
    int rc = tq_buffer_need(&r->f->up, hidden, err);
    for (size_t t = 0; t < r->len && rc == TQ_OK; t++) {
        tq_matrix_row(w, r->position + t, r->f->up.data);
        for (size_t s = 0; s < r->seqs; s++)
            tq_k()->axpy(r->h + (s * r->len + t) * hidden, 1.0F, r->f->up.data, hidden);
    }
    return rc;
}

static int run_block(tq_block_run *r, const tq_progress *p, tq_err *err) {
    tq_forward *f = r->f;
    size_t n = r->seqs * r->len, hidden = f->config->hidden;
    bool apart = r->w->vec[TQ_VEC_MIXER_OUT_NORM] != NULL;
    int rc = tq_buffer_need(&f->x, n * hidden, err);
    if (rc == TQ_OK && apart) rc = tq_buffer_need(&f->out, n * hidden, err);
    if (rc == TQ_OK) rc = add_positions(r, err);
    if (rc != TQ_OK) return rc;
    r->out = apart ? f->out.data : r->h;
    if (tq_progress_cancelled(p)) return tq_cancelled(err);
    make_input(r, TQ_VEC_INPUT_NORM, TQ_VEC_INPUT_BIAS);
    rc = r->w->mixer == TQ_MIXER_DELTANET ? tq_deltanet_run(r, err) : tq_attention_run(r, err);
    if (rc != TQ_OK) return rc;
    take_out(r, TQ_VEC_MIXER_OUT_NORM);
    if (tq_progress_cancelled(p)) return tq_cancelled(err);
    make_input(r, TQ_VEC_POST_NORM, TQ_VEC_POST_BIAS);
    rc = f->config->mixture[r->block] ? tq_experts_run(r, err) : run_mlp(r, err);
    if (rc != TQ_OK) return rc;
    take_out(r, TQ_VEC_MLP_OUT_NORM);
    if (!is_finite(f, r->h, n, hidden)) return tq_fail(err, "block %zu: result is not finite", r->block);
    return TQ_OK;
}

int tq_forward_block(tq_forward *f, tq_variant q, size_t b, float *h, size_t seqs, size_t len, const tq_progress *p,
                     tq_err *err) {
    tq_block_run r = {.f = f, .w = tq_model_block(f->model, b), .q = q, .block = b, .h = h, .seqs = seqs, .len = len};
    return run_block(&r, p, err);
}

static int check_ids(const tq_forward *f, const int *ids, size_t n, tq_err *err) {
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || (size_t)ids[i] >= f->config->vocab)
            return tq_fail(err, "token %d is outside the model's vocabulary of %zu", ids[i], f->config->vocab);
    return TQ_OK;
}

typedef struct lookup {
    const tq_forward *f;
    const tq_matrix_view *w;
    const tq_qmatrix *q; /* NULL: as stored */
    const int *ids;
    float *h;
} lookup;

static void embed_some(void *ctx, size_t begin, size_t end, int thread) {
    const lookup *l = ctx;
    size_t hidden = l->f->config->hidden;
    float scale = l->f->config->embedding_scale;
    for (size_t i = begin; i < end; i++) {
        float *h = l->h + i * hidden;
        if (l->q)
            tq_qmatrix_dequantize_row(l->q, (size_t)l->ids[i], h, l->f->work[thread].data);
        else
            tq_matrix_row(l->w, (size_t)l->ids[i], h);
        for (size_t k = 0; k < hidden && scale != 1; k++)
            h[k] *= scale;
    }
}

int tq_forward_embed(tq_forward *f, tq_variant q, const int *ids, size_t n, float *h, tq_err *err) {
    size_t i = tq_model_embedding(f->model);
    lookup l = {f, &tq_model_matrix(f->model, i)->w, packed_of(f, q, i), ids, h};
    int rc = check_ids(f, ids, n, err);
    if (rc == TQ_OK && l.q) rc = tq_forward_work(f, tq_qmatrix_scratch(l.q), err);
    /* A packed row costs the decoding of its tile. */
    size_t grain = TASK_VALUES / ((l.q ? TQ_TILE_ROWS : 1) * f->config->hidden) + 1;
    if (rc == TQ_OK) tq_forward_parallel(f, n, grain, embed_some, &l);
    return rc;
}

void tq_forward_final_norm(tq_forward *f, const float *h, size_t n, float *out) {
    norm_rows(f, out, h, tq_model_final_norm(f->model), tq_model_final_bias(f->model), n);
}

int tq_forward_logits(tq_forward *f, tq_variant q, const float *h, size_t n, float *logits, tq_err *err) {
    double start = tq_now(), rotation = f->seconds[TQ_PART_ROTATION], matrices = f->seconds[TQ_PART_MATRICES];
    int rc = tq_buffer_need(&f->final_norm, n * f->config->hidden, err);
    if (rc != TQ_OK) return rc;
    tq_forward_final_norm(f, h, n, f->final_norm.data);
    size_t head = tq_model_head(f->model);
    tq_linear_job job = tq_linear_plain(&tq_model_matrix(f->model, head)->w, logits);
    job.q = f->head ? f->head : packed_of(f, q, head);
    rc = tq_linear_run(f, &job, 1, f->final_norm.data, n, err);
    f->seconds[TQ_PART_ROTATION] = rotation;
    f->seconds[TQ_PART_MATRICES] = matrices;
    f->seconds[TQ_PART_LOGITS] += tq_now() - start;
    return rc;
}

/* Tokens `done` .. of an append through all blocks; h: [n, hidden]. */
static int append_some(tq_forward *f, tq_variant q, tq_cache *c, const int *ids, size_t n, double done, double total,
                       const tq_progress *p, tq_err *err) {
    int rc = tq_forward_embed(f, q, ids, n, f->h.data, err);
    for (size_t b = 0; b < f->config->blocks && rc == TQ_OK; b++) {
        tq_block_run r = {.f = f,
                          .w = tq_model_block(f->model, b),
                          .q = q,
                          .block = b,
                          .h = f->h.data,
                          .seqs = 1,
                          .len = n,
                          .cache = c,
                          .position = c->length};
        rc = run_block(&r, p, err);
        if (n > 1 && tq_now() - f->reported > REPORT_SECONDS) {
            tq_progress_report(p, done + (double)n * (double)(b + 1) / (double)f->config->blocks, total);
            f->reported = tq_now();
        }
    }
    if (rc == TQ_OK) c->length += n;
    return rc;
}

int tq_forward_append(tq_forward *f, tq_variant q, tq_cache *c, const int *ids, size_t n, float *logits,
                      const tq_progress *p, tq_err *err) {
    if (n > c->capacity - c->length)
        return tq_fail(err, "the context of %zu tokens is full: %zu held, %zu more", c->capacity, c->length, n);
    int rc = check_ids(f, ids, n, err);
    size_t chunk = n < PREFILL_TOKENS ? n : PREFILL_TOKENS, last = 0;
    if (rc == TQ_OK) rc = tq_buffer_need(&f->h, chunk * f->config->hidden, err);
    if (rc != TQ_OK) return rc;
    for (size_t done = 0; done < n && rc == TQ_OK; done += last) {
        last = n - done < chunk ? n - done : chunk;
        rc = append_some(f, q, c, ids + done, last, (double)done, (double)n, p, err);
    }
    if (rc == TQ_OK) rc = tq_forward_logits(f, q, f->h.data + (last - 1) * f->config->hidden, 1, logits, err);
    if (rc != TQ_OK) tq_cache_reset(c); /* blocks may hold different numbers of tokens */
    return rc;
}
