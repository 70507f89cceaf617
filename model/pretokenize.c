/* pretokenize.c - the pre-tokenizer's steps: patterns by PCRE2, the space before a word, Metaspace.
 *
 * Patterns come from strangers' files: their size, each match's steps and the whole time are limited. PCRE2's match
 * limit counts backtracking, not what a repeat scans; a callout before each item of the pattern sees to the time. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "model/tokenizer_internal.h"

enum { MAX_PATTERN = 16384, JIT_STACK_START = 32 << 10, JIT_STACK_MAX = 16 << 20, CHECK_EVERY = 512 };
#define STEPS_PER_MATCH ((size_t)1000000)
#define SECONDS_PER_TEXT 0.7
#define SECONDS_PER_BYTE 1e-6 /* a sane pattern takes a tenth of it */
#define HEAP_KIB 65536

static const char metaspace[] = "\xE2\x96\x81"; /* U+2581 */

typedef struct mark {
    size_t begin, end;
    bool match;
} mark;

struct tq_splitter {
    pcre2_match_data *match;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
    tq_spans spans[2];
    tq_buffer text[2]; /* of the step before and of this one: a step reads what the one before wrote */
    mark *marks;
    size_t n_marks, marks_capacity;
    double deadline;
    size_t items; /* items of patterns met since the deadline was set */
};

/* Of this thread: that the machine is busy with something else says nothing about a pattern. */
static double cpu_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Called before each item of a pattern; not 0 ends the match. */
static int check_time(pcre2_callout_block *block, void *data) {
    (void)block;
    tq_splitter *s = data;
    return ++s->items % CHECK_EVERY == 0 && cpu_seconds() > s->deadline ? PCRE2_ERROR_CALLOUT : 0;
}

bool tq_spans_add(tq_spans *v, const char *p, size_t n) {
    if (n == 0) return true;
    if (v->n == v->capacity) {
        size_t capacity = v->capacity ? 2 * v->capacity : 256;
        tq_span *grown = realloc(v->data, capacity * sizeof *grown);
        if (!grown) return false;
        v->data = grown;
        v->capacity = capacity;
    }
    v->data[v->n++] = (tq_span){p, n};
    return true;
}

tq_splitter *tq_splitter_new(void) {
    tq_splitter *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    s->match = pcre2_match_data_create(1, NULL);
    s->context = pcre2_match_context_create(NULL);
    if (!s->match || !s->context) {
        tq_splitter_free(s);
        return NULL;
    }
    s->stack = pcre2_jit_stack_create(JIT_STACK_START, JIT_STACK_MAX, NULL); /* NULL where there is no JIT */
    if (s->stack) pcre2_jit_stack_assign(s->context, NULL, s->stack);
    pcre2_set_heap_limit(s->context, HEAP_KIB);
    pcre2_set_callout(s->context, check_time, s);
    return s;
}

void tq_splitter_free(tq_splitter *s) {
    if (!s) return;
    pcre2_match_data_free(s->match);
    pcre2_match_context_free(s->context);
    pcre2_jit_stack_free(s->stack);
    for (int i = 0; i < 2; i++) {
        free(s->spans[i].data);
        free(s->text[i].data);
    }
    free(s->marks);
    free(s);
}

/* Members of White_Space, as Oniguruma's \s; PCRE2's own \s has U+180E too. */
#define SPACES "\\t-\\r \\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}\\x{205F}\\x{3000}"

/* A pattern on its way from one dialect to the other. */
typedef struct translation {
    const char *file;
    const char *p; /* what is left */
    tq_buffer out;
    bool in_class;
} translation;

static bool put(translation *t, const char *text) {
    return tq_buffer_add(&t->out, text, strlen(text));
}

/* What means the same in both dialects passes; \s and \S are spelled out; the rest is refused. */
static int translate_escape(translation *t, tq_err *err) {
    char c = t->p[1];
    char pair[3] = {'\\', c, '\0'};
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    bool ok;
    if (c == '\0') return tq_fail(err, "%s: the pattern ends in a backslash", t->file);
    if (letter && !strchr("sSdDnrtfpPx", c)) return tq_fail(err, "%s: the pattern's \\%c is not supported", t->file, c);
    if (c == 's')
        ok = put(t, t->in_class ? SPACES : "[" SPACES "]");
    else if (c == 'S')
        ok = put(t, t->in_class ? "\\S\\x{180E}" : "[^" SPACES "]");
    else
        ok = put(t, pair);
    t->p += 2;
    if (strchr("pPx", c) && *t->p == '{') /* a name or number: no quantifier */
        while (ok && *t->p && t->p[-1] != '}')
            ok = tq_buffer_add(&t->out, t->p++, 1);
    return ok ? TQ_OK : tq_fail(err, "%s: out of memory", t->file);
}

/* Groups (?:  (?=  (?!  (?<=  (?<!  (?>  (?i:  are the same in both; other options mean other things. */
static bool group_is_known(const char *p) {
    if (p[1] == '*') return false;
    if (p[1] != '?') return true;
    p += 2;
    if (*p && strchr(":=!>", *p)) return true;
    if (*p == '<') return p[1] == '=' || p[1] == '!';
    while (*p == 'i' || *p == '-')
        p++;
    return *p == ':' || *p == ')';
}

static bool is_interval(const char *p) {
    size_t digits = strspn(p + 1, "0123456789,");
    return digits > 0 && p[1 + digits] == '}';
}

static int check_plain(const translation *t, tq_err *err) {
    const char *p = t->p;
    if (t->in_class && ((p[0] == '&' && p[1] == '&') || p[0] == '['))
        return tq_fail(err, "%s: the pattern has a character class within another: not supported", t->file);
    if (!t->in_class && *p == '(' && !group_is_known(p))
        return tq_fail(err, "%s: the pattern's group %.4s is not supported", t->file, p);
    if (!t->in_class && *p == '{' && is_interval(p) && strchr(p, '}')[1] == '+')
        return tq_fail(err, "%s: the pattern's {n,m}+ is not supported", t->file);
    return TQ_OK;
}

static int translate(translation *t, tq_err *err) {
    size_t class_at = 0;
    while (*t->p) {
        if (*t->p == '\\') {
            if (translate_escape(t, err)) return TQ_FAIL;
            continue;
        }
        if (check_plain(t, err)) return TQ_FAIL;
        if (!t->in_class && *t->p == '[') {
            t->in_class = true;
            class_at = t->out.n + 1 + (t->p[1] == '^'); /* a ] right here is a member */
        } else if (t->in_class && *t->p == ']' && t->out.n > class_at) {
            t->in_class = false;
        }
        if (!tq_buffer_add(&t->out, t->p++, 1)) return tq_fail(err, "%s: out of memory", t->file);
    }
    return TQ_OK;
}

int tq_pattern_compile(const char *file, const char *pattern, pcre2_code **out, tq_err *err) {
    translation t = {.file = file, .p = pattern};
    int code = 0;
    PCRE2_SIZE at = 0;
    *out = NULL;
    if (strlen(pattern) > MAX_PATTERN) return tq_fail(err, "%s: a pattern of more than %d bytes", file, MAX_PATTERN);
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    int rc = context ? translate(&t, err) : tq_fail(err, "%s: out of memory", file);
    if (!rc) {
        pcre2_set_newline(context, PCRE2_NEWLINE_LF);
        pcre2_set_parens_nest_limit(context, 100);
        /* Multiline: ^ and $ match at lines, as they do in Ruby. */
        *out = pcre2_compile((PCRE2_SPTR)(t.out.data ? t.out.data : ""), t.out.n,
                             PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C | PCRE2_AUTO_CALLOUT,
                             &code, &at, context);
        if (!*out) {
            PCRE2_UCHAR why[120] = "";
            pcre2_get_error_message(code, why, sizeof why);
            rc = tq_fail(err, "%s: bad pattern: %s", file, (const char *)why);
        } else {
            (void)pcre2_jit_compile(*out, PCRE2_JIT_COMPLETE); /* without JIT it is slower, no more */
        }
    }
    pcre2_compile_context_free(context);
    free(t.out.data);
    return rc;
}

static bool add_mark(tq_splitter *s, size_t begin, size_t end, bool match) {
    if (s->n_marks == s->marks_capacity) {
        size_t capacity = s->marks_capacity ? 2 * s->marks_capacity : 64;
        mark *grown = realloc(s->marks, capacity * sizeof *grown);
        if (!grown) return false;
        s->marks = grown;
        s->marks_capacity = capacity;
    }
    s->marks[s->n_marks++] = (mark){begin, end, match};
    return true;
}

/* One match at or after `at`: 1, or 0 when there is none. */
static int match_once(tq_splitter *s, const pcre2_code *code, tq_span text, size_t at, tq_err *err) {
    PCRE2_SPTR p = (PCRE2_SPTR)text.p;
    int rc = pcre2_match(code, p, text.n, at, PCRE2_NO_UTF_CHECK, s->match, s->context);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
        rc = pcre2_match(code, p, text.n, at, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, s->match, s->context);
    if (rc >= 0) return 1;
    if (rc == PCRE2_ERROR_NOMATCH) return 0;
    if (rc == PCRE2_ERROR_CALLOUT)
        return tq_fail(err, "tokenizer.json: the pre-tokenizer's pattern takes too long on this text");
    if (rc == PCRE2_ERROR_MATCHLIMIT || rc == PCRE2_ERROR_DEPTHLIMIT || rc == PCRE2_ERROR_HEAPLIMIT)
        return tq_fail(err, "tokenizer.json: the pre-tokenizer's pattern takes too many steps on this text");
    return tq_fail(err, "tokenizer.json: the pre-tokenizer's pattern fails on this text (PCRE2 error %d)", rc);
}

/* Cuts a span into matches and what lies between them, in order. */
static int find_marks(tq_splitter *s, const tq_split_step *step, tq_span text, tq_err *err) {
    size_t last = 0;
    size_t at = 0;
    bool ok = true;
    s->n_marks = 0;
    size_t limit = STEPS_PER_MATCH + 4 * text.n;
    pcre2_set_match_limit(s->context, limit < UINT32_MAX ? (uint32_t)limit : UINT32_MAX);
    while (ok && at < text.n) {
        int found = match_once(s, step->code, text, at, err);
        if (found < 0) return TQ_FAIL;
        if (!found) break;
        const PCRE2_SIZE *v = pcre2_get_ovector_pointer(s->match);
        if (v[1] < v[0] || v[1] < at) break; /* \K or a lookbehind that moves the match backwards */
        if (v[0] > last) ok = add_mark(s, last, v[0], step->invert);
        if (v[1] > v[0]) ok = ok && add_mark(s, v[0], v[1], !step->invert);
        last = v[1];
        at = v[1] > v[0] || v[1] >= text.n ? v[1] : v[1] + tq_utf8_length(text.p + v[1]);
    }
    if (ok && last < text.n) ok = add_mark(s, last, text.n, step->invert);
    return ok ? TQ_OK : tq_fail(err, "out of memory splitting %zu bytes of text", text.n);
}

/* Joins marks as the behavior says; i is the first of a piece, the result the first of the next one. */
static size_t piece_end(const tq_splitter *s, tq_behavior behavior, size_t i) {
    const mark *m = s->marks;
    size_t k = i + 1;
    switch (behavior) {
    case TQ_MERGED_WITH_PREVIOUS: /* a match joins what is not one before it */
        if (!m[i].match && k < s->n_marks && m[k].match) k++;
        break;
    case TQ_MERGED_WITH_NEXT:
        if (m[i].match && k < s->n_marks && !m[k].match) k++;
        break;
    case TQ_CONTIGUOUS:
        while (k < s->n_marks && m[k].match == m[i].match)
            k++;
        break;
    case TQ_REMOVED:
    case TQ_ISOLATED:
        break;
    }
    return k;
}

static int run_pattern(tq_splitter *s, const tq_split_step *step, const tq_spans *in, tq_spans *out, tq_err *err) {
    for (size_t i = 0; i < in->n; i++) {
        tq_span text = in->data[i];
        if (find_marks(s, step, text, err)) return TQ_FAIL;
        for (size_t k = 0, next; k < s->n_marks; k = next) {
            next = piece_end(s, step->behavior, k);
            if (step->behavior == TQ_REMOVED && s->marks[k].match) continue;
            if (!tq_spans_add(out, text.p + s->marks[k].begin, s->marks[next - 1].end - s->marks[k].begin))
                return tq_fail(err, "out of memory splitting %zu bytes of text", text.n);
        }
    }
    return TQ_OK;
}

static bool starts_with(tq_span text, const char *what) {
    size_t n = strlen(what);
    return text.n >= n && memcmp(text.p, what, n) == 0;
}

/* Room for more bytes, so that what lies in the buffer does not move while they are added. */
static bool reserve(tq_buffer *b, size_t bytes) {
    if (bytes <= b->capacity) return true;
    char *grown = realloc(b->data, bytes);
    if (!grown) return false;
    b->data = grown;
    b->capacity = bytes;
    return true;
}

/* Writes each span anew into `text`: with `prefix` before it unless it is there already, and spaces replaced. */
static int rewrite(const tq_spans *in, const char *prefix, bool prepend_all, bool prepend_first, const char *space,
                   tq_buffer *text, tq_spans *out, tq_err *err) {
    size_t bytes = in->n * strlen(prefix);
    for (size_t i = 0; i < in->n; i++)
        bytes += in->data[i].n * (space ? strlen(space) : 1);
    bool ok = reserve(text, bytes);
    text->n = 0;
    for (size_t i = 0; i < in->n && ok; i++) {
        size_t from = text->n;
        tq_span span = in->data[i];
        bool there = starts_with(span, prefix) || (span.p[0] == ' ' && space);
        if ((prepend_all || (prepend_first && i == 0)) && !there) ok = tq_buffer_add(text, prefix, strlen(prefix));
        for (size_t k = 0; k < span.n && ok; k++)
            ok = span.p[k] == ' ' && space ? tq_buffer_add(text, space, strlen(space))
                                           : tq_buffer_add(text, span.p + k, 1);
        ok = ok && tq_spans_add(out, text->data + from, text->n - from);
    }
    return ok ? TQ_OK : tq_fail(err, "out of memory splitting text");
}

/* At each U+2581, which goes with what follows it. */
static bool split_metaspace(const tq_spans *in, tq_spans *out) {
    for (size_t i = 0; i < in->n; i++) {
        tq_span span = in->data[i];
        size_t from = 0;
        for (size_t k = 1; k < span.n; k++) {
            if (!starts_with((tq_span){span.p + k, span.n - k}, metaspace)) continue;
            if (!tq_spans_add(out, span.p + from, k - from)) return false;
            from = k;
        }
        if (!tq_spans_add(out, span.p + from, span.n - from)) return false;
    }
    return true;
}

int tq_split(tq_splitter *s, const tq_split_step *steps, size_t n_steps, const char *text, size_t n, bool first,
             const tq_spans **out, tq_err *err) {
    int from = 0;
    s->deadline = cpu_seconds() + SECONDS_PER_TEXT + SECONDS_PER_BYTE * (double)n;
    s->items = 0;
    s->spans[0].n = 0;
    int rc = tq_spans_add(&s->spans[0], text, n) ? TQ_OK : tq_fail(err, "out of memory splitting text");
    for (size_t i = 0; i < n_steps && !rc; i++) {
        tq_spans *in = &s->spans[from];
        tq_spans *to = &s->spans[1 - from];
        to->n = 0;
        switch (steps[i].kind) {
        case TQ_SPLIT_PATTERN:
            rc = run_pattern(s, &steps[i], in, to, err);
            break;
        case TQ_SPLIT_PREFIX_SPACE:
            rc = rewrite(in, " ", true, false, NULL, &s->text[0], to, err);
            break;
        case TQ_SPLIT_METASPACE:
            rc = rewrite(in, metaspace, steps[i].prepend == TQ_PREPEND_ALWAYS,
                         steps[i].prepend == TQ_PREPEND_FIRST && first, metaspace, &s->text[1], to, err);
            break;
        case TQ_SPLIT_AT_METASPACE:
            if (!split_metaspace(in, to)) rc = tq_fail(err, "out of memory splitting text");
            break;
        }
        from = 1 - from;
    }
    *out = &s->spans[from];
    return rc;
}
