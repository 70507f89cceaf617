/* panel_tree.c - every change of the plan as a tree: what was undone stays, as a branch. */
#include <stdlib.h>

#include "tui/app_internal.h"
#include "tui/format.h"
#include "tui/keys.h"

enum { COLUMNS_MAX = 12 }; /* what branches off further to the right is drawn there */

/* Of the lines in [first, n): is there one of this column before its parent's column ends? */
static bool goes_on(const tq_branch *lines, size_t n, size_t from, size_t column) {
    for (size_t i = from; i < n && lines[i].column >= column; i++)
        if (lines[i].column == column) return !lines[i].begins;
    return false;
}

static void draw_line(tq_app *a, int y, tq_area at, const tq_branch *lines, size_t n, size_t i, size_t chosen) {
    const tq_branch *b = &lines[i];
    const tq_state *s = &a->draft.states[b->state];
    bool now = b->state == a->draft.now;
    int x = at.x + 2, end = at.x + at.w - 2, figures = end - 30;
    tq_style style = i == chosen ? TQ_ST_CHOSEN : now ? TQ_ST_TITLE : TQ_ST_NORMAL;
    tq_text kld, mib;
    size_t column = b->column < COLUMNS_MAX ? b->column : COLUMNS_MAX;
    for (size_t c = 0; c < column; c++)
        tq_put(&a->canvas, y, x + 2 * (int)c, end, TQ_ST_DIM,
               b->begins && c + 1 == column  ? "├─"
               : goes_on(lines, n, i + 1, c) ? "│"
                                             : " ");
    x += 2 * (int)column;
    tq_put(&a->canvas, y, x, end, now ? TQ_ST_GOOD : TQ_ST_NORMAL, now ? "●" : "○");
    tq_put(&a->canvas, y, x + 2, figures - 1, style, s->what[0] ? s->what : "as opened");
    tq_memory m = tq_plan_memory(a->model, s->plan);
    tq_putf(&a->canvas, y, figures, end, style, "%5.2f b/w %7s MiB", m.bpw_linear, tq_fmt_mib(m.total, mib));
    tq_put_right(&a->canvas, y, end - 8, end, style, s->eval_known ? tq_fmt_kld(s->eval.kld_mean, kld) : "");
}

static tq_branch *lines_of(const tq_app *a) {
    tq_branch *lines = calloc(a->draft.count + 1, sizeof *lines);
    if (lines && tq_draft_tree(&a->draft, lines)) return lines;
    free(lines);
    return NULL;
}

void tq_draw_tree(tq_app *a, tq_area at) {
    size_t n = a->draft.count;
    tq_branch *lines = lines_of(a);
    tq_clear(&a->canvas, at);
    tq_frame(&a->canvas, at);
    tq_putf(&a->canvas, at.y, at.x + 2, at.x + at.w - 14, TQ_ST_TITLE, " %zu change%s ", n - 1, n == 2 ? "" : "s");
    tq_put_right(&a->canvas, at.y, at.x + at.w - 8, at.x + at.w - 2, TQ_ST_TITLE, " KLD ");
    if (!lines) return;
    size_t end = tq_list_view(&a->menu, n, at.y + 1, at.h - 2);
    for (size_t i = a->menu.top; i < end; i++)
        draw_line(a, at.y + 1 + (int)(i - a->menu.top), at, lines, n, i, a->menu.at);
    free(lines);
}

void tq_tree_show(tq_app *a) {
    tq_branch *lines = lines_of(a);
    size_t at = 0;
    for (size_t i = 0; lines && i < a->draft.count; i++)
        if (lines[i].state == a->draft.now) at = i;
    free(lines);
    tq_list_begin(&a->menu, a->draft.count, at);
    a->overlay = TQ_OVER_TREE;
}

void tq_tree_key(tq_app *a, int key) {
    if (tq_list_key(&a->menu, key)) return;
    tq_branch *lines = key == TQ_KEY_ENTER ? lines_of(a) : NULL;
    a->overlay = TQ_OVER_NONE;
    if (lines && a->menu.at < a->draft.count) tq_edit_go(a, lines[a->menu.at].state);
    free(lines);
}
