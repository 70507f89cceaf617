/* list.h - a cursor in a list: the keys that move it, and which rows are in view. Pure. */
#ifndef TQ_LIST_H
#define TQ_LIST_H

#include <stdbool.h>
#include <stddef.h>

typedef struct tq_list {
    size_t count, at; /* rows, and the one that is chosen */
    size_t top, page; /* the first one in view, and how many are */
    int y;            /* the screen's row where `top` was drawn */
} tq_list;

/* How far a key moves where `page` rows are in view, to an end: LONG_MIN, LONG_MAX; 0: it does not move. */
long tq_key_steps(int key, size_t page);
/* Opens the list with row `at` chosen. */
void tq_list_begin(tq_list *l, size_t count, size_t at);
void tq_list_move(tq_list *l, long by); /* clipped to the rows */
bool tq_list_key(tq_list *l, int key);  /* false: the key does not move */
/* To be called before drawing `page` rows from the screen's row y on: as many rows as there are now, the chosen one in
 * view. Returns the one after the last in view. */
size_t tq_list_view(tq_list *l, size_t count, int y, int page);
/* Chooses the row that stands at the screen's row y; false: there is none. */
bool tq_list_click(tq_list *l, int y);
/* The same clipping for lines that scroll without a cursor. */
size_t tq_scrolled(size_t scroll, long by);

#endif
