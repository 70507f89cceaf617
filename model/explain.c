/* explain.c - hybrids of two variants over a fixed prefix. See explain.h. */
#include "model/explain.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"

/* Hidden states that are kept at most, in bytes. */
#define STATES_MAX ((size_t)2 << 30)
/* Blocks whose matrices are tried one by one. */
#define BLOCKS_OPENED 3

typedef struct explain_run {
    const tq_explain_job *job;
    const tq_progress *progress;
    tq_explanation *x;
    tq_forward *forward;
    size_t size, hidden, blocks, vocab; /* size: floats of a state, n * hidden */
    float **states[2];    /* [blocks + 1]: at the input of each block; b's up to the first difference are a's */
    size_t first;         /* the first block that differs; blocks: none */
    bool embedding, head; /* these differ: the one belongs to the first block, the other to the last */
    float *work, *base, *logits, *drawn; /* a state; [vocab] of a, of a hybrid, and what the sampler may overwrite */
    tq_qmatrix **mixed;                  /* [matrices]: a with one matrix of b */
    double done, total;                  /* block runs */
} explain_run;

void tq_explanation_free(tq_explanation *x) {
    if (!x) return;
    free(x->differs);
    free(x->alone);
    free(x->prefix);
    free(x->matrices);
    free(x);
}

static bool ranks(const float *logits, size_t i, int id) {
    return id < 0 || logits[i] > logits[id];
}

void tq_candidates(const float *logits, size_t vocab, tq_candidate top[TQ_CANDIDATES]) {
    double sum = 0.0;
    for (size_t k = 0; k < TQ_CANDIDATES; k++)
        top[k] = (tq_candidate){-1, 0.0};
    for (size_t i = 0; i < vocab; i++) {
        if (!ranks(logits, i, top[TQ_CANDIDATES - 1].id)) continue;
        size_t k = TQ_CANDIDATES - 1;
        for (; k > 0 && ranks(logits, i, top[k - 1].id); k--)
            top[k] = top[k - 1];
        top[k].id = (int)i;
    }
    for (size_t i = 0; i < vocab; i++)
        sum += exp((double)logits[i] - (double)logits[top[0].id]);
    for (size_t k = 0; k < TQ_CANDIDATES && top[k].id >= 0; k++)
        top[k].p = exp((double)logits[top[k].id] - (double)logits[top[0].id]) / sum;
}

/* --- what differs --- */

static tq_qmatrix *matrix_of(tq_variant v, size_t i) {
    return v ? v[i] : NULL;
}

/* Equal specs give equal codes, but for those that depend on the matrices before. */
static bool same_matrix(const tq_qmatrix *a, const tq_qmatrix *b) {
    if (a == b) return true;
    if (!a || !b) return false;
    const tq_qspec *x = tq_qmatrix_spec(a), *y = tq_qmatrix_spec(b);
    return tq_qspec_equal(x, y) && x->calibrate != TQ_CALIBRATE_ASYM;
}

static bool matrix_differs(const tq_explain_job *j, size_t i) {
    return !same_matrix(matrix_of(j->a, i), matrix_of(j->b, i));
}

static void find_differences(explain_run *r) {
    r->first = r->blocks;
    for (size_t i = tq_model_matrices(r->job->model); i-- > 0;) {
        if (!matrix_differs(r->job, i)) continue;
        tq_end end = tq_model_matrix(r->job->model, i)->end;
        r->embedding = r->embedding || end == TQ_END_EMBEDDING || end == TQ_END_TIED;
        r->head = r->head || end == TQ_END_HEAD || end == TQ_END_TIED;
        if (end == TQ_END_NONE) r->x->differs[tq_model_matrix(r->job->model, i)->block] = true;
    }
    if (r->embedding && r->blocks) r->x->differs[0] = true;
    if (r->head && r->blocks) r->x->differs[r->blocks - 1] = true;
    for (size_t b = r->blocks; b-- > 0;)
        if (r->x->differs[b]) r->first = b;
}

/* Does matrix i count as one of this block's? */
static bool belongs(const explain_run *r, size_t i, size_t block) {
    switch (tq_model_matrix(r->job->model, i)->end) {
    case TQ_END_EMBEDDING:
        return block == 0;
    case TQ_END_HEAD:
        return block + 1 == r->blocks;
    case TQ_END_TIED: /* where the block that flips is, or else at its first use */
        return block == 0 || block + 1 == r->blocks;
    case TQ_END_NONE:
        break;
    }
    return tq_model_matrix(r->job->model, i)->block == block;
}

/* --- running --- */

static int run_block(explain_run *r, tq_variant v, size_t block, float *h, tq_err *err) {
    int rc = tq_forward_block(r->forward, v, block, h, 1, r->job->n, r->progress, err);
    r->x->blocks_run++;
    r->done++;
    tq_progress_report(r->progress, r->done < r->total ? r->done : r->total, r->total);
    return rc;
}

static int run_blocks(explain_run *r, tq_variant v, size_t from, float *h, tq_err *err) {
    int rc = TQ_OK;
    for (size_t b = from; rc == TQ_OK && b < r->blocks; b++)
        rc = run_block(r, v, b, h, err);
    return rc;
}

static int choose(explain_run *r, const float *logits) {
    tq_sampler s = {.options = {.top_p = 1}};
    if (r->job->sampler) s = *r->job->sampler;
    memcpy(r->drawn, logits, r->vocab * sizeof *logits);
    return tq_sampler_next(&s, r->drawn, r->vocab);
}

/* By the head of a variant. */
static int predict(explain_run *r, tq_variant v, const float *h, float *logits, tq_err *err) {
    return tq_forward_logits(r->forward, v, h + (r->job->n - 1) * r->hidden, 1, logits, err);
}

/* What the state after the last block says by the head of v, beside a. */
static int judge(explain_run *r, tq_variant v, const float *h, tq_hybrid *out, tq_err *err) {
    tq_kld_row row;
    int rc = predict(r, v, h, r->logits, err);
    if (rc != TQ_OK) return rc;
    tq_k()->kld_row(&row, r->base, r->logits, r->vocab, 0);
    *out = (tq_hybrid){.known = true, .choice = choose(r, r->logits), .kld = row.kld};
    out->margin = (double)r->logits[r->x->token[0]] - (double)r->logits[r->x->token[1]];
    out->flips = out->choice != r->x->a.choice;
    return TQ_OK;
}

/* The states of one variant at the inputs of all blocks, from `from` on; those before are a's, but for another
 * embedding. */
static int keep_states(explain_run *r, int side, size_t from, tq_err *err) {
    float **s = r->states[side], *own = s[0];
    int rc = TQ_OK;
    if (side) memcpy(s, r->states[0], (from + 1) * sizeof *s);
    if (side && r->embedding) s[0] = own;
    for (size_t b = from; rc == TQ_OK && b < r->blocks; b++) {
        s[b + 1] = malloc(r->size * sizeof **s);
        if (!s[b + 1]) return tq_fail(err, "out of memory");
        memcpy(s[b + 1], s[b], r->size * sizeof **s);
        rc = run_block(r, side ? r->job->b : r->job->a, b, s[b + 1], err);
    }
    return rc;
}

/* The two variants: a's logits stay in r->base, and the tokens whose margin is told are settled. */
static int run_ends(explain_run *r, tq_err *err) {
    tq_explanation *x = r->x;
    int rc = tq_forward_embed(r->forward, r->job->a, r->job->ids, r->job->n, r->states[0][0], err);
    if (rc == TQ_OK && r->embedding)
        rc = tq_forward_embed(r->forward, r->job->b, r->job->ids, r->job->n, r->states[1][0], err);
    if (rc == TQ_OK) rc = keep_states(r, 0, 0, err);
    if (rc == TQ_OK) rc = keep_states(r, 1, r->first, err);
    if (rc == TQ_OK) rc = predict(r, r->job->a, r->states[0][r->blocks], r->base, err);
    if (rc == TQ_OK) rc = predict(r, r->job->b, r->states[1][r->blocks], r->logits, err);
    if (rc != TQ_OK) return rc;
    tq_candidates(r->base, r->vocab, x->top[0]);
    tq_candidates(r->logits, r->vocab, x->top[1]);
    x->a.choice = choose(r, r->base);
    int other = choose(r, r->logits);
    x->reproduced = (r->job->token[0] < 0 || r->job->token[0] == x->a.choice) &&
                    (r->job->token[1] < 0 || r->job->token[1] == other);
    x->token[0] = r->job->token[0] < 0 ? x->a.choice : r->job->token[0];
    x->token[1] = r->job->token[1] < 0 ? other : r->job->token[1];
    if (x->token[1] == x->token[0]) { /* no two choices: a's next best */
        int next = x->top[0][x->top[0][0].id == x->token[0]].id;
        if (next >= 0) x->token[1] = next;
    }
    rc = judge(r, r->job->a, r->states[0][r->blocks], &x->a, err);
    return rc == TQ_OK ? judge(r, r->job->b, r->states[1][r->blocks], &x->b, err) : rc;
}

/* --- hybrids --- */

static int run_alone(explain_run *r, size_t block, tq_err *err) {
    tq_hybrid *out = &r->x->alone[block];
    if (!r->x->differs[block]) *out = r->x->a;
    if (out->known) return TQ_OK;
    memcpy(r->work, r->states[block == 0][block], r->size * sizeof *r->work); /* b's embedding, which may be a's */
    int rc = run_block(r, r->job->b, block, r->work, err);
    if (rc == TQ_OK) rc = run_blocks(r, r->job->a, block + 1, r->work, err);
    return rc == TQ_OK ? judge(r, block + 1 == r->blocks ? r->job->b : r->job->a, r->work, out, err) : rc;
}

static int run_prefix(explain_run *r, size_t count, tq_err *err) {
    tq_explanation *x = r->x;
    size_t same = count;
    while (same > 0 && !x->differs[same - 1])
        same--; /* b's blocks there are a's */
    tq_hybrid *of = &x->prefix[same];
    int rc = TQ_OK;
    if (same == 0) *of = x->a;
    if (!of->known) {
        memcpy(r->work, r->states[1][same], r->size * sizeof *r->work);
        rc = run_blocks(r, r->job->a, same, r->work, err);
        if (rc == TQ_OK) rc = judge(r, same == r->blocks ? r->job->b : r->job->a, r->work, of, err);
    }
    x->prefix[count] = *of;
    return rc;
}

static int bisect(explain_run *r, tq_err *err) {
    size_t keeps = 0, flips = r->blocks;
    int rc = TQ_OK;
    if (!r->x->b.flips) return TQ_OK;
    while (rc == TQ_OK && flips - keeps > 1) {
        size_t middle = keeps + (flips - keeps) / 2;
        rc = run_prefix(r, middle, err);
        if (rc == TQ_OK) *(r->x->prefix[middle].flips ? &flips : &keeps) = middle;
    }
    if (rc == TQ_OK) r->x->tips = keeps;
    return rc;
}

static int run_all(explain_run *r, tq_err *err) {
    int rc = bisect(r, err);
    for (size_t b = 0; rc == TQ_OK && b < r->blocks; b++)
        rc = run_alone(r, b, err);
    for (size_t b = 0; rc == TQ_OK && b <= r->blocks; b++)
        rc = run_prefix(r, b, err);
    return rc;
}

/* --- matrices --- */

/* Matrix i of b, and the blocks before `block` of b after_prefix, the rest of a. */
static int run_matrix(explain_run *r, size_t i, size_t block, bool after_prefix, tq_err *err) {
    tq_end end = tq_model_matrix(r->job->model, i)->end;
    bool looked_up = end == TQ_END_EMBEDDING || end == TQ_END_TIED;
    tq_matrix_hybrid *out = &r->x->matrices[r->x->n_matrices];
    *out = (tq_matrix_hybrid){.matrix = i, .after_prefix = after_prefix && block > 0};
    tq_qmatrix *was = r->mixed[i];
    if (looked_up && !after_prefix) block = 0; /* it acts from there on */
    memcpy(r->work, r->states[block == 0 ? looked_up : after_prefix][block], r->size * sizeof *r->work);
    r->mixed[i] = matrix_of(r->job->b, i);
    int rc = run_blocks(r, r->mixed, block, r->work, err);
    if (rc == TQ_OK) rc = judge(r, r->mixed, r->work, &out->hybrid, err);
    r->mixed[i] = was;
    if (rc == TQ_OK) r->x->n_matrices++;
    return rc;
}

static bool was_tried(const tq_explanation *x, size_t i) {
    for (size_t k = 0; k < x->n_matrices; k++)
        if (x->matrices[k].matrix == i) return true;
    return false;
}

static int open_block(explain_run *r, size_t block, bool after_prefix, tq_err *err) {
    int rc = TQ_OK;
    for (size_t i = 0; rc == TQ_OK && i < tq_model_matrices(r->job->model); i++)
        if (belongs(r, i, block) && matrix_differs(r->job, i) && !was_tried(r->x, i))
            rc = run_matrix(r, i, block, after_prefix, err);
    return rc;
}

/* The block that moves the prediction most; of those that flip it, when any does. SIZE_MAX: none differs. */
static size_t most_moving(const tq_explanation *x, const bool *taken) {
    size_t best = SIZE_MAX;
    for (size_t b = 0; b < x->blocks; b++) {
        if (!x->differs[b] || (taken && taken[b])) continue;
        if (best == SIZE_MAX || x->alone[b].flips > x->alone[best].flips ||
            (x->alone[b].flips == x->alone[best].flips && x->alone[b].kld > x->alone[best].kld))
            best = b;
    }
    return best;
}

static int open_blocks(explain_run *r, tq_err *err) {
    tq_explanation *x = r->x;
    size_t shortest = tq_explanation_shortest(x), alone = tq_explanation_alone(x);
    int rc = TQ_OK;
    if (!alone && shortest != SIZE_MAX) return open_block(r, shortest - 1, true, err);
    bool *taken = calloc(x->blocks + 1, sizeof *taken);
    if (!taken) return tq_fail(err, "out of memory");
    for (size_t k = 0; rc == TQ_OK && k < BLOCKS_OPENED && k < (alone ? alone : 1); k++) {
        size_t b = most_moving(x, taken);
        if (b == SIZE_MAX) break;
        taken[b] = true;
        rc = open_block(r, b, false, err);
    }
    free(taken);
    return rc;
}

/* --- all of it --- */

static void release(explain_run *r) {
    for (int side = 1; side >= 0; side--) {
        for (size_t b = 0; r->states[side] && b <= r->blocks; b++)
            if (side == 0 || b > r->first || (b == 0 && r->embedding)) free(r->states[side][b]);
        free(r->states[side]);
    }
    tq_forward_free(r->forward);
    free(r->work);
    free(r->base);
    free(r->logits);
    free(r->drawn);
    free(r->mixed);
}

static int check(const explain_run *r, tq_err *err) {
    size_t bytes = 0, states = 0;
    if (!r->job->n) return tq_fail(err, "nothing stands before the token");
    if (!tq_mul_size(&bytes, r->size, sizeof(float)) || !tq_mul_size(&states, bytes, 2 * (r->blocks + 1)) ||
        states > STATES_MAX)
        return tq_fail(err, "%zu tokens stand before it: hidden states of more than %zu MiB would have to be kept",
                       r->job->n, STATES_MAX >> 20);
    return TQ_OK;
}

static int prepare(explain_run *r, tq_pool *pool, tq_err *err) {
    tq_explanation *x = r->x;
    size_t matrices = tq_model_matrices(r->job->model);
    x->blocks = r->blocks;
    x->tips = SIZE_MAX;
    x->differs = calloc(r->blocks + 1, sizeof *x->differs);
    x->alone = calloc(r->blocks + 1, sizeof *x->alone);
    x->prefix = calloc(r->blocks + 1, sizeof *x->prefix);
    x->matrices = calloc(matrices + 1, sizeof *x->matrices);
    for (int side = 0; side < 2; side++)
        r->states[side] = calloc(r->blocks + 1, sizeof(float *));
    r->work = malloc(r->size * sizeof *r->work);
    r->base = tq_calloc_aligned(r->vocab, sizeof *r->base);
    r->logits = tq_calloc_aligned(r->vocab, sizeof *r->logits);
    r->drawn = tq_calloc_aligned(r->vocab, sizeof *r->drawn);
    r->mixed = calloc(matrices + 1, sizeof(tq_qmatrix *));
    r->forward = tq_forward_new(r->job->model, pool, err);
    if (!r->forward) return TQ_FAIL;
    if (!x->differs || !x->alone || !x->prefix || !x->matrices || !r->states[0] || !r->states[1] || !r->work ||
        !r->base || !r->logits || !r->drawn || !r->mixed)
        return tq_fail(err, "out of memory");
    r->states[0][0] = malloc(r->size * sizeof(float));
    if (!r->states[0][0]) return tq_fail(err, "out of memory");
    for (size_t i = 0; i < matrices; i++)
        r->mixed[i] = matrix_of(r->job->a, i);
    tq_forward_set_arithmetic(r->forward, TQ_ARITHMETIC_EXACT);
    find_differences(r);
    if (r->embedding) r->states[1][0] = malloc(r->size * sizeof(float));
    return r->states[1][0] || !r->embedding ? TQ_OK : tq_fail(err, "out of memory: hidden states");
}

/* Block runs to come: both variants, every block alone and every prefix to the end, and matrices of one block. */
static double expected(const explain_run *r) {
    double b = (double)r->blocks;
    return r->job->ends_only ? 2 * b : 2 * b + b * (b + 1) + 4 * b;
}

int tq_explain(const tq_explain_job *job, tq_pool *pool, const tq_progress *p, tq_explanation **out, tq_err *err) {
    const tq_config *c = tq_model_config(job->model);
    explain_run r = {.job = job, .progress = p, .hidden = c->hidden, .blocks = c->blocks, .vocab = c->vocab};
    double start = tq_now();
    *out = NULL;
    r.first = r.blocks;
    r.total = expected(&r);
    if (!tq_mul_size(&r.size, job->n, c->hidden)) return tq_fail(err, "out of memory");
    int rc = check(&r, err);
    if (rc != TQ_OK) return rc;
    r.x = calloc(1, sizeof *r.x);
    if (!r.x) return tq_fail(err, "out of memory");
    rc = prepare(&r, pool, err);
    if (rc == TQ_OK) rc = run_ends(&r, err);
    if (rc == TQ_OK && !job->ends_only) rc = run_all(&r, err);
    if (rc == TQ_OK && !job->ends_only) rc = open_blocks(&r, err);
    release(&r);
    if (rc != TQ_OK) {
        tq_explanation_free(r.x);
        return rc;
    }
    r.x->seconds = tq_now() - start;
    if (job->ends_only) r.x->blocks = 0;
    *out = r.x;
    return TQ_OK;
}

/* --- what it comes to --- */

size_t tq_explanation_alone(const tq_explanation *x) {
    size_t n = 0;
    for (size_t b = 0; b < x->blocks; b++)
        n += x->alone[b].flips;
    return n;
}

size_t tq_explanation_shortest(const tq_explanation *x) {
    for (size_t b = 1; b <= x->blocks && x->blocks; b++)
        if (x->prefix[b].flips) return b;
    return SIZE_MAX;
}

/* All matrices of a block in which the variants differ, of those that were tried: it is the same set. */
static size_t take_block(const tq_model *m, size_t block, bool *guilty) {
    size_t n = 0;
    for (size_t i = 0; i < tq_model_matrices(m); i++)
        if (tq_model_matrix(m, i)->block == block && !guilty[i]) {
            guilty[i] = true;
            n++;
        }
    return n;
}

size_t tq_explanation_guilty(const tq_explanation *x, const tq_model *m, bool *guilty) {
    size_t n = 0, shortest = tq_explanation_shortest(x), most = most_moving(x, NULL);
    memset(guilty, 0, tq_model_matrices(m) * sizeof *guilty);
    for (size_t i = 0; i < x->n_matrices; i++)
        if (x->matrices[i].hybrid.flips && !guilty[x->matrices[i].matrix]) {
            guilty[x->matrices[i].matrix] = true;
            n++;
        }
    for (size_t b = 0; !n && b < x->blocks; b++)
        if (x->alone[b].flips) return take_block(m, most, guilty);
    if (n) return n;
    if (shortest != SIZE_MAX) return take_block(m, shortest - 1, guilty);
    return most == SIZE_MAX ? 0 : take_block(m, most, guilty);
}
