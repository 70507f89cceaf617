/* token_text.h - a token as a person reads it. */
#ifndef TQ_TOKEN_TEXT_H
#define TQ_TOKEN_TEXT_H

#include "model/tokenizer.h"

typedef char tq_token_text[64];

/* Its text with what cannot be seen as \\n, \\t, \\xHH; a special token's name; "#ID" for an unknown one. Cut where it
 * is long. Writes into buf and returns it. */
const char *tq_token_show(const tq_tokenizer *t, int id, tq_token_text buf);

#endif
