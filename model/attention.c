/* attention.c - causal softmax attention with grouped key/value heads, optional query/key norms, sliding window and
 * output gate, over independent sequences or a cache. */
#include <cblas.h>
#include <string.h>

#include "kernels/kernels.h"
#include "model/linear.h"

/* Queries that one task scores together. */
#define TILE 64
/* Multiplications below which several heads go to one task when there is one token. */
#define SMALL_TASK 16384

typedef struct attention {
    const tq_block_run *r;
    const tq_config *c;
    float *q; /* [n, query] in rows of ldq: each head's query, and its gate after it when there is one */
    float *k; /* [n, kv] in rows of ldkv */
    float *v; /* the same */
    float *out;
    size_t ldq, ldkv;
    size_t query, kv, stride; /* stride: from one head's query to the next */
    size_t share;             /* heads that share keys and values */
    size_t window;            /* positions that a query sees, itself among them; 0: all before it */
    const tq_rope *rope;
    const tq_rope_table *angles;
} attention;

static void norm_and_rotate(const attention *a, const float *norm, size_t position, float *x) {
    if (norm && !a->c->wide_qk_norm) tq_k()->rmsnorm(x, x, norm, a->c->head_dim, a->c->norm_eps);
    tq_rope_apply(a->angles, a->rope, position, x);
}

/* Norms over all heads of a token together. */
static void norm_wide(const attention *a, size_t i) {
    if (!a->c->wide_qk_norm) return;
    float *q = a->q + i * a->ldq, *k = a->k + i * a->ldkv;
    tq_k()->rmsnorm(q, q, a->r->w->vec[TQ_VEC_Q_NORM], a->query, a->c->norm_eps);
    tq_k()->rmsnorm(k, k, a->r->w->vec[TQ_VEC_K_NORM], a->kv, a->c->norm_eps);
}

/* Norms and rotations of the queries that share a key head, and of its key; key and value go to the cache. Queries are
 * scaled here, once. i: the token. */
static void prepare_heads(const attention *a, size_t i, size_t kv_head) {
    const tq_config *c = a->c;
    const tq_block_run *r = a->r;
    size_t position = r->position + i % r->len, d = c->head_dim, share = a->share;
    for (size_t h = kv_head * share; h < (kv_head + 1) * share; h++) {
        float *q = a->q + i * a->ldq + h * a->stride;
        norm_and_rotate(a, r->w->vec[TQ_VEC_Q_NORM], position, q);
        for (size_t j = 0; j < d; j++)
            q[j] *= c->query_scale;
    }
    float *k = a->k + i * a->ldkv + kv_head * d;
    norm_and_rotate(a, r->w->vec[TQ_VEC_K_NORM], position, k);
    if (!r->cache) return;
    const tq_block_state *s = &r->cache->blocks[r->block];
    size_t at = (kv_head * r->cache->capacity + position) * d;
    memcpy(s->k + at, k, d * sizeof *k);
    memcpy(s->v + at, a->v + i * a->ldkv + kv_head * d, d * sizeof *k);
}

static void prepare_tokens(void *ctx, size_t begin, size_t end, int thread) {
    const attention *a = ctx;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        norm_wide(a, i);
        for (size_t h = 0; h < a->c->kv_heads; h++)
            prepare_heads(a, i, h);
    }
}

/* The keys and values that head h of a sequence sees, from position 0 on, and the distance between positions. */
static void history(const attention *a, size_t seq, size_t h, const float **k, const float **v, size_t *ld) {
    const tq_config *c = a->c;
    size_t kv_head = h * c->kv_heads / c->heads;
    if (a->r->cache) {
        const tq_block_state *s = &a->r->cache->blocks[a->r->block];
        size_t at = kv_head * a->r->cache->capacity * c->head_dim;
        *k = s->k + at;
        *v = s->v + at;
        *ld = c->head_dim;
    } else {
        size_t at = seq * a->r->len * a->ldkv + kv_head * c->head_dim;
        *k = a->k + at;
        *v = a->v + at;
        *ld = a->ldkv;
    }
}

/* The first position that a query at `position` sees. */
static size_t window_start(const attention *a, size_t position) {
    return a->window && position + 1 > a->window ? position + 1 - a->window : 0;
}

static void gate_output(const attention *a, const float *q, float *out) {
    if (a->c->output_gate) tq_k()->sigmoid_mul(out, q + a->c->head_dim, a->c->head_dim);
}

/* Asks for the first lines of every page of n rows, at which the machine's own prefetcher begins again. */
static void ask_pages(const float *rows, size_t n, size_t d) {
    enum { PAGE = 4096, FIRST = 256 };
    for (size_t at = 0; at < n * d * sizeof *rows; at += PAGE)
        tq_prefetch((const char *)rows + at, FIRST);
}

/* One query of each head, by heads that share keys and values: scores and the weighted sum as matrix-vector products
 * over the cache. */
static void attend_one(void *ctx, size_t begin, size_t end, int thread) {
    const attention *a = ctx;
    const tq_config *c = a->c;
    size_t position = a->r->position, lo = window_start(a, position), n = position + 1 - lo, d = c->head_dim;
    size_t share = a->share;
    float *scores = a->r->f->work[thread].data;
    for (size_t kv_head = begin; kv_head < end; kv_head++) {
        const float *k = NULL, *v = NULL;
        size_t ld = 0; /* d: rows of a cache lie one after another */
        history(a, 0, kv_head * share, &k, &v, &ld);
        ask_pages(k + lo * d, n, d);
        prepare_heads(a, 0, kv_head);
        ask_pages(v + lo * d, n, d);
        for (size_t i = 0; i < share; i++) {
            tq_k()->matvec_f32(scores + i * n, k + lo * d, a->q + (kv_head * share + i) * a->stride, n, d);
            tq_k()->softmax(scores + i * n, n);
        }
        for (size_t i = 0; i < share; i++) {
            size_t h = kv_head * share + i;
            tq_k()->matvec_t_f32(a->out + h * d, v + lo * d, scores + i * n, n, d);
            gate_output(a, a->q + h * a->stride, a->out + h * d);
        }
    }
}

/* A tile of queries of one head of one sequence. */
static void attend_tile(const attention *a, size_t seq, size_t h, size_t t0, size_t tokens, float *scores) {
    const tq_config *c = a->c;
    const float *k = NULL, *v = NULL;
    size_t ld = 0, d = c->head_dim, first = a->r->position + t0, attention_dim = c->heads * d;
    size_t lo = window_start(a, first), hi = first + tokens, n = hi - lo;
    const float *q = a->q + (seq * a->r->len + t0) * a->ldq + h * a->stride;
    float *out = a->out + (seq * a->r->len + t0) * attention_dim + h * d;
    history(a, seq, h, &k, &v, &ld);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)tokens, (blasint)n, (blasint)d, 1.0F, q,
                (blasint)a->ldq, k + lo * ld, (blasint)ld, 0.0F, scores, (blasint)n);
    for (size_t i = 0; i < tokens; i++) {
        size_t start = window_start(a, first + i) - lo, stop = first + i + 1 - lo;
        float *row = scores + i * n;
        tq_k()->softmax(row + start, stop - start);
        memset(row, 0, start * sizeof *row);
        memset(row + stop, 0, (n - stop) * sizeof *row);
    }
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)tokens, (blasint)d, (blasint)n, 1.0F, scores,
                (blasint)n, v + lo * ld, (blasint)ld, 0.0F, out, (blasint)attention_dim);
    for (size_t i = 0; i < tokens; i++)
        gate_output(a, q + i * a->ldq, out + i * attention_dim);
}

static void attend_tiles(void *ctx, size_t begin, size_t end, int thread) {
    const attention *a = ctx;
    size_t tiles = (a->r->len + TILE - 1) / TILE, heads = a->c->heads;
    for (size_t task = begin; task < end; task++) {
        /* Long tiles first, so that threads end together. */
        size_t tile = tiles - 1 - task / (heads * a->r->seqs), rest = task % (heads * a->r->seqs);
        size_t t0 = tile * TILE, tokens = a->r->len - t0 < TILE ? a->r->len - t0 : TILE;
        attend_tile(a, rest / heads, rest % heads, t0, tokens, a->r->f->work[thread].data);
    }
}

static int attend(attention *a, tq_err *err) {
    const tq_block_run *r = a->r;
    size_t total = r->position + r->len, heads = a->c->heads;
    if (r->cache && r->len == 1) {
        size_t per_task = 2 * total * a->c->head_dim * a->share, grain = SMALL_TASK / per_task + 1;
        int rc = tq_forward_work(r->f, total * a->share, err);
        if (rc != TQ_OK) return rc;
        norm_wide(a, 0);
        if (a->c->kv_heads > grain)
            tq_pool_stream(r->f->pool, a->c->kv_heads, attend_one, a);
        else
            attend_one(a, 0, a->c->kv_heads, 0);
        return TQ_OK;
    }
    tq_forward_parallel(r->f, r->seqs * r->len, 8, prepare_tokens, a);
    size_t queries = r->len < TILE ? r->len : TILE, tiles = (r->len + TILE - 1) / TILE;
    int rc = tq_forward_work(r->f, queries * total, err);
    if (rc == TQ_OK) tq_forward_parallel(r->f, r->seqs * heads * tiles, 1, attend_tiles, a);
    return rc;
}

/* q, k and v of all tokens: three matrices, or one whose rows are theirs below each other. */
static int project(attention *a, size_t n, tq_err *err) {
    const tq_block_run *r = a->r;
    tq_forward *f = r->f;
    bool fused = r->w->matrix[TQ_ROLE_ATTN_QKV] != SIZE_MAX;
    a->ldq = fused ? a->query + 2 * a->kv : a->query;
    a->ldkv = fused ? a->ldq : a->kv;
    int rc = tq_buffer_need(&f->mixed[0], n * a->ldq, err);
    if (rc == TQ_OK && !fused) rc = tq_buffer_need(&f->mixed[1], n * a->kv, err);
    if (rc == TQ_OK && !fused) rc = tq_buffer_need(&f->mixed[2], n * a->kv, err);
    if (rc != TQ_OK) return rc;
    a->q = f->mixed[0].data;
    a->k = fused ? a->q + a->query : f->mixed[1].data;
    a->v = fused ? a->k + a->kv : f->mixed[2].data;
    if (fused) {
        tq_linear_job all = tq_linear_role(f, r->q, r->w, TQ_ROLE_ATTN_QKV, a->q, a->ldq, false);
        return tq_linear_run(f, &all, 1, f->x.data, n, err);
    }
    tq_linear_job in[] = {tq_linear_role(f, r->q, r->w, TQ_ROLE_Q, a->q, a->query, false),
                          tq_linear_role(f, r->q, r->w, TQ_ROLE_K, a->k, a->kv, false),
                          tq_linear_role(f, r->q, r->w, TQ_ROLE_V, a->v, a->kv, false)};
    return tq_linear_run(f, in, 3, f->x.data, n, err);
}

int tq_attention_run(const tq_block_run *r, tq_err *err) {
    tq_forward *f = r->f;
    const tq_config *c = f->config;
    size_t n = r->seqs * r->len, attention_dim = tq_dim_of(c, TQ_DIM_ATTENTION);
    attention a = {.r = r, .c = c, .query = tq_dim_of(c, TQ_DIM_QUERY), .kv = tq_dim_of(c, TQ_DIM_KV)};
    a.stride = a.query / c->heads;
    a.share = c->heads / c->kv_heads;
    bool local = c->local[r->block];
    a.window = local ? c->sliding_window : 0;
    a.rope = local ? &c->local_rope : &c->rope;
    a.angles = &f->rope[local];
    int rc = tq_rope_prepare(&f->rope[local], a.rope, c->context, r->position, r->len, err);
    if (rc == TQ_OK) rc = tq_buffer_need(&f->mixed[3], n * attention_dim, err);
    if (rc == TQ_OK) rc = project(&a, n, err);
    if (rc != TQ_OK) return rc;
    a.out = f->mixed[3].data;
    double start = tq_now();
    rc = attend(&a, err);
    f->seconds[TQ_PART_ATTENTION] += tq_now() - start;
    if (rc != TQ_OK) return rc;
    tq_linear_job out = tq_linear_role(f, r->q, r->w, TQ_ROLE_O, r->out, c->hidden, r->out == r->h);
    return tq_linear_run(f, &out, 1, a.out, n, err);
}
