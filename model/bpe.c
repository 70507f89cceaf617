/* bpe.c - byte pair encoding of one piece of text: the pair of the lowest rank is merged first, the leftmost of equals.
 * A heap of pairs over a linked list of symbols: n log n, so that a long piece without spaces is no trap. */
#include <stdlib.h>
#include <string.h>

#include "model/tokenizer_internal.h"

typedef struct symbol {
    int id;         /* -1: merged into the one before */
    int prev, next; /* -1: none */
} symbol;

typedef struct candidate {
    int rank, at; /* ordered by both */
    int id;       /* of the two together, when still so */
} candidate;

struct tq_bpe_work {
    symbol *symbols;
    size_t n, capacity;
    candidate *heap;
    size_t n_heap, heap_capacity;
    tq_buffer text;
};

bool tq_ids_add(tq_ids *v, int id) {
    if (v->n == v->capacity) {
        size_t capacity = v->capacity ? 2 * v->capacity : 64;
        int *grown = realloc(v->data, capacity * sizeof *grown);
        if (!grown) return false;
        v->data = grown;
        v->capacity = capacity;
    }
    v->data[v->n++] = id;
    return true;
}

tq_bpe_work *tq_bpe_work_new(void) {
    return calloc(1, sizeof(tq_bpe_work));
}

void tq_bpe_work_free(tq_bpe_work *w) {
    if (!w) return;
    free(w->symbols);
    free(w->heap);
    free(w->text.data);
    free(w);
}

/* The finalizer of MurmurHash3: ids are small and dense, their bits must be spread. */
static size_t pair_hash(uint64_t pair) {
    pair = (pair ^ pair >> 33) * 0xff51afd7ed558ccdu;
    pair = (pair ^ pair >> 33) * 0xc4ceb9fe1a85ec53u;
    return (size_t)(pair ^ pair >> 33);
}

static tq_merge *find_merge(const tq_bpe *b, int left, int right) {
    uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    size_t i = pair_hash(pair) & (b->n_slots - 1);
    while (b->merges[i].rank >= 0 && b->merges[i].pair != pair)
        i = (i + 1) & (b->n_slots - 1);
    return &b->merges[i];
}

int tq_bpe_reserve(tq_bpe *b, size_t merges, tq_err *err) {
    size_t slots = 16;
    while (slots < 2 * merges)
        slots *= 2;
    b->merges = malloc(slots * sizeof *b->merges);
    if (!b->merges) return tq_fail(err, "out of memory for %zu merges", merges);
    for (size_t i = 0; i < slots; i++)
        b->merges[i] = (tq_merge){.rank = -1};
    b->n_slots = slots;
    return TQ_OK;
}

void tq_bpe_add(tq_bpe *b, int left, int right, int rank, int id) {
    *find_merge(b, left, right) = (tq_merge){(uint64_t)(uint32_t)left << 32 | (uint32_t)right, rank, id};
}

static bool add_symbol(tq_bpe_work *w, int id) {
    if (w->n == w->capacity) {
        size_t capacity = w->capacity ? 2 * w->capacity : 64;
        symbol *grown = realloc(w->symbols, capacity * sizeof *grown);
        if (!grown) return false;
        w->symbols = grown;
        w->capacity = capacity;
    }
    w->symbols[w->n] = (symbol){id, (int)w->n - 1, (int)w->n + 1};
    w->n++;
    return true;
}

/* What is not in the vocabulary: the unknown token, once for a run when fused, or nothing. */
static bool add_unknown(const tq_bpe *b, tq_bpe_work *w, bool *run) {
    bool skip = b->unk < 0 || (b->fuse_unk && *run);
    *run = true;
    return skip || add_symbol(w, b->unk);
}

static bool add_bytes(const tq_bpe *b, tq_bpe_work *w, const char *p, size_t n, bool *run) {
    for (size_t i = 0; i < n; i++)
        if (b->byte_id[(unsigned char)p[i]] < 0) return add_unknown(b, w, run);
    *run = false;
    for (size_t i = 0; i < n; i++)
        if (!add_symbol(w, b->byte_id[(unsigned char)p[i]])) return false;
    return true;
}

/* The symbols to begin with: bytes, or characters that fall back to their bytes. */
static bool first_symbols(const tq_tokenizer *t, tq_bpe_work *w, const char *piece, size_t n) {
    bool run = false;
    w->n = 0;
    for (size_t i = 0, len; i < n; i += len) {
        len = t->bpe.byte_level ? 1 : tq_utf8_length(piece + i);
        int id = t->bpe.byte_level ? -1 : tq_token_find(t, piece + i, len);
        if (id >= 0) run = false;
        if (!(id >= 0 ? add_symbol(w, id) : add_bytes(&t->bpe, w, piece + i, len, &run))) return false;
    }
    if (w->n > 0) w->symbols[w->n - 1].next = -1;
    return true;
}

static bool before(const candidate *a, const candidate *b) {
    return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

static bool push(const tq_bpe *b, tq_bpe_work *w, int at) {
    if (at < 0 || w->symbols[at].next < 0) return true;
    const tq_merge *m = find_merge(b, w->symbols[at].id, w->symbols[w->symbols[at].next].id);
    if (m->rank < 0) return true;
    if (w->n_heap == w->heap_capacity) {
        size_t capacity = w->heap_capacity ? 2 * w->heap_capacity : 64;
        candidate *grown = realloc(w->heap, capacity * sizeof *grown);
        if (!grown) return false;
        w->heap = grown;
        w->heap_capacity = capacity;
    }
    candidate c = {m->rank, at, m->id};
    size_t i = w->n_heap++;
    while (i > 0 && before(&c, &w->heap[(i - 1) / 2])) {
        w->heap[i] = w->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    w->heap[i] = c;
    return true;
}

static candidate pop(tq_bpe_work *w) {
    candidate top = w->heap[0];
    candidate last = w->heap[--w->n_heap];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < w->n_heap; i = child) {
        if (child + 1 < w->n_heap && before(&w->heap[child + 1], &w->heap[child])) child++;
        if (!before(&w->heap[child], &last)) break;
        w->heap[i] = w->heap[child];
    }
    w->heap[i] = last;
    return top;
}

static bool merge_all(const tq_bpe *b, tq_bpe_work *w) {
    w->n_heap = 0;
    for (size_t i = 0; i + 1 < w->n; i++)
        if (!push(b, w, (int)i)) return false;
    while (w->n_heap > 0) {
        candidate c = pop(w);
        symbol *s = &w->symbols[c.at];
        if (s->id < 0 || s->next < 0) continue; /* merged since */
        symbol *right = &w->symbols[s->next];
        const tq_merge *m = find_merge(b, s->id, right->id);
        if (m->rank < 0 || m->id != c.id) continue; /* another pair by now */
        s->id = m->id;
        s->next = right->next;
        right->id = -1;
        if (s->next >= 0) w->symbols[s->next].prev = c.at;
        if (!push(b, w, s->prev) || !push(b, w, c.at)) return false;
    }
    return true;
}

/* The whole piece as one token of the vocabulary, or -1. */
static int whole(const tq_tokenizer *t, tq_bpe_work *w, const char *piece, size_t n) {
    if (n > t->longest) return -1;
    if (!t->bpe.byte_level) return tq_token_find(t, piece, n);
    w->text.n = 0;
    for (size_t i = 0; i < n; i++) {
        char symbol_text[2];
        size_t len = tq_byte_symbol((unsigned char)piece[i], symbol_text);
        if (!tq_buffer_add(&w->text, symbol_text, len)) return -1;
    }
    return tq_token_find(t, w->text.data, w->text.n);
}

int tq_bpe_encode(const tq_tokenizer *t, tq_bpe_work *w, const char *piece, size_t n, tq_ids *ids, tq_err *err) {
    int id = t->bpe.ignore_merges ? whole(t, w, piece, n) : -1;
    bool ok = true;
    if (id >= 0) {
        ok = tq_ids_add(ids, id);
    } else {
        ok = first_symbols(t, w, piece, n) && merge_all(&t->bpe, w);
        for (int i = w->n > 0 ? 0 : -1; ok && i >= 0; i = w->symbols[i].next)
            ok = tq_ids_add(ids, w->symbols[i].id);
    }
    return ok ? TQ_OK : tq_fail(err, "out of memory encoding %zu bytes of text", n);
}
