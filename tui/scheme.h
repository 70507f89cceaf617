/* scheme.h - what each meaning looks like in each scheme. */
#ifndef TQ_SCHEME_H
#define TQ_SCHEME_H

#include "tui/canvas.h"

typedef enum tq_scheme {
    TQ_SCHEME_PLAIN,
    TQ_SCHEME_CONTRAST,
    TQ_SCHEME_BLUE_ORANGE,
    TQ_SCHEME_MONO, /* the last: all before it have colours */
    TQ_SCHEME_COUNT
} tq_scheme;
const char *tq_scheme_name(tq_scheme s); /* "plain", "contrast", "blue-orange", "mono" */
bool tq_scheme_parse(const char *text, tq_scheme *s);

typedef struct tq_look {
    short in_256, in_8; /* colours; -1: the terminal's own */
    unsigned attr;      /* of curses */
} tq_look;
const tq_look *tq_look_of(tq_scheme s, tq_style style);

/* What a colour stands for, for the help screen. */
typedef struct tq_meaning {
    tq_style style;
    const char *mark; /* what says the same without colour */
    const char *what;
} tq_meaning;
const tq_meaning *tq_meanings(size_t *n);

#endif
