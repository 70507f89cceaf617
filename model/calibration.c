/* calibration.c - one pass over a text, and the cache of what it gave. See calibration.h. */
#include "model/calibration.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "model/calibration_internal.h"
#include "model/gather.h"
#include "model/memory_plan.h"
#include "model/source_internal.h"
#include "model/tensor_writer.h"
#include "model/weights_internal.h"

/* Moments that may stay in memory although they are in the cache. */
#define RESIDENT_BYTES ((size_t)64 << 20)
#define MAGIC "tqmoment"
#define VERSION 2

/* How a file of the cache begins; `bytes` of contents follow: the sites of all matrices, or one moment. */
typedef struct file_head {
    char magic[8];
    uint64_t version, key, bytes, hash;
} file_head;

size_t tq_calibration_tokens(const tq_calibration *c) {
    return c->windows * TQ_CALIB_CTX;
}

char *tq_cache_dir(void) {
    const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char *dir = NULL;
    if (base && base[0] == '/') return asprintf(&dir, "%s/tqexplore", base) < 0 ? NULL : dir;
    if (home && home[0] == '/') return asprintf(&dir, "%s/.cache/tqexplore", home) < 0 ? NULL : dir;
    return NULL;
}

static uint64_t make_key(const tq_model *m, const char *text_hash, size_t windows) {
    char hash[17];
    uint64_t numbers[] = {VERSION, TQ_CALIB_CTX, windows};
    tq_source_hash(tq_model_source(m), hash);
    uint64_t key = tq_hash_bytes(TQ_HASH_SEED, hash, strlen(hash));
    key = tq_hash_bytes(key, text_hash, strlen(text_hash));
    return tq_hash_bytes(key, numbers, sizeof numbers);
}

int tq_calibration_new(const tq_model *m, tq_pool *pool, const int *ids, size_t n, size_t tokens, const char *text_hash,
                       const char *cache_dir, tq_calibration **out, tq_err *err) {
    *out = NULL;
    if (n < TQ_CALIB_CTX)
        return tq_fail(err, "a text of %zu tokens, expected at least one window of %d to calibrate", n, TQ_CALIB_CTX);
    tq_calibration *c = calloc(1, sizeof *c);
    if (!c) return tq_fail(err, "out of memory");
    size_t matrices = tq_model_matrices(m), windows = n / TQ_CALIB_CTX, most = tokens / TQ_CALIB_CTX;
    c->model = m;
    c->pool = pool;
    c->windows = windows < most ? windows : most ? most : 1;
    c->key = make_key(m, text_hash, c->windows);
    c->ids = malloc(c->windows * TQ_CALIB_CTX * sizeof *c->ids);
    c->sites = calloc(matrices + 1, sizeof *c->sites);
    c->site_of = malloc((matrices + 1) * sizeof *c->site_of);
    c->cache_dir = cache_dir && tq_make_dirs(cache_dir) ? strdup(cache_dir) : NULL;
    if (!c->ids || !c->sites || !c->site_of) {
        tq_calibration_free(c);
        return tq_fail(err, "out of memory");
    }
    for (size_t w = 0; w < c->windows; w++)
        memcpy(c->ids + w * TQ_CALIB_CTX, ids + w * windows / c->windows * TQ_CALIB_CTX, TQ_CALIB_CTX * sizeof *c->ids);
    for (size_t i = 0; i < matrices; i++)
        c->site_of[i] = SIZE_MAX;
    *out = c;
    return TQ_OK;
}

void tq_calibration_free(tq_calibration *c) {
    if (!c) return;
    for (size_t i = 0; c->sites && i < c->count; i++)
        free(c->sites[i].xx);
    free(c->sites);
    free(c->site_of);
    free(c->ids);
    free(c->cache_dir);
    free(c->loaded);
    free(c);
}

/* --- the cache --- */

/* The file of site i, or of the index for SIZE_MAX. The caller frees it; NULL when there is no cache. */
static char *file_of(const tq_calibration *c, size_t i) {
    char *path = NULL;
    int n = !c->cache_dir   ? -1
            : i == SIZE_MAX ? asprintf(&path, "%s/%016" PRIx64 ".index", c->cache_dir, c->key)
                            : asprintf(&path, "%s/%016" PRIx64 ".%zu", c->cache_dir, c->key, i);
    return n < 0 ? NULL : path;
}

/* False when it cannot be written: it is then gathered again another time. */
static bool write_cached(const tq_calibration *c, size_t i, const void *data, size_t bytes) {
    file_head head = {.version = VERSION, .key = c->key, .bytes = bytes};
    char *path = file_of(c, i), *all = path ? malloc(sizeof head + bytes) : NULL;
    bool ok = false;
    if (all) {
        memcpy(head.magic, MAGIC, sizeof head.magic);
        head.hash = tq_hash_bytes(TQ_HASH_SEED, data, bytes);
        memcpy(all, &head, sizeof head);
        memcpy(all + sizeof head, data, bytes);
        ok = tq_write_file(path, all, sizeof head + bytes, NULL) == TQ_OK;
    }
    free(all);
    free(path);
    return ok;
}

/* Exactly `bytes` bytes of contents that are what they were when written, or false. */
static bool read_cached(const tq_calibration *c, size_t i, void *data, size_t bytes) {
    file_head head;
    char *path = file_of(c, i), *all = NULL;
    size_t n = 0;
    bool ok = path && tq_read_file(path, sizeof head + bytes, &all, &n, NULL) == TQ_OK && n == sizeof head + bytes;
    if (ok) {
        memcpy(&head, all, sizeof head);
        ok = memcmp(head.magic, MAGIC, sizeof head.magic) == 0 && head.version == VERSION && head.key == c->key &&
             head.bytes == bytes && head.hash == tq_hash_bytes(TQ_HASH_SEED, all + sizeof head, bytes);
    }
    if (ok) memcpy(data, all + sizeof head, bytes);
    free(all);
    free(path);
    return ok;
}

static size_t square_bytes(size_t n) {
    return n * n * sizeof(float);
}

/* Embeddings are looked up: they have no input. */
static bool has_input(const tq_matrix *m) {
    return m->end == TQ_END_NONE || m->end == TQ_END_HEAD;
}

/* Takes one matrix's entry over: a site, which others may share, and the tokens that reach it; or none, for an expert.
 */
static bool take_entry(tq_calibration *c, size_t matrix, const uint64_t entry[2]) {
    const tq_matrix *m = tq_model_matrix(c->model, matrix);
    size_t matrices = tq_model_matrices(c->model);
    c->site_of[matrix] = SIZE_MAX;
    if (entry[0] == UINT64_MAX) return m->expert != SIZE_MAX || !has_input(m);
    if (entry[0] >= matrices || !entry[1] || entry[1] > tq_calibration_tokens(c)) return false;
    tq_calib_site *s = &c->sites[entry[0]];
    if (!s->n) *s = (tq_calib_site){.block = m->block, .n = m->w.cols, .seen = (size_t)entry[1]};
    c->site_of[matrix] = (size_t)entry[0];
    if (entry[0] >= c->count) c->count = (size_t)entry[0] + 1;
    return s->n == m->w.cols && s->block == m->block && s->seen == entry[1];
}

/* The sites as the index has them; false when one of their files is missing. */
static bool read_index(tq_calibration *c) {
    size_t matrices = tq_model_matrices(c->model);
    uint64_t *index = calloc(matrices + 1, 2 * sizeof *index);
    bool ok = index && read_cached(c, SIZE_MAX, index, 2 * matrices * sizeof *index);
    memset(c->sites, 0, (matrices + 1) * sizeof *c->sites);
    c->count = 0;
    for (size_t i = 0; ok && i < matrices; i++)
        ok = take_entry(c, i, index + 2 * i);
    for (size_t i = 0; ok && i < c->count; i++) {
        struct stat st;
        char *path = file_of(c, i);
        ok = c->sites[i].n && path && stat(path, &st) == 0 &&
             (size_t)st.st_size == sizeof(file_head) + square_bytes(c->sites[i].n);
        free(path);
    }
    if (!ok) c->count = 0;
    free(index);
    return ok;
}

static void write_index(const tq_calibration *c) {
    size_t matrices = tq_model_matrices(c->model);
    uint64_t *index = calloc(matrices + 1, 2 * sizeof *index);
    for (size_t i = 0; index && i < matrices; i++) {
        size_t site = c->site_of[i];
        index[2 * i] = site == SIZE_MAX ? UINT64_MAX : site;
        index[2 * i + 1] = site == SIZE_MAX ? 0 : c->sites[site].seen;
    }
    if (index) (void)write_cached(c, SIZE_MAX, index, 2 * matrices * sizeof *index);
    free(index);
}

/* --- the pass --- */

static int observe(void *ctx, const size_t *matrices, size_t count, const float *x, size_t n, tq_err *err) {
    tq_calibration *c = ctx;
    size_t i = c->site_of[matrices[0]], cols = tq_model_matrix(c->model, matrices[0])->w.cols, cells = 0;
    if (i == SIZE_MAX) {
        i = c->count;
        tq_calib_site *s = &c->sites[i];
        *s = (tq_calib_site){.block = tq_model_matrix(c->model, matrices[0])->block, .n = cols};
        s->xx = tq_mul_size(&cells, cols, cols) ? tq_calloc_aligned(cells, sizeof *s->xx) : NULL;
        if (!s->xx) return tq_fail(err, "out of memory for a second moment of %zu inputs", cols);
        c->count++;
        for (size_t j = 0; j < count; j++)
            c->site_of[matrices[j]] = i;
    }
    c->sites[i].seen += n;
    tq_gather_add(c->pool, c->sites[i].xx, x, x, n, cols);
    return TQ_OK;
}

/* Sites from `first` on are complete: to means, and into the cache. */
static void finish_block(tq_calibration *c, size_t first) {
    size_t resident = 0;
    for (size_t i = 0; i < first; i++)
        resident += c->sites[i].xx ? square_bytes(c->sites[i].n) : 0;
    for (size_t i = first; i < c->count; i++) {
        tq_calib_site *s = &c->sites[i];
        tq_gather_finish(s->xx, s->n, s->seen, true);
        bool written = write_cached(c, i, s->xx, square_bytes(s->n));
        resident += square_bytes(s->n);
        if (!written || resident <= RESIDENT_BYTES) continue;
        free(s->xx);
        s->xx = NULL;
    }
}

/* Experts have many moments: is there room for those of one block in memory, and for all in the cache? */
static int check_room(const tq_calibration *c, tq_err *err) {
    const tq_config *config = tq_model_config(c->model);
    size_t block = config->experts * (square_bytes(config->hidden) + square_bytes(config->expert_width)), all = 0;
    size_t memory = tq_machine_memory();
    for (size_t b = 0; b < config->blocks; b++)
        all += config->mixture[b] ? block : 0;
    if (!all) return TQ_OK;
    if (block > memory)
        return tq_fail(err, "the second moments of %zu experts take %zu MiB, there are %zu MiB of memory",
                       config->experts, block >> 20, memory >> 20);
    size_t room = c->cache_dir ? tq_free_space(c->cache_dir) : memory;
    if (all > room)
        return tq_fail(err, "the second moments of all experts take %zu MiB, %zu MiB are free %s", all >> 20,
                       room >> 20, c->cache_dir ? "for the cache" : "in memory");
    return TQ_OK;
}

/* The inputs of a head that is no embedding: h: [tokens, hidden], after the last block. */
static int pass_head(tq_calibration *c, tq_forward *f, const float *h, tq_err *err) {
    size_t hidden = tq_model_config(c->model)->hidden, first = c->count, head = tq_model_head(c->model);
    size_t tokens = tq_calibration_tokens(c), group = (size_t)TQ_CALIB_WINDOWS * TQ_CALIB_CTX;
    if (!has_input(tq_model_matrix(c->model, head))) return TQ_OK;
    float *x = tq_calloc_aligned(group * hidden, sizeof *x);
    int rc = x ? TQ_OK : tq_fail(err, "out of memory for the inputs of the output head");
    for (size_t at = 0; rc == TQ_OK && at < tokens; at += group) {
        size_t n = tokens - at < group ? tokens - at : group;
        tq_forward_final_norm(f, h + at * hidden, n, x);
        rc = observe(c, &head, 1, x, n, err);
    }
    free(x);
    if (rc == TQ_OK) finish_block(c, first);
    return rc;
}

static int run_pass(tq_calibration *c, tq_forward *f, float *h, const tq_progress *p, tq_err *err) {
    size_t hidden = tq_model_config(c->model)->hidden, blocks = tq_model_config(c->model)->blocks;
    int rc = tq_forward_embed(f, NULL, c->ids, tq_calibration_tokens(c), h, err);
    tq_forward_observe(f, observe, c);
    for (size_t b = 0; rc == TQ_OK && b < blocks; b++) {
        size_t first = c->count;
        for (size_t w = 0; rc == TQ_OK && w < c->windows; w += TQ_CALIB_WINDOWS) {
            size_t n = c->windows - w < TQ_CALIB_WINDOWS ? c->windows - w : TQ_CALIB_WINDOWS;
            rc = tq_forward_block(f, NULL, b, h + w * TQ_CALIB_CTX * hidden, n, TQ_CALIB_CTX, p, err);
            tq_progress_report(p, (double)b + (double)(w + n) / (double)c->windows, (double)blocks);
        }
        tq_model_block_done(c->model, b);
        if (rc == TQ_OK) finish_block(c, first);
    }
    return rc == TQ_OK ? pass_head(c, f, h, err) : rc;
}

static void forget_sites(tq_calibration *c) {
    for (size_t i = 0; i < c->count; i++)
        free(c->sites[i].xx);
    for (size_t i = 0; i < tq_model_matrices(c->model); i++)
        c->site_of[i] = SIZE_MAX;
    memset(c->sites, 0, (tq_model_matrices(c->model) + 1) * sizeof *c->sites);
    c->count = 0;
    c->gathered = false;
}

int tq_calibration_gather(tq_calibration *c, const tq_progress *p, tq_err *err) {
    if (c->gathered) return TQ_OK;
    if (c->cache_dir && read_index(c)) {
        c->gathered = true;
        return TQ_OK;
    }
    forget_sites(c);
    size_t cells = 0;
    if (check_room(c, err) != TQ_OK) return TQ_FAIL;
    tq_forward *f = tq_forward_new(c->model, c->pool, err);
    if (!f) return TQ_FAIL;
    bool fits = tq_mul_size(&cells, tq_calibration_tokens(c), tq_model_config(c->model)->hidden);
    float *h = fits ? tq_calloc_aligned(cells, sizeof *h) : NULL;
    int rc = h ? run_pass(c, f, h, p, err) : tq_fail(err, "out of memory for the hidden states of a calibration");
    free(h);
    tq_forward_free(f);
    if (rc != TQ_OK) {
        forget_sites(c);
        return rc;
    }
    if (c->cache_dir) write_index(c);
    c->gathered = true;
    return TQ_OK;
}

bool tq_calibration_is_few(const tq_calibration *c, size_t matrix) {
    size_t site = c->site_of[matrix];
    return site == SIZE_MAX ||
           (tq_model_matrix(c->model, matrix)->expert != SIZE_MAX && c->sites[site].seen < TQ_CALIB_TOKENS_FEW);
}

int tq_calibration_moment(tq_calibration *c, size_t matrix, const tq_progress *p, tq_moment *out, tq_err *err) {
    for (int tries = 0; tries < 2; tries++) {
        int rc = tq_calibration_gather(c, p, err);
        if (rc != TQ_OK) return rc;
        *out = (tq_moment){.n = tq_model_matrix(c->model, matrix)->w.cols};
        if (tq_calibration_is_few(c, matrix)) return TQ_OK;
        const tq_calib_site *s = &c->sites[c->site_of[matrix]];
        out->xx = s->xx;
        if (s->xx) return TQ_OK;
        free(c->loaded);
        c->loaded = tq_calloc_aligned(s->n * s->n, sizeof *c->loaded);
        if (!c->loaded) return tq_fail(err, "out of memory for a second moment of %zu inputs", s->n);
        out->xx = c->loaded;
        if (read_cached(c, c->site_of[matrix], c->loaded, square_bytes(s->n))) return TQ_OK;
        forget_sites(c); /* a file that is not what it was: all are gathered again */
        char *path = file_of(c, SIZE_MAX);
        if (path) (void)remove(path);
        free(path);
    }
    return tq_fail(err, "the cache of second moments cannot be read");
}
