/* packed.c - packed matrices to tensors and back. */
#include "model/packed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SPEC_VERSION "tq1"
/* With the published signs; what "tq1" says with hadamard and independent has signs that are drawn no more. */
#define SPEC_PUBLISHED "tq2"
enum { SPEC_ALIGN = 64, SPEC_SIZE = 256, SPEC_FIELDS = 6, NAME_SIZE = 512 };

static bool ends_with(const char *s, const char *end) {
    size_t n = strlen(s), e = strlen(end);
    return n >= e && strcmp(s + n - e, end) == 0;
}

bool tq_packed_source(const tq_source *s) {
    for (size_t i = 0; i < tq_source_count(s); i++)
        if (ends_with(tq_source_at(s, i)->name, TQ_PACKED_INFIX "spec")) return true;
    return false;
}

size_t tq_packed_parts(const tq_qmatrix *q, tq_qpart *parts, char spec_text[256]) {
    const tq_qspec *spec = tq_qmatrix_spec(q);
    char group[24];
    size_t n = tq_qmatrix_parts(q, parts + 1, TQ_PACKED_PARTS);
    size_t at = (size_t)snprintf(
        spec_text, SPEC_SIZE, "%s %s %s %s %s %llu", tq_qspec_published(spec) ? SPEC_PUBLISHED : SPEC_VERSION,
        tq_bits_get(spec->bits)->name, tq_group_name(spec->group, group), tq_residual_name(spec->residual),
        tq_rotation_name(spec->rotation), (unsigned long long)spec->seed);
    for (size_t i = 1; i <= n && at < SPEC_SIZE; i++)
        at += (size_t)snprintf(spec_text + at, SPEC_SIZE - at, " %s", parts[i].name);
    at = at < SPEC_SIZE ? at : SPEC_SIZE - 1;
    size_t padded = (at + SPEC_ALIGN - 1) / SPEC_ALIGN * SPEC_ALIGN;
    memset(spec_text + at, ' ', padded - at);
    parts[0] =
        (tq_qpart){.name = "spec", .dtype = TQ_U8, .shape = {padded}, .rank = 1, .data = spec_text, .bytes = padded};
    return n + 1;
}

static bool parse_seed(const char *text, uint64_t *seed) {
    char *end = NULL;
    if (text[0] < '0' || text[0] > '9' || strlen(text) > 20) return false;
    *seed = strtoull(text, &end, 10);
    return *end == '\0';
}

/* Splits text at spaces, in place. words: [max]; returns how many, max + 1 when there are more. */
static size_t split_words(char *text, char **words, size_t max) {
    size_t n = 0;
    char *rest = NULL;
    for (char *w = strtok_r(text, " ", &rest); w; w = strtok_r(NULL, " ", &rest)) {
        if (n == max) return max + 1;
        words[n++] = w;
    }
    return n;
}

static bool parse_spec(char **words, size_t n, tq_qspec *spec) {
    if (n <= SPEC_FIELDS || n > SPEC_FIELDS + TQ_PACKED_PARTS) return false;
    bool published = strcmp(words[0], SPEC_PUBLISHED) == 0;
    if (!published && strcmp(words[0], SPEC_VERSION) != 0) return false;
    const tq_bits_traits *bits = tq_bits_find(words[1]);
    if (!bits || bits->id == TQ_BITS_KEEP) return false;
    spec->bits = bits->id;
    return tq_group_parse(words[2], &spec->group) && tq_residual_parse(words[3], &spec->residual) &&
           tq_rotation_parse(words[4], &spec->rotation) && parse_seed(words[5], &spec->seed) &&
           tq_qspec_published(spec) == published;
}

/* The tensor of one part as a part. */
static int find_part(const tq_source *s, const char *name, const char *part, tq_qpart *out, tq_err *err) {
    char tensor[NAME_SIZE];
    (void)snprintf(tensor, sizeof tensor, "%s" TQ_PACKED_INFIX "%s", name, part);
    const tq_tensor *t = tq_source_find(s, tensor);
    if (!t) return tq_fail(err, "%s: tensor %s is missing", tq_source_path(s), tensor);
    if (t->rank > sizeof out->shape / sizeof *out->shape)
        return tq_fail(err, "%s: tensor %s has %zu dimensions, expected at most 4", tq_source_path(s), tensor, t->rank);
    *out = (tq_qpart){.name = part, .dtype = t->dtype, .rank = t->rank, .data = t->data, .bytes = t->bytes};
    memcpy(out->shape, t->shape, t->rank * sizeof *t->shape);
    return TQ_OK;
}

int tq_packed_load(const tq_source *s, const char *name, size_t rows, size_t cols, tq_rotation_cache *cache,
                   tq_qmatrix **out, tq_err *err) {
    char tensor[NAME_SIZE], text[SPEC_SIZE + 1], *words[SPEC_FIELDS + TQ_PACKED_PARTS];
    tq_qpart parts[TQ_PACKED_PARTS];
    tq_qspec spec = {0};
    tq_err inner = {{0}};
    *out = NULL;
    (void)snprintf(tensor, sizeof tensor, "%s" TQ_PACKED_INFIX "spec", name);
    const tq_tensor *t = tq_source_find(s, tensor);
    if (!t) return TQ_OK;
    if (t->dtype != TQ_U8 || t->rank != 1 || t->bytes > SPEC_SIZE)
        return tq_fail(err, "%s: tensor %s: expected a U8 text of at most %d bytes", tq_source_path(s), tensor,
                       SPEC_SIZE);
    memcpy(text, t->data, t->bytes);
    text[t->bytes] = '\0';
    size_t n = split_words(text, words, SPEC_FIELDS + TQ_PACKED_PARTS);
    if (!parse_spec(words, n, &spec))
        return tq_fail(err,
                       "%s: tensor %s: expected '" SPEC_VERSION "|" SPEC_PUBLISHED
                       " BITS GROUP RESIDUAL ROTATION SEED PART ...'",
                       tq_source_path(s), tensor);
    for (size_t i = SPEC_FIELDS; i < n; i++)
        if (find_part(s, name, words[i], &parts[i - SPEC_FIELDS], err) != TQ_OK) return TQ_FAIL;
    if (tq_qmatrix_from_parts(&spec, rows, cols, parts, n - SPEC_FIELDS, cache, out, &inner) != TQ_OK)
        return tq_fail(err, "%s: tensor %s" TQ_PACKED_INFIX "*: %s", tq_source_path(s), name, inner.msg);
    return TQ_OK;
}
