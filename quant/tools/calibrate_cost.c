/* What calibrated encoding of one matrix costs, by the number of its inputs: seconds and memory; run by
 * `make calibrate-cost`. The second moment is made up, as it is known by then: a diagonal and some strong directions.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "quant/calibrate.h"

#define ROWS 1024
#define DIRECTIONS 32

/* About N(0,1): the sum of four uniform numbers, xorshift64*. */
static float noise(uint64_t *state) {
    float sum = 0;
    for (int i = 0; i < 4; i++) {
        *state ^= *state >> 12;
        *state ^= *state << 25;
        *state ^= *state >> 27;
        sum += (float)(*state * 0x2545F4914F6CDD1DULL >> 40) * 0x1p-24F - 0.5F;
    }
    return sum * 1.7320508F;
}

static void fill(float *x, size_t n, uint64_t seed) {
    for (size_t i = 0; i < n; i++)
        x[i] = noise(&seed);
}

/* xx: [n, n] = I + sum of DIRECTIONS outer products, falling in strength; u: [n] scratch. */
static void make_moment(float *xx, float *u, size_t n) {
    for (size_t i = 0; i < n * n; i++)
        xx[i] = i % (n + 1) == 0 ? 1.0F : 0.0F;
    for (size_t d = 0; d < DIRECTIONS; d++) {
        fill(u, n, 1000 + d);
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++)
                xx[i * n + j] += u[i] * u[j] / (float)(1 + d);
    }
}

static size_t peak_mib(void) {
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return (size_t)use.ru_maxrss >> 10;
}

static int measure(size_t n, int states, tq_pool *pool, tq_rotation_cache *cache, tq_err *err) {
    tq_common common = tq_common_default();
    common.states = states;
    common.calibrate = TQ_CALIBRATE_LDLQ;
    tq_qspec spec = tq_qspec_of(TQ_BITS_4T, TQ_GROUP_DEFAULT, &common);
    tq_calibrate_options options = {TQ_LAMBDA_DEFAULT, TQ_SWEEPS_DEFAULT};
    float *w = malloc(ROWS * n * sizeof *w), *xx = malloc(n * n * sizeof *xx), *u = malloc(n * sizeof *u);
    tq_qmatrix *plain = NULL, *q = NULL;
    tq_calibrated figures = {0};
    tq_distortion d;
    int rc = w && xx && u ? TQ_OK : tq_fail(err, "out of memory for %zu inputs", n);
    if (rc != TQ_OK) goto out;
    fill(w, ROWS * n, n);
    make_moment(xx, u, n);
    size_t before = peak_mib();
    tq_matrix_view view = {.data = w, .dtype = TQ_F32, .rows = ROWS, .cols = n};
    tq_moment moment = {n, xx, NULL};
    double start = tq_now();
    rc = tq_qmatrix_encode(&view, &spec, cache, pool, NULL, &plain, &d, err);
    double plain_seconds = tq_now() - start;
    start = tq_now();
    if (rc == TQ_OK)
        rc = tq_qmatrix_encode_calibrated(&view, &spec, &moment, &options, cache, pool, NULL, &q, &figures, err);
    double seconds = tq_now() - start;
    if (rc == TQ_OK)
        printf("| %d x %zu | %d | %.0f ms | %.0f ms | %.2f | %zu MiB |\n", ROWS, n, states, 1e3 * plain_seconds,
               1e3 * seconds, figures.weighted / figures.plain, peak_mib() - before);
out:
    tq_qmatrix_free(plain);
    tq_qmatrix_free(q);
    free(w);
    free(xx);
    free(u);
    return rc;
}

int main(int argc, char **argv) {
    static const size_t inputs[] = {1024, 3584, 9728};
    tq_err err = {{0}};
    int states = argc > 1 ? atoi(argv[1]) : 16;
    tq_pool *pool = tq_pool_new(0, &err);
    tq_rotation_cache *cache = tq_rotation_cache_new();
    int rc = pool && cache && (states == 16 || states == 256) ? TQ_OK : TQ_FAIL;
    printf("| matrix | states | plain 4t | calibrated | weighted error | more memory |\n|---|---|---|---|---|---|\n");
    for (size_t i = 0; rc == TQ_OK && i < sizeof inputs / sizeof *inputs; i++)
        rc = measure(inputs[i], states, pool, cache, &err);
    if (rc != TQ_OK) fprintf(stderr, "calibrate_cost: %s\n", err.msg);
    tq_rotation_cache_free(cache);
    tq_pool_free(pool);
    return rc == TQ_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
