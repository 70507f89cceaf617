/* term.h - the terminal: curses is set up, drawn to and left here and nowhere else. */
#ifndef TQ_TERM_H
#define TQ_TERM_H

#include "tui/canvas.h"

typedef enum tq_scheme { TQ_SCHEME_MONO, TQ_SCHEME_8, TQ_SCHEME_256, TQ_SCHEME_COUNT } tq_scheme;

/* What a colour stands for, for the help screen: NULL-terminated by the count. */
typedef struct tq_meaning {
    tq_style style;
    const char *mark; /* what says the same without colour */
    const char *what;
} tq_meaning;
const tq_meaning *tq_meanings(size_t *n);

/* Takes the terminal over (alternate screen, raw keys), installs the signal handlers. False with a line in msg[160]
 * when it cannot be used. Colours as the terminal has them, none with NO_COLOR. */
bool tq_term_open(char msg[160]);
/* Gives the terminal back. */
void tq_term_close(void);
/* Rows and columns now. */
void tq_term_size(int *rows, int *cols);
bool tq_term_ascii(void);
/* A key without waiting: a character, a TQ_KEY_ constant, or TQ_KEY_NONE when there is none. */
int tq_term_key(void);
void tq_term_show(const tq_canvas *c);
void tq_term_redraw(void); /* everything anew at the next show */
/* Stops the process until it is continued, with the terminal given back meanwhile. */
void tq_term_suspend(void);

/* Readable when a signal came; tq_term_signal then says which, one a call, 0 when no more: SIGWINCH, SIGTSTP, SIGTERM,
 * SIGHUP, SIGINT. */
int tq_term_signal_fd(void);
int tq_term_signal(void);

#endif
