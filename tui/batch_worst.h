/* batch_worst.h - the worst tokens of an evaluation, printed and as JSON. */
#ifndef TQ_BATCH_WORST_H
#define TQ_BATCH_WORST_H

#include "tui/batch_compare.h"

/* What both sides predict at one of the positions, or all of an explanation. */
typedef struct tq_batch_worst {
    size_t n;
    tq_explanation *x[TQ_WORST_MAX];
} tq_batch_worst;

/* Of the evaluation that was just run: the n worst positions, or as many as there are. */
int tq_batch_worst_find(tq_session *s, size_t n, bool explain, const tq_progress *p, tq_batch_worst *out, tq_err *err);
void tq_batch_worst_free(tq_batch_worst *w);
bool tq_json_worst(cJSON *root, const tq_session *s, const tq_batch_worst *w); /* adds "worst": [...] */
void tq_print_worst(const tq_session *s, const tq_batch_worst *w);

#endif
