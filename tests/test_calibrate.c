/* test_calibrate.c - encoding under a second moment: what it gains, that it is deterministic, what it does when it
 * cannot; and the cache of moments. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "model/session.h"
#include "tests/session_fixture.h"

#define MODEL "samples/tiny-qwen3.5"
#define TEXT "samples/calib.txt"

enum { ROWS = 256, COLS = 384 };

static const tq_calibrate_options options = {TQ_LAMBDA_DEFAULT, TQ_SWEEPS_DEFAULT};

static float noise(uint32_t *state) {
    double sum = 0;
    for (int i = 0; i < 12; i++) {
        *state = *state * 1664525U + 1013904223U;
        sum += (double)(*state >> 8) / 16777216.0;
    }
    return (float)(sum - 6);
}

/* Inputs in which neighbours go together, as those of a model do. */
static float *correlated_moment(void) {
    enum { TOKENS = 1024 };
    float *xx = calloc((size_t)COLS * COLS, sizeof *xx), x[COLS];
    uint32_t state = 5;
    assert_non_null(xx);
    for (int t = 0; t < TOKENS; t++) {
        float last = 0;
        for (int i = 0; i < COLS; i++)
            x[i] = last = 0.8F * last + noise(&state) * (i % 7 == 0 ? 3.0F : 1.0F);
        for (int i = 0; i < COLS; i++)
            for (int j = 0; j < COLS; j++)
                xx[i * COLS + j] += x[i] * x[j] / TOKENS;
    }
    return xx;
}

static float *weights(void) {
    float *w = malloc((size_t)ROWS * COLS * sizeof *w);
    uint32_t state = 9;
    assert_non_null(w);
    for (int i = 0; i < ROWS * COLS; i++)
        w[i] = 0.03F * noise(&state);
    return w;
}

static tq_qspec spec_of(tq_bits bits, int states) {
    tq_common common = tq_common_default();
    common.states = states;
    common.calibrate = TQ_CALIBRATE_LDLQ;
    return tq_qspec_of(bits, 128, &common);
}

static tq_qmatrix *encode(const float *w, const tq_qspec *spec, const tq_moment *moment, tq_rotation_cache *cache,
                          int threads, tq_calibrated *f) {
    tq_err err = {{0}};
    tq_matrix_view view = {.data = w, .dtype = TQ_F32, .rows = ROWS, .cols = COLS};
    tq_pool *pool = tq_pool_new(threads, &err);
    tq_qmatrix *q = NULL;
    int rc = tq_qmatrix_encode_calibrated(&view, spec, moment, &options, cache, pool, NULL, &q, f, &err);
    if (rc != TQ_OK) fail_msg("%s", err.msg);
    tq_pool_free(pool);
    return q;
}

static void same_bytes(const tq_qmatrix *a, const tq_qmatrix *b) {
    tq_qpart pa[TQ_QPARTS_MAX], pb[TQ_QPARTS_MAX];
    size_t n = tq_qmatrix_parts(a, pa, TQ_QPARTS_MAX);
    assert_int_equal(n, tq_qmatrix_parts(b, pb, TQ_QPARTS_MAX));
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(pa[i].bytes, pb[i].bytes);
        assert_memory_equal(pa[i].data, pb[i].data, pa[i].bytes);
    }
}

/* The weighted error falls, and the bytes do not depend on threads or instruction set. */
static void feedback_gains(void **state) {
    static const struct {
        tq_bits bits;
        int states;
        double most; /* of the plain error */
    } cases[] = {{TQ_BITS_4, 16, 0.6},
                 {TQ_BITS_4T, 16, 0.6},
                 {TQ_BITS_4T, 256, 0.6},
                 {TQ_BITS_4_2, 16, 0.6},
                 {TQ_BITS_4_4, 16, 0.6}};
    float *w = weights(), *xx = correlated_moment();
    tq_moment moment = {COLS, xx, NULL};
    tq_rotation_cache *cache = tq_rotation_cache_new();
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tq_qspec spec = spec_of(cases[i].bits, cases[i].states);
        tq_calibrated f, g;
        tq_qmatrix *q = encode(w, &spec, &moment, cache, 1, &f);
        print_message("%s, %d states: weighted error %.3e, plain %.3e\n", tq_bits_get(spec.bits)->name, spec.states,
                      f.weighted, f.plain);
        assert_false(f.fell_back);
        assert_true(f.weighted < cases[i].most * f.plain && f.distortion.cosine > 0.99);
        for (size_t k = 0; tq_kernels_name(k); k++) {
            assert_int_equal(tq_kernels_use(tq_kernels_name(k)), 0);
            tq_qmatrix *again = encode(w, &spec, &moment, cache, 2 + (int)k % 2, &g);
            same_bytes(q, again);
            tq_qmatrix_free(again);
        }
        tq_kernels_use("auto");
        tq_qmatrix_free(q);
    }
    tq_rotation_cache_free(cache);
    free(w);
    free(xx);
}

static void what_cannot_be_factored_stays_plain(void **state) {
    float *w = weights(), *xx = calloc((size_t)COLS * COLS, sizeof *xx);
    tq_moment moment = {COLS, xx, NULL};
    tq_rotation_cache *cache = tq_rotation_cache_new();
    tq_qspec spec = spec_of(TQ_BITS_4, 16);
    tq_calibrated f;
    (void)state;
    assert_non_null(xx);
    tq_qmatrix *q = encode(w, &spec, &moment, cache, 2, &f);
    assert_true(f.fell_back && f.distortion.rel_mse < 0.01);
    tq_qmatrix_free(q);
    for (size_t i = 0; i < COLS; i++)
        xx[i * COLS + i] = i ? 1 : -1000; /* no second moment of anything */
    q = encode(w, &spec, &moment, cache, 2, &f);
    assert_true(f.fell_back || f.lambda > options.lambda);
    tq_qmatrix_free(q);
    tq_rotation_cache_free(cache);
    free(w);
    free(xx);
}

/* --- moments of a model --- */

static void moment_of(tq_session *s, const int *ids, size_t n, const char *dir, size_t matrix, float *out) {
    tq_err err = {{0}};
    tq_calibration *c = NULL;
    tq_moment m;
    int rc = tq_calibration_new(tq_session_model(s), tq_session_pool(s), ids, n, 1024, "test", dir, &c, &err);
    if (rc == TQ_OK) rc = tq_calibration_moment(c, matrix, NULL, &m, &err);
    if (rc != TQ_OK) fail_msg("%s", err.msg);
    memcpy(out, m.xx, m.n * m.n * sizeof *out);
    tq_calibration_free(c);
}

static void damage(const char *dir) {
    char command[600];
    (void)snprintf(command, sizeof command,
                   "for f in %s/*.0; do printf x | dd of=$f bs=1 seek=100 conv=notrunc 2>/dev/null; done", dir);
    assert_int_equal(system(command), 0);
}

static void cached_moments_are_checked(void **state) {
    char dir[] = "/tmp/tq-calib-XXXXXX", command[64];
    tq_session *s = open_session(MODEL, 2);
    tq_err err = {{0}};
    int *ids = NULL;
    size_t n = 0, square = 256 * 256;
    (void)state;
    assert_non_null(mkdtemp(dir));
    static const char text[] = "The quick brown fox jumps over the lazy dog. ";
    char *long_text = malloc(200 * sizeof text);
    assert_non_null(long_text);
    for (size_t i = 0; i < 200; i++)
        memcpy(long_text + i * (sizeof text - 1), text, sizeof text - 1);
    assert_int_equal(
        tq_tokenizer_encode(tq_session_tokenizer(s), long_text, 200 * (sizeof text - 1), false, false, &ids, &n, &err),
        TQ_OK);
    float *first = malloc(square * sizeof *first), *second = malloc(square * sizeof *second);
    assert_true(first && second);
    moment_of(s, ids, n, dir, 0, first);
    for (size_t i = 0; i < 256; i++) {
        assert_true(first[i * 257] >= 0);
        for (size_t j = 0; j < i; j++)
            assert_true(memcmp(&first[i * 256 + j], &first[j * 256 + i], sizeof *first) == 0);
    }
    moment_of(s, ids, n, dir, 0, second); /* from the cache */
    assert_memory_equal(first, second, square * sizeof *first);
    damage(dir);
    moment_of(s, ids, n, dir, 0, second); /* gathered again */
    assert_memory_equal(first, second, square * sizeof *first);
    moment_of(s, ids, n, "/proc/no/such", 0, second); /* no cache can be written */
    assert_memory_equal(first, second, square * sizeof *first);
    (void)snprintf(command, sizeof command, "rm -rf %s", dir);
    assert_int_equal(system(command), 0);
    free(first);
    free(second);
    free(long_text);
    free(ids);
    tq_session_close(s);
}

/* Calibrated plans through the session: better than plain ones on another text, and refused without a text. */
static void sessions_calibrate(void **state) {
    static const tq_calibrate modes[] = {TQ_CALIBRATE_NONE, TQ_CALIBRATE_LDLQ, TQ_CALIBRATE_ASYM};
    tq_session *s = open_session(MODEL, 2);
    tq_err err = {{0}};
    double kld[3];
    (void)state;
    assert_int_equal(tq_session_load_text(s, "samples/eval.txt", &err), TQ_OK);
    for (size_t i = 0; i < 3; i++) {
        tq_common common = tq_common_default();
        common.calibrate = modes[i];
        set_rules(s, &common, (const char *[]){"*=4t"}, 1);
        if (i == 1) {
            assert_int_equal(tq_session_apply(s, NULL, NULL, NULL, &err), TQ_FAIL);
            assert_non_null(strstr(err.msg, "--calib"));
            tq_calib_options o = {.tokens = 4096};
            assert_int_equal(tq_session_set_calibration(s, TEXT, &o, NULL, &err), TQ_OK);
        }
        tq_eval_result r;
        tq_eval_options eval = {.ctx = 256, .tokens = 2048};
        int rc = tq_session_eval(s, &eval, NULL, NULL, NULL, &r, &err);
        if (rc != TQ_OK) fail_msg("%s", err.msg);
        kld[i] = r.kld_mean;
        tq_matrix_figures f = tq_session_figures(s, 0);
        assert_true(f.ready && f.calibrated == (i > 0));
        assert_int_equal(tq_session_stale(s), 0);
    }
    print_message("4t: KLD %.5f plain, %.5f ldlq, %.5f ldlq-asym\n", kld[0], kld[1], kld[2]);
    assert_true(kld[1] < 0.9 * kld[0]);
    /* So few tokens say too little of the difference between two inputs to gain by it; it must do no harm either. */
    assert_true(kld[2] < 1.1 * kld[0]);
    tq_session_close(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(feedback_gains),
        cmocka_unit_test(what_cannot_be_factored_stays_plain),
        cmocka_unit_test(cached_moments_are_checked),
        cmocka_unit_test(sessions_calibrate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
