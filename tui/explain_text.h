/* explain_text.h - what an explanation comes to, in sentences that the screen and the commands share. */
#ifndef TQ_EXPLAIN_TEXT_H
#define TQ_EXPLAIN_TEXT_H

#include "model/compare.h"

enum { TQ_VERDICT_LINES = 4 };
typedef char tq_verdict[TQ_VERDICT_LINES][256];

/* Fills up to TQ_VERDICT_LINES lines; returns how many. */
int tq_explain_verdict(const tq_explanation *x, const tq_model *m, tq_verdict lines);

#endif
