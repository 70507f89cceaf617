/* test_tokenizer.c - ids against those of the reference (tests/make/make_tokenizer_fixtures.py), text there and back,
 * and tokenizer files that must be refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <utf8proc.h>

#include "model/tensor_writer.h"
#include "model/tokenizer.h"
#include "model/tokenizer_internal.h"
#include "tests/scratch.h"

#define DATA "tests/data/tokenizers"

typedef struct style {
    const char *name;
    const char *dir; /* of tokenizer.json; NULL: DATA/name */
    enum { EXACT, NFC, NO_ROUND_TRIP } back;
    bool special_back; /* round trip with added tokens recognised too */
} style;

static const style styles[] = {
    {"qwen3.5", NULL, NFC, true},
    {"qwen2", NULL, NFC, true},
    {"llama3", NULL, EXACT, true},
    {"gpt2", NULL, EXACT, true},
    {"smollm2", NULL, EXACT, true},
    {"odd", NULL, NO_ROUND_TRIP, false},     /* adds a space before the first word, as its reference does */
    {"llama2", NULL, EXACT, false},          /* a space after each special token, likewise */
    {"mistral", NULL, NO_ROUND_TRIP, false}, /* drops a first space, likewise */
    {"sample", "samples/tiny-qwen3.5", NFC, true},
};

static uint8_t *read_bytes(const char *path, size_t *n) {
    char *data = NULL;
    tq_err err;
    if (tq_read_file(path, (size_t)1 << 26, &data, n, &err)) fail_msg("%s", err.msg);
    return (uint8_t *)data;
}

static tq_tokenizer *load(const char *dir) {
    tq_tokenizer *t = NULL;
    tq_err err;
    if (tq_tokenizer_load(dir, &t, &err)) fail_msg("%s", err.msg);
    return t;
}

static size_t u16(const uint8_t *p) {
    return p[0] | (size_t)p[1] << 8;
}

/* Compares one list of the fixture; the list after it. */
static const uint8_t *check_list(const tq_tokenizer *t, const style *s, size_t line, const char *text, size_t n,
                                 bool special, const uint8_t *want) {
    int *ids = NULL;
    size_t count = 0;
    tq_err err;
    size_t expected = u16(want);
    want += 2;
    if (tq_tokenizer_encode(t, text, n, special, false, &ids, &count, &err)) fail_msg("%s", err.msg);
    for (size_t i = 0; i < expected || i < count; i++)
        if (i >= expected || i >= count || (size_t)ids[i] != u16(want + 2 * i))
            fail_msg("%s, line %zu, special %d: token %zu is %d, the reference has %d (%zu of %zu tokens): %.200s",
                     s->name, line, special, i, i < count ? ids[i] : -1, i < expected ? (int)u16(want + 2 * i) : -1,
                     count, expected, text);
    free(ids);
    return want + 2 * expected;
}

static void check_back(const tq_tokenizer *t, const style *s, size_t line, const char *text, size_t n, bool special) {
    int *ids = NULL;
    size_t count = 0;
    char *back = NULL;
    size_t n_back = 0;
    utf8proc_uint8_t *nfc = NULL;
    tq_err err;
    assert_int_equal(tq_tokenizer_encode(t, text, n, special, false, &ids, &count, &err), TQ_OK);
    assert_int_equal(tq_tokenizer_decode(t, ids, count, false, &back, &n_back, &err), TQ_OK);
    if (s->back == NFC) {
        n = (size_t)utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)n, &nfc,
                                 UTF8PROC_STABLE | UTF8PROC_COMPOSE);
        text = (const char *)nfc;
    }
    if (n != n_back || memcmp(text, back, n) != 0)
        fail_msg("%s, line %zu, special %d: '%.200s' came back as '%.200s'", s->name, line, special, text, back);
    assert_int_equal(back[n_back], '\0');
    free(nfc);
    free(back);
    free(ids);
}

static void test_reference(void **state) {
    (void)state;
    size_t n_lines;
    uint8_t *lines = read_bytes(DATA "/lines.bin", &n_lines);
    for (size_t k = 0; k < sizeof styles / sizeof *styles; k++) {
        const style *s = &styles[k];
        char dir[256];
        char path[300];
        size_t n_ids;
        snprintf(dir, sizeof dir, "%s", s->dir ? s->dir : DATA);
        if (!s->dir) snprintf(dir, sizeof dir, DATA "/%s", s->name);
        snprintf(path, sizeof path, DATA "/%s/ids.bin", s->name);
        uint8_t *ids = read_bytes(path, &n_ids);
        tq_tokenizer *t = load(dir);
        const uint8_t *want = ids;
        size_t line = 0;
        size_t valid = 0;
        for (size_t at = 0; at < n_lines; line++) {
            size_t n = u16(lines + at) | u16(lines + at + 2) << 16;
            const char *text = (const char *)lines + at + 4;
            at += 4 + n;
            want = check_list(t, s, line, text, n, true, want);
            want = check_list(t, s, line, text, n, false, want);
            if (s->back == NO_ROUND_TRIP || !tq_utf8_valid(text, n)) continue;
            check_back(t, s, line, text, n, false);
            if (s->special_back) check_back(t, s, line, text, n, true);
            valid++;
        }
        print_message("%-8s %zu lines, %zu of them there and back\n", s->name, line, valid);
        assert_true(line >= 2000);
        assert_ptr_equal(want, ids + n_ids);
        tq_tokenizer_free(t);
        free(ids);
    }
    free(lines);
}

static void test_template(void **state) {
    (void)state;
    static const struct {
        const char *dir, *bos;
    } cases[] = {{DATA "/llama3", "<|begin_of_text|>"}, {DATA "/llama2", "<s>"}, {DATA "/gpt2", NULL}};
    for (size_t i = 0; i < 3; i++) {
        tq_tokenizer *t = load(cases[i].dir);
        int *with = NULL;
        int *without = NULL;
        size_t n_with;
        size_t n_without;
        tq_err err;
        assert_int_equal(tq_tokenizer_encode(t, "the end", 7, true, true, &with, &n_with, &err), TQ_OK);
        assert_int_equal(tq_tokenizer_encode(t, "the end", 7, true, false, &without, &n_without, &err), TQ_OK);
        size_t extra = cases[i].bos ? 1 : 0;
        assert_int_equal(n_with, n_without + extra);
        assert_memory_equal(with + extra, without, n_without * sizeof *with);
        if (extra) {
            assert_int_equal(with[0], tq_tokenizer_id(t, cases[i].bos));
            assert_true(tq_tokenizer_is_special(t, with[0]));
        }
        free(with);
        free(without);
        tq_tokenizer_free(t);
    }
}

static void test_lookups(void **state) {
    (void)state;
    tq_tokenizer *t = load(DATA "/qwen3.5");
    tq_err err;
    size_t n;
    int end = tq_tokenizer_id(t, "<|im_end|>");
    int think = tq_tokenizer_id(t, "<think>");
    assert_true(tq_tokenizer_is_special(t, end));
    assert_false(tq_tokenizer_is_special(t, think));
    assert_int_equal(tq_tokenizer_vocab(t), 2005);
    assert_int_equal(tq_tokenizer_id(t, "no such token"), -1);
    assert_null(tq_tokenizer_bytes(t, -1, &n));
    assert_null(tq_tokenizer_bytes(t, 2005, &n));
    assert_int_equal(n, 0);
    assert_memory_equal(tq_tokenizer_bytes(t, end, &n), "<|im_end|>", 10);
    assert_memory_equal(tq_tokenizer_bytes(t, tq_tokenizer_id(t, "\u0120the"), &n), " the", 4);
    assert_int_equal(n, 4);
    const int ids[] = {end, think, 99999, -5, tq_tokenizer_id(t, "\u010a")};
    char *text = NULL;
    assert_int_equal(tq_tokenizer_decode(t, ids, 5, true, &text, &n, &err), TQ_OK);
    assert_string_equal(text, "<think>\n");
    free(text);
    tq_tokenizer_free(t);
}

/* Every maximal ill-formed subpart becomes one U+FFFD; the expectations are those of Python's bytes.decode. */
static void test_lossy(void **state) {
    (void)state;
    static const struct {
        const char *in, *out;
    } cases[] = {{"a\xFF", "aR"},
                 {"\xE2\x82", "R"},
                 {"\xE2\x82z", "Rz"},
                 {"\xF0\x9F\x98", "R"},
                 {"\xC0\xAF", "RR"},
                 {"\xE0\x80\xAF", "RRR"},
                 {"\xED\xA0\x80", "RRR"},
                 {"\xF4\x90\x80\x80", "RRRR"},
                 {"\xF1\x80\xE2\x82\xC3\xA9", "RR\u00e9"},
                 {"\xF0\x80\x80\x41", "RRRA"},
                 {"ok", "ok"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tq_buffer out = {0};
        tq_buffer want = {0};
        for (const char *p = cases[i].out; *p; p++)
            assert_true(*p == 'R' ? tq_buffer_add(&want, "\uFFFD", 3) : tq_buffer_add(&want, p, 1));
        assert_true(tq_utf8_lossy(cases[i].in, strlen(cases[i].in), &out));
        assert_int_equal(out.n, want.n);
        assert_memory_equal(out.data, want.data, want.n);
        free(out.data);
        free(want.data);
    }
}

/* A piece without spaces of 100 KB, and long runs that patterns must step over. */
static void test_long(void **state) {
    (void)state;
    enum { N = 100000 };
    char *text = malloc(N);
    static const char fills[] = {'a', ' ', '\n', '-', '7', '\xCC'};
    tq_tokenizer *t = load(DATA "/qwen3.5");
    tq_tokenizer *sp = load(DATA "/llama2");
    double start = tq_now();
    for (size_t i = 0; i < sizeof fills; i++) {
        const tq_tokenizer *both[] = {t, sp};
        memset(text, fills[i], N);
        for (size_t k = 0; k < 2; k++) {
            int *ids = NULL;
            size_t n;
            tq_err err;
            if (tq_tokenizer_encode(both[k], text, N, true, false, &ids, &n, &err)) fail_msg("%s", err.msg);
            assert_true(n > 0 && n <= (size_t)3 * N);
            free(ids);
        }
    }
    print_message("12 texts of 100 KB in %.2f s\n", tq_now() - start);
    assert_true(tq_now() - start < 12); /* quadratic merging takes minutes */
    free(text);
    tq_tokenizer_free(t);
    tq_tokenizer_free(sp);
}

/* ---- files that are refused ---- */

static void refuse(const char *json, size_t n, const char *mention) {
    tq_tokenizer *t = NULL;
    tq_err err;
    scratch_write("tokenizer.json", json, n);
    double start = tq_now();
    if (tq_tokenizer_load(scratch_dir, &t, &err) != TQ_FAIL)
        fail_msg("expected a line about %s, but it loads: %.300s", mention, json);
    assert_true(tq_now() - start < 1.0);
    assert_null(t);
    if (!strstr(err.msg, mention) || !strstr(err.msg, "tokenizer.json") || strchr(err.msg, '\n'))
        fail_msg("expected a line about %s: %s", mention, err.msg);
}

#define BYTE_LEVEL "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}"
#define MODEL(vocab, merges) "\"model\":{\"type\":\"BPE\",\"vocab\":" vocab ",\"merges\":" merges "}"
#define PLAIN(model) "{\"pre_tokenizer\":" BYTE_LEVEL "," model "}"
#define ABC "{\"a\":0,\"b\":1,\"c\":2,\"ab\":3}"
#define SPLIT(regex)                                                                                                   \
    "{\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" regex \
    "\"},\"behavior\":\"Isolated\",\"invert\":false},{\"type\":\"ByteLevel\",\"add_prefix_space\":false,"              \
    "\"use_regex\":false}]}," MODEL(ABC, "[]") "}"
#define ADDED(entry) "{\"added_tokens\":[" entry "],\"pre_tokenizer\":" BYTE_LEVEL "," MODEL(ABC, "[]") "}"
#define WITH(member) "{" member ",\"pre_tokenizer\":" BYTE_LEVEL "," MODEL(ABC, "[]") "}"

static void test_refused(void **state) {
    (void)state;
    static const struct {
        const char *json, *mention;
    } cases[] = {
        {"", "JSON"},
        {"{", "JSON"},
        {"[]", "object"},
        {"{} {}", "after the end"},
        {"\xFF{}", "UTF-8"},
        {"{}", "byte-level"},
        {"{\"model\":{\"type\":\"Unigram\"},\"pre_tokenizer\":" BYTE_LEVEL "}", "Unigram"},
        {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{}},\"pre_tokenizer\":" BYTE_LEVEL "}", "WordPiece"},
        {"{\"pre_tokenizer\":{\"type\":\"Whitespace\"}," MODEL(ABC, "[]") "}", "Whitespace"},
        {WITH("\"normalizer\":{\"type\":\"Lowercase\"}"), "Lowercase"},
        {WITH("\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"a\"},\"content\":\"\"}"), "Replace"},
        {WITH("\"post_processor\":{\"type\":\"BertProcessing\"}"), "BertProcessing"},
        {WITH("\"decoder\":{\"type\":\"WordPiece\"}"), "WordPiece"},
        {WITH("\"decoder\":{\"type\":\"Fuse\"}"), "decoder"},
        {PLAIN(MODEL("{}", "[]")), "vocabulary"},
        {PLAIN(MODEL("{\"a\":-1}", "[]")), "id"},
        {PLAIN(MODEL("{\"a\":1.5}", "[]")), "id"},
        {PLAIN(MODEL("{\"a\":\"0\"}", "[]")), "id"},
        {PLAIN(MODEL("{\"a\":1099511627776}", "[]")), "id"},
        {PLAIN(MODEL("{\"a\":1e300}", "[]")), "id"},
        {PLAIN(MODEL("{\"a\":0,\"b\":0}", "[]")), "same id"},
        {PLAIN(MODEL("{\"a\":0,\"a\":1}", "[]")), "twice"},
        {PLAIN(MODEL(ABC, "{}")), "merges"},
        {PLAIN(MODEL(ABC, "[\"a\"]")), "merge 0"},
        {PLAIN(MODEL(ABC, "[\"a b c\"]")), "merge 0"},
        {PLAIN(MODEL(ABC, "[\" a\"]")), "merge 0"},
        {PLAIN(MODEL(ABC, "[[\"a\",\"b\"],[\"\",\"ab\"]]")), "merge 1"},
        {PLAIN(MODEL(ABC, "[[\"a\",7]]")), "merge 0"},
        {PLAIN(MODEL(ABC, "[\"a b\",\"a z\"]")), "\"z\" is not in"},
        {PLAIN(MODEL(ABC, "[\"b c\"]")), "\"bc\" is not in"},
        {PLAIN("\"model\":{\"type\":\"BPE\",\"dropout\":0.1,\"vocab\":" ABC ",\"merges\":[]}"), "dropout"},
        {PLAIN("\"model\":{\"type\":\"BPE\",\"unk_token\":\"?\",\"vocab\":" ABC ",\"merges\":[]}"), "unk_token"},
        {PLAIN("\"model\":{\"type\":\"BPE\",\"end_of_word_suffix\":\"</w>\",\"vocab\":" ABC ",\"merges\":[]}"),
         "end_of_word_suffix"},
        {ADDED("{\"id\":9,\"content\":\"\"}"), "without content"},
        {ADDED("{\"id\":-9,\"content\":\"x\"}"), "id"},
        {ADDED("{\"id\":1,\"content\":\"x\"}"), "same id"},
        {ADDED("{\"id\":1,\"content\":\"a\"}"), "ids 0 and 1"},
        {ADDED("{\"id\":8,\"content\":\"x\"},{\"id\":9,\"content\":\"x\"}"), "ids 8 and 9"},
        {WITH("\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[]}"), "leaves the text out"},
        {WITH("\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"x\"}}]}"),
         "no ids"},
        {WITH("\"post_processor\":{\"type\":\"TemplateProcessing\",\"special_tokens\":{\"x\":{\"ids\":[77]}},"
              "\"single\":[{\"SpecialToken\":{\"id\":\"x\"}},{\"Sequence\":{\"id\":\"A\"}}]}"),
         "no token"},
        {SPLIT("(a"), "pattern"},
        {SPLIT("((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((("
               "(("),
         "pattern"},
        {SPLIT("((a{500}b){500}c){500}"), "pattern"},
        {SPLIT("\\\\w+"), "\\w"},
        {SPLIT("[a&&b]"), "class"},
        {SPLIT("(?<name>a)"), "group"},
        {SPLIT("(*UTF)a"), "group"},
        {SPLIT("a{1,2}+"), "{n,m}+"},
        {SPLIT("a\\\\"), "backslash"},
        {"{\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[" BYTE_LEVEL "," BYTE_LEVEL
         "]}," MODEL(ABC, "[]") "}",
         "after ByteLevel"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refuse(cases[i].json, strlen(cases[i].json), cases[i].mention);
    print_message("%zu files refused\n", sizeof cases / sizeof *cases);
}

static void test_refused_generated(void **state) {
    (void)state;
    enum { N = 9 << 20 };
    char *text = malloc(N);
    memset(text, '[', N);
    refuse(text, 2000, "JSON"); /* deeper than cJSON goes */
    for (size_t i = 0; i < N; i += 2)
        memcpy(text + i, "0,", 2);
    text[0] = '[';
    refuse(text, N, "JSON values"); /* would take hundreds of megabytes */
    text[0] = '{';
    text[20] = '\0';
    refuse(text, 1000, "NUL");
    free(text);
    /* Sequences within sequences */
    tq_buffer deep = {0};
    const char *open = "{\"type\":\"Sequence\",\"normalizers\":[";
    assert_true(tq_buffer_add(&deep, "{\"normalizer\":", 14));
    for (int i = 0; i < 400; i++)
        assert_true(tq_buffer_add(&deep, open, strlen(open)));
    for (int i = 0; i < 400; i++)
        assert_true(tq_buffer_add(&deep, "]}", 2));
    assert_true(tq_buffer_add(&deep, "}", 1));
    refuse(deep.data, deep.n, "deeply");
    free(deep.data);
}

/* A pattern that is legal and explodes on some text: the encoding fails within its limits. */
static void test_bombs(void **state) {
    (void)state;
    static const char *const patterns[] = {"(a+)+[b-z]",          "(a|aa)+[b-z]",  "(a|a)*[b-z]",
                                           "(a*a*a*a*a*a*)[b-z]", "((a*)*)*[b-z]", "(?:(?=(a+))a)*[b-z]"};
    enum { N = 20000 };
    char *text = malloc(N);
    memset(text, 'a', N);
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        tq_buffer json = {0};
        static const char *const parts[] = {
            "{\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\","
            "\"behavior\":\"Isolated\",\"pattern\":{\"Regex\":\"",
            NULL, "\"}}," BYTE_LEVEL "]}," MODEL(ABC, "[]") "}"};
        for (int k = 0; k < 3; k++) {
            const char *part = parts[k] ? parts[k] : patterns[i];
            assert_true(tq_buffer_add(&json, part, strlen(part)));
        }
        scratch_write("tokenizer.json", json.data, json.n);
        free(json.data);
        tq_tokenizer *t = load(scratch_dir);
        int *ids = NULL;
        size_t n;
        tq_err err = {""};
        double start = tq_now();
        int rc = tq_tokenizer_encode(t, text, N, true, false, &ids, &n, &err);
        print_message("%-16s %s in %.2f s %s\n", patterns[i], rc ? "refused" : "done", tq_now() - start, err.msg);
        assert_true(tq_now() - start < 3.0); /* 1 s, and slack for sanitizers */
        assert_int_equal(rc, TQ_FAIL);
        assert_non_null(strstr(err.msg, "pattern"));
        free(ids);
        tq_tokenizer_free(t);
    }
    free(text);
}

static void test_bos_of_config(void **state) {
    (void)state;
    tq_err err;
    tq_tokenizer *t = NULL;
    int *ids = NULL;
    size_t n;
    static const char json[] = ADDED("{\"id\":4,\"content\":\"<s>\",\"special\":true,\"normalized\":false}");
    static const char bos[] = "{\"add_bos_token\":true,\"bos_token\":{\"content\":\"<s>\"}}";
    static const char wrong[] = "{\"add_bos_token\":true,\"bos_token\":\"<bos>\"}";
    scratch_text("tokenizer.json", json);
    scratch_text("tokenizer_config.json", bos);
    t = load(scratch_dir);
    assert_int_equal(tq_tokenizer_encode(t, "ab", 2, true, true, &ids, &n, &err), TQ_OK);
    assert_int_equal(n, 3);
    assert_int_equal(ids[0], 4);
    free(ids);
    tq_tokenizer_free(t);
    scratch_text("tokenizer_config.json", wrong);
    assert_int_equal(tq_tokenizer_load(scratch_dir, &t, &err), TQ_FAIL);
    assert_non_null(strstr(err.msg, "bos_token"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lossy),
        cmocka_unit_test(test_reference),
        cmocka_unit_test(test_template),
        cmocka_unit_test(test_lookups),
        cmocka_unit_test(test_long),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_refused_generated),
        cmocka_unit_test(test_bombs),
        cmocka_unit_test(test_bos_of_config),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
