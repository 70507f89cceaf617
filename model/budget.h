/* budget.h - from what each matrix costs alone to a plan within a target: the table of all choices with their bytes and
 * the KL divergence that is foretold for them, and the solver over it (quant/allocate.h).
 *
 * What is foretold for a plan is the sum over its matrices, brought to the scale of whole plans by what some of them
 * (uniform ones) measured: log of the measured KLD over log of the sum, linear between them and of slope 1 outside. */
#ifndef TQ_BUDGET_H
#define TQ_BUDGET_H

#include "model/sensitivity.h"

typedef struct tq_cost {
    tq_choice choice;
    size_t bytes;
    double rel_mse, kld; /* of this matrix alone; kld as measured, or foretold by its coefficient */
    bool measured;
} tq_cost;

typedef struct tq_costs tq_costs;

/* The one budget that a table is for. Borrowed. */
typedef struct tq_costs_scope {
    const bool *pinned;  /* [matrices], see tq_budget_covers */
    const tq_plan *plan; /* that the budget fills */
} tq_costs_scope;

/* Codes every matrix at every choice that it can take (progress in matrices), and asks s about each. s must be
 * complete. Belongs to the model of s's base plan, whose choices the table's figures start from. only (NULL: every
 * budget): an embedding or head that this budget does not choose has two rows at most, keep and what the plan gives it;
 * coding it in all ways takes longer than all blocks do where the vocabulary is large. */
int tq_costs_new(const tq_model *m, const tq_plan *base, tq_sensitivity *s, const tq_costs_scope *only,
                 const tq_progress *p, tq_costs **out, tq_err *err);
tq_costs *tq_costs_copy(const tq_costs *c); /* NULL when memory is short */
void tq_costs_free(tq_costs *c);
/* The choices of a matrix: [*n], keep first, borrowed. */
const tq_cost *tq_costs_of(const tq_costs *c, size_t matrix, size_t *n);
/* The row for a choice, NULL when the matrix cannot take it. */
const tq_cost *tq_costs_find(const tq_costs *c, size_t matrix, tq_choice choice);

/* Sum of the matrices' own KLD under a plan, and the bytes of its matrices. */
double tq_costs_sum(const tq_costs *c, const tq_plan *p, size_t *bytes);
/* A plan with this sum measured so much. At most TQ_COSTS_POINTS are kept. What is no step up from the others is
 * ignored, so that more is never foretold for less. */
#define TQ_COSTS_POINTS 16
void tq_costs_learn(tq_costs *c, double sum, double measured);
double tq_costs_foretell(const tq_costs *c, double sum);
/* The sum for which so much is foretold. */
double tq_costs_sum_for(const tq_costs *c, double kld);

typedef enum tq_target_kind { TQ_TARGET_BYTES, TQ_TARGET_BPW, TQ_TARGET_KLD } tq_target_kind;
typedef struct tq_target {
    tq_target_kind kind;
    double value; /* bytes of the whole model; bits a weight over what the budget covers; nats a token */
} tq_target;

/* A budget covers the blocks' matrices, and of embedding and head those that are not pinned; the others stay as the
 * plan has them. pinned: [matrices]; NULL: embedding and head alone. */
bool tq_budget_covers(const tq_model *m, const bool *pinned, size_t i);
size_t tq_budget_weights(const tq_model *m, const bool *pinned); /* of what is covered */

typedef struct tq_budget {
    double sum, foretold; /* KLD of the plan: sum of single ones, and brought to scale */
    size_t bytes;         /* of the matrices that are covered */
    double bpw;
    double gap; /* at most so much of sum (or of bytes, for a KLD) could be saved; 0: none, this is proven */
} tq_budget;

/* Fills plan's matrices but the pinned ones (as above) so that the sum of KLD is least within the
 * target's bytes, or the bytes least within its KLD. A target that cannot be reached fails with the nearest that can.
 */
int tq_budget_solve(const tq_costs *c, const tq_target *t, const bool *pinned, tq_plan *plan, tq_budget *out,
                    tq_err *err);

/* Gives all matrices but the pinned ones the one choice that fits the target best: the least foretold KLD within its
 * bytes, or the least bytes within its KLD. A matrix that cannot take a trellis gets 4. False, and plan is as before,
 * when none fits. */
bool tq_budget_uniform(const tq_costs *c, const tq_target *t, const bool *pinned, tq_plan *plan, tq_budget *out);
/* One uniform plan. False when a matrix cannot take the choice. */
bool tq_budget_set_all(const tq_costs *c, tq_choice choice, const bool *pinned, tq_plan *plan);

/* "400MiB", "1.5GiB", "800KiB" or bytes; false when it is not one. */
bool tq_size_parse(const char *text, double *bytes);

#endif
