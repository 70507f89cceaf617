/* tokenizer_steps.c - normalizer, pre_tokenizer, decoder and post_processor of tokenizer.json. Each is a tree of
 * Sequences that is read as a list of steps; a step that is not understood is an error. */
#include <stdlib.h>
#include <string.h>

#include "model/tokenizer_internal.h"

/* GPT-2's pattern, which ByteLevel has built in (GPT-2's encoder.py; the library's byte_level.rs). */
static const char gpt2_pattern[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
static const char metaspace[] = "\xE2\x96\x81";

enum { MAX_DEPTH = 16 };

/* While a file is read. */
typedef struct reader {
    const char *file;
    tq_tokenizer *t;
    tq_err *err;
    bool byte_decoder, byte_fallback, space_decoder, any_decoder;
} reader;

static bool flag(const cJSON *object, const char *name, bool def) {
    const cJSON *m = tq_json_get(object, name);
    return m ? cJSON_IsTrue(m) : def;
}

/* Calls step for json, or for each member of its nested Sequences. */
static int each(reader *r, const cJSON *json, const char *what, const char *members, int depth,
                int (*step)(reader *r, const cJSON *json, const char *type)) {
    if (!json) return TQ_OK;
    const char *type = tq_json_text(json, "type");
    if (!type) return tq_fail(r->err, "%s: the %s has no type", r->file, what);
    if (strcmp(type, "Sequence") != 0) return step(r, json, type);
    const cJSON *list = tq_json_get(json, members);
    if (!list || !cJSON_IsArray(list))
        return tq_fail(r->err, "%s: the %s is a Sequence without %s", r->file, what, members);
    if (depth == MAX_DEPTH) return tq_fail(r->err, "%s: the %s nests too deeply", r->file, what);
    for (const cJSON *m = list->child; m; m = m->next)
        if (each(r, m, what, members, depth + 1, step)) return TQ_FAIL;
    return TQ_OK;
}

static int add_normal(reader *r, tq_normal_kind kind, const char *from, const char *to) {
    tq_tokenizer *t = r->t;
    if (t->n_normal == TQ_MAX_STEPS) return tq_fail(r->err, "%s: more than %d normalizers", r->file, TQ_MAX_STEPS);
    tq_normal_step *step = &t->normal[t->n_normal++];
    *step = (tq_normal_step){.kind = kind, .from = from ? strdup(from) : NULL, .to = to ? strdup(to) : NULL};
    if ((from && !step->from) || (to && !step->to)) return tq_fail(r->err, "%s: out of memory", r->file);
    return TQ_OK;
}

static int read_normalizer(reader *r, const cJSON *json, const char *type) {
    static const struct {
        const char *name;
        tq_normal_kind kind;
    } forms[] = {{"NFC", TQ_NORMAL_NFC}, {"NFD", TQ_NORMAL_NFD}, {"NFKC", TQ_NORMAL_NFKC}, {"NFKD", TQ_NORMAL_NFKD}};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (strcmp(forms[i].name, type) == 0) return add_normal(r, forms[i].kind, NULL, NULL);
    if (strcmp(type, "Prepend") == 0) {
        const char *text = tq_json_text(json, "prepend");
        if (text && *text) return add_normal(r, TQ_NORMAL_PREPEND, NULL, text);
    } else if (strcmp(type, "Replace") == 0) {
        const char *from = tq_json_text(tq_json_get(json, "pattern"), "String");
        const char *to = tq_json_text(json, "content");
        if (from && *from && to) return add_normal(r, TQ_NORMAL_REPLACE, from, to);
    }
    return tq_fail(r->err, "%s: normalizer %s is not supported", r->file, type);
}

static int add_split(reader *r, tq_split_step step) {
    tq_tokenizer *t = r->t;
    if (t->n_split == TQ_MAX_STEPS) {
        pcre2_code_free(step.code);
        return tq_fail(r->err, "%s: more than %d pre-tokenizers", r->file, TQ_MAX_STEPS);
    }
    t->split[t->n_split++] = step;
    return TQ_OK;
}

static bool has_split(const reader *r, tq_split_kind kind) {
    for (size_t i = 0; i < r->t->n_split; i++)
        if (r->t->split[i].kind == kind) return true;
    return false;
}

static int add_pattern(reader *r, const char *pattern, tq_behavior behavior, bool invert) {
    tq_split_step step = {.kind = TQ_SPLIT_PATTERN, .behavior = behavior, .invert = invert};
    if (tq_pattern_compile(r->file, pattern, &step.code, r->err)) return TQ_FAIL;
    return add_split(r, step);
}

/* A literal as a pattern that matches it. */
static int add_literal(reader *r, const char *text, tq_behavior behavior, bool invert) {
    tq_buffer pattern = {0};
    bool ok = true;
    for (const char *p = text; *p && ok; p++) {
        if (strchr("\\^$.|?*+()[]{}-&#", *p)) ok = tq_buffer_add(&pattern, "\\", 1);
        ok = ok && tq_buffer_add(&pattern, p, 1);
    }
    ok = ok && tq_buffer_add(&pattern, "", 1);
    int rc = ok ? add_pattern(r, pattern.data, behavior, invert) : tq_fail(r->err, "%s: out of memory", r->file);
    free(pattern.data);
    return rc;
}

static int read_split(reader *r, const cJSON *json) {
    static const char *const behaviors[] = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext",
                                            "Contiguous"};
    const char *name = tq_json_text(json, "behavior");
    size_t i = 0;
    while (i < 5 && !(name && strcmp(behaviors[i], name) == 0))
        i++;
    if (i == 5) return tq_fail(r->err, "%s: Split has the unknown behavior %s", r->file, name ? name : "(none)");
    const cJSON *pattern = tq_json_get(json, "pattern");
    const char *regex = tq_json_text(pattern, "Regex");
    const char *string = tq_json_text(pattern, "String");
    if (!regex == !string) return tq_fail(r->err, "%s: Split has no pattern", r->file);
    bool invert = flag(json, "invert", false);
    return regex ? add_pattern(r, regex, (tq_behavior)i, invert) : add_literal(r, string, (tq_behavior)i, invert);
}

static int read_byte_level(reader *r, const cJSON *json) {
    r->t->bpe.byte_level = true;
    if (flag(json, "add_prefix_space", true) && add_split(r, (tq_split_step){.kind = TQ_SPLIT_PREFIX_SPACE}))
        return TQ_FAIL;
    return flag(json, "use_regex", true) ? add_pattern(r, gpt2_pattern, TQ_ISOLATED, false) : TQ_OK;
}

static int read_metaspace(reader *r, const cJSON *json) {
    const char *scheme = tq_json_text(json, "prepend_scheme");
    const char *character = tq_json_text(json, "replacement");
    tq_split_step step = {.kind = TQ_SPLIT_METASPACE, .prepend = TQ_PREPEND_ALWAYS};
    if (scheme && strcmp(scheme, "first") == 0)
        step.prepend = TQ_PREPEND_FIRST;
    else if (scheme ? strcmp(scheme, "never") == 0 : !flag(json, "add_prefix_space", true))
        step.prepend = TQ_PREPEND_NEVER;
    else if (scheme && strcmp(scheme, "always") != 0)
        return tq_fail(r->err, "%s: Metaspace has the unknown prepend_scheme %s", r->file, scheme);
    if (!character || strcmp(character, metaspace) != 0 || has_split(r, TQ_SPLIT_METASPACE))
        return tq_fail(r->err, "%s: only one Metaspace, with U+2581, is supported", r->file);
    if (add_split(r, step)) return TQ_FAIL;
    if (!flag(json, "split", true)) return TQ_OK;
    return add_split(r, (tq_split_step){.kind = TQ_SPLIT_AT_METASPACE});
}

static int read_pre_tokenizer(reader *r, const cJSON *json, const char *type) {
    if (r->t->bpe.byte_level)
        return tq_fail(r->err, "%s: pre-tokenizer %s after ByteLevel is not supported", r->file, type);
    if (strcmp(type, "ByteLevel") == 0) return read_byte_level(r, json);
    if (strcmp(type, "Split") == 0) return read_split(r, json);
    if (strcmp(type, "Metaspace") == 0) return read_metaspace(r, json);
    if (strcmp(type, "Digits") == 0)
        return add_pattern(r, flag(json, "individual_digits", false) ? "\\p{N}" : "\\p{N}+", TQ_ISOLATED, false);
    return tq_fail(r->err, "%s: pre-tokenizer %s is not supported", r->file, type);
}

static int read_decoder(reader *r, const cJSON *json, const char *type) {
    r->any_decoder = true;
    if (strcmp(type, "ByteLevel") == 0) {
        r->byte_decoder = true;
    } else if (strcmp(type, "ByteFallback") == 0) {
        r->byte_fallback = true;
    } else if (strcmp(type, "Metaspace") == 0) {
        const char *scheme = tq_json_text(json, "prepend_scheme");
        r->space_decoder = true;
        if (!scheme || strcmp(scheme, "never") != 0) r->t->strip = 1;
    } else if (strcmp(type, "Replace") == 0) {
        const char *from = tq_json_text(tq_json_get(json, "pattern"), "String");
        const char *to = tq_json_text(json, "content");
        if (!from || !to || strcmp(from, metaspace) != 0 || strcmp(to, " ") != 0)
            return tq_fail(r->err, "%s: decoder Replace is only supported from U+2581 to a space", r->file);
        r->space_decoder = true;
    } else if (strcmp(type, "Strip") == 0) {
        const char *what = tq_json_text(json, "content");
        const cJSON *stop = tq_json_get(json, "stop");
        if (!what || strcmp(what, " ") != 0 || (stop && stop->valuedouble != 0) ||
            !tq_json_size(tq_json_get(json, "start"), &r->t->strip))
            return tq_fail(r->err, "%s: decoder Strip is only supported for leading spaces", r->file);
    } else if (strcmp(type, "Fuse") != 0) {
        return tq_fail(r->err, "%s: decoder %s is not supported", r->file, type);
    }
    return TQ_OK;
}

int tq_tokenizer_read_steps(const char *file, const cJSON *root, tq_tokenizer *t, tq_err *err) {
    reader r = {.file = file, .t = t, .err = err};
    if (each(&r, tq_json_get(root, "normalizer"), "normalizer", "normalizers", 0, read_normalizer) ||
        each(&r, tq_json_get(root, "pre_tokenizer"), "pre-tokenizer", "pretokenizers", 0, read_pre_tokenizer) ||
        each(&r, tq_json_get(root, "decoder"), "decoder", "decoders", 0, read_decoder))
        return TQ_FAIL;
    bool fallback = flag(tq_json_get(root, "model"), "byte_fallback", false);
    if (!t->bpe.byte_level && !fallback)
        return tq_fail(err, "%s: neither byte-level BPE (a ByteLevel pre-tokenizer) nor BPE with byte_fallback", file);
    if (t->bpe.byte_level && fallback)
        return tq_fail(err, "%s: ByteLevel together with byte_fallback is not supported", file);
    if (t->bpe.byte_level ? r.byte_fallback || r.space_decoder || t->strip || (r.any_decoder && !r.byte_decoder)
                          : !r.byte_fallback && !r.space_decoder)
        return tq_fail(err, "%s: the decoder does not fit the pre-tokenizer", file);
    return TQ_OK;
}

static int add_special(reader *r, const cJSON *entry, const cJSON *specials, int *list, size_t *n) {
    const char *name = tq_json_text(entry, "id");
    const cJSON *special = name ? tq_json_get(specials, name) : NULL;
    const cJSON *ids = special ? tq_json_get(special, "ids") : NULL;
    if (!ids || !cJSON_IsArray(ids))
        return tq_fail(r->err, "%s: the post-processor has no ids for %s", r->file, name ? name : "a special token");
    for (const cJSON *m = ids->child; m; m = m->next) {
        size_t id;
        if (!tq_json_size(m, &id) || id >= r->t->n_tokens || !r->t->tokens[id].text)
            return tq_fail(r->err, "%s: the post-processor's id for %s is no token", r->file, name);
        if (*n == TQ_MAX_TEMPLATE) return tq_fail(r->err, "%s: the post-processor adds too many tokens", r->file);
        list[(*n)++] = (int)id;
    }
    return TQ_OK;
}

static int read_post_processor(reader *r, const cJSON *json, const char *type) {
    tq_tokenizer *t = r->t;
    bool seen = false;
    if (strcmp(type, "ByteLevel") == 0) return TQ_OK; /* it only trims offsets */
    if (strcmp(type, "TemplateProcessing") != 0)
        return tq_fail(r->err, "%s: post-processor %s is not supported", r->file, type);
    const cJSON *single = tq_json_get(json, "single");
    if (!single || !cJSON_IsArray(single) || t->n_before || t->n_after)
        return tq_fail(r->err, "%s: expected one TemplateProcessing with a list \"single\"", r->file);
    for (const cJSON *m = single->child; m; m = m->next) {
        const cJSON *special = tq_json_get(m, "SpecialToken");
        const char *sequence = tq_json_text(tq_json_get(m, "Sequence"), "id");
        if (special) {
            if (add_special(r, special, tq_json_get(json, "special_tokens"), seen ? t->after : t->before,
                            seen ? &t->n_after : &t->n_before))
                return TQ_FAIL;
        } else if (sequence && strcmp(sequence, "A") == 0 && !seen) {
            seen = true;
        } else {
            return tq_fail(r->err, "%s: the post-processor's template is not understood", r->file);
        }
    }
    return seen ? TQ_OK : tq_fail(r->err, "%s: the post-processor's template leaves the text out", r->file);
}

int tq_tokenizer_read_template(const char *file, const cJSON *root, tq_tokenizer *t, tq_err *err) {
    reader r = {.file = file, .t = t, .err = err};
    return each(&r, tq_json_get(root, "post_processor"), "post-processor", "processors", 0, read_post_processor);
}
