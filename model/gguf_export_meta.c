/* gguf_export_meta.c - the values of an exported GGUF file: those of the source where it is one, else what config.json
 * and tokenizer.json say. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/gguf_export.h"
#include "model/tokenizer_internal.h"

enum { KEY_SIZE = 160, MOSTLY_BF16 = 32, QUANT_VERSION = 2 };
enum { NORMAL = 1, CONTROL = 3, USER = 4, UNUSED = 5, BYTE = 6 };
#define MAX_DOCUMENT ((size_t)256 << 20)
#define MAX_VALUES ((size_t)4000000)

static bool is_local(const tq_config *c) {
    for (size_t b = 0; b < c->blocks; b++)
        if (c->local[b]) return true;
    return false;
}

/* What llama.cpp scales queries by: no key says it. */
static float expected_scale(const tq_config *c) {
    bool largest = c->arch == TQ_ARCH_GEMMA3 && c->blocks == TQ_GGUF_GEMMA3_LARGEST;
    return (float)(1.0 / sqrt(largest ? (double)c->hidden / (double)c->heads : (double)c->head_dim));
}

const char *tq_gguf_blocked(const tq_model *m) {
    const tq_config *c = tq_model_config(m);
    if (!tq_gguf_arch_of(c)) return "the architecture is not among those that are written";
    if (tq_gguf_of(tq_model_source(m))) return NULL;
    for (size_t i = 0; i < tq_model_matrices(m); i++)
        if (tq_model_matrix(m, i)->packed) return "it is a packed export: open the original model";
    if (c->rope.type == TQ_ROPE_DYNAMIC) return "rope type dynamic cannot be said there";
    if (fabsf(c->query_scale / expected_scale(c) - 1) > 1e-6F) return "its query_pre_attn_scalar cannot be said there";
    if (c->arch != TQ_ARCH_GEMMA3 && is_local(c)) return "a sliding window cannot be said there for this architecture";
    return NULL;
}

static const char *key_of(const tq_gguf_arch *a, const char *name, char key[KEY_SIZE]) {
    (void)snprintf(key, KEY_SIZE, "%s.%s", tq_gguf_arch_name(a), name);
    return key;
}

static void put_sizes(tq_gguf_writer *w, const tq_config *c, const tq_gguf_arch *a) {
    const struct {
        const char *name;
        size_t value;
    } rows[] = {
        {"context_length", c->context},
        {"embedding_length", c->hidden},
        {"block_count", c->blocks},
        {"feed_forward_length", c->intermediate},
        {"attention.head_count", c->heads},
        {"attention.head_count_kv", c->kv_heads},
        {"attention.key_length", c->head_dim},
        {"attention.value_length", c->head_dim},
        {"rope.dimension_count", c->rope.dims},
        {"vocab_size", c->vocab},
    };
    char key[KEY_SIZE];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        tq_gguf_put_u32(w, key_of(a, rows[i].name, key), rows[i].value);
    tq_gguf_put_f32(w, key_of(a, "attention.layer_norm_rms_epsilon", key), (double)c->norm_eps);
    tq_gguf_put_f32(w, key_of(a, "rope.freq_base", key), (double)c->rope.theta);
}

static void put_rope(tq_gguf_writer *w, const tq_config *c, const tq_gguf_arch *a) {
    const tq_rope *r = &c->rope;
    char key[KEY_SIZE];
    if (r->type != TQ_ROPE_LINEAR && r->type != TQ_ROPE_YARN) return;
    tq_gguf_put_text(w, key_of(a, "rope.scaling.type", key), r->type == TQ_ROPE_YARN ? "yarn" : "linear");
    tq_gguf_put_f32(w, key_of(a, "rope.scaling.factor", key), (double)r->factor);
    if (r->type == TQ_ROPE_YARN)
        tq_gguf_put_u32(w, key_of(a, "rope.scaling.original_context_length", key), r->original_context);
}

/* The blocks' windows as a period; 0 when they have none. */
static size_t period_of(const tq_config *c) {
    size_t period = 1;
    while (period <= c->blocks && c->local[period - 1])
        period++;
    for (size_t b = 0; b < c->blocks; b++)
        if (c->local[b] != ((b + 1) % period != 0)) return 0;
    return period;
}

static int put_model(tq_gguf_writer *w, const tq_model *m, const tq_gguf_arch *a, tq_err *err) {
    const tq_config *c = tq_model_config(m);
    char key[KEY_SIZE];
    tq_gguf_put_text(w, "general.architecture", tq_gguf_arch_name(a));
    tq_gguf_put_text(w, "general.type", "model");
    put_sizes(w, c, a);
    put_rope(w, c, a);
    if (c->arch != TQ_ARCH_GEMMA3) return TQ_OK;
    size_t period = period_of(c);
    if (!period) return tq_fail(err, "not exported as GGUF: its local blocks have no period");
    tq_gguf_put_u32(w, key_of(a, "attention.sliding_window", key), c->sliding_window);
    tq_gguf_put_u32(w, key_of(a, "attention.sliding_window_pattern", key), period);
    tq_gguf_put_f32(w, key_of(a, "rope.freq_base_swa", key), (double)c->local_rope.theta);
    return TQ_OK;
}

/* ---- the tokenizer ---- */

typedef struct vocabulary {
    const tq_tokenizer *t;
    const char **texts; /* [n] */
    char *fill;         /* names of ids that have no token */
    int32_t *types;     /* [n] */
    float *scores;      /* [n] */
    size_t n;
} vocabulary;

static int make_vocabulary(vocabulary *v, const tq_tokenizer *t, size_t n, tq_err *err) {
    enum { FILL = 32 };
    *v = (vocabulary){.t = t, .n = n > t->n_tokens ? n : t->n_tokens};
    v->texts = calloc(v->n, sizeof(char *));
    v->fill = calloc(v->n, FILL);
    v->types = calloc(v->n, sizeof *v->types);
    v->scores = calloc(v->n, sizeof *v->scores);
    if (!v->texts || !v->fill || !v->types || !v->scores) return tq_fail(err, "out of memory for the tokenizer");
    for (size_t i = 0; i < v->n; i++) {
        const tq_token *k = i < t->n_tokens ? &t->tokens[i] : NULL;
        bool known = k && k->text;
        if (!known) (void)snprintf(v->fill + i * FILL, FILL, "[PAD%zu]", i);
        v->texts[i] = known ? k->text : v->fill + i * FILL;
        v->types[i] = !known ? UNUSED : !k->added ? NORMAL : k->special ? CONTROL : USER;
    }
    for (int b = 0; b < 256 && !t->bpe.byte_level; b++)
        if (t->bpe.byte_id[b] >= 0) v->types[t->bpe.byte_id[b]] = BYTE;
    return TQ_OK;
}

static void free_vocabulary(vocabulary *v) {
    free(v->texts);
    free(v->fill);
    free(v->types);
    free(v->scores);
}

/* A token that merges make has the score of the earliest merge that makes it; what none makes comes after all. */
static void find_scores(vocabulary *v) {
    const tq_bpe *b = &v->t->bpe;
    int last = 0;
    for (size_t i = 0; i < v->n; i++)
        v->scores[i] = 1;
    for (size_t i = 0; i < b->n_slots; i++) {
        const tq_merge *m = &b->merges[i];
        if (m->rank < 0) continue;
        float score = -(float)m->rank;
        if (v->scores[m->id] > 0 || v->scores[m->id] < score) v->scores[m->id] = score;
        if (m->rank > last) last = m->rank;
    }
    for (size_t i = 0; i < v->n; i++)
        if (v->scores[i] > 0) v->scores[i] = v->types[i] == NORMAL ? -(float)last - 1 : 0;
}

static int by_rank(const void *a, const void *b) {
    const tq_merge *x = a, *y = b;
    return (x->rank > y->rank) - (x->rank < y->rank);
}

/* "left right" for each merge, in order. */
static int put_merges(tq_gguf_writer *w, const tq_tokenizer *t, tq_err *err) {
    const tq_bpe *b = &t->bpe;
    tq_merge *all = malloc((b->n_slots + 1) * sizeof *all);
    const char **list = calloc(b->n_slots + 1, sizeof(char *));
    size_t n = 0, made = 0;
    bool ok = all && list;
    for (size_t i = 0; ok && i < b->n_slots; i++)
        if (b->merges[i].rank >= 0) all[n++] = b->merges[i];
    if (ok) qsort(all, n, sizeof *all, by_rank);
    for (size_t i = 0; ok && i < n; i++) {
        char *text = NULL;
        ok = asprintf(&text, "%s %s", t->tokens[all[i].pair >> 32].text, t->tokens[all[i].pair & 0xFFFFFFFFu].text) > 0;
        if (ok) list[made++] = text;
    }
    if (ok) tq_gguf_put_texts(w, "tokenizer.ggml.merges", list, n);
    for (size_t i = 0; i < made; i++)
        free((char *)list[i]);
    free(list);
    free(all);
    return ok ? TQ_OK : tq_fail(err, "out of memory for the merges");
}

static bool has_prefix_space(const tq_tokenizer *t) {
    for (size_t i = 0; i < t->n_normal; i++)
        if (t->normal[i].kind == TQ_NORMAL_PREPEND) return true;
    return false;
}

static void put_ends(tq_gguf_writer *w, const tq_tokenizer *t, const tq_config *c) {
    bool bos = t->n_before > 0;
    int id = bos ? t->before[0] : c->bos;
    if (id >= 0) tq_gguf_put_u32(w, "tokenizer.ggml.bos_token_id", (size_t)id);
    if (c->n_eos > 0) tq_gguf_put_u32(w, "tokenizer.ggml.eos_token_id", (size_t)c->eos[0]);
    if (c->n_eos > 1) tq_gguf_put_u32(w, "tokenizer.ggml.eot_token_id", (size_t)c->eos[1]);
    if (t->bpe.unk >= 0) tq_gguf_put_u32(w, "tokenizer.ggml.unknown_token_id", (size_t)t->bpe.unk);
    tq_gguf_put_bool(w, "tokenizer.ggml.add_bos_token", bos);
    tq_gguf_put_bool(w, "tokenizer.ggml.add_eos_token", t->n_after > 0);
}

static int put_template(tq_gguf_writer *w, const tq_docs *docs, tq_err *err) {
    char *text = NULL;
    int rc = tq_chat_template(docs, &text, err);
    if (rc == TQ_OK && text) tq_gguf_put_text(w, "tokenizer.chat_template", text);
    free(text);
    return rc;
}

static int put_tokenizer(tq_gguf_writer *w, const tq_tokenizer *t, const tq_config *c, const char *pre, tq_err *err) {
    vocabulary v;
    int rc = make_vocabulary(&v, t, c->vocab, err);
    if (rc == TQ_OK) {
        tq_gguf_put_text(w, "tokenizer.ggml.model", t->bpe.byte_level ? "gpt2" : "llama");
        tq_gguf_put_text(w, "tokenizer.ggml.pre", pre);
        tq_gguf_put_texts(w, "tokenizer.ggml.tokens", v.texts, v.n);
        tq_gguf_put_i32s(w, "tokenizer.ggml.token_type", v.types, v.n);
        put_ends(w, t, c);
    }
    if (rc == TQ_OK && t->bpe.byte_level) rc = put_merges(w, t, err);
    if (rc == TQ_OK && !t->bpe.byte_level) {
        find_scores(&v);
        tq_gguf_put_f32s(w, "tokenizer.ggml.scores", v.scores, v.n);
        tq_gguf_put_bool(w, "tokenizer.ggml.add_space_prefix", has_prefix_space(t));
    }
    free_vocabulary(&v);
    return rc;
}

static int write_tokenizer(tq_gguf_writer *w, const tq_model *m, tq_err *err) {
    static const char name[] = "tokenizer.json";
    const tq_source *s = tq_model_source(m);
    const tq_docs docs = tq_docs_of(s);
    tq_tokenizer *t = NULL;
    if (!tq_docs_has(&docs, name)) return TQ_OK;
    cJSON *root = tq_docs_load(&docs, name, MAX_DOCUMENT, MAX_VALUES, err);
    int rc = root ? tq_tokenizer_of(s, &t, err) : TQ_FAIL;
    if (rc == TQ_OK) {
        const char *pre = t->bpe.byte_level ? tq_gguf_pre_of(root) : "default";
        rc = pre ? put_tokenizer(w, t, tq_model_config(m), pre, err)
                 : tq_fail(err, "%s: not exported as GGUF: no name is known there for how its tokenizer cuts text",
                           tq_source_path(s));
    }
    if (rc == TQ_OK) rc = put_template(w, &docs, err);
    tq_tokenizer_free(t);
    cJSON_Delete(root);
    return rc;
}

/* All values but those that are about the file itself. */
static void copy_values(tq_gguf_writer *w, const tq_gguf *g) {
    static const char *const left_out[] = {"general.alignment", "general.file_type", "general.quantization_version"};
    for (size_t i = 0; i < g->count; i++) {
        const char *key = g->values[i].key;
        bool skip = strncmp(key, "split.", 6) == 0;
        for (size_t k = 0; k < sizeof left_out / sizeof *left_out; k++)
            skip = skip || strcmp(key, left_out[k]) == 0;
        if (!skip) tq_gguf_put_value(w, &g->values[i]);
    }
}

int tq_gguf_write_meta(tq_gguf_writer *w, const tq_model *m, const tq_gguf_arch *arch, tq_err *err) {
    const tq_gguf *g = tq_gguf_of(tq_model_source(m));
    int rc = TQ_OK;
    if (g)
        copy_values(w, g);
    else
        rc = put_model(w, m, arch, err);
    tq_gguf_put_u32(w, "general.file_type", MOSTLY_BF16);
    tq_gguf_put_u32(w, "general.quantization_version", QUANT_VERSION);
    return rc == TQ_OK && !g ? write_tokenizer(w, m, err) : rc;
}
