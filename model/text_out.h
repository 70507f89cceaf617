/* text_out.h - text on its way out: bytes of tokens become complete UTF-8 characters; private to model/. */
#ifndef TQ_TEXT_OUT_H
#define TQ_TEXT_OUT_H

#include "quant/base.h"

/* Zero it, set piece and ctx; text is freed by the caller. */
typedef struct tq_text_out {
    bool (*piece)(void *ctx, const char *text, size_t bytes); /* told what is complete; false: stop. NULL: nobody */
    void *ctx;
    bool stopped;
    char *text; /* all of it, NUL after the end; NULL until there is something */
    size_t n, capacity;
    char tail[4]; /* bytes that may still become a character */
    size_t waiting;
} tq_text_out;

/* n bytes more, invalid ones become U+FFFD. What may go on waits, unless this is the end. */
int tq_text_out_put(tq_text_out *o, const char *bytes, size_t n, bool end, tq_err *err);
/* The text is the caller's from now on; "" when nothing came. */
int tq_text_out_take(tq_text_out *o, char **text, tq_err *err);

#endif
