/* plan_rules.c - few globs that reproduce a plan: what most matrices have, then what most of a kind of expert have,
 * then of a label and of a block (or first of a block, then of a label: whichever takes fewer rules), then of a kind of
 * expert in one block, then single matrices. */
#include "model/plan_rules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What an intermediate rule is about: all matrices of one label, or all of one block; and which kind comes first. Of
 * experts also all of one kind, in all blocks or in one. */
typedef enum rule_axis { AXIS_LABEL, AXIS_BLOCK, AXIS_GROUP, AXIS_BLOCK_GROUP } rule_axis;

typedef struct rule_writer {
    const tq_plan *plan;
    const tq_model *model;
    size_t matrices; /* of blocks */
    size_t *wanted;  /* [matrices]: what the plan says, as the first matrix that has the same choice */
    size_t *given;   /* [matrices]: what the rules so far give, likewise */
    size_t *line;    /* [matrices]: of the axis at hand, its first matrix; SIZE_MAX: it is in none */
    size_t
        *votes; /* [matrices]: of the line at hand, how many have the choice that this matrix was the first to have */
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
    bool grouped = a->group && b->group && strcmp(a->group, b->group) == 0;
    switch (axis) {
    case AXIS_LABEL:
        return strcmp(a->label, b->label) == 0;
    case AXIS_GROUP:
        return grouped;
    case AXIS_BLOCK_GROUP:
        return grouped && a->block == b->block;
    default:
        return a->block == b->block;
    }
}

/* The lines of an axis. Experts have so many labels that those are no lines: their kinds are. */
static void find_lines(rule_writer *w, rule_axis axis) {
    bool experts = axis == AXIS_GROUP || axis == AXIS_BLOCK_GROUP;
    for (size_t i = 0; i < w->matrices; i++) {
        const tq_matrix *m = tq_model_matrix(w->model, i);
        w->line[i] = SIZE_MAX;
        if (experts ? !m->group : axis == AXIS_LABEL && m->group) continue;
        w->line[i] = i;
        for (size_t k = i; k-- > 0;) {
            if (w->line[k] == SIZE_MAX || !same_line(m, tq_model_matrix(w->model, k), axis)) continue;
            w->line[i] = w->line[k];
            break;
        }
    }
}

static void find_choices(rule_writer *w) {
    size_t firsts = 0; /* kept in votes for now: there are few */
    for (size_t i = 0; i < w->matrices; i++) {
        size_t k = 0;
        while (k < firsts && !tq_choice_equal(tq_plan_get(w->plan, w->votes[k]), tq_plan_get(w->plan, i)))
            k++;
        if (k == firsts) w->votes[firsts++] = i;
        w->wanted[i] = w->votes[k];
    }
    memset(w->votes, 0, w->matrices * sizeof *w->votes);
}

/* The most common choice on a line, the first of equally common ones, and how many more matrices are right when all of
 * the line gets it. */
static int common_choice(const rule_writer *w, size_t first, size_t *choice) {
    size_t best = 0;
    int gain = 0;
    for (size_t i = first; i < w->matrices; i++)
        if (w->line[i] == first) w->votes[w->wanted[i]] = 0;
    for (size_t i = first; i < w->matrices; i++)
        if (w->line[i] == first) w->votes[w->wanted[i]]++;
    for (size_t i = first; i < w->matrices; i++) {
        if (w->line[i] != first || w->votes[w->wanted[i]] <= best) continue;
        best = w->votes[w->wanted[i]];
        *choice = w->wanted[i];
    }
    for (size_t i = first; i < w->matrices; i++)
        if (w->line[i] == first) gain += (w->wanted[i] == *choice) - (w->wanted[i] == w->given[i]);
    return gain;
}

static void give(rule_writer *w, size_t first, const char *glob, size_t choice) {
    add_rule(w, glob, tq_plan_get(w->plan, choice));
    for (size_t i = first; i < w->matrices; i++)
        if (w->line[i] == first) w->given[i] = choice;
}

static void add_default(rule_writer *w) {
    size_t choice = 0;
    for (size_t i = 0; i < w->matrices; i++) {
        w->line[i] = 0;
        w->given[i] = SIZE_MAX;
    }
    if (!w->matrices) return;
    (void)common_choice(w, 0, &choice);
    give(w, 0, "*", choice);
}

static void add_lines(rule_writer *w, rule_axis axis) {
    char glob[256];
    find_lines(w, axis);
    for (size_t i = 0; i < w->matrices; i++) {
        const tq_matrix *m = tq_model_matrix(w->model, i);
        size_t choice = 0;
        if (w->line[i] != i || common_choice(w, i, &choice) < 2) continue;
        if (axis == AXIS_BLOCK)
            (void)snprintf(glob, sizeof glob, "%zu.*", m->block);
        else if (axis == AXIS_BLOCK_GROUP)
            (void)snprintf(glob, sizeof glob, "%zu.%s", m->block, m->group);
        else
            (void)snprintf(glob, sizeof glob, "%s", axis == AXIS_GROUP ? m->group : m->label);
        give(w, i, glob, choice);
    }
}

static void add_exceptions(rule_writer *w) {
    char glob[256];
    for (size_t i = 0; i < w->matrices; i++) {
        if (w->wanted[i] == w->given[i]) continue;
        (void)snprintf(glob, sizeof glob, "%zu.%s", tq_model_matrix(w->model, i)->block,
                       tq_model_matrix(w->model, i)->label);
        add_rule(w, glob, tq_plan_get(w->plan, i));
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
    size_t *memory = calloc(w->matrices + 1, 4 * sizeof *memory);
    if (memory) {
        w->wanted = memory;
        w->given = memory + w->matrices;
        w->line = memory + 2 * w->matrices;
        w->votes = memory + 3 * w->matrices;
        find_choices(w);
        add_default(w);
        add_lines(w, AXIS_GROUP);
        add_lines(w, first);
        add_lines(w, first == AXIS_LABEL ? AXIS_BLOCK : AXIS_LABEL);
        add_lines(w, AXIS_BLOCK_GROUP);
        add_exceptions(w);
        add_ends(w);
    }
    bool ok = memory && !w->failed;
    free(memory);
    if (ok) return TQ_OK;
    tq_plan_rules_free(w->rules, w->count);
    (void)tq_fail(err, "out of memory for the rules of a plan");
    return TQ_FAIL;
}

int tq_plan_rules(const tq_plan *p, char ***rules, size_t *count, tq_err *err) {
    rule_writer by[2];
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
