/* plan_rules.h - the rules that a saved plan consists of; private to model/. */
#ifndef TQ_PLAN_RULES_H
#define TQ_PLAN_RULES_H

#include "model/plan.h"

/* Rules that, applied in order to a new plan, give p's choices. *rules: [*count], freed by tq_plan_rules_free. */
int tq_plan_rules(const tq_plan *p, char ***rules, size_t *count, tq_err *err);
void tq_plan_rules_free(char **rules, size_t count);

#endif
