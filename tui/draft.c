/* draft.c - the plan being edited, and the tree of its states. */
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

/* SIZE_MAX: there is none. */
static size_t find(const tq_draft *d, uint64_t serial) {
    size_t low = 0, high = d->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (d->states[middle].serial < serial)
            low = middle + 1;
        else
            high = middle;
    }
    return serial && low < d->count && d->states[low].serial == serial ? low : SIZE_MAX;
}

static size_t newest_child(const tq_draft *d, size_t state) {
    for (size_t i = d->count; i-- > state + 1;)
        if (d->states[i].parent == d->states[state].serial) return i;
    return SIZE_MAX;
}

static void forget(tq_draft *d, size_t state) {
    tq_plan_free(d->states[state].plan);
    memmove(d->states + state, d->states + state + 1, (--d->count - state) * sizeof *d->states);
    d->now -= d->now > state;
}

const tq_state *tq_draft_before(const tq_draft *d) {
    size_t i = find(d, d->states[d->now].parent);
    return i == SIZE_MAX ? NULL : &d->states[i];
}

bool tq_draft_push(tq_draft *d, tq_plan *plan, const char *what) {
    if (!plan) return false;
    if (d->count == STATES_MAX) forget(d, d->now == 0);
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
    *s = (tq_state){.plan = plan, .serial = ++d->serial, .parent = d->count ? d->states[d->now].serial : 0};
    if (d->count) d->states[d->now].next = s->serial;
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
    const tq_state *before = tq_draft_before(d);
    if (!before) return false;
    tq_draft_go(d, (size_t)(before - d->states));
    return true;
}

bool tq_draft_redo(tq_draft *d) {
    size_t i = find(d, d->states[d->now].next);
    if (i == SIZE_MAX) i = newest_child(d, d->now);
    if (i == SIZE_MAX) return false;
    d->now = i;
    return true;
}

void tq_draft_go(tq_draft *d, size_t state) {
    /* From where it was, too: redo takes an undo back. */
    size_t ends[] = {d->now, state};
    for (size_t k = 0; k < 2; k++)
        for (size_t i = ends[k], up; (up = find(d, d->states[i].parent)) != SIZE_MAX; i = up)
            d->states[up].next = d->states[i].serial;
    d->now = state;
}

bool tq_draft_drop(tq_draft *d) {
    size_t state = d->now;
    if (!tq_draft_undo(d)) return false;
    if (newest_child(d, state) == SIZE_MAX) forget(d, state);
    return true;
}

bool tq_draft_tree(const tq_draft *d, tq_branch *lines) {
    size_t *child = calloc(2 * d->count + 1, sizeof *child),
           *elder = child + d->count; /* 0: none; the first is no child */
    tq_branch *open = calloc(d->count + 1, sizeof *open);
    size_t n = 0, pending = 0;
    bool ok = child && open;
    for (size_t i = 0; ok && i < d->count; i++) {
        size_t up = find(d, d->states[i].parent);
        if (up == SIZE_MAX) continue;
        elder[i] = child[up]; /* the newest child first */
        child[up] = i;
    }
    for (size_t i = d->count; ok && i-- > 0;)
        if (find(d, d->states[i].parent) == SIZE_MAX) open[pending++] = (tq_branch){.state = i};
    while (ok && pending) {
        tq_branch b = open[--pending];
        lines[n++] = b;
        for (size_t c = child[b.state]; c; c = elder[c])
            open[pending++] =
                c == child[b.state] ? (tq_branch){c, b.column, false} : (tq_branch){c, b.column + 1, true};
    }
    free(child);
    free(open);
    return ok;
}

void tq_draft_note_eval(tq_draft *d, uint64_t serial, const tq_eval_result *r) {
    for (size_t i = 0; i < d->count; i++)
        if (d->states[i].serial == serial) {
            d->states[i].eval = *r;
            d->states[i].eval_known = true;
        }
}

void tq_draft_note_text(tq_draft *d, uint64_t serial, size_t text, const tq_text_figures *f) {
    for (size_t i = 0; i < d->count; i++)
        if (d->states[i].serial == serial) d->states[i].texts[text] = *f;
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
    for (size_t i = 0; i < d->count; i++) {
        d->states[i].eval_known = false;
        memset(d->states[i].texts, 0, sizeof d->states[i].texts);
    }
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
