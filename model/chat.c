/* chat.c - messages to a prompt: the template is rendered, and what it says becomes tokens. */
#include "model/chat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "model/chat_internal.h"
#include "model/jinja.h"
#include "model/tokenizer_internal.h"

struct tq_chat {
    const tq_tokenizer *tok;
    tq_jinja *template; /* NULL: plain text */
    cJSON *tokens;      /* texts of special tokens, by the names that templates know them by */
    time_t now;         /* what the template is told: of one session, so that a conversation's beginning stays */
    char note[512];
    int ends[TQ_MAX_EOS + 16];
    size_t n_ends;
};

bool tq_think_parse(const char *text, tq_think *out) {
    static const char *const names[] = {[TQ_THINK_DEFAULT] = "default", [TQ_THINK_ON] = "on", [TQ_THINK_OFF] = "off"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(text, names[i]) == 0) {
            *out = (tq_think)i;
            return true;
        }
    return false;
}

/* --- rendering --- */

static bool add_message(cJSON *list, const tq_message *m) {
    tq_buffer text = {0};
    bool ok = tq_utf8_lossy(m->text, strlen(m->text), &text) && tq_buffer_add(&text, "", 1);
    cJSON *item = ok ? cJSON_CreateObject() : NULL;
    ok = item && cJSON_AddItemToArray(list, item) && cJSON_AddStringToObject(item, "role", m->role) &&
         cJSON_AddStringToObject(item, "content", text.data);
    free(text.data);
    return ok;
}

/* As transformers' apply_chat_template sets them. */
static cJSON *variables(const tq_chat *c, const tq_message *messages, size_t n, tq_think think, bool prompt) {
    cJSON *vars = cJSON_Duplicate(c->tokens, true);
    cJSON *list = vars ? cJSON_AddArrayToObject(vars, "messages") : NULL;
    bool ok = list && cJSON_AddNullToObject(vars, "tools") && cJSON_AddNullToObject(vars, "documents") &&
              cJSON_AddBoolToObject(vars, "add_generation_prompt", prompt);
    for (size_t i = 0; ok && i < n; i++)
        ok = add_message(list, &messages[i]);
    if (ok && think != TQ_THINK_DEFAULT)
        ok = cJSON_AddBoolToObject(vars, "enable_thinking", think == TQ_THINK_ON) &&
             cJSON_AddBoolToObject(vars, "thinking", think == TQ_THINK_ON);
    if (ok) return vars;
    cJSON_Delete(vars);
    return NULL;
}

static int render(const tq_chat *c, const tq_message *messages, size_t n, tq_think think, bool prompt,
                  tq_rendering *out, tq_err *err) {
    *out = (tq_rendering){0};
    cJSON *vars = variables(c, messages, n, think, prompt);
    int rc = vars ? tq_jinja_render(c->template, vars, c->now, out, err) : tq_fail(err, "out of memory for the prompt");
    cJSON_Delete(vars);
    return rc;
}

/* A model without a template continues text: the messages, a line each, and no more. */
static int encode_plain(const tq_chat *c, const tq_message *messages, size_t n, tq_ids *ids, tq_err *err) {
    tq_buffer text = {0};
    bool ok = true;
    for (size_t i = 0; ok && i < c->tok->n_before; i++)
        ok = tq_ids_add(ids, c->tok->before[i]);
    for (size_t i = 0; ok && i < n; i++)
        ok = (i == 0 || tq_buffer_add(&text, "\n", 1)) &&
             tq_buffer_add(&text, messages[i].text, strlen(messages[i].text));
    int rc = ok ? TQ_OK : tq_fail(err, "out of memory for the prompt");
    if (!rc && text.n) rc = tq_encode_text(c->tok, text.data, text.n, ids->n == 0, ids, err);
    free(text.data);
    return rc;
}

static int encode_template(const tq_chat *c, const tq_message *messages, size_t n, tq_think think, tq_ids *ids,
                           tq_err *err) {
    tq_rendering out;
    int rc = render(c, messages, n, think, true, &out, err);
    if (!rc && out.n) rc = tq_encode_typed(c->tok, out.text, out.typed, out.n, ids, err);
    tq_rendering_free(&out);
    return rc;
}

static int check(const tq_chat *c, const tq_message *messages, size_t n, tq_think think, tq_err *err) {
    static const char *const roles[] = {"user", "assistant", "system"};
    for (size_t i = 0; i < n; i++) {
        size_t k = 0;
        while (k < 3 && strcmp(messages[i].role, roles[k]) != 0)
            k++;
        if (k == 3 || (k == 2 && i > 0))
            return tq_fail(err, "message %zu has the role %s: expected user, assistant, or system first", i,
                           messages[i].role);
    }
    if (think != TQ_THINK_DEFAULT && !tq_chat_can_think(c))
        return tq_fail(err, "the chat template does not offer to switch thinking on or off");
    return TQ_OK;
}

int tq_chat_encode(const tq_chat *c, const tq_message *messages, size_t n, tq_think think, int **ids, size_t *count,
                   tq_err *err) {
    tq_ids v = {0};
    *ids = NULL;
    *count = 0;
    if (check(c, messages, n, think, err)) return TQ_FAIL;
    int rc =
        tq_ids_add(&v, 0) ? TQ_OK : tq_fail(err, "out of memory for the prompt"); /* nothing to say is no failure */
    v.n = 0;
    if (!rc) rc = c->template ? encode_template(c, messages, n, think, &v, err) : encode_plain(c, messages, n, &v, err);
    if (rc) {
        free(v.data);
        return rc;
    }
    *ids = v.data;
    *count = v.n;
    return TQ_OK;
}

/* --- the tokens that end an answer --- */

static void add_end(tq_chat *c, int id) {
    if (id >= 0 && !tq_chat_is_end(c, id) && c->n_ends < sizeof c->ends / sizeof *c->ends) c->ends[c->n_ends++] = id;
}

/* What the template puts after an answer, when that is a special token. */
static void add_what_follows(tq_chat *c) {
    static const char answer[] = "An answer.";
    const tq_message talk[] = {{"user", "A question?"}, {"assistant", answer}};
    tq_rendering out;
    tq_ids ids = {0};
    tq_err err;
    if (render(c, talk, 2, TQ_THINK_DEFAULT, false, &out, &err) == TQ_OK && out.text) {
        const char *at = strstr(out.text, answer), *rest = at ? at + strlen(answer) : "";
        rest += strspn(rest, " \n");
        size_t n = strlen(rest);
        if (n && tq_encode_typed(c->tok, rest, out.typed + (rest - out.text), n, &ids, &err) == TQ_OK && ids.n &&
            c->tok->tokens[ids.data[0]].added)
            add_end(c, ids.data[0]);
    }
    free(ids.data);
    tq_rendering_free(&out);
}

static void find_ends(tq_chat *c, const tq_config *cfg) {
    /* Ends of turns and texts that a model may say although its config does not list them. */
    static const char *const names[] = {"<|im_end|>",      "<|endoftext|>", "<|eot_id|>",    "<|eom_id|>",
                                        "<|end_of_text|>", "</s>",          "<end_of_turn>", NULL};
    for (size_t i = 0; i < cfg->n_eos; i++)
        add_end(c, cfg->eos[i]);
    if (!c->template) return;
    for (const char *const *e = names; *e; e++) {
        int id = tq_tokenizer_id(c->tok, *e);
        if (id >= 0 && c->tok->tokens[id].added) add_end(c, id);
    }
    add_what_follows(c);
}

int tq_chat_is_end(const tq_chat *c, int id) {
    for (size_t i = 0; i < c->n_ends; i++)
        if (c->ends[i] == id) return 1;
    return 0;
}

/* --- loading --- */

/* Can it be parsed, and render a first question? A template that itself refuses that has its reasons. */
static int try_out(tq_chat *c, const char *name, const char *text, tq_err *err) {
    static const tq_message first = {"user", "Hello"};
    tq_rendering out = {0};
    int rc = tq_jinja_parse(name, text, strlen(text), &c->template, err);
    if (!rc) rc = render(c, &first, 1, TQ_THINK_DEFAULT, true, &out, err);
    if (rc && out.raised) rc = TQ_OK;
    tq_rendering_free(&out);
    if (rc) {
        tq_jinja_free(c->template);
        c->template = NULL;
    }
    return rc;
}

static int set_template(tq_chat *c, const tq_chat_source *s, bool chosen, tq_err *err) {
    tq_err why;
    const char *name = NULL;
    if (!s->text) {
        snprintf(c->note, sizeof c->note,
                 "the model has no chat template: the conversation is given to the model as plain text");
        return TQ_OK;
    }
    if (try_out(c, s->name, s->text, &why) == TQ_OK) return TQ_OK;
    if (chosen) return tq_fail(err, "%s", why.msg);
    const char *own = tq_chat_stand_in(s->text, &name);
    if (own && try_out(c, name, own, err) != TQ_OK) return TQ_FAIL;
    snprintf(c->note, sizeof c->note, "%.360s: %s", why.msg,
             own ? "a plain template of its family is used" : "the conversation is given to the model as plain text");
    return TQ_OK;
}

/* Where no file says which they are, the config's ids do. */
static bool add_ids(tq_chat *c, const tq_chat_source *s, const tq_config *cfg) {
    const struct {
        const char *name;
        int id;
    } tokens[] = {{"bos_token", cfg->bos}, {"eos_token", cfg->n_eos ? cfg->eos[0] : -1}};
    for (size_t i = 0; i < 2 && !s->said; i++) {
        size_t n;
        if (!tq_tokenizer_bytes(c->tok, tokens[i].id, &n)) continue;
        if (!cJSON_AddStringToObject(c->tokens, tokens[i].name, c->tok->tokens[tokens[i].id].text)) return false;
    }
    return true;
}

static int load(const tq_docs *docs, const char *file, const tq_tokenizer *tok, const tq_config *cfg, tq_chat **out,
                tq_err *err) {
    tq_chat_source s = {0};
    *out = NULL;
    tq_chat *c = calloc(1, sizeof *c);
    if (!c) return tq_fail(err, "out of memory for the chat template");
    c->tok = tok;
    c->now = time(NULL);
    int rc = tq_chat_find(docs, file, &s, err);
    c->tokens = s.tokens;
    s.tokens = NULL;
    if (!rc && !add_ids(c, &s, cfg)) rc = tq_fail(err, "out of memory for the chat template");
    if (!rc) rc = set_template(c, &s, file != NULL, err);
    tq_chat_source_free(&s);
    if (rc) {
        tq_chat_free(c);
        return rc;
    }
    find_ends(c, cfg);
    *out = c;
    return TQ_OK;
}

int tq_chat_load(const char *dir, const char *file, const tq_tokenizer *tok, const tq_config *cfg, tq_chat **out,
                 tq_err *err) {
    tq_docs docs = tq_docs_in(dir);
    return load(&docs, file, tok, cfg, out, err);
}

int tq_chat_of(const tq_source *source, const char *file, const tq_tokenizer *tok, const tq_config *cfg, tq_chat **out,
               tq_err *err) {
    tq_docs docs = tq_docs_of(source);
    return load(&docs, file, tok, cfg, out, err);
}

void tq_chat_free(tq_chat *c) {
    if (!c) return;
    tq_jinja_free(c->template);
    cJSON_Delete(c->tokens);
    free(c);
}

bool tq_chat_is_plain(const tq_chat *c) {
    return !c->template;
}
bool tq_chat_can_think(const tq_chat *c) {
    return c->template && (tq_jinja_reads(c->template, "enable_thinking") || tq_jinja_reads(c->template, "thinking"));
}
const char *tq_chat_note(const tq_chat *c) {
    return c->note;
}
