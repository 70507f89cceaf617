/* mutate.c - see mutate.h. */
#include "tests/mutate.h"

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

uint64_t mutate_random(uint64_t *s) { /* xorshift64* (Vigna, ACM TOMS 42, 2016) */
    *s ^= *s >> 12;
    *s ^= *s << 25;
    *s ^= *s >> 27;
    return *s * 0x2545F4914F6CDD1DULL;
}

static size_t below(uint64_t *s, size_t n) {
    return n ? mutate_random(s) % n : 0;
}

/* Mostly near the beginning, where headers are. */
static size_t place(uint64_t *s, size_t n) {
    size_t head = n < 4096 ? n : 4096;
    return below(s, below(s, 4) ? head : n);
}

typedef struct text {
    char *data;
    size_t n;
} text;

/* Takes `cut` bytes away at `at` and puts n others there. */
static void splice(text *t, size_t at, size_t cut, const char *put, size_t n) {
    if (at > t->n) at = t->n;
    if (cut > t->n - at) cut = t->n - at;
    char *out = malloc(t->n - cut + n + 1);
    memcpy(out, t->data, at);
    if (n) memcpy(out + at, put, n);
    memcpy(out + at + n, t->data + at + cut, t->n - at - cut);
    t->n = t->n - cut + n;
    out[t->n] = '\0';
    free(t->data);
    t->data = out;
}

static const char *const numbers[] = {"0",    "-1",   "1",     "2147483648", "4294967295", "1152921504606846976",
                                      "1e15", "0.5",  "1e308", "-1e308",     "1e-320",     "18446744073709551615",
                                      "1e99", "null", "1e999", "NaN",        "true",       "9007199254740993"};
static const uint64_t words[] = {0,          1,          2,          0xffffffff,      0x7fffffff,         0x80000000,
                                 1ULL << 32, 1ULL << 60, UINT64_MAX, UINT64_MAX >> 1, UINT64_MAX - 31ULL, 1ULL << 63};

/* A number as it is written, somewhere behind `at`. */
static void change_number(text *t, uint64_t *s) {
    size_t at = place(s, t->n), end;
    while (at < t->n && (t->data[at] < '0' || t->data[at] > '9'))
        at++;
    for (end = at; end < t->n && strchr("0123456789.+-eE", t->data[end]) && t->data[end];)
        end++;
    const char *put = numbers[below(s, sizeof numbers / sizeof *numbers)];
    splice(t, at, end - at, put, strlen(put));
}

static void change_word(text *t, uint64_t *s) {
    uint64_t word = words[below(s, sizeof words / sizeof *words)];
    size_t n = (size_t)1 << below(s, 4), at = place(s, t->n);
    for (size_t i = 0; i < n && at + i < t->n; i++)
        t->data[at + i] = (char)(word >> (8 * i));
}

static void nest(text *t, uint64_t *s) {
    static const char *const open[] = {"[", "{\"a\":", "(", "[[\"", "{%if 1%}", "{{"};
    const char *one = open[below(s, sizeof open / sizeof *open)];
    size_t n = strlen(one), times = (size_t)1 << below(s, 17);
    char *many = malloc(n * times);
    for (size_t i = 0; i < times; i++)
        memcpy(many + i * n, one, n);
    splice(t, place(s, t->n), 0, many, n * times);
    free(many);
}

static void change_bytes(text *t, uint64_t *s) {
    static const char bytes[] = "{}[]\",:\\u0 \n-9eE.%|()'\x01\x7f\x80\xc3\xff";
    size_t at = place(s, t->n), from = place(s, t->n), len = below(s, below(s, 3) ? 16 : 1024);
    if (len > t->n - from) len = t->n - from;
    switch (below(s, 8)) {
    case 0:
        if (t->n) t->data[at] ^= (char)(1 << below(s, 8));
        return;
    case 1:
        if (t->n) t->data[at] = bytes[below(s, sizeof bytes - 1)];
        return;
    case 2:
        splice(t, at, len, NULL, 0);
        return; /* taken out */
    case 3: {   /* twice, or moved */
        char *piece = malloc(len + 1);
        memcpy(piece, t->data + from, len);
        if (below(s, 2)) splice(t, from, len, NULL, 0);
        splice(t, at, 0, piece, len);
        free(piece);
        return;
    }
    case 4:
        splice(t, below(s, 2) ? at : below(s, t->n + 1), t->n, NULL, 0);
        return; /* cut off */
    case 5:
        change_word(t, s);
        return;
    case 6:
        if (!below(s, 8)) nest(t, s);
        return;
    default:
        change_number(t, s);
        return;
    }
}

/* --- values of JSON --- */

static size_t count_values(const cJSON *o) {
    size_t n = 1;
    for (const cJSON *c = o->child; c; c = c->next)
        n += count_values(c);
    return n;
}

/* The k-th value below and with o, and what holds it. */
static cJSON *nth_value(cJSON *o, size_t *k, cJSON **parent) {
    if ((*k)-- == 0) return o;
    for (cJSON *c = o->child; c; c = c->next) {
        cJSON *before = *parent;
        *parent = o;
        cJSON *found = nth_value(c, k, parent);
        if (found) return found;
        *parent = before;
    }
    return NULL;
}

static cJSON *other_value(cJSON *root, size_t values, uint64_t *s) {
    cJSON *parent = NULL;
    size_t k = below(s, values);
    switch (below(s, 8)) {
    case 0:
        return cJSON_CreateNull();
    case 1:
        return cJSON_CreateString(below(s, 2) ? "" : "a\xc3\xa9 \x01<|x|>");
    case 2:
        return cJSON_CreateArray();
    case 3:
        return cJSON_CreateObject();
    case 4:
        return cJSON_Duplicate(nth_value(root, &k, &parent), 1);
    default:
        return cJSON_CreateRaw(numbers[below(s, sizeof numbers / sizeof *numbers)]);
    }
}

static void change_value(text *t, uint64_t *s) {
    cJSON *root = cJSON_ParseWithLength(t->data, t->n), *parent = NULL;
    size_t values = root ? count_values(root) : 0, top = values < 64 ? values : 64;
    for (size_t times = values > 1 ? 1 + below(s, 2) : 0; times > 0; times--) {
        size_t k = 1 + below(s, (below(s, 2) ? values : top) - 1);
        parent = NULL;
        cJSON *old = nth_value(root, &k, &parent);
        if (!old || !parent) continue;
        if (!below(s, 8)) /* nothing there */
            cJSON_Delete(cJSON_DetachItemViaPointer(parent, old));
        else if (!below(s, 8)) { /* there twice */
            cJSON *again = cJSON_Duplicate(old, 1);
            if (!cJSON_InsertItemInArray(parent, (int)below(s, 4), again)) cJSON_Delete(again);
        } else {
            cJSON *now = other_value(root, values, s);
            if (now && old->string) {
                free(now->string);
                now->string = strdup(old->string);
            }
            if (!cJSON_ReplaceItemViaPointer(parent, old, now)) cJSON_Delete(now);
        }
        values = count_values(root);
        top = values < 64 ? values : 64;
        if (values < 2) break;
    }
    char *out = root ? cJSON_PrintUnformatted(root) : NULL;
    cJSON_Delete(root);
    if (!out) {
        change_bytes(t, s);
        return;
    }
    splice(t, 0, t->n, out, strlen(out));
    cJSON_free(out);
}

static void change_line(text *t, uint64_t *s) {
    size_t begin = below(s, t->n), end;
    while (begin > 0 && t->data[begin - 1] != '\n')
        begin--;
    const char *stop = memchr(t->data + begin, '\n', t->n - begin);
    end = stop ? (size_t)(stop - t->data) : t->n;
    text line = {calloc(end - begin + 1, 1), end - begin};
    memcpy(line.data, t->data + begin, line.n);
    change_value(&line, s);
    splice(t, begin, end - begin, line.data, line.n);
    free(line.data);
}

static void change_header(text *t, uint64_t *s) {
    uint64_t n = 0;
    if (t->n >= 8) memcpy(&n, t->data, 8);
    if (t->n < 8 || n > t->n - 8) {
        change_bytes(t, s);
        return;
    }
    text head = {calloc((size_t)n + 1, 1), (size_t)n};
    memcpy(head.data, t->data + 8, head.n);
    if (below(s, 3))
        change_value(&head, s);
    else
        change_bytes(&head, s);
    splice(t, 8, (size_t)n, head.data, head.n);
    n = head.n;
    memcpy(t->data, &n, 8);
    free(head.data);
}

char *mutate(mutate_kind kind, const char *data, size_t n, uint64_t *random, size_t *size) {
    text t = {malloc(n + 1), n};
    memcpy(t.data, data, n);
    t.data[n] = '\0';
    for (size_t times = below(random, 3) ? 1 : 1 + below(random, 4); times > 0; times--) {
        bool bytes = kind == MUTATE_BYTES || !below(random, 3);
        if (bytes)
            change_bytes(&t, random);
        else if (kind == MUTATE_JSON)
            change_value(&t, random);
        else if (kind == MUTATE_LINES)
            change_line(&t, random);
        else
            change_header(&t, random);
    }
    *size = t.n;
    return t.data;
}
