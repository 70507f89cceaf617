/* texts.h - one plan on several texts, and whether a change of the plan helps the text that it was tuned on alone. */
#ifndef TQ_TEXTS_H
#define TQ_TEXTS_H

#include "model/divergence.h"

typedef enum tq_text_role { TQ_TEXT_HELD_OUT, TQ_TEXT_TUNING } tq_text_role;
const char *tq_text_role_name(tq_text_role role); /* "held out", "tuning" */

#define TQ_TEXTS_MAX 8
#define TQ_TEXT_PARTS 16
#define TQ_TEXT_PARTS_MIN 4

/* What an evaluation said of a text. Its windows in order, in `parts` pieces of nearly the same number of windows, so
 * that two plans can be compared piece by piece. */
typedef struct tq_text_figures {
    bool known;
    size_t tokens; /* scored */
    double kld, error;
    double ppl, ppl_base;
    size_t parts;
    double part[TQ_TEXT_PARTS]; /* mean KLD of each */
} tq_text_figures;

/* Of the evaluator's last run, whose result is r. */
tq_text_figures tq_text_figures_of(const tq_evaluator *e, const tq_eval_result *r);

/* From one plan to another on the same text. The pieces are the same tokens in both, so the mean difference of the
 * pieces and its standard error are those of pairs: what both plans find hard cancels. A text improves (or worsens)
 * when its KLD falls (or rises) by more than two standard errors, about 95 % of a normal distribution (a little less
 * with few pieces). */
typedef struct tq_text_change {
    bool known;         /* both plans are, with the same pieces, and at least TQ_TEXT_PARTS_MIN of them */
    double mean, error; /* KLD after less KLD before */
    bool improves, worsens;
} tq_text_change;
tq_text_change tq_text_compare(const tq_text_figures *before, const tq_text_figures *after);

/* A tuning text improves, and none of the texts that are held out (at least one, all known) does. */
bool tq_only_tuning_improves(const tq_text_role *roles, const tq_text_change *changes, size_t n);

#endif
