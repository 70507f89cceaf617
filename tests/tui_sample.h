/* tui_sample.h - the sample model, opened once for the tests of the explorer. */
#ifndef TQ_TESTS_TUI_SAMPLE_H
#define TQ_TESTS_TUI_SAMPLE_H

#include "tui/app_internal.h"

/* Group set-up and tear-down of cmocka: the model with one thread, and the line editor. */
int tq_sample_open(void **state);
int tq_sample_close(void **state);
const tq_model *tq_sample_model(void);
/* All kept as stored, then by the rule, which may be NULL; the caller's. */
tq_plan *tq_sample_plan(const char *rule);

/* The explorer on it, without a worker, everything as stored and the cursor on the first matrix; the caller's. What is
 * put in its cache and its dialogue stays the caller's. */
tq_app *tq_sample_app(void);
void tq_sample_app_free(tq_app *a);

/* Row y as UTF-8, without the blanks at its end; until the next call. */
const char *tq_sample_row(const tq_canvas *c, int y);

#endif
