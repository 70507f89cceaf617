/* tune.h - budgets on the screen: what the sweep found, pins, targets, and the order of the table. */
#ifndef TQ_TUNE_H
#define TQ_TUNE_H

#include "tui/app_internal.h"

bool tq_tune_init(tq_tune *t, size_t matrices); /* false when memory is short */
void tq_tune_free(tq_tune *t);

/* The table of costs, NULL when there is none for the plan's residual, rotation and seed. */
const tq_costs *tq_tune_costs(const tq_app *a);
/* KLD of a matrix alone as the plan has it, with plain codes; NaN when it is not known. */
double tq_tune_own(const tq_app *a, size_t matrix);
/* KLD of a matrix alone in 4 bits; NaN when it is not known. */
double tq_tune_in_four(const tq_app *a, size_t matrix);
bool tq_tune_any(const tq_app *a); /* is anything known of any matrix? */
/* The most KLD that a MiB more for this matrix saves; NaN when it is not known. */
double tq_tune_gain(const tq_app *a, size_t matrix);
/* What is foretold for the plan; false when nothing is. */
bool tq_tune_foretold(const tq_app *a, double *kld);
bool tq_tune_plain(const tq_app *a); /* the plan has the codes that this was measured with */

/* "6MiB", "5.0" (bits a weight), "4.5 bpw", "KLD 0.01", "0.01" (a KLD, as it is below 1). */
bool tq_target_parse(const char *text, tq_target *t);
const char *tq_target_name(const tq_target *t, char buf[48]);

/* What the keys do. */
void tq_tune_sweep(tq_app *a);
void tq_tune_budget(tq_app *a, const char *text);
void tq_tune_lever(tq_app *a, int by); /* -1: less memory, 1: more */
void tq_tune_pin(tq_app *a);
void tq_tune_sort(tq_app *a);                    /* the next order, as soon as costs are known */
void tq_tune_sort_by(tq_app *a, tq_order order); /* costs are known */

size_t tq_tune_pins(const tq_app *a);              /* by p, so without embedding and head */
bool tq_tune_held(const tq_app *a, size_t matrix); /* do budgets leave it as it is? */
void tq_tune_event(tq_app *a, tq_event *e);
void tq_tune_forget(tq_app *a); /* another text */

#endif
