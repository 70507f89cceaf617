/* hints.h - keys and what they do, named on the screen. */
#ifndef TQ_HINTS_H
#define TQ_HINTS_H

#include "tui/canvas.h"

/* A list of them ends with a key of NULL. */
typedef struct tq_hint {
    const char *key, *text;
} tq_hint;

/* Those of the list that fit into [x, end), the last `sure` of them in any case; returns the column after them. */
int tq_draw_hints(tq_canvas *c, int y, int x, int end, const tq_hint *hints, size_t sure);
/* The columns that the whole list takes on c. */
int tq_hints_width(const tq_canvas *c, const tq_hint *hints);

#endif
