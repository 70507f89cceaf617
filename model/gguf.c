/* gguf.c - GGUF files as a source of tensors: one file, or the parts -00001-of-0000N.gguf of one. Names are made ours,
 * so that nothing above knows the format; weights stay as they lie and are decoded when they are read. */
#include "model/gguf_docs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PARTS = 99999, NAME_SIZE = 320 };

static const char suffix[] = ".gguf";

static bool probe(const char *path, bool directory) {
    size_t n = strlen(path), m = strlen(suffix);
    return !directory && n >= m && strcmp(path + n - m, suffix) == 0;
}

/* A GGUF source's own state. */
typedef struct gguf_state {
    tq_gguf meta; /* of the first part */
    const tq_gguf_arch *arch;
    char arch_name[64];
} gguf_state;

const tq_gguf *tq_gguf_of(const tq_source *s) {
    const gguf_state *g = s->format == &tq_format_gguf ? s->state : NULL;
    return g ? &g->meta : NULL;
}

static int read_arch(const char *file, gguf_state *g, tq_err *err) {
    const char key[] = "general.architecture";
    tq_gguf_text name = tq_gguf_string(tq_gguf_find(&g->meta, key));
    if (!name.p) return tq_fail(err, "%s: %s is missing", file, key);
    g->arch = tq_gguf_arch_find(name);
    (void)snprintf(g->arch_name, sizeof g->arch_name, "%.*s", name.n < 60 ? (int)name.n : 60, name.p);
    return g->arch ? TQ_OK
                   : tq_fail(err, "%s: architecture %s is not supported: expected %s", file, g->arch_name,
                             tq_gguf_arch_names());
}

/* The height of a head whose rows lie paired; 0 when they do not. */
static int find_pairs(const char *file, const gguf_state *g, const tq_gguf_tensor *t, size_t *out, tq_err *err) {
    const char *heads = tq_gguf_paired(g->arch, t->name);
    char key[128];
    size_t n = 0, rows = t->shape[0];
    *out = 0;
    if (!heads) return TQ_OK;
    (void)snprintf(key, sizeof key, "%s.%s", g->arch_name, heads);
    const tq_gguf_value *v = tq_gguf_find(&g->meta, key);
    if (!v) { /* as many keys as queries */
        (void)snprintf(key, sizeof key, "%s.attention.head_count", g->arch_name);
        v = tq_gguf_find(&g->meta, key);
    }
    if (!tq_gguf_size(v, 1, rows, &n) || rows % n || rows / n % 2)
        return tq_fail(err, "%s: tensor %s: its %zu rows are no even number for each of %s heads", file, t->name, rows,
                       key);
    *out = rows / n;
    return TQ_OK;
}

static int add_tensor(tq_source *s, size_t shard, const tq_gguf_file *f, const tq_gguf_tensor *t, tq_err *err) {
    const gguf_state *g = s->state;
    char name[NAME_SIZE];
    tq_tensor x = {.dtype = t->type->dtype,
                   .codec = t->type->dtype == TQ_CODED ? &t->type->codec : NULL,
                   .rank = t->rank,
                   .count = t->count,
                   .bytes = t->bytes,
                   .data = (const char *)s->shards[shard].map + f->data_at + t->offset};
    (void)snprintf(x.dtype_name, sizeof x.dtype_name, "%s", t->type->codec.name);
    memcpy(x.shape, t->shape, t->rank * sizeof *t->shape);
    if (find_pairs(s->shards[shard].name, g, t, &x.paired, err)) return TQ_FAIL;
    tq_gguf_rename(g->arch, t->name, name, sizeof name);
    return tq_source_add(s, shard, name, &x, err);
}

/* A part says which it is of how many; a file that is whole says nothing, or 0 of 1. */
static int check_part(const char *file, const tq_gguf *meta, size_t part, size_t parts, tq_err *err) {
    size_t no = 0, count = parts;
    const tq_gguf_value *v_no = tq_gguf_find(meta, "split.no"), *v_count = tq_gguf_find(meta, "split.count");
    if ((v_no && !tq_gguf_size(v_no, 0, MAX_PARTS, &no)) || (v_count && !tq_gguf_size(v_count, 0, MAX_PARTS, &count)))
        return tq_fail(err, "%s: split.no and split.count must be whole numbers up to %d", file, MAX_PARTS);
    if (count > 1 && parts == 1)
        return tq_fail(err, "%s: part %zu of %zu, but its name does not end in -%05zu-of-%05zu.gguf", file, no + 1,
                       count, no + 1, count);
    if (parts > 1 && (!v_no || !v_count || no != part || count != parts))
        return tq_fail(err, "%s: says that it is part %zu of %zu, its name says %zu of %zu", file, v_no ? no + 1 : 0,
                       v_count ? count : 0, part + 1, parts);
    return TQ_OK;
}

/* Maps and reads a part; the first one's values are kept. */
static int read_part(tq_source *s, const char *file, size_t part, size_t parts, tq_err *err) {
    gguf_state *g = s->state;
    tq_gguf_file f = {0};
    if (tq_source_map(s, file, err)) return TQ_FAIL;
    int rc = tq_gguf_read(&s->shards[part], &f, err);
    if (!rc) rc = check_part(file, &f.meta, part, parts, err);
    if (!rc && part == 0) {
        size_t tensors = f.meta.tensors;
        g->meta = f.meta;
        f.meta = (tq_gguf){.tensors = tensors, .align = g->meta.align};
        rc = read_arch(file, g, err);
    }
    for (size_t i = 0; i < f.meta.tensors && !rc; i++)
        rc = add_tensor(s, part, &f, &f.tensors[i], err);
    tq_gguf_file_free(&f);
    return rc;
}

/* NAME-00001-of-00003.gguf: the length of NAME and how many parts there are; false for other names. */
static bool parse_part(const char *file, size_t *stem, size_t *parts) {
    static const char shape[] = "-00000-of-00000.gguf";
    size_t n = strlen(file), m = strlen(shape);
    if (n < m) return false;
    const char *p = file + n - m;
    for (size_t i = 0; i < m; i++)
        if (shape[i] == '0' ? p[i] < '0' || p[i] > '9' : p[i] != shape[i]) return false;
    size_t part = strtoul(p + 1, NULL, 10);
    *stem = n - m;
    *parts = strtoul(p + 10, NULL, 10);
    return part >= 1 && part <= *parts;
}

static int open_parts(tq_source *s, const char *file, size_t stem, size_t parts, tq_err *err) {
    char *name = malloc(strlen(file) + 32);
    size_t total = 0;
    int rc = name ? TQ_OK : tq_fail(err, "%s: out of memory", file);
    for (size_t i = 0; i < parts && !rc; i++) {
        (void)snprintf(name, strlen(file) + 32, "%.*s-%05zu-of-%05zu.gguf", (int)stem, file, i + 1, parts);
        rc = read_part(s, name, i, parts, err);
    }
    free(name);
    if (rc) return rc;
    const tq_gguf_value *v = tq_gguf_find(tq_gguf_of(s), "split.tensors.count");
    if (v && (!tq_gguf_size(v, 0, SIZE_MAX, &total) || total != s->count))
        return tq_fail(err, "%s: split.tensors.count says %.0f tensors, the parts have %zu", file, tq_gguf_number(v, 0),
                       s->count);
    return TQ_OK;
}

static int open_gguf(tq_source *s, bool directory, tq_err *err) {
    const char *slash = strrchr(s->path, '/'), *file = slash ? slash + 1 : s->path;
    size_t stem, parts;
    (void)directory; /* probe takes files only */
    s->state = calloc(1, sizeof(gguf_state));
    if (!s->state) return tq_fail(err, "%s: out of memory", file);
    if (parse_part(file, &stem, &parts)) return open_parts(s, file, stem, parts, err);
    return read_part(s, file, 0, 1, err);
}

static void close_gguf(tq_source *s) {
    gguf_state *g = s->state;
    if (g) tq_gguf_free(&g->meta);
    free(g);
}

/* The documents that the metadata stands for. */
static const struct document_row {
    const char *name;
    const char *key; /* which makes it exist */
    int (*fill)(const tq_gguf_job *j, cJSON *root, tq_err *err);
} documents[] = {
    {"config.json", "general.architecture", tq_gguf_config},
    {"tokenizer.json", "tokenizer.ggml.tokens", tq_gguf_tokenizer},
    {"tokenizer_config.json", "tokenizer.ggml.tokens", tq_gguf_tokenizer_config},
};

static int document(const tq_source *s, const char *name, cJSON **out, tq_err *err) {
    const gguf_state *g = s->state;
    const struct document_row *row = NULL;
    for (size_t i = 0; i < sizeof documents / sizeof *documents && !row; i++)
        if (strcmp(documents[i].name, name) == 0 && tq_gguf_find(&g->meta, documents[i].key)) row = &documents[i];
    if (!row || !out) return row ? TQ_OK : TQ_FAIL;
    const tq_gguf_job job = {s->path, s, &g->meta, g->arch_name, tq_gguf_model_type(g->arch)};
    cJSON *root = cJSON_CreateObject();
    int rc = root ? row->fill(&job, root, err) : tq_fail(err, "%s: out of memory", s->path);
    if (rc) {
        cJSON_Delete(root);
        return rc;
    }
    *out = root;
    return TQ_OK;
}

const tq_format tq_format_gguf = {
    .name = "gguf", .probe = probe, .open = open_gguf, .close = close_gguf, .document = document};
