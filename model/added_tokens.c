/* added_tokens.c - finds added tokens such as <|im_start|> in text: the leftmost, then the longest. */
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "model/tokenizer_internal.h"

static int by_text(const void *a, const void *b) {
    const tq_added *x = a;
    const tq_added *y = b;
    int c = memcmp(x->text, y->text, x->n < y->n ? x->n : y->n);
    return c ? c : (x->n > y->n) - (x->n < y->n);
}

int tq_added_finish(const char *file, tq_added_set *set, tq_err *err) {
    if (set->n > 0) qsort(set->tokens, set->n, sizeof *set->tokens, by_text);
    size_t k = 0;
    for (size_t b = 0; b <= 256; b++) {
        while (k < set->n && (unsigned char)set->tokens[k].text[0] < b)
            k++;
        set->first[b] = k;
    }
    for (size_t i = 1; i < set->n; i++)
        if (by_text(&set->tokens[i - 1], &set->tokens[i]) == 0)
            return tq_fail(err, "%s: added token %s stands twice", file, set->tokens[i].text);
    return TQ_OK;
}

/* First index in [lo, hi) whose byte at depth is at least c (or more than c when past). All of them agree on the bytes
 * before; one that ends at depth sorts first. */
static size_t bound(const tq_added_set *set, size_t lo, size_t hi, size_t depth, int c) {
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int at = set->tokens[mid].n > depth ? (unsigned char)set->tokens[mid].text[depth] : -1;
        if (at < c)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* The longest token that text begins with. */
static const tq_added *longest_at(const tq_added_set *set, const char *text, size_t n) {
    size_t lo = set->first[(unsigned char)*text];
    size_t hi = set->first[(unsigned char)*text + 1];
    const tq_added *best = NULL;
    for (size_t depth = 1; lo < hi; depth++) {
        if (set->tokens[lo].n == depth) best = &set->tokens[lo++];
        if (depth == n) break;
        int c = (unsigned char)text[depth];
        lo = bound(set, lo, hi, depth, c);
        hi = bound(set, lo, hi, depth, c + 1);
    }
    return best;
}

static utf8proc_int32_t char_before(const char *text, size_t at) {
    utf8proc_int32_t c = 0;
    size_t i = at - 1;
    while (i > 0 && ((unsigned char)text[i] & 0xC0) == 0x80)
        i--;
    utf8proc_iterate((const utf8proc_uint8_t *)text + i, (utf8proc_ssize_t)(at - i), &c);
    return c;
}

static utf8proc_int32_t char_at(const char *text, size_t n, size_t at) {
    utf8proc_int32_t c = 0;
    utf8proc_iterate((const utf8proc_uint8_t *)text + at, (utf8proc_ssize_t)(n - at), &c);
    return c;
}

/* \w of Unicode TS 18, annex C: Alphabetic, M, Nd, Pc and Join_Control. Alphabetic is L, Nl, some of M, and the
 * circled and squared letters of So. */
static bool is_word(utf8proc_int32_t c) {
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
        return true;
    default:
        return c == 0x200C || c == 0x200D || (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||
               (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189);
    }
}

static bool stands_alone(const char *text, size_t n, size_t begin, size_t end) {
    return (begin == 0 || !is_word(char_before(text, begin))) && (end == n || !is_word(char_at(text, n, end)));
}

const tq_added *tq_added_next(const tq_added_set *set, const char *text, size_t n, size_t floor, size_t *scan,
                              size_t *begin, size_t *end) {
    for (size_t i = *scan; set->n > 0 && i < n;) {
        const tq_added *a = longest_at(set, text + i, n - i);
        if (!a || (a->single_word && !stands_alone(text, n, i, i + a->n))) {
            i += a ? a->n : 1;
            continue;
        }
        *begin = i;
        *end = *scan = i + a->n;
        while (a->lstrip && *begin > floor && tq_is_space(char_before(text, *begin))) {
            --*begin;
            while (((unsigned char)text[*begin] & 0xC0) == 0x80)
                --*begin;
        }
        while (a->rstrip && *end < n && tq_is_space(char_at(text, n, *end)))
            *end += tq_utf8_length(text + *end);
        if (*scan < *end) *scan = *end;
        return a;
    }
    *scan = n;
    return NULL;
}
