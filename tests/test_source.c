/* test_source.c - safetensors files written by the reference implementation (tests/make/make_source_fixtures.py), files
 * that must be refused, and the writer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "model/source_internal.h"
#include "model/tensor_source.h"
#include "model/tensor_writer.h"
#include "tests/scratch.h"

static void path_of(const char *name, char path[128]) {
    snprintf(path, 128, "%s/%s", scratch_dir, name);
}

static tq_source *open_ok(const char *path) {
    tq_source *s = NULL;
    tq_err err;
    if (tq_source_open(path, &s, &err)) fail_msg("%s", err.msg);
    return s;
}

static void test_reference(void **state) {
    (void)state;
    tq_source *s = open_ok("tests/data/source/all");
    tq_source *same = open_ok("tests/data/source/all/model.safetensors");
    char *list = NULL;
    tq_err err;
    if (tq_read_file("tests/data/source/all.txt", 1 << 16, &list, NULL, &err)) fail_msg("%s", err.msg);
    size_t n = 0;
    size_t bytes = 0;
    for (char *line = strtok(list, "\n"); line; line = strtok(NULL, "\n"), n++) {
        char name[64];
        char dtype[16];
        char shape[64];
        unsigned long long hash;
        assert_int_equal(sscanf(line, "%63s %15s %llx %63s", name, dtype, &hash, shape), 4);
        const tq_tensor *t = tq_source_find(s, name);
        if (!t) fail_msg("%s is missing", name);
        assert_string_equal(t->dtype_name, dtype);
        assert_true(tq_hash_bytes(TQ_HASH_SEED, t->data, t->bytes) == hash);
        char got[64] = "-";
        for (size_t i = 0, at = 0; i < t->rank; i++)
            at += (size_t)snprintf(got + at, sizeof got - at, "%s%zu", i ? "," : "", t->shape[i]);
        assert_string_equal(got, shape);
        bytes += t->bytes;
    }
    assert_int_equal(tq_source_count(s), n);
    assert_int_equal(tq_source_bytes(s), bytes);
    assert_int_equal(tq_source_find(s, "t.BF16")->dtype, TQ_BF16);
    assert_int_equal(tq_source_find(s, "t.U8")->dtype, TQ_U8);
    assert_int_equal(tq_source_find(s, "t.F8_E4M3")->dtype, TQ_DTYPE_OTHER);
    assert_null(tq_source_find(s, "t"));
    assert_string_equal(tq_source_format(s), "safetensors");
    assert_string_equal(tq_source_dir(same), "tests/data/source/all");
    assert_string_equal(tq_source_dir(s), "tests/data/source/all");
    assert_string_equal(tq_source_shard_name(s, 0), "model.safetensors");
    char a[17];
    char b[17];
    tq_source_hash(s, a);
    tq_source_hash(same, b);
    assert_string_equal(a, b);
    assert_int_equal(strlen(a), 16);
    tq_source_close(s);
    tq_source_close(same);
    free(list);
}

static void test_shards(void **state) {
    (void)state;
    static const char *const paths[] = {"tests/data/source/shards",
                                        "tests/data/source/shards/model.safetensors.index.json"};
    for (size_t k = 0; k < 2; k++) {
        tq_source *s = open_ok(paths[k]);
        assert_int_equal(tq_source_shards(s), 2);
        assert_int_equal(tq_source_count(s), 3);
        assert_null(tq_source_find(s, "unnamed"));
        assert_string_equal(tq_source_dir(s), "tests/data/source/shards");
        for (size_t i = 0; i < 3; i++) {
            const tq_tensor *t = tq_source_at(s, i);
            size_t shard = t->name[0] == 'c';
            assert_int_equal(tq_source_shard_of(s, i), shard);
            assert_non_null(strstr(tq_source_shard_name(s, shard), shard ? "00002-of" : "00001-of"));
        }
        const float *a = tq_source_find(s, "a")->data;
        for (int i = 0; i < 6; i++)
            assert_true(a[i] == (float)i);
        tq_source_close(s);
    }
}

/* ---- files made here ---- */

static void write_bytes(const char *name, const void *data, size_t n) {
    char path[128];
    tq_err err;
    path_of(name, path);
    if (tq_write_file(path, data, n, &err)) fail_msg("%s", err.msg);
}

/* A safetensors file of a header (its length as given, or its own) and `data` zero bytes. */
static void write_model(const char *name, const char *header, const uint64_t *length, size_t data) {
    size_t n = strlen(header);
    uint64_t said = length ? *length : n;
    char *file = calloc(1, 8 + n + data);
    for (int i = 0; i < 8; i++)
        file[i] = (char)(said >> (8 * i));
    memcpy(file + 8, header, n);
    write_bytes(name, file, 8 + n + data);
    free(file);
}

static void refuse(const char *name, const char *mention) {
    char path[128];
    tq_source *s = NULL;
    tq_err err = {""};
    snprintf(path, sizeof path, "%s%s%s", scratch_dir, *name ? "/" : "", name);
    double start = tq_now();
    if (tq_source_open(path, &s, &err) != TQ_FAIL) fail_msg("opened, expected a line about: %s", mention);
    assert_true(tq_now() - start < 1.0);
    assert_null(s);
    if (!strstr(err.msg, mention) || strchr(err.msg, '\n')) fail_msg("expected a line about %s: %s", mention, err.msg);
    if (*name && !strstr(err.msg, name)) fail_msg("the file %s is not named: %s", name, err.msg);
}

#define T(name, dtype, shape, from, to)                                                                                \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" from "," to "]}"

static void test_refused(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t data;
        const char *mention;
    } cases[] = {
        {"{" T("a", "F32", "[2]", "0", "8") "," T("b", "F32", "[2]", "4", "12") "}", 12, "overlap"},
        {"{" T("a", "F32", "[2]", "0", "8") "," T("b", "F32", "[2]", "0", "8") "}", 8, "overlap"},
        {"{" T("a", "F32", "[2]", "0", "8") "," T("b", "F32", "[2]", "12", "20") "}", 20, "hole"},
        {"{" T("a", "F32", "[2]", "4", "12") "}", 12, "hole"},
        {"{" T("a", "F32", "[2]", "0", "8") "}", 12, "cover"},
        {"{}", 4, "cover"},
        {"{" T("a", "F32", "[4]", "0", "16") "}", 8, "past"},
        {"{" T("a", "F32", "[2]", "0", "9007199254740992") "}", 8, "past"},
        {"{" T("a", "F32", "[2]", "0", "1e300") "}", 8, "data_offsets"},
        {"{" T("a", "F32", "[2]", "-8", "0") "}", 8, "data_offsets"},
        {"{" T("a", "F32", "[2]", "0", "8.5") "}", 8, "data_offsets"},
        {"{" T("a", "F32", "[2]", "8", "0") "}", 8, "before it begins"},
        {"{" T("a", "F32", "[3]", "0", "8") "}", 8, "need 12"},
        {"{" T("a", "BF16", "[2]", "0", "8") "}", 8, "need 4"},
        {"{" T("a", "F4", "[3]", "0", "1") "}", 1, "need"},
        {"{" T("a", "F12", "[2]", "0", "8") "}", 8, "F12"},
        {"{" T("a", "F32", "[4294967296,4294967296,4294967296]", "0", "8") "}", 8, "overflows"},
        {"{" T("a", "F64", "[4611686018427387904]", "0", "8") "}", 8, "not a size"},
        {"{" T("a", "F64", "[4503599627370496,1024]", "0", "8") "}", 8, "overflows"},
        {"{" T("a", "F32", "[-2]", "0", "8") "}", 8, "not a size"},
        {"{" T("a", "F32", "[\"2\"]", "0", "8") "}", 8, "not a size"},
        {"{" T("a", "F32", "2", "0", "8") "}", 8, "no shape"},
        {"{" T("a", "F32", "[1,1,1,1,1,1,1,1,2]", "0", "8") "}", 8, "8 dimensions"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, "data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0]}}", 8, "data_offsets"},
        {"{\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "dtype"},
        {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "twice"},
        {"{\"a\":7}", 0, "object"},
        {"{" T("a", "F32", "[2]", "0", "8") "," T("a", "F32", "[2]", "8", "16") "}", 16, "twice"},
        {"{" T("a\\u0000b", "F32", "[2]", "0", "8") "}", 8, "NUL"},
        {"{" T("\xFF", "F32", "[2]", "0", "8") "}", 8, "UTF-8"},
        {"{\"a\":", 8, "JSON"},
        {"{} {}", 0, "after the end"},
        {"[]", 0, "no JSON object"},
        {"", 0, "no JSON object"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_model("x.safetensors", cases[i].header, NULL, cases[i].data);
        refuse("x.safetensors", cases[i].mention);
    }
    static const struct {
        uint64_t length;
        const char *mention;
    } lengths[] = {{(uint64_t)1 << 63, "at most 100 MB"},
                   {UINT64_MAX, "at most 100 MB"},
                   {100000001, "at most 100 MB"},
                   {1000, "past the end"},
                   {3, "past the end"},
                   {0, "no JSON object"}};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        write_model("x.safetensors", "{}", &lengths[i].length, 0);
        refuse("x.safetensors", lengths[i].mention);
    }
    write_bytes("x.safetensors", "1234567", 7);
    refuse("x.safetensors", "too few");
    write_bytes("x.safetensors", "", 0);
    refuse("x.safetensors", "too few");
    print_message("%zu files refused\n", sizeof cases / sizeof *cases + sizeof lengths / sizeof *lengths + 2);
}

static void test_refused_large(void **state) {
    (void)state;
    enum { N = 90 << 20 };
    char *header = malloc(N + 1);
    memset(header, '[', 5000);
    memcpy(header, "{\"a\":", 5);
    header[5000] = '\0';
    write_model("x.safetensors", header, NULL, 0);
    refuse("x.safetensors", "JSON"); /* deep nesting */
    for (size_t i = 0; i < N; i += 2)
        memcpy(header + i, "0,", 2);
    memcpy(header, "{\"a\":[", 6);
    header[N] = '\0';
    write_model("huge.safetensors", header, NULL, 0);
    refuse("huge.safetensors", "JSON values"); /* would take gigabytes */
    scratch_delete("huge.safetensors");
    free(header);
}

#define INDEX(map) "{\"weight_map\":" map "}"

static void test_refused_index(void **state) {
    (void)state;
    static const struct {
        const char *json, *mention;
    } cases[] = {
        {"{", "JSON"},
        {"{}", "no weight_map"},
        {INDEX("[]"), "no weight_map"},
        {INDEX("{}"), "empty"},
        {INDEX("{\"a\":1}"), "no file name"},
        {INDEX("{\"a\":\"\"}"), "no file name"},
        {INDEX("{\"a\":\"../x.safetensors\"}"), "here"},
        {INDEX("{\"a\":\"/etc/passwd\"}"), "here"},
        {INDEX("{\"a\":\"sub/x.safetensors\"}"), "here"},
        {INDEX("{\"a\":\"..safetensors\"}"), "here"},
        {INDEX("{\"a\":\"tokenizer.json\"}"), "here"},
        {INDEX("{\"a\":\"gone.safetensors\"}"), "gone.safetensors"},
        {INDEX("{\"a\":\"x.safetensors\",\"z\":\"x.safetensors\"}"), "tensor z is missing"},
        {INDEX("{\"a\":\"x.safetensors\",\"a\":\"x.safetensors\"}"), "twice"},
    };
    write_model("x.safetensors", "{" T("a", "F32", "[2]", "0", "8") "}", NULL, 8);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_bytes("model.safetensors.index.json", cases[i].json, strlen(cases[i].json));
        refuse("", cases[i].mention);
    }
    write_bytes("model.safetensors.index.json", INDEX("{\"a\":\"x.safetensors\"}"),
                strlen(INDEX("{\"a\":\"x.safetensors\"}")));
    tq_source_close(open_ok(scratch_dir));
    scratch_delete("model.safetensors.index.json");
    scratch_delete("x.safetensors");
    refuse("", "no model here");
    refuse("x.safetensors", "cannot open");
    char pipe_path[128];
    path_of("pipe.safetensors", pipe_path);
    assert_int_equal(mkfifo(pipe_path, 0600), 0);
    refuse("pipe.safetensors", "not a regular file"); /* and does not wait for a writer */
}

/* A header whose length leaves the data at an odd address. */
static void test_misaligned(void **state) {
    (void)state;
    for (size_t pad = 0; pad < 4; pad++) {
        char header[200];
        snprintf(header, sizeof header, "{%s%*s}", T("u", "U8", "[1]", "0", "1") "," T("a", "F32", "[2]", "1", "9"),
                 (int)pad, "");
        write_model("x.safetensors", header, NULL, 9);
        char path[128];
        path_of("x.safetensors", path);
        int fd = open(path, O_WRONLY);
        const float values[] = {1.5f, -2.5f};
        assert_true(fd >= 0 && pwrite(fd, values, 8, (off_t)(8 + strlen(header) + 1)) == 8);
        close(fd);
        tq_source *s = open_ok(path);
        const float *a = tq_source_find(s, "a")->data;
        assert_int_equal((uintptr_t)a % 4, 0);
        assert_true(a[0] == 1.5f && a[1] == -2.5f);
        tq_source_close(s);
    }
}

/* A sparse file of 16 GB: opening and hashing it read a few pages. */
static void test_large(void **state) {
    (void)state;
    char path[128];
    const size_t bytes = (size_t)16 << 30;
    write_model("huge.safetensors", "{" T("w", "BF16", "[131072,65536]", "0", "17179869184") "}", NULL, 0);
    path_of("huge.safetensors", path);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    if (truncate(path, st.st_size + (off_t)bytes)) skip();
    double start = tq_now();
    char hash[17];
    tq_source *s = open_ok(path);
    tq_source_hash(s, hash);
    print_message("16 GB opened and hashed in %.2f ms\n", 1e3 * (tq_now() - start));
    assert_true(tq_now() - start < 0.1);
    assert_int_equal(tq_source_bytes(s), bytes);
    tq_source_close(s);
    scratch_delete("huge.safetensors");
}

/* The hash tells one changed byte at the begin, middle or end, names, shapes and dtypes apart; not the sharding. */
static void test_hash(void **state) {
    (void)state;
    static const char *const headers[] = {
        "{" T("a", "F32", "[4]", "0", "16") "," T("b", "F32", "[4]", "16", "32") "}",
        "{" T("a", "F32", "[2,2]", "0", "16") "," T("b", "F32", "[4]", "16", "32") "}",
        "{" T("a", "I32", "[4]", "0", "16") "," T("b", "F32", "[4]", "16", "32") "}",
        "{" T("c", "F32", "[4]", "0", "16") "," T("b", "F32", "[4]", "16", "32") "}"};
    char hashes[4][17];
    char path[128];
    path_of("x.safetensors", path);
    for (size_t i = 0; i < 4; i++) {
        write_model("x.safetensors", headers[i], NULL, 32);
        tq_source *s = open_ok(path);
        tq_source_hash(s, hashes[i]);
        tq_source_close(s);
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(hashes[i], hashes[k]);
    }
    write_model("x.safetensors", "{" T("b", "F32", "[4]", "0", "16") "," T("a", "F32", "[4]", "16", "32") "}", NULL,
                32);
    tq_source *s = open_ok(path);
    char other[17];
    tq_source_hash(s, other);
    assert_string_equal(other, hashes[0]);
    tq_source_close(s);
}

/* ---- the writer ---- */

static void test_writer(void **state) {
    (void)state;
    static const char *const metadata[] = {"format", "tq", "note", "a \"quoted\" \u00e9", NULL};
    const float a[] = {1, 2, 3, 4, 5, 6};
    const uint8_t b[] = {7, 8, 9};
    const size_t shape_a[] = {2, 3};
    const size_t shape_b[] = {3};
    char path[128];
    tq_writer *w = NULL;
    tq_err err;
    path_of("x.safetensors", path);
    scratch_delete("x.safetensors");
    assert_int_equal(tq_writer_new(path, metadata, &w, &err), TQ_OK);
    assert_int_equal(tq_writer_declare(w, "a.\"odd\"\n", "F32", shape_a, 2, sizeof a, &err), TQ_OK);
    assert_int_equal(tq_writer_declare(w, "b", "U8", shape_b, 1, sizeof b, &err), TQ_OK);
    assert_int_equal(tq_writer_declare(w, "empty", "F16", NULL, 0, 2, &err), TQ_OK);
    assert_int_equal(tq_writer_declare(w, "b", "U8", shape_b, 1, sizeof b, &err), TQ_FAIL);
    assert_int_equal(tq_writer_data(w, a, 5, &err), TQ_OK);
    assert_int_equal(tq_writer_declare(w, "late", "U8", shape_b, 1, 3, &err), TQ_FAIL);
    assert_int_equal(tq_writer_data(w, (const char *)a + 5, sizeof a - 5, &err), TQ_OK);
    assert_int_equal(tq_writer_data(w, b, sizeof b, &err), TQ_OK);
    assert_int_not_equal(access(path, F_OK), 0); /* not there before it is whole */
    assert_int_equal(tq_writer_data(w, "\0<", 2, &err), TQ_OK);
    assert_int_equal(tq_writer_finish(w, &err), TQ_OK);
    tq_source *s = open_ok(path);
    const tq_tensor *t = tq_source_find(s, "a.\"odd\"\n");
    assert_int_equal(tq_source_count(s), 3);
    assert_memory_equal(t->data, a, sizeof a);
    assert_int_equal((uintptr_t)t->data % 64, 0);
    assert_memory_equal(tq_source_find(s, "b")->data, b, sizeof b);
    tq_source_close(s);
}

static void test_writer_fails(void **state) {
    (void)state;
    char path[128];
    tq_writer *w = NULL;
    tq_err err;
    const size_t shape[] = {4};
    path_of("x.safetensors", path);
    write_bytes("x.safetensors", "old", 3);
    /* too little, too much, and giving up: the old file stays, nothing else is left (scratch_remove sees to that) */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(tq_writer_new(path, NULL, &w, &err), TQ_OK);
        assert_int_equal(tq_writer_declare(w, "a", "U8", shape, 1, 4, &err), TQ_OK);
        assert_int_equal(tq_writer_data(w, "12", 2, &err), TQ_OK);
        if (i == 0) assert_int_equal(tq_writer_finish(w, &err), TQ_FAIL);
        if (i == 1) assert_int_equal(tq_writer_data(w, "345", 3, &err), TQ_FAIL);
        if (i > 0) tq_writer_abort(w);
    }
    tq_writer_abort(NULL);
    char *old = NULL;
    assert_int_equal(tq_read_file(path, 100, &old, NULL, &err), TQ_OK);
    assert_string_equal(old, "old");
    free(old);
    assert_int_equal(tq_writer_new("/no/such/directory/x.safetensors", NULL, &w, &err), TQ_FAIL);
    assert_non_null(strstr(err.msg, "/no/such/directory"));
}

static void test_files(void **state) {
    (void)state;
    char path[128];
    char *data = NULL;
    size_t n;
    tq_err err;
    path_of("small", path);
    write_bytes("small", "a\0b", 3);
    assert_int_equal(tq_read_file(path, 3, &data, &n, &err), TQ_OK);
    assert_int_equal(n, 3);
    assert_memory_equal(data, "a\0b", 4);
    free(data);
    assert_int_equal(tq_read_file(path, 2, &data, &n, &err), TQ_FAIL);
    assert_non_null(strstr(err.msg, "at most 2"));
    assert_int_equal(tq_read_file(scratch_dir, 100, &data, &n, &err), TQ_FAIL);
    assert_true(tq_free_space(scratch_dir) > 0);
    path_of("not/there/yet", path);
    assert_true(tq_free_space(path) > 0);
    assert_true(tq_free_space("relative/name") > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference),     cmocka_unit_test(test_shards),        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_refused_large), cmocka_unit_test(test_refused_index), cmocka_unit_test(test_misaligned),
        cmocka_unit_test(test_large),         cmocka_unit_test(test_hash),          cmocka_unit_test(test_writer),
        cmocka_unit_test(test_writer_fails),  cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
