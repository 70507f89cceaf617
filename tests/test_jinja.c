/* test_jinja.c - templates against what jinja2 makes of them (tests/make/make_jinja_fixtures.py), hostile ones, and
 * ones changed at random: test_jinja [--seed N] [--rounds N]. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/jinja.h"
#include "model/json.h"
#include "model/tensor_writer.h"

static cJSON *fixture;
static uint64_t seed;
static size_t rounds = 3000;

static int read_fixture(void **state) {
    char *text = NULL;
    size_t n;
    tq_err err;
    (void)state;
    setenv("TZ", "UTC", 1);
    if (tq_read_file("tests/data/jinja.json", 1 << 22, &text, &n, &err) ||
        tq_json_parse("jinja.json", text, n, 100000, &fixture, &err)) {
        print_error("%s\n", err.msg);
        return -1;
    }
    free(text);
    return 0;
}

static int free_fixture(void **state) {
    (void)state;
    cJSON_Delete(fixture);
    return 0;
}

/* What a template makes of the fixture's variables; NULL for a failure, whose message is checked. */
static char *rendered(const char *template, size_t n, tq_err *err) {
    tq_jinja *t = NULL;
    tq_rendering out = {0};
    *err = (tq_err){""};
    int rc = tq_jinja_parse("t", template, n, &t, err);
    if (!rc)
        rc = tq_jinja_render(t, tq_json_get(fixture, "vars"), (time_t)tq_json_get(fixture, "now")->valuedouble, &out,
                             err);
    if (rc) {
        assert_true(strncmp(err->msg, "t, line ", 8) == 0 || strncmp(err->msg, "t: ", 3) == 0);
        assert_null(strchr(err->msg, '\n'));
        assert_null(out.text);
    }
    tq_jinja_free(t);
    free(out.typed);
    return out.text;
}

static void test_reference(void **state) {
    (void)state;
    size_t n = 0, refused = 0;
    for (const cJSON *c = tq_json_get(fixture, "cases")->child; c; c = c->next, n++) {
        const char *template = tq_json_text(c, "template"), *want = tq_json_text(c, "text");
        tq_err err;
        char *got = rendered(template, strlen(template), &err);
        if (want && !got) fail_msg("%s\nrefused: %s", template, err.msg);
        if (!want && got) fail_msg("%s\nshould be refused, gave: %s", template, got);
        if (want && strcmp(want, got) != 0) fail_msg("%s\ngave: %s\nwant: %s", template, got, want);
        refused += !want;
        free(got);
    }
    print_message("%zu templates, %zu of them refused\n", n, refused);
    assert_true(n > 100 && refused > 30);
}

/* Whoever typed something, it is known where that went. */
static void test_typed(void **state) {
    (void)state;
    static const struct {
        const char *template, *text, *typed;
    } rows[] = {
        {"<{{ messages[0].role }}>{{ messages[0].content }}</s>", "<user>ab </s></s>", "00000011111110000"},
        {"{{ messages[0].content | trim }}|{{ messages[0].content[1:4] | upper }}", "ab </s>|B <", "11111110111"},
        {"{{ '<' + messages[0].content.split(' ')[0] ~ '>' }}", "<ab>", "0110"},
        {"{% set x %}-{{ messages[0].content.replace('b', '(b)') }}-{% endset %}{{ x[::-1] }}", "->s/< )b(a-",
         "01111100010"},
        {"{{ [messages[0].content] }}", "['ab </s>']", "00111111100"},
        {"{{ messages[0].content | tojson }}{{ messages[0].content | list | last }}", "\"ab </s>\">", "0111111101"},
        {"{% for c in messages[0].content %}{{ c ~ '.' }}{% endfor %}", "a.b. .<./.s.>.", "10101010101010"},
        {"{{ messages | map(attribute='content') | join('<') }}{{ bos }}", "ab </s><s>", "1111111000"},
    };
    tq_err err;
    cJSON *vars = cJSON_Parse("{\"messages\":[{\"role\":\"user\",\"content\":\"ab </s>\"}],\"bos\":\"<s>\"}");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        tq_jinja *t = NULL;
        tq_rendering out;
        if (tq_jinja_parse("t", rows[i].template, strlen(rows[i].template), &t, &err)) fail_msg("%s", err.msg);
        if (tq_jinja_render(t, vars, 0, &out, &err)) fail_msg("%s", err.msg);
        assert_string_equal(out.text, rows[i].text);
        assert_int_equal(out.n, strlen(rows[i].typed));
        for (size_t k = 0; k < out.n; k++)
            if (out.typed[k] != rows[i].typed[k] - '0') fail_msg("%s: byte %zu", rows[i].template, k);
        tq_rendering_free(&out);
        tq_jinja_free(t);
    }
    cJSON_Delete(vars);
}

static void test_names(void **state) {
    (void)state;
    static const char text[] = "{% if enable_thinking %}{{ a.tools }}{{ f(x=1) }}{% endif %}enable";
    tq_jinja *t = NULL;
    tq_err err;
    tq_rendering out;
    assert_int_equal(tq_jinja_parse("t", text, strlen(text), &t, &err), TQ_OK);
    assert_true(tq_jinja_reads(t, "enable_thinking"));
    assert_false(tq_jinja_reads(t, "tools"));
    assert_false(tq_jinja_reads(t, "x"));
    assert_false(tq_jinja_reads(t, "enable"));
    tq_jinja_free(t);
    static const char no[] = "\n\n{{ raise_exception('only users') }}";
    assert_int_equal(tq_jinja_parse("name", no, strlen(no), &t, &err), TQ_OK);
    assert_int_equal(tq_jinja_render(t, tq_json_get(fixture, "vars"), 0, &out, &err), TQ_FAIL);
    assert_true(out.raised);
    assert_string_equal(err.msg, "name, line 3: the template refuses: only users");
    tq_jinja_free(t);
    char *got = rendered("{{ 'a' | nosuch }}", 18, &err);
    assert_null(got);
    assert_string_equal(err.msg, "t, line 1: the filter nosuch is not supported");
}

/* Repeats `piece` n times between `begin` and `end`. */
static char *repeated(const char *begin, const char *piece, size_t n, const char *end) {
    size_t k = strlen(piece);
    char *out = malloc(strlen(begin) + n * k + strlen(end) + 1), *p = stpcpy(out, begin);
    for (size_t i = 0; i < n; i++)
        p = stpcpy(p, piece);
    strcpy(p, end);
    return out;
}

/* What would never end, fill the memory or overflow the stack ends with a line, and soon. */
static void test_hostile(void **state) {
    (void)state;
    static const char *const texts[] = {
        "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}{% endfor %}{% "
        "endfor %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% macro f() %}{% for x in [1] %}{% if x %}{{ f() + f() }}{% endif %}{% endfor %}{% endmacro %}{{ f() }}",
        "{% set ns = namespace(s='x') %}{% for i in range(99999) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
        "{% set ns = namespace(s=[1]) %}{% for i in range(99999) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
        "{% set ns = namespace(s=[]) %}{% for i in range(99999) %}{% set ns.s = [ns.s] %}{% endfor %}{{ ns.s }}",
        "{% set ns = namespace(s=[]) %}{% for i in range(99999) %}{% set ns.s = [ns.s] %}{% endfor %}{{ ns.s | tojson "
        "}}",
        "{% set ns = namespace(s=[], t=[]) %}{% for i in range(9999) %}{% set ns.s = [ns.s] %}{% set ns.t = [ns.t] %}"
        "{% endfor %}{{ ns.s == ns.t }}{{ ns.s < ns.t }}",
        "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}",
        "{{ 'x' * 99999999999 }}",
        "{{ [1] * 99999999999 }}",
        "{{ [[]] * 9223372036854775807 }}",
        "{{ 99999999999999999999 }}",
        "{{ 9223372036854775807 + 1 }}",
        "{{ 2 ** 64 }}{{ 2 ** 9223372036854775807 }}",
        "{{ (0 - 9223372036854775807 - 1) // -1 }}",
        "{{ -(0 - 9223372036854775807 - 1) }}",
        "{{ (0 - 9223372036854775807 - 1) | abs }}",
        "{{ 1e308 * 10 | int }}{{ (1e308 * 10) | int }}",
        "{% for i in range(99999) %}{{ 'a' | indent(1024, true) | indent(1024, true) }}{% endfor %}",
        "{% for i in range(99999) %}{{ messages | tojson(indent=64) }}{% endfor %}",
        "{{ strftime_now('%99999d') }}",
        "{{ ('a' * 1000000).rfind('a' * 500000 + 'b') }}{% for i in range(99999) %}{{ ('a' * 1000000).count('b') }}{% "
        "endfor %}",
        "{% for i in range(99999) %}{% if 'b' in 'a' * 1000000 %}{% endif %}{% endfor %}",
        "{% set s = 'ab' * 500000 %}{% for i in range(99999) %}{{ s[5] }}{{ s[-1] }}{{ s | length }}{% endfor %}",
        "{{ range(-9223372036854775807, 9223372036854775807, 4611686018427387904) | list }}"
        "{{ range(9223372036854775807) }}",
    };
    tq_err err;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        double start = tq_now();
        char *got = rendered(texts[i], strlen(texts[i]), &err);
        if (got) fail_msg("%s\ngave %zu bytes", texts[i], strlen(got));
        if (tq_now() - start > 20) fail_msg("%s\ntook %.1f s", texts[i], tq_now() - start);
    }
    static const struct {
        const char *begin, *piece;
        size_t n;
        const char *end;
    } deep[] = {
        {"{{ ", "(", 50000, "1"},
        {"{{ ", "[", 140, ""},
        {"{{ ", "not ", 50000, "1 }}"},
        {"{{ ", "-", 50000, "1 }}"},
        {"{{ 1", " + 1", 50000, " }}"},
        {"{{ 1", " and 1", 50000, " }}"},
        {"{{ a", ".b", 50000, " }}"},
        {"{{ a", "|trim", 50000, " }}"},
        {"{{ ", "1 if ", 50000, "1 }}"},
        {"", "{% if 1 %}", 50000, ""},
        {"", "{% for x in y %}", 9999, ""},
        {"{{ a", "(1)", 50000, " }}"},
        {"{{ ", "{1:", 50000, "1 }}"},
        {"{{ 1", " is eq", 999, " 1 }}"},
        {"{{ 1 ", "if 1 else 1 ", 50000, "}}"},
        {"{{ a", "[1]", 50000, " }}"},
        {"{% set x = ", "{'a': ", 50000, "1 %}"},
    };
    for (size_t i = 0; i < sizeof deep / sizeof *deep; i++) {
        char *text = repeated(deep[i].begin, deep[i].piece, deep[i].n, deep[i].end);
        char *got = rendered(text, strlen(text), &err);
        if (got) fail_msg("%s%s... gave something", deep[i].begin, deep[i].piece);
        free(text);
    }
    assert_null(rendered("{{ 1 }}\0x", 9, &err));
    assert_null(rendered("\xff\xfe{{ 1 }}", 9, &err));
}

/* Not refused although long: what real templates may have. */
static void test_long(void **state) {
    (void)state;
    tq_err err;
    char *text = repeated("", "{% if 1 %}a{% elif 2 %}b{% endif %}{{ 1 }}\n", 5000, "");
    char *got = rendered(text, strlen(text), &err);
    if (!got) fail_msg("%s", err.msg);
    assert_int_equal(strlen(got), 5000 * 3 - 1);
    free(got);
    free(text);
    text = repeated("{% if 0 %}", "{% elif 0 %}", 5000, "{% else %}c{% endif %}");
    got = rendered(text, strlen(text), &err);
    if (!got) fail_msg("%s", err.msg);
    assert_string_equal(got, "c");
    free(got);
    free(text);
}

static uint64_t next_random(uint64_t *s) {
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    return *s * 0x2545F4914F6CDD1DULL;
}

/* A template with some bytes changed, taken out, or taken from another one. */
static char *changed(uint64_t *s, const char *const *texts, size_t count, size_t *n) {
    static const char bytes[] = "{}%#-+()[]|.,:'\"=~*/<> \n0an\\";
    const char *a = texts[next_random(s) % count], *b = texts[next_random(s) % count];
    size_t na = strlen(a), nb = strlen(b), cut = na ? next_random(s) % (na + 1) : 0,
           from = nb ? next_random(s) % (nb + 1) : 0;
    char *out = malloc(na + nb + 1);
    memcpy(out, a, cut);
    *n = cut;
    if (next_random(s) % 2) {
        memcpy(out + cut, b + from, nb - from);
        *n += nb - from;
    } else {
        memcpy(out + cut, a + cut, na - cut);
        *n = na;
    }
    for (size_t k = next_random(s) % 6; k > 0 && *n > 0; k--) {
        size_t at = next_random(s) % *n, len = 1 + next_random(s) % 4;
        if (next_random(s) % 3) {
            out[at] = bytes[next_random(s) % (sizeof bytes - 1)];
        } else {
            if (len > *n - at) len = *n - at;
            memmove(out + at, out + at + len, *n - at - len);
            *n -= len;
        }
    }
    return out;
}

static void test_changed(void **state) {
    (void)state;
    const char *texts[512];
    size_t count = 0, fine = 0;
    uint64_t s = seed * 2 + 1;
    for (const cJSON *c = tq_json_get(fixture, "cases")->child; c && count < 512; c = c->next)
        texts[count++] = tq_json_text(c, "template");
    for (size_t i = 0; i < rounds; i++) {
        size_t n;
        tq_err err;
        char *text = changed(&s, texts, count, &n), *got = rendered(text, n, &err);
        fine += got != NULL;
        free(got);
        free(text);
    }
    print_message("seed %llu: %zu of %zu changed templates rendered\n", (unsigned long long)seed, fine, rounds);
    assert_true(fine > rounds / 20);
}

int main(int argc, char **argv) {
    seed = (uint64_t)time(NULL);
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--seed") == 0) seed = strtoull(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--rounds") == 0) rounds = strtoull(argv[i + 1], NULL, 10);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference), cmocka_unit_test(test_typed), cmocka_unit_test(test_names),
        cmocka_unit_test(test_hostile),   cmocka_unit_test(test_long),  cmocka_unit_test(test_changed),
    };
    return cmocka_run_group_tests(tests, read_fixture, free_fixture);
}
