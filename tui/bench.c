/* bench.c - encode, decode and prefill beside the machine's own read bandwidth, all in one run. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quant/pages.h"
#include "tui/batch.h"
#include "tui/bench_model.h"

#define READ_BYTES ((size_t)512 << 20) /* more than the caches of a large machine */
#define READ_CHUNK ((size_t)1 << 20)
enum {
    ENCODE_ROWS = 1024,
    ENCODE_COLS = 3072,
    PREFILL = 512,
    PROMPT = 16,
    MAX_VARIANTS = TQ_BITS_COUNT,
    HEAD_GROUP = 128
};
#define ENCODE_SECONDS 0.25 /* at least; the best run counts */
#define DECODE_SECONDS 1.0

typedef struct bench_speed {
    const char *bits;
    double tok_per_s, gbps, prefill;
} bench_speed;

typedef struct bench_encode {
    tq_choice choice;
    double mweights_per_s;
} bench_encode;

typedef struct bench_result {
    const char *cpu;
    int threads;
    double read_gbps, read_huge_gbps; /* from pages of 4 KiB, as of a mapped file, and from huge ones, as of codes */
    bench_encode encode[64];
    size_t n_encode;
    bench_speed speed[MAX_VARIANTS];
    size_t n_speed;
    size_t model_bytes, model_weights;
} bench_result;

/* --- read bandwidth --- */

typedef struct read_run {
    const unsigned char *data;
    _Atomic uint64_t sum; /* so that reading cannot be left out */
} read_run;

static void read_some(void *ctx, size_t begin, size_t end, int thread) {
    read_run *r = ctx;
    (void)thread;
    r->sum += tq_k()->read_sum(r->data + begin * READ_CHUNK, (end - begin) * READ_CHUNK);
}

static int measure_read(tq_pool *pool, bool huge, double *gbps, tq_err *err) {
    unsigned char *data = huge ? tq_pages_alloc(READ_BYTES) : tq_calloc_aligned(READ_BYTES, 1);
    if (!data) return tq_fail(err, "out of memory: %zu MiB to read", READ_BYTES >> 20);
    memset(data, 1, READ_BYTES); /* zero pages that were never written are all one page */
    read_run r = {.data = data};
    double best = INFINITY;
    for (int i = 0; i < 5; i++) {
        double start = tq_now();
        tq_pool_run(pool, READ_BYTES / READ_CHUNK, 4, read_some, &r);
        double seconds = tq_now() - start;
        best = seconds < best ? seconds : best;
    }
    if (huge)
        tq_pages_free(data);
    else
        free(data);
    *gbps = (double)READ_BYTES / best * 1e-9;
    return TQ_OK;
}

/* --- encode --- */

static int measure_encode(const tq_matrix_view *w, const tq_qspec *spec, tq_rotation_cache *cache, tq_pool *pool,
                          double *mweights_per_s, tq_err *err) {
    double best = INFINITY, until = tq_now() + ENCODE_SECONDS;
    do {
        tq_qmatrix *q = NULL;
        tq_distortion distortion;
        double start = tq_now();
        int rc = tq_qmatrix_encode(w, spec, cache, pool, NULL, &q, &distortion, err);
        double seconds = tq_now() - start;
        tq_qmatrix_free(q);
        if (rc != TQ_OK) return rc;
        best = seconds < best ? seconds : best;
    } while (tq_now() < until);
    *mweights_per_s = (double)w->rows * (double)w->cols / best * 1e-6;
    return TQ_OK;
}

static int measure_encodes(tq_session *s, tq_batch *b, bench_result *r, tq_err *err) {
    size_t n = (size_t)ENCODE_ROWS * ENCODE_COLS;
    uint16_t *data = malloc(n * sizeof *data);
    tq_rotation_cache *cache = tq_rotation_cache_new();
    int rc = data && cache ? TQ_OK : tq_fail(err, "out of memory");
    if (rc == TQ_OK) tq_bench_random(data, n, 0.02F, 1);
    tq_matrix_view w = {.data = data, .dtype = TQ_BF16, .rows = ENCODE_ROWS, .cols = ENCODE_COLS};
    tq_common common = tq_plan_common(tq_session_plan(s));
    tq_qspec spec = tq_qspec_of(TQ_BITS_KEEP, 0, &common);
    spec.calibrate = TQ_CALIBRATE_NONE;
    for (size_t i = TQ_BITS_KEEP + 1; i < TQ_BITS_COUNT; i++) {
        for (size_t g = 0; g < tq_groups_count && rc == TQ_OK; g++) {
            bench_encode *e = &r->encode[r->n_encode++];
            spec.bits = (tq_bits)i;
            spec.group = tq_groups[g];
            e->choice = (tq_choice){spec.bits, spec.group};
            rc = measure_encode(&w, &spec, cache, tq_session_pool(s), &e->mweights_per_s, err);
            if (rc == TQ_OK && tq_progress_cancelled(&b->progress)) rc = tq_cancelled(err);
            tq_progress_report(&b->progress, (double)r->n_encode, (double)((TQ_BITS_COUNT - 1) * tq_groups_count));
        }
    }
    tq_rotation_cache_free(cache);
    free(data);
    return rc;
}

/* --- decode and prefill --- */

/* What one token reads: all weights, but of an embedding that is not the head too only a row. */
static size_t bytes_per_token(const tq_session *s, const tq_forward *f) {
    const tq_model *m = tq_session_model(s);
    const tq_config *c = tq_model_config(m);
    char name[128];
    (void)snprintf(name, sizeof name, "%sembed_tokens.weight", c->prefix);
    const tq_tensor *embedding = tq_source_find(tq_model_source(m), name);
    size_t bytes = tq_session_memory(s).total - tq_forward_head_saves(f);
    return c->tied || !embedding ? bytes : bytes - embedding->bytes;
}

/* A plan leaves the head as stored; here it is at 4+4 beside packed matrices, as other programs pack theirs. */
static int pack_head(const tq_session *s, tq_forward *f, tq_err *err) {
    tq_common common = tq_plan_common(tq_session_plan(s));
    tq_qspec spec = tq_qspec_of(TQ_BITS_4_4, HEAD_GROUP, &common);
    spec.calibrate = TQ_CALIBRATE_NONE;
    return tq_forward_pack_head(f, &spec, err);
}

/* Prefill and decode with the session's matrices as they are. */
static int measure_speed(tq_session *s, tq_batch *b, bool kept, bench_speed *out, tq_err *err) {
    const tq_config *c = tq_model_config(tq_session_model(s));
    size_t context = c->context && c->context < 4096 ? c->context : 4096, prefill = PREFILL, tokens = 0;
    if (prefill + 1 >= context) prefill = context / 2;
    int ids[PREFILL];
    for (size_t i = 0; i < PREFILL; i++)
        ids[i] = (int)(i * 7919 % c->vocab);
    tq_cache *cache = tq_cache_new(tq_session_model(s), context, err);
    tq_forward *f = tq_forward_new(tq_session_model(s), tq_session_pool(s), err);
    float *logits = tq_calloc_aligned(c->vocab, sizeof *logits);
    tq_variant q = tq_session_variant(s);
    int rc = !cache || !f ? TQ_FAIL : logits ? TQ_OK : tq_fail(err, "out of memory");
    if (rc == TQ_OK && !kept) rc = pack_head(s, f, err);
    if (rc == TQ_OK) tq_forward_set_arithmetic(f, tq_session_arithmetic(s));
    for (int i = 0; i < 2 && rc == TQ_OK; i++) { /* the first run makes the scratch memory */
        double start = tq_now();
        tq_cache_reset(cache);
        rc = tq_forward_append(f, q, cache, ids, prefill, logits, &b->progress, err);
        out->prefill = (double)prefill / (tq_now() - start);
    }
    if (rc == TQ_OK) {
        tq_cache_reset(cache);
        rc = tq_forward_append(f, q, cache, ids, context / 2 < PROMPT ? 1 : PROMPT, logits, NULL, err);
    }
    double start = tq_now();
    while (rc == TQ_OK && tq_cache_length(cache) < context && (tokens < 8 || tq_now() - start < DECODE_SECONDS)) {
        rc = tq_forward_append(f, q, cache, &ids[tokens++ % PREFILL], 1, logits, NULL, err);
        if (rc == TQ_OK && tq_progress_cancelled(&b->progress)) rc = tq_cancelled(err);
    }
    out->tok_per_s = (double)tokens / (tq_now() - start);
    out->gbps = rc == TQ_OK ? out->tok_per_s * (double)bytes_per_token(s, f) * 1e-9 : 0;
    free(logits);
    tq_forward_free(f);
    tq_cache_free(cache);
    return rc;
}

/* Every matrix at one bit config, groups as the plan has them. */
static int measure_bits(tq_session *s, tq_batch *b, tq_bits bits, bench_speed *out, tq_err *err) {
    char rule[32];
    (void)snprintf(rule, sizeof rule, "*=%s", tq_bits_get(bits)->name);
    tq_plan *plan = tq_plan_copy(tq_session_plan(s));
    int rc = plan ? tq_plan_rule(plan, rule, NULL, err) : tq_fail(err, "out of memory for a plan");
    if (rc == TQ_OK) rc = tq_session_set_plan(s, plan, err);
    tq_plan_free(plan);
    if (rc == TQ_OK) rc = tq_session_apply(s, &b->progress, NULL, NULL, err);
    out->bits = tq_bits_get(bits)->name;
    return rc == TQ_OK ? measure_speed(s, b, bits == TQ_BITS_KEEP, out, err) : rc;
}

static int measure_speeds(const tq_options *o, tq_session *s, tq_batch *b, bench_result *r, tq_err *err) {
    if (o->plan || o->n_rules || tq_session_is_packed(s)) {
        r->speed[0].bits = "plan";
        r->n_speed = 1;
        int rc = tq_session_apply(s, &b->progress, NULL, NULL, err);
        return rc == TQ_OK ? measure_speed(s, b, false, &r->speed[0], err) : rc;
    }
    int rc = TQ_OK;
    for (size_t i = 0; i < TQ_BITS_COUNT && rc == TQ_OK; i++)
        rc = measure_bits(s, b, (tq_bits)i, &r->speed[r->n_speed++], err);
    return rc;
}

/* --- the whole --- */

static int open_model(const tq_options *o, tq_session **s, tq_err *err) {
    static const tq_shape usual = {1024, 3072, 12, 16, 8, 8192};
    tq_session_options options = {.threads = o->threads, .cpu = o->cpu, .exact = o->exact};
    if (o->model) return tq_options_open(o, s, err);
    int rc = tq_bench_model(o->shape.hidden ? &o->shape : &usual, &options, s, err);
    return rc == TQ_OK ? tq_options_plan(o, *s, err) : rc;
}

static bool encode_json(cJSON *root, const bench_result *r) {
    cJSON *array = cJSON_AddArrayToObject(root, "encode");
    for (size_t i = 0; array && i < r->n_encode; i++) {
        cJSON *e = cJSON_CreateObject();
        if (!e || !cJSON_AddItemToArray(array, e) || !tq_json_choice(e, r->encode[i].choice) ||
            !tq_json_number(e, "mweights_per_s", r->encode[i].mweights_per_s))
            return false;
    }
    return array != NULL;
}

static bool speed_json(cJSON *root, const bench_result *r) {
    cJSON *decode = cJSON_AddArrayToObject(root, "decode"), *prefill = cJSON_AddArrayToObject(root, "prefill");
    for (size_t i = 0; decode && prefill && i < r->n_speed; i++) {
        const bench_speed *s = &r->speed[i];
        cJSON *d = cJSON_CreateObject(), *p = cJSON_CreateObject();
        if (!d || !p || !cJSON_AddItemToArray(decode, d) || !cJSON_AddItemToArray(prefill, p)) return false;
        if (!cJSON_AddStringToObject(d, "bits", s->bits) || !tq_json_number(d, "tok_per_s", s->tok_per_s) ||
            !tq_json_number(d, "gbps", s->gbps) || !cJSON_AddStringToObject(p, "bits", s->bits) ||
            !tq_json_number(p, "tok_per_s", s->prefill))
            return false;
    }
    return decode && prefill;
}

static cJSON *result_json(const bench_result *r) {
    cJSON *root = cJSON_CreateObject();
    bool ok = cJSON_AddStringToObject(root, "cpu", r->cpu) && tq_json_number(root, "threads", r->threads) &&
              tq_json_number(root, "read_gbps", r->read_gbps) &&
              tq_json_number(root, "read_huge_gbps", r->read_huge_gbps) && encode_json(root, r) && speed_json(root, r);
    cJSON *model = ok ? cJSON_AddObjectToObject(root, "model") : NULL;
    if (model && tq_json_number(model, "weights", (double)r->model_weights) &&
        tq_json_number(model, "bytes", (double)r->model_bytes))
        return root;
    cJSON_Delete(root);
    return NULL;
}

static void print_result(const bench_result *r) {
    char group[24];
    printf("kernels %s, %d threads, memory is read at %.1f GB/s, from huge pages at %.1f GB/s\n\n", r->cpu, r->threads,
           r->read_gbps, r->read_huge_gbps);
    printf("encode, %d x %d bf16, packing and distortion included\n  bits  group  Mweights/s\n", ENCODE_ROWS,
           ENCODE_COLS);
    for (size_t i = 0; i < r->n_encode; i++)
        printf("  %-5s %5s  %10.0f\n", tq_bits_get(r->encode[i].choice.bits)->name,
               tq_group_name(r->encode[i].choice.group, group), r->encode[i].mweights_per_s);
    printf("\nmodel of %.1f M weights, %.0f MiB; beside packed matrices the head is at 4+4\n"
           "  bits   decode tok/s   GB/s  of read  of huge  prefill tok/s\n",
           (double)r->model_weights * 1e-6, tq_mib(r->model_bytes));
    for (size_t i = 0; i < r->n_speed; i++)
        printf("  %-5s %13.1f %6.2f %6.0f %% %6.0f %% %14.1f\n", r->speed[i].bits, r->speed[i].tok_per_s,
               r->speed[i].gbps, 100 * r->speed[i].gbps / r->read_gbps, 100 * r->speed[i].gbps / r->read_huge_gbps,
               r->speed[i].prefill);
}

static int run_bench(const tq_options *o, tq_session *s, tq_batch *b, bench_result *r, tq_err *err) {
    const tq_model *m = tq_session_model(s);
    r->cpu = tq_k()->name;
    r->threads = tq_pool_threads(tq_session_pool(s));
    r->model_bytes = tq_model_kept_bytes(m) + tq_model_matrix_bytes(m);
    r->model_weights = tq_model_kept_weights(m) + tq_model_matrix_weights(m);
    tq_batch_step(b, "reading memory");
    int rc = measure_read(tq_session_pool(s), false, &r->read_gbps, err);
    if (rc == TQ_OK) rc = measure_read(tq_session_pool(s), true, &r->read_huge_gbps, err);
    tq_batch_step(b, "encoding");
    if (rc == TQ_OK) rc = measure_encodes(s, b, r, err);
    tq_batch_step(b, "prefill and decode");
    if (rc == TQ_OK) rc = measure_speeds(o, s, b, r, err);
    return rc;
}

int tq_run_bench(const tq_options *o) {
    tq_batch b;
    tq_err err = {{0}};
    tq_session *s = NULL;
    bench_result *r = calloc(1, sizeof *r);
    tq_batch_begin(&b);
    tq_batch_step(&b, "making a model");
    if (!r) {
        (void)tq_fail(&err, "out of memory");
        return tq_batch_fail(&b, &err);
    }
    int rc = open_model(o, &s, &err);
    if (rc == TQ_OK) rc = run_bench(o, s, &b, r, &err);
    if (rc == TQ_OK) {
        tq_batch_end(&b);
        if (o->json)
            rc = tq_batch_json(result_json(r), &err);
        else
            print_result(r);
    }
    if (rc == TQ_OK) rc = tq_batch_flush(&err);
    tq_session_close(s);
    free(r);
    return rc == TQ_OK ? EXIT_SUCCESS : tq_batch_fail(&b, &err);
}
