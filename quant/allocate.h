/* allocate.h - one choice for each item, so that the weights sum to at most a limit and the costs to as little as can
 * be (the multiple-choice knapsack problem). Knows nothing of what weights and costs are: bytes and KL divergence, or
 * the other way round. */
#ifndef TQ_ALLOCATE_H
#define TQ_ALLOCATE_H

#include <stddef.h>

#include "quant/base.h"

typedef struct tq_alloc_choice {
    double weight, cost; /* finite, not negative */
} tq_alloc_choice;

typedef struct tq_alloc_item {
    const tq_alloc_choice *choices; /* [n], borrowed; a pinned item has one */
    size_t n;                       /* at least 1 */
} tq_alloc_item;

typedef struct tq_allocation {
    double weight, cost; /* of what was chosen */
    double bound;        /* no choice within the limit costs less: cost itself when exact, else Lagrange's bound */
    bool exact;
    double least; /* the smallest sum of weights that there is */
} tq_allocation;

/* chosen: [n], the index of each item's choice. *possible is false when even the lightest choices exceed the limit:
 * chosen is then those. Exact by dynamic programming over the sums that no other sum betters in both respects, less
 * those that Lagrange's bound shows to lead nowhere; should more than some 100,000 of them remain, the least promising
 * are dropped, and `bound` says how far from the best the result can be. Fails when memory is short. */
int tq_allocate(const tq_alloc_item *items, size_t n, double limit, size_t *chosen, tq_allocation *out, bool *possible,
                tq_err *err);

#endif
