/* gguf_read.c - one GGUF file: header, values, tensors, checked before anything is used.
 *
 * A file is: "GGUF", a version, the numbers of tensors and of values, the values (key, type, value), the tensors (name,
 * dimensions innermost first, type, offset), padding to the alignment, the weights. All little endian; lengths and
 * counts have 64 bits since version 2. A count is believed only as far as the file has room for it, so that reading
 * takes time and memory in proportion to the file. Facts: the GGUF specification, the `gguf` package 0.19. */
#include <stdlib.h>
#include <string.h>

#include "model/gguf.h"
#include "model/tokenizer_internal.h"

enum { MAX_KEY = 65535, MAX_NAME = 255, MAX_RANK = 4, DEFAULT_ALIGN = 32 };
#define MAX_ALIGN ((size_t)1 << 30)
/* The least that a value and a tensor take: lengths and types, one byte of name. */
#define LEAST_VALUE ((size_t)(8 + 1 + 4 + 1))
#define LEAST_TENSOR ((size_t)(8 + 1 + 4 + 8 + 4 + 8))

static const size_t kind_size[TQ_GGUF_KINDS] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

typedef struct reader {
    const char *file;
    const unsigned char *p;
    size_t size, at;
    tq_err *err;
} reader;

static uint64_t little(const unsigned char *p, size_t n) {
    uint64_t v = 0;
    while (n-- > 0)
        v = v << 8 | p[n];
    return v;
}

static size_t left(const reader *r) {
    return r->size - r->at;
}

/* The next n bytes; NULL when the file ends before. */
static const unsigned char *take(reader *r, size_t n, const char *what) {
    if (n > left(r)) {
        tq_fail(r->err, "%s: truncated: it ends within %s", r->file, what);
        return NULL;
    }
    r->at += n;
    return r->p + r->at - n;
}

static int take_u32(reader *r, const char *what, uint32_t *out) {
    const unsigned char *p = take(r, 4, what);
    *out = p ? (uint32_t)little(p, 4) : 0;
    return p ? TQ_OK : TQ_FAIL;
}

static int take_u64(reader *r, const char *what, uint64_t *out) {
    const unsigned char *p = take(r, 8, what);
    *out = p ? little(p, 8) : 0;
    return p ? TQ_OK : TQ_FAIL;
}

/* A count of things that take at least `least` bytes each. */
static int take_count(reader *r, const char *what, size_t least, size_t *out) {
    uint64_t n;
    *out = 0;
    if (take_u64(r, what, &n)) return TQ_FAIL;
    if (n > left(r) / least)
        return tq_fail(r->err, "%s: %s says %ju, more than the rest of the file of %zu bytes can hold", r->file, what,
                       (uintmax_t)n, left(r));
    *out = (size_t)n;
    return TQ_OK;
}

/* A name as a C string of its own. */
static int take_name(reader *r, const char *what, size_t max, char **out) {
    size_t n;
    if (take_count(r, what, 1, &n)) return TQ_FAIL;
    const unsigned char *p = take(r, n, what);
    if (!p) return TQ_FAIL;
    if (n == 0 || n > max) return tq_fail(r->err, "%s: %s of %zu bytes: expected 1 to %zu", r->file, what, n, max);
    if (memchr(p, 0, n) || !tq_utf8_valid((const char *)p, n))
        return tq_fail(r->err, "%s: %s at byte %zu is no text", r->file, what, r->at - n);
    *out = strndup((const char *)p, n);
    return *out ? TQ_OK : tq_fail(r->err, "%s: out of memory", r->file);
}

/* Goes over n elements, strings one by one. */
static int skip_elements(reader *r, const tq_gguf_value *v) {
    size_t bytes;
    if (v->kind != TQ_GGUF_STRING) {
        if (!tq_mul_size(&bytes, v->count, kind_size[v->kind]))
            return tq_fail(r->err, "%s: a value overflows", r->file);
        return take(r, bytes, v->key) ? TQ_OK : TQ_FAIL;
    }
    for (size_t i = 0; i < v->count; i++) {
        uint64_t n;
        if (take_u64(r, v->key, &n)) return TQ_FAIL;
        if (n > left(r))
            return tq_fail(r->err, "%s: %s: a string of %ju bytes goes past the end of the file", r->file, v->key,
                           (uintmax_t)n);
        if (!take(r, (size_t)n, v->key)) return TQ_FAIL;
    }
    return TQ_OK;
}

static int read_value(reader *r, tq_gguf_value *v) {
    uint32_t kind;
    if (take_name(r, "a key", MAX_KEY, &v->key) || take_u32(r, v->key, &kind)) return TQ_FAIL;
    v->array = kind == TQ_GGUF_ARRAY;
    v->count = 1;
    if (v->array) {
        if (take_u32(r, v->key, &kind)) return TQ_FAIL;
        if (kind == TQ_GGUF_ARRAY) return tq_fail(r->err, "%s: %s: arrays of arrays are not read", r->file, v->key);
    }
    if (kind >= TQ_GGUF_KINDS) return tq_fail(r->err, "%s: %s has the unknown type %u", r->file, v->key, kind);
    v->kind = (tq_gguf_kind)kind;
    size_t least = kind == TQ_GGUF_STRING ? 8 : kind_size[kind];
    if (v->array && take_count(r, v->key, least, &v->count)) return TQ_FAIL;
    v->data = r->p + r->at;
    int rc = skip_elements(r, v);
    v->bytes = (size_t)(r->p + r->at - v->data);
    return rc;
}

static int by_key(const void *a, const void *b) {
    return strcmp(((const tq_gguf_value *)a)->key, ((const tq_gguf_value *)b)->key);
}

static int read_values(reader *r, tq_gguf *g, size_t n) {
    g->values = calloc(n + 1, sizeof *g->values);
    if (!g->values) return tq_fail(r->err, "%s: out of memory for %zu values", r->file, n);
    for (size_t i = 0; i < n; i++) {
        g->count++;
        if (read_value(r, &g->values[i])) return TQ_FAIL;
    }
    qsort(g->values, n, sizeof *g->values, by_key);
    for (size_t i = 1; i < n; i++)
        if (by_key(&g->values[i - 1], &g->values[i]) == 0)
            return tq_fail(r->err, "%s: the key %s stands twice", r->file, g->values[i].key);
    return TQ_OK;
}

static int read_shape(reader *r, tq_gguf_tensor *t) {
    uint32_t rank;
    uint64_t dim;
    if (take_u32(r, t->name, &rank)) return TQ_FAIL;
    if (rank == 0 || rank > MAX_RANK)
        return tq_fail(r->err, "%s: tensor %s has %u dimensions, expected 1 to %d", r->file, t->name, rank, MAX_RANK);
    t->rank = rank;
    t->count = 1;
    for (size_t i = 0; i < rank; i++) {
        if (take_u64(r, t->name, &dim)) return TQ_FAIL;
        if (dim == 0) return tq_fail(r->err, "%s: tensor %s is empty", r->file, t->name);
        if (dim > SIZE_MAX || !tq_mul_size(&t->count, t->count, (size_t)dim))
            return tq_fail(r->err, "%s: tensor %s: its shape overflows", r->file, t->name);
        t->shape[rank - 1 - i] = (size_t)dim;
    }
    return TQ_OK;
}

static int read_tensor(reader *r, size_t align, tq_gguf_tensor *t) {
    uint32_t type;
    uint64_t offset;
    if (take_name(r, "a tensor's name", MAX_NAME, &t->name) || read_shape(r, t) || take_u32(r, t->name, &type) ||
        take_u64(r, t->name, &offset))
        return TQ_FAIL;
    t->type = tq_gguf_type_find(type);
    if (!t->type) return tq_fail(r->err, "%s: tensor %s has the unknown type %u", r->file, t->name, type);
    const tq_codec *c = &t->type->codec;
    if (t->shape[t->rank - 1] % c->block)
        return tq_fail(r->err, "%s: tensor %s: rows of %zu are no whole blocks of %zu, as %s has them", r->file,
                       t->name, t->shape[t->rank - 1], c->block, c->name);
    if (!tq_mul_size(&t->bytes, t->count / c->block, c->bytes))
        return tq_fail(r->err, "%s: tensor %s: its shape overflows", r->file, t->name);
    if (offset > SIZE_MAX || offset % align)
        return tq_fail(r->err, "%s: tensor %s: its offset %ju is not aligned to %zu", r->file, t->name,
                       (uintmax_t)offset, align);
    t->offset = (size_t)offset;
    return TQ_OK;
}

typedef struct place {
    size_t offset, bytes;
    const char *name;
} place;

static int by_offset(const void *a, const void *b) {
    const place *x = a, *y = b;
    if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* Every tensor within the file, none over another. Holes are allowed: they are padding. */
static int check_places(reader *r, const tq_gguf_file *f) {
    size_t n = f->meta.tensors, size = f->data_at < r->size ? r->size - f->data_at : 0;
    place *order = malloc((n + 1) * sizeof *order);
    if (!order) return tq_fail(r->err, "%s: out of memory for %zu tensors", r->file, n);
    int rc = TQ_OK;
    for (size_t i = 0; i < n && !rc; i++) {
        const tq_gguf_tensor *t = &f->tensors[i];
        order[i] = (place){t->offset, t->bytes, t->name};
        if (t->offset > size || t->bytes > size - t->offset)
            rc = tq_fail(r->err, "%s: tensor %s: %zu bytes from %zu on go past the file's %zu bytes of data", r->file,
                         t->name, t->bytes, t->offset, size);
    }
    if (!rc) qsort(order, n, sizeof *order, by_offset);
    for (size_t i = 1; i < n && !rc; i++)
        if (order[i].offset < order[i - 1].offset + order[i - 1].bytes)
            rc = tq_fail(r->err, "%s: tensors %s and %s overlap", r->file, order[i - 1].name, order[i].name);
    free(order);
    return rc;
}

static int read_header(reader *r, size_t *tensors, size_t *values) {
    uint32_t version;
    uint64_t n;
    const unsigned char *magic = take(r, 4, "its header");
    if (!magic) return TQ_FAIL;
    if (memcmp(magic, "GGUF", 4) != 0) return tq_fail(r->err, "%s: not a GGUF file", r->file);
    if (take_u32(r, "its header", &version)) return TQ_FAIL;
    if (version != 0 && (version & 0xFFFF) == 0)
        return tq_fail(r->err, "%s: a big-endian GGUF file is not read", r->file);
    if (version != 2 && version != 3)
        return tq_fail(r->err, "%s: GGUF version %u is not read, only 2 and 3", r->file, version);
    if (take_u64(r, "its header", &n) || take_count(r, "the number of values", LEAST_VALUE, values)) return TQ_FAIL;
    if (n > left(r) / LEAST_TENSOR)
        return tq_fail(r->err, "%s: the number of tensors says %ju, more than a file of %zu bytes can hold", r->file,
                       (uintmax_t)n, r->size);
    *tensors = (size_t)n;
    return TQ_OK;
}

static int read_alignment(const reader *r, tq_gguf *g) {
    const tq_gguf_value *v = tq_gguf_find(g, "general.alignment");
    g->align = DEFAULT_ALIGN;
    if (!v || tq_gguf_size(v, 1, MAX_ALIGN, &g->align)) return TQ_OK;
    return tq_fail(r->err, "%s: general.alignment must be a whole number from 1 to %zu", r->file, MAX_ALIGN);
}

int tq_gguf_read(const tq_shard *shard, tq_gguf_file *out, tq_err *err) {
    reader r = {.file = shard->name, .p = shard->map, .size = shard->size, .err = err};
    size_t tensors = 0, values = 0;
    *out = (tq_gguf_file){0};
    if (read_header(&r, &tensors, &values) || read_values(&r, &out->meta, values) || read_alignment(&r, &out->meta))
        return TQ_FAIL;
    out->tensors = calloc(tensors + 1, sizeof *out->tensors);
    if (!out->tensors) return tq_fail(err, "%s: out of memory for %zu tensors", r.file, tensors);
    for (size_t i = 0; i < tensors; i++) {
        out->meta.tensors++;
        if (read_tensor(&r, out->meta.align, &out->tensors[i])) return TQ_FAIL;
    }
    size_t align = out->meta.align;
    out->data_at = (r.at + align - 1) / align * align; /* both are far from SIZE_MAX */
    return check_places(&r, out);
}

void tq_gguf_free(tq_gguf *g) {
    for (size_t i = 0; i < g->count; i++)
        free(g->values[i].key);
    free(g->values);
    *g = (tq_gguf){0};
}

void tq_gguf_file_free(tq_gguf_file *f) {
    for (size_t i = 0; f->tensors && i < f->meta.tensors; i++)
        free(f->tensors[i].name);
    free(f->tensors);
    tq_gguf_free(&f->meta);
    *f = (tq_gguf_file){0};
}

const tq_gguf_value *tq_gguf_find(const tq_gguf *g, const char *key) {
    size_t lo = 0, hi = g->count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = strcmp(g->values[mid].key, key);
        if (c == 0) return &g->values[mid];
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

double tq_gguf_number(const tq_gguf_value *v, size_t i) {
    uint64_t u = v->kind == TQ_GGUF_STRING ? 0 : little(v->data + i * kind_size[v->kind], kind_size[v->kind]);
    uint32_t bits = (uint32_t)u;
    float f;
    double d;
    switch (v->kind) {
    case TQ_GGUF_I8:
        return (int8_t)u;
    case TQ_GGUF_I16:
        return (int16_t)u;
    case TQ_GGUF_I32:
        return (int32_t)u;
    case TQ_GGUF_I64:
        return (double)(int64_t)u;
    case TQ_GGUF_F32:
        memcpy(&f, &bits, sizeof f);
        return (double)f;
    case TQ_GGUF_F64:
        memcpy(&d, &u, sizeof d);
        return d;
    default:
        return (double)u;
    }
}

bool tq_gguf_size(const tq_gguf_value *v, size_t lo, size_t hi, size_t *out) {
    bool whole = v && !v->array && v->kind != TQ_GGUF_F32 && v->kind != TQ_GGUF_F64 && v->kind != TQ_GGUF_STRING &&
                 v->kind != TQ_GGUF_BOOL;
    double d = whole ? tq_gguf_number(v, 0) : -1;
    if (!(d >= (double)lo && d <= (double)hi && d <= 9007199254740992.0)) return false;
    *out = (size_t)d;
    return true;
}

static tq_gguf_text text_at(const unsigned char *p) {
    return (tq_gguf_text){(const char *)p + 8, (size_t)little(p, 8)};
}

tq_gguf_text tq_gguf_string(const tq_gguf_value *v) {
    if (!v || v->array || v->kind != TQ_GGUF_STRING) return (tq_gguf_text){NULL, 0};
    return text_at(v->data);
}

tq_gguf_text *tq_gguf_strings(const tq_gguf_value *v) {
    if (!v || !v->array || v->kind != TQ_GGUF_STRING) return NULL;
    tq_gguf_text *list = malloc((v->count + 1) * sizeof *list);
    const unsigned char *p = v->data;
    for (size_t i = 0; list && i < v->count; i++) {
        list[i] = text_at(p);
        p += 8 + list[i].n;
    }
    return list;
}
