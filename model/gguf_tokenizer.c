/* gguf_tokenizer.c - a GGUF file's vocabulary as the tokenizer.json that it stands for: one reader checks both. Two
 * models are known: `gpt2`, byte-level BPE with merges, and `llama`, BPE by scores with byte fallback. Facts: the
 * `gguf` package 0.19; the patterns by name: llama.cpp's table and the tokenizer.json files that the names stand for.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/gguf_export.h"
#include "model/tokenizer_internal.h"

#define METASPACE "\xE2\x96\x81" /* U+2581 */

/* Types of tokens, as the file numbers them. */
enum { NORMAL = 1, UNKNOWN, CONTROL, USER, UNUSED, BYTE };

enum { PATTERNS = 4 };
#define WORDS "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define LLAMA3(digits)                                                                                                 \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits                                               \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

#define UPPER_THEN_LOWER                                                                                               \
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+|"                       \
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*"

/* How text is cut, by the name in tokenizer.ggml.pre: patterns that are applied one after the other. */
static const struct pre_row {
    const char *name;
    bool nfc;           /* normalized first */
    bool ignore_merges; /* a piece that is a token is that token */
    bool bos;           /* begins with bos unless the file says otherwise */
    const char *patterns[PATTERNS];
} pres[] = {
    {"default",
     false,
     false,
     false,
     {"[\\p{P}\\$\\+<=>\\^~\\|]+", "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)",
      "\\p{N}+", "[0-9][0-9][0-9]"}},
    {"gpt-2", false, false, false, {WORDS}},
    {"phi-2", false, false, false, {WORDS}},
    {"olmo", false, false, false, {WORDS}},
    {"mpt", false, false, false, {WORDS}},
    {"jais", false, false, false, {WORDS}},
    {"smollm", false, false, false, {"\\p{N}", WORDS}},
    {"command-r", false, false, false, {"\\p{N}", WORDS}},
    {"exaone", false, false, false, {"\\p{N}", WORDS}},
    {"minerva-7b", false, false, false, {"\\p{N}", WORDS}},
    {"starcoder", false, false, false, {"\\p{N}", WORDS}},
    {"refact", false, false, false, {"\\p{N}", WORDS}},
    {"codeshell", false, false, false, {"\\p{N}", WORDS}},
    {"llama-bpe", false, true, true, {LLAMA3("\\p{N}{1,3}")}},
    {"llama3", false, true, true, {LLAMA3("\\p{N}{1,3}")}},
    {"llama-v3", false, true, true, {LLAMA3("\\p{N}{1,3}")}},
    {"falcon3", false, true, true, {LLAMA3("\\p{N}{1,3}")}},
    {"pixtral", false, true, true, {LLAMA3("\\p{N}{1,3}")}},
    {"dbrx", false, false, false, {LLAMA3("\\p{N}{1,3}")}},
    {"smaug-bpe", false, false, false, {LLAMA3("\\p{N}{1,3}")}},
    {"qwen2", true, false, false, {LLAMA3("\\p{N}")}},
    {"qwen35",
     true,
     false,
     false,
     {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}"
      "| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}},
    {"stablelm2", false, false, false, {LLAMA3("\\p{N}")}},
    {"tekken",
     false,
     true,
     true,
     {UPPER_THEN_LOWER "|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}},
    {"deepseek-r1-qwen", true, false, false, {LLAMA3("\\p{N}")}},
};

/* The patterns by which a tokenizer.json cuts text, gathered from nested steps; false when there are others. */
static bool gather_patterns(const cJSON *step, const char *list[PATTERNS], size_t *n) {
    const char *type = step ? tq_json_text(step, "type") : NULL, *pattern = NULL;
    if (!type) return false;
    if (strcmp(type, "Sequence") == 0) {
        const cJSON *steps = tq_json_get(step, "pretokenizers");
        for (const cJSON *s = steps ? steps->child : NULL; s; s = s->next)
            if (!gather_patterns(s, list, n)) return false;
        return true;
    }
    if (strcmp(type, "Split") == 0) {
        const cJSON *inner = tq_json_get(step, "pattern");
        const char *behavior = tq_json_text(step, "behavior");
        pattern = inner ? tq_json_text(inner, "Regex") : NULL;
        if (!pattern || !behavior || strcmp(behavior, "Isolated") != 0) return false;
    } else if (strcmp(type, "Digits") == 0 && cJSON_IsTrue(tq_json_get(step, "individual_digits"))) {
        pattern = "\\p{N}";
    } else if (strcmp(type, "ByteLevel") == 0 && cJSON_IsFalse(tq_json_get(step, "add_prefix_space"))) {
        if (cJSON_IsFalse(tq_json_get(step, "use_regex"))) return true;
        pattern = WORDS;
    }
    if (!pattern || *n == PATTERNS) return false;
    list[(*n)++] = pattern;
    return true;
}

const char *tq_gguf_pre_of(const cJSON *tokenizer) {
    const char *list[PATTERNS] = {0};
    const cJSON *model = tq_json_get(tokenizer, "model");
    bool whole = model && cJSON_IsTrue(tq_json_get(model, "ignore_merges"));
    size_t n = 0;
    if (!gather_patterns(tq_json_get(tokenizer, "pre_tokenizer"), list, &n)) return NULL;
    for (size_t i = 0; i < sizeof pres / sizeof *pres; i++) {
        bool same = pres[i].ignore_merges == whole;
        for (size_t k = 0; k < PATTERNS && same; k++)
            same = (!pres[i].patterns[k] && !list[k]) ||
                   (pres[i].patterns[k] && list[k] && strcmp(pres[i].patterns[k], list[k]) == 0);
        if (same) return pres[i].name;
    }
    return NULL;
}

/* What is read of the file. */
typedef struct vocabulary {
    const tq_gguf_job *job;
    tq_gguf_text *tokens;
    size_t n;
    const tq_gguf_value *types, *scores; /* NULL: none */
    tq_err *err;
} vocabulary;

static const tq_gguf_value *find(const vocabulary *v, const char *name) {
    char key[96];
    (void)snprintf(key, sizeof key, "tokenizer.ggml.%s", name);
    return tq_gguf_find(v->job->meta, key);
}

static int no_memory(const vocabulary *v) {
    return tq_fail(v->err, "%s: out of memory for the tokenizer", v->job->file);
}

static int type_of(const vocabulary *v, size_t id) {
    return v->types ? (int)tq_gguf_number(v->types, id) : NORMAL;
}

static bool flag(const vocabulary *v, const char *name, bool def) {
    const tq_gguf_value *value = find(v, name);
    return value && !value->array ? tq_gguf_number(value, 0) != 0 : def;
}

/* A text as a C string of its own; NULL, with an error, when it is none or memory is short. */
static char *text_of(const vocabulary *v, tq_gguf_text t, const char *what, size_t i) {
    if (memchr(t.p, 0, t.n) || !tq_utf8_valid(t.p, t.n)) {
        tq_fail(v->err, "%s: %s %zu of the vocabulary is no text", v->job->file, what, i);
        return NULL;
    }
    char *text = strndup(t.p, t.n);
    if (!text) no_memory(v);
    return text;
}

static int read_lists(vocabulary *v) {
    const tq_gguf_value *tokens = find(v, "tokens");
    v->types = find(v, "token_type");
    v->scores = find(v, "scores");
    if (!tokens || !tokens->array || tokens->kind != TQ_GGUF_STRING || tokens->count == 0) {
        tq_fail(v->err, "%s: tokenizer.ggml.tokens is no list of texts", v->job->file);
        return TQ_FAIL;
    }
    v->n = tokens->count;
    if (v->n > TQ_MAX_TOKEN_ID) {
        tq_fail(v->err, "%s: %zu tokens, at most %zu are read", v->job->file, v->n, TQ_MAX_TOKEN_ID);
        return TQ_FAIL;
    }
    if ((v->types && (!v->types->array || v->types->count != v->n)) ||
        (v->scores && (!v->scores->array || v->scores->count != v->n))) {
        tq_fail(v->err, "%s: token_type and scores must have an entry for each of %zu tokens", v->job->file, v->n);
        return TQ_FAIL;
    }
    v->tokens = tq_gguf_strings(tokens);
    if (v->tokens) return TQ_OK;
    no_memory(v);
    return TQ_FAIL;
}

/* Tokens that are looked for in the text before it is cut. */
static int add_added(const vocabulary *v, cJSON *root) {
    cJSON *list = cJSON_AddArrayToObject(root, "added_tokens");
    if (!list) return no_memory(v);
    for (size_t i = 0; i < v->n; i++) {
        int type = type_of(v, i);
        if ((type != CONTROL && type != USER && type != UNKNOWN) || v->tokens[i].n == 0) continue;
        char *text = text_of(v, v->tokens[i], "token", i);
        if (!text) return TQ_FAIL;
        cJSON *token = cJSON_CreateObject();
        bool ok = token && cJSON_AddItemToArray(list, token) && cJSON_AddNumberToObject(token, "id", (double)i) &&
                  cJSON_AddStringToObject(token, "content", text) && cJSON_AddFalseToObject(token, "single_word") &&
                  cJSON_AddFalseToObject(token, "lstrip") && cJSON_AddFalseToObject(token, "rstrip") &&
                  cJSON_AddFalseToObject(token, "normalized") &&
                  cJSON_AddBoolToObject(token, "special", type != USER) &&
                  cJSON_AddBoolToObject(token, "always", type == USER);
        free(text);
        if (!ok) return no_memory(v);
    }
    return TQ_OK;
}

static int add_vocab(const vocabulary *v, cJSON *model) {
    cJSON *vocab = cJSON_AddObjectToObject(model, "vocab");
    if (!vocab) return no_memory(v);
    for (size_t i = 0; i < v->n; i++) {
        char *text = text_of(v, v->tokens[i], "token", i);
        if (!text) return TQ_FAIL;
        bool ok = cJSON_AddNumberToObject(vocab, text, (double)i);
        free(text);
        if (!ok) return no_memory(v);
    }
    return TQ_OK;
}

static int add_merges(const vocabulary *v, cJSON *model) {
    const tq_gguf_value *merges = find(v, "merges");
    tq_gguf_text *list = tq_gguf_strings(merges);
    cJSON *out = cJSON_AddArrayToObject(model, "merges");
    int rc = TQ_OK;
    if (!merges || !merges->array || merges->kind != TQ_GGUF_STRING)
        return tq_fail(v->err, "%s: tokenizer.ggml.merges is no list of texts", v->job->file);
    if (!list || !out) rc = no_memory(v);
    for (size_t i = 0; list && i < merges->count && !rc; i++) {
        char *text = text_of(v, list[i], "merge", i);
        if (!text || !cJSON_AddItemToArray(out, cJSON_CreateString(text))) rc = TQ_FAIL;
        free(text);
    }
    free(list);
    return rc;
}

static int add_scores(const vocabulary *v, cJSON *model) {
    cJSON *list = cJSON_AddArrayToObject(model, "scores");
    if (!v->scores) return tq_fail(v->err, "%s: tokenizer.ggml.scores is missing", v->job->file);
    for (size_t i = 0; i < v->n; i++) {
        int type = type_of(v, i);
        double score = tq_gguf_number(v->scores, i);
        if (!isfinite(score)) return tq_fail(v->err, "%s: token %zu has no finite score", v->job->file, i);
        bool joined = type == NORMAL || type == USER || type == UNUSED;
        if (!cJSON_AddItemToArray(list, joined ? cJSON_CreateNumber(score) : cJSON_CreateNull())) return no_memory(v);
    }
    return TQ_OK;
}

static cJSON *add_step(cJSON *list, const char *type) {
    cJSON *step = cJSON_CreateObject();
    return step && cJSON_AddItemToArray(list, step) && cJSON_AddStringToObject(step, "type", type) ? step : NULL;
}

/* {"type": "Sequence", MEMBERS: []} under `name`; the list. */
static cJSON *add_sequence(cJSON *root, const char *name, const char *members) {
    cJSON *sequence = cJSON_AddObjectToObject(root, name);
    return sequence && cJSON_AddStringToObject(sequence, "type", "Sequence") ? cJSON_AddArrayToObject(sequence, members)
                                                                             : NULL;
}

static bool add_split(cJSON *list, const char *regex) {
    cJSON *step = add_step(list, "Split"), *pattern = step ? cJSON_AddObjectToObject(step, "pattern") : NULL;
    return pattern && cJSON_AddStringToObject(pattern, "Regex", regex) &&
           cJSON_AddStringToObject(step, "behavior", "Isolated") && cJSON_AddFalseToObject(step, "invert");
}

static bool add_byte_level(cJSON *step) {
    return step && cJSON_AddFalseToObject(step, "add_prefix_space") && cJSON_AddTrueToObject(step, "trim_offsets") &&
           cJSON_AddFalseToObject(step, "use_regex");
}

static const struct pre_row *find_pre(const vocabulary *v) {
    tq_gguf_text name = tq_gguf_string(find(v, "pre"));
    if (!name.p) return &pres[0];
    for (size_t i = 0; i < sizeof pres / sizeof *pres; i++)
        if (strlen(pres[i].name) == name.n && memcmp(pres[i].name, name.p, name.n) == 0) return &pres[i];
    tq_fail(v->err, "%s: pre-tokenizer %.*s is not supported", v->job->file, name.n < 40 ? (int)name.n : 40, name.p);
    return NULL;
}

static int add_gpt2(const vocabulary *v, cJSON *root, cJSON *model) {
    const struct pre_row *pre = find_pre(v);
    if (!pre) return TQ_FAIL;
    cJSON *normal = pre->nfc ? cJSON_AddObjectToObject(root, "normalizer") : NULL;
    cJSON *list = add_sequence(root, "pre_tokenizer", "pretokenizers"), *decoder;
    bool ok = list && (!pre->nfc || (normal && cJSON_AddStringToObject(normal, "type", "NFC")));
    for (size_t i = 0; i < PATTERNS && pre->patterns[i] && ok; i++)
        ok = add_split(list, pre->patterns[i]);
    decoder = ok ? cJSON_AddObjectToObject(root, "decoder") : NULL;
    ok = ok && add_byte_level(add_step(list, "ByteLevel")) && decoder &&
         cJSON_AddStringToObject(decoder, "type", "ByteLevel") && add_byte_level(decoder) &&
         cJSON_AddBoolToObject(model, "ignore_merges", pre->ignore_merges);
    return ok ? add_merges(v, model) : no_memory(v);
}

static bool add_replace(cJSON *step, const char *from, const char *to) {
    cJSON *pattern = step ? cJSON_AddObjectToObject(step, "pattern") : NULL;
    return pattern && cJSON_AddStringToObject(pattern, "String", from) && cJSON_AddStringToObject(step, "content", to);
}

static bool add_strip(cJSON *step) {
    return step && cJSON_AddStringToObject(step, "content", " ") && cJSON_AddNumberToObject(step, "start", 1) &&
           cJSON_AddNumberToObject(step, "stop", 0);
}

static int add_llama(const vocabulary *v, cJSON *root, cJSON *model) {
    bool prefix = flag(v, "add_space_prefix", true);
    size_t unknown;
    cJSON *normal = add_sequence(root, "normalizer", "normalizers"), *step;
    bool ok = normal != NULL;
    if (prefix) ok = ok && (step = add_step(normal, "Prepend")) && cJSON_AddStringToObject(step, "prepend", METASPACE);
    ok = ok && add_replace(add_step(normal, "Replace"), " ", METASPACE);
    cJSON *decoders = ok ? add_sequence(root, "decoder", "decoders") : NULL;
    ok = decoders && add_replace(add_step(decoders, "Replace"), METASPACE, " ") && add_step(decoders, "ByteFallback") &&
         add_step(decoders, "Fuse") && (!prefix || add_strip(add_step(decoders, "Strip"))) &&
         cJSON_AddTrueToObject(model, "byte_fallback") && cJSON_AddTrueToObject(model, "fuse_unk");
    if (ok && tq_gguf_size(find(v, "unknown_token_id"), 0, v->n - 1, &unknown)) {
        char *text = text_of(v, v->tokens[unknown], "token", unknown);
        ok = text && cJSON_AddStringToObject(model, "unk_token", text);
        free(text);
    }
    return ok ? add_scores(v, model) : no_memory(v);
}

/* Tokenizers by tokenizer.ggml.model. */
static const struct model_row {
    const char *name;
    int (*add)(const vocabulary *v, cJSON *root, cJSON *model);
    bool bos; /* begins with bos unless the file says otherwise */
} models[] = {
    {"gpt2", add_gpt2, false},
    {"llama", add_llama, true},
};

static const struct model_row *find_model(const vocabulary *v) {
    tq_gguf_text name = tq_gguf_string(find(v, "model"));
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        if (name.p && strlen(models[i].name) == name.n && memcmp(models[i].name, name.p, name.n) == 0)
            return &models[i];
    tq_fail(v->err, "%s: tokenizer model %.*s is not supported: expected gpt2 or llama", v->job->file,
            name.n < 40 ? (int)name.n : 40, name.p ? name.p : "");
    return NULL;
}

/* {KIND: {"id": ID, "type_id": 0}} at the end of a template's list. */
static bool add_piece(cJSON *list, const char *kind, const char *id) {
    cJSON *piece = cJSON_CreateObject(), *inner;
    return piece && cJSON_AddItemToArray(list, piece) && (inner = cJSON_AddObjectToObject(piece, kind)) &&
           cJSON_AddStringToObject(inner, "id", id) && cJSON_AddNumberToObject(inner, "type_id", 0);
}

/* A special token in the templates, and what it stands for. */
static bool add_special(const vocabulary *v, cJSON *const lists[2], cJSON *specials, size_t id) {
    char *text = text_of(v, v->tokens[id], "token", id);
    cJSON *entry = text ? cJSON_AddObjectToObject(specials, text) : NULL, *ids, *tokens;
    bool ok = entry && add_piece(lists[0], "SpecialToken", text) && add_piece(lists[1], "SpecialToken", text) &&
              cJSON_AddStringToObject(entry, "id", text) && (ids = cJSON_AddArrayToObject(entry, "ids")) &&
              cJSON_AddItemToArray(ids, cJSON_CreateNumber((double)id)) &&
              (tokens = cJSON_AddArrayToObject(entry, "tokens")) &&
              cJSON_AddItemToArray(tokens, cJSON_CreateString(text));
    free(text);
    return ok;
}

/* What stands around a text. The second template, of pairs of texts, is for other programs. */
static int add_template(const vocabulary *v, cJSON *root, bool bos_default) {
    size_t bos = 0, eos = 0;
    bool has_bos = tq_gguf_size(find(v, "bos_token_id"), 0, v->n - 1, &bos) && flag(v, "add_bos_token", bos_default);
    bool has_eos = tq_gguf_size(find(v, "eos_token_id"), 0, v->n - 1, &eos) && flag(v, "add_eos_token", false);
    if (!has_bos && !has_eos) return TQ_OK;
    cJSON *post = cJSON_AddObjectToObject(root, "post_processor");
    cJSON *lists[2] = {cJSON_AddArrayToObject(post, "single"), cJSON_AddArrayToObject(post, "pair")};
    cJSON *specials = cJSON_AddObjectToObject(post, "special_tokens");
    bool ok = specials && lists[0] && lists[1] && cJSON_AddStringToObject(post, "type", "TemplateProcessing") &&
              (!has_bos || add_special(v, lists, specials, bos)) && add_piece(lists[0], "Sequence", "A") &&
              add_piece(lists[1], "Sequence", "A") && add_piece(lists[1], "Sequence", "B") &&
              (!has_eos || (eos == bos && has_bos) || add_special(v, lists, specials, eos));
    return ok ? TQ_OK : no_memory(v);
}

int tq_gguf_tokenizer(const tq_gguf_job *j, cJSON *root, tq_err *err) {
    vocabulary v = {.job = j, .err = err};
    const struct model_row *m = find_model(&v);
    int rc = m ? read_lists(&v) : TQ_FAIL;
    if (!rc && !cJSON_AddStringToObject(root, "version", "1.0")) rc = no_memory(&v);
    cJSON *model = cJSON_AddObjectToObject(root, "model");
    if (!rc && (!model || !cJSON_AddStringToObject(model, "type", "BPE"))) rc = no_memory(&v);
    if (!rc) rc = add_vocab(&v, model);
    if (!rc) rc = add_added(&v, root);
    if (!rc && m) rc = m->add(&v, root, model);
    if (!rc && m) {
        const struct pre_row *pre = m->add == add_gpt2 ? find_pre(&v) : NULL;
        rc = add_template(&v, root, m->bos || (pre && pre->bos));
    }
    free(v.tokens);
    return rc;
}

static int add_token_text(const vocabulary *v, cJSON *root, const char *json, const char *gguf) {
    size_t id;
    if (!tq_gguf_size(find(v, gguf), 0, v->n - 1, &id)) return TQ_OK;
    char *text = text_of(v, v->tokens[id], "token", id);
    bool ok = text && cJSON_AddStringToObject(root, json, text);
    free(text);
    return ok ? TQ_OK : TQ_FAIL;
}

int tq_gguf_tokenizer_config(const tq_gguf_job *j, cJSON *root, tq_err *err) {
    vocabulary v = {.job = j, .err = err};
    int rc = read_lists(&v);
    if (!rc) rc = add_token_text(&v, root, "bos_token", "bos_token_id");
    if (!rc) rc = add_token_text(&v, root, "eos_token", "eos_token_id");
    tq_gguf_text source = tq_gguf_string(tq_gguf_find(j->meta, "tokenizer.chat_template"));
    if (!rc && source.p) {
        char *text = text_of(&v, source, "chat template", 0);
        rc = text && cJSON_AddStringToObject(root, "chat_template", text) ? TQ_OK : TQ_FAIL;
        free(text);
    }
    free(v.tokens);
    return rc;
}
