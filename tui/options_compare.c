/* options_compare.c - the options of compare. */
#include <string.h>

#include "tui/options_table.h"

bool tq_take_side_a(tq_options *o, const char *v) {
    o->side[0] = v;
    return *v != '\0';
}

bool tq_take_side_b(tq_options *o, const char *v) {
    o->side[1] = v;
    return *v != '\0';
}

bool tq_take_explain(tq_options *o, const char *v) {
    (void)v;
    return o->explain = true;
}

int tq_check_compare(const tq_options *o, bool has_plan, tq_err *err) {
    if (o->command != TQ_CMD_COMPARE) return TQ_OK;
    bool plan = !o->side[1];
    for (int k = 0; k < 2; k++)
        if (o->side[k] && strcmp(o->side[k], "plan") == 0) plan = true;
    if (!o->prompt) return tq_fail(err, "compare: --prompt TEXT is missing");
    if (has_plan && !plan) return tq_fail(err, "compare: neither side is the plan that the other options describe");
    return TQ_OK;
}
