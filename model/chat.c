/* chat.c - messages to a prompt. The template's text is searched for marks, not run: what each format looks like is
 * written down here, and the variations that templates have are read off their literals. */
#include "model/chat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utf8proc.h>

#include "model/docs.h"
#include "model/tensor_writer.h"
#include "model/tokenizer_internal.h"

enum { MAX_TEMPLATE = 4 << 20, MAX_FILE = 64 << 20, MAX_VALUES = 4000000 };

struct tq_chat {
    tq_chat_format format;
    const tq_tokenizer *tok;
    char note[256];
    int bos;              /* where the template begins with it; else -1 */
    char *eos;            /* text of the end token: Mistral closes the assistant's turns with it */
    char *default_system; /* used when the conversation has none; or NULL */
    char *opening;        /* what follows the assistant's header by default, e.g. "<think>\n"; or NULL */
    bool trim;            /* white space around texts is stripped */
    bool drop_thoughts;   /* what stands before </think> in earlier answers is left out */
    bool dated;           /* Llama 3.1: the system turn always begins with two lines of dates */
    bool sys_tags;        /* Llama 2: <<SYS>>, and bos before each user turn */
    bool open_space, close_space, answer_space, eos_space; /* Mistral: "[INST] ", " [/INST]", " answer", "</s> " */
    int ends[TQ_MAX_EOS + 4];
    size_t n_ends;
};

/* A prompt as it is made: plain text gathers until a special token, so that it is cut into pieces as a whole. */
typedef struct prompt {
    const tq_chat *c;
    tq_buffer text;
    tq_ids ids;
    tq_err *err;
    bool ok;
} prompt;

static void flush(prompt *p) {
    bool first = p->ids.n == 0;
    if (p->ok && p->text.n > 0)
        p->ok = tq_encode_text(p->c->tok, p->text.data, p->text.n, first, &p->ids, p->err) == TQ_OK;
    p->text.n = 0;
}

static void put_bytes(prompt *p, const char *text, size_t n) {
    if (p->ok && !tq_buffer_add(&p->text, text, n)) {
        tq_fail(p->err, "out of memory for the prompt");
        p->ok = false;
    }
}

static void put(prompt *p, const char *text) {
    put_bytes(p, text, strlen(text));
}

static void put_id(prompt *p, int id) {
    flush(p);
    if (p->ok && !tq_ids_add(&p->ids, id)) {
        tq_fail(p->err, "out of memory for the prompt");
        p->ok = false;
    }
}

/* A token of the template, which is plain text when the tokenizer has not added it. */
static void put_token(prompt *p, const char *token) {
    int id = tq_tokenizer_id(p->c->tok, token);
    if (id >= 0 && p->c->tok->tokens[id].added)
        put_id(p, id);
    else
        put(p, token);
}

/* Python's str.strip. */
static tq_span strip(tq_span s) {
    utf8proc_int32_t c;
    while (s.n > 0) {
        utf8proc_ssize_t len = utf8proc_iterate((const utf8proc_uint8_t *)s.p, (utf8proc_ssize_t)s.n, &c);
        if (len < 1 || !(tq_is_space(c) || (c >= 0x1C && c <= 0x1F))) break;
        s.p += len;
        s.n -= (size_t)len;
    }
    while (s.n > 0) {
        size_t i = s.n - 1;
        while (i > 0 && ((unsigned char)s.p[i] & 0xC0) == 0x80)
            i--;
        utf8proc_ssize_t len = utf8proc_iterate((const utf8proc_uint8_t *)s.p + i, (utf8proc_ssize_t)(s.n - i), &c);
        if (len < 1 || !(tq_is_space(c) || (c >= 0x1C && c <= 0x1F))) break;
        s.n = i;
    }
    return s;
}

static tq_span message_text(const tq_chat *c, const tq_message *m) {
    static const char close[] = "</think>";
    tq_span s = {m->text, strlen(m->text)};
    if (c->drop_thoughts && strcmp(m->role, "assistant") == 0) {
        const char *at = s.p;
        while ((at = strstr(at, close))) {
            at += strlen(close);
            s.p = at;
        }
        if (s.p != m->text) s.p += strspn(s.p, "\n");
        s.n = strlen(s.p);
    }
    return c->trim ? strip(s) : s;
}

static void put_message(prompt *p, const tq_message *m) {
    tq_span s = message_text(p->c, m);
    put_bytes(p, s.p, s.n);
}

static bool is_role(const tq_message *m, const char *role) {
    return strcmp(m->role, role) == 0;
}

static void render_chatml(prompt *p, const tq_message *m, size_t n) {
    if (p->c->default_system && !(n > 0 && is_role(&m[0], "system"))) {
        put_token(p, "<|im_start|>");
        put(p, "system\n");
        put(p, p->c->default_system);
        put_token(p, "<|im_end|>");
        put(p, "\n");
    }
    for (size_t i = 0; i < n; i++) {
        put_token(p, "<|im_start|>");
        put(p, m[i].role);
        put(p, "\n");
        put_message(p, &m[i]);
        put_token(p, "<|im_end|>");
        put(p, "\n");
    }
    put_token(p, "<|im_start|>");
    put(p, "assistant\n");
}

static void put_llama3_header(prompt *p, const char *role) {
    put_token(p, "<|start_header_id|>");
    put(p, role);
    put_token(p, "<|end_header_id|>");
    put(p, "\n\n");
}

static void render_llama3(prompt *p, const tq_message *m, size_t n) {
    size_t i = 0;
    if (p->c->dated) {
        put_llama3_header(p, "system");
        put(p, "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n");
        if (n > 0 && is_role(&m[0], "system")) put_message(p, &m[i++]);
        put_token(p, "<|eot_id|>");
    }
    for (; i < n; i++) {
        put_llama3_header(p, m[i].role);
        put_message(p, &m[i]);
        put_token(p, "<|eot_id|>");
    }
    put_llama3_header(p, "assistant");
}

/* The system message goes into a user's turn: the last one (Mistral), or the first one in tags (Llama 2). */
static void render_mistral(prompt *p, const tq_message *m, size_t n) {
    const tq_chat *c = p->c;
    const tq_message *system = n > 0 && is_role(&m[0], "system") ? &m[0] : NULL;
    size_t first = system ? 1 : 0;
    size_t last = n;
    for (size_t i = first; i < n; i++)
        if (is_role(&m[i], "user")) last = i;
    for (size_t i = first; i < n; i++) {
        if (is_role(&m[i], "assistant")) {
            if (c->answer_space) put(p, " ");
            put_message(p, &m[i]);
            if (c->sys_tags) put(p, " ");
            put_token(p, c->eos);
            if (c->eos_space) put(p, " ");
            continue;
        }
        if (c->sys_tags && c->bos >= 0 && i > first) put_id(p, c->bos);
        put_token(p, "[INST]");
        if (c->open_space) put(p, " ");
        if (system && i == (c->sys_tags ? first : last)) {
            if (c->sys_tags) put(p, "<<SYS>>\n");
            put_message(p, system);
            put(p, c->sys_tags ? "\n<</SYS>>\n\n" : "\n\n");
        }
        put_message(p, &m[i]);
        if (c->close_space) put(p, " ");
        put_token(p, "[/INST]");
    }
}

/* A model without a template continues text: the messages, a line each, and no more. */
static void render_plain(prompt *p, const tq_message *m, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (i > 0) put(p, "\n");
        put_message(p, &m[i]);
    }
}

/* In the order in which they are looked for. */
static const struct format {
    const char *name;
    const char *mark; /* in the template's text; NULL: none */
    void (*render)(prompt *p, const tq_message *m, size_t n);
    const char *ends[4]; /* tokens that end the assistant's turn, besides the config's */
} formats[TQ_CHAT_COUNT] = {
    [TQ_CHAT_CHATML] = {"ChatML", "<|im_start|>", render_chatml, {"<|im_end|>", "<|endoftext|>"}},
    [TQ_CHAT_LLAMA3] = {"Llama 3",
                        "<|start_header_id|>",
                        render_llama3,
                        {"<|eot_id|>", "<|end_of_text|>", "<|eom_id|>"}},
    [TQ_CHAT_MISTRAL] = {"Mistral", "[INST]", render_mistral, {"</s>"}},
    [TQ_CHAT_PLAIN] = {"plain text", NULL, render_plain, {0}},
};

/* A literal of the template's source up to `stop`, its escapes resolved; NULL when it is no plain literal. */
static char *literal(const char *p, const char *stop) {
    const char *end = strstr(p, stop);
    size_t n = end ? (size_t)(end - p) : 0;
    if (n == 0 || memchr(p, '{', n) || memchr(p, '}', n)) return NULL;
    char *out = malloc(n + 1);
    size_t k = 0;
    for (size_t i = 0; out && i < n; i++) {
        if (p[i] == '\\' && i + 1 < n)
            out[k++] = p[++i] == 'n' ? '\n' : p[i];
        else if (p[i] == '\'' || p[i] == '"') { /* the literal ends: what follows is an expression */
            free(out);
            return NULL;
        } else
            out[k++] = p[i];
    }
    if (out) out[k] = '\0';
    return out;
}

/* Qwen2.5, SmolLM2: '<|im_start|>system\nYou are ...<|im_end|>' as one literal. */
static char *find_default_system(const char *text) {
    static const char head[] = "<|im_start|>system";
    for (const char *p = text; (p = strstr(p, head));) {
        p += strlen(head);
        size_t skip = p[0] == '\n' ? 1 : p[0] == '\\' && p[1] == 'n' ? 2 : 0;
        char *found = skip ? literal(p + skip, "<|im_end|>") : NULL;
        if (found) return found;
    }
    return NULL;
}

/* Qwen3.5: after the assistant's header, the branch taken when enable_thinking is not set: the one after else. */
static char *find_opening(const char *text) {
    const char *at = NULL;
    for (const char *p = text; (p = strstr(p, "add_generation_prompt")); p++)
        at = p;
    at = at ? strstr(at, "enable_thinking is") : NULL;
    at = at ? strstr(at, "else") : NULL;
    at = at ? strstr(at, "<think>") : NULL;
    if (!at || (at[-1] != '\'' && at[-1] != '"')) return NULL;
    const char quote[] = {at[-1], '\0'};
    return literal(at, quote);
}

static void read_variations(tq_chat *c, const char *text) {
    c->trim = strstr(text, "|trim") || strstr(text, "| trim") || strstr(text, ".strip()");
    switch (c->format) {
    case TQ_CHAT_CHATML:
        c->default_system = find_default_system(text);
        c->opening = find_opening(text);
        c->drop_thoughts = strstr(text, "</think>") != NULL;
        c->trim = strstr(text, "|trim") || strstr(text, "| trim");
        break;
    case TQ_CHAT_LLAMA3:
        c->dated = strstr(text, "Cutting Knowledge Date") != NULL;
        if (strstr(text, "strftime_now"))
            snprintf(c->note, sizeof c->note, "the chat template names the day; 26 Jul 2024 is used");
        break;
    case TQ_CHAT_MISTRAL:
        c->sys_tags = strstr(text, "<<SYS>>") != NULL;
        c->open_space = strstr(text, "[INST] ") != NULL;
        c->close_space = strstr(text, " [/INST]") != NULL;
        c->answer_space = strstr(text, "' ' + message") || strstr(text, "\" \" + message") ||
                          strstr(text, "' ' + content") || strstr(text, "' '  + content");
        c->eos_space = strstr(text, "eos_token + ' '") || strstr(text, "eos_token + \" \"") ||
                       strstr(text, "eos_token+' '") || strstr(text, "eos_token ~ ' '");
        c->trim = c->sys_tags && c->trim;
        break;
    case TQ_CHAT_PLAIN:
    case TQ_CHAT_COUNT:
        break;
    }
}

static const char *token_text(const cJSON *config, const char *name) {
    const cJSON *m = config ? tq_json_get(config, name) : NULL;
    return cJSON_IsObject(m) ? tq_json_text(m, "content") : cJSON_GetStringValue(m);
}

/* chat_template of tokenizer_config.json: a text, or a list of named texts. */
static const char *config_template(const cJSON *config) {
    const cJSON *m = config ? tq_json_get(config, "chat_template") : NULL;
    if (!m || !cJSON_IsArray(m)) return cJSON_GetStringValue(m);
    for (const cJSON *t = m->child; t; t = t->next) {
        const char *name = tq_json_text(t, "name");
        if (name && strcmp(name, "default") == 0) return tq_json_text(t, "template");
    }
    return NULL;
}

/* Either file may be absent. */
static int read_files(const tq_docs *docs, char **file, cJSON **config, tq_err *err) {
    static const char name[] = "tokenizer_config.json";
    char *path = docs->dir ? tq_path_join(docs->dir, "chat_template.jinja") : NULL;
    int rc = TQ_OK;
    if (docs->dir && !path) rc = tq_fail(err, "%s: out of memory", docs->dir);
    if (path && access(path, F_OK) == 0) rc = tq_read_file(path, MAX_TEMPLATE, file, NULL, err);
    if (!rc && tq_docs_has(docs, name) && !(*config = tq_docs_load(docs, name, MAX_FILE, MAX_VALUES, err)))
        rc = TQ_FAIL;
    free(path);
    return rc;
}

int tq_chat_template(const tq_docs *d, char **text, tq_err *err) {
    cJSON *config = NULL;
    int rc = read_files(d, text, &config, err);
    const char *own = rc == TQ_OK && !*text ? config_template(config) : NULL;
    if (own && !(*text = strdup(own))) rc = tq_fail(err, "out of memory for the chat template");
    cJSON_Delete(config);
    return rc;
}

static void add_end(tq_chat *c, int id) {
    if (id >= 0 && !tq_chat_is_end(c, id)) c->ends[c->n_ends++] = id;
}

static void find_ends(tq_chat *c, const tq_config *cfg) {
    for (size_t i = 0; i < cfg->n_eos; i++)
        add_end(c, cfg->eos[i]);
    for (const char *const *e = formats[c->format].ends; *e; e++) {
        int id = tq_tokenizer_id(c->tok, *e);
        if (id >= 0 && c->tok->tokens[id].added) add_end(c, id);
    }
}

static int set_up(tq_chat *c, const char *text, const cJSON *config, const tq_config *cfg, tq_err *err) {
    c->format = TQ_CHAT_PLAIN;
    for (int f = 0; text && f < TQ_CHAT_PLAIN && c->format == TQ_CHAT_PLAIN; f++)
        if (strstr(text, formats[f].mark)) c->format = (tq_chat_format)f;
    if (c->format == TQ_CHAT_PLAIN)
        snprintf(c->note, sizeof c->note, "%s: the conversation is given to the model as plain text",
                 text ? "the chat template is none of ChatML, Llama 3 and Mistral" : "the model has no chat template");
    if (text) read_variations(c, text);

    const char *bos = token_text(config, "bos_token");
    c->bos = bos ? tq_tokenizer_id(c->tok, bos) : cfg->bos;
    if (!text || c->format == TQ_CHAT_PLAIN || !strstr(text, "bos_token")) c->bos = -1;
    const char *eos = token_text(config, "eos_token");
    size_t n;
    const char *eos_bytes = cfg->n_eos > 0 ? tq_tokenizer_bytes(c->tok, cfg->eos[0], &n) : NULL;
    c->eos = strdup(eos ? eos : eos_bytes ? c->tok->tokens[cfg->eos[0]].text : "</s>");
    find_ends(c, cfg);
    return c->eos ? TQ_OK : tq_fail(err, "out of memory for the chat template");
}

static int load(const tq_docs *docs, const tq_tokenizer *tok, const tq_config *cfg, tq_chat **out, tq_err *err) {
    char *file = NULL;
    cJSON *config = NULL;
    *out = NULL;
    tq_chat *c = calloc(1, sizeof *c);
    if (!c) return tq_fail(err, "out of memory for the chat template");
    c->tok = tok;
    int rc = read_files(docs, &file, &config, err);
    if (!rc) rc = set_up(c, file ? file : config_template(config), config, cfg, err);
    free(file);
    cJSON_Delete(config);
    if (rc) {
        tq_chat_free(c);
        return rc;
    }
    *out = c;
    return TQ_OK;
}

int tq_chat_load(const char *dir, const tq_tokenizer *tok, const tq_config *cfg, tq_chat **out, tq_err *err) {
    tq_docs docs = tq_docs_in(dir);
    return load(&docs, tok, cfg, out, err);
}

int tq_chat_of(const tq_source *source, const tq_tokenizer *tok, const tq_config *cfg, tq_chat **out, tq_err *err) {
    tq_docs docs = tq_docs_of(source);
    return load(&docs, tok, cfg, out, err);
}

void tq_chat_free(tq_chat *c) {
    if (!c) return;
    free(c->eos);
    free(c->default_system);
    free(c->opening);
    free(c);
}

tq_chat_format tq_chat_format_of(const tq_chat *c) {
    return c->format;
}
const char *tq_chat_format_name(tq_chat_format f) {
    return formats[f].name;
}
const char *tq_chat_note(const tq_chat *c) {
    return c->note;
}

/* "<think>\n" begins with a token, the rest is text. */
static void put_opening(prompt *p, const char *text) {
    static const char *const tokens[] = {"<think>", "</think>"};
    while (*text) {
        size_t i = 0;
        while (i < 2 && strncmp(text, tokens[i], strlen(tokens[i])) != 0)
            i++;
        if (i < 2) {
            put_token(p, tokens[i]);
            text += strlen(tokens[i]);
        } else {
            put_bytes(p, text++, 1);
        }
    }
}

int tq_chat_encode(const tq_chat *c, const tq_message *messages, size_t n, int **ids, size_t *count, tq_err *err) {
    prompt p = {.c = c, .err = err, .ok = true};
    *ids = NULL;
    *count = 0;
    for (size_t i = 0; i < n; i++)
        if (!is_role(&messages[i], "user") && !is_role(&messages[i], "assistant") &&
            !(i == 0 && is_role(&messages[i], "system")))
            return tq_fail(err, "message %zu has the role %s: expected user, assistant, or system first", i,
                           messages[i].role);
    if (c->format == TQ_CHAT_PLAIN)
        for (size_t i = 0; i < c->tok->n_before; i++)
            put_id(&p, c->tok->before[i]);
    if (c->bos >= 0) put_id(&p, c->bos);
    formats[c->format].render(&p, messages, n);
    if (c->opening) put_opening(&p, c->opening);
    flush(&p);
    free(p.text.data);
    if (p.ok && !p.ids.data) { /* nothing to say is no failure */
        p.ok = tq_ids_add(&p.ids, 0);
        p.ids.n = 0;
    }
    if (!p.ok) {
        free(p.ids.data);
        return TQ_FAIL;
    }
    *ids = p.ids.data;
    *count = p.ids.n;
    return TQ_OK;
}

int tq_chat_is_end(const tq_chat *c, int id) {
    for (size_t i = 0; i < c->n_ends; i++)
        if (c->ends[i] == id) return 1;
    return 0;
}
