/* test_gguf.c - GGUF files written by the `gguf` package (tests/make/make_gguf_fixtures.py), its dequantizers' floats,
 * and files that must be refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/gguf.h"
#include "model/tensor_writer.h"
#include "model/weights_internal.h"
#include "tests/scratch.h"

static tq_source *open_ok(const char *path) {
    tq_source *s = NULL;
    tq_err err;
    if (tq_source_open(path, &s, &err)) fail_msg("%s", err.msg);
    return s;
}

/* Every type that is decoded, to the bit, by the kernels in use. */
static void check_types(void) {
    tq_source *s = open_ok("tests/data/gguf/types.gguf");
    char *bytes = NULL;
    size_t n = 0, at = 0, seen = 0;
    assert_int_equal(tq_gguf_of(s)->align, 64);
    tq_err err;
    if (tq_read_file("tests/data/gguf/types.bin", 1 << 20, &bytes, &n, &err)) fail_msg("%s", err.msg);
    for (size_t i = 0; i < tq_source_count(s); i++) {
        const tq_tensor *t = tq_source_at(s, i);
        assert_string_equal(t->name, t->dtype_name);
        assert_int_equal(t->rank, 2);
        tq_matrix_view w = {
            .data = t->data, .dtype = t->dtype, .rows = t->shape[0], .cols = t->shape[1], .codec = t->codec};
        assert_int_equal(tq_matrix_bytes(&w), t->bytes);
        float *row = malloc(w.cols * sizeof *row);
        for (size_t r = 0; r < w.rows; r++, at += w.cols * sizeof *row) {
            tq_matrix_row(&w, r, row);
            assert_true(at + w.cols * sizeof *row <= n);
            for (size_t c = 0; c < w.cols; c++)
                if (memcmp(&row[c], bytes + at + c * sizeof *row, sizeof *row) != 0)
                    fail_msg("%s, row %zu, column %zu: %a", t->name, r, c, (double)row[c]);
        }
        free(row);
        seen++;
    }
    assert_int_equal(at, n);
    /* No row of the table is left out. */
    size_t decoded = 0;
    for (size_t i = 0; tq_gguf_type_at(i); i++)
        decoded += tq_gguf_type_at(i)->dtype != TQ_DTYPE_OTHER;
    assert_int_equal(decoded, seen);
    free(bytes);
    tq_source_close(s);
}

static void test_types(void **state) {
    (void)state;
    for (size_t i = 0; tq_kernels_name(i); i++) {
        assert_int_equal(tq_kernels_use(tq_kernels_name(i)), 0);
        check_types();
    }
    assert_int_equal(tq_kernels_use("auto"), 0);
    const tq_gguf_type *t;
    for (size_t i = 0; (t = tq_gguf_type_at(i)); i++)
        assert_true((t->dtype == TQ_CODED) == (t->codec.layout < TQ_BLOCKS));
}

static const tq_codec *codec_named(const char *name) {
    for (size_t i = 0; tq_gguf_type_at(i); i++)
        if (strcmp(tq_gguf_type_at(i)->codec.name, name) == 0) return &tq_gguf_type_at(i)->codec;
    fail_msg("no type %s", name);
    return NULL;
}

/* The kinds with the most weights first. */
static void test_baseline(void **state) {
    (void)state;
    char text[64];
    tq_matrix m[6] = {{.w = {.rows = 1, .cols = 64}}};
    static const char *const names[] = {"Q4_1", "Q8_0", "Q4_1", "Q6_K", "Q2_K"};
    tq_baseline_text(m, 1, "gguf", text, sizeof text);
    assert_string_equal(text, "");
    for (size_t i = 0; i < 5; i++)
        m[i + 1].w = (tq_matrix_view){.rows = 8 - i, .cols = 256, .dtype = TQ_CODED, .codec = codec_named(names[i])};
    tq_baseline_text(m, 2, "gguf", text, sizeof text);
    assert_string_equal(text, "Q4_1 GGUF");
    tq_baseline_text(m, 6, "gguf", text, sizeof text);
    assert_string_equal(text, "Q4_1/Q8_0/Q6_K/... GGUF");
}

static void check_number(const tq_gguf *g, const char *key, double want) {
    const tq_gguf_value *v = tq_gguf_find(g, key);
    assert_non_null(v);
    assert_true(tq_gguf_number(v, 0) == want);
}

static void check_values(const tq_gguf *g) {
    check_number(g, "t.u8", 200);
    check_number(g, "t.i8", -100);
    check_number(g, "t.u16", 60000);
    check_number(g, "t.i16", -30000);
    check_number(g, "t.u32", 4e9);
    check_number(g, "t.i32", -2e9);
    check_number(g, "t.u64", 1099511627776.0);
    check_number(g, "t.i64", -1099511627776.0);
    check_number(g, "t.f32", 0.5);
    check_number(g, "t.f64", 1e-300);
    check_number(g, "t.bool", 1);
    assert_null(tq_gguf_find(g, "t"));
    size_t size;
    assert_true(tq_gguf_size(tq_gguf_find(g, "t.u64"), 0, SIZE_MAX, &size));
    assert_true(size == (size_t)1 << 40);
    assert_false(tq_gguf_size(tq_gguf_find(g, "t.i8"), 0, SIZE_MAX, &size));
    assert_false(tq_gguf_size(tq_gguf_find(g, "t.f32"), 0, 9, &size));
    assert_false(tq_gguf_size(tq_gguf_find(g, "t.numbers"), 0, 9, &size));
    tq_gguf_text text = tq_gguf_string(tq_gguf_find(g, "t.string"));
    assert_int_equal(text.n, 9);
    assert_memory_equal(text.p, "two words", 9);
    tq_gguf_text *list = tq_gguf_strings(tq_gguf_find(g, "t.strings"));
    assert_non_null(list);
    assert_int_equal(tq_gguf_find(g, "t.strings")->count, 3);
    assert_int_equal(list[0].n, 1);
    assert_int_equal(list[1].n, 0);
    assert_memory_equal(list[2].p, "\xC3\xA9", 2);
    free(list);
    assert_true(tq_gguf_number(tq_gguf_find(g, "t.numbers"), 1) == -2);
}

/* Any part stands for all. */
static void test_parts(void **state) {
    (void)state;
    for (int part = 1; part <= 3; part++) {
        char path[96], name[64];
        snprintf(path, sizeof path, "tests/data/gguf/parts-%05d-of-00003.gguf", part);
        tq_source *s = open_ok(path);
        assert_string_equal(tq_source_format(s), "gguf");
        assert_int_equal(tq_source_shards(s), 3);
        assert_int_equal(tq_source_count(s), 5);
        for (size_t i = 0; i < 5; i++) {
            snprintf(name, sizeof name, "model.layers.%zu.mlp.up_proj.weight", i);
            const tq_tensor *t = tq_source_find(s, name);
            assert_non_null(t);
            assert_int_equal(tq_source_shard_of(s, (size_t)(t - tq_source_at(s, 0))), i / 2);
            assert_int_equal(t->shape[0], 2);
            assert_int_equal(t->shape[1], 3);
            for (int k = 0; k < 6; k++)
                assert_true(((const float *)t->data)[k] == (float)i);
        }
        check_values(tq_gguf_of(s));
        tq_source_close(s);
    }
}

/* ---- files made here ---- */

typedef struct bytes {
    unsigned char p[4096];
    size_t n;
} bytes;

static void put(bytes *b, uint64_t v, size_t n) {
    for (size_t i = 0; i < n; i++)
        b->p[b->n++] = (unsigned char)(v >> (8 * i));
}

static void put_text(bytes *b, const char *text) {
    put(b, strlen(text), 8);
    memcpy(b->p + b->n, text, strlen(text));
    b->n += strlen(text);
}

/* A file of up to three tensors [2, 3] of F32, 32 bytes apart, into which a fault is put. */
typedef struct fault {
    const char *what, *mention;
    uint32_t version;
    uint64_t tensors, values, string, array, dim, offset;
    uint32_t kind, type, align, rank;
    bool align_given, again, nested, overlap, same_name, no_arch, foreign;
    size_t cut; /* bytes left of it; 0: all */
} fault;

static void put_tensor(bytes *b, const char *name, const fault *f, uint64_t offset) {
    put_text(b, name);
    put(b, f->rank ? f->rank : 2, 4);
    for (uint32_t i = 0; i < (f->rank ? f->rank : 2) && i < 9; i++)
        put(b, i == 0 ? (f->dim ? f->dim : 3) : (f->dim > 3 && i == 1 ? f->dim : 2), 8);
    put(b, f->type, 4);
    put(b, offset, 8);
}

static void build(bytes *b, const fault *f) {
    b->n = 0;
    memcpy(b->p, "GGUF", 4);
    b->n = 4;
    put(b, f->version ? f->version : 3, 4);
    put(b, f->tensors ? f->tensors : 2, 8);
    put(b, f->values ? f->values : 4, 8);
    put_text(b, f->no_arch ? "general.arch" : "general.architecture");
    put(b, TQ_GGUF_STRING, 4);
    put_text(b, f->foreign ? "mamba" : "llama");
    put_text(b, f->align_given ? "general.alignment" : "general.other");
    put(b, TQ_GGUF_U32, 4);
    put(b, f->align, 4);
    put_text(b, f->again ? "general.other" : "general.string");
    put(b, f->kind ? f->kind : TQ_GGUF_STRING, 4);
    if (f->string)
        put(b, f->string, 8);
    else
        put_text(b, "abc");
    put_text(b, "general.list");
    put(b, TQ_GGUF_ARRAY, 4);
    put(b, f->nested ? TQ_GGUF_ARRAY : TQ_GGUF_U32, 4);
    put(b, f->array ? f->array : 2, 8);
    put(b, 1, 4);
    put(b, 2, 4);
    put_tensor(b, "first", f, 0);
    put_tensor(b, f->same_name ? "first" : "second", f, f->overlap ? 0 : f->offset ? f->offset : 32);
    while (b->n % 32)
        b->p[b->n++] = 0;
    memset(b->p + b->n, 0, 64);
    b->n += 64;
    if (f->cut) b->n = f->cut;
}

static void write_bytes(const char *name, const bytes *b) {
    FILE *f = fopen(scratch_path(name), "wb"); /* tq_write_file waits for the disk */
    assert_non_null(f);
    assert_int_equal(fwrite(b->p, 1, b->n, f), b->n);
    assert_int_equal(fclose(f), 0);
}

static void refuse(const char *name, const char *what, const char *mention) {
    tq_source *s = NULL;
    tq_err err = {""};
    double start = tq_now();
    if (tq_source_open(scratch_path(name), &s, &err) != TQ_FAIL) fail_msg("%s: opened", what);
    assert_true(tq_now() - start < 1.0);
    assert_null(s);
    if (!strstr(err.msg, mention) || strchr(err.msg, '\n'))
        fail_msg("%s: expected a line about %s: %s", what, mention, err.msg);
    if (!strstr(err.msg, ".gguf")) fail_msg("%s: the file is not named: %s", what, err.msg);
}

#define HUGE_COUNT ((uint64_t)1 << 60)

static const fault faults[] = {
    {.what = "version 1", .version = 1, .mention = "version 1 is not read"},
    {.what = "version 4", .version = 4, .mention = "version 4 is not read"},
    {.what = "big endian", .version = 3U << 24, .mention = "big-endian"},
    {.what = "2^60 tensors", .tensors = HUGE_COUNT, .mention = "the number of tensors"},
    {.what = "2^64 - 1 tensors", .tensors = UINT64_MAX, .mention = "the number of tensors"},
    {.what = "2^60 values", .values = HUGE_COUNT, .mention = "the number of values"},
    {.what = "one value more", .values = 5, .mention = "x.gguf"},
    {.what = "one tensor more", .tensors = 3, .mention = "x.gguf"},
    {.what = "a string of 2^60", .string = HUGE_COUNT, .mention = "past the end"},
    {.what = "a string to the end", .string = 4000, .mention = "past the end"},
    {.what = "a string of 2^64 - 1", .string = UINT64_MAX, .mention = "past the end"},
    {.what = "an array of 2^60", .array = HUGE_COUNT, .mention = "more than the rest"},
    {.what = "an array of 2^62", .array = (uint64_t)1 << 62, .mention = "more than the rest"},
    {.what = "nested arrays", .nested = true, .mention = "arrays of arrays"},
    {.what = "kind 13", .kind = 13, .mention = "unknown type 13"},
    {.what = "kind 2^32 - 1", .kind = UINT32_MAX, .mention = "unknown type"},
    {.what = "a key twice", .again = true, .mention = "stands twice"},
    {.what = "alignment 0", .align_given = true, .align = 0, .mention = "general.alignment"},
    {.what = "alignment 2^31", .align_given = true, .align = 1U << 31, .mention = "general.alignment"},
    {.what = "alignment past the end", .align_given = true, .align = 1U << 20, .mention = "not aligned"},
    {.what = "type 5", .type = 5, .mention = "unknown type 5"},
    {.what = "type 2^32 - 1", .type = UINT32_MAX, .mention = "unknown type"},
    {.what = "a row of part of a block", .type = 2, .mention = "no whole blocks"},
    {.what = "no dimension", .rank = 5, .mention = "5 dimensions"},
    {.what = "2^32 - 1 dimensions", .rank = UINT32_MAX, .mention = "dimensions"},
    {.what = "a shape that overflows", .dim = (uint64_t)1 << 32, .mention = "overflows"},
    {.what = "bytes that overflow", .dim = (uint64_t)3 << 30, .mention = "overflows"},
    {.what = "more than the file has", .dim = 1000, .mention = "go past"},
    {.what = "an offset past the end", .offset = 4096, .mention = "go past"},
    {.what = "an offset of 2^64 - 32", .offset = UINT64_MAX - 31, .mention = "go past"},
    {.what = "an odd offset", .offset = 33, .mention = "not aligned"},
    {.what = "overlap", .overlap = true, .mention = "overlap"},
    {.what = "a name twice", .same_name = true, .mention = "there twice"},
    {.what = "no architecture", .no_arch = true, .mention = "general.architecture is missing"},
    {.what = "a foreign architecture", .foreign = true, .mention = "mamba is not supported"},
};

static void test_refused(void **state) {
    (void)state;
    bytes b;
    const fault none = {0};
    build(&b, &none);
    write_bytes("x.gguf", &b);
    tq_source_close(open_ok(scratch_path("x.gguf")));
    const fault old = {.version = 2};
    build(&b, &old);
    write_bytes("x.gguf", &b);
    tq_source_close(open_ok(scratch_path("x.gguf")));
    const fault odd = {.align_given = true, .align = 13, .offset = 26};
    build(&b, &odd);
    write_bytes("x.gguf", &b);
    tq_source_close(open_ok(scratch_path("x.gguf")));
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        build(&b, &faults[i]);
        write_bytes("x.gguf", &b);
        refuse("x.gguf", faults[i].what, faults[i].mention);
    }
    /* Wherever it is cut off. */
    build(&b, &none);
    size_t all = b.n;
    for (size_t cut = 0; cut < all - 8; cut++) {
        b.n = cut;
        write_bytes("x.gguf", &b);
        refuse("x.gguf", "cut off", "x.gguf");
    }
    b.n = all;
    memcpy(b.p, "GGML", 4);
    write_bytes("x.gguf", &b);
    refuse("x.gguf", "another magic", "not a GGUF file");
}

/* One byte anywhere changed to one of a few values: refused in a line, or read without harm. */
static void test_every_byte(void **state) {
    static const unsigned char values[] = {0, 1, 0x7F, 0x80, 0xFF};
    (void)state;
    bytes b;
    const fault none = {.align_given = true, .align = 32};
    build(&b, &none);
    for (size_t at = 0; at < b.n - 64; at++) {
        unsigned char was = b.p[at];
        for (size_t k = 0; k < sizeof values; k++) {
            tq_source *s = NULL;
            tq_err err = {""};
            b.p[at] = values[k];
            write_bytes("x.gguf", &b);
            int rc = tq_source_open(scratch_path("x.gguf"), &s, &err);
            assert_true(rc == TQ_OK ? s != NULL : s == NULL && err.msg[0] && !strchr(err.msg, '\n'));
            char hash[17];
            if (s) tq_source_hash(s, hash); /* reads from every tensor */
            tq_source_close(s);
        }
        b.p[at] = was;
    }
}

static void copy(const char *from, const char *to) {
    char *data = NULL;
    size_t n = 0;
    tq_err err;
    if (tq_read_file(from, 1 << 20, &data, &n, &err) || tq_write_file(scratch_path(to), data, n, &err))
        fail_msg("%s", err.msg);
    free(data);
}

static void test_refused_parts(void **state) {
    (void)state;
    copy("tests/data/gguf/parts-00001-of-00003.gguf", "p-00001-of-00003.gguf");
    copy("tests/data/gguf/parts-00003-of-00003.gguf", "p-00003-of-00003.gguf");
    refuse("p-00001-of-00003.gguf", "a part is missing", "p-00002-of-00003.gguf: cannot open");
    refuse("p-00003-of-00003.gguf", "a part is missing", "p-00002-of-00003.gguf: cannot open");
    copy("tests/data/gguf/parts-00003-of-00003.gguf", "p-00002-of-00003.gguf");
    refuse("p-00001-of-00003.gguf", "a part in another's place", "says that it is part 3 of 3");
    copy("tests/data/gguf/types.gguf", "p-00002-of-00003.gguf");
    refuse("p-00001-of-00003.gguf", "a whole file in a part's place", "its name says 2 of 3");
    copy("tests/data/gguf/parts-00001-of-00003.gguf", "renamed.gguf");
    refuse("renamed.gguf", "a part under another name", "its name does not end in -00001-of-00003.gguf");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),      cmocka_unit_test(test_parts),         cmocka_unit_test(test_refused),
        cmocka_unit_test(test_every_byte), cmocka_unit_test(test_refused_parts), cmocka_unit_test(test_baseline),
    };
    return cmocka_run_group_tests_name("gguf", tests, scratch_make, scratch_remove);
}
