/* quant/: the pool, rotations, level tables, and matrices in and out of codes. The seed of the data is fixed. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "quant/codebook.h"
#include "quant/qmatrix.h"
#include "tests/quant_fixture.h"

/* ---- base ---- */

static void test_messages(void **state) {
    (void)state;
    tq_err err;
    assert_int_equal(tq_fail(&err, "a%sb", "\n\x1b[2J\x7f\xc2\x9b"), TQ_FAIL);
    assert_string_equal(err.msg, "a??[2J???b");
    assert_int_equal(tq_fail(NULL, "nothing"), TQ_FAIL);
    assert_int_equal(tq_cancelled(&err), TQ_CANCELLED);
    size_t n;
    assert_false(tq_mul_size(&n, SIZE_MAX / 2, 3));
    assert_true(tq_mul_size(&n, SIZE_MAX / 3, 3));
    assert_false(tq_add_size(&n, SIZE_MAX, 1));
    assert_null(tq_calloc_aligned(SIZE_MAX / 2, 4));
    assert_null(tq_calloc_aligned(SIZE_MAX, 1));
    char *p = tq_calloc_aligned(100, 1);
    assert_true(((uintptr_t)p & 63) == 0 && p[0] == 0 && p[99] == 0);
    free(p);
}

/* ---- pool ---- */

typedef struct pool_job {
    atomic_size_t sum, calls;
    atomic_bool wrong;
    size_t n, grain;
    int threads;
    unsigned char *seen;
} pool_job;

static void pool_chunk(void *ctx, size_t begin, size_t end, int thread) {
    pool_job *job = ctx;
    if (thread < 0 || thread >= job->threads || begin >= end || end > job->n || end - begin > job->grain)
        atomic_store(&job->wrong, true);
    for (size_t i = begin; i < end; i++) {
        job->seen[i]++;
        atomic_fetch_add(&job->sum, i);
    }
    atomic_fetch_add(&job->calls, 1);
}

static void test_pool(void **state) {
    (void)state;
    static const size_t sizes[] = {0, 1, 2, 7, 64, 1000};
    static const size_t grains[] = {1, 2, 3, 64, 999, 1000, 5000};
    for (int threads = 1; threads <= 4; threads++) {
        tq_err err;
        tq_pool *pool = tq_pool_new(threads, &err);
        assert_non_null(pool);
        assert_int_equal(tq_pool_threads(pool), threads);
        for (int repeat = 0; repeat < 20; repeat++) {
            for (size_t i = 0; i < 42; i++) {
                size_t n = sizes[i / 7];
                unsigned char seen[1000] = {0};
                pool_job job = {.n = n, .grain = grains[i % 7], .threads = threads, .seen = seen};
                tq_pool_run(pool, n, job.grain, pool_chunk, &job);
                assert_false(atomic_load(&job.wrong));
                assert_int_equal(atomic_load(&job.sum), n ? n * (n - 1) / 2 : 0);
                assert_int_equal(atomic_load(&job.calls), (n + job.grain - 1) / job.grain);
                for (size_t j = 0; j < n; j++)
                    assert_int_equal(seen[j], 1);
            }
            for (size_t i = 0; i < 6; i++) {
                unsigned char seen[1000] = {0};
                pool_job job = {.n = sizes[i], .grain = sizes[i], .threads = threads, .seen = seen};
                tq_ahead ahead = {seen, sizeof seen};
                for (int t = -1; t <= threads; t++) {
                    tq_pool_expect(pool, t, &ahead, 1);
                    assert_true(t < 0 || tq_pool_stream_begin(pool, job.n, t) <= job.n);
                }
                tq_pool_ask(pool);
                tq_pool_stream(pool, job.n, pool_chunk, &job);
                assert_false(atomic_load(&job.wrong));
                assert_int_equal(atomic_load(&job.sum), job.n ? job.n * (job.n - 1) / 2 : 0);
                for (size_t j = 0; j < job.n; j++)
                    assert_int_equal(seen[j], 1);
            }
        }
        tq_pool_free(pool);
    }
    assert_int_equal(tq_pool_threads(NULL), 1);
    tq_pool *physical = tq_pool_new(0, NULL);
    assert_true(tq_pool_threads(physical) >= 1);
    tq_pool_free(physical);
    tq_pool_free(NULL);
    assert_null(tq_pool_new(-1, NULL));
}

/* ---- formats ---- */

static void test_formats(void **state) {
    (void)state;
    char buf[24];
    for (int b = 0; b < TQ_BITS_COUNT; b++) {
        assert_int_equal(tq_bits_get((tq_bits)b)->id, b);
        assert_ptr_equal(tq_bits_find(tq_bits_get((tq_bits)b)->name), tq_bits_get((tq_bits)b));
    }
    assert_null(tq_bits_find("5"));
    for (size_t i = 0; i < tq_groups_count; i++) {
        size_t g = 1;
        assert_true(tq_group_parse(tq_group_name(tq_groups[i], buf), &g));
        assert_int_equal(g, tq_groups[i]);
    }
    size_t g;
    assert_false(tq_group_parse("100", &g));
    assert_false(tq_group_parse("0", &g));
    assert_false(tq_group_parse("", &g));
    tq_rotation_kind rotation;
    tq_residual residual;
    assert_true(tq_rotation_parse("qr", &rotation) && rotation == TQ_ROTATION_QR);
    assert_true(tq_residual_parse("independent", &residual) && residual == TQ_RESIDUAL_INDEPENDENT);
    assert_false(tq_rotation_parse("Hadamard", &rotation) || tq_residual_parse("", &residual));
    tq_qspec s = qt_spec(TQ_BITS_4, 128);
    /* 1024 x 1024: half a byte a weight, an fp16 a group, and the side table. */
    assert_int_equal(tq_qspec_bytes(&s, 1024, 1024), 1024 * 1024 / 2 + 1024 * 8 * 2 + 92);
    assert_int_equal(tq_qspec_bytes(&s, SIZE_MAX / 2, SIZE_MAX / 2), 0);
    assert_int_equal(tq_qspec_bytes(&s, 0, 5), 0);
    s.bits = TQ_BITS_KEEP;
    assert_int_equal(tq_qspec_bytes(&s, 1024, 1024), 0);
}

/* ---- rotations ---- */

static void check_rotation(tq_rotation_kind kind, size_t cols, size_t group) {
    tq_err err = {""};
    tq_rotation *r = tq_rotation_new(kind, cols, group, 42, &err);
    if (!r) fail_msg("%s", err.msg);
    float *x = qt_normal_matrix(4, cols), *y = x + cols, *back = y + cols;
    float *scratch = calloc(tq_rotation_scratch(r) + 1, sizeof *scratch);
    size_t d = tq_rotation_group(r);
    tq_rotation_apply(r, y, x, scratch);
    for (size_t i = 0; i < cols; i += d) {
        size_t len = cols - i < d ? cols - i : d;
        double before = qt_norm2(x + i, len), after = qt_norm2(y + i, len);
        assert_true(fabs(after - before) <= 1e-5 * before);
    }
    tq_rotation_apply_inverse(r, back, y, scratch);
    for (size_t i = 0; i < cols; i++)
        assert_true(fabsf(back[i] - x[i]) <= 2e-5F);
    memcpy(back, x, cols * sizeof *x);
    tq_rotation_apply(r, back, back, scratch); /* in place */
    assert_memory_equal(back, y, cols * sizeof *y);
    tq_rotation_apply_inverse(r, back, back, scratch);
    for (size_t i = 0; i < cols; i++)
        assert_true(fabsf(back[i] - x[i]) <= 2e-5F);
    free(scratch);
    free(x);
    tq_rotation_free(r);
}

static void test_rotations(void **state) {
    (void)state;
    static const size_t cols[] = {1, 2, 31, 32, 33, 96, 200, 256, 300, 768, 1000, 1032};
    for (size_t i = 0; i < sizeof cols / sizeof cols[0]; i++)
        for (size_t g = 0; g < tq_groups_count; g++)
            for (int kind = 0; kind < TQ_ROTATION_COUNT; kind++) {
                if (kind == TQ_ROTATION_QR && (cols[i] > 300 || (tq_groups[g] && tq_groups[g] != 64))) continue;
                check_rotation((tq_rotation_kind)kind, cols[i], tq_groups[g]);
            }
}

static void test_rotation_limits(void **state) {
    (void)state;
    tq_err err = {""};
    assert_null(tq_rotation_new(TQ_ROTATION_HADAMARD, 5003, TQ_GROUP_ROW, 1, &err)); /* a prime */
    assert_non_null(strstr(err.msg, "5003"));
    assert_null(tq_rotation_new(TQ_ROTATION_QR, 8192, TQ_GROUP_ROW, 1, &err));
    assert_null(tq_rotation_new(TQ_ROTATION_HADAMARD, 0, 32, 1, &err));
    check_rotation(TQ_ROTATION_HADAMARD, 5003, 128);
    check_rotation(TQ_ROTATION_HADAMARD, 8192, TQ_GROUP_ROW);
}

static void test_rotation_cache(void **state) {
    (void)state;
    tq_rotation_cache *c = tq_rotation_cache_new();
    const tq_rotation *first = tq_rotation_cache_get(c, TQ_ROTATION_HADAMARD, 256, 128, 42, NULL);
    assert_non_null(first);
    assert_ptr_not_equal(first, tq_rotation_cache_get(c, TQ_ROTATION_HADAMARD, 256, 64, 42, NULL));
    assert_ptr_not_equal(first, tq_rotation_cache_get(c, TQ_ROTATION_HADAMARD, 256, 128, 43, NULL));
    assert_ptr_not_equal(first, tq_rotation_cache_get(c, TQ_ROTATION_NONE, 256, 128, 42, NULL));
    for (size_t cols = 300; cols < 340; cols++)
        tq_rotation_cache_get(c, TQ_ROTATION_NONE, cols, 128, 42, NULL);
    assert_ptr_equal(first, tq_rotation_cache_get(c, TQ_ROTATION_HADAMARD, 256, 128, 42, NULL));
    assert_ptr_equal(tq_rotation_cache_get(c, TQ_ROTATION_HADAMARD, 256, 512, 42, NULL),
                     tq_rotation_cache_get(c, TQ_ROTATION_HADAMARD, 256, TQ_GROUP_ROW, 42, NULL));
    tq_rotation_cache_free(c);
}

/* 32 signs from column `at` of the group that begins at `group`: the first row of a Hadamard matrix is all ones. */
static uint32_t signs_of(const tq_rotation *r, size_t group, size_t at) {
    size_t cols = tq_rotation_cols(r);
    float *x = tq_calloc_aligned(cols, sizeof *x), *y = tq_calloc_aligned(cols, sizeof *y);
    float *scratch = tq_calloc_aligned(tq_rotation_scratch(r), sizeof *scratch);
    uint32_t signs = 0;
    for (size_t i = 0; i < 32; i++) {
        memset(x, 0, cols * sizeof *x);
        x[group + at + i] = 1;
        tq_rotation_apply(r, y, x, scratch);
        signs |= (uint32_t)(y[group] > 0) << i;
    }
    free(x);
    free(y);
    free(scratch);
    return signs;
}

/* What torch 2's CPU generator draws: randint(0, 2, (n,), generator=Generator().manual_seed(seed)), first bit lowest.
 */
static void test_published_signs(void **state) {
    static const struct {
        size_t stage, group, at;
        uint32_t signs;
    } drawn[] = {
        {0, 0, 0, 0x3fd74222}, {0, 128, 0, 0xd3e53202}, {0, 256, 0, 0xbf0c6c10},
        {1, 0, 0, 0x0734cd62}, {1, 128, 0, 0x0d77474e}, {1, 256, 0, 0x5e5a87b9},
    };
    tq_rotation_cache *c = tq_rotation_cache_new();
    tq_qspec spec = qt_spec(TQ_BITS_4_4, 128);
    const tq_rotation *shared = tq_rotation_of(c, &spec, 0, 320, NULL);
    (void)state;
    assert_ptr_equal(shared, tq_rotation_cache_get(c, TQ_ROTATION_HADAMARD, 320, 128, spec.seed, NULL));
    spec.residual = TQ_RESIDUAL_INDEPENDENT;
    spec.seed = 42;
    for (size_t i = 0; i < sizeof drawn / sizeof *drawn; i++) {
        const tq_rotation *r = tq_rotation_of(c, &spec, drawn[i].stage, 320, NULL);
        assert_ptr_not_equal(r, shared);
        assert_int_equal(signs_of(r, drawn[i].group, drawn[i].at), drawn[i].signs);
    }
    spec.group = TQ_GROUP_ROW; /* past the first 624 words; and the low half of a seed counts alone */
    assert_int_equal(signs_of(tq_rotation_of(c, &spec, 0, 1024, NULL), 0, 668), 0x6ee69f78);
    spec.seed += UINT64_C(1) << 32;
    assert_int_equal(signs_of(tq_rotation_of(c, &spec, 0, 1024, NULL), 0, 0), 0x3fd74222);
    tq_rotation_cache_free(c);
}

/* ---- level tables ---- */

static void test_codebooks(void **state) {
    (void)state;
    static const struct {
        int code, fine;
        double ideal; /* Lloyd-Max (Max 1960, table I), and free Lloyd-Max within each cell */
    } cases[] = {{2, 0, 0.1175}, {4, 0, 9.497e-3}, {4, 2, 6.580e-4}, {4, 4, 4.286e-5}};
    tq_levels trained_coarse;
    tq_codebook_train(&trained_coarse, 4, 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tq_levels trained;
        int nested = cases[i].fine > 0;
        tq_codebook_train(&trained, cases[i].code, cases[i].fine);
        double again = tq_codebook_mse(&trained, nested ? &trained_coarse : NULL, cases[i].code, cases[i].fine);
        double held = tq_codebook_mse(tq_codebook_levels(cases[i].code, cases[i].fine),
                                      nested ? tq_codebook_levels(4, 0) : NULL, cases[i].code, cases[i].fine);
        print_message("%d+%d: %.4e committed, %.4e trained now\n", cases[i].code, cases[i].fine, held, again);
        assert_true(held <= again * 1.005);
        assert_true(held <= cases[i].ideal * 1.01 && held >= cases[i].ideal * 0.999);
    }
}

static void test_trellis_tables(void **state) {
    (void)state;
    double few = tq_codebook_trellis_mse(tq_codebook_trellis(16), 16, DATA_SEED);
    double many = tq_codebook_trellis_mse(tq_codebook_trellis(256), 256, DATA_SEED);
    print_message("trellis: %.4e with 16 states, %.4e with 256\n", few, many);
    assert_true(few <= 6.4e-3 && many <= 5.6e-3);
    assert_true(few >= 3.9e-3 && many >= 3.9e-3); /* 2^-8: no code of 4 bits does better */
}

/* ---- distortion ---- */

static void check_distortion(const tq_matrix_view *w, tq_qspec spec, double low, double high) {
    tq_rotation_cache *cache = tq_rotation_cache_new();
    tq_distortion d;
    tq_qmatrix *q = qt_encode(w, &spec, cache, NULL, &d);
    print_message("%s %s: %.4e\n", tq_residual_name(spec.residual), tq_bits_get(spec.bits)->name, d.rel_mse);
    assert_true(d.rel_mse >= low && d.rel_mse <= high);
    assert_true(fabs(d.cosine - sqrt(1 - d.rel_mse)) < 1e-4 * d.rel_mse + 1e-6);
    tq_qmatrix_free(q);
    tq_rotation_cache_free(cache);
}

static void test_distortion(void **state) {
    (void)state;
    float *data = qt_normal_matrix(512, 1024);
    tq_matrix_view w = {.data = data, .dtype = TQ_F32, .rows = 512, .cols = 1024};
    check_distortion(&w, qt_spec(TQ_BITS_4, 128), 0, 9.4e-3);
    check_distortion(&w, qt_spec(TQ_BITS_4_2, 128), 0, 6.9e-4);
    check_distortion(&w, qt_spec(TQ_BITS_4_4, 128), 0, 4.7e-5);
    tq_qspec independent = qt_spec(TQ_BITS_4_2, 128);
    independent.residual = TQ_RESIDUAL_INDEPENDENT;
    check_distortion(&w, independent, 1.09e-3 * 0.95, 1.09e-3 * 1.05);
    independent.bits = TQ_BITS_4_4;
    check_distortion(&w, independent, 8.7e-5 * 0.95, 8.7e-5 * 1.05);
    free(data);
    /* 128 codes down a sequence; the first has no choice of what came before, which tells in short ones. */
    data = qt_normal_matrix(2048, 256);
    w = (tq_matrix_view){.data = data, .dtype = TQ_F32, .rows = 2048, .cols = 256};
    tq_qspec trellis = qt_spec(TQ_BITS_4T, 128);
    check_distortion(&w, trellis, 3.9e-3, 6.4e-3);
    trellis.states = 256;
    check_distortion(&w, trellis, 3.9e-3, 5.6e-3);
    free(data);
}

/* ---- every shape ---- */

static void check_decode_rows(const tq_qmatrix *q) {
    size_t rows = tq_qmatrix_rows(q), cols = tq_qmatrix_cols(q), ld = (cols + 31) / 32 * 32 + 5;
    size_t padded = (rows + 15) / 16 * 16;
    float *all = malloc(padded * ld * sizeof *all), *some = malloc(padded * ld * sizeof *some);
    tq_qmatrix_decode_rows(q, 0, 0, padded, all, ld);
    size_t r0 = rows > 16 ? 16 : 0, n = rows - r0;
    for (size_t i = 0; i < padded * ld; i++)
        some[i] = 77;
    tq_qmatrix_decode_rows(q, 0, r0, n, some, ld);
    for (size_t r = 0; r < n; r++) {
        assert_memory_equal(all + (r0 + r) * ld, some + r * ld, (ld - 5) * sizeof *all);
        for (size_t i = cols; i < ld - 5; i++)
            assert_true(some[r * ld + i] == 0);
        assert_true(some[r * ld + ld - 1] == 77);
    }
    if (n < padded) assert_true(some[n * ld] == 77);
    free(all);
    free(some);
}

static void check_shape(size_t rows, size_t cols, tq_qspec spec, tq_rotation_cache *cache) {
    float *data = qt_normal_matrix(rows, cols);
    if (rows > 2) memset(data + cols, 0, 2 * cols * sizeof *data); /* rows of zeros */
    tq_matrix_view w = {.data = data, .dtype = TQ_F32, .rows = rows, .cols = cols};
    tq_distortion d;
    tq_qmatrix *q = qt_encode(&w, &spec, cache, NULL, &d);
    assert_int_equal(tq_qmatrix_bytes(q), tq_qspec_bytes(&spec, rows, cols));
    /* A ring of few codes has little choice: a trellis is for matrices of many tiles. */
    assert_true(spec.bits == TQ_BITS_4T ? d.rel_mse < 0.4 : d.rel_mse < 0.012 && d.cosine > 0.99);
    qt_check_matrix(&w, q, &d);
    check_decode_rows(q);
    tq_qmatrix_free(q);
    free(data);
}

static void test_shapes(void **state) {
    (void)state;
    static const size_t shapes[][2] = {{1, 1}, {3, 33}, {16, 32}, {17, 96}, {40, 200}, {20, 640}, {33, 1000}};
    tq_rotation_cache *cache = tq_rotation_cache_new();
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        for (size_t g = 0; g < tq_groups_count; g++)
            for (int b = TQ_BITS_4; b < TQ_BITS_COUNT; b++)
                for (int residual = 0; residual < TQ_RESIDUAL_COUNT; residual++) {
                    tq_qspec spec = qt_spec((tq_bits)b, tq_groups[g]);
                    spec.residual = (tq_residual)residual;
                    check_shape(shapes[i][0], shapes[i][1], spec, cache);
                    if (tq_groups[g] != 64) continue;
                    spec.rotation = (tq_rotation_kind)(TQ_ROTATION_QR + residual);
                    check_shape(shapes[i][0], shapes[i][1], spec, cache);
                }
    tq_rotation_cache_free(cache);
}

/* ---- hard weights ---- */

static void test_outlier(void **state) {
    (void)state;
    size_t rows = 20, cols = 256;
    float *data = qt_normal_matrix(rows, cols);
    uint16_t *half = malloc(rows * cols * sizeof *half);
    data[5 * cols + 7] = 1e30F;
    tq_k()->f32_to_bf16(half, data, rows * cols);
    tq_matrix_view w = {.data = half, .dtype = TQ_BF16, .rows = rows, .cols = cols};
    tq_rotation_cache *cache = tq_rotation_cache_new();
    for (int b = TQ_BITS_4; b < TQ_BITS_COUNT; b++) {
        tq_qspec spec = qt_spec((tq_bits)b, 128);
        tq_distortion d;
        tq_qmatrix *q = qt_encode(&w, &spec, cache, NULL, &d);
        assert_true(isfinite(d.rel_mse) && d.rel_mse < 0.02 && isfinite(d.cosine));
        qt_check_matrix(&w, q, &d);
        tq_qmatrix_free(q);
    }
    tq_rotation_cache_free(cache);
    free(half);
    free(data);
}

/* Rows from the smallest denormals to near the largest number: each keeps its own precision where fp16 can say it. */
static void test_scales(void **state) {
    (void)state;
    static const float factors[] = {1e-42F, 1e-30F, 1e-3F, 1e30F};
    tq_rotation_cache *cache = tq_rotation_cache_new();
    for (size_t i = 0; i < 4; i++) {
        float *data = qt_normal_matrix(16, 512);
        for (size_t j = 0; j < (size_t)16 * 512; j++)
            data[j] *= factors[i] * (j < 512 ? 0x1p-12F : 1.0F);
        if (i == 0) memset(data, 0, 512 * sizeof *data);
        tq_matrix_view w = {.data = data, .dtype = TQ_F32, .rows = 16, .cols = 512};
        tq_qspec spec = qt_spec(TQ_BITS_4, 128);
        tq_distortion d;
        tq_qmatrix *q = qt_encode(&w, &spec, cache, NULL, &d);
        assert_true(d.rel_mse < (i == 0 ? 0.02 : 0.0105) && d.cosine > 0.99);
        float *deq = malloc((size_t)16 * 512 * sizeof *deq), *scratch = malloc(tq_qmatrix_scratch(q) * sizeof *scratch);
        tq_qmatrix_dequantize_rows(q, 0, 16, deq, scratch);
        double error = 0;
        for (size_t j = 0; j < 512; j++)
            error += pow((double)deq[j] - (double)data[j], 2);
        if (i > 0) assert_true(error <= 0.0115 * qt_norm2(data, 512));
        free(deq);
        free(scratch);
        tq_qmatrix_free(q);
        free(data);
    }
    tq_rotation_cache_free(cache);
}

static void test_refused(void **state) {
    (void)state;
    float *data = qt_normal_matrix(40, 200);
    tq_matrix_view w = {.data = data, .dtype = TQ_F32, .rows = 40, .cols = 200};
    tq_rotation_cache *cache = tq_rotation_cache_new();
    tq_pool *pool = tq_pool_new(3, NULL);
    tq_qspec spec = qt_spec(TQ_BITS_4, 128);
    tq_err err;
    tq_qmatrix *q;
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < 3; i++) {
        data[17 * 200 + 133] = bad[i];
        data[39 * 200 + 1] = bad[i];
        assert_int_equal(tq_qmatrix_encode(&w, &spec, cache, pool, NULL, &q, NULL, &err), TQ_FAIL);
        assert_null(q);
        assert_non_null(strstr(err.msg, "row 17, column 133"));
    }
    spec.bits = TQ_BITS_KEEP;
    assert_int_equal(tq_qmatrix_encode(&w, &spec, cache, pool, NULL, &q, NULL, &err), TQ_FAIL);
    spec = qt_spec(TQ_BITS_4, 100);
    assert_int_equal(tq_qmatrix_encode(&w, &spec, cache, pool, NULL, &q, NULL, &err), TQ_FAIL);
    spec.group = 128;
    w.dtype = TQ_U8;
    assert_int_equal(tq_qmatrix_encode(&w, &spec, cache, pool, NULL, &q, NULL, &err), TQ_FAIL);
    w.dtype = TQ_F32;
    atomic_bool cancel = true;
    tq_progress progress = {.cancel = &cancel};
    assert_int_equal(tq_qmatrix_encode(&w, &spec, cache, pool, &progress, &q, NULL, &err), TQ_CANCELLED);
    assert_null(q);
    tq_pool_free(pool);
    tq_rotation_cache_free(cache);
    free(data);
}

int main(void) {
    print_message("seed of the data: %d\n", DATA_SEED);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages),        cmocka_unit_test(test_pool),
        cmocka_unit_test(test_formats),         cmocka_unit_test(test_rotations),
        cmocka_unit_test(test_rotation_limits), cmocka_unit_test(test_rotation_cache),
        cmocka_unit_test(test_published_signs), cmocka_unit_test(test_codebooks),
        cmocka_unit_test(test_trellis_tables),  cmocka_unit_test(test_distortion),
        cmocka_unit_test(test_shapes),          cmocka_unit_test(test_outlier),
        cmocka_unit_test(test_scales),          cmocka_unit_test(test_refused),

    };
    return cmocka_run_group_tests_name("quant", tests, NULL, NULL);
}
