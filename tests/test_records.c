/* test_records.c - files of records: what was put comes back, whatever moment the writer was killed at; files from
 * strangers are refused with one line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <cjson/cJSON.h>

#include "model/records.h"
#include "model/tensor_writer.h"

static char dir[] = "/tmp/tq-records-XXXXXX";
static char path[64];

static int make_dir(void **state) {
    (void)state;
    if (!mkdtemp(dir)) return -1;
    (void)snprintf(path, sizeof path, "%s/x.session", dir);
    return 0;
}

static int remove_dir(void **state) {
    char lock[80];
    (void)state;
    (void)snprintf(lock, sizeof lock, "%s.lock", path);
    (void)unlink(path);
    (void)unlink(lock);
    return rmdir(dir);
}

static tq_keeper *claim(void) {
    tq_keeper *k = NULL;
    tq_err err = {{0}};
    bool busy;
    if (tq_keeper_claim(path, &busy, &k, &err) != TQ_OK) fail_msg("%s", err.msg);
    return k;
}

static tq_keeper *begin(void) {
    tq_err err = {{0}};
    (void)unlink(path);
    tq_keeper *k = claim();
    if (tq_keeper_begin(k, &err) != TQ_OK) fail_msg("%s", err.msg);
    return k;
}

static void put(tq_keeper *k, const char *key, const char *text) {
    tq_err err = {{0}};
    if (tq_keeper_put(k, key, text, &err) != TQ_OK) fail_msg("%s", err.msg);
}

static char *whole(size_t *n) {
    char *text = NULL;
    tq_err err = {{0}};
    if (tq_read_file(path, 1 << 26, &text, n, &err) != TQ_OK) fail_msg("%s", err.msg);
    return text;
}

static void write_all(const char *text, size_t n) {
    tq_err err = {{0}};
    if (tq_write_file(path, text, n, &err) != TQ_OK) fail_msg("%s", err.msg);
}

static void last_of_a_key_counts(void **state) {
    tq_records r;
    tq_err err = {{0}};
    (void)state;
    tq_keeper *k = begin();
    put(k, "head", "{\"a\":1}");
    put(k, "s1", "[1]");
    put(k, "s2", "[2]");
    put(k, "s1", "[11]");
    put(k, "s2", NULL);
    put(k, "s3", NULL);
    size_t bytes = tq_keeper_bytes(k);
    put(k, "s1", "[11]"); /* the same costs nothing */
    assert_int_equal(tq_keeper_bytes(k), bytes);
    /* Read while it is being written, as after a kill: nothing waits for the disk. */
    assert_int_equal(tq_records_read(path, "head", &r, &err), TQ_OK);
    assert_int_equal(r.count, 2);
    assert_int_equal(cJSON_GetArrayItem(tq_records_get(&r, "s1"), 0)->valueint, 11);
    assert_null(tq_records_get(&r, "s2"));
    tq_keeper_close(k);
    k = claim();
    assert_int_equal(tq_keeper_continue(k, &r, &err), TQ_OK);
    put(k, "s4", "\"x\"");
    tq_keeper_close(k);
    assert_int_equal(tq_records_read(path, "head", &r, &err), TQ_OK);
    assert_int_equal(r.count, 3);
    tq_records_free(&r);
}

/* However much is put, the file stays small, and what counts is all there. */
static void old_lines_are_left_out(void **state) {
    tq_records r;
    tq_err err = {{0}};
    char key[16], text[2100];
    (void)state;
    tq_keeper *k = begin();
    put(k, "head", "{}");
    for (int i = 0; i < 4000; i++) {
        (void)snprintf(key, sizeof key, "k%d", i % 7);
        (void)snprintf(text, sizeof text, "[%d,\"%02000d\"]", i, i);
        put(k, key, text);
    }
    tq_keeper_close(k);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_size < 4 << 20); /* 8 MB were put */
    assert_int_equal(tq_records_read(path, "head", &r, &err), TQ_OK);
    assert_int_equal(r.count, 8);
    for (int i = 3993; i < 4000; i++) {
        (void)snprintf(key, sizeof key, "k%d", i % 7);
        assert_int_equal(cJSON_GetArrayItem(tq_records_get(&r, key), 0)->valueint, i);
    }
    tq_records_free(&r);
}

static void one_process_has_it(void **state) {
    tq_keeper *k = begin(), *other = NULL;
    tq_err err = {{0}};
    bool busy = false;
    (void)state;
    assert_int_equal(tq_keeper_claim(path, &busy, &other, &err), TQ_FAIL);
    assert_true(busy && !other);
    tq_keeper_close(k);
    other = claim();
    assert_int_equal(tq_keeper_begin(other, &err), TQ_FAIL); /* the file is there: never overwritten */
    tq_keeper_close(other);
}

/* Cut anywhere: the lines that are whole, or a refusal when the first is not. Going on from there works. */
static void cut_anywhere(void **state) {
    tq_err err = {{0}};
    size_t n;
    (void)state;
    tq_keeper *k = begin();
    put(k, "head", "{\"model\":\"x\"}");
    put(k, "a", "[1,2,3]");
    put(k, "b", "\"text\"");
    tq_keeper_close(k);
    char *text = whole(&n);
    size_t first = strcspn(text, "\n") + 1;
    for (size_t cut = 0; cut <= n; cut++) {
        tq_records r;
        write_all(text, cut);
        int rc = tq_records_read(path, "head", &r, &err);
        assert_int_equal(rc, cut < first ? TQ_FAIL : TQ_OK);
        if (rc != TQ_OK) continue;
        k = claim();
        assert_int_equal(tq_keeper_continue(k, &r, &err), TQ_OK);
        put(k, "c", "true");
        tq_keeper_close(k);
        assert_int_equal(tq_records_read(path, "head", &r, &err), TQ_OK);
        assert_non_null(tq_records_get(&r, "c"));
        tq_records_free(&r);
    }
    /* A byte changed anywhere but in the last line's end is seen. */
    for (size_t at = 0; at < n; at++) {
        tq_records r;
        char *copy = malloc(n);
        assert_non_null(copy);
        memcpy(copy, text, n);
        copy[at] ^= 4;
        write_all(copy, n);
        int rc = tq_records_read(path, "head", &r, &err);
        if (rc == TQ_OK) assert_int_equal(at, n - 1); /* a torn line, as a kill leaves it */
        if (rc == TQ_OK) tq_records_free(&r);
        free(copy);
    }
    free(text);
}

/* Lines whose hash is right, from somebody who means harm. */
static void hostile_values_are_refused(void **state) {
    static char deep[5000], many[3000000];
    const char *const values[] = {"", "x", "{", "[1,]", "\"\xFF\"", "\"\\u0000\"", "1 2", deep, many};
    (void)state;
    memset(deep, '[', sizeof deep - 1);
    memset(many, ',', sizeof many - 1);
    many[0] = '[';
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        tq_records r;
        tq_err err = {{0}};
        tq_keeper *k = begin();
        put(k, "head", "{}");
        put(k, "bad", values[i]); /* the keeper believes its owner */
        tq_keeper_close(k);
        assert_int_equal(tq_records_read(path, "head", &r, &err), TQ_FAIL);
        assert_null(strchr(err.msg, '\n'));
        assert_int_equal(r.count, 0);
    }
    tq_records r;
    tq_err err = {{0}};
    tq_keeper *k = begin();
    put(k, "other", "{}");
    tq_keeper_close(k);
    assert_int_equal(tq_records_read(path, "head", &r, &err), TQ_FAIL);
    k = begin();
    put(k, "head", "{}");
    put(k, "n", "0");
    tq_keeper_close(k);
    assert_int_equal(tq_records_read(path, "head", &r, &err), TQ_OK);
    tq_records_free(&r);
    assert_int_equal(tq_records_read(dir, "head", &r, &err), TQ_FAIL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(last_of_a_key_counts),       cmocka_unit_test(old_lines_are_left_out),
        cmocka_unit_test(one_process_has_it),         cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(hostile_values_are_refused),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
