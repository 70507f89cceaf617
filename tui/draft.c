/* draft.c - the plan being edited, and its history. */
#include "tui/draft.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STATES_MAX = 1000 };

bool tq_draft_init(tq_draft *d, const tq_model *model, tq_plan *plan) {
    *d = (tq_draft){.model = model};
    d->saved = tq_plan_copy(plan);
    if (d->saved && tq_draft_push(d, plan, "")) return true;
    if (!d->saved) tq_plan_free(plan);
    tq_draft_free(d);
    return false;
}

void tq_draft_free(tq_draft *d) {
    for (size_t i = 0; i < d->count; i++)
        tq_plan_free(d->states[i].plan);
    free(d->states);
    tq_plan_free(d->saved);
    *d = (tq_draft){0};
}

const tq_plan *tq_draft_plan(const tq_draft *d) {
    return d->states[d->now].plan;
}

uint64_t tq_draft_serial(const tq_draft *d) {
    return d->states[d->now].serial;
}

bool tq_draft_push(tq_draft *d, tq_plan *plan, const char *what) {
    if (!plan) return false;
    while (d->count > d->now + 1)
        tq_plan_free(d->states[--d->count].plan);
    if (d->count == STATES_MAX) {
        tq_plan_free(d->states[0].plan);
        memmove(d->states, d->states + 1, --d->count * sizeof *d->states);
    }
    if (d->count == d->capacity) {
        size_t capacity = d->capacity ? 2 * d->capacity : 16;
        tq_state *states = realloc(d->states, capacity * sizeof *states);
        if (!states) {
            tq_plan_free(plan);
            return false;
        }
        d->states = states;
        d->capacity = capacity;
    }
    tq_state *s = &d->states[d->count];
    *s = (tq_state){.plan = plan, .serial = ++d->serial};
    snprintf(s->what, sizeof s->what, "%s", what);
    d->now = d->count++;
    return true;
}

void tq_draft_restore(tq_draft *d, tq_state *states, size_t count, size_t now, tq_plan *saved) {
    const tq_model *model = d->model;
    tq_draft_free(d);
    *d = (tq_draft){.model = model,
                    .states = states,
                    .count = count,
                    .capacity = count,
                    .now = now,
                    .serial = states[count - 1].serial,
                    .saved = saved};
}

bool tq_draft_undo(tq_draft *d) {
    if (d->now == 0) return false;
    d->now--;
    return true;
}

bool tq_draft_redo(tq_draft *d) {
    if (d->now + 1 >= d->count) return false;
    d->now++;
    return true;
}

void tq_draft_note_eval(tq_draft *d, uint64_t serial, const tq_eval_result *r) {
    for (size_t i = 0; i < d->count; i++)
        if (d->states[i].serial == serial) {
            d->states[i].eval = *r;
            d->states[i].eval_known = true;
        }
}

void tq_draft_note_score(tq_draft *d, uint64_t serial, tq_score score) {
    for (size_t i = 0; i < d->count; i++)
        if (d->states[i].serial == serial) d->states[i].score = score;
}

void tq_draft_forget_scores(tq_draft *d) {
    for (size_t i = 0; i < d->count; i++)
        d->states[i].score = (tq_score){0};
}

void tq_draft_forget_evals(tq_draft *d) {
    for (size_t i = 0; i < d->count; i++)
        d->states[i].eval_known = false;
}

void tq_draft_saved(tq_draft *d, uint64_t serial) {
    for (size_t i = 0; i < d->count; i++)
        if (d->states[i].serial == serial) {
            tq_plan *copy = tq_plan_copy(d->states[i].plan);
            if (!copy) return;
            tq_plan_free(d->saved);
            d->saved = copy;
        }
}

static bool common_equal(const tq_plan *a, const tq_plan *b) {
    tq_common x = tq_plan_common(a), y = tq_plan_common(b);
    return tq_common_equal(&x, &y);
}

/* The group of a kept matrix is what it will have once it is quantized: it makes no difference yet. */
static bool choice_differs(const tq_plan *a, const tq_plan *b, size_t i) {
    tq_choice x = tq_plan_get(a, i), y = tq_plan_get(b, i);
    return x.bits != y.bits || (x.bits != TQ_BITS_KEEP && x.group != y.group);
}

bool tq_plans_equal(const tq_model *m, const tq_plan *a, const tq_plan *b) {
    if (!common_equal(a, b)) return false;
    for (size_t i = 0; i < tq_model_matrices(m); i++)
        if (choice_differs(a, b, i)) return false;
    return true;
}

bool tq_draft_matrix_changed(const tq_draft *d, size_t matrix) {
    return choice_differs(tq_draft_plan(d), d->saved, matrix);
}

bool tq_draft_changed(const tq_draft *d) {
    return !tq_plans_equal(d->model, tq_draft_plan(d), d->saved);
}

size_t tq_matrix_cost_at(const tq_model *m, const tq_plan *p, size_t i, tq_choice c) {
    const tq_matrix *x = tq_model_matrix(m, i);
    tq_qspec spec = tq_plan_spec(p, i);
    spec.bits = c.bits;
    spec.group = c.group;
    if (c.bits == TQ_BITS_KEEP) return tq_matrix_bytes(&x->w);
    return tq_qspec_bytes(&spec, x->w.rows, x->w.cols);
}

size_t tq_matrix_cost(const tq_model *m, const tq_plan *p, size_t i) {
    return tq_matrix_cost_at(m, p, i, tq_plan_get(p, i));
}

tq_memory tq_plan_memory(const tq_model *m, const tq_plan *p) {
    tq_memory mem = {.kept = tq_model_kept_bytes(m), .baseline = tq_model_stored_bytes(m)};
    size_t matrices = 0, in_blocks = tq_model_block_matrices(m);
    for (size_t i = 0; i < tq_model_matrices(m); i++) {
        size_t bytes = tq_matrix_cost(m, p, i);
        matrices += i < in_blocks ? bytes : 0;
        *(tq_plan_get(p, i).bits == TQ_BITS_KEEP ? &mem.kept : &mem.quantized) += bytes;
    }
    mem.total = mem.kept + mem.quantized;
    mem.bpw_linear = tq_bits_per_weight((double)matrices, tq_model_matrix_weights(m));
    mem.bpw_model = tq_bits_per_weight((double)mem.total, tq_model_weights(m));
    return mem;
}
