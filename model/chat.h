/* chat.h - messages to a prompt. Templates are recognised from their text, not evaluated. */
#ifndef TQ_CHAT_H
#define TQ_CHAT_H

#include <stddef.h>

#include "model/config.h"
#include "model/tokenizer.h"

typedef enum tq_chat_format {
    TQ_CHAT_CHATML,
    TQ_CHAT_LLAMA3,
    TQ_CHAT_MISTRAL,
    TQ_CHAT_PLAIN,
    TQ_CHAT_COUNT
} tq_chat_format;

typedef struct tq_message {
    const char *role; /* "system", "user", "assistant" */
    const char *text; /* UTF-8 */
} tq_message;

typedef struct tq_chat tq_chat;

/* Looks for chat_template.jinja, then for chat_template in tokenizer_config.json, in DIR. A model without one, or with
 * one that is not recognised, gets TQ_CHAT_PLAIN and a note (tq_chat_note). */
int tq_chat_load(const char *dir, const tq_tokenizer *tok, const tq_config *cfg, tq_chat **out, tq_err *err);
/* The same for an opened model, whose file may hold its template. */
int tq_chat_of(const tq_source *source, const tq_tokenizer *tok, const tq_config *cfg, tq_chat **out, tq_err *err);
void tq_chat_free(tq_chat *c);
tq_chat_format tq_chat_format_of(const tq_chat *c);
const char *tq_chat_format_name(tq_chat_format f); /* "ChatML", "Llama 3", "Mistral", "plain text" */
const char *tq_chat_note(const tq_chat *c);        /* "" or one line for the user */

/* The ids of the conversation followed by the start of the assistant's turn. Special tokens in the messages' own text
 * are not recognised: they are encoded as plain text. *ids is owned by the caller. */
int tq_chat_encode(const tq_chat *c, const tq_message *messages, size_t n, int **ids, size_t *count, tq_err *err);

/* Is this id one that ends the assistant's turn? */
int tq_chat_is_end(const tq_chat *c, int id);

#endif
