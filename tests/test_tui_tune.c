/* test_tui_tune.c - budgets on the screen without one: targets as typed, the order of the table. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tui/tune.h"

#define MODEL "samples/tiny-qwen3.5"

static tq_session *session;
static const tq_model *model;

static int open_model(void **state) {
    tq_err err = {{0}};
    (void)state;
    if (tq_session_open(MODEL, &(tq_session_options){.threads = 1}, &session, &err) != TQ_OK) {
        print_error("%s\n", err.msg);
        return -1;
    }
    model = tq_session_model(session);
    return 0;
}

static int close_model(void **state) {
    (void)state;
    tq_session_close(session);
    return 0;
}

/* Sorted, the rows are the matrices alone, and the cursor follows its own. */
static void sorted_by_keys(void **state) {
    tq_table t;
    double keys[64];
    size_t n = tq_model_matrices(model), last = 0;
    (void)state;
    assert_true(tq_table_init(&t, model));
    for (size_t i = 0; i < n; i++)
        keys[i] = i % 7 == 3 ? NAN : (double)(i * 5 % 11);
    tq_table_show(&t, 17);
    assert_true(tq_table_sort(&t, keys));
    assert_int_equal(t.count, n);
    assert_int_equal(tq_table_matrix(&t), 17);
    for (size_t r = 1; r < n; r++) {
        size_t a = t.rows[r - 1].matrix, b = t.rows[r].matrix;
        assert_true(keys[a] > keys[b] || (keys[a] == keys[b] && a < b) || isnan(keys[b]));
        assert_true(!isnan(keys[a]) || isnan(keys[b]));
        last = b;
    }
    assert_true(isnan(keys[last]));
    assert_true(tq_table_filter(&t, "*down_proj"));
    assert_int_equal(t.count, 8);
    tq_table_fold_all(&t, true);
    assert_int_equal(t.count, 8);
    tq_table_fold_all(&t, false);
    assert_true(tq_table_filter(&t, ""));
    assert_true(tq_table_sort(&t, NULL));
    assert_int_equal(t.count, n + 8);
    tq_table_free(&t);
}

static void targets_are_read(void **state) {
    static const struct {
        const char *text;
        tq_target_kind kind;
        double value;
        const char *name;
    } good[] = {
        {"5.0", TQ_TARGET_BPW, 5, "5 bits/weight"},
        {" 4.5 bpw", TQ_TARGET_BPW, 4.5, "4.5 bits/weight"},
        {"5 bits/weight", TQ_TARGET_BPW, 5, "5 bits/weight"},
        {"0.01", TQ_TARGET_KLD, 0.01, "KLD 0.01"},
        {"KLD 2", TQ_TARGET_KLD, 2, "KLD 2"},
        {"kld=0.5", TQ_TARGET_KLD, 0.5, "KLD 0.5"},
        {"6MiB", TQ_TARGET_BYTES, 6291456, "6.00 MiB"},
        {"6.50 MiB", TQ_TARGET_BYTES, 6815744, "6.50 MiB"},
    };
    static const char *const bad[] = {"", "x", "-1", "5 MB", "kld", "kld x", "nan", "100", "5.0 4", "1e999MiB"};
    tq_target t;
    char name[48];
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(tq_target_parse(good[i].text, &t));
        assert_true(t.kind == good[i].kind && t.value == good[i].value);
        assert_string_equal(tq_target_name(&t, name), good[i].name);
        assert_true(tq_target_parse(name, &t)); /* as the prompt offers it again */
        assert_true(t.kind == good[i].kind && t.value == good[i].value);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(tq_target_parse(bad[i], &t));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sorted_by_keys),
        cmocka_unit_test(targets_are_read),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
