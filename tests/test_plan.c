/* test_plan.c - rules, and plans as JSON there and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/session.h"
#include "tests/session_fixture.h"

#define MODEL "samples/tiny-qwen3.5"
#define OTHER "tests/data/logits/qwen3_5-tied"

static int open_sample(void **state) {
    *state = open_session(MODEL, 1);
    return 0;
}

static int close_session(void **state) {
    tq_session_close(*state);
    return 0;
}

static const tq_model *model_of(void **state) {
    return tq_session_model(*state);
}

static size_t matches(const tq_model *m, const char *rule) {
    tq_err err = {{0}};
    size_t n = 0;
    tq_plan *p = tq_plan_new(m, &err);
    assert_non_null(p);
    if (tq_plan_rule(p, rule, &n, &err) != TQ_OK) n = 0;
    tq_plan_free(p);
    return n;
}

/* Eight blocks, six of DeltaNet (six matrices each) and two of attention (seven). */
static void globs_match_names_labels_and_blocks(void **state) {
    const tq_model *m = model_of(state);
    assert_int_equal(tq_model_matrices(m), 51); /* and embedding and head, which are one */
    assert_int_equal(matches(m, "*=4"), 50);
    assert_int_equal(matches(m, "model.*=4"), 50);
    assert_int_equal(matches(m, "embed_tokens=4"), 1);
    assert_int_equal(matches(m, "*embed*=4"), 1);
    assert_int_equal(matches(m, "model.embed_tokens=4"), 1);
    assert_int_equal(matches(m, "8.*=4"), 0);
    assert_int_equal(matches(m, "mlp.down_proj=4"), 8);
    assert_int_equal(matches(m, "mlp/down_proj=4"), 8);
    assert_int_equal(matches(m, "*/mlp/*=4"), 24);
    assert_int_equal(matches(m, "mlp.*=4"), 24);
    assert_int_equal(matches(m, "3.*=4"), 7);
    assert_int_equal(matches(m, "3.mlp.down_proj=4"), 1);
    assert_int_equal(matches(m, "[0-2].mlp.down_proj=4"), 3);
    assert_int_equal(matches(m, "model.layers.3.mlp.down_proj=4"), 1);
    assert_int_equal(matches(m, "*.linear_attn.*=4"), 18);
    assert_int_equal(matches(m, "mlp=4"), 0);
}

static void rules_are_refused_with_a_reason(void **state) {
    static const char *const bad[][2] = {
        {"nothing.*=4", "matches none"}, {"*=5", "no bit config"},  {"*=4:100", "no group size"},
        {"*", "expected GLOB"},          {"=4", "expected GLOB"},   {"*=", "no bit config"},
        {"*=keep:64", "no group"},       {"*=4:", "no group size"}, {"*=4:128:64", "no group size"},
        {"*=4+2 ", "no bit config"},     {"*=-4", "no bit config"},
    };
    tq_err err = {{0}};
    tq_plan *p = tq_plan_new(model_of(state), &err);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(tq_plan_rule(p, bad[i][0], NULL, &err), TQ_FAIL);
        assert_non_null(strstr(err.msg, bad[i][1]));
    }
    char long_rule[2000];
    memset(long_rule, '*', sizeof long_rule);
    memcpy(long_rule + sizeof long_rule - 3, "=4", 3);
    assert_int_equal(tq_plan_rule(p, long_rule, NULL, &err), TQ_FAIL);
    for (size_t i = 0; i < tq_model_matrices(model_of(state)); i++)
        assert_int_equal(tq_plan_get(p, i).bits, TQ_BITS_KEEP);
    tq_plan_free(p);
}

static void later_rules_win_and_groups_stay(void **state) {
    tq_err err = {{0}};
    tq_plan *p = tq_plan_new(model_of(state), &err);
    assert_int_equal(tq_plan_rule(p, "*=4:64", NULL, &err), TQ_OK);
    assert_int_equal(tq_plan_rule(p, "mlp.*=4+4", NULL, &err), TQ_OK);
    assert_int_equal(tq_plan_rule(p, "0.mlp.up_proj=4+2:row", NULL, &err), TQ_OK);
    tq_choice down = tq_plan_get(p, tq_model_find(model_of(state), "model.layers.0.mlp.down_proj"));
    tq_choice up = tq_plan_get(p, tq_model_find(model_of(state), "model.layers.0.mlp.up_proj"));
    tq_choice out = tq_plan_get(p, tq_model_find(model_of(state), "model.layers.0.linear_attn.out_proj"));
    assert_true(tq_choice_equal(down, (tq_choice){TQ_BITS_4_4, 64}));
    assert_true(tq_choice_equal(up, (tq_choice){TQ_BITS_4_2, TQ_GROUP_ROW}));
    assert_true(tq_choice_equal(out, (tq_choice){TQ_BITS_4, 64}));
    tq_plan_free(p);
}

/* The tied pair is one row, by the embedding's name. */
static void tied_heads_have_the_embedding_s_name(void **state) {
    tq_err err = {{0}};
    tq_plan *p = tq_plan_new(model_of(state), &err);
    assert_int_equal(tq_plan_rule(p, "lm_head=4", NULL, &err), TQ_FAIL);
    assert_non_null(strstr(err.msg, "tied"));
    assert_non_null(strstr(err.msg, "embed_tokens"));
    tq_plan_free(p);
}

/* One function says what cannot be; what it lets through is coded. */
static void blocked_is_what_cannot_be_coded(void **state) {
    static const size_t shapes[][2] = {{256, 256}, {64, 96},   {128, 4099 * 2}, {16, 20}, {8, 16}, {1, 4096},
                                       {130, 33},  {16, 4095}, {48, 8198},      {3, 32},  {200, 8}};
    tq_pool *pool = tq_pool_new(1, NULL);
    size_t blocked = 0, coded = 0;
    (void)state;
    for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++) {
        size_t rows = shapes[k][0], cols = shapes[k][1];
        float *w = calloc(rows * cols, sizeof *w);
        for (size_t i = 0; i < rows * cols; i++)
            w[i] = (float)((i * 2654435761U) % 1000) - 500;
        tq_matrix m = {.name = "m", .label = "m", .w = {.data = w, .dtype = TQ_F32, .rows = rows, .cols = cols}};
        for (int b = TQ_BITS_4; b < TQ_BITS_COUNT; b++)
            for (size_t g = 0; g < tq_groups_count; g++)
                for (int r = 0; r < TQ_ROTATION_COUNT; r++) {
                    if (r == TQ_ROTATION_QR && cols > 600 && cols < 4097) continue; /* slow, and possible */
                    tq_choice c = {(tq_bits)b, tq_groups[g]};
                    const char *why = tq_choice_blocked(&m, c, (tq_rotation_kind)r);
                    tq_common common = tq_common_default();
                    common.rotation = (tq_rotation_kind)r;
                    tq_qspec spec = tq_qspec_of(c.bits, c.group, &common);
                    bool possible = tq_rotation_possible(spec.rotation, cols, c.group);
                    if (!possible) assert_non_null(why);
                    if (!possible || why) {
                        blocked++;
                        continue;
                    }
                    tq_rotation_cache *cache = tq_rotation_cache_new();
                    tq_qmatrix *q = NULL;
                    tq_err err = {{0}};
                    int rc = tq_qmatrix_encode(&m.w, &spec, cache, pool, NULL, &q, NULL, &err);
                    if (rc != TQ_OK) fail_msg("%zu x %zu: %s", rows, cols, err.msg);
                    assert_true(tq_qmatrix_bytes(q) < rows * cols * sizeof(float));
                    coded++;
                    tq_qmatrix_free(q);
                    tq_rotation_cache_free(cache);
                }
        free(w);
    }
    assert_true(blocked > 50 && coded > 50);
    tq_matrix long_rows = {.w = {.rows = 128, .cols = 2 * 4099}}, small = {.w = {.rows = 8, .cols = 16}};
    tq_matrix few = {.w = {.rows = 64, .cols = 256}};
    assert_non_null(strstr(tq_choice_blocked(&long_rows, (tq_choice){TQ_BITS_4, TQ_GROUP_ROW}, TQ_ROTATION_HADAMARD),
                           "take a group"));
    assert_null(tq_choice_blocked(&long_rows, (tq_choice){TQ_BITS_4, 128}, TQ_ROTATION_HADAMARD));
    assert_null(tq_choice_blocked(&long_rows, (tq_choice){TQ_BITS_4, TQ_GROUP_ROW}, TQ_ROTATION_NONE));
    assert_non_null(strstr(tq_choice_blocked(&small, (tq_choice){TQ_BITS_4_4, 32}, TQ_ROTATION_NONE), "too small"));
    assert_non_null(strstr(tq_choice_blocked(&few, (tq_choice){TQ_BITS_4T, 32}, TQ_ROTATION_NONE), "trellis"));
    assert_null(tq_choice_blocked(&small, (tq_choice){TQ_BITS_KEEP, 32}, TQ_ROTATION_NONE));
    tq_pool_free(pool);
}

static size_t rule_count(const char *json) {
    const char *rules = strstr(json, "\"rules\""), *end = strchr(rules, ']');
    size_t n = 0;
    for (const char *c = strchr(rules, '['); c < end; c++)
        n += *c == '=';
    return n;
}

/* To JSON and back gives the same choices; returns how many rules it took. */
static size_t round_trip(const tq_plan *p) {
    tq_err err = {{0}};
    const tq_model *m = tq_plan_model(p);
    char *json = NULL;
    tq_plan *back = NULL;
    assert_int_equal(tq_plan_to_json(p, NULL, &json, &err), TQ_OK);
    int rc = tq_plan_from_json(m, json, strlen(json), "plan", &back, &err);
    if (rc != TQ_OK) print_error("%s\n%s\n", err.msg, json);
    assert_int_equal(rc, TQ_OK);
    tq_common common = tq_plan_common(p), common_back = tq_plan_common(back);
    assert_true(tq_common_equal(&common, &common_back));
    for (size_t i = 0; i < tq_model_matrices(m); i++)
        assert_true(tq_choice_equal(tq_plan_get(p, i), tq_plan_get(back, i)));
    size_t rules = rule_count(json);
    tq_plan_free(back);
    free(json);
    return rules;
}

static void regular_plans_take_few_rules(void **state) {
    tq_err err = {{0}};
    tq_plan *p = tq_plan_new(model_of(state), &err);
    assert_int_equal(round_trip(p), 1);
    assert_int_equal(tq_plan_rule(p, "*=4", NULL, &err), TQ_OK);
    assert_int_equal(tq_plan_rule(p, "mlp.down_proj=4+2", NULL, &err), TQ_OK);
    assert_int_equal(round_trip(p), 2);
    assert_int_equal(tq_plan_rule(p, "3.*=4+4:64", NULL, &err), TQ_OK);
    assert_int_equal(round_trip(p), 3);
    assert_int_equal(tq_plan_rule(p, "5.mlp.gate_proj=keep", NULL, &err), TQ_OK);
    assert_int_equal(round_trip(p), 4);
    tq_plan_free(p);
}

static void random_plans_come_back(void **state) {
    tq_err err = {{0}};
    uint32_t seed = 1;
    print_message("seed %u\n", seed);
    tq_plan *p = tq_plan_new(model_of(state), &err);
    for (int round = 0; round < 50; round++) {
        for (size_t i = 0; i < tq_model_matrices(model_of(state)); i++) {
            seed = seed * 1664525U + 1013904223U;
            tq_choice c = {(tq_bits)((seed >> 16) % TQ_BITS_COUNT), tq_groups[(seed >> 24) % tq_groups_count]};
            if (round % 2 == 0 || seed >> 30 == 0) tq_plan_set(p, i, c);
        }
        tq_common common = {(tq_residual)(round % TQ_RESIDUAL_COUNT), TQ_ROTATION_HADAMARD,
                            round % 3 ? seed : TQ_SEED_MAX, round % 4 ? 16 : 256,
                            (tq_calibrate)(round % TQ_CALIBRATE_COUNT)};
        tq_plan_set_common(p, &common);
        (void)round_trip(p);
    }
    tq_plan_free(p);
}

static void broken_plans_are_refused(void **state) {
    static const char *const bad[][2] = {
        {"", "JSON"},
        {"[]", "object"},
        {"{\"rules\":[]}", "tqexplore_plan"},
        {"{\"tqexplore_plan\":2,\"rules\":[]}", "format 2"},
        {"{\"tqexplore_plan\":1}", "\"rules\" is missing"},
        {"{\"tqexplore_plan\":1,\"rules\":[],\"extra\":1}", "unknown field \"extra\""},
        {"{\"tqexplore_plan\":1,\"rules\":[],\"rules\":[]}", "twice"},
        {"{\"tqexplore_plan\":1,\"rules\":\"*=4\"}", "an array"},
        {"{\"tqexplore_plan\":1,\"rules\":[4]}", "expected texts"},
        {"{\"tqexplore_plan\":1,\"rules\":[\"nothing=4\"]}", "matches none"},
        {"{\"tqexplore_plan\":1,\"rules\":[],\"seed\":-1}", "\"seed\""},
        {"{\"tqexplore_plan\":1,\"rules\":[],\"seed\":1e300}", "\"seed\""},
        {"{\"tqexplore_plan\":1,\"rules\":[],\"residual\":\"x\"}", "nested or independent"},
        {"{\"tqexplore_plan\":1,\"rules\":[],\"model\":{\"name\":\"m\"}}", "\"hash\" is missing"},
        {"{\"tqexplore_plan\":1,\"rules\":[],\"model\":{\"name\":\"m\",\"hash\":\"0123\"}}", "made for m (0123)"},
        {"{\"tqexplore_plan\":1,\"rules\":[],\"figures\":{\"kld\":{\"mean\":\"x\"}}}", "\"mean\""},
        {"{\"tqexplore_plan\":1,\"rules\":[],\"matrices\":[{\"name\":\"x\",\"bits\":\"keep\"}]}", "not in the model"},
        {"{\"tqexplore_plan\":1,\"rules\":[\"*=4\"],\"matrices\":[{\"name\":\"model.layers.0.mlp.up_proj\","
         "\"bits\":\"keep\"}]}",
         "remove \"matrices\""},
    };
    tq_err err = {{0}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        tq_plan *p = NULL;
        assert_int_equal(tq_plan_from_json(model_of(state), bad[i][0], strlen(bad[i][0]), "FILE", &p, &err), TQ_FAIL);
        assert_null(p);
        if (!strstr(err.msg, bad[i][1])) print_error("case %zu: %s\n", i, err.msg);
        assert_non_null(strstr(err.msg, bad[i][1]));
        assert_non_null(strstr(err.msg, "FILE"));
    }
}

static void a_plan_is_for_its_model(void **state) {
    tq_err err = {{0}};
    static const char rules[] = "{\"tqexplore_plan\":1,\"rules\":[\"*=4\",\"mlp.*=4+2:64\"]}";
    tq_session *other = open_session(OTHER, 1);
    tq_plan *p = tq_plan_new(model_of(state), &err), *back = NULL;
    char *json = NULL;
    assert_int_equal(tq_plan_to_json(p, NULL, &json, &err), TQ_OK);
    assert_int_equal(tq_plan_from_json(tq_session_model(other), json, strlen(json), "FILE", &back, &err), TQ_FAIL);
    assert_non_null(strstr(err.msg, "tiny-qwen3.5"));
    assert_non_null(strstr(err.msg, OTHER));
    assert_int_equal(tq_plan_from_json(tq_session_model(other), rules, strlen(rules), "FILE", &back, &err), TQ_OK);
    tq_plan_free(back);
    tq_plan_free(p);
    free(json);
    tq_session_close(other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(globs_match_names_labels_and_blocks),
        cmocka_unit_test(rules_are_refused_with_a_reason),
        cmocka_unit_test(later_rules_win_and_groups_stay),
        cmocka_unit_test(tied_heads_have_the_embedding_s_name),
        cmocka_unit_test(blocked_is_what_cannot_be_coded),
        cmocka_unit_test(regular_plans_take_few_rules),
        cmocka_unit_test(random_plans_come_back),
        cmocka_unit_test(broken_plans_are_refused),
        cmocka_unit_test(a_plan_is_for_its_model),
    };
    return cmocka_run_group_tests(tests, open_sample, close_session);
}
