/* quant/: the parts of a packed matrix: the same on any number of threads, read back, and hostile ones refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/quant_fixture.h"

static void assert_same_parts(const tq_qmatrix *a, const tq_qmatrix *b) {
    tq_qpart pa[8], pb[8];
    size_t n = tq_qmatrix_parts(a, pa, 8);
    assert_int_equal(n, tq_qmatrix_parts(b, pb, 8));
    for (size_t i = 0; i < n; i++) {
        assert_string_equal(pa[i].name, pb[i].name);
        assert_int_equal(pa[i].bytes, pb[i].bytes);
        assert_memory_equal(pa[i].data, pb[i].data, pa[i].bytes);
    }
}

static void test_threads(void **state) {
    (void)state;
    float *data = qt_normal_matrix(200, 328);
    tq_matrix_view w = {.data = data, .dtype = TQ_F32, .rows = 200, .cols = 328};
    tq_rotation_cache *cache = tq_rotation_cache_new();
    for (int residual = 0; residual < TQ_RESIDUAL_COUNT; residual++) {
        tq_qspec spec = qt_spec(TQ_BITS_4_4, 64);
        spec.residual = (tq_residual)residual;
        tq_distortion one, many;
        tq_qmatrix *q = qt_encode(&w, &spec, cache, NULL, &one);
        for (int threads = 2; threads <= 3; threads++) {
            tq_pool *pool = tq_pool_new(threads, NULL);
            tq_qmatrix *other = qt_encode(&w, &spec, cache, pool, &many);
            assert_same_parts(q, other);
            assert_memory_equal(&one, &many, sizeof one);
            tq_qmatrix_free(other);
            tq_pool_free(pool);
        }
        tq_qmatrix_free(q);
    }
    tq_rotation_cache_free(cache);
    free(data);
}

static void test_prefix(void **state) {
    (void)state;
    float *data = qt_normal_matrix(64, 500);
    tq_matrix_view w = {.data = data, .dtype = TQ_F32, .rows = 64, .cols = 500};
    tq_rotation_cache *cache = tq_rotation_cache_new();
    tq_qpart plain[8], nested[8];
    tq_qspec spec = qt_spec(TQ_BITS_4, 128);
    tq_qmatrix *q = qt_encode(&w, &spec, cache, NULL, NULL);
    tq_qmatrix_parts(q, plain, 8);
    for (int b = TQ_BITS_4_2; b <= TQ_BITS_4_4; b++) {
        spec.bits = (tq_bits)b;
        tq_qmatrix *finer = qt_encode(&w, &spec, cache, NULL, NULL);
        tq_qmatrix_parts(finer, nested, 8);
        assert_string_equal(plain[0].name, "codes");
        assert_memory_equal(plain[0].data, nested[0].data, plain[0].bytes);
        tq_qmatrix_free(finer);
    }
    tq_qmatrix_free(q);
    tq_rotation_cache_free(cache);
    free(data);
}

typedef struct hostile {
    tq_qspec spec;
    size_t rows, cols, n;
    tq_qpart parts[9];
    uint8_t table[92]; /* version, multiplier, step, a, v, fine */
    uint16_t scales[4096];
} hostile;

static void refuse(const char *what, hostile h, tq_rotation_cache *cache) {
    tq_qmatrix *q = NULL;
    tq_err err = {""};
    for (size_t i = 0; i < h.n; i++) { /* the copies that a case may have spoilt */
        if (!h.parts[i].name) continue;
        if (strcmp(h.parts[i].name, "levels") == 0 && h.parts[i].data) h.parts[i].data = h.table;
        if (strcmp(h.parts[i].name, "scales") == 0 && h.parts[i].data) h.parts[i].data = h.scales;
    }
    int rc = tq_qmatrix_from_parts(&h.spec, h.rows, h.cols, h.parts, h.n, cache, &q, &err);
    if (rc != TQ_FAIL || q || err.msg[0] == 0 || strchr(err.msg, '\n')) fail_msg("%s: accepted", what);
}

static void test_parts(void **state) {
    (void)state;
    float *data = qt_normal_matrix(40, 200);
    tq_matrix_view w = {.data = data, .dtype = TQ_F32, .rows = 40, .cols = 200};
    tq_rotation_cache *cache = tq_rotation_cache_new();
    for (int b = TQ_BITS_4; b < TQ_BITS_COUNT; b++) {
        for (int residual = 0; residual < TQ_RESIDUAL_COUNT; residual++) {
            tq_qspec spec = qt_spec((tq_bits)b, 64);
            spec.residual = (tq_residual)residual;
            tq_distortion d;
            tq_qmatrix *q = qt_encode(&w, &spec, cache, NULL, &d), *back = NULL;
            tq_qpart parts[8];
            size_t n = tq_qmatrix_parts(q, parts, 8), bytes = 0;
            for (size_t i = 0; i < n; i++)
                bytes += parts[i].bytes;
            assert_int_equal(bytes, tq_qmatrix_bytes(q));
            tq_err err = {""};
            if (tq_qmatrix_from_parts(&spec, 40, 200, parts, n, cache, &back, &err) != TQ_OK) fail_msg("%s", err.msg);
            assert_same_parts(q, back);
            qt_check_matrix(&w, back, &d);
            tq_qmatrix_free(back);
            tq_qmatrix_free(q);
        }
    }
    tq_rotation_cache_free(cache);
    free(data);
}

static void test_hostile_parts(void **state) {
    (void)state;
    float *data = qt_normal_matrix(40, 200);
    tq_matrix_view w = {.data = data, .dtype = TQ_F32, .rows = 40, .cols = 200};
    tq_rotation_cache *cache = tq_rotation_cache_new();
    hostile good = {.spec = qt_spec(TQ_BITS_4_2, 64), .rows = 40, .cols = 200}, h;
    tq_qmatrix *q = qt_encode(&w, &good.spec, cache, NULL, NULL);
    good.n = tq_qmatrix_parts(q, good.parts, 9);
    enum { CODES, FINE, SCALES, LEVELS };
    memcpy(good.scales, good.parts[SCALES].data, good.parts[SCALES].bytes);
    memcpy(good.table, good.parts[LEVELS].data, good.parts[LEVELS].bytes);
    float number;
#define REFUSE(what, change)                                                                                           \
    do {                                                                                                               \
        h = good;                                                                                                      \
        change;                                                                                                        \
        refuse(what, h, cache);                                                                                        \
    } while (0)
    REFUSE("a part missing", h.n--);
    REFUSE("no parts", h.n = 0);
    REFUSE("a part twice", h.parts[h.n++] = h.parts[CODES]);
    REFUSE("a part twice for another", h.parts[FINE] = h.parts[CODES]);
    REFUSE("an unknown name", h.parts[FINE].name = "coarse");
    REFUSE("no name", h.parts[FINE].name = NULL);
    REFUSE("no data", h.parts[CODES].data = NULL);
    REFUSE("short data", h.parts[CODES].bytes--);
    REFUSE("another dtype", h.parts[SCALES].dtype = TQ_BF16);
    REFUSE("a dtype of no kind", h.parts[SCALES].dtype = (tq_dtype)99);
    REFUSE("another shape", h.parts[CODES].shape[0]++);
    REFUSE("another rank", h.parts[CODES].rank = 4);
    REFUSE("more rows than there are", h.rows = 60);
    REFUSE("rows without end", h.rows = SIZE_MAX);
    REFUSE("columns without end", h.cols = SIZE_MAX / 16);
    REFUSE("no rows", h.rows = 0);
    REFUSE("other bits", h.spec.bits = TQ_BITS_4_4);
    REFUSE("bits of no kind", h.spec.bits = (tq_bits)99);
    REFUSE("another group", h.spec.group = 128);
    REFUSE("a group of no kind", h.spec.group = 33);
    REFUSE("another residual", h.spec.residual = TQ_RESIDUAL_INDEPENDENT);
    REFUSE("a version to come", h.table[0] = 2);
    REFUSE("an infinite scale", h.scales[3] = 0x7c00);
    REFUSE("a scale that is no number", h.scales[9] = 0xfe01);
    REFUSE("a step that is no number", (number = NAN, memcpy(h.table + 8, &number, 4)));
    REFUSE("a negative step", (number = -1, memcpy(h.table + 8, &number, 4)));
    REFUSE("an infinite multiplier", (number = INFINITY, memcpy(h.table + 4, &number, 4)));
    REFUSE("levels out of range", (h.table[42] = 0xff, h.table[43] = 0x7f));
#undef REFUSE
    tq_qmatrix_free(q);
    tq_rotation_cache_free(cache);
    free(data);
}

int main(void) {
    print_message("seed of the data: %d\n", DATA_SEED);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_prefix),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_hostile_parts),
    };
    return cmocka_run_group_tests_name("quant parts", tests, NULL, NULL);
}
