/* safetensors.c - the safetensors format, one file or the shards of an index.
 *
 * A file is: the header's length (8 bytes, little endian), the header (a JSON object: name -> dtype, shape and the
 * [begin, end) of its data), the data. https://github.com/huggingface/safetensors, README section "Format": no
 * duplicate names, the data covered exactly, without holes or overlaps; the reference implementation refuses headers of
 * more than 100 MB. All of that is checked here, before anything is used. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "model/json.h"
#include "model/source_internal.h"

#define MAX_HEADER ((size_t)100000000)
#define MAX_VALUES ((size_t)3000000) /* JSON values of a header: some 300,000 tensors */
#define MAX_SHARDS ((size_t)10000)

static const char index_name[] = "model.safetensors.index.json";
static const char single_name[] = "model.safetensors";
static const char index_suffix[] = ".safetensors.index.json";

static const struct dtype_row {
    const char *name;
    size_t bits;
    tq_dtype dtype;
} dtypes[] = {
    {"F32", 32, TQ_F32},
    {"F16", 16, TQ_F16},
    {"BF16", 16, TQ_BF16},
    {"U8", 8, TQ_U8},
    {"F64", 64, TQ_DTYPE_OTHER},
    {"I64", 64, TQ_DTYPE_OTHER},
    {"I32", 32, TQ_DTYPE_OTHER},
    {"I16", 16, TQ_DTYPE_OTHER},
    {"I8", 8, TQ_DTYPE_OTHER},
    {"U64", 64, TQ_DTYPE_OTHER},
    {"U32", 32, TQ_DTYPE_OTHER},
    {"U16", 16, TQ_DTYPE_OTHER},
    {"BOOL", 8, TQ_DTYPE_OTHER},
    {"F8_E4M3", 8, TQ_DTYPE_OTHER},
    {"F8_E5M2", 8, TQ_DTYPE_OTHER},
    {"F8_E8M0", 8, TQ_DTYPE_OTHER},
    {"F6_E2M3", 6, TQ_DTYPE_OTHER},
    {"F6_E3M2", 6, TQ_DTYPE_OTHER},
    {"F4", 4, TQ_DTYPE_OTHER},
    {"C64", 64, TQ_DTYPE_OTHER},
};

static bool ends_with(const char *s, const char *suffix) {
    size_t n = strlen(s);
    size_t m = strlen(suffix);
    return n >= m && strcmp(s + n - m, suffix) == 0;
}

static bool exists(const char *dir, const char *name) {
    struct stat st;
    char *path = tq_path_join(dir, name);
    bool found = path && stat(path, &st) == 0;
    free(path);
    return found;
}

static bool probe(const char *path, bool directory) {
    if (directory) return exists(path, index_name) || exists(path, single_name);
    return ends_with(path, ".safetensors") || ends_with(path, index_suffix);
}

/* One tensor of a header while it is checked. */
typedef struct entry {
    tq_tensor t; /* name borrowed from the JSON */
    size_t begin, end;
} entry;

static const struct dtype_row *find_dtype(const char *name) {
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (name && strcmp(dtypes[i].name, name) == 0) return &dtypes[i];
    return NULL;
}

static int read_shape(const char *file, const cJSON *shape, entry *e, tq_err *err) {
    const char *name = e->t.name;
    if (!cJSON_IsArray(shape)) return tq_fail(err, "%s: tensor %s has no shape", file, name);
    e->t.count = 1;
    bool empty = false;
    for (const cJSON *d = shape->child; d; d = d->next) {
        size_t dim;
        if (e->t.rank == 8) return tq_fail(err, "%s: tensor %s has more than 8 dimensions", file, name);
        if (!tq_json_size(d, &dim))
            return tq_fail(err, "%s: tensor %s: dimension %zu of its shape is not a size", file, name, e->t.rank);
        e->t.shape[e->t.rank++] = dim;
        empty = empty || dim == 0;
        if (!tq_mul_size(&e->t.count, e->t.count, dim))
            return tq_fail(err, "%s: tensor %s: its shape overflows", file, name);
    }
    if (empty) e->t.count = 0;
    return TQ_OK;
}

static int read_entry(const char *file, const cJSON *item, size_t data_size, entry *e, tq_err *err) {
    const char *name = item->string;
    memset(e, 0, sizeof *e);
    e->t.name = name;
    if (!cJSON_IsObject(item)) return tq_fail(err, "%s: tensor %s is not described by an object", file, name);
    if (tq_json_unique(file, name, item, err)) return TQ_FAIL;
    const char *dtype = tq_json_text(item, "dtype");
    const struct dtype_row *d = find_dtype(dtype);
    if (!d) return tq_fail(err, "%s: tensor %s has the unknown dtype %s", file, name, dtype ? dtype : "(none)");
    e->t.dtype = d->dtype;
    snprintf(e->t.dtype_name, sizeof e->t.dtype_name, "%s", d->name);
    if (read_shape(file, tq_json_get(item, "shape"), e, err)) return TQ_FAIL;

    const cJSON *offsets = tq_json_get(item, "data_offsets");
    if (!cJSON_IsArray(offsets) || cJSON_GetArraySize(offsets) != 2 || !tq_json_size(offsets->child, &e->begin) ||
        !tq_json_size(offsets->child->next, &e->end))
        return tq_fail(err, "%s: tensor %s has no valid data_offsets", file, name);
    if (e->begin > e->end) return tq_fail(err, "%s: tensor %s ends before it begins", file, name);
    if (e->end > data_size)
        return tq_fail(err, "%s: tensor %s ends at %zu, past the file's %zu bytes of data", file, name, e->end,
                       data_size);
    size_t bits;
    if (!tq_mul_size(&bits, e->t.count, d->bits)) return tq_fail(err, "%s: tensor %s: its shape overflows", file, name);
    e->t.bytes = e->end - e->begin;
    if (bits % 8 || bits / 8 != e->t.bytes)
        return tq_fail(err, "%s: tensor %s has %zu bytes, its shape and dtype %s need %zu", file, name, e->t.bytes,
                       d->name, bits / 8);
    return TQ_OK;
}

static int by_offset(const void *a, const void *b) {
    const entry *x = a;
    const entry *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    if (x->end != y->end) return x->end < y->end ? -1 : 1;
    return strcmp(x->t.name, y->t.name);
}

/* Every byte of the data belongs to exactly one tensor. */
static int check_cover(const char *file, const entry *e, size_t n, size_t data_size, tq_err *err) {
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        if (e[i].begin < at) return tq_fail(err, "%s: tensors %s and %s overlap", file, e[i - 1].t.name, e[i].t.name);
        if (e[i].begin > at)
            return tq_fail(err, "%s: a hole of %zu bytes before tensor %s", file, e[i].begin - at, e[i].t.name);
        at = e[i].end;
    }
    if (at != data_size) return tq_fail(err, "%s: %zu bytes of data, its tensors cover %zu", file, data_size, at);
    return TQ_OK;
}

/* The checked entries of a parsed header, sorted by offset; the caller frees *out. */
static int read_entries(const char *file, const cJSON *header, size_t data_size, entry **out, size_t *count,
                        tq_err *err) {
    size_t n = 0;
    for (const cJSON *m = header->child; m; m = m->next)
        n++;
    entry *e = calloc(n + 1, sizeof *e);
    if (!e) return tq_fail(err, "%s: out of memory", file);
    n = 0;
    for (const cJSON *m = header->child; m; m = m->next) {
        if (strcmp(m->string, "__metadata__") == 0) continue;
        if (read_entry(file, m, data_size, &e[n++], err)) goto fail;
    }
    qsort(e, n, sizeof *e, by_offset);
    if (check_cover(file, e, n, data_size, err)) goto fail;
    *out = e;
    *count = n;
    return TQ_OK;
fail:
    free(e);
    return TQ_FAIL;
}

/* The parsed header, NULL on failure. */
static cJSON *read_header(const tq_shard *shard, size_t *data_at, tq_err *err) {
    const unsigned char *p = shard->map;
    const char *file = shard->name;
    uint64_t n = 0;
    cJSON *header = NULL;
    for (int i = 7; i >= 0 && shard->size >= 8; i--)
        n = n << 8 | p[i];
    if (shard->size < 8)
        tq_fail(err, "%s: %zu bytes are too few for a safetensors file", file, shard->size);
    else if (n > MAX_HEADER)
        tq_fail(err, "%s: a header of %ju bytes; at most 100 MB are read", file, (uintmax_t)n);
    else if (n > shard->size - 8)
        tq_fail(err, "%s: truncated: its header of %ju bytes goes past the end", file, (uintmax_t)n);
    else if (n == 0 || p[8] != '{')
        tq_fail(err, "%s: not a safetensors file: the header is no JSON object", file);
    else if (tq_json_parse(file, (const char *)p + 8, (size_t)n, MAX_VALUES, &header, err))
        header = NULL;
    if (header && tq_json_unique(file, "the header", header, err)) {
        cJSON_Delete(header);
        header = NULL;
    }
    *data_at = 8 + (size_t)n;
    return header;
}

/* A row of an index: which tensor is in which file. Borrowed from the JSON. */
typedef struct placed {
    const char *tensor, *file;
} placed;

static int by_tensor(const void *a, const void *b) {
    return strcmp(((const placed *)a)->tensor, ((const placed *)b)->tensor);
}

static bool is_wanted(const char *name, const placed *wanted, size_t n) {
    const placed key = {name, NULL};
    return bsearch(&key, wanted, n, sizeof *wanted, by_tensor) != NULL;
}

/* Adds the tensors of a shard: all of them, or those that an index wants from it (sorted by name). */
static int read_shard(tq_source *s, size_t shard, const placed *wanted, size_t n_wanted, tq_err *err) {
    const tq_shard *f = &s->shards[shard];
    entry *e = NULL;
    size_t n = 0;
    size_t data_at = 0;
    cJSON *header = read_header(f, &data_at, err);
    int rc = header ? read_entries(f->name, header, f->size - data_at, &e, &n, err) : TQ_FAIL;
    for (size_t i = 0; i < n && !rc; i++) {
        if (wanted && !is_wanted(e[i].t.name, wanted, n_wanted)) continue;
        e[i].t.data = (const char *)f->map + data_at + e[i].begin;
        rc = tq_source_add(s, shard, e[i].t.name, &e[i].t, err);
    }
    for (size_t i = 0; i < n_wanted && !rc; i++)
        if (!tq_source_find(s, wanted[i].tensor))
            rc = tq_fail(err, "%s: tensor %s is missing; the index says that it is in this file", f->name,
                         wanted[i].tensor);
    free(e);
    cJSON_Delete(header);
    return rc;
}

static int by_file(const void *a, const void *b) {
    int c = strcmp(((const placed *)a)->file, ((const placed *)b)->file);
    return c ? c : by_tensor(a, b);
}

static int check_index(const char *file, const cJSON *map, tq_err *err) {
    if (!map || !cJSON_IsObject(map)) return tq_fail(err, "%s: no weight_map", file);
    if (!map->child) return tq_fail(err, "%s: the weight_map is empty", file);
    for (const cJSON *m = map->child; m; m = m->next) {
        const char *shard = cJSON_GetStringValue(m);
        if (!shard || !*shard) return tq_fail(err, "%s: no file name for tensor %s", file, m->string);
        if (strchr(shard, '/') || strstr(shard, "..") || !ends_with(shard, ".safetensors"))
            return tq_fail(err, "%s: tensor %s is said to be in \"%s\": expected the name of a .safetensors file here",
                           file, m->string, shard);
    }
    return tq_json_unique(file, "the weight_map", map, err);
}

/* Maps and reads the shards, in the order of their names. */
static int read_placed(tq_source *s, const char *file, const placed *rows, size_t n, tq_err *err) {
    for (size_t i = 0, k; i < n; i = k) {
        for (k = i; k < n && strcmp(rows[k].file, rows[i].file) == 0;)
            k++;
        if (s->n_shards == MAX_SHARDS) return tq_fail(err, "%s: more than %zu shards", file, MAX_SHARDS);
        if (tq_source_map(s, rows[i].file, err) || read_shard(s, s->n_shards - 1, rows + i, k - i, err)) return TQ_FAIL;
    }
    return TQ_OK;
}

static int open_index(tq_source *s, const char *file, tq_err *err) {
    cJSON *root = tq_json_load(s->dir, file, MAX_HEADER, MAX_VALUES, err);
    if (!root) return TQ_FAIL;
    const cJSON *map = tq_json_get(root, "weight_map");
    placed *rows = NULL;
    size_t n = 0;
    int rc = check_index(file, map, err);
    for (const cJSON *m = map ? map->child : NULL; m; m = m->next)
        n++;
    if (!rc && !(rows = calloc(n + 1, sizeof *rows))) rc = tq_fail(err, "%s: out of memory", file);
    if (!rc && rows && map) {
        n = 0;
        for (const cJSON *m = map->child; m; m = m->next)
            rows[n++] = (placed){m->string, m->valuestring};
        qsort(rows, n, sizeof *rows, by_file);
        rc = read_placed(s, file, rows, n, err);
    }
    free(rows);
    cJSON_Delete(root);
    return rc;
}

static int open_safetensors(tq_source *s, bool directory, tq_err *err) {
    const char *slash = strrchr(s->path, '/');
    const char *file = slash ? slash + 1 : s->path;
    if (directory) file = exists(s->dir, index_name) ? index_name : single_name;
    if (ends_with(file, index_suffix)) return open_index(s, file, err);
    int rc = tq_source_map(s, file, err);
    if (!rc) rc = read_shard(s, 0, NULL, 0, err);
    return rc;
}

const tq_format tq_format_safetensors = {.name = "safetensors", .probe = probe, .open = open_safetensors};
