/* test_tui_tune.c - budgets on the screen without one: targets as typed, the order of the table. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <cjson/cJSON.h>

#include "tests/tui_sample.h"
#include "tui/tune.h"

/* Sorted, the rows are the matrices alone, and the cursor follows its own. */
static void sorted_by_keys(void **state) {
    tq_table t;
    double keys[64];
    size_t n = tq_model_matrices(tq_sample_model()), last = 0;
    (void)state;
    assert_true(tq_table_init(&t, tq_sample_model()));
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
    assert_int_equal(t.count, n + 9);
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

/* Each plan once, by size, with the front of those that no other betters; out again as CSV, and as JSON whose plans are
 * plans. */
static void tried_plans_are_points(void **state) {
    static const struct {
        const char *rule;
        double kld;
        bool front;
    } tried[] = {{"*=4+2", 0.005, true}, {"*=4", 0.07, true}, {"*=4t", 0.05, true}, {"*=4+4:32", 0.006, false}};
    tq_points p = {0};
    tq_err err = {{0}};
    (void)state;
    for (int round = 0; round < 2; round++) /* what is there already gets newer figures */
        for (size_t i = 0; i < 4; i++) {
            tq_plan *plan = tq_sample_plan(tried[i].rule);
            tq_eval_result r = {.kld_mean = tried[i].kld * (round ? 1 : 2), .ppl = 12, .tokens = 7};
            assert_true(
                tq_points_add(&p, tq_sample_model(), plan, i == 1 ? "a \"quoted\", name" : tried[i].rule, 1, &r));
            tq_plan_free(plan);
        }
    assert_int_equal(p.count, 4);
    for (size_t i = 0; i < 4; i++) {
        tq_plan *plan = tq_sample_plan(tried[i].rule);
        size_t at = tq_points_find(&p, tq_sample_model(), plan);
        assert_true(at < 4 && p.points[at].eval.kld_mean == tried[i].kld);
        /* 4 and 4t are of one size: the better one alone is on the front */
        assert_int_equal(p.points[at].front, tried[i].front && i != 1);
        if (at > 0) assert_true(p.points[at - 1].bytes <= p.points[at].bytes);
        tq_plan_free(plan);
    }
    tq_points_name(&p, 0, "best, so far");
    /* Texts beside the main one are columns, empty where a plan was not evaluated on one. */
    const tq_point_text texts[] = {{"code \"a\".txt", 0.25, 0.5}, {"b.txt", 1, 2}, {"b.txt", 0.125, 0.0625}};
    for (size_t i = 0; i < 3; i++) /* newer figures of the same text replace the older */
        assert_true(tq_points_note_text(&p, tq_sample_model(), p.points[i > 0].plan, &texts[i]));
    tq_plan *other = tq_sample_plan("*=4t:32");
    assert_false(tq_points_note_text(&p, tq_sample_model(), other, texts));
    tq_plan_free(other);
    char *csv = tq_points_csv(&p), *json = tq_points_json(&p, &err);
    assert_non_null(csv);
    assert_non_null(strstr(csv, ",questions,\"kld code \"\"a\"\".txt\",\"kld_stderr code \"\"a\"\".txt\",\"kld b.txt\","
                                "\"kld_stderr b.txt\"\n"));
    assert_non_null(strstr(csv, ",0,0,0.25,0.5,,\n"));
    assert_non_null(strstr(csv, ",0,0,,,0.125,0.0625\n"));
    assert_non_null(strstr(csv, ",0,0,,,,\n"));
    assert_non_null(json);
    assert_non_null(strstr(csv, "\n\"best, so far\",1.0,"));
    assert_non_null(strstr(csv, "\"a \"\"quoted\"\", name\""));
    cJSON *root = cJSON_Parse(json);
    cJSON *list = cJSON_GetObjectItemCaseSensitive(root, "plans");
    assert_int_equal(cJSON_GetArraySize(list), 4);
    cJSON *on_text = cJSON_GetObjectItemCaseSensitive(cJSON_GetArrayItem(list, 1), "texts");
    assert_int_equal(cJSON_GetArraySize(on_text), 1);
    assert_string_equal(cJSON_GetObjectItemCaseSensitive(on_text->child, "name")->valuestring, "b.txt");
    assert_true(cJSON_GetObjectItemCaseSensitive(on_text->child, "kld")->valuedouble == 0.125);
    for (int i = 0; i < 4; i++) {
        char *text = cJSON_Print(cJSON_GetObjectItemCaseSensitive(cJSON_GetArrayItem(list, i), "plan"));
        tq_plan *again = NULL;
        int rc = tq_plan_from_json(tq_sample_model(), text, strlen(text), "history", &again, &err);
        if (rc != TQ_OK) fail_msg("%s", err.msg);
        assert_true(tq_plans_equal(tq_sample_model(), again, p.points[i].plan));
        tq_plan_free(again);
        cJSON_free(text);
    }
    cJSON_Delete(root);
    free(csv);
    free(json);
    tq_points_free(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sorted_by_keys),
        cmocka_unit_test(targets_are_read),
        cmocka_unit_test(tried_plans_are_points),
    };
    return cmocka_run_group_tests(tests, tq_sample_open, tq_sample_close);
}
