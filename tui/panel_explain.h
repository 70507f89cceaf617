/* panel_explain.h - predictions and explanations, as A/B and the worst tokens show them. */
#ifndef TQ_PANEL_EXPLAIN_H
#define TQ_PANEL_EXPLAIN_H

#include "tui/app_internal.h"

/* Text in lines of the area's width, bytes [mark, mark_end) of it standing out. Where it does not fit, the lines around
 * the mark are shown. */
void tq_draw_marked(tq_app *a, tq_area at, const char *text, size_t mark, size_t mark_end);
/* How many lines that is. */
int tq_marked_lines(tq_app *a, const char *text, int width);
/* A copy of text with [ ] around the bytes, or around the token's name where it made none; *mark and *mark_end move on
 * with it. The caller frees it; NULL when memory is short. */
char *tq_marked_text(const tq_tokenizer *t, const char *text, int token, size_t *mark, size_t *mark_end);

/* A row a candidate; the chosen token stands out. */
void tq_draw_candidates(tq_app *a, int y, int x, int end, const tq_candidate top[TQ_CANDIDATES], int chosen);
/* What it comes to, then the margins of blocks and matrices, from line *scroll on. one, other: what the panel calls the
 * two sides. Below the area stands a frame. */
void tq_draw_explanation(tq_app *a, tq_area at, const tq_explanation *x, const char *one, const char *other,
                         size_t *scroll);
/* What the worker does for it, with how far it is. */
void tq_draw_busy(tq_app *a, int y, int x, int end);

#endif
