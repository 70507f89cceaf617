/* session_chat.c - answers, streamed; the cache goes on where the conversation goes on. */
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "model/session_internal.h"

#define DEFAULT_TOKENS 256
#define CACHE_STEP 1024
#define REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */

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

/* Text on its way out: bytes that may still become a character wait in `tail`. */
typedef struct text_out {
    bool (*piece)(void *ctx, const char *text, size_t bytes);
    void *ctx;
    bool stopped;
    char *text; /* all of it, NUL after the end */
    size_t n, capacity;
    char tail[4];
    size_t waiting;
} text_out;

static bool append_text(text_out *o, const char *p, size_t n) {
    if (o->n + n + 1 > o->capacity) {
        size_t capacity = 2 * (o->n + n + 1) + 256;
        char *grown = realloc(o->text, capacity);
        if (!grown) return false;
        o->text = grown;
        o->capacity = capacity;
    }
    memcpy(o->text + o->n, p, n);
    o->n += n;
    o->text[o->n] = '\0';
    return true;
}

/* Could these n < 4 bytes be the beginning of a character? */
static bool is_prefix(const char *p, size_t n) {
    unsigned char lead = (unsigned char)p[0];
    size_t length = lead >= 0xF0 && lead < 0xF5 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC2 ? 2 : 1;
    if (lead >= 0xF5 || n >= length) return false;
    for (size_t i = 1; i < n; i++)
        if (((unsigned char)p[i] & 0xC0) != 0x80) return false;
    return true;
}

/* Moves what is complete in bytes to the text, invalid bytes as U+FFFD; what may go on waits, unless this is the end.
 */
static bool take_bytes(text_out *o, const char *bytes, size_t n, bool end) {
    for (size_t i = 0; i < n;) {
        utf8proc_int32_t point;
        utf8proc_ssize_t left = (utf8proc_ssize_t)(n - i);
        utf8proc_ssize_t length = utf8proc_iterate((const utf8proc_uint8_t *)bytes + i, left, &point);
        if (length > 0) {
            if (!append_text(o, bytes + i, (size_t)length)) return false;
            i += (size_t)length;
        } else if (!end && left < 4 && is_prefix(bytes + i, (size_t)left)) {
            o->waiting = (size_t)left;
            memcpy(o->tail, bytes + i, o->waiting);
            return true;
        } else {
            if (!append_text(o, REPLACEMENT, strlen(REPLACEMENT))) return false;
            i++;
        }
    }
    return true;
}

static int put_bytes(text_out *o, const char *bytes, size_t n, bool end, tq_err *err) {
    size_t before = o->n, waiting = o->waiting;
    char *joined = malloc(waiting + n + 1);
    if (!joined) return tq_fail(err, "out of memory");
    memcpy(joined, o->tail, waiting);
    if (n) memcpy(joined + waiting, bytes, n);
    o->waiting = 0;
    bool ok = take_bytes(o, joined, waiting + n, end);
    free(joined);
    if (!ok) return tq_fail(err, "out of memory");
    if (o->n > before && o->piece && !o->piece(o->ctx, o->text + before, o->n - before)) o->stopped = true;
    return TQ_OK;
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
                    text_out *out, tq_chat_stats *stats, tq_err *err) {
    tq_sampler sampler;
    tq_sampler_init(&sampler, &o->sampling);
    while (!out->stopped && stats->tokens < limit) {
        if (tq_progress_cancelled(p)) return tq_cancelled(err);
        int id = tq_sampler_next(&sampler, s->talk.logits, tq_model_config(s->model)->vocab);
        stats->ended = tq_chat_is_end(s->chat, id) != 0;
        if (stats->ended) break;
        size_t n = 0;
        const char *bytes = tq_tokenizer_is_special(s->tokenizer, id) ? NULL : tq_tokenizer_bytes(s->tokenizer, id, &n);
        int rc = bytes ? put_bytes(out, bytes, n, false, err) : TQ_OK;
        if (rc != TQ_OK) return rc;
        stats->tokens++;
        if (out->stopped || stats->tokens == limit) break;
        rc = feed(s, q, &id, 1, NULL, err);
        if (rc != TQ_OK) return rc;
    }
    return put_bytes(out, NULL, 0, true, err);
}

static int answer(tq_session *s, const int *ids, size_t n, const tq_chat_options *o, const tq_progress *p,
                  text_out *out, tq_chat_stats *stats, tq_err *err) {
    tq_variant q = o->base ? NULL : s->q;
    size_t context = tq_model_config(s->model)->context, limit = o->max_tokens ? o->max_tokens : DEFAULT_TOKENS;
    if (!n) return tq_fail(err, "nothing was said");
    if (context && n >= context)
        return tq_fail(err, "the conversation has %zu tokens, the model takes at most %zu", n, context);
    if (context && limit > context - n) limit = context - n;
    int rc = prepare_cache(s, n + limit, err);
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
    text_out out = {.piece = piece, .ctx = ctx};
    int *ids = NULL;
    size_t count = 0;
    if (!stats) stats = &own;
    *stats = (tq_chat_stats){0};
    if (text) *text = NULL;
    if (!s->chat) return tq_fail(err, "%s: no tokenizer.json: no chat", tq_source_path(s->source));
    int rc = o->base ? TQ_OK : tq_session_apply(s, NULL, NULL, NULL, err);
    if (rc == TQ_OK) rc = tq_chat_encode(s->chat, messages, n, &ids, &count, err);
    if (rc == TQ_OK) rc = answer(s, ids, count, o, p, &out, stats, err);
    if (rc != TQ_FAIL && text && !out.text && !append_text(&out, "", 0)) rc = tq_fail(err, "out of memory");
    if (rc != TQ_FAIL && text) {
        *text = out.text;
        out.text = NULL;
    }
    free(out.text);
    free(ids);
    return rc;
}
