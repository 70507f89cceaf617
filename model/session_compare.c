/* session_compare.c - two answers side by side, token by token. See compare.h. */
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "model/compare.h"
#include "model/session_internal.h"
#include "model/text_out.h"

#define DEFAULT_TOKENS 256

/* One of the two answers, while it is being given. */
typedef struct speaker {
    tq_variant q;
    tq_cache *cache;
    float *logits; /* [vocab] of the next token */
    tq_sampler sampler;
    tq_text_out out;
    bool done;
    int number;
    struct duet *duet;
} speaker;

typedef struct duet {
    tq_session *s;
    const tq_compare_job *job;
    const tq_progress *progress;
    bool (*piece)(void *ctx, int side, const char *text, size_t bytes);
    void *ctx;
    tq_forward *forward;
    speaker side[2];
    float *drawn; /* [vocab] what the sampler may overwrite */
    size_t vocab, limit;
    size_t prompt;   /* tokens */
    size_t capacity; /* of c->ids */
    double kld_sum;
    tq_comparison *c;
} duet;

void tq_comparison_free(tq_comparison *c) {
    if (!c) return;
    free(c->side[0].text);
    free(c->side[1].text);
    free(c->ids);
    free(c);
}

/* So that whoever reads a function alone sees that it fails. */
static int short_of_memory(tq_err *err) {
    (void)tq_fail(err, "out of memory");
    return TQ_FAIL;
}

static bool forward_piece(void *ctx, const char *text, size_t bytes) {
    const speaker *x = ctx;
    return !x->duet->piece || x->duet->piece(x->duet->ctx, x->number, text, bytes);
}

static int draw(duet *d, speaker *x) {
    memcpy(d->drawn, x->logits, d->vocab * sizeof *d->drawn);
    return tq_sampler_next(&x->sampler, d->drawn, d->vocab);
}

static int feed(duet *d, speaker *x, const int *ids, size_t n, tq_err *err) {
    return tq_forward_append(d->forward, x->q, x->cache, ids, n, x->logits, d->progress, err);
}

/* The token becomes text and goes into the cache; an end token, or the limit, ends the answer. */
static int speak(duet *d, speaker *x, int id, bool marked, tq_err *err) {
    tq_told *told = &d->c->side[x->number];
    const tq_tokenizer *tok = d->s->tokenizer;
    size_t n = 0;
    told->ended = tq_chat_is_end(d->s->chat, id) != 0;
    if (told->ended) {
        x->done = true;
        return TQ_OK;
    }
    const char *bytes = tq_tokenizer_is_special(tok, id) ? NULL : tq_tokenizer_bytes(tok, id, &n);
    int rc = bytes ? tq_text_out_put(&x->out, bytes, n, false, err) : TQ_OK;
    if (marked) told->mark_end = x->out.n;
    told->tokens++;
    x->done = x->out.stopped || told->tokens == d->limit;
    return rc == TQ_OK && !x->done ? feed(d, x, &id, 1, err) : rc;
}

static int remember(duet *d, int id, tq_err *err) {
    tq_comparison *c = d->c;
    if (c->n_ids == d->capacity) {
        int *grown = realloc(c->ids, 2 * (d->capacity + 1) * sizeof *grown);
        if (!grown) return short_of_memory(err);
        c->ids = grown;
        d->capacity = 2 * (d->capacity + 1);
    }
    c->ids[c->n_ids++] = id;
    return TQ_OK;
}

/* The token that comes is the one in question. */
static void question(duet *d, const int id[2], double kld, const tq_sampler *before) {
    tq_comparison *c = d->c;
    c->kld = kld;
    c->sampler = *before;
    c->at = c->common;
    for (int k = 0; k < 2; k++) {
        c->side[k].token = id[k];
        c->side[k].mark = c->side[k].mark_end = d->side[k].out.n;
        tq_candidates(d->side[k].logits, d->vocab, c->side[k].top);
    }
}

/* One token of both, as long as they agree. */
static int step_together(duet *d, tq_err *err) {
    tq_comparison *c = d->c;
    tq_sampler before = d->side[0].sampler;
    tq_kld_row row;
    int id[2];
    for (int k = 0; k < 2; k++)
        id[k] = draw(d, &d->side[k]);
    tq_k()->kld_row(&row, d->side[0].logits, d->side[1].logits, d->vocab, 0);
    c->diverged = id[0] != id[1];
    bool marked = c->diverged || row.kld > c->kld;
    if (marked) question(d, id, row.kld, &before);
    if (!c->diverged) {
        d->kld_sum += row.kld;
        c->common++;
        if (remember(d, id[0], err) != TQ_OK) return TQ_FAIL;
    }
    int rc = speak(d, &d->side[0], id[0], marked, err);
    return rc == TQ_OK ? speak(d, &d->side[1], id[1], marked, err) : rc;
}

static int step_apart(duet *d, tq_err *err) {
    int rc = TQ_OK;
    for (int k = 0; rc == TQ_OK && k < 2; k++)
        if (!d->side[k].done) rc = speak(d, &d->side[k], draw(d, &d->side[k]), false, err);
    return rc;
}

static int converse(duet *d, tq_err *err) {
    int rc = TQ_OK;
    for (size_t step = 0; rc == TQ_OK && !(d->side[0].done && d->side[1].done); step++) {
        if (tq_progress_cancelled(d->progress)) return tq_cancelled(err);
        rc = d->c->diverged ? step_apart(d, err) : step_together(d, err);
        tq_progress_report(d->progress, (double)(step + 1), (double)d->limit);
    }
    if (d->c->common) d->c->kld_common = d->kld_sum / (double)d->c->common;
    if (d->c->side[0].token >= 0) d->c->n_ids = d->prompt + d->c->at;
    for (int k = 0; rc == TQ_OK && k < 2; k++) {
        rc = tq_text_out_put(&d->side[k].out, NULL, 0, true, err);
        if (rc == TQ_OK) rc = tq_text_out_take(&d->side[k].out, &d->c->side[k].text, err);
    }
    return rc;
}

static int check_length(duet *d, size_t n, tq_err *err) {
    size_t context = tq_model_config(d->s->model)->context;
    d->limit = d->job->max_tokens ? d->job->max_tokens : DEFAULT_TOKENS;
    if (!n) return tq_fail(err, "nothing was said");
    if (context && n >= context)
        return tq_fail(err, "the conversation has %zu tokens, the model takes at most %zu", n, context);
    if (context && d->limit > context - n) d->limit = context - n;
    return TQ_OK;
}

static int begin(duet *d, const int *ids, size_t n, tq_err *err) {
    int rc = check_length(d, n, err);
    if (rc != TQ_OK) return rc;
    d->vocab = tq_model_config(d->s->model)->vocab;
    d->forward = tq_forward_new(d->s->model, d->s->pool, err);
    if (!d->forward) return TQ_FAIL;
    tq_forward_set_arithmetic(d->forward, TQ_ARITHMETIC_EXACT);
    d->drawn = tq_calloc_aligned(d->vocab, sizeof *d->drawn);
    if (!d->drawn) return short_of_memory(err);
    for (size_t i = 0; i < n; i++)
        if (remember(d, ids[i], err) != TQ_OK) return TQ_FAIL;
    d->prompt = n;
    for (int k = 0; rc == TQ_OK && k < 2; k++) {
        speaker *x = &d->side[k];
        x->number = k;
        d->c->side[k].token = -1;
        x->duet = d;
        x->out.piece = forward_piece;
        x->out.ctx = x;
        tq_sampler_init(&x->sampler, &d->job->sampling);
        x->logits = tq_calloc_aligned(d->vocab, sizeof *x->logits);
        x->cache = tq_cache_new(d->s->model, n + d->limit, err);
        if (!x->cache) return TQ_FAIL;
        if (!x->logits) return short_of_memory(err);
        rc = feed(d, x, ids, n, err);
    }
    return rc;
}

int tq_session_compare(tq_session *s, const tq_compare_job *job, const tq_progress *p,
                       bool (*piece)(void *ctx, int side, const char *text, size_t bytes), void *ctx,
                       tq_comparison **out, tq_err *err) {
    duet d = {.s = s, .job = job, .progress = p, .piece = piece, .ctx = ctx};
    tq_variant sides[2];
    int *ids = NULL;
    size_t n = 0;
    double start = tq_now();
    *out = NULL;
    if (!s->chat) return tq_fail(err, "%s: no tokenizer.json: no chat", tq_source_path(s->source));
    int rc = tq_session_sides(s, job->plan, p, sides, err);
    if (rc == TQ_OK) rc = tq_chat_encode(s->chat, job->messages, job->n, &ids, &n, err);
    if (rc != TQ_OK) return rc;
    d.c = calloc(1, sizeof *d.c);
    d.side[0].q = sides[0];
    d.side[1].q = sides[1];
    rc = d.c ? begin(&d, ids, n, err) : short_of_memory(err);
    if (rc == TQ_OK) rc = converse(&d, err);
    if (rc == TQ_OK) {
        d.c->seconds = tq_now() - start;
        *out = d.c;
        d.c = NULL;
    }
    for (int k = 0; k < 2; k++) {
        tq_cache_free(d.side[k].cache);
        free(d.side[k].logits);
        free(d.side[k].out.text);
    }
    tq_forward_free(d.forward);
    tq_comparison_free(d.c);
    free(d.drawn);
    free(ids);
    return rc;
}

int tq_session_explain(tq_session *s, const tq_explain_at *at, const tq_progress *p, tq_explanation **out,
                       tq_err *err) {
    tq_variant sides[2];
    *out = NULL;
    int rc = tq_session_sides(s, at->plan, p, sides, err);
    if (rc != TQ_OK) return rc;
    tq_explain_job job = {.ids = at->ids,
                          .n = at->n,
                          .model = s->model,
                          .a = sides[0],
                          .b = sides[1],
                          .sampler = at->sampler,
                          .token = {at->token[0], at->token[1]},
                          .ends_only = at->ends_only};
    return tq_explain(&job, s->pool, p, out, err);
}
