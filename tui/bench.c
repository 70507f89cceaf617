/* bench.c - encode, decode, prefill and evaluation beside the machine's own read bandwidth, all in one run. */
#include "tui/bench.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tui/bench_model.h"

enum { ENCODE_ROWS = 1024, ENCODE_COLS = 3072 };
#define ENCODE_SECONDS 0.25 /* at least, over all rounds; the best run of a round counts */

void tq_samples_add(tq_samples *s, double value) {
    if (s->n < TQ_BENCH_ROUNDS) s->value[s->n++] = value;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double tq_samples_median(const tq_samples *s) {
    tq_samples sorted = *s;
    if (!s->n) return NAN;
    qsort(sorted.value, sorted.n, sizeof *sorted.value, ascending);
    return 0.5 * (sorted.value[(sorted.n - 1) / 2] + sorted.value[sorted.n / 2]);
}

/* --- encode --- */

/* A matrix that is encoded, and what has to be there for it. */
typedef struct encode_run {
    uint16_t *data;
    tq_matrix_view w;
    tq_rotation_cache *cache;
    tq_qspec spec;
    double seconds; /* a row, at least */
} encode_run;

static int measure_encode(const encode_run *e, const tq_qspec *spec, tq_pool *pool, tq_samples *out, tq_err *err) {
    double best = INFINITY, until = tq_now() + e->seconds;
    do {
        tq_qmatrix *q = NULL;
        tq_distortion distortion;
        double start = tq_now();
        int rc = tq_qmatrix_encode(&e->w, spec, e->cache, pool, NULL, &q, &distortion, err);
        double seconds = tq_now() - start;
        tq_qmatrix_free(q);
        if (rc != TQ_OK) return rc;
        best = seconds < best ? seconds : best;
    } while (tq_now() < until);
    tq_samples_add(out, (double)e->w.rows * (double)e->w.cols / best * 1e-6);
    return TQ_OK;
}

static void add_encode(tq_bench_result *r, tq_bits bits, size_t group, int states) {
    if (r->n_encode < TQ_BENCH_ENCODES)
        r->encode[r->n_encode++] = (tq_bench_encode){.choice = {bits, group}, .states = states};
}

/* Every config with every group; the slow search through 256 states, which groups make no difference to, with one. */
static void list_encodes(tq_bench_result *r) {
    for (size_t i = TQ_BITS_KEEP + 1; i < TQ_BITS_COUNT; i++) {
        bool trellis = tq_bits_get((tq_bits)i)->trellis;
        for (size_t g = 0; g < tq_groups_count; g++)
            add_encode(r, (tq_bits)i, tq_groups[g], trellis ? 16 : 0);
        if (trellis) add_encode(r, (tq_bits)i, TQ_GROUP_DEFAULT, 256);
    }
}

static int encode_new(const tq_session *s, size_t rounds, encode_run *e, tq_err *err) {
    size_t n = (size_t)ENCODE_ROWS * ENCODE_COLS;
    tq_common common = tq_plan_common(tq_session_plan(s));
    *e = (encode_run){.data = malloc(n * sizeof *e->data), .cache = tq_rotation_cache_new()};
    if (!e->data || !e->cache) return tq_fail(err, "out of memory");
    tq_bench_random(e->data, n, 0.02F, 1);
    e->w = (tq_matrix_view){.data = e->data, .dtype = TQ_BF16, .rows = ENCODE_ROWS, .cols = ENCODE_COLS};
    e->spec = tq_qspec_of(TQ_BITS_KEEP, 0, &common);
    e->spec.calibrate = TQ_CALIBRATE_NONE;
    e->seconds = ENCODE_SECONDS / (double)rounds;
    return TQ_OK;
}

static void encode_free(encode_run *e) {
    tq_rotation_cache_free(e->cache);
    free(e->data);
}

static int measure_encodes(const encode_run *e, tq_session *s, tq_batch *b, tq_bench_result *r, tq_err *err) {
    for (size_t i = 0; i < r->n_encode; i++) {
        tq_bench_encode *row = &r->encode[i];
        tq_qspec spec = e->spec;
        spec.bits = row->choice.bits;
        spec.group = row->choice.group;
        spec.states = row->states;
        int rc = measure_encode(e, &spec, tq_session_pool(s), &row->mweights_per_s, err);
        if (rc == TQ_OK && tq_progress_cancelled(&b->progress)) rc = tq_cancelled(err);
        if (rc != TQ_OK) return rc;
    }
    return TQ_OK;
}

/* --- the whole --- */

/* The value of a line of /proc/cpuinfo, "name : value"; false when it is another line. */
static bool take_value(const char *line, const char *name, char *out, size_t size) {
    size_t n = strlen(name);
    const char *colon = strchr(line, ':');
    if (!colon || strncmp(line, name, n) != 0 || strspn(line + n, " \t") != (size_t)(colon - line) - n) return false;
    (void)snprintf(out, size, "%.*s", (int)strcspn(colon + 1 + (colon[1] == ' '), "\n"), colon + 1 + (colon[1] == ' '));
    return true;
}

/* What /proc/cpuinfo calls the machine, with its family and model; "" where that says nothing. */
static void name_machine(char *out, size_t size) {
    FILE *f = fopen("/proc/cpuinfo", "re");
    char line[256], name[40] = "", family[8] = "", model[8] = "";
    *out = '\0';
    while (f && (!*name || !*family || !*model) && fgets(line, sizeof line, f))
        (void)(take_value(line, "model name", name, sizeof name) || take_value(line, "model", model, sizeof model) ||
               take_value(line, "cpu family", family, sizeof family));
    if (f) (void)fclose(f);
    if (*name) (void)snprintf(out, size, "%s (family %s, model %s)", name, family, model);
}

static int open_model(const tq_options *o, tq_session **s, tq_err *err) {
    static const tq_shape usual = {1024, 3072, 12, 16, 8, 8192};
    tq_session_options options = {.threads = o->threads, .cpu = o->cpu, .exact = o->exact};
    if (o->model) return tq_options_open(o, s, err);
    int rc = tq_bench_model(o->shape.hidden ? &o->shape : &usual, &options, s, err);
    return rc == TQ_OK ? tq_options_plan(o, *s, err) : rc;
}

/* One round after the other, everything once in each. */
static int run_rounds(const encode_run *e, tq_session *s, tq_batch *b, tq_bench_models *models, tq_bench_result *r,
                      tq_bench_reader *reader, tq_err *err) {
    int rc = TQ_OK;
    for (size_t i = 0; i < r->rounds && rc == TQ_OK; i++) {
        tq_samples_add(&r->read_gbps, tq_bench_read(reader));
        tq_samples_add(&r->read_huge_gbps, tq_bench_read_huge(reader));
        rc = measure_encodes(e, s, b, r, err);
        if (rc == TQ_OK) rc = tq_bench_models_round(models, reader, err);
        tq_progress_report(&b->progress, (double)(i + 1), (double)r->rounds);
    }
    return rc;
}

static int run_bench(const tq_options *o, tq_session *s, tq_batch *b, tq_bench_result *r, tq_err *err) {
    const tq_model *m = tq_session_model(s);
    tq_bench_models *models = NULL;
    encode_run e = {0};
    r->cpu = tq_k()->name;
    r->threads = tq_pool_threads(tq_session_pool(s));
    r->rounds = o->rounds ? o->rounds : 1;
    r->model_bytes = tq_model_stored_bytes(m);
    r->model_weights = tq_model_weights(m);
    name_machine(r->machine, sizeof r->machine);
    list_encodes(r);
    tq_bench_reader *reader = tq_bench_reader_new(tq_session_pool(s), err);
    int rc = reader ? TQ_OK : TQ_FAIL;
    tq_batch_step(b, "quantizing");
    if (rc == TQ_OK) rc = tq_bench_models_new(o, s, b, r, &models, err);
    if (rc == TQ_OK) rc = encode_new(s, r->rounds, &e, err);
    tq_batch_step(b, "measuring");
    if (rc == TQ_OK) rc = run_rounds(&e, s, b, models, r, reader, err);
    encode_free(&e);
    tq_bench_models_free(models);
    tq_bench_reader_free(reader);
    return rc;
}

int tq_run_bench(const tq_options *o) {
    tq_batch b;
    tq_err err = {{0}};
    tq_session *s = NULL;
    tq_bench_result *r = calloc(1, sizeof *r);
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
            rc = tq_batch_json(tq_bench_json(r), &err);
        else
            tq_bench_print(r);
    }
    if (rc == TQ_OK) rc = tq_batch_flush(&err);
    tq_session_close(s);
    free(r);
    return rc == TQ_OK ? EXIT_SUCCESS : tq_batch_fail(&b, &err);
}
