/* overlay.h - what lies over the panels: how each is drawn, what its keys do, and which of them the last line names. */
#ifndef TQ_OVERLAY_H
#define TQ_OVERLAY_H

#include "tui/app_internal.h"
#include "tui/hints.h"

typedef struct tq_overlay_traits {
    void (*draw)(tq_app *a, tq_area at);
    void (*key)(tq_app *a, int key);
    bool page;                 /* in the middle of a wide screen, not over all of it */
    size_t list;               /* offset in tq_app of the tq_list whose rows a click chooses; 0: none */
    void (*chosen)(tq_app *a); /* told of another row by a click, or NULL */
    bool asks;                 /* a question: only its keys answer it */
    const tq_hint *hints;
    size_t sure; /* so many of the last hints stay in a narrow terminal */
} tq_overlay_traits;

/* NULL for none. */
const tq_overlay_traits *tq_overlay_get(tq_overlay o);
/* Draws what is open over the panels. */
void tq_draw_overlay(tq_app *a, int rows, int cols);

#endif
