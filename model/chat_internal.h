/* chat_internal.h - where a model's chat template is found. Private to chat*.c. */
#ifndef TQ_CHAT_INTERNAL_H
#define TQ_CHAT_INTERNAL_H

#include "model/docs.h"

/* The template and the texts of special tokens. Free with tq_chat_source_free. */
typedef struct tq_chat_source {
    char *name;    /* where it is from, for errors */
    char *text;    /* NULL: the model has none */
    cJSON *tokens; /* {"bos_token": TEXT, ...}: those that the template is told */
    bool said;     /* tokenizer_config.json is there, and names all there are */
} tq_chat_source;
/* file: a template of the user's choice, or NULL. */
int tq_chat_find(const tq_docs *docs, const char *file, tq_chat_source *out, tq_err *err);
void tq_chat_source_free(tq_chat_source *s);

/* A template of ours in place of one that cannot be evaluated: by what its text mentions. NULL: none fits. */
const char *tq_chat_stand_in(const char *text, const char **name);

#endif
