/* plan_rules.c - few globs that reproduce a plan: what most matrices have, then what most of a label and of a block
 * have (or first of a block, then of a label: whichever takes fewer rules), then single matrices. */
#include "model/plan_rules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What an intermediate rule is about: all matrices of one label, or all of one block; and which kind comes first. */
typedef enum rule_axis { AXIS_LABEL, AXIS_BLOCK, AXIS_COUNT } rule_axis;

typedef struct rule_writer {
    const tq_plan *plan;
    const tq_model *model;
    size_t matrices;  /* of blocks */
    tq_choice *given; /* [matrices]: what the rules so far give */
    char **rules;
    size_t count, capacity;
    bool failed;
} rule_writer;

static void add_rule(rule_writer *w, const char *glob, tq_choice c) {
    char group[24], *rule = NULL;
    if (w->count == w->capacity) {
        size_t capacity = w->capacity ? 2 * w->capacity : 16;
        char **grown = realloc(w->rules, capacity * sizeof *grown);
        if (!grown) {
            w->failed = true;
            return;
        }
        w->rules = grown;
        w->capacity = capacity;
    }
    const char *bits = tq_bits_get(c.bits)->name;
    int n = c.bits == TQ_BITS_KEEP ? asprintf(&rule, "%s=%s", glob, bits)
                                   : asprintf(&rule, "%s=%s:%s", glob, bits, tq_group_name(c.group, group));
    if (n < 0)
        w->failed = true;
    else
        w->rules[w->count++] = rule;
}

static bool same_line(const tq_matrix *a, const tq_matrix *b, rule_axis axis) {
    return axis == AXIS_BLOCK ? a->block == b->block : strcmp(a->label, b->label) == 0;
}

/* The most common choice among the matrices that share first's label or block, and whether first is the first of
 * them. */
static bool common_choice(const rule_writer *w, size_t first, rule_axis axis, tq_choice *out) {
    const tq_matrix *m = tq_model_matrix(w->model, first);
    size_t best = 0;
    for (size_t i = 0; i < w->matrices; i++) {
        if (!same_line(m, tq_model_matrix(w->model, i), axis)) continue;
        if (i < first) return false;
        size_t votes = 0;
        for (size_t j = i; j < w->matrices; j++)
            votes += same_line(m, tq_model_matrix(w->model, j), axis) &&
                     tq_choice_equal(tq_plan_get(w->plan, i), tq_plan_get(w->plan, j));
        if (votes <= best) continue;
        best = votes;
        *out = tq_plan_get(w->plan, i);
    }
    return true;
}

static void add_default(rule_writer *w) {
    size_t best = 0, which = 0;
    for (size_t i = 0; i < w->matrices; i++) {
        size_t votes = 0;
        for (size_t j = i; j < w->matrices; j++)
            votes += tq_choice_equal(tq_plan_get(w->plan, i), tq_plan_get(w->plan, j));
        if (votes <= best) continue;
        best = votes;
        which = i;
    }
    if (!best) return;
    add_rule(w, "*", tq_plan_get(w->plan, which));
    for (size_t i = 0; i < w->matrices; i++)
        w->given[i] = tq_plan_get(w->plan, which);
}

/* How many more matrices of first's line are right when all of it gets c. */
static int line_gain(const rule_writer *w, size_t first, rule_axis axis, tq_choice c) {
    int gain = 0;
    for (size_t i = first; i < w->matrices; i++) {
        if (!same_line(tq_model_matrix(w->model, first), tq_model_matrix(w->model, i), axis)) continue;
        tq_choice wanted = tq_plan_get(w->plan, i);
        gain += tq_choice_equal(wanted, c) - tq_choice_equal(wanted, w->given[i]);
    }
    return gain;
}

static void add_lines(rule_writer *w, rule_axis axis) {
    char glob[256];
    for (size_t i = 0; i < w->matrices; i++) {
        const tq_matrix *m = tq_model_matrix(w->model, i);
        tq_choice c = {TQ_BITS_KEEP, TQ_GROUP_DEFAULT};
        if (!common_choice(w, i, axis, &c) || line_gain(w, i, axis, c) < 2) continue;
        if (axis == AXIS_BLOCK)
            (void)snprintf(glob, sizeof glob, "%zu.*", m->block);
        else
            (void)snprintf(glob, sizeof glob, "%s", m->label);
        add_rule(w, glob, c);
        for (size_t j = i; j < w->matrices; j++)
            if (same_line(m, tq_model_matrix(w->model, j), axis)) w->given[j] = c;
    }
}

static void add_exceptions(rule_writer *w) {
    char glob[256];
    for (size_t i = 0; i < w->matrices; i++) {
        tq_choice c = tq_plan_get(w->plan, i);
        if (tq_choice_equal(c, w->given[i])) continue;
        (void)snprintf(glob, sizeof glob, "%zu.%s", tq_model_matrix(w->model, i)->block,
                       tq_model_matrix(w->model, i)->label);
        add_rule(w, glob, c);
    }
}

/* Embedding and head, which no rule so far means. */
static void add_ends(rule_writer *w) {
    for (size_t i = w->matrices; i < tq_model_matrices(w->model); i++)
        if (tq_plan_get(w->plan, i).bits != TQ_BITS_KEEP)
            add_rule(w, tq_model_matrix(w->model, i)->label, tq_plan_get(w->plan, i));
}

void tq_plan_rules_free(char **rules, size_t count) {
    for (size_t i = 0; rules && i < count; i++)
        free(rules[i]);
    free(rules);
}

static int write_rules(const tq_plan *p, rule_axis first, rule_writer *w, tq_err *err) {
    *w = (rule_writer){.plan = p, .model = tq_plan_model(p), .matrices = tq_model_block_matrices(tq_plan_model(p))};
    w->given = calloc(w->matrices + 1, sizeof *w->given);
    if (w->given) {
        add_default(w);
        add_lines(w, first);
        add_lines(w, first == AXIS_LABEL ? AXIS_BLOCK : AXIS_LABEL);
        add_exceptions(w);
        add_ends(w);
    }
    bool ok = w->given && !w->failed;
    free(w->given);
    w->given = NULL;
    if (ok) return TQ_OK;
    tq_plan_rules_free(w->rules, w->count);
    (void)tq_fail(err, "out of memory for the rules of a plan");
    return TQ_FAIL;
}

int tq_plan_rules(const tq_plan *p, char ***rules, size_t *count, tq_err *err) {
    rule_writer by[AXIS_COUNT];
    if (write_rules(p, AXIS_LABEL, &by[AXIS_LABEL], err) != TQ_OK) return TQ_FAIL;
    if (write_rules(p, AXIS_BLOCK, &by[AXIS_BLOCK], err) != TQ_OK) {
        tq_plan_rules_free(by[AXIS_LABEL].rules, by[AXIS_LABEL].count);
        return TQ_FAIL;
    }
    rule_axis best = by[AXIS_BLOCK].count < by[AXIS_LABEL].count ? AXIS_BLOCK : AXIS_LABEL;
    rule_axis other = best == AXIS_BLOCK ? AXIS_LABEL : AXIS_BLOCK;
    tq_plan_rules_free(by[other].rules, by[other].count);
    *rules = by[best].rules;
    *count = by[best].count;
    return TQ_OK;
}
