/* tokenizer_scores.c - merges out of scores. A merge that makes a token has the rank of the token's score, whichever
 * two tokens it joins: of equals the leftmost is joined first, as SentencePiece does. */
#include <stdlib.h>
#include <string.h>

#include "model/tokenizer_internal.h"

typedef struct scored {
    double score;
    int id;
} scored;

typedef struct pairs {
    tq_merge *data; /* pair, rank, id */
    size_t n, capacity;
} pairs;

static int by_score(const void *a, const void *b) {
    const scored *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

static bool add_pair(pairs *p, int left, int right, int rank, int id) {
    if (p->n == p->capacity) {
        size_t capacity = p->capacity ? 2 * p->capacity : 1024;
        tq_merge *grown = realloc(p->data, capacity * sizeof *grown);
        if (!grown) return false;
        p->data = grown;
        p->capacity = capacity;
    }
    p->data[p->n++] = (tq_merge){(uint64_t)(uint32_t)left << 32 | (uint32_t)right, rank, id};
    return true;
}

/* All ways to cut a token between characters into two that merges may join. mergeable: [n_tokens]. */
static bool add_cuts(const tq_tokenizer *t, const bool *mergeable, int id, int rank, pairs *p) {
    const tq_token *k = &t->tokens[id];
    for (size_t cut = tq_utf8_length(k->text); cut < k->n_text; cut += tq_utf8_length(k->text + cut)) {
        int left = tq_token_find(t, k->text, cut);
        int right = left >= 0 && mergeable[left] ? tq_token_find(t, k->text + cut, k->n_text - cut) : -1;
        if (right >= 0 && mergeable[right] && !add_pair(p, left, right, rank, id)) return false;
    }
    return true;
}

static int add_all(const char *file, const scored *list, size_t n, const bool *mergeable, tq_tokenizer *t,
                   tq_err *err) {
    pairs p = {0};
    bool ok = true;
    int rank = 0, rc = TQ_OK;
    for (size_t i = 0; i < n && ok; i++) {
        if (i > 0 && list[i].score != list[i - 1].score) rank++;
        ok = add_cuts(t, mergeable, list[i].id, rank, &p);
    }
    if (!ok) rc = tq_fail(err, "%s: out of memory for the merges", file);
    if (!rc) rc = tq_bpe_reserve(&t->bpe, p.n, err);
    for (size_t i = 0; i < p.n && !rc; i++)
        tq_bpe_add(&t->bpe, (int)(p.data[i].pair >> 32), (int)(p.data[i].pair & 0xFFFFFFFFu), p.data[i].rank,
                   p.data[i].id);
    free(p.data);
    return rc;
}

/* The scores of tokens that merges make: list: [n_tokens], *n of them. */
static int list_scores(const char *file, const cJSON *scores, const tq_tokenizer *t, scored *list, bool *mergeable,
                       size_t *n, tq_err *err) {
    size_t id = 0;
    for (const cJSON *m = cJSON_IsArray(scores) ? scores->child : NULL; m; m = m->next, id++) {
        if (id >= t->n_tokens || !(cJSON_IsNull(m) || cJSON_IsNumber(m)))
            return tq_fail(err, "%s: expected a score for each of %zu tokens", file, t->n_tokens);
        if (!cJSON_IsNumber(m) || !t->tokens[id].text) continue;
        mergeable[id] = true;
        list[(*n)++] = (scored){m->valuedouble, (int)id};
    }
    return id == t->n_tokens ? TQ_OK : tq_fail(err, "%s: %zu scores for %zu tokens", file, id, t->n_tokens);
}

int tq_tokenizer_read_scores(const char *file, const cJSON *scores, tq_tokenizer *t, tq_err *err) {
    scored *list = calloc(t->n_tokens + 1, sizeof *list);
    bool *mergeable = calloc(t->n_tokens + 1, sizeof *mergeable);
    size_t n = 0;
    int rc = TQ_FAIL;
    if (!list || !mergeable)
        tq_fail(err, "%s: out of memory for the scores", file);
    else if (list_scores(file, scores, t, list, mergeable, &n, err) == TQ_OK) {
        qsort(list, n, sizeof *list, by_score);
        rc = add_all(file, list, n, mergeable, t, err);
    }
    free(mergeable);
    free(list);
    return rc;
}

static int by_rank(const void *a, const void *b) {
    const tq_merge *x = a, *y = b;
    if (x->rank != y->rank) return (x->rank > y->rank) - (x->rank < y->rank);
    return (x->pair > y->pair) - (x->pair < y->pair);
}

static bool add_text(cJSON *pair, const tq_token *k) {
    return cJSON_AddItemToArray(pair, cJSON_CreateString(k->text));
}

/* All merges that a tokenizer has, in the order of their ranks. */
static int list_merges(const tq_tokenizer *t, cJSON *list, tq_err *err) {
    tq_merge *all = malloc((t->bpe.n_slots + 1) * sizeof *all);
    size_t n = 0;
    bool ok = all != NULL;
    for (size_t i = 0; ok && i < t->bpe.n_slots; i++)
        if (t->bpe.merges[i].rank >= 0) all[n++] = t->bpe.merges[i];
    if (ok) qsort(all, n, sizeof *all, by_rank);
    for (size_t i = 0; ok && i < n; i++) {
        cJSON *pair = cJSON_CreateArray();
        ok = pair && cJSON_AddItemToArray(list, pair) && add_text(pair, &t->tokens[all[i].pair >> 32]) &&
             add_text(pair, &t->tokens[all[i].pair & 0xFFFFFFFFu]);
    }
    free(all);
    return ok ? TQ_OK : tq_fail(err, "out of memory for the merges");
}

int tq_tokenizer_merges_of_scores(cJSON *root, tq_err *err) {
    cJSON *model = cJSON_GetObjectItemCaseSensitive(root, "model"), *list;
    if (!model || !cJSON_GetObjectItemCaseSensitive(model, "scores")) return TQ_OK;
    tq_tokenizer *t = calloc(1, sizeof *t);
    if (!t) return tq_fail(err, "out of memory");
    int rc = tq_tokenizer_read_steps("tokenizer.json", root, t, err);
    if (!rc) rc = tq_tokenizer_read_vocab("tokenizer.json", root, t, err);
    if (!rc && !(list = cJSON_AddArrayToObject(model, "merges"))) rc = tq_fail(err, "out of memory for the merges");
    if (!rc) rc = list_merges(t, list, err);
    if (!rc) cJSON_DeleteItemFromObjectCaseSensitive(model, "scores");
    tq_tokenizer_free(t);
    return rc;
}
