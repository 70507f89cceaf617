/* compare.h - A/B on the screen: two sides answer one prompt; what is known of it, and what its keys do. */
#ifndef TQ_COMPARE_VIEW_H
#define TQ_COMPARE_VIEW_H

#include "model/compare.h"

struct tq_app;
struct tq_event;

/* Sides: the model as stored, the plan now, and then every snapshot by its place among the named points. */
enum { TQ_SIDE_BASE, TQ_SIDE_PLAN, TQ_SIDE_NAMED };

typedef enum tq_compare_step { TQ_COMPARE_IDLE, TQ_COMPARE_ANSWERS, TQ_COMPARE_EXPLAINS } tq_compare_step;

typedef struct tq_compare_view {
    size_t side[2]; /* what is chosen for the next answer */
    char prompt[1024];
    tq_compare_step step;
    uint64_t tag;          /* of what was asked last; what comes with another tag is old */
    char name[2][64];      /* from here on: of the answers that are shown */
    char *text[2];         /* while they come; NULL: nothing yet */
    tq_plan *plan[2];      /* NULL: as stored */
    tq_comparison *result; /* NULL: not yet */
    tq_explanation *why;   /* NULL: not yet */
    char failed[256];      /* why there is no answer; "": it did not fail */
    size_t scroll;         /* of the explanation */
} tq_compare_view;

void tq_compare_free(tq_compare_view *v);
void tq_compare_show(struct tq_app *a);
void tq_compare_key(struct tq_app *a, int key);
void tq_compare_prompt(struct tq_app *a, const char *text); /* asks both sides */
void tq_compare_event(struct tq_app *a, struct tq_event *e);
const char *tq_compare_side_name(const struct tq_app *a, size_t side, char buf[64]);

/* Closes what is open, marks the matrices that an explanation points at, and moves the cursor to the first; key: what
 * opens it again. */
void tq_explain_jump(struct tq_app *a, const tq_explanation *x, char key);

#endif
