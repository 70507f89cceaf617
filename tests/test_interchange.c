/* test_interchange.c - the directory of the published implementation: its weights, reconstructed by
 * tests/reconstruct.py from what the format says, are those that were measured; what stays is the source's; and what it
 * cannot say is refused before anything is written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "model/session.h"
#include "model/tensor_writer.h"
#include "tests/scratch.h"
#include "tests/session_fixture.h"

#define FIXTURES "tests/data/logits/"
enum { RULES = 4 };

static tq_session *open_planned(const char *path, const tq_common *common, const char *const rules[RULES]) {
    tq_session *s = open_session(path, 2);
    size_t n = 0;
    while (n < RULES && rules[n])
        n++;
    set_rules(s, common, rules, n);
    return s;
}

static const tq_qmatrix *packed_of(const tq_session *s, size_t i) {
    const tq_qmatrix *q = tq_session_variant(s)[i];
    return q ? q : tq_model_matrix(tq_session_model(s), i)->packed;
}

/* All quantized matrices as the kernels decode them, under their names. */
static void write_ours(const tq_session *s, const char *path) {
    const tq_model *m = tq_session_model(s);
    tq_writer *w = NULL;
    tq_err err = {{0}};
    assert_int_equal(tq_writer_new(path, NULL, &w, &err), TQ_OK);
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < tq_model_matrices(m); i++) {
            const tq_qmatrix *q = packed_of(s, i);
            if (!q) continue;
            size_t rows = tq_qmatrix_rows(q), cols = tq_qmatrix_cols(q), bytes = rows * cols * sizeof(float);
            if (pass == 0) {
                assert_int_equal(
                    tq_writer_declare(w, tq_model_matrix(m, i)->name, "F32", (size_t[]){rows, cols}, 2, bytes, &err),
                    TQ_OK);
                continue;
            }
            float *out = malloc(bytes), *scratch = tq_calloc_aligned(tq_qmatrix_scratch(q) + 1, sizeof *scratch);
            tq_qmatrix_dequantize_rows(q, 0, rows, out, scratch);
            assert_int_equal(tq_writer_data(w, out, bytes, &err), TQ_OK);
            free(out);
            free(scratch);
        }
    assert_int_equal(tq_writer_finish(w, &err), TQ_OK);
}

/* Tensors that stay are there with their bytes, under their names; of GGUF their floats are another test's. */
static void check_kept(const tq_session *s, const char *where) {
    const tq_model *m = tq_session_model(s);
    const tq_source *from = tq_model_source(m);
    tq_source *to = NULL;
    char path[300];
    tq_err err = {{0}};
    size_t kept = 0, biases = 0;
    (void)snprintf(path, sizeof path, "%s/non_quantized.safetensors", where);
    if (tq_source_open(path, &to, &err)) fail_msg("%s", err.msg);
    for (size_t i = 0; i < tq_source_count(from); i++) {
        const tq_tensor *t = tq_source_at(from, i), *u = tq_source_find(to, t->name);
        char name[300];
        if (strstr(t->name, ".weight.tq.")) continue; /* of a packed export */
        (void)snprintf(name, sizeof name, "%s", t->name);
        *strrchr(name, '.') = '\0';
        size_t k = tq_model_find(m, name);
        if (k != SIZE_MAX && packed_of(s, k)) {
            assert_null(u);
            biases += strcmp(t->name + strlen(name), ".bias") == 0;
            continue;
        }
        assert_non_null(u);
        kept++;
        if (t->codec || t->paired || strcmp(tq_source_format(from), "safetensors") != 0) continue;
        assert_int_equal(u->bytes, t->bytes);
        assert_memory_equal(u->data, t->data, t->bytes);
    }
    assert_int_equal(tq_source_count(to), kept);
    tq_source_close(to);
    (void)snprintf(path, sizeof path, "%s/model.safetensors", where);
    if (tq_source_open(path, &to, &err)) fail_msg("%s", err.msg);
    for (size_t i = 0; i < tq_source_count(to); i++) {
        const char *end = strrchr(tq_source_at(to, i)->name, '.');
        biases -= end && strcmp(end, ".bias") == 0;
    }
    assert_int_equal(biases, 0);
    tq_source_close(to);
}

static void check_export(tq_session *s) {
    char command[400];
    tq_err err = {{0}};
    if (tq_session_export(s, TQ_EXPORT_TURBOQUANT, scratch_path("out"), true, NULL, &err)) fail_msg("%s", err.msg);
    write_ours(s, scratch_path("ours.safetensors"));
    (void)snprintf(command, sizeof command, "python3 tests/reconstruct.py '%s/out' '%s/ours.safetensors'", scratch_dir,
                   scratch_dir);
    assert_int_equal(system(command), 0);
    check_kept(s, scratch_path("out"));
}

static const struct plan_case {
    const char *model;
    const char *rules[RULES];
    uint64_t seed;
} cases[] = {
    {"llama-untied", {"*=4:32", "*.down_proj=keep"}, 42},
    {"llama-untied", {"*=4+2:64", "0.*=4:64", "*.o_proj=keep", "*.down_proj=keep"}, 42},
    {"qwen3-tied", {"*=4+4:32", "*.up_proj=4:32", "*.down_proj=keep", "1.*.q_proj=keep"}, 7},
    {"qwen3-tied", {"*self_attn.[qkv]_proj=4+4:row"}, UINT64_C(4294967290)}, /* the seed's low half turns over */
    {"qwen2-small", {"*=4+2:32", "*.down_proj=keep"}, 42},                   /* biases */
    {"qwen3_5-tied", {"*=4+4:32", "mlp.*=4:32", "*.down_proj=keep"}, 42},
    {"gemma3-small", {"*=4:32", "*.down_proj=keep"}, 42},
    {"phi3-small", {"*=4+4:row", "mlp.down_proj=keep"}, 42},
    {"olmo2-small", {"mlp.*=4:32", "*.down_proj=keep"}, 1},
    {"../../../samples/tiny-qwen3.5", {"3.*=4+2", "3.mlp.*=keep", "*.v_proj=4"}, 42},
};

static void weights_are_those_measured(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[200];
        tq_common common = tq_common_default();
        common.residual = TQ_RESIDUAL_INDEPENDENT;
        common.seed = cases[i].seed;
        (void)snprintf(path, sizeof path, FIXTURES "%s", cases[i].model);
        tq_session *s = open_planned(path, &common, cases[i].rules);
        check_export(s);
        tq_session_close(s);
    }
}

/* From a GGUF file, whose rows of q and k lie in another order, and from a packed export. */
static void from_other_sources(void **state) {
    static const char *const rules[RULES] = {"*=4+4:32", "*.gate_proj=keep", "*.down_proj=keep"};
    tq_common common = tq_common_default();
    tq_err err = {{0}};
    (void)state;
    tq_session *s = open_session(FIXTURES "llama-untied", 2);
    assert_int_equal(tq_session_export(s, TQ_EXPORT_GGUF, scratch_path("x.gguf"), false, NULL, &err), TQ_OK);
    tq_session_close(s);
    common.residual = TQ_RESIDUAL_INDEPENDENT;
    s = open_planned(scratch_path("x.gguf"), &common, rules);
    check_export(s);
    tq_session_close(s);
    s = open_planned(FIXTURES "llama-untied", &common, rules);
    assert_int_equal(tq_session_export(s, TQ_EXPORT_TQ, scratch_path("packed"), false, NULL, &err), TQ_OK);
    tq_session_close(s);
    s = open_session(scratch_path("packed"), 2);
    check_export(s);
    tq_session_close(s);
}

static bool exists(const char *path) {
    struct stat st;
    return lstat(path, &st) == 0;
}

static void not_done(void *ctx, double done, double total) {
    (void)done;
    (void)total;
    *(bool *)ctx = true;
}

static void what_it_cannot_say_is_refused(void **state) {
    static const struct {
        const char *model;
        const char *rules[RULES];
        tq_residual residual;
        tq_rotation_kind rotation;
        uint64_t seed;
        const char *why;
    } refused[] = {
        {"llama-untied", {"*=4:32"}, TQ_RESIDUAL_NESTED, TQ_ROTATION_HADAMARD, 42, "--residual independent"},
        {"llama-untied", {"*=4+2:32"}, TQ_RESIDUAL_NESTED, TQ_ROTATION_HADAMARD, 42, "residuals are nested"},
        {"llama-untied", {"*=4:32"}, TQ_RESIDUAL_INDEPENDENT, TQ_ROTATION_QR, 42, "rotation qr"},
        {"llama-untied", {"*=4:32"}, TQ_RESIDUAL_INDEPENDENT, TQ_ROTATION_NONE, 42, "rotation none"},
        {"llama-untied", {"*.gate_proj=4t:32"}, TQ_RESIDUAL_INDEPENDENT, TQ_ROTATION_HADAMARD, 42, "is at 4t"},
        {"llama-untied",
         {"*=4:32", "mlp.*=4:64"},
         TQ_RESIDUAL_INDEPENDENT,
         TQ_ROTATION_HADAMARD,
         42,
         "one size for all"},
        {"llama-untied",
         {"*=4:64", "1.*=4+2", "mlp.*=4+4", "*.down_proj=keep"},
         TQ_RESIDUAL_INDEPENDENT,
         TQ_ROTATION_HADAMARD,
         42,
         "one width"},
        {"llama-untied", {"*.down_proj=4:row"}, TQ_RESIDUAL_INDEPENDENT, TQ_ROTATION_HADAMARD, 42, "powers of two"},
        {"llama-untied",
         {"*=4:64"},
         TQ_RESIDUAL_INDEPENDENT,
         TQ_ROTATION_HADAMARD,
         42,
         "136 columns, which groups of 64"},
        {"llama-untied", {"*.q_proj=4:512"}, TQ_RESIDUAL_INDEPENDENT, TQ_ROTATION_HADAMARD, 42, "which groups of 512"},
        {"smollm2-f16", {"*.q_proj=4:row"}, TQ_RESIDUAL_INDEPENDENT, TQ_ROTATION_HADAMARD, 42, "groups of 48 columns"},
        {"qwen3_5-multimodal", {"*=4:32"}, TQ_RESIDUAL_INDEPENDENT, TQ_ROTATION_HADAMARD, 42, "tensors are named"},
        {"llama-untied", {"*=4:32"}, TQ_RESIDUAL_INDEPENDENT, TQ_ROTATION_HADAMARD, UINT64_MAX, "seed"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        bool begun = false;
        tq_progress p = {.report = not_done, .ctx = &begun};
        char path[200];
        tq_err err = {{0}};
        tq_common common = tq_common_default();
        common.residual = refused[i].residual;
        common.rotation = refused[i].rotation;
        common.seed = refused[i].seed;
        (void)snprintf(path, sizeof path, FIXTURES "%s", refused[i].model);
        tq_session *s = open_planned(path, &common, refused[i].rules);
        size_t stale = tq_session_stale(s);
        assert_int_equal(tq_session_export(s, TQ_EXPORT_TURBOQUANT, scratch_path("refused"), false, &p, &err), TQ_FAIL);
        if (!strstr(err.msg, refused[i].why)) fail_msg("case %zu: %s", i, err.msg);
        assert_non_null(strstr(err.msg, path));
        assert_non_null(strstr(err.msg, "turboquant-model"));
        assert_false(begun);
        assert_int_equal(tq_session_stale(s), stale); /* nothing was coded */
        assert_false(exists(scratch_path("refused")));
        tq_session_close(s);
    }
}

/* Leaves DIR/out and DIR/ours.safetensors of any model, for reconstruct.py. */
static int leave(int argc, char **argv) {
    const char *rules[RULES] = {"*=4"};
    tq_common common = tq_common_default();
    tq_err err = {{0}};
    common.residual = TQ_RESIDUAL_INDEPENDENT;
    for (int i = 3; i < argc && i < 3 + RULES; i++)
        rules[i - 3] = argv[i];
    (void)snprintf(scratch_dir, sizeof scratch_dir, "%s", argv[2]);
    tq_session *s = open_planned(argv[1], &common, rules);
    int rc = tq_session_export(s, TQ_EXPORT_TURBOQUANT, scratch_path("out"), true, NULL, &err);
    if (rc == TQ_OK)
        write_ours(s, scratch_path("ours.safetensors"));
    else
        fprintf(stderr, "%s\n", err.msg);
    tq_session_close(s);
    return rc == TQ_OK ? 0 : 1;
}

/* With MODEL DIR [RULE...]: leave. */
int main(int argc, char **argv) {
    if (argc > 2) return leave(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_are_those_measured),
        cmocka_unit_test(from_other_sources),
        cmocka_unit_test(what_it_cannot_say_is_refused),
    };
    return cmocka_run_group_tests_name("interchange", tests, scratch_make, scratch_remove);
}
