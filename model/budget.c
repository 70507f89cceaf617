/* budget.c - the table of choices, and plans out of it. See budget.h. */
#include "model/budget.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "quant/allocate.h"

typedef struct point {
    double sum, measured; /* both above 0 */
} point;

struct tq_costs {
    const tq_model *model;
    size_t matrices;
    size_t *first; /* [matrices + 1]: where a matrix's choices begin */
    tq_cost *cost; /* [first[matrices]] */
    point points[TQ_COSTS_POINTS];
    size_t n_points; /* sorted by sum */
};

/* --- the table --- */

static size_t most_choices(void) {
    return 1 + (TQ_BITS_COUNT - 1) * tq_groups_count;
}

/* "row" and a group as long as the row or longer code alike. */
static tq_choice as_row(const tq_matrix *m, tq_choice c) {
    if (c.group >= m->w.cols) c.group = TQ_GROUP_ROW;
    return c;
}

static bool worth_offering(const tq_matrix *m, tq_choice c, const tq_common *common) {
    return !tq_choice_blocked(m, c, common->rotation) && as_row(m, c).group == c.group;
}

/* May a budget within the scope come to that? */
static bool in_scope(const tq_costs *t, const tq_costs_scope *only, size_t i, tq_choice c) {
    if (!only || tq_budget_covers(t->model, only->pinned, i)) return true;
    return tq_choice_equal(as_row(tq_model_matrix(t->model, i), tq_plan_get(only->plan, i)), c);
}

static int add_choice(tq_costs *t, tq_sensitivity *s, size_t i, tq_choice c, const tq_common *common,
                      const tq_progress *p, tq_err *err) {
    const tq_matrix *m = tq_model_matrix(t->model, i);
    tq_qspec spec = tq_qspec_of(c.bits, c.group, common);
    tq_cost *cost = &t->cost[t->first[i + 1]];
    int rc = tq_sensitivity_code(s, i, c, p, err);
    if (rc != TQ_OK) return rc;
    tq_sensed sensed = tq_sensitivity_get(s, i, c);
    *cost = (tq_cost){.choice = c, .rel_mse = sensed.rel_mse, .kld = sensed.kld, .measured = sensed.measured};
    cost->bytes = c.bits == TQ_BITS_KEEP ? tq_matrix_bytes(&m->w) : tq_qspec_bytes(&spec, m->w.rows, m->w.cols);
    if (!sensed.measured) cost->kld = tq_sensitivity_foretell(s, i, sensed.rel_mse);
    if (!isfinite(cost->kld)) return tq_fail(err, "%s was not measured: the sweep is not complete", m->name);
    if (cost->kld < 0) cost->kld = 0;
    t->first[i + 1]++;
    return TQ_OK;
}

static int fill(tq_costs *t, const tq_plan *base, tq_sensitivity *s, const tq_costs_scope *only, const tq_progress *p,
                tq_err *err) {
    tq_common common = tq_plan_common(base);
    for (size_t i = 0; i < t->matrices; i++) {
        t->first[i + 1] = t->first[i];
        if (tq_model_matrix(t->model, i)->packed)
            return tq_fail(err, "%s is packed in this export: open the original model to change it",
                           tq_model_matrix(t->model, i)->name);
        int rc = add_choice(t, s, i, (tq_choice){TQ_BITS_KEEP, TQ_GROUP_DEFAULT}, &common, p, err);
        for (int b = TQ_BITS_KEEP + 1; b < TQ_BITS_COUNT; b++)
            for (size_t g = 0; rc == TQ_OK && g < tq_groups_count; g++) {
                tq_choice c = {(tq_bits)b, tq_groups[g]};
                if (worth_offering(tq_model_matrix(t->model, i), c, &common) && in_scope(t, only, i, c))
                    rc = add_choice(t, s, i, c, &common, p, err);
            }
        if (rc != TQ_OK) return rc;
        if (tq_progress_cancelled(p)) return tq_cancelled(err);
        tq_progress_report(p, (double)(i + 1), (double)t->matrices);
    }
    return TQ_OK;
}

int tq_costs_new(const tq_model *m, const tq_plan *base, tq_sensitivity *s, const tq_costs_scope *only,
                 const tq_progress *p, tq_costs **out, tq_err *err) {
    *out = NULL;
    tq_costs *t = calloc(1, sizeof *t);
    if (!t) return tq_fail(err, "out of memory for a table of costs");
    t->model = m;
    t->matrices = tq_model_matrices(m);
    t->first = calloc(t->matrices + 1, sizeof *t->first);
    t->cost = calloc(t->matrices * most_choices() + 1, sizeof *t->cost);
    int rc = t->first && t->cost ? fill(t, base, s, only, p, err) : tq_fail(err, "out of memory for a table of costs");
    tq_sensitivity_release(s);
    if (rc != TQ_OK) {
        tq_costs_free(t);
        return rc;
    }
    *out = t;
    return TQ_OK;
}

tq_costs *tq_costs_copy(const tq_costs *c) {
    tq_costs *copy = malloc(sizeof *copy);
    if (!copy) return NULL;
    *copy = *c;
    size_t n = c->first[c->matrices];
    copy->first = calloc(c->matrices + 1, sizeof *copy->first);
    copy->cost = calloc(n + 1, sizeof *copy->cost);
    if (!copy->first || !copy->cost) {
        tq_costs_free(copy);
        return NULL;
    }
    memcpy(copy->first, c->first, (c->matrices + 1) * sizeof *c->first);
    memcpy(copy->cost, c->cost, n * sizeof *c->cost);
    return copy;
}

void tq_costs_free(tq_costs *c) {
    if (!c) return;
    free(c->first);
    free(c->cost);
    free(c);
}

const tq_cost *tq_costs_of(const tq_costs *c, size_t matrix, size_t *n) {
    *n = c->first[matrix + 1] - c->first[matrix];
    return c->cost + c->first[matrix];
}

const tq_cost *tq_costs_find(const tq_costs *c, size_t matrix, tq_choice choice) {
    size_t n = 0;
    const tq_cost *cost = tq_costs_of(c, matrix, &n);
    choice = as_row(tq_model_matrix(c->model, matrix), choice);
    for (size_t i = 0; i < n; i++)
        if (tq_choice_equal(cost[i].choice, choice)) return &cost[i];
    return NULL;
}

double tq_costs_sum(const tq_costs *c, const tq_plan *p, size_t *bytes) {
    double sum = 0;
    *bytes = 0;
    for (size_t i = 0; i < c->matrices; i++) {
        const tq_cost *cost = tq_costs_find(c, i, tq_plan_get(p, i));
        sum += cost ? cost->kld : NAN;
        *bytes += cost ? cost->bytes : 0;
    }
    return sum;
}

/* --- from the sum to the scale of whole plans --- */

void tq_costs_learn(tq_costs *c, double sum, double measured) {
    size_t at = 0;
    if (!(sum > 0) || !(measured > 0) || c->n_points == TQ_COSTS_POINTS) return;
    while (at < c->n_points && c->points[at].sum < sum)
        at++;
    if (at > 0 && c->points[at - 1].measured >= measured) return;
    if (at < c->n_points && (c->points[at].sum <= sum || c->points[at].measured <= measured)) return;
    memmove(c->points + at + 1, c->points + at, (c->n_points - at) * sizeof *c->points);
    c->points[at] = (point){sum, measured};
    c->n_points++;
}

/* y over x, both in logarithms, through points of (x, y): linear between them, of slope 1 outside. */
static double interpolate(const point *points, size_t n, bool inverse, double x) {
    if (!(x > 0) || n == 0) return x;
    double lx = log(x), px[2] = {0}, py[2] = {0};
    size_t at = 0;
    while (at < n && (inverse ? points[at].measured : points[at].sum) < x)
        at++;
    for (size_t k = 0; k < 2; k++) {
        const point *p = &points[at + k == 0 ? 0 : at + k - 1 < n ? at + k - 1 : n - 1];
        px[k] = log(inverse ? p->measured : p->sum);
        py[k] = log(inverse ? p->sum : p->measured);
    }
    if (px[0] == px[1]) return exp(py[0] + lx - px[0]);
    return exp(py[0] + (py[1] - py[0]) * (lx - px[0]) / (px[1] - px[0]));
}

double tq_costs_foretell(const tq_costs *c, double sum) {
    return interpolate(c->points, c->n_points, false, sum);
}

double tq_costs_sum_for(const tq_costs *c, double kld) {
    return interpolate(c->points, c->n_points, true, kld);
}

/* --- targets --- */

bool tq_budget_covers(const tq_model *m, const bool *pinned, size_t i) {
    return i < tq_model_block_matrices(m) || (pinned && !pinned[i]);
}

size_t tq_budget_weights(const tq_model *m, const bool *pinned) {
    size_t weights = tq_model_matrix_weights(m);
    for (size_t i = tq_model_block_matrices(m); i < tq_model_matrices(m); i++)
        if (tq_budget_covers(m, pinned, i)) weights += tq_model_matrix(m, i)->w.rows * tq_model_matrix(m, i)->w.cols;
    return weights;
}

static bool is_pinned(const tq_costs *c, const bool *pinned, size_t i) {
    return (pinned && pinned[i]) || !tq_budget_covers(c->model, pinned, i);
}

/* Bytes of what is not covered: it stays as the plan has it. */
static double rest_bytes(const tq_costs *c, const bool *pinned, const tq_plan *plan) {
    double bytes = (double)tq_model_kept_bytes(c->model);
    for (size_t i = 0; i < c->matrices; i++) {
        const tq_cost *cost = tq_budget_covers(c->model, pinned, i) ? NULL : tq_costs_find(c, i, tq_plan_get(plan, i));
        bytes += cost ? (double)cost->bytes : 0;
    }
    return bytes;
}

/* Bytes that what is covered may take for a target that is not a KLD; negative when not even the rest fits. */
static double target_bytes(const tq_costs *c, const tq_target *t, const bool *pinned, const tq_plan *plan) {
    if (t->kind == TQ_TARGET_BPW) return floor(t->value * (double)tq_budget_weights(c->model, pinned) / 8);
    return floor(t->value) - rest_bytes(c, pinned, plan);
}

bool tq_size_parse(const char *text, double *bytes) {
    static const struct {
        const char *name;
        double bytes;
    } units[] = {{"", 1}, {"B", 1}, {"KiB", 1024}, {"MiB", 1048576}, {"GiB", 1073741824}};
    char *end = NULL;
    if (*text < '0' || *text > '9') return false;
    double v = strtod(text, &end);
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (strcmp(end, units[i].name) == 0) {
            *bytes = v * units[i].bytes;
            return isfinite(*bytes);
        }
    return false;
}

/* --- solving --- */

static void sum_up(const tq_costs *c, const bool *pinned, const tq_plan *plan, tq_budget *out) {
    size_t all = 0;
    out->sum = tq_costs_sum(c, plan, &all);
    out->bytes = all + tq_model_kept_bytes(c->model) - (size_t)rest_bytes(c, pinned, plan);
    out->foretold = tq_costs_foretell(c, out->sum);
    out->bpw = tq_bits_per_weight((double)out->bytes, tq_budget_weights(c->model, pinned));
}

/* The nearest target that can be reached, in the words of the one that cannot. */
static int impossible(const tq_costs *c, const tq_target *t, const bool *pinned, const tq_plan *plan, double least,
                      tq_err *err) {
    double rest = rest_bytes(c, pinned, plan), whole = least + rest;
    if (t->kind == TQ_TARGET_BPW)
        return tq_fail(err, "%g bits/weight cannot be reached, the nearest possible is %.4f", t->value,
                       ceil(tq_bits_per_weight(least, tq_budget_weights(c->model, pinned)) * 1e4) / 1e4);
    if (t->kind == TQ_TARGET_BYTES)
        return tq_fail(err,
                       "%.3f MiB cannot be reached, the nearest possible is %.3f MiB (of which %.3f stay as stored)",
                       t->value / 1048576, ceil(whole / 1048.576) / 1000, rest / 1048576);
    return tq_fail(err, "a KLD of %g cannot be reached, the nearest possible is %.3g", t->value,
                   tq_costs_foretell(c, least) * 1.005);
}

typedef struct problem {
    tq_alloc_choice *choices; /* as in costs */
    tq_alloc_item *items;
    size_t *chosen;
} problem;

static void problem_free(problem *p) {
    free(p->choices);
    free(p->items);
    free(p->chosen);
}

/* A pinned matrix has the one choice that the plan gives it; one that is not covered takes no bytes of the target. */
static int pose(const tq_costs *c, bool by_kld, const bool *pinned, const tq_plan *plan, problem *p, tq_err *err) {
    size_t all = c->first[c->matrices];
    p->choices = calloc(all + 1, sizeof *p->choices);
    p->items = calloc(c->matrices + 1, sizeof *p->items);
    p->chosen = calloc(c->matrices + 1, sizeof *p->chosen);
    if (!p->choices || !p->items || !p->chosen) return tq_fail(err, "out of memory for a budget");
    for (size_t i = 0; i < all; i++) {
        double bytes = (double)c->cost[i].bytes, kld = c->cost[i].kld;
        p->choices[i] = by_kld ? (tq_alloc_choice){kld, bytes} : (tq_alloc_choice){bytes, kld};
    }
    for (size_t i = 0; i < c->matrices; i++) {
        p->items[i] = (tq_alloc_item){p->choices + c->first[i], c->first[i + 1] - c->first[i]};
        if (!is_pinned(c, pinned, i)) continue;
        const tq_cost *cost = tq_costs_find(c, i, tq_plan_get(plan, i));
        if (!cost) return tq_fail(err, "%s cannot take its pin", tq_model_matrix(c->model, i)->name);
        tq_alloc_choice *only = p->choices + (cost - c->cost);
        if (!tq_budget_covers(c->model, pinned, i)) *(by_kld ? &only->cost : &only->weight) = 0;
        p->items[i] = (tq_alloc_item){only, 1};
    }
    return TQ_OK;
}

int tq_budget_solve(const tq_costs *c, const tq_target *t, const bool *pinned, tq_plan *plan, tq_budget *out,
                    tq_err *err) {
    problem p = {0};
    tq_allocation a = {0};
    bool possible = false, by_kld = t->kind == TQ_TARGET_KLD;
    double limit = by_kld ? tq_costs_sum_for(c, t->value) : target_bytes(c, t, pinned, plan);
    *out = (tq_budget){0};
    int rc = pose(c, by_kld, pinned, plan, &p, err);
    if (rc == TQ_OK) rc = tq_allocate(p.items, c->matrices, limit, p.chosen, &a, &possible, err);
    if (rc == TQ_OK && !possible) rc = impossible(c, t, pinned, plan, a.least, err);
    for (size_t i = 0; rc == TQ_OK && i < c->matrices; i++)
        if (!is_pinned(c, pinned, i)) tq_plan_set(plan, i, c->cost[c->first[i] + p.chosen[i]].choice);
    if (rc == TQ_OK) {
        sum_up(c, pinned, plan, out);
        out->gap = a.cost - a.bound;
    }
    problem_free(&p);
    return rc;
}

/* --- uniform plans --- */

bool tq_budget_set_all(const tq_costs *c, tq_choice choice, const bool *pinned, tq_plan *plan) {
    for (int pass = 0; pass < 2; pass++) /* first whether it can be, then it is done */
        for (size_t i = 0; i < c->matrices; i++) {
            tq_choice x = choice;
            if (is_pinned(c, pinned, i)) continue;
            if (x.bits == TQ_BITS_4T && !tq_costs_find(c, i, x)) x.bits = TQ_BITS_4;
            if (!tq_costs_find(c, i, x)) return false;
            if (pass) tq_plan_set(plan, i, x);
        }
    return true;
}

static bool better(const tq_target *t, const tq_budget *a, const tq_budget *b) {
    if (t->kind == TQ_TARGET_KLD && a->bytes != b->bytes) return a->bytes < b->bytes;
    if (a->sum != b->sum) return a->sum < b->sum;
    return a->bytes < b->bytes;
}

bool tq_budget_uniform(const tq_costs *c, const tq_target *t, const bool *pinned, tq_plan *plan, tq_budget *out) {
    tq_plan *trial = tq_plan_copy(plan);
    tq_choice best = {TQ_BITS_COUNT, 0};
    double most = t->kind == TQ_TARGET_KLD ? t->value : target_bytes(c, t, pinned, plan);
    for (int b = 0; trial && b < TQ_BITS_COUNT; b++)
        for (size_t g = 0; g < tq_groups_count; g++) {
            tq_choice x = {(tq_bits)b, b == TQ_BITS_KEEP ? TQ_GROUP_DEFAULT : tq_groups[g]};
            tq_budget found = {0};
            if (!tq_budget_set_all(c, x, pinned, trial)) continue;
            sum_up(c, pinned, trial, &found);
            if ((t->kind == TQ_TARGET_KLD ? found.foretold : (double)found.bytes) > most) continue;
            if (best.bits != TQ_BITS_COUNT && !better(t, &found, out)) continue;
            best = x;
            *out = found;
        }
    tq_plan_free(trial);
    return best.bits != TQ_BITS_COUNT && tq_budget_set_all(c, best, pinned, plan);
}
