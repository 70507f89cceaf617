/* list.c - a cursor in a list. */
#include "tui/list.h"

#include <limits.h>

#include "tui/keys.h"

long tq_key_steps(int key, size_t page) {
    long p = page > 1 ? (long)page - 1 : 1;
    const struct {
        int key;
        long by;
    } table[] = {
        {TQ_KEY_UP, -1},         {'k', -1},        {TQ_KEY_DOWN, 1},       {'j', 1},
        {TQ_KEY_PGUP, -p},       {TQ_KEY_PGDN, p}, {TQ_CTRL('b'), -p},     {TQ_CTRL('f'), p},
        {TQ_KEY_HOME, LONG_MIN}, {'g', LONG_MIN},  {TQ_KEY_END, LONG_MAX}, {'G', LONG_MAX},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].key == key) return table[i].by;
    return 0;
}

void tq_list_begin(tq_list *l, size_t count, size_t at) {
    *l = (tq_list){.count = count, .at = at < count ? at : 0, .page = 1};
}

size_t tq_scrolled(size_t scroll, long by) {
    size_t far = by < 0 ? (size_t) - (by + 1) + 1 : (size_t)by;
    if (by < 0) return scroll > far ? scroll - far : 0;
    return scroll + far; /* no list is so long that this overflows */
}

void tq_list_move(tq_list *l, long by) {
    l->at = tq_scrolled(l->at, by);
    if (l->at >= l->count) l->at = l->count ? l->count - 1 : 0;
}

bool tq_list_key(tq_list *l, int key) {
    long by = tq_key_steps(key, l->page);
    if (by) tq_list_move(l, by);
    return by != 0;
}

size_t tq_list_view(tq_list *l, size_t count, int y, int page) {
    l->count = count;
    l->page = page > 0 ? (size_t)page : 0;
    l->y = y;
    tq_list_move(l, 0);
    size_t most = count > l->page ? count - l->page : 0;
    if (l->at < l->top) l->top = l->at;
    if (l->page && l->at >= l->top + l->page) l->top = l->at - l->page + 1;
    if (l->top > most) l->top = most;
    return count - l->top < l->page ? count : l->top + l->page;
}

bool tq_list_click(tq_list *l, int y) {
    size_t row = l->top + (size_t)(y - l->y);
    if (y < l->y || (size_t)(y - l->y) >= l->page || row >= l->count) return false;
    l->at = row;
    return true;
}
