/* divergence.c - keeps hidden states, runs what is missing, scores chunk by chunk. See divergence.h. */
#include "model/divergence.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "model/divergence_stats.h"
#include "model/memory_plan.h"
#include "model/weights_internal.h"

/* Tokens that go through a block together; bounds the scratch memory, and a cancellation's delay. */
#define GROUP_TOKENS 2048
/* Logits of base and variant held at a time, in floats: 128 MiB. The head is decoded once for each such chunk. */
#define CHUNK_FLOATS ((size_t)32 << 20)
/* Logits of the base model that are kept, so that an evaluation after a change makes the variant's alone: of as many
 * positions, from the first on, as fit into 256 MiB. */
#define BASE_LOGITS_FLOATS ((size_t)64 << 20)
#define CHUNK_MIN 16
#define CHUNK_MAX 256
#define PARTIALS 10
#define REPORT_SECONDS 0.03

/* How far a pass through the blocks has come: blocks before `block` are done, and the first `group` groups of it. */
typedef struct cursor {
    size_t block, group;
} cursor;

/* The base model goes first. Its states are left where the variant's are to be, and serve it up to the first block in
 * which it differs. */
struct tq_evaluator {
    const tq_model *model;
    tq_pool *pool;
    tq_forward *forward;
    tq_forward *against; /* of another base model; NULL: the base is the model as stored */
    const tq_model *against_model;
    int *ids; /* [tokens] */
    size_t ctx, windows, tokens, hidden, blocks;
    bool score_half, fast;
    size_t limit;       /* bytes of memory for hidden states */
    size_t stride;      /* hidden states at the input of every stride-th block are kept */
    float *base;        /* [tokens, hidden]: after the base model's last block; NULL until it has come there */
    float *work;        /* [tokens, hidden]: the state at the input of a block that is not kept */
    float **kept;       /* [blocks + 1], entry b: [tokens, hidden], the state at the input of block b, or NULL */
    float *base_logits; /* [logits_room, vocab]: of the first scored positions; NULL until they are made, or no room */
    size_t logits_room, logits_known; /* positions: kept at most, and made so far */
    cursor at; /* groups from at.group on have their state at the input of at.block, the others at its output */
    tq_divergence_stats stats;
    double seconds[TQ_PART_COUNT]; /* of the last run */
};

/* One call of tq_evaluator_run. */
typedef struct eval_run {
    tq_evaluator *e;
    tq_variant q;
    const tq_progress *progress;
    double done, total; /* in multiplications */
    double block_cost, head_cost;
    size_t blocks_run;
} eval_run;

static size_t min_size(size_t a, size_t b) {
    return a < b ? a : b;
}

static bool is_kept(const tq_evaluator *e, size_t block) {
    return block == e->blocks || block % e->stride == 0;
}

/* [tokens, hidden], contents undefined; NULL with a message. */
static float *new_state(const tq_evaluator *e, tq_err *err) {
    size_t bytes = 0;
    float *state = tq_mul_size(&bytes, e->tokens, e->hidden * sizeof *state) ? malloc(bytes) : NULL;
    if (!state) (void)tq_fail(err, "out of memory: %zu MiB of hidden states", bytes >> 20);
    return state;
}

/* The smallest stride whose states fit: base, last, the kept ones, and one to work in when some are not kept. */
static size_t choose_stride(const tq_evaluator *e, size_t limit) {
    size_t one = e->tokens * e->hidden * sizeof(float), room = limit / one;
    for (size_t stride = 1; stride < e->blocks; stride++)
        if (2 + (e->blocks - 1) / stride + (stride > 1) <= room) return stride;
    return e->blocks ? e->blocks : 1;
}

int tq_evaluator_new(const tq_model *m, tq_pool *pool, const int *ids, size_t n, const tq_eval_options *options,
                     size_t memory_limit, tq_evaluator **out, tq_err *err) {
    size_t ctx = options->ctx ? options->ctx : 512, wanted = options->tokens ? min_size(options->tokens, n) : n;
    *out = NULL;
    if (ctx < 4) return tq_fail(err, "a context of %zu tokens is too short to score, expected at least 4", ctx);
    if (n < ctx) return tq_fail(err, "the text has %zu tokens, expected at least one window of %zu", n, ctx);
    tq_evaluator *e = calloc(1, sizeof *e);
    if (!e) return tq_fail(err, "out of memory");
    e->model = m;
    e->pool = pool;
    e->ctx = ctx;
    e->windows = wanted / ctx ? wanted / ctx : 1;
    e->tokens = e->windows * ctx;
    e->score_half = options->score_half;
    e->fast = options->fast;
    e->hidden = tq_model_config(m)->hidden;
    e->blocks = tq_model_config(m)->blocks;
    e->limit = memory_limit ? memory_limit : TQ_EVAL_MEMORY;
    e->stride = choose_stride(e, e->limit);
    e->forward = tq_forward_new(m, pool, err);
    e->kept = calloc(e->blocks + 1, sizeof *e->kept);
    e->ids = calloc(e->tokens, sizeof *e->ids);
    if (!e->forward || !e->kept || !e->ids) {
        tq_evaluator_free(e);
        return tq_fail(err, "out of memory");
    }
    memcpy(e->ids, ids, e->tokens * sizeof *e->ids);
    int rc = tq_divergence_stats_init(&e->stats, e->windows, e->score_half ? ctx - ctx / 2 - 1 : ctx - 1, err);
    if (rc != TQ_OK) {
        tq_evaluator_free(e);
        return rc;
    }
    *out = e;
    return TQ_OK;
}

void tq_evaluator_free(tq_evaluator *e) {
    if (!e) return;
    for (size_t b = 0; e->kept && b <= e->blocks; b++)
        free(e->kept[b]);
    tq_divergence_stats_free(&e->stats);
    tq_forward_free(e->forward);
    tq_forward_free(e->against);
    free(e->kept);
    free(e->base);
    free(e->base_logits);
    free(e->work);
    free(e->ids);
    free(e);
}

int tq_evaluator_against(tq_evaluator *e, const tq_model *base, tq_err *err) {
    const tq_config *a = tq_model_config(e->model), *b = tq_model_config(base);
    if (a->hidden != b->hidden || a->blocks != b->blocks || a->vocab != b->vocab)
        return tq_fail(err,
                       "hidden size %zu, %zu blocks, %zu tokens in the vocabulary, expected %zu, %zu and %zu as in the "
                       "model that is evaluated",
                       b->hidden, b->blocks, b->vocab, a->hidden, a->blocks, a->vocab);
    e->against_model = base;
    e->against = tq_forward_new(base, e->pool, err);
    return e->against ? TQ_OK : TQ_FAIL;
}

/* The nearest block up to `block` whose input is kept; embeddings are made again. */
static cursor restart_at(const tq_evaluator *e, size_t block) {
    return (cursor){.block = is_kept(e, block) ? block : block / e->stride * e->stride};
}

const double *tq_evaluator_seconds(const tq_evaluator *e) {
    return e->seconds;
}

void tq_evaluator_touch(tq_evaluator *e, size_t block) {
    /* Before the base model is through, nothing of the variant's is there that could be wrong. */
    if (!e->base) return;
    if (block < e->at.block || (block == e->at.block && e->at.group)) e->at = restart_at(e, block);
}

/* Block e->at.block over all windows, a group at a time. A group counts when it is done, so that cancelling leaves no
 * half-run state behind. */
static int run_block(eval_run *r, tq_forward *forward, tq_variant q, tq_err *err) {
    tq_evaluator *e = r->e;
    size_t b = e->at.block, group_windows = GROUP_TOKENS / e->ctx ? GROUP_TOKENS / e->ctx : 1;
    size_t groups = (e->windows + group_windows - 1) / group_windows, size = group_windows * e->ctx;
    float **to = is_kept(e, b + 1) ? &e->kept[b + 1] : &e->work;
    const float *from = b == 0 ? NULL : is_kept(e, b) ? e->kept[b] : e->work;
    const tq_model *m = forward == e->against ? e->against_model : e->model;
    int rc = TQ_OK;
    if (!*to) *to = new_state(e, err);
    if (!*to) return TQ_FAIL;
    float *h = malloc(size * e->hidden * sizeof *h);
    if (!h) return tq_fail(err, "out of memory");
    tq_model_block_ahead(m, b + 1);
    while (e->at.group < groups) {
        size_t first = e->at.group * size, n = min_size(size, e->tokens - first), bytes = n * e->hidden * sizeof *h;
        if (!from)
            rc = tq_forward_embed(forward, q, e->ids + first, n, h, err);
        else
            memcpy(h, from + first * e->hidden, bytes);
        if (rc == TQ_OK) rc = tq_forward_block(forward, q, b, h, n / e->ctx, e->ctx, r->progress, err);
        if (rc != TQ_OK) break;
        memcpy(*to + first * e->hidden, h, bytes);
        e->at.group++;
        r->done += (double)n * r->block_cost;
        tq_progress_report(r->progress, r->done, r->total);
    }
    free(h);
    tq_model_block_done(m, b);
    if (rc != TQ_OK) return rc;
    e->at = (cursor){.block = b + 1};
    r->blocks_run++;
    return TQ_OK;
}

static int run_blocks(eval_run *r, tq_forward *forward, tq_variant q, tq_err *err) {
    int rc = TQ_OK;
    while (rc == TQ_OK && r->e->at.block < r->e->blocks)
        rc = run_block(r, forward, q, err);
    return rc;
}

/* The first block whose result is not the base model's; their number when there is none. */
static size_t first_difference(const tq_evaluator *e, tq_variant q) {
    size_t first = e->against ? 0 : e->blocks;
    for (size_t i = 0; q && i < tq_model_matrices(e->model); i++)
        if (q[i]) first = min_size(first, tq_model_reach(e->model, i));
    return first;
}

/* Does the variant make other logits than the base model of the same state? */
static bool has_own_head(const tq_evaluator *e, tq_variant q) {
    return e->against || (q && q[tq_model_head(e->model)]);
}

/* The base model's pass, once. */
static int run_base(eval_run *r, tq_err *err) {
    tq_evaluator *e = r->e;
    if (e->base) return TQ_OK;
    int rc = run_blocks(r, e->against ? e->against : e->forward, NULL, err);
    if (rc != TQ_OK) return rc;
    e->base = new_state(e, err);
    if (!e->base) return TQ_FAIL;
    memcpy(e->base, e->kept[e->blocks], e->tokens * e->hidden * sizeof *e->base);
    e->at = restart_at(e, first_difference(e, r->q));
    return TQ_OK;
}

/* Positions [first, first + n) of the scored ones, as they lie in the windows. */
typedef struct score_chunk {
    eval_run *r;
    size_t first, n, vocab;
    const float *base, *quant; /* logits: [n, vocab] */
    tq_kld_row *rows;          /* [n] */
} score_chunk;

/* Where in the text the i-th scored position lies: the token after it is the one that is predicted. */
static size_t scored_position(const tq_evaluator *e, size_t i) {
    size_t skipped = e->score_half ? e->ctx / 2 : 0;
    return i / e->stats.per_window * e->ctx + skipped + i % e->stats.per_window;
}

static void score_some(void *ctx, size_t begin, size_t end, int thread) {
    const score_chunk *c = ctx;
    const tq_evaluator *e = c->r->e;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        size_t target = (size_t)e->ids[scored_position(e, c->first + i) + 1];
        tq_k()->kld_row(&c->rows[i], c->base + i * c->vocab, c->quant + i * c->vocab, c->vocab, target);
    }
}

/* Logits of a chunk's positions from their hidden states. h: [n, hidden] is scratch. How many go through the head
 * together depends on the chunk alone, so that equal states give equal logits. */
static int chunk_logits(const score_chunk *c, tq_forward *forward, tq_variant q, const float *state, float *h,
                        float *logits, tq_err *err) {
    tq_evaluator *e = c->r->e;
    for (size_t i = 0; i < c->n; i++)
        memcpy(h + i * e->hidden, state + scored_position(e, c->first + i) * e->hidden, e->hidden * sizeof *h);
    c->r->done += (double)c->n * c->r->head_cost;
    return tq_forward_logits(forward, q, h, c->n, logits, err);
}

/* Memory for the logits of as many positions as may be kept, in whole chunks. Without it they are made every time. */
static void make_room(tq_evaluator *e, size_t vocab, size_t chunk) {
    size_t floats = min_size(BASE_LOGITS_FLOATS, e->limit / 8 / sizeof(float));
    size_t room = min_size(e->stats.capacity, floats / vocab);
    if (e->base_logits) return;
    if (room < e->stats.capacity) room = room / chunk * chunk;
    e->base_logits = room ? malloc(room * vocab * sizeof(float)) : NULL;
    e->logits_room = e->base_logits ? room : 0;
}

/* The base model's part: kept, or made into `logits`. */
static int base_logits(score_chunk *c, float *h, float *logits, tq_err *err) {
    tq_evaluator *e = c->r->e;
    size_t end = c->first + c->n;
    if (end <= e->logits_room) logits = e->base_logits + c->first * c->vocab;
    c->base = logits;
    if (end <= e->logits_known) return TQ_OK;
    int rc = chunk_logits(c, e->against ? e->against : e->forward, NULL, e->base, h, logits, err);
    if (rc == TQ_OK && end <= e->logits_room) e->logits_known = end; /* chunks come in order */
    return rc;
}

/* Scores one chunk. h: [n, hidden] and logits: [2 * n, vocab] are scratch. A variant whose states and head are the
 * base model's own is not computed again. */
static int score(score_chunk *c, const float *quant, float *h, float *logits, tq_err *err) {
    tq_evaluator *e = c->r->e;
    int rc = base_logits(c, h, logits, err);
    c->quant = c->base;
    if (rc == TQ_OK && (quant != e->base || has_own_head(e, c->r->q))) {
        c->quant = logits + c->n * c->vocab;
        rc = chunk_logits(c, e->forward, c->r->q, quant, h, logits + c->n * c->vocab, err);
    }
    if (rc != TQ_OK) return rc;
    double start = tq_now();
    tq_pool_run(e->pool, c->n, 1, score_some, c);
    e->seconds[TQ_PART_KLD] += tq_now() - start;
    for (size_t i = 0; i < c->n; i++)
        tq_divergence_stats_add(&e->stats, &c->rows[i]);
    return TQ_OK;
}

/* Who wants to know how scoring goes on. */
typedef struct audience {
    void (*partial)(void *ctx, const tq_eval_result *so_far);
    void *ctx;
    size_t told;     /* tenths of the work after which partial was called */
    double reported; /* when progress was last reported */
} audience;

static void tell(eval_run *r, audience *a, tq_eval_result *out) {
    tq_divergence_stats *s = &r->e->stats;
    size_t tenths = s->count * PARTIALS / s->capacity;
    double now = tq_now();
    bool ahead = tenths > a->told;
    if (ahead || now - a->reported > REPORT_SECONDS) {
        tq_progress_report(r->progress, r->done, r->total);
        a->reported = now;
    }
    if (!ahead) return;
    a->told = tenths;
    if (!a->partial || s->count == s->capacity) return;
    tq_divergence_stats_result(s, out);
    a->partial(a->ctx, out);
}

static int score_all(eval_run *r, const float *quant, audience *a, tq_eval_result *out, tq_err *err) {
    tq_evaluator *e = r->e;
    size_t vocab = tq_model_config(e->model)->vocab, size = CHUNK_FLOATS / (2 * vocab);
    size = size < CHUNK_MIN ? CHUNK_MIN : min_size(size, CHUNK_MAX);
    float *h = malloc(size * e->hidden * sizeof *h), *logits = malloc(2 * size * vocab * sizeof *logits);
    tq_kld_row *rows = calloc(size, sizeof *rows);
    int rc = TQ_OK;
    if (!h || !logits || !rows) {
        rc = tq_fail(err, "out of memory: %zu MiB of logits", (8 * size * vocab) >> 20);
        goto done;
    }
    tq_divergence_stats_reset(&e->stats);
    make_room(e, vocab, size);
    for (size_t i = 0; i < e->stats.capacity; i += size) {
        score_chunk c = {.r = r, .first = i, .n = min_size(size, e->stats.capacity - i), .vocab = vocab, .rows = rows};
        rc = tq_progress_cancelled(r->progress) ? tq_cancelled(err) : score(&c, quant, h, logits, err);
        if (rc != TQ_OK) goto done;
        tell(r, a, out);
    }
    tq_divergence_stats_result(&e->stats, out);
done:
    free(h);
    free(logits);
    free(rows);
    return rc;
}

int tq_evaluator_run(tq_evaluator *e, tq_variant q, const tq_progress *p,
                     void (*partial)(void *ctx, const tq_eval_result *so_far), void *partial_ctx, tq_eval_result *out,
                     tq_err *err) {
    double start = tq_now(), tokens = (double)e->tokens;
    const tq_config *c = tq_model_config(e->model);
    eval_run r = {.e = e, .q = q, .progress = p};
    r.block_cost = (double)tq_model_matrix_weights(e->model) / (double)e->blocks;
    r.head_cost = (double)c->vocab * (double)c->hidden;
    size_t difference = first_difference(e, q);
    bool same = difference == e->blocks;
    size_t left = e->base ? e->blocks - e->at.block : 2 * e->blocks - e->at.block - restart_at(e, difference).block;
    if (e->base && same) left = 0;
    size_t rows = e->stats.capacity - e->logits_known + (same && !has_own_head(e, q) ? 0 : e->stats.capacity);
    r.total = tokens * r.block_cost * (double)left + (double)rows * r.head_cost;
    *out = (tq_eval_result){0};
    e->seconds[TQ_PART_KLD] = 0;
    tq_forward_reset_seconds(e->forward);
    int rc = run_base(&r, err);
    tq_forward_set_arithmetic(e->forward, e->fast ? TQ_ARITHMETIC_FAST : TQ_ARITHMETIC_USUAL);
    if (rc == TQ_OK && !same) rc = run_blocks(&r, e->forward, q, err);
    tq_forward_set_arithmetic(e->forward, TQ_ARITHMETIC_USUAL);
    audience a = {.partial = partial, .ctx = partial_ctx};
    if (rc == TQ_OK) rc = score_all(&r, same ? e->base : e->kept[e->blocks], &a, out, err);
    memcpy(e->seconds, tq_forward_seconds(e->forward), TQ_PART_KLD * sizeof *e->seconds);
    out->seconds = tq_now() - start;
    out->blocks_run = r.blocks_run;
    return rc;
}

size_t tq_evaluator_worst(const tq_evaluator *e, size_t n, tq_worst *out) {
    const tq_divergence_stats *s = &e->stats;
    size_t found = 0;
    if (s->count != s->capacity) return 0;
    for (size_t i = 0; n && i < s->count; i++) {
        if (!(s->kld[i] > 0) || (found == n && !(s->kld[i] > out[n - 1].kld))) continue;
        size_t k = found < n ? found++ : n - 1, at = scored_position(e, i);
        for (; k > 0 && out[k - 1].kld < s->kld[i]; k--)
            out[k] = out[k - 1];
        out[k] = (tq_worst){at / e->ctx * e->ctx, at + 1, s->kld[i], s->tops[2 * i], s->tops[2 * i + 1]};
    }
    return found;
}
