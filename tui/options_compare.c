/* options_compare.c - the options of compare, and of eval --worst, --text and --before. */
#include <stdlib.h>
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

bool tq_take_worst(tq_options *o, const char *v) {
    char *end = NULL;
    long n = strtol(v, &end, 10);
    o->worst = n > 0 ? (size_t)n : 0;
    return end != v && !*end && n >= 1 && n <= TQ_WORST_MAX;
}

/* The first is the one that is evaluated, the others are columns beside it. */
bool tq_take_text(tq_options *o, const char *v) {
    if (!o->text)
        o->text = v;
    else if (o->n_more_texts < TQ_TEXTS_MAX - 2) /* the tuning text is one, too */
        o->more_texts[o->n_more_texts++] = v;
    else
        return false;
    return *v != '\0';
}

bool tq_take_before(tq_options *o, const char *v) {
    o->before = v;
    return *v != '\0';
}

int tq_check_compare(const tq_options *o, bool has_plan, tq_err *err) {
    if (o->command == TQ_CMD_EVAL && o->explain && !o->worst) return tq_fail(err, "eval: --explain needs --worst");
    if (o->command == TQ_CMD_EVAL && o->worst && o->against)
        return tq_fail(err, "eval: --worst shows the model beside itself as stored: not with --against");
    if (o->before && o->against) return tq_fail(err, "eval: --before and --against exclude each other");
    if (o->command != TQ_CMD_COMPARE) return TQ_OK;
    bool plan = !o->side[1];
    for (int k = 0; k < 2; k++)
        if (o->side[k] && strcmp(o->side[k], "plan") == 0) plan = true;
    if (!o->prompt) return tq_fail(err, "compare: --prompt TEXT is missing");
    if (has_plan && !plan) return tq_fail(err, "compare: neither side is the plan that the other options describe");
    return TQ_OK;
}

int tq_options_more_texts(const tq_options *o, tq_session *s, tq_err *err) {
    int rc = TQ_OK;
    if (!tq_session_text_name(s)) return TQ_OK;
    for (size_t i = 0; rc == TQ_OK && i < o->n_more_texts; i++)
        rc = tq_session_add_text(s, o->more_texts[i], TQ_TEXT_HELD_OUT, err);
    bool wanted = o->n_more_texts || o->tune_text || (o->command == TQ_CMD_EXPLORE && !o->text) || o->before;
    return rc == TQ_OK && wanted ? tq_session_add_tuning_text(s, err) : rc;
}
