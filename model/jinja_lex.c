/* jinja_lex.c - a template cut into tokens: text between tags with its white space as the tags ask for it, and what
 * stands within them. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "model/jinja_internal.h"
#include "model/tokenizer_internal.h"

bool tq_jparse_fail(tq_jparse *p, int line, const char *fmt, ...) {
    char what[320];
    if (p->failed) return false;
    p->failed = true;
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    tq_fail(p->err, "%s, line %d: %s", p->name, line, what);
    return false;
}

void *tq_jparse_alloc(tq_jparse *p, size_t n) {
    void *memory = tq_arena_alloc(p->arena, n);
    if (!memory && !p->failed) {
        p->failed = true;
        tq_fail(p->err, "%s: more than %zu MiB of memory, or none left", p->name, p->arena->limit >> 20);
    }
    return memory;
}

static bool is_space(utf8proc_int32_t c) {
    return tq_is_space(c) || (c >= 0x1C && c <= 0x1F);
}

size_t tq_j_space(const char *p, const char *end) {
    utf8proc_int32_t c;
    utf8proc_ssize_t len = p < end ? utf8proc_iterate((const utf8proc_uint8_t *)p, end - p, &c) : 0;
    return len > 0 && is_space(c) ? (size_t)len : 0;
}

size_t tq_j_space_before(const char *begin, const char *p) {
    const char *q = p;
    while (q > begin && ((unsigned char)*--q & 0xC0) == 0x80) {
    }
    size_t n = tq_j_space(q, p);
    return q + n == p ? n : 0;
}

typedef struct lexer {
    tq_jparse *p;
    const char *at, *end;
    int line;
    bool line_start; /* what was read last ended with a line */
} lexer;

static tq_jtoken *push(lexer *x, tq_jtoken_kind kind, const char *text, size_t n) {
    tq_jparse *p = x->p;
    if (p->n_tokens == p->capacity) {
        size_t capacity = p->capacity ? 2 * p->capacity : 256;
        tq_jtoken *grown = realloc(p->tokens, capacity * sizeof *grown);
        if (!grown) {
            tq_jparse_fail(p, x->line, "out of memory");
            return NULL;
        }
        p->tokens = grown;
        p->capacity = capacity;
    }
    char *copy = tq_jparse_alloc(p, n + 1);
    if (!copy) return NULL;
    if (n) memcpy(copy, text, n);
    tq_jtoken *t = &p->tokens[p->n_tokens++];
    *t = (tq_jtoken){.kind = kind, .line = x->line, .p = copy, .n = n};
    return t;
}

/* Goes on to q, counting lines. */
static void go(lexer *x, const char *q) {
    if (q > x->at) x->line_start = q[-1] == '\n';
    while (x->at < q)
        x->line += *x->at++ == '\n';
}

static const char *skip_space(const char *p, const char *end) {
    for (size_t n; (n = tq_j_space(p, end)) > 0;)
        p += n;
    return p;
}

/* After a tag's end: `-` takes all white space that follows, `+` nothing; else one line's end, where lines are trimmed.
 */
static const char *after_tag(const lexer *x, const char *p, char sign, bool trim) {
    if (sign == '-') return skip_space(p, x->end);
    return trim && sign != '+' && p < x->end && *p == '\n' ? p + 1 : p;
}

/* Text up to a tag: `-` takes the white space before it; else a block or comment takes what indents it. */
static bool push_data(lexer *x, const char *end, char sign, bool indents) {
    const char *from = x->at, *to = end;
    if (sign == '-') {
        for (size_t n; to > from && (n = tq_j_space_before(from, to)) > 0;)
            to -= n;
    } else if (sign != '+' && indents) {
        const char *line = end;
        while (line > from && line[-1] != '\n')
            line--;
        bool starts = line > from || x->line_start;
        if (starts && skip_space(line, end) == end) to = line;
    }
    bool ok = to == from || push(x, TQ_T_DATA, from, (size_t)(to - from));
    go(x, end);
    return ok;
}

static char sign_at(const char *p, const char *end) {
    return p < end && (*p == '-' || *p == '+') ? *p : '\0';
}

/* Is there `-? WORD -?%}` after {%? Its end, or NULL. */
static const char *tag_word(const char *p, const char *end, const char *word, char *sign) {
    size_t n = strlen(word);
    p += sign_at(p, end) != 0;
    p = skip_space(p, end);
    if ((size_t)(end - p) < n || memcmp(p, word, n) != 0) return NULL;
    p = skip_space(p + n, end);
    *sign = sign_at(p, end);
    p += *sign != 0;
    return end - p >= 2 && p[0] == '%' && p[1] == '}' ? p + 2 : NULL;
}

static bool lex_comment(lexer *x) {
    int line = x->line;
    for (const char *p = x->at + 2; p + 1 < x->end; p++) {
        char sign = sign_at(p, x->end);
        if (sign && p + 2 < x->end && p[1] == '#' && p[2] == '}')
            p++;
        else if (p[0] == '#' && p[1] == '}')
            sign = '\0';
        else
            continue;
        go(x, after_tag(x, p + 2, sign, true));
        return true;
    }
    return tq_jparse_fail(x->p, line, "a comment that does not end");
}

/* {% raw %} was read: text up to {% endraw %}. */
static bool lex_raw(lexer *x) {
    int line = x->line;
    for (const char *p = x->at; p + 1 < x->end; p++) {
        char sign = '\0';
        const char *after = p[0] == '{' && p[1] == '%' ? tag_word(p + 2, x->end, "endraw", &sign) : NULL;
        if (!after) continue;
        if (!push_data(x, p, sign_at(p + 2, x->end), true)) return false;
        go(x, after_tag(x, after, sign, true));
        return true;
    }
    return tq_jparse_fail(x->p, line, "raw without endraw");
}

static bool put_code_point(lexer *x, char *out, size_t *n, unsigned long c) {
    if (c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
        return tq_jparse_fail(x->p, x->line, "a string escapes U+%lX, which is no character", c);
    *n += (size_t)utf8proc_encode_char((utf8proc_int32_t)c, (utf8proc_uint8_t *)out + *n);
    return true;
}

/* \xHH, \uHHHH, \UHHHHHHHH. */
static bool put_hex(lexer *x, const char **p, const char *end, int digits, char *out, size_t *n) {
    unsigned long c = 0;
    for (int i = 0; i < digits; i++, ++*p) {
        const char *hex = "0123456789abcdef", *at = *p < end ? strchr(hex, **p | 0x20) : NULL;
        if (!at || !**p) return tq_jparse_fail(x->p, x->line, "a string with a broken \\x, \\u or \\U");
        c = c * 16 + (unsigned long)(at - hex);
    }
    return put_code_point(x, out, n, c);
}

/* What stands after a backslash; *p is behind it afterwards. Any escape is longer than what it stands for. */
static bool put_escape(lexer *x, const char **p, const char *end, char *out, size_t *n) {
    static const char from[] = "ntr\\'\"abfv", to[] = "\n\t\r\\'\"\a\b\f\v";
    char c = *(*p)++;
    const char *at = c ? strchr(from, c) : NULL;
    if (at) {
        out[(*n)++] = to[at - from];
    } else if (c == 'x' || c == 'u' || c == 'U') {
        return put_hex(x, p, end, c == 'x' ? 2 : c == 'u' ? 4 : 8, out, n);
    } else if (c >= '0' && c <= '7') {
        unsigned long code = (unsigned long)(c - '0');
        for (int i = 0; i < 2 && *p < end && **p >= '0' && **p <= '7'; i++)
            code = code * 8 + (unsigned long)(*(*p)++ - '0');
        return put_code_point(x, out, n, code);
    } else if (c == 'N') {
        return tq_jparse_fail(x->p, x->line, "\\N in a string is not supported");
    } else if (c != '\n') {
        out[(*n)++] = '\\';
        out[(*n)++] = c;
    }
    return true;
}

static bool lex_string(lexer *x) {
    char quote = *x->at;
    const char *p = x->at + 1;
    while (p < x->end && *p != quote)
        p += *p == '\\' ? 2 : 1;
    if (p >= x->end) return tq_jparse_fail(x->p, x->line, "a string that does not end");
    const char *in = x->at + 1;
    tq_jtoken *t = push(x, TQ_T_STRING, in, (size_t)(p - in));
    if (!t) return false;
    char *out = (char *)t->p;
    size_t n = 0;
    while (in < p) {
        if (*in != '\\') {
            out[n++] = *in++;
            continue;
        }
        in++;
        if (!put_escape(x, &in, p, out, &n)) return false;
    }
    out[n] = '\0';
    t->n = n;
    go(x, p + 1);
    return true;
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_name(char c, bool first) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (!first && is_digit(c));
}

/* Digits, which may have single underscores between them. */
static const char *digits(const char *p, const char *end) {
    while (p < end && (is_digit(*p) || (*p == '_' && p + 1 < end && is_digit(p[1]))))
        p++;
    return p;
}

static bool lex_number(lexer *x) {
    const char *p = digits(x->at, x->end), *q;
    bool whole = true;
    if (p + 1 < x->end && *p == '.' && is_digit(p[1])) {
        p = digits(p + 1, x->end);
        whole = false;
    }
    if (p < x->end && (*p == 'e' || *p == 'E')) {
        q = p + 1;
        q += q < x->end && (*q == '+' || *q == '-');
        if (q < x->end && is_digit(*q)) {
            p = digits(q, x->end);
            whole = false;
        }
    }
    char text[64];
    size_t n = 0;
    for (q = x->at; q < p && n + 1 < sizeof text; q++)
        if (*q != '_') text[n++] = *q;
    text[n] = '\0';
    tq_jtoken *t = push(x, whole ? TQ_T_INT : TQ_T_FLOAT, x->at, (size_t)(p - x->at));
    if (!t) return false;
    errno = 0;
    t->i = whole ? strtoll(text, NULL, 10) : 0;
    t->f = whole ? 0 : strtod(text, NULL);
    if (q < p || errno == ERANGE || (p < x->end && is_name(*p, true)))
        return tq_jparse_fail(x->p, x->line, "a number that is too big, or written in another way than 12 or 1.5");
    go(x, p);
    return true;
}

static bool lex_operator(lexer *x) {
    static const char *const operators[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
                                            "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", NULL};
    for (const char *const *o = operators; *o; o++) {
        size_t n = strlen(*o);
        if ((size_t)(x->end - x->at) < n || memcmp(x->at, *o, n) != 0) continue;
        if (!push(x, TQ_T_OP, *o, n)) return false;
        go(x, x->at + n);
        return true;
    }
    if (*x->at == ';') return tq_jparse_fail(x->p, x->line, "unexpected ;");
    return tq_jparse_fail(x->p, x->line, "an unexpected character in a tag: %.*s", (int)tq_utf8_length(x->at), x->at);
}

static bool lex_one(lexer *x) {
    const char *p = x->at;
    if (*p == '\'' || *p == '"') return lex_string(x);
    if (is_digit(*p)) return lex_number(x);
    if (!is_name(*p, true)) return lex_operator(x);
    while (p < x->end && is_name(*p, false))
        p++;
    if (!push(x, TQ_T_NAME, x->at, (size_t)(p - x->at))) return false;
    go(x, p);
    return true;
}

/* What stands in a tag that begins at x->at, and its end. */
static bool lex_tag(lexer *x, bool block) {
    static const char open[] = "([{", close[] = ")]}";
    char stack[TQ_J_MAX_NEST];
    size_t depth = 0;
    int line = x->line;
    if (!push(x, block ? TQ_T_BLOCK : TQ_T_PRINT, "", 0)) return false;
    go(x, x->at + 2);
    go(x, x->at + (sign_at(x->at, x->end) != 0));
    for (;;) {
        go(x, skip_space(x->at, x->end));
        if (x->at >= x->end) return tq_jparse_fail(x->p, line, "a tag that does not end");
        char sign = sign_at(x->at, x->end);
        const char *p = x->at + (sign == '-' || (block && sign));
        if (depth == 0 && x->end - p >= 2 && p[0] == (block ? '%' : '}') && p[1] == '}') {
            if (!push(x, block ? TQ_T_BLOCK_END : TQ_T_PRINT_END, "", 0)) return false;
            go(x, after_tag(x, p + 2, p > x->at ? sign : '\0', block));
            return true;
        }
        const char *bracket = strchr(open, *x->at), *closing = strchr(close, *x->at);
        if (*x->at && bracket) {
            if (depth == TQ_J_MAX_NEST) return tq_jparse_fail(x->p, x->line, "too many brackets within each other");
            stack[depth++] = close[bracket - open];
        } else if (*x->at && closing && (depth == 0 || stack[--depth] != *closing)) {
            return tq_jparse_fail(x->p, x->line, "unexpected %c", *closing);
        }
        if (!lex_one(x)) return false;
    }
}

/* Where the next tag begins, or the end. */
static const char *next_tag(const char *p, const char *end) {
    for (; p + 1 < end; p++)
        if (*p == '{' && (p[1] == '%' || p[1] == '{' || p[1] == '#')) return p;
    return end;
}

static bool lex_next(lexer *x) {
    const char *tag = next_tag(x->at, x->end), *after;
    char sign = '\0';
    if (tag == x->end) return push_data(x, x->end, '+', false);
    if (!push_data(x, tag, sign_at(tag + 2, x->end), tag[1] != '{')) return false;
    if (tag[1] == '#') return lex_comment(x);
    after = tag[1] == '%' ? tag_word(tag + 2, x->end, "raw", &sign) : NULL;
    if (!after) return lex_tag(x, tag[1] == '%');
    go(x, after_tag(x, after, sign, false));
    return lex_raw(x);
}

/* \r\n and \r are line ends too, and the last one is left out. */
static char *normalize_lines(tq_jparse *p, const char *text, size_t *n) {
    char *out = tq_jparse_alloc(p, *n + 1);
    size_t k = 0;
    for (size_t i = 0; out && i < *n; i++) {
        if (text[i] == '\r') {
            i += i + 1 < *n && text[i + 1] == '\n';
            out[k++] = '\n';
        } else {
            out[k++] = text[i];
        }
    }
    *n = k > 0 && out[k - 1] == '\n' ? k - 1 : k;
    return out;
}

bool tq_jinja_lex(tq_jparse *p, const char *text, size_t n) {
    const char *all = normalize_lines(p, text, &n);
    if (!all) return false;
    lexer x = {.p = p, .at = all, .end = all + n, .line = 1, .line_start = true};
    if (n > TQ_J_MAX_TEMPLATE) return tq_jparse_fail(p, 1, "%zu bytes; at most %zu", n, TQ_J_MAX_TEMPLATE);
    if (!tq_utf8_valid(all, n)) return tq_jparse_fail(p, 1, "the text is not UTF-8");
    if (memchr(all, '\0', n)) return tq_jparse_fail(p, 1, "a NUL byte");
    while (x.at < x.end)
        if (!lex_next(&x)) return false;
    return push(&x, TQ_T_END, "", 0) != NULL;
}
