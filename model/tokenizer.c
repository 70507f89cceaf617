/* tokenizer.c - text to ids and back. */
#include "model/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "model/docs.h"
#include "model/tokenizer_internal.h"

#define MAX_FILE ((size_t)200 << 20)
#define MAX_VALUES ((size_t)4000000)

static void set_free(tq_added_set *s) {
    for (size_t i = 0; i < s->n; i++)
        free(s->tokens[i].text);
    free(s->tokens);
}

void tq_tokenizer_free(tq_tokenizer *t) {
    if (!t) return;
    for (size_t i = 0; t->tokens && i < t->n_tokens; i++)
        free(t->tokens[i].text);
    for (size_t i = 0; i < t->n_normal; i++) {
        free(t->normal[i].from);
        free(t->normal[i].to);
    }
    for (size_t i = 0; i < t->n_split; i++)
        pcre2_code_free(t->split[i].code);
    set_free(&t->added[0]);
    set_free(&t->added[1]);
    free(t->always.tokens);
    free(t->bpe.merges);
    free(t->slots);
    free(t->tokens);
    free(t);
}

/* Some files leave the first token to tokenizer_config.json: add_bos_token and bos_token. */
static int read_bos(const char *file, const cJSON *root, tq_tokenizer *t, tq_err *err) {
    if (!cJSON_IsTrue(tq_json_get(root, "add_bos_token")) || t->n_before > 0) return TQ_OK;
    const cJSON *bos = tq_json_get(root, "bos_token");
    const char *text = cJSON_IsObject(bos) ? tq_json_text(bos, "content") : cJSON_GetStringValue(bos);
    int id = text ? tq_tokenizer_id(t, text) : -1;
    if (id < 0) return tq_fail(err, "%s: add_bos_token is set, but bos_token is not in the vocabulary", file);
    t->before[t->n_before++] = id;
    return TQ_OK;
}

static int read_config(const tq_docs *docs, tq_tokenizer *t, tq_err *err) {
    static const char name[] = "tokenizer_config.json";
    char *path = tq_docs_path(docs, name);
    if (!path) return tq_fail(err, "%s: out of memory", name);
    int rc = TQ_OK;
    if (tq_docs_has(docs, name)) {
        cJSON *root = tq_docs_load(docs, name, MAX_FILE, MAX_VALUES, err);
        rc = root ? read_bos(path, root, t, err) : TQ_FAIL;
        cJSON_Delete(root);
    }
    free(path);
    return rc;
}

static int read_tokenizer(const tq_docs *docs, tq_tokenizer *t, tq_err *err) {
    static const char name[] = "tokenizer.json";
    char *path = tq_docs_path(docs, name);
    if (!path) return tq_fail(err, "%s: out of memory", name);
    cJSON *root = tq_docs_load(docs, name, MAX_FILE, MAX_VALUES, err);
    int rc = root ? tq_tokenizer_read_steps(path, root, t, err) : TQ_FAIL;
    if (!rc) rc = tq_tokenizer_read_vocab(path, root, t, err);
    if (!rc) rc = tq_tokenizer_read_template(path, root, t, err);
    cJSON_Delete(root);
    free(path);
    return rc;
}

static int load(const tq_docs *docs, tq_tokenizer **out, tq_err *err) {
    *out = NULL;
    tq_tokenizer *t = calloc(1, sizeof *t);
    if (!t) return tq_fail(err, "out of memory for a tokenizer");
    int rc = read_tokenizer(docs, t, err);
    if (!rc) rc = read_config(docs, t, err);
    if (rc) {
        tq_tokenizer_free(t);
        return rc;
    }
    *out = t;
    return TQ_OK;
}

int tq_tokenizer_load(const char *dir, tq_tokenizer **out, tq_err *err) {
    tq_docs docs = tq_docs_in(dir);
    return load(&docs, out, err);
}

int tq_tokenizer_of(const tq_source *source, tq_tokenizer **out, tq_err *err) {
    tq_docs docs = tq_docs_of(source);
    *out = NULL;
    return tq_docs_has(&docs, "tokenizer.json") ? load(&docs, out, err) : TQ_OK;
}

/* One encoding: working memory, so that the tokenizer itself stays const. */
typedef struct encoder {
    const tq_tokenizer *t;
    tq_splitter *splitter;
    tq_bpe_work *work;
    tq_buffer normal;
    tq_ids ids;
    bool special, first;
    const char *text;           /* all of it, */
    const unsigned char *typed; /* and what of it was typed; NULL: that is not known */
    tq_err *err;
} encoder;

static int encode_plain(encoder *e, const char *text, size_t n) {
    const tq_spans *pieces = NULL;
    if (n == 0) return TQ_OK;
    if (tq_split(e->splitter, e->t->split, e->t->n_split, text, n, e->first, &pieces, e->err)) return TQ_FAIL;
    e->first = false;
    for (size_t i = 0; i < pieces->n; i++)
        if (tq_bpe_encode(e->t, e->work, pieces->data[i].p, pieces->data[i].n, &e->ids, e->err)) return TQ_FAIL;
    return TQ_OK;
}

/* Did somebody type any byte of this token, which lies somewhere in the n bytes at p of e->text? */
static bool is_typed(const encoder *e, const tq_added *a, const char *p, size_t n) {
    const char *at = e->typed ? memmem(p, n, a->text, a->n) : NULL;
    return at && memchr(e->typed + (at - e->text), 1, a->n);
}

/* Cuts text at the added tokens of a set; what lies between goes to `between`. A set may be empty. */
static int cut(encoder *e, const tq_added_set *set, const char *text, size_t n,
               int (*between)(encoder *e, const char *text, size_t n)) {
    size_t last = 0;
    size_t scan = 0;
    size_t begin;
    size_t end;
    const tq_added *a;
    while ((a = tq_added_next(set, text, n, last, &scan, &begin, &end))) {
        if (!a->always && is_typed(e, a, text + begin, end - begin)) {
            scan = begin + 1; /* another may begin within it */
            continue;
        }
        if (between(e, text + last, begin - last)) return TQ_FAIL;
        if (!tq_ids_add(&e->ids, a->id)) return tq_fail(e->err, "out of memory encoding %zu bytes of text", n);
        e->first = false;
        last = end;
    }
    return between(e, text + last, n - last);
}

static int encode_normalized(encoder *e, const char *text, size_t n) {
    if (n == 0) return TQ_OK;
    if (tq_normalize(e->t->normal, e->t->n_normal, text, n, &e->normal, e->err)) return TQ_FAIL;
    static const tq_added_set none = {0};
    return cut(e, e->special ? &e->t->added[1] : &none, e->normal.data, e->normal.n, encode_plain);
}

static bool add_all(tq_ids *v, const int *ids, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!tq_ids_add(v, ids[i])) return false;
    return true;
}

/* Where it matters what was typed, tokens that are looked for after normalization are looked for before it. */
static int encode_marked(encoder *e, const char *text, size_t n) {
    return cut(e, &e->t->added[1], text, n, encode_normalized);
}

/* Appends to ids, which stays as it is on failure but for its contents. */
static int encode(const tq_tokenizer *t, const char *text, const unsigned char *typed, size_t n, bool special,
                  bool first, tq_ids *ids, tq_err *err) {
    encoder e = {
        .t = t, .special = special && !typed, .first = first, .err = err, .ids = *ids, .text = text, .typed = typed};
    tq_buffer lossy = {0};
    int rc = TQ_FAIL;
    if (n > TQ_MAX_TEXT) return tq_fail(err, "%zu bytes of text at once; at most %zu", n, TQ_MAX_TEXT);
    e.splitter = tq_splitter_new();
    e.work = tq_bpe_work_new();
    bool ok = e.splitter && e.work;
    if (ok && !typed && !tq_utf8_valid(text, n)) {
        ok = tq_utf8_lossy(text, n, &lossy);
        text = lossy.data;
        n = lossy.n;
    }
    if (ok)
        rc = cut(&e, special ? &t->added[0] : &t->always, text, n, typed ? encode_marked : encode_normalized);
    else
        tq_fail(err, "out of memory encoding %zu bytes of text", n);
    *ids = e.ids;
    free(e.normal.data);
    free(lossy.data);
    tq_bpe_work_free(e.work);
    tq_splitter_free(e.splitter);
    return rc;
}

int tq_encode_text(const tq_tokenizer *t, const char *text, size_t n, bool first, tq_ids *ids, tq_err *err) {
    return encode(t, text, NULL, n, false, first, ids, err);
}

int tq_encode_typed(const tq_tokenizer *t, const char *text, const unsigned char *typed, size_t n, tq_ids *ids,
                    tq_err *err) {
    return encode(t, text, typed, n, true, true, ids, err);
}

int tq_tokenizer_encode(const tq_tokenizer *t, const char *text, size_t n, bool special, bool add_bos, int **ids,
                        size_t *count, tq_err *err) {
    tq_ids v = {0};
    *ids = NULL;
    *count = 0;
    int rc = TQ_OK;
    bool ok = tq_ids_add(&v, 0); /* so that there is memory even for no ids */
    v.n = 0;
    ok = ok && (!add_bos || add_all(&v, t->before, t->n_before));
    if (ok) rc = encode(t, text, NULL, n, special, true, &v, err);
    ok = ok && !rc && (!add_bos || add_all(&v, t->after, t->n_after));
    if (!ok) {
        free(v.data);
        return rc ? rc : tq_fail(err, "out of memory encoding %zu bytes of text", n);
    }
    *ids = v.data;
    *count = v.n;
    return TQ_OK;
}

int tq_tokenizer_decode(const tq_tokenizer *t, const int *ids, size_t count, bool skip_special, char **text, size_t *n,
                        tq_err *err) {
    tq_buffer out = {0};
    bool ok = true;
    *text = NULL;
    *n = 0;
    for (size_t i = 0; i < count && ok; i++) {
        size_t len;
        const char *bytes = tq_tokenizer_bytes(t, ids[i], &len);
        if (!bytes || (skip_special && t->tokens[ids[i]].special)) continue;
        ok = tq_buffer_add(&out, bytes, len);
    }
    if (!ok || !tq_buffer_add(&out, "", 1)) {
        free(out.data);
        return tq_fail(err, "out of memory decoding %zu tokens", count);
    }
    size_t strip = 0;
    while (strip < t->strip && out.data[strip] == ' ')
        strip++;
    memmove(out.data, out.data + strip, out.n - strip);
    *text = out.data;
    *n = out.n - strip - 1;
    return TQ_OK;
}

size_t tq_tokenizer_vocab(const tq_tokenizer *t) {
    return t->n_tokens;
}

static const tq_token *token_of(const tq_tokenizer *t, int id) {
    bool known = id >= 0 && (size_t)id < t->n_tokens && t->tokens[id].text;
    return known ? &t->tokens[id] : NULL;
}

const char *tq_tokenizer_bytes(const tq_tokenizer *t, int id, size_t *n) {
    const tq_token *k = token_of(t, id);
    *n = k ? k->n_bytes : 0;
    return k ? k->bytes : NULL;
}

bool tq_tokenizer_is_special(const tq_tokenizer *t, int id) {
    const tq_token *k = token_of(t, id);
    return k && k->special;
}

int tq_tokenizer_id(const tq_tokenizer *t, const char *token) {
    return tq_token_find(t, token, strlen(token));
}
