/* allocate.c - Lagrange's relaxation for a first choice and a bound, then dynamic programming over what the bound
 * leaves. See allocate.h; both are in H. Kellerer, U. Pferschy, D. Pisinger, Knapsack Problems, chapter 11. */
#include "quant/allocate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_STATES ((size_t)100000)
/* Sums of some hundreds of terms differ by this much, relatively, with the order of adding. */
#define ROUNDING 1e-12

/* A choice that no other of its item betters in both respects; sorted by weight. */
typedef struct efficient {
    double weight, cost;
    size_t index;
} efficient;

/* From one corner of an item's lower convex hull to the next. */
typedef struct hull_step {
    size_t item, from, to; /* places in the item's efficient choices */
    double weight, cost;   /* what it adds, and what it saves */
} hull_step;

/* A sum that the first items can reach. */
typedef struct state {
    double weight, cost, bound;
    unsigned parent, choice; /* place in the layer before, and in the item's efficient choices */
} state;

typedef struct layer {
    state *states;
    size_t n;
} layer;

typedef struct knapsack {
    const tq_alloc_item *items;
    size_t n;
    double limit;
    efficient **rows; /* [n] */
    size_t *lengths;  /* [n] */
    hull_step *steps; /* [n_steps] by falling saving for what they add */
    size_t n_steps;
    double lambda;      /* of a unit of weight */
    double bound;       /* of the whole problem */
    double incumbent;   /* cost of the best that is known */
    size_t *best;       /* [n] that one: places in rows */
    double *rest_bound; /* [n + 1]: sum of min(cost + lambda * weight) over items from here on */
    double *rest_least; /* [n + 1]: sum of the least weights */
    size_t *priced;     /* [n]: the choice of least cost + lambda * weight */
    state *rest_priced; /* [n + 1]: weight and cost of those choices from here on */
    layer *layers;      /* [n + 1] */
    size_t at, place;   /* the best is this state and what is priced least after it; at SIZE_MAX: `best` as relaxed */
} knapsack;

static int by_weight(const void *a, const void *b) {
    const efficient *x = a, *y = b;
    if (x->weight != y->weight) return x->weight < y->weight ? -1 : 1;
    if (x->cost != y->cost) return x->cost < y->cost ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static int by_saving(const void *a, const void *b) {
    const hull_step *x = a, *y = b;
    double left = x->cost * y->weight, right = y->cost * x->weight;
    if (left != right) return left > right ? -1 : 1;
    if (x->item != y->item) return x->item < y->item ? -1 : 1;
    return x->from < y->from ? -1 : x->from > y->from;
}

static int by_sum(const void *a, const void *b) {
    const state *x = a, *y = b;
    if (x->weight != y->weight) return x->weight < y->weight ? -1 : 1;
    if (x->cost != y->cost) return x->cost < y->cost ? -1 : 1;
    return x->choice < y->choice ? -1 : x->choice > y->choice;
}

static int by_bound(const void *a, const void *b) {
    const state *x = a, *y = b;
    return x->bound < y->bound ? -1 : x->bound > y->bound;
}

static void knapsack_free(knapsack *k) {
    for (size_t i = 0; k->rows && i < k->n; i++)
        free(k->rows[i]);
    for (size_t i = 0; k->layers && i <= k->n; i++)
        free(k->layers[i].states);
    free(k->rows);
    free(k->lengths);
    free(k->steps);
    free(k->best);
    free(k->rest_bound);
    free(k->rest_least);
    free(k->priced);
    free(k->rest_priced);
    free(k->layers);
}

/* --- what is worth choosing --- */

static bool fill_row(knapsack *k, size_t i) {
    const tq_alloc_item *item = &k->items[i];
    efficient *row = malloc((item->n + 1) * sizeof *row);
    size_t kept = 0;
    if (!row) return false;
    for (size_t c = 0; c < item->n; c++)
        row[c] = (efficient){item->choices[c].weight, item->choices[c].cost, c};
    qsort(row, item->n, sizeof *row, by_weight);
    for (size_t c = 0; c < item->n; c++)
        if (kept == 0 || row[c].cost < row[kept - 1].cost) row[kept++] = row[c];
    k->rows[i] = row;
    k->lengths[i] = kept;
    return true;
}

/* The lower convex hull of an item's choices, as steps. */
static void add_steps(knapsack *k, size_t i) {
    const efficient *row = k->rows[i];
    for (size_t from = 0; from + 1 < k->lengths[i];) {
        size_t to = from + 1;
        for (size_t c = from + 2; c < k->lengths[i]; c++)
            if ((row[from].cost - row[c].cost) * (row[to].weight - row[from].weight) >=
                (row[from].cost - row[to].cost) * (row[c].weight - row[from].weight))
                to = c;
        k->steps[k->n_steps++] =
            (hull_step){i, from, to, row[to].weight - row[from].weight, row[from].cost - row[to].cost};
        from = to;
    }
}

/* False when memory is short. */
static bool build(knapsack *k) {
    size_t steps = 1;
    k->rows = calloc(k->n + 1, sizeof(void *));
    k->lengths = calloc(k->n + 1, sizeof *k->lengths);
    k->best = calloc(k->n + 1, sizeof *k->best);
    k->rest_bound = calloc(k->n + 1, sizeof *k->rest_bound);
    k->rest_least = calloc(k->n + 1, sizeof *k->rest_least);
    k->priced = calloc(k->n + 1, sizeof *k->priced);
    k->rest_priced = calloc(k->n + 1, sizeof *k->rest_priced);
    k->layers = calloc(k->n + 1, sizeof *k->layers);
    bool ok =
        k->rows && k->lengths && k->best && k->rest_bound && k->rest_least && k->priced && k->rest_priced && k->layers;
    for (size_t i = 0; ok && i < k->n; i++) {
        ok = fill_row(k, i);
        steps += ok ? k->lengths[i] : 0;
    }
    k->steps = ok ? calloc(steps, sizeof *k->steps) : NULL;
    for (size_t i = 0; k->steps && i < k->n; i++)
        add_steps(k, i);
    if (k->steps) qsort(k->steps, k->n_steps, sizeof *k->steps, by_saving);
    return k->steps != NULL;
}

/* --- Lagrange --- */

/* Starts from the lightest and takes steps as long as they fit: the first that does not gives lambda and the bound,
 * those after it that do are taken for a first solution. */
static void relax(knapsack *k) {
    double weight = 0, cost = 0;
    bool full = false;
    for (size_t i = 0; i < k->n; i++) {
        weight += k->rows[i][0].weight;
        cost += k->rows[i][0].cost;
    }
    for (size_t s = 0; s < k->n_steps; s++) {
        const hull_step *step = &k->steps[s];
        bool fits = weight + step->weight <= k->limit;
        if (!fits && !full) {
            full = true;
            k->lambda = step->cost / step->weight;
        }
        if (!fits || k->best[step->item] != step->from) continue;
        k->best[step->item] = step->to;
        weight += step->weight;
        cost -= step->cost;
    }
    k->incumbent = cost;
    k->at = SIZE_MAX;
    for (size_t i = k->n; i-- > 0;) {
        double least = INFINITY;
        for (size_t c = 0; c < k->lengths[i]; c++) {
            double priced = k->rows[i][c].cost + k->lambda * k->rows[i][c].weight;
            if (priced >= least) continue;
            least = priced;
            k->priced[i] = c;
        }
        const efficient *e = &k->rows[i][k->priced[i]];
        k->rest_priced[i].weight = k->rest_priced[i + 1].weight + e->weight;
        k->rest_priced[i].cost = k->rest_priced[i + 1].cost + e->cost;
        k->rest_bound[i] = k->rest_bound[i + 1] + least;
        k->rest_least[i] = k->rest_least[i + 1] + k->rows[i][0].weight;
    }
    k->bound = k->lambda > 0 ? k->rest_bound[0] - k->lambda * k->limit : cost;
}

/* --- dynamic programming --- */

/* All sums of the layer before with the choices of item i that may still lead to something better. */
static size_t extend(const knapsack *k, size_t i, state *out) {
    const layer *before = &k->layers[i];
    size_t n = 0;
    double most = k->incumbent * (1 + ROUNDING) + ROUNDING * k->lambda * k->limit;
    for (size_t c = 0; c < k->lengths[i]; c++)
        for (size_t s = 0; s < before->n; s++) {
            state x = {.weight = before->states[s].weight + k->rows[i][c].weight,
                       .cost = before->states[s].cost + k->rows[i][c].cost,
                       .parent = (unsigned)s,
                       .choice = (unsigned)c};
            x.bound = x.cost + k->lambda * x.weight + k->rest_bound[i + 1] - k->lambda * k->limit;
            if (x.weight + k->rest_least[i + 1] <= k->limit && x.bound <= most) out[n++] = x;
        }
    return n;
}

/* Leaves what no lighter sum betters. */
static size_t keep_efficient(state *x, size_t n) {
    size_t kept = 0;
    qsort(x, n, sizeof *x, by_sum);
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || x[i].cost < x[kept - 1].cost) x[kept++] = x[i];
    return kept;
}

/* Any state with the choices priced least after it may be the best so far; of the last layer, all are whole. */
static void complete(knapsack *k, size_t at) {
    const layer *l = &k->layers[at];
    for (size_t s = 0; s < l->n; s++) {
        double cost = l->states[s].cost + k->rest_priced[at].cost;
        if (cost >= k->incumbent || l->states[s].weight + k->rest_priced[at].weight > k->limit) continue;
        k->incumbent = cost;
        k->at = at;
        k->place = s;
    }
}

static int run_layers(knapsack *k, bool *exact, tq_err *err) {
    k->layers[0].states = calloc(1, sizeof(state));
    if (!k->layers[0].states) return tq_fail(err, "out of memory for a budget");
    k->layers[0].n = 1;
    for (size_t i = 0; i < k->n; i++) {
        size_t most = 0;
        state *x = tq_mul_size(&most, k->layers[i].n, k->lengths[i] * sizeof *x) ? malloc(most + sizeof *x) : NULL,
              *smaller;
        if (!x) return tq_fail(err, "out of memory for a budget");
        size_t n = keep_efficient(x, extend(k, i, x));
        if (n > MAX_STATES) {
            *exact = false;
            qsort(x, n, sizeof *x, by_bound);
            n = MAX_STATES;
        }
        smaller = realloc(x, (n + 1) * sizeof *x);
        k->layers[i + 1] = (layer){smaller ? smaller : x, n};
        complete(k, i + 1);
    }
    return TQ_OK;
}

/* The choices of the best. */
static void trace(knapsack *k) {
    if (k->at == SIZE_MAX) return;
    for (size_t i = k->at; i < k->n; i++)
        k->best[i] = k->priced[i];
    size_t place = k->place;
    for (size_t i = k->at; i-- > 0;) {
        const state *s = &k->layers[i + 1].states[place];
        k->best[i] = s->choice;
        place = s->parent;
    }
}

static void report(const knapsack *k, bool exact, size_t *chosen, tq_allocation *out) {
    out->exact = exact;
    for (size_t i = 0; i < k->n; i++) {
        const efficient *e = &k->rows[i][k->best[i]];
        chosen[i] = e->index;
        out->weight += e->weight;
        out->cost += e->cost;
    }
    out->bound = exact || k->bound > out->cost ? out->cost : k->bound;
}

int tq_allocate(const tq_alloc_item *items, size_t n, double limit, size_t *chosen, tq_allocation *out, bool *possible,
                tq_err *err) {
    knapsack k = {.items = items, .n = n, .limit = limit};
    bool exact = true;
    *out = (tq_allocation){0};
    int rc = TQ_OK;
    if (!build(&k)) {
        knapsack_free(&k);
        return tq_fail(err, "out of memory for a budget");
    }
    for (size_t i = 0; i < n; i++)
        out->least += k.rows[i][0].weight;
    *possible = out->least <= limit;
    if (*possible) {
        relax(&k);
        if (k.lambda > 0) rc = run_layers(&k, &exact, err);
        if (rc == TQ_OK && k.lambda > 0) trace(&k);
    }
    if (rc == TQ_OK) report(&k, exact, chosen, out);
    knapsack_free(&k);
    return rc;
}
