/* worst.h - the worst tokens of the evaluation on the screen: what is known of them, and what the keys do. */
#ifndef TQ_WORST_H
#define TQ_WORST_H

#include "tui/list.h"
#include "tui/worker.h"

struct tq_app;

typedef struct tq_worst_view {
    tq_worst_list *list;                /* NULL: no evaluation is through yet */
    tq_list cursor;                     /* of its items */
    tq_explanation *seen[TQ_WORST_MAX]; /* of each item: both predictions, or all of it; NULL: not asked yet */
    uint64_t tag;                       /* of what was asked last */
    bool asking;                        /* and it has not come yet */
    size_t asked;                       /* the item that it is of */
    bool explains;                      /* all of it was asked */
    char failed[256];                   /* why there is nothing of the chosen one */
    size_t scroll;                      /* of the explanation */
} tq_worst_view;

void tq_worst_free(tq_worst_view *v);
void tq_worst_show(struct tq_app *a);
void tq_worst_key(struct tq_app *a, int key);
void tq_worst_chosen(struct tq_app *a); /* another row is: what is to be seen of it is asked for */
void tq_worst_event(struct tq_app *a, struct tq_event *e);
bool tq_worst_stale(const struct tq_app *a); /* the list is of another plan than the one now */

#endif
