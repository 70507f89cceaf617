/* test_mutated.c - every kind of file that a stranger may give, changed at random: it is read, or refused with one
 * line, in time. test_mutated [--seed N] [--rounds N] [--case NAME]; under sanitizers with max_allocation_size_mb. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "model/export.h"
#include "model/questions.h"
#include "model/records.h"
#include "model/session.h"
#include "model/tensor_writer.h"
#include "tests/mutate.h"
#include "tests/scratch.h"
#include "tests/tui_sample.h"
#include "tui/keep_json.h"

#define SECONDS 2.0
#define MAX_FILE ((size_t)1 << 26)

static uint64_t seed;
static size_t rounds = 40;
static const char *only;

/* --- what is done with a file or directory: true when it was taken --- */

/* As far as a person comes with it: the tokenizer, a conversation, some tokens through the model. */
static bool use_session(tq_session *s, tq_err *err) {
    static const tq_message message = {"user", "a b <|im_end|> \xf0\x9f\x98\x80 12"};
    const tq_model *m = tq_session_model(s);
    int ids[3] = {0, 1, 2}, *got = NULL;
    size_t n = 0;
    bool fine = true;
    (void)tq_session_memory_plan(s, 512);
    if (tq_session_chat(s))
        fine = tq_chat_encode(tq_session_chat(s), &message, 1, TQ_THINK_DEFAULT, &got, &n, err) == TQ_OK;
    free(got);
    size_t vocab = tq_model_config(m)->vocab;
    tq_forward *f = vocab >= 3 ? tq_forward_new(m, tq_session_pool(s), err) : NULL;
    tq_cache *c = f ? tq_cache_new(m, 3, err) : NULL;
    float *logits = calloc(vocab, sizeof *logits);
    if (c && logits) fine = tq_forward_append(f, NULL, c, ids, 3, logits, NULL, err) == TQ_OK && fine;
    free(logits);
    tq_cache_free(c);
    tq_forward_free(f);
    return fine && c;
}

static bool use_model(const char *path, tq_err *err) {
    tq_session *s = NULL;
    if (tq_session_open(path, &(tq_session_options){.threads = 1}, &s, err) != TQ_OK) return false;
    bool fine = use_session(s, err);
    tq_session_close(s);
    return fine;
}

static bool use_source(const char *path, tq_err *err) {
    tq_source *s = NULL;
    char hash[17];
    if (tq_source_open(path, &s, err) != TQ_OK) return false;
    tq_source_hash(s, hash);
    tq_source_close(s);
    return true;
}

static bool use_tokens(tq_tokenizer *t, tq_err *err) {
    static const char sample[] = "Hello  w\xc3\xb6rld's 123 <|im_end|>\r\n\t \xff\xf0\x9f\x98\x80 e\xcc\x81";
    int *ids = NULL;
    size_t count = 0, n = 0;
    char *text = NULL;
    bool fine = tq_tokenizer_encode(t, sample, sizeof sample - 1, true, true, &ids, &count, err) == TQ_OK &&
                tq_tokenizer_decode(t, ids, count, false, &text, &n, err) == TQ_OK;
    free(text);
    free(ids);
    tq_tokenizer_free(t);
    return fine;
}

static bool use_tokenizer(const char *dir, tq_err *err) {
    tq_tokenizer *t = NULL;
    return tq_tokenizer_load(dir, &t, err) == TQ_OK && use_tokens(t, err);
}

static bool use_vocabulary(const char *path, tq_err *err) {
    tq_source *s = NULL;
    tq_tokenizer *t = NULL;
    if (tq_source_open(path, &s, err) != TQ_OK) return false;
    bool fine = tq_tokenizer_of(s, &t, err) == TQ_OK;
    if (fine && t) fine = use_tokens(t, err); /* none is no error */
    tq_source_close(s);
    return fine;
}

static bool use_plan(const char *path, tq_err *err) {
    char *text = NULL;
    size_t n = 0;
    tq_plan *p = NULL;
    if (tq_read_file(path, MAX_FILE, &text, &n, err) != TQ_OK) return false;
    bool fine = tq_plan_from_json(tq_sample_model(), text, n, path, &p, err) == TQ_OK;
    tq_plan_free(p);
    free(text);
    return fine;
}

static bool use_questions(const char *path, tq_err *err) {
    tq_questions *q = NULL;
    bool fine = tq_questions_load(path, &q, err) == TQ_OK;
    tq_questions_free(q);
    return fine;
}

static bool use_records(const char *path, tq_err *err) {
    tq_records r = {0};
    if (tq_records_read(path, "head", &r, err) != TQ_OK) return false;
    tq_records_free(&r);
    return true;
}

/* What records hold, without their hashes: each line is tried as everything. */
static bool use_values(const char *path, tq_err *err) {
    char *text = NULL;
    size_t taken = 0;
    if (tq_read_file(path, MAX_FILE, &text, NULL, err) != TQ_OK) return false;
    for (char *rest = text, *line; (line = strsep(&rest, "\n"));) {
        tq_state state = {0};
        tq_point point = {0};
        tq_turn turn = {0};
        cJSON *o = cJSON_Parse(line);
        if (tq_state_unpack(tq_sample_model(), o, &state)) tq_plan_free(state.plan), taken++;
        if (tq_point_unpack(tq_sample_model(), o, &point)) tq_plan_free(point.plan), taken++;
        if (tq_turn_unpack(o, &turn)) free(turn.text), taken++;
        cJSON_Delete(o);
    }
    free(text);
    if (!taken) (void)tq_fail(err, "%s: nothing in it", path);
    return taken > 0;
}

static bool use_text(const char *path, tq_err *err) {
    tq_session *s = NULL;
    check(tq_session_open("samples/tiny-qwen3.5", &(tq_session_options){.threads = 1}, &s, err), err);
    bool fine = tq_session_load_text(s, path, err) == TQ_OK;
    tq_session_close(s);
    return fine;
}

/* --- the cases: a directory of good files, and the one that is changed --- */

typedef struct mutated {
    const char *dir, *file; /* what is copied, and what of it is changed */
    mutate_kind kind;
    bool (*use)(const char *path, tq_err *err);
    bool whole; /* the directory is opened, not the file */
} mutated;

#define LOGITS "tests/data/logits/"
#define TOKENS "tests/data/tokenizers/"
#define EXPORT "EXPORT"
#define KEPT "KEPT"

static const mutated cases[] = {
    {LOGITS "qwen3_moe-sparse-small", "config.json", MUTATE_JSON, use_model, true},
    {LOGITS "qwen3_moe-sparse-small", "model.safetensors", MUTATE_SAFETENSORS, use_model, true},
    {LOGITS "qwen3_moe-fused-small", "config.json", MUTATE_JSON, use_model, true},
    {LOGITS "qwen3_5_moe-fused-multimodal-small", "config.json", MUTATE_JSON, use_model, true},
    {LOGITS "qwen3_5_moe-fused-multimodal-small", "model.safetensors", MUTATE_SAFETENSORS, use_model, true},
    {LOGITS "qwen3_5-small", "config.json", MUTATE_JSON, use_model, true},
    {LOGITS "gemma3-small", "config.json", MUTATE_JSON, use_model, true},
    {LOGITS "phi3-small", "config.json", MUTATE_JSON, use_model, true},
    {LOGITS "gpt2-small", "config.json", MUTATE_JSON, use_model, true},
    {LOGITS "gpt2-small", "model.safetensors", MUTATE_SAFETENSORS, use_model, true},
    {LOGITS "llama-rope-yarn", "config.json", MUTATE_JSON, use_model, true},
    {LOGITS "llama-rope-llama3", "config.json", MUTATE_JSON, use_model, true},
    {"tests/data/source/shards", "model.safetensors.index.json", MUTATE_JSON, use_source, true},
    {"tests/data/source/shards", "model-00001-of-00002.safetensors", MUTATE_SAFETENSORS, use_source, true},
    {"tests/data/source/all", "model.safetensors", MUTATE_SAFETENSORS, use_source, true},
    {TOKENS "gpt2", "tokenizer.json", MUTATE_JSON, use_tokenizer, true},
    {TOKENS "llama3", "tokenizer.json", MUTATE_JSON, use_tokenizer, true},
    {TOKENS "odd", "tokenizer.json", MUTATE_JSON, use_tokenizer, true},
    {"samples/tiny-qwen3.5", "tokenizer_config.json", MUTATE_JSON, use_model, true},
    {"samples/tiny-qwen3.5", "generation_config.json", MUTATE_JSON, use_model, true},
    {"samples/tiny-qwen3.5", "chat_template.jinja", MUTATE_BYTES, use_model, true},
    {"tests/data/gguf", "types.gguf", MUTATE_BYTES, use_source, false},
    {"tests/data/gguf", "qwen3moe.gguf", MUTATE_BYTES, use_model, false},
    {"tests/data/gguf", "qwen35moe.gguf", MUTATE_BYTES, use_model, false},
    {"tests/data/gguf", "spm.gguf", MUTATE_BYTES, use_vocabulary, false},
    {"tests/data/gguf", "parts-00001-of-00003.gguf", MUTATE_BYTES, use_source, false},
    {"tests/data/gguf", "parts-00002-of-00003.gguf", MUTATE_BYTES, use_source, false},
    {EXPORT, "model.safetensors", MUTATE_SAFETENSORS, use_model, true},
    {EXPORT, "tq_plan.json", MUTATE_JSON, use_model, true},
    {KEPT, "plan.json", MUTATE_JSON, use_plan, false},
    {KEPT, "session", MUTATE_BYTES, use_records, false},
    {KEPT, "values", MUTATE_LINES, use_values, false},
    {"samples", "questions.jsonl", MUTATE_LINES, use_questions, false},
    {"samples", "eval.txt", MUTATE_BYTES, use_text, false},
};

static char export_dir[96], kept_dir[96];

static void write_in(const char *dir, const char *name, const char *text) {
    char path[256];
    tq_err err;
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    check(tq_write_file(path, text, strlen(text), &err), &err);
}

/* An export of ours, to be changed. */
static void make_export(void) {
    tq_session *s = NULL;
    tq_err err;
    check(tq_session_open(LOGITS "qwen3_moe-sparse-small", &(tq_session_options){.threads = 1}, &s, &err), &err);
    tq_plan *p = tq_plan_copy(tq_session_plan(s));
    check(tq_plan_rule(p, "*=4:32", NULL, &err), &err);
    check(tq_plan_rule(p, "*down*=4+2:32", NULL, &err), &err);
    check(tq_session_set_plan(s, p, &err), &err);
    check(tq_session_apply(s, NULL, NULL, NULL, &err), &err);
    tq_export_job job = {.model = tq_session_model(s),
                         .plan = p,
                         .q = tq_session_variant(s),
                         .path = export_dir,
                         .pool = tq_session_pool(s)};
    check(tq_export_tq(&job, NULL, &err), &err);
    tq_plan_free(p);
    tq_session_close(s);
}

/* A plan and a session of the sample model. */
static void make_kept(void) {
    tq_plan *p = tq_sample_plan("*down*=4+2:32");
    tq_eval_result r = {.tokens = 504, .windows = 8, .ppl = 17.25, .ppl_base = 16, .kld_mean = 0.01};
    tq_state state = {.plan = p, .what = "0 q_proj keep 4", .eval = r, .eval_known = true};
    tq_point point = {.plan = p, .name = "a name", .named = true, .seconds = 12.5, .eval = r};
    tq_turn turn = {.speakers = TQ_PLAN, .answer = true, .text = (char *)"tab\t", .stats = {.tokens = 3}};
    cJSON *o[3] = {tq_state_pack(&state, 0), tq_point_pack(&point), tq_turn_pack(&turn)};
    char *json = NULL, *text[3], *all = NULL, path[128];
    tq_keeper *k = NULL;
    tq_err err;
    bool busy = false;
    (void)mkdir(kept_dir, 0700);
    check(tq_plan_to_json(p, NULL, &json, &err), &err);
    write_in(kept_dir, "plan.json", json);
    free(json);
    (void)snprintf(path, sizeof path, "%s/session", kept_dir);
    check(tq_keeper_claim(path, &busy, &k, &err), &err);
    check(tq_keeper_begin(k, &err), &err);
    check(tq_keeper_put(k, "head", "{\"format\":2}", &err), &err);
    for (int i = 0; i < 3; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "s%d", i);
        text[i] = cJSON_PrintUnformatted(o[i]);
        cJSON_Delete(o[i]);
        check(tq_keeper_put(k, key, text[i], &err), &err);
    }
    tq_keeper_close(k);
    assert_true(asprintf(&all, "%s\n%s\n%s\n", text[0], text[1], text[2]) > 0);
    write_in(kept_dir, "values", all);
    free(all);
    for (int i = 0; i < 3; i++)
        cJSON_free(text[i]);
    tq_plan_free(p);
}

static int set_up(void **state) {
    if (scratch_make(state) || tq_sample_open(state)) return -1;
    (void)snprintf(export_dir, sizeof export_dir, "%s/export", scratch_dir);
    (void)snprintf(kept_dir, sizeof kept_dir, "%s/kept", scratch_dir);
    make_export();
    make_kept();
    return 0;
}

static int tear_down(void **state) {
    return tq_sample_close(state) | scratch_remove(state);
}

/* A message of one line, and of nothing that a terminal would take for an order. */
static void check_message(const char *msg, const char *what) {
    if (!*msg) fail_msg("%s: refused without a word", what);
    for (const char *c = msg; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f) fail_msg("%s: a control character in: %s", what, msg);
}

/* The directory's files are there by links, the one that is changed is written anew each time. */
static void run_case(const mutated *c, size_t index, size_t *taken) {
    const char *from = strcmp(c->dir, EXPORT) == 0 ? export_dir : strcmp(c->dir, KEPT) == 0 ? kept_dir : c->dir;
    char dir[96], path[256], command[512], *good = NULL;
    size_t n = 0, mine = 0;
    tq_err err = {{0}};
    (void)snprintf(dir, sizeof dir, "%s/%zu", scratch_dir, index);
    (void)snprintf(command, sizeof command, "mkdir '%s' && ln -s \"$(realpath '%s')\"/* '%s' && rm '%s/%s'", dir, from,
                   dir, dir, c->file);
    assert_int_equal(system(command), 0);
    (void)snprintf(path, sizeof path, "%s/%s", from, c->file);
    check(tq_read_file(path, MAX_FILE, &good, &n, &err), &err);
    if (n > 400000) n = 400000; /* of a long text the beginning */
    (void)snprintf(path, sizeof path, "%s/%s", dir, c->file);
    uint64_t random = (seed + 1) * 0x9e3779b97f4a7c15u + index;
    for (size_t i = 0; i < rounds; i++) {
        size_t size = n;
        char *data = i ? mutate(c->kind, good, n, &random, &size) : strndup(good, 0);
        check(tq_write_file(path, i ? data : good, size, &err), &err);
        free(data);
        err = (tq_err){{0}};
        double start = tq_now();
        bool fine = c->use(c->whole ? dir : path, &err);
        double seconds = tq_now() - start;
        if (!i && !fine) fail_msg("%s: the good one is refused: %s", path, err.msg);
        if (!fine) check_message(err.msg, path);
        if (seconds > SECONDS) fail_msg("%s, round %zu: %.1f s", path, i, seconds);
        mine += fine;
    }
    print_message("%-60s %4zu of %zu taken\n", path + strlen(scratch_dir) + 1, mine, rounds);
    *taken += mine;
    free(good);
}

static void changed_files(void **state) {
    size_t taken = 0;
    (void)state;
    print_message("seed %llu\n", (unsigned long long)seed);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (!only || strstr(cases[i].file, only) || strstr(cases[i].dir, only)) run_case(&cases[i], i, &taken);
    assert_true(taken > 0);
}

int main(int argc, char **argv) {
    seed = (uint64_t)time(NULL);
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--seed") == 0) seed = strtoull(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--rounds") == 0) rounds = strtoull(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--case") == 0) only = argv[i + 1];
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(changed_files)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
