/* chat_template.c - where a model's chat template is found, and what stands in for one that cannot be evaluated. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/chat_internal.h"
#include "model/tensor_writer.h"

enum { MAX_TEMPLATE = 4 << 20, MAX_FILE = 64 << 20, MAX_VALUES = 4000000 };

void tq_chat_source_free(tq_chat_source *s) {
    free(s->name);
    free(s->text);
    cJSON_Delete(s->tokens);
    *s = (tq_chat_source){0};
}

static int set(tq_chat_source *s, const char *name, const char *text, tq_err *err) {
    free(s->name);
    s->name = strdup(name);
    s->text = strdup(text);
    return s->name && s->text ? TQ_OK : tq_fail(err, "%s: out of memory for the chat template", name);
}

/* chat_template: a text, or a list of named texts. */
static const char *template_of(const cJSON *config) {
    const cJSON *m = tq_json_get(config, "chat_template");
    if (!m || !cJSON_IsArray(m)) return cJSON_GetStringValue(m);
    for (const cJSON *t = m->child; t; t = t->next) {
        const char *name = tq_json_text(t, "name");
        if (name && strcmp(name, "default") == 0) return tq_json_text(t, "template");
    }
    return NULL;
}

/* bos_token and its like: a text, or an object with one. */
static bool add_token(cJSON *tokens, const cJSON *config, const char *name) {
    const cJSON *m = tq_json_get(config, name);
    const char *text = cJSON_IsObject(m) ? tq_json_text(m, "content") : cJSON_GetStringValue(m);
    return !text || cJSON_AddStringToObject(tokens, name, text);
}

static int read_config(tq_chat_source *s, const tq_docs *docs, const char *name, bool tokens, tq_err *err) {
    static const char *const names[] = {"bos_token", "eos_token", "unk_token", "pad_token",
                                        "sep_token", "cls_token", "mask_token"};
    if (!tq_docs_has(docs, name)) return TQ_OK;
    cJSON *config = tq_docs_load(docs, name, MAX_FILE, MAX_VALUES, err);
    if (!config) return TQ_FAIL;
    const char *text = s->text ? NULL : template_of(config);
    int rc = text ? set(s, name, text, err) : TQ_OK;
    for (size_t i = 0; tokens && !rc && i < sizeof names / sizeof *names; i++)
        if (!add_token(s->tokens, config, names[i])) rc = tq_fail(err, "%s: out of memory", name);
    s->said = s->said || tokens;
    cJSON_Delete(config);
    return rc;
}

static int read_file(tq_chat_source *s, const char *path, const char *name, tq_err *err) {
    int rc = tq_read_file(path, MAX_TEMPLATE, &s->text, NULL, err);
    if (!rc && !(s->name = strdup(name))) rc = tq_fail(err, "%s: out of memory", name);
    return rc;
}

int tq_chat_find(const tq_docs *docs, const char *file, tq_chat_source *out, tq_err *err) {
    static const char own[] = "chat_template.jinja";
    *out = (tq_chat_source){.tokens = cJSON_CreateObject()};
    int rc = out->tokens ? TQ_OK : tq_fail(err, "out of memory for the chat template");
    if (!rc && file) rc = read_file(out, file, file, err);
    if (!rc && !out->text && docs->dir && tq_docs_has(docs, own)) {
        char *path = tq_path_join(docs->dir, own);
        rc = path ? read_file(out, path, own, err) : tq_fail(err, "%s: out of memory", own);
        free(path);
    }
    if (!rc) rc = read_config(out, docs, "chat_template.json", false, err);
    if (!rc) rc = read_config(out, docs, "tokenizer_config.json", true, err);
    return rc;
}

int tq_chat_template(const tq_docs *d, char **text, tq_err *err) {
    tq_chat_source s;
    int rc = tq_chat_find(d, NULL, &s, err);
    *text = rc ? NULL : s.text;
    if (!rc) s.text = NULL;
    tq_chat_source_free(&s);
    return rc;
}

/* In the order in which they are looked for. */
static const struct stand_in {
    const char *mark, *name, *text;
} stand_ins[] = {
    {"<|im_start|>", "ChatML",
     "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}"
     "{{ '<|im_start|>assistant\\n' }}"},
    {"<|start_header_id|>", "Llama 3",
     "{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' + "
     "m.content | trim + '<|eot_id|>' }}{% endfor %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}"},
    {"<start_of_turn>", "Gemma",
     "{{ bos_token }}{% set ns = namespace(first='') %}{% for m in messages %}"
     "{% if m.role == 'system' %}{% set ns.first = m.content + '\\n\\n' %}{% else %}"
     "{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\\n' + ns.first + m.content | trim + "
     "'<end_of_turn>\\n' }}{% set ns.first = '' %}{% endif %}{% endfor %}{{ '<start_of_turn>model\\n' }}"},
    {"[INST]", "Mistral",
     "{{ bos_token }}{% set ns = namespace(first='') %}{% for m in messages %}"
     "{% if m.role == 'system' %}{% set ns.first = m.content + '\\n\\n' %}{% elif m.role == 'user' %}"
     "{{ '[INST] ' + ns.first + m.content + ' [/INST]' }}{% set ns.first = '' %}{% else %}"
     "{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}"},
};

const char *tq_chat_stand_in(const char *text, const char **name) {
    for (size_t i = 0; i < sizeof stand_ins / sizeof *stand_ins; i++)
        if (strstr(text, stand_ins[i].mark)) {
            *name = stand_ins[i].name;
            return stand_ins[i].text;
        }
    return NULL;
}
