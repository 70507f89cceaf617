/* tokenizer_vocab.c - vocabulary, merges and added tokens of tokenizer.json. */
#include <stdlib.h>
#include <string.h>

#include "model/source_internal.h"
#include "model/tokenizer_internal.h"

static size_t count(const cJSON *list) {
    size_t n = 0;
    for (const cJSON *m = list->child; m; m = m->next)
        n++;
    return n;
}

/* GPT-2's alphabet: printable Latin-1 stands for itself, the other bytes for U+0100 and up, in order. */
static unsigned byte_point(unsigned char b) {
    if ((b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b != 0xAD)) return b;
    if (b <= 0x20) return 0x100u + b;
    return b == 0xAD ? 0x143u : 0x121u + (b - 0x7Fu);
}

size_t tq_byte_symbol(unsigned char b, char out[2]) {
    unsigned c = byte_point(b);
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    out[0] = (char)(0xC0 | c >> 6);
    out[1] = (char)(0x80 | (c & 0x3F));
    return 2;
}

/* The byte of a symbol of the alphabet, or -1. */
static int symbol_byte(const char *p, size_t n) {
    unsigned c = (unsigned char)p[0];
    if (n == 2) c = (c & 0x1F) << 6 | ((unsigned char)p[1] & 0x3F);
    if (n > 2) return -1;
    if (c >= 0x100 && c <= 0x120) return (int)(c - 0x100);
    if (c >= 0x121 && c <= 0x142) return (int)(c - 0x121 + 0x7F);
    if (c == 0x143) return 0xAD;
    return c <= 0xFF && byte_point((unsigned char)c) == c ? (int)c : -1;
}

static size_t byte_level_bytes(const char *text, size_t n, char *out) {
    size_t k = 0;
    for (size_t i = 0, len; i < n; i += len) {
        len = tq_utf8_length(text + i);
        int b = symbol_byte(text + i, len);
        if (b < 0) { /* not of the alphabet: it stands for itself */
            memcpy(out, text, n);
            return n;
        }
        out[k++] = (char)b;
    }
    return k;
}

/* <0xXX>, or -1. */
static int fallback_byte(const char *text, size_t n) {
    static const char digits[] = "0123456789ABCDEF";
    if (n != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>') return -1;
    const char *hi = strchr(digits, text[3]);
    const char *lo = strchr(digits, text[4]);
    return hi && lo && text[3] && text[4] ? (int)((hi - digits) << 4 | (lo - digits)) : -1;
}

static size_t fallback_bytes(const char *text, size_t n, char *out) {
    int b = fallback_byte(text, n);
    size_t k = 0;
    if (b >= 0) {
        out[0] = (char)b;
        return 1;
    }
    for (size_t i = 0; i < n; i++) {
        bool space = n - i >= 3 && memcmp(text + i, "\xE2\x96\x81", 3) == 0;
        out[k++] = space ? ' ' : text[i];
        if (space) i += 2;
    }
    return k;
}

static int *find_slot(const tq_tokenizer *t, const char *text, size_t n) {
    size_t i = tq_hash_bytes(TQ_HASH_SEED, text, n) & (t->n_slots - 1);
    while (t->slots[i] >= 0) {
        const tq_token *k = &t->tokens[t->slots[i]];
        if (k->n_text == n && memcmp(k->text, text, n) == 0) break;
        i = (i + 1) & (t->n_slots - 1);
    }
    return &t->slots[i];
}

int tq_token_find(const tq_tokenizer *t, const char *text, size_t n) {
    return *find_slot(t, text, n);
}

/* Text and bytes in one piece of memory. */
static int add_token(const char *file, tq_tokenizer *t, const char *text, size_t id, bool added, tq_err *err) {
    size_t n = strlen(text);
    int *slot = find_slot(t, text, n);
    tq_token *k = &t->tokens[id];
    if (*slot >= 0) return tq_fail(err, "%s: token \"%s\" stands twice in the vocabulary", file, text);
    if (k->text) return tq_fail(err, "%s: tokens \"%s\" and \"%s\" have the same id %zu", file, k->text, text, id);
    k->text = malloc(2 * n + 2);
    if (!k->text) return tq_fail(err, "%s: out of memory", file);
    memcpy(k->text, text, n + 1);
    k->bytes = k->text + n + 1;
    k->n_text = n;
    k->added = added;
    if (added) {
        memcpy(k->bytes, text, n);
        k->n_bytes = n;
    } else {
        k->n_bytes = t->bpe.byte_level ? byte_level_bytes(text, n, k->bytes) : fallback_bytes(text, n, k->bytes);
    }
    if (n > t->longest) t->longest = n;
    *slot = (int)id;
    return TQ_OK;
}

static int check_id(const char *file, const cJSON *item, const char *text, size_t *id, tq_err *err) {
    if (tq_json_size(item, id) && *id < TQ_MAX_TOKEN_ID) return TQ_OK;
    return tq_fail(err, "%s: token \"%s\" has no valid id (0 to %zu)", file, text, TQ_MAX_TOKEN_ID - 1);
}

/* Tables large enough for every id that the file has. */
static int size_tables(const char *file, const cJSON *vocab, const cJSON *added, tq_tokenizer *t, tq_err *err) {
    size_t entries = count(vocab) + (added ? count(added) : 0);
    size_t id;
    size_t highest = 0;
    for (const cJSON *m = vocab->child; m; m = m->next) {
        if (check_id(file, m, m->string, &id, err)) return TQ_FAIL;
        if (id > highest) highest = id;
    }
    for (const cJSON *m = added ? added->child : NULL; m; m = m->next) {
        const char *text = tq_json_text(m, "content");
        if (!text || !*text) return tq_fail(err, "%s: an added token without content", file);
        if (check_id(file, tq_json_get(m, "id"), text, &id, err)) return TQ_FAIL;
        if (id > highest) highest = id;
    }
    t->n_slots = 16;
    while (t->n_slots < 2 * entries)
        t->n_slots *= 2;
    t->n_tokens = highest + 1;
    t->tokens = calloc(t->n_tokens, sizeof *t->tokens);
    t->slots = malloc(t->n_slots * sizeof *t->slots);
    if (!t->tokens || !t->slots) return tq_fail(err, "%s: out of memory", file);
    for (size_t i = 0; i < t->n_slots; i++)
        t->slots[i] = -1;
    return TQ_OK;
}

/* A merge's two texts: ["a", "b"], or "a b" with exactly one space. left is a copy. */
static int merge_texts(const char *file, const cJSON *m, size_t rank, char **left, const char **right, tq_err *err) {
    const char *a = NULL;
    size_t n = 0;
    *left = NULL;
    if (cJSON_IsString(m)) {
        a = m->valuestring;
        const char *space = strchr(a, ' ');
        if (space && !strchr(space + 1, ' ')) {
            n = (size_t)(space - a);
            *right = space + 1;
        }
    } else if (cJSON_IsArray(m) && cJSON_GetArraySize(m) == 2) {
        a = cJSON_GetStringValue(m->child);
        *right = cJSON_GetStringValue(m->child->next);
        n = a && *right ? strlen(a) : 0;
    }
    if (n == 0 || !**right) {
        tq_fail(err, "%s: merge %zu is not a pair of tokens", file, rank);
        return TQ_FAIL;
    }
    *left = strndup(a, n);
    if (*left) return TQ_OK;
    tq_fail(err, "%s: out of memory", file);
    return TQ_FAIL;
}

static int add_merge(const char *file, tq_tokenizer *t, const cJSON *m, size_t rank, tq_buffer *joined, tq_err *err) {
    char *left = NULL;
    const char *right = NULL;
    if (merge_texts(file, m, rank, &left, &right, err)) return TQ_FAIL;
    size_t a = strlen(left);
    size_t b = strlen(right);
    int rc = TQ_OK;
    joined->n = 0;
    int left_id = tq_token_find(t, left, a);
    int right_id = tq_token_find(t, right, b);
    if (!tq_buffer_add(joined, left, a) || !tq_buffer_add(joined, right, b + 1)) {
        rc = tq_fail(err, "%s: out of memory", file);
    } else if (left_id < 0 || right_id < 0) {
        rc = tq_fail(err, "%s: merge %zu: \"%s\" is not in the vocabulary", file, rank, left_id < 0 ? left : right);
    } else {
        int id = tq_token_find(t, joined->data, a + b);
        if (id < 0)
            rc = tq_fail(err, "%s: merge %zu: \"%s\" is not in the vocabulary", file, rank, joined->data);
        else
            tq_bpe_add(&t->bpe, left_id, right_id, (int)rank, id);
    }
    free(left);
    return rc;
}

static int read_merges(const char *file, const cJSON *model, tq_tokenizer *t, tq_err *err) {
    const cJSON *merges = tq_json_get(model, "merges");
    const cJSON *scores = tq_json_get(model, "scores");
    if (scores) return tq_tokenizer_read_scores(file, scores, t, err);
    tq_buffer joined = {0};
    size_t rank = 0;
    if (!merges || !cJSON_IsArray(merges)) return tq_fail(err, "%s: the model has no merges", file);
    int rc = tq_bpe_reserve(&t->bpe, count(merges), err);
    for (const cJSON *m = merges->child; m && !rc; m = m->next)
        rc = add_merge(file, t, m, rank++, &joined, err);
    free(joined.data);
    return rc;
}

static bool is_off(const cJSON *model, const char *key) {
    const cJSON *m = tq_json_get(model, key);
    return !m || cJSON_IsFalse(m) || (cJSON_IsNumber(m) && m->valuedouble == 0) ||
           (cJSON_IsString(m) && !m->valuestring[0]);
}

static int read_options(const char *file, const cJSON *model, tq_tokenizer *t, tq_err *err) {
    static const char *const unsupported[] = {"dropout", "continuing_subword_prefix", "end_of_word_suffix"};
    for (size_t i = 0; i < sizeof unsupported / sizeof *unsupported; i++)
        if (!is_off(model, unsupported[i]))
            return tq_fail(err, "%s: the model's %s is not supported", file, unsupported[i]);
    t->bpe.fuse_unk = cJSON_IsTrue(tq_json_get(model, "fuse_unk"));
    t->bpe.ignore_merges = cJSON_IsTrue(tq_json_get(model, "ignore_merges"));
    t->bpe.unk = -1;
    const char *unk = tq_json_text(model, "unk_token");
    if (!unk) return TQ_OK;
    t->bpe.unk = tq_token_find(t, unk, strlen(unk));
    return t->bpe.unk >= 0 ? TQ_OK : tq_fail(err, "%s: the unk_token \"%s\" is not in the vocabulary", file, unk);
}

/* Which token stands for each byte. */
static void find_bytes(tq_tokenizer *t) {
    for (int b = 0; b < 256; b++) {
        char text[8] = "<0x00>";
        size_t n = 6;
        if (t->bpe.byte_level) {
            n = tq_byte_symbol((unsigned char)b, text);
        } else {
            text[3] = "0123456789ABCDEF"[b >> 4];
            text[4] = "0123456789ABCDEF"[b & 15];
        }
        t->bpe.byte_id[b] = tq_token_find(t, text, n);
    }
}

/* What is looked for in the text: the content, or what the normalizer makes of it. */
static int add_to_set(const char *file, tq_tokenizer *t, const cJSON *json, const char *text, int id, tq_err *err) {
    tq_added a = {.id = id};
    tq_buffer normal = {0};
    a.lstrip = cJSON_IsTrue(tq_json_get(json, "lstrip"));
    a.rstrip = cJSON_IsTrue(tq_json_get(json, "rstrip"));
    a.single_word = cJSON_IsTrue(tq_json_get(json, "single_word"));
    a.normalized = cJSON_IsTrue(tq_json_get(json, "normalized"));
    a.always = !a.normalized && cJSON_IsTrue(tq_json_get(json, "always"));
    tq_added_set *set = &t->added[a.normalized];
    if (tq_normalize(t->normal, a.normalized ? t->n_normal : 0, text, strlen(text), &normal, err) ||
        !tq_buffer_add(&normal, "", 1)) {
        free(normal.data);
        return tq_fail(err, "%s: cannot normalize the added token \"%s\"", file, text);
    }
    a.text = normal.data;
    a.n = normal.n - 1;
    set->tokens[set->n++] = a; /* there is room for all */
    return a.n > 0 ? TQ_OK : tq_fail(err, "%s: the added token \"%s\" normalizes to nothing", file, text);
}

static int read_added(const char *file, const cJSON *added, tq_tokenizer *t, tq_err *err) {
    size_t n = added ? count(added) : 0;
    for (int i = 0; i < 2; i++) {
        t->added[i].tokens = calloc(n + 1, sizeof *t->added[i].tokens);
        if (!t->added[i].tokens) return tq_fail(err, "%s: out of memory", file);
    }
    for (const cJSON *m = added ? added->child : NULL; m; m = m->next) {
        const char *text = tq_json_text(m, "content"); /* checked by size_tables */
        size_t id = (size_t)tq_json_get(m, "id")->valuedouble;
        int known = tq_token_find(t, text, strlen(text));
        if (known >= 0 && ((size_t)known != id || t->tokens[id].added))
            return tq_fail(err, "%s: added token \"%s\" has the ids %d and %zu", file, text, known, id);
        if (known < 0 && add_token(file, t, text, id, true, err)) return TQ_FAIL;
        tq_token *k = &t->tokens[id];
        k->added = true;
        k->special = cJSON_IsTrue(tq_json_get(m, "special"));
        memcpy(k->bytes, k->text, k->n_text); /* an added token stands for its content */
        k->n_bytes = k->n_text;
        if (add_to_set(file, t, m, text, (int)id, err)) return TQ_FAIL;
    }
    if (tq_added_finish(file, &t->added[0], err) || tq_added_finish(file, &t->added[1], err)) return TQ_FAIL;
    t->always.tokens = calloc(t->added[0].n + 1, sizeof *t->always.tokens);
    if (!t->always.tokens) return tq_fail(err, "%s: out of memory", file);
    for (size_t i = 0; i < t->added[0].n; i++)
        if (t->added[0].tokens[i].always) t->always.tokens[t->always.n++] = t->added[0].tokens[i];
    return tq_added_finish(file, &t->always, err);
}

int tq_tokenizer_read_vocab(const char *file, const cJSON *root, tq_tokenizer *t, tq_err *err) {
    const cJSON *model = tq_json_get(root, "model");
    const cJSON *added = tq_json_get(root, "added_tokens");
    const cJSON *vocab = model ? tq_json_get(model, "vocab") : NULL;
    const char *type = model ? tq_json_text(model, "type") : NULL;
    if (type && strcmp(type, "BPE") != 0)
        return tq_fail(err, "%s: model type %s is not supported, only BPE", file, type);
    if (!vocab || !cJSON_IsObject(vocab) || !vocab->child) return tq_fail(err, "%s: the model has no vocabulary", file);
    if (added && !cJSON_IsArray(added)) return tq_fail(err, "%s: added_tokens is no list", file);
    if (size_tables(file, vocab, added, t, err)) return TQ_FAIL;
    for (const cJSON *m = vocab->child; m; m = m->next)
        if (add_token(file, t, m->string, (size_t)m->valuedouble, false, err)) return TQ_FAIL;
    if (read_options(file, model, t, err) || read_merges(file, model, t, err)) return TQ_FAIL;
    find_bytes(t);
    return read_added(file, added, t, err);
}
