/* texts.c - paired comparison of two plans on several texts. See texts.h. */
#include "model/texts.h"

#include <math.h>

const char *tq_text_role_name(tq_text_role role) {
    return role == TQ_TEXT_TUNING ? "tuning" : "held out";
}

tq_text_figures tq_text_figures_of(const tq_evaluator *e, const tq_eval_result *r) {
    tq_text_figures f = {.known = true, .tokens = r->tokens, .kld = r->kld_mean, .error = r->kld_stderr};
    f.ppl = r->ppl;
    f.ppl_base = r->ppl_base;
    f.parts = tq_evaluator_parts(e, TQ_TEXT_PARTS, f.part);
    return f;
}

tq_text_change tq_text_compare(const tq_text_figures *before, const tq_text_figures *after) {
    tq_text_change c = {0};
    size_t n = before->parts;
    double squares = 0;
    c.known =
        before->known && after->known && n == after->parts && n >= TQ_TEXT_PARTS_MIN && before->tokens == after->tokens;
    if (!c.known) return c;
    for (size_t i = 0; i < n; i++)
        c.mean += (after->part[i] - before->part[i]) / (double)n;
    for (size_t i = 0; i < n; i++) {
        double d = after->part[i] - before->part[i] - c.mean;
        squares += d * d;
    }
    c.error = sqrt(squares / (double)(n - 1) / (double)n);
    c.improves = c.mean < 0 && -c.mean > 2 * c.error;
    c.worsens = c.mean > 0 && c.mean > 2 * c.error;
    return c;
}

bool tq_only_tuning_improves(const tq_text_role *roles, const tq_text_change *changes, size_t n) {
    size_t held_out = 0;
    bool tuning = false;
    for (size_t i = 0; i < n; i++) {
        if (roles[i] == TQ_TEXT_TUNING) {
            tuning = tuning || (changes[i].known && changes[i].improves);
            continue;
        }
        held_out++;
        if (!changes[i].known || changes[i].improves) return false;
    }
    return tuning && held_out > 0;
}
