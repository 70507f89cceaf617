/* screen.c - where the panels are, and the whole screen drawn. */
#include <stdio.h>
#include <string.h>

#include "tui/overlay.h"

enum { ROWS_MIN = 20, COLS_MIN = 60, COST_ROWS = 3, INSPECT_COLS = 100, CHAT_ROWS = 30 };

tq_layout tq_layout_for(int rows, int cols) {
    tq_layout l = {.inspect_line = -1};
    if (rows < ROWS_MIN || cols < COLS_MIN) {
        l.too_small = true;
        return l;
    }
    int chat = 0;
    if (rows >= CHAT_ROWS) {
        chat = (rows - 20) / 4;
        if (chat < 4) chat = 4;
        if (chat > 16) chat = 16;
    }
    /* title, frame, cost, chat, frame, function bar */
    int body = rows - 1 - 1 - (COST_ROWS + 1) - (chat ? chat + 1 : 0) - 1 - 1;
    int inner = cols - 2;
    l.layers = (tq_area){2, 1, body, inner};
    if (cols >= INSPECT_COLS) {
        int w = cols - 74;
        if (w < 40) w = 40;
        if (w > 90) w = 90;
        l.inspect = (tq_area){2, cols - 1 - w, body, w};
        l.layers.w = inner - w - 1;
        l.inspect_line = cols - 2 - w;
    }
    l.cost = (tq_area){2 + body + 1, 1, COST_ROWS, inner};
    if (chat) l.chat = (tq_area){l.cost.y + COST_ROWS + 1, 1, chat, inner};
    return l;
}

static void draw_frames(tq_app *a, const tq_layout *l, int rows, int cols) {
    tq_frame(&a->canvas, (tq_area){1, 0, rows - 2, cols});
    tq_hline(&a->canvas, l->cost.y - 1, 0, cols - 1);
    if (l->chat.h) tq_hline(&a->canvas, l->chat.y - 1, 0, cols - 1);
    if (l->inspect_line >= 0) tq_vline(&a->canvas, l->inspect_line, 1, l->cost.y - 1);
}

/* That it is, or the question that is asked, in as many lines as it takes. */
static void draw_too_small(tq_app *a) {
    char text[96];
    tq_canvas *c = &a->canvas;
    snprintf(text, sizeof text, "%d x %d is too small: needs %d x %d", c->cols, c->rows, COLS_MIN, ROWS_MIN);
    const char *p = a->overlay == TQ_OVER_CONFIRM ? a->question : text;
    for (int y = c->rows > 4 ? c->rows / 2 - 1 : 0; *p && c->cols > 0; y++) {
        size_t skip, n = tq_wrap(c, p, c->cols, &skip);
        tq_putf(c, y, 0, c->cols, TQ_ST_WARN, "%.*s", (int)n, p);
        p += n + skip;
    }
}

void tq_draw_screen(tq_app *a, int rows, int cols) {
    tq_canvas *c = &a->canvas;
    if (!tq_canvas_reset(c, rows, cols)) return;
    a->layout = tq_layout_for(rows, cols);
    const tq_layout *l = &a->layout;
    if (l->too_small) {
        draw_too_small(a);
        return;
    }
    if (a->focus == TQ_FOCUS_INSPECT && l->inspect_line < 0) {
        /* Made narrower: the panel goes over the layers. */
        a->inspect_over = true;
        tq_app_focus(a, TQ_FOCUS_LAYERS);
    }
    draw_frames(a, l, rows, cols);
    tq_draw_title(a);
    bool chat_over = a->focus == TQ_FOCUS_CHAT && l->chat.h == 0;
    if (chat_over)
        tq_draw_chat(a, l->layers);
    else if (a->inspect_over && l->inspect_line < 0)
        tq_draw_inspect(a, l->layers);
    else
        tq_draw_layers(a, l->layers);
    if (l->inspect_line >= 0 && !chat_over) tq_draw_inspect(a, l->inspect);
    tq_draw_metrics(a, l->cost);
    if (l->chat.h) tq_draw_chat(a, l->chat);
    tq_draw_overlay(a, rows, cols);
    tq_draw_bar(a, rows - 1);
}
