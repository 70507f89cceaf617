/* hints.c - keys and what they do, named on the screen. */
#include "tui/hints.h"

#include <string.h>

static int width_of(const tq_canvas *c, const tq_hint *h) {
    return tq_text_width(c, h->key, strlen(h->key)) + tq_text_width(c, h->text, strlen(h->text)) + 3;
}

int tq_hints_width(const tq_canvas *c, const tq_hint *hints) {
    int width = 0;
    for (; hints->key; hints++)
        width += width_of(c, hints);
    return width;
}

int tq_draw_hints(tq_canvas *c, int y, int x, int end, const tq_hint *hints, size_t sure) {
    size_t n = 0;
    int kept = 0;
    while (hints[n].key)
        n++;
    for (size_t i = n > sure ? n - sure : 0; i < n; i++)
        kept += width_of(c, &hints[i]);
    for (size_t i = 0; i < n; i++) {
        bool last = i + sure >= n;
        if (!last && x + width_of(c, &hints[i]) - 2 > end - kept) continue; /* the blanks after it may be cut */
        x = tq_put(c, y, x, end, TQ_ST_KEY, hints[i].key) + 1;
        x = tq_put(c, y, x, end, TQ_ST_DIM, hints[i].text) + 2;
    }
    return x;
}
