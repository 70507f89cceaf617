/* batch_compare.h - predictions and explanations, printed and as JSON, for the commands that show them. */
#ifndef TQ_BATCH_COMPARE_H
#define TQ_BATCH_COMPARE_H

#include "model/compare.h"
#include "tui/batch.h"

/* Adds "NAME": [{"id", "text", "p"}]. False when memory is short. */
bool tq_json_candidates(cJSON *o, const char *name, const tq_tokenizer *t, const tq_candidate top[TQ_CANDIDATES]);
/* Adds "explain": what flips alone, the bisection, the margins, the matrices. */
bool tq_json_explanation(cJSON *o, const tq_session *s, const tq_explanation *x);
/* Two columns: the five likeliest of both sides. one, other: what these are called */
void tq_print_candidates(const tq_tokenizer *t, const char *one, const tq_candidate a[TQ_CANDIDATES], const char *other,
                         const tq_candidate b[TQ_CANDIDATES]);
void tq_print_explanation(const tq_session *s, const tq_explanation *x, const char *one, const char *other);

#endif
