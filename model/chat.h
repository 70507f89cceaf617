/* chat.h - messages to a prompt, by the model's own chat template (jinja.h). */
#ifndef TQ_CHAT_H
#define TQ_CHAT_H

#include <stddef.h>

#include "model/config.h"
#include "model/tokenizer.h"

typedef struct tq_message {
    const char *role; /* "system", "user", "assistant" */
    const char *text; /* UTF-8; what is not becomes U+FFFD */
} tq_message;

/* Whether the model thinks before it answers, where its template offers that: the variable enable_thinking. */
typedef enum tq_think { TQ_THINK_DEFAULT, TQ_THINK_ON, TQ_THINK_OFF } tq_think;
bool tq_think_parse(const char *text, tq_think *out); /* "on", "off", "default" */

typedef struct tq_chat tq_chat;

/* The template is FILE (not NULL), which must be one that can be evaluated, or else the model's: chat_template.jinja,
 * chat_template.json or tokenizer_config.json in its directory, or what its file says. A model without one gets its
 * conversations as plain text, and one whose template cannot be evaluated a plain one of its family, each with a note
 * (tq_chat_note). tok is borrowed. */
int tq_chat_load(const char *dir, const char *file, const tq_tokenizer *tok, const tq_config *cfg, tq_chat **out,
                 tq_err *err);
/* The same for an opened model. */
int tq_chat_of(const tq_source *source, const char *file, const tq_tokenizer *tok, const tq_config *cfg, tq_chat **out,
               tq_err *err);
void tq_chat_free(tq_chat *c);
bool tq_chat_is_plain(const tq_chat *c);    /* without a template */
bool tq_chat_can_think(const tq_chat *c);   /* the template asks for enable_thinking (or thinking) */
const char *tq_chat_note(const tq_chat *c); /* "" or one line for the user */

/* The ids of the conversation followed by the start of the assistant's turn. Spellings of special tokens are tokens
 * where the template says them; in the messages' own text they are plain text. TQ_THINK_ON and _OFF need
 * tq_chat_can_think. *ids is owned by the caller. */
int tq_chat_encode(const tq_chat *c, const tq_message *messages, size_t n, tq_think think, int **ids, size_t *count,
                   tq_err *err);

/* Is this id one that ends the assistant's turn? */
int tq_chat_is_end(const tq_chat *c, int id);

#endif
