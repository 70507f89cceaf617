/* batch_texts.h - several texts as columns of eval, and the change from another plan on each. */
#ifndef TQ_BATCH_TEXTS_H
#define TQ_BATCH_TEXTS_H

#include "tui/batch.h"

typedef struct tq_batch_texts {
    size_t n; /* 0: only the one text, and no plan before */
    bool compared;
    tq_text_role role[TQ_TEXTS_MAX];
    tq_text_figures now[TQ_TEXTS_MAX], before[TQ_TEXTS_MAX];
    tq_text_change change[TQ_TEXTS_MAX];
} tq_batch_texts;

/* Of the evaluation that was just run and its options; a plan before is measured, too, and the session's plan is in
 * force again afterwards, evaluated. */
int tq_batch_texts_find(const tq_options *o, tq_session *s, tq_batch *b, tq_batch_texts *out, tq_err *err);
bool tq_json_texts(cJSON *root, const tq_session *s, const tq_batch_texts *t); /* "texts", "only_tuning_improves" */
void tq_print_texts(const tq_session *s, const tq_batch_texts *t);

#endif
