/* tensor_source.c - named tensors from whichever format; the table of formats, the map, the index by name, the hash.
 *
 * A file that another program truncates while it is mapped raises SIGBUS at the next access: that is out of scope here,
 * as it is for every reader that maps. */
#include "model/tensor_source.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "model/json.h"
#include "model/source_internal.h"

static const tq_format *const formats[] = {&tq_format_safetensors, &tq_format_gguf, NULL};

uint64_t tq_hash_bytes(uint64_t seed, const void *data, size_t n) {
    const unsigned char *p = data;
    for (size_t i = 0; i < n; i++)
        seed = (seed ^ p[i]) * 0x100000001b3u;
    return seed;
}

int tq_source_map(tq_source *s, const char *name, tq_err *err) {
    int rc = TQ_FAIL;
    int fd = -1;
    struct stat st;
    tq_shard shard = {0};
    tq_shard *grown = realloc(s->shards, (s->n_shards + 1) * sizeof *grown);
    char *path = tq_path_join(s->dir, name);
    shard.name = strdup(name);
    if (grown) s->shards = grown;
    if (!grown || !path || !shard.name) {
        tq_fail(err, "%s: out of memory", name);
        goto done;
    }
    /* O_NONBLOCK: opening a pipe must not wait for its writer. */
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        tq_fail(err, "%s: cannot open: %s", path, strerror(errno));
        goto done;
    }
    if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        tq_fail(err, "%s: not a regular file", path);
        goto done;
    }
    shard.size = (size_t)st.st_size;
    if (shard.size > 0) {
        shard.map = mmap(NULL, shard.size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (shard.map == MAP_FAILED) {
            tq_fail(err, "%s: cannot map: %s", path, strerror(errno));
            goto done;
        }
    }
    s->shards[s->n_shards++] = shard;
    shard.name = NULL;
    rc = TQ_OK;
done:
    if (fd >= 0) close(fd);
    free(shard.name);
    free(path);
    return rc;
}

static size_t *find_slot(const tq_source *s, const char *name) {
    size_t i = tq_hash_bytes(TQ_HASH_SEED, name, strlen(name)) & (s->n_slots - 1);
    while (s->slots[i] && strcmp(s->tensors[s->slots[i] - 1].name, name) != 0)
        i = (i + 1) & (s->n_slots - 1);
    return &s->slots[i];
}

static bool grow(tq_source *s) {
    size_t capacity = s->capacity ? 2 * s->capacity : 256;
    tq_tensor *tensors = realloc(s->tensors, capacity * sizeof *tensors);
    if (tensors) s->tensors = tensors;
    size_t *shard_of = realloc(s->shard_of, capacity * sizeof *shard_of);
    if (shard_of) s->shard_of = shard_of;
    size_t *slots = calloc(2 * capacity, sizeof *slots);
    if (!tensors || !shard_of || !slots) {
        free(slots);
        return false;
    }
    free(s->slots);
    s->slots = slots;
    s->n_slots = 2 * capacity;
    s->capacity = capacity;
    for (size_t i = 0; i < s->count; i++)
        *find_slot(s, s->tensors[i].name) = i + 1;
    return true;
}

/* The element size as far as arithmetic here reads elements; what we never read may lie anywhere. */
static bool is_aligned(const tq_tensor *t) {
    size_t size = tq_dtype_size(t->dtype);
    return size < 2 || (uintptr_t)t->data % size == 0;
}

/* Files written without padding put wide elements at odd addresses. C may not read them there, so those few tensors
 * are copied. */
static int align_tensor(tq_source *s, const char *name, tq_tensor *t, tq_err *err) {
    void **copies = realloc(s->copies, (s->n_copies + 1) * sizeof *copies);
    if (copies) s->copies = copies;
    void *copy = copies ? tq_calloc_aligned(t->bytes, 1) : NULL;
    if (!copy) return tq_fail(err, "%s: tensor %s: out of memory for an aligned copy", s->path, name);
    memcpy(copy, t->data, t->bytes);
    s->copies[s->n_copies++] = copy;
    t->data = copy;
    return TQ_OK;
}

int tq_source_add(tq_source *s, size_t shard, const char *name, const tq_tensor *t, tq_err *err) {
    const char *file = s->shards[shard].name;
    if (s->count == s->capacity && !grow(s)) return tq_fail(err, "%s: out of memory", file);
    size_t *slot = find_slot(s, name);
    if (*slot) return tq_fail(err, "%s: tensor %s is there twice", file, name);
    tq_tensor copy = *t;
    if (copy.bytes > 0 && !is_aligned(&copy) && align_tensor(s, name, &copy, err)) return TQ_FAIL;
    copy.name = strdup(name);
    if (!copy.name) return tq_fail(err, "%s: out of memory", file);
    s->tensors[s->count] = copy;
    s->shard_of[s->count] = shard;
    *slot = ++s->count;
    return TQ_OK;
}

void tq_source_close(tq_source *s) {
    if (!s) return;
    if (s->format->close) s->format->close(s);
    for (size_t i = 0; i < s->count; i++)
        free((char *)s->tensors[i].name);
    for (size_t i = 0; i < s->n_copies; i++)
        free(s->copies[i]);
    for (size_t i = 0; i < s->n_shards; i++) {
        if (s->shards[i].map) munmap(s->shards[i].map, s->shards[i].size);
        free(s->shards[i].name);
    }
    free(s->copies);
    free(s->shards);
    free(s->slots);
    free(s->shard_of);
    free(s->tensors);
    free(s->dir);
    free(s->path);
    free(s);
}

static char *directory_of(const char *path) {
    const char *slash = strrchr(path, '/');
    if (!slash) return strdup(".");
    return strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

int tq_source_open(const char *path, tq_source **out, tq_err *err) {
    *out = NULL;
    struct stat st;
    if (stat(path, &st)) return tq_fail(err, "%s: cannot open: %s", path, strerror(errno));
    bool directory = S_ISDIR(st.st_mode);
    const tq_format *format = NULL;
    for (const tq_format *const *f = formats; *f && !format; f++)
        if ((*f)->probe(path, directory)) format = *f;
    if (!format)
        return tq_fail(
            err,
            "%s: no model here: expected a .safetensors or .gguf file, or a directory with model.safetensors "
            "or model.safetensors.index.json",
            path);
    tq_source *s = calloc(1, sizeof *s);
    if (!s) return tq_fail(err, "%s: out of memory", path);
    s->format = format;
    s->path = strdup(path);
    s->dir = directory ? strdup(path) : directory_of(path);
    int rc = s->path && s->dir ? format->open(s, directory, err) : tq_fail(err, "%s: out of memory", path);
    if (rc) {
        tq_source_close(s);
        return rc;
    }
    *out = s;
    return TQ_OK;
}

tq_matrix_view tq_tensor_view(const tq_tensor *t) {
    size_t cols = t->rank == 0 || (t->rank == 1 && t->paired) ? 1 : t->shape[t->rank - 1];
    return (tq_matrix_view){.data = t->data,
                            .dtype = t->dtype,
                            .rows = cols ? t->count / cols : 0,
                            .cols = cols,
                            .codec = t->codec,
                            .paired = t->paired};
}

const char *tq_source_format(const tq_source *s) {
    return s->format->name;
}
const char *tq_source_path(const tq_source *s) {
    return s->path;
}
const char *tq_source_dir(const tq_source *s) {
    return s->dir;
}
size_t tq_source_count(const tq_source *s) {
    return s->count;
}
const tq_tensor *tq_source_at(const tq_source *s, size_t i) {
    return &s->tensors[i];
}
size_t tq_source_shards(const tq_source *s) {
    return s->n_shards;
}
const char *tq_source_shard_name(const tq_source *s, size_t shard) {
    return s->shards[shard].name;
}
size_t tq_source_shard_of(const tq_source *s, size_t i) {
    return s->shard_of[i];
}

/* Cannot overflow: every tensor lies within a mapped file, and maps do not overlap. */
size_t tq_source_bytes(const tq_source *s) {
    size_t bytes = 0;
    for (size_t i = 0; i < s->count; i++)
        bytes += s->tensors[i].bytes;
    return bytes;
}

const tq_tensor *tq_source_find(const tq_source *s, const char *name) {
    if (s->n_slots == 0) return NULL;
    size_t i = *find_slot(s, name);
    return i ? &s->tensors[i - 1] : NULL;
}

/* Three pieces of a tensor are hashed: begin, middle and end. More would touch more pages of a large file. */
enum { PIECE = 64, PIECES = 3 };

static size_t piece_at(const tq_tensor *t, int piece) {
    return piece == 0 ? 0 : piece == 1 ? t->bytes / 2 - PIECE / 2 : t->bytes - PIECE;
}

static bool is_hashed_whole(const tq_tensor *t) {
    return t->bytes <= (size_t)PIECES * PIECE;
}

static uint64_t hash_tensor(const tq_tensor *t) {
    uint64_t h = tq_hash_bytes(TQ_HASH_SEED, t->name, strlen(t->name) + 1);
    h = tq_hash_bytes(h, t->dtype_name, strlen(t->dtype_name) + 1);
    for (size_t i = 0; i < t->rank; i++) {
        uint64_t dim = t->shape[i];
        unsigned char le[8];
        for (int b = 0; b < 8; b++)
            le[b] = (unsigned char)(dim >> (8 * b));
        h = tq_hash_bytes(h, le, sizeof le);
    }
    const unsigned char *data = t->data;
    if (is_hashed_whole(t)) return tq_hash_bytes(h, data, t->bytes);
    for (int i = 0; i < PIECES; i++)
        h = tq_hash_bytes(h, data + piece_at(t, i), PIECE);
    return h;
}

void tq_advise_pages(const void *data, size_t bytes, int advice) {
    const uintptr_t before = (uintptr_t)data % (uintptr_t)sysconf(_SC_PAGESIZE);
    (void)madvise((char *)data - before, bytes + before, advice);
}

static void advise_all(const tq_source *s, int advice) {
    for (size_t i = 0; i < s->n_shards; i++)
        if (s->shards[i].map) tq_advise_pages(s->shards[i].map, s->shards[i].size, advice);
}

/* Asks for the pages of all pieces, so that a disk fetches them side by side. */
static void ask_for_pieces(const tq_source *s) {
    for (size_t i = 0; i < s->count; i++) {
        const tq_tensor *t = &s->tensors[i];
        for (int p = 0; p < PIECES && !is_hashed_whole(t); p++)
            tq_advise_pages((const char *)t->data + piece_at(t, p), PIECE, MADV_WILLNEED);
    }
}

/* A sum, so that the hash is that of the set of tensors, however they are sharded and ordered. What is read lies far
 * apart: with the pages around each piece a file of 16 GB that was not cached took seconds. */
void tq_source_hash(const tq_source *s, char out[17]) {
    uint64_t sum = s->count;
    advise_all(s, MADV_RANDOM);
    ask_for_pieces(s);
    for (size_t i = 0; i < s->count; i++)
        sum += hash_tensor(&s->tensors[i]);
    advise_all(s, MADV_NORMAL);
    snprintf(out, 17, "%016" PRIx64, sum);
}
