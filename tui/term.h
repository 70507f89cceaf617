/* term.h - the terminal: curses is set up, drawn to and left here and nowhere else. */
#ifndef TQ_TERM_H
#define TQ_TERM_H

#include "tui/scheme.h"

/* What the mouse did, at a row and a column of the screen. */
typedef enum tq_mouse_what { TQ_MOUSE_CLICK, TQ_MOUSE_DOUBLE, TQ_MOUSE_WHEEL_UP, TQ_MOUSE_WHEEL_DOWN } tq_mouse_what;
typedef struct tq_mouse {
    tq_mouse_what what;
    int y, x;
} tq_mouse;

/* Takes the terminal over (alternate screen, raw keys), installs the signal handlers. False with a line in msg[160]
 * when it cannot be used. Colours as the terminal has them, none with NO_COLOR. */
bool tq_term_open(char msg[160]);
/* Gives the terminal back. */
void tq_term_close(void);
/* Rows and columns now. */
void tq_term_size(int *rows, int *cols);
bool tq_term_ascii(void);
void tq_term_set_ascii(void);
/* Colours from now on, as far as the terminal has them. */
void tq_term_scheme(tq_scheme s);
/* Clicks and the wheel come as keys, or are the terminal's own (so that its selection works). */
void tq_term_mouse(bool on);
/* A key without waiting: a character, a TQ_KEY_ constant, or TQ_KEY_NONE when there is none. */
int tq_term_key(void);
tq_mouse tq_term_mouse_event(void); /* after TQ_KEY_MOUSE */
const char *tq_term_pasted(void);   /* after TQ_KEY_PASTE: UTF-8 without control characters but '\n' and '\t' */
/* Gives text to the clipboard, where the terminal has OSC 52; false: it is too long for that. */
bool tq_term_copy(const char *text, size_t n);
void tq_term_show(const tq_canvas *c);
void tq_term_redraw(void); /* everything anew at the next show */
/* Stops the process until it is continued, with the terminal given back meanwhile. */
void tq_term_suspend(void);

/* Readable when a signal came; tq_term_signal then says which, one a call, 0 when no more: SIGWINCH, SIGTSTP, SIGTERM,
 * SIGHUP, SIGINT. */
int tq_term_signal_fd(void);
int tq_term_signal(void);

#endif
