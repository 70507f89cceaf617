/* session_chat.c - answers, streamed; the cache goes on where the conversation goes on. */
#include <stdlib.h>
#include <string.h>

#include "model/session_internal.h"
#include "model/text_out.h"

#define DEFAULT_TOKENS 256
#define CACHE_STEP 1024

void tq_talk_free(tq_talk *t) {
    tq_cache_free(t->cache);
    tq_forward_free(t->forward);
    free(t->logits);
    free(t->ids);
    *t = (tq_talk){0};
}

static void forget(tq_talk *t) {
    if (t->cache) tq_cache_reset(t->cache);
    t->count = 0;
}

static bool remember(tq_talk *t, const int *ids, size_t n) {
    if (t->count + n > t->capacity) {
        size_t capacity = 2 * (t->count + n);
        int *grown = realloc(t->ids, capacity * sizeof *grown);
        if (!grown) return false;
        t->ids = grown;
        t->capacity = capacity;
    }
    memcpy(t->ids + t->count, ids, n * sizeof *ids);
    t->count += n;
    return true;
}

/* Appends to the cache and gives the logits. Any failure forgets the conversation. */
static int feed(tq_session *s, tq_variant q, const int *ids, size_t n, const tq_progress *p, tq_err *err) {
    tq_talk *t = &s->talk;
    int rc = tq_forward_append(t->forward, q, t->cache, ids, n, t->logits, p, err);
    if (rc == TQ_OK && !remember(t, ids, n)) rc = tq_fail(err, "out of memory");
    if (rc != TQ_OK) forget(t);
    return rc;
}

/* Makes room for `tokens`, a new cache forgetting what the old one held. */
static int prepare_cache(tq_session *s, size_t tokens, tq_err *err) {
    tq_talk *t = &s->talk;
    size_t context = tq_model_config(s->model)->context;
    if (!t->forward) t->forward = tq_forward_new(s->model, s->pool, err);
    if (!t->forward) return TQ_FAIL;
    tq_forward_set_arithmetic(t->forward, tq_session_arithmetic(s));
    if (!t->logits) t->logits = tq_calloc_aligned(tq_model_config(s->model)->vocab, sizeof *t->logits);
    if (!t->logits) return tq_fail(err, "out of memory");
    if (t->cache && tq_cache_capacity(t->cache) >= tokens) return TQ_OK;
    size_t capacity = (tokens + CACHE_STEP - 1) / CACHE_STEP * CACHE_STEP;
    if (context && capacity > context) capacity = context;
    tq_cache_free(t->cache);
    t->count = 0;
    t->cache = tq_cache_new(s->model, capacity, err);
    return t->cache ? TQ_OK : TQ_FAIL;
}

/* How many of ids are in the cache already: all that it holds, or none, since a recurrent state cannot go back. */
static size_t reusable(tq_session *s, const int *ids, size_t n, bool base) {
    tq_talk *t = &s->talk;
    bool same = t->base == base && (base || t->generation == s->generation) && t->count < n &&
                (!t->count || memcmp(t->ids, ids, t->count * sizeof *ids) == 0);
    if (!same) forget(t);
    t->base = base;
    t->generation = s->generation;
    return t->count;
}

static int generate(tq_session *s, tq_variant q, const tq_chat_options *o, size_t limit, const tq_progress *p,
                    tq_text_out *out, tq_chat_stats *stats, tq_err *err) {
    tq_sampler sampler;
    tq_sampler_init(&sampler, &o->sampling);
    while (!out->stopped && stats->tokens < limit) {
        if (tq_progress_cancelled(p)) return tq_cancelled(err);
        int id = tq_sampler_next(&sampler, s->talk.logits, tq_model_config(s->model)->vocab);
        stats->ended = tq_chat_is_end(s->chat, id) != 0;
        if (stats->ended) break;
        size_t n = 0;
        const char *bytes = tq_tokenizer_is_special(s->tokenizer, id) ? NULL : tq_tokenizer_bytes(s->tokenizer, id, &n);
        int rc = bytes ? tq_text_out_put(out, bytes, n, false, err) : TQ_OK;
        if (rc != TQ_OK) return rc;
        stats->tokens++;
        if (out->stopped || stats->tokens == limit) break;
        rc = feed(s, q, &id, 1, NULL, err);
        if (rc != TQ_OK) return rc;
    }
    return tq_text_out_put(out, NULL, 0, true, err);
}

int tq_session_answer_limit(const tq_session *s, size_t prompt, size_t wanted, size_t *limit, tq_err *err) {
    size_t context = tq_model_config(s->model)->context;
    if (!prompt) return tq_fail(err, "nothing was said");
    if (context && prompt >= context)
        return tq_fail(err, "the conversation has %zu tokens, the model takes at most %zu", prompt, context);
    *limit = wanted ? wanted : DEFAULT_TOKENS;
    if (context && *limit > context - prompt) *limit = context - prompt;
    return TQ_OK;
}

static int answer(tq_session *s, const int *ids, size_t n, const tq_chat_options *o, const tq_progress *p,
                  tq_text_out *out, tq_chat_stats *stats, tq_err *err) {
    tq_variant q = o->base ? NULL : s->q;
    size_t limit = 0;
    int rc = tq_session_answer_limit(s, n, o->max_tokens, &limit, err);
    if (rc == TQ_OK) rc = prepare_cache(s, n + limit, err);
    if (rc != TQ_OK) return rc;
    double start = tq_now();
    size_t have = reusable(s, ids, n, o->base);
    rc = feed(s, q, ids + have, n - have, p, err);
    if (rc != TQ_OK) return rc;
    stats->prompt_tokens = n;
    stats->prompt_seconds = tq_now() - start;
    start = tq_now();
    rc = generate(s, q, o, limit, p, out, stats, err);
    stats->seconds = tq_now() - start;
    return rc;
}

int tq_session_answer(tq_session *s, const tq_message *messages, size_t n, const tq_chat_options *o,
                      const tq_progress *p, bool (*piece)(void *ctx, const char *text, size_t bytes), void *ctx,
                      char **text, tq_chat_stats *stats, tq_err *err) {
    tq_chat_stats own;
    tq_text_out out = {.piece = piece, .ctx = ctx};
    int *ids = NULL;
    size_t count = 0;
    if (!stats) stats = &own;
    *stats = (tq_chat_stats){0};
    if (text) *text = NULL;
    if (!s->chat) return tq_fail(err, "%s: no tokenizer.json: no chat", tq_source_path(s->source));
    int rc = o->base ? TQ_OK : tq_session_apply(s, NULL, NULL, NULL, err);
    if (rc == TQ_OK) rc = tq_chat_encode(s->chat, messages, n, o->think, &ids, &count, err);
    if (rc == TQ_OK) rc = answer(s, ids, count, o, p, &out, stats, err);
    if (rc != TQ_FAIL && text && tq_text_out_take(&out, text, err) != TQ_OK) rc = TQ_FAIL;
    free(out.text);
    free(ids);
    return rc;
}
