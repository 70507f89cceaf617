/* panel_worst.c - the worst tokens of the evaluation: the list, the text around one, both predictions, and why. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tui/format.h"
#include "tui/panel_explain.h"
#include "tui/token_text.h"

/* The bytes of n ids on one line: what cannot be seen is as tq_token_show has it, or a blank. */
static char *text_of(const tq_app *a, const int *ids, size_t n) {
    char *text = NULL;
    size_t bytes = 0;
    tq_err err;
    if (tq_tokenizer_decode(a->tokenizer, ids, n, false, &text, &bytes, &err) != TQ_OK) return NULL;
    for (size_t i = 0; i < bytes; i++)
        if ((unsigned char)text[i] < ' ') text[i] = ' ';
    return text;
}

/* The last `before` tokens up to the worst one, and `after` following it, with its place. */
static char *context_of(const tq_app *a, const tq_worst_item *x, size_t before, size_t after, size_t *mark,
                        size_t *mark_end) {
    if (before > x->before) before = x->before;
    if (after > x->after) after = x->after;
    const int *from = x->ids + (x->before - before);
    char *lead = text_of(a, from, before), *with = text_of(a, from, before + 1);
    char *all = text_of(a, from, before + 1 + after), *marked = NULL;
    if (lead && with && all) {
        *mark = strlen(lead);
        *mark_end = strlen(with) < strlen(all) ? strlen(with) : strlen(all);
        if (*mark > *mark_end) *mark = *mark_end;
        marked = tq_marked_text(a->tokenizer, all, x->ids[x->before], mark, mark_end);
    }
    free(lead);
    free(with);
    free(all);
    return marked;
}

/* As much of the text as fits, the token in any case. */
static void put_around(tq_app *a, int y, int x, int end, const char *text, size_t mark_end) {
    enum { AFTER = 4 };
    size_t from = 0;
    while (from < mark_end && tq_text_width(&a->canvas, text + from, mark_end - from) > end - x - AFTER)
        do
            from++;
        while ((text[from] & 0xC0) == 0x80);
    if (from > 0) x = tq_put(&a->canvas, y, x, end, TQ_ST_DIM, "…");
    tq_put(&a->canvas, y, x, end, TQ_ST_DIM, text + from);
}

static void draw_item(tq_app *a, int y, int x, int end, size_t i) {
    const tq_worst_item *item = &a->worst.list->items[i];
    tq_token_text one, other;
    tq_text kld;
    size_t mark = 0, mark_end = 0;
    int to = x + 17 + (end - x) / 4;
    bool same = item->where.base_top == item->where.top;
    tq_putf(&a->canvas, y, x, x + 15, TQ_ST_NORMAL, "%3zu %9s", i + 1, tq_fmt_kld(item->where.kld, kld));
    tq_putf(&a->canvas, y, x + 16, to, same ? TQ_ST_NORMAL : TQ_ST_WARN, same ? "%s" : "%s → %s",
            tq_token_show(a->tokenizer, item->where.base_top, one),
            tq_token_show(a->tokenizer, item->where.top, other));
    char *text = context_of(a, item, 12, 4, &mark, &mark_end);
    if (text) put_around(a, y, to + 1, end, text, mark_end);
    free(text);
    if (i == a->worst.cursor.at) tq_highlight(&a->canvas, y, x, end);
}

static void draw_list(tq_app *a, tq_area at) {
    tq_list *l = &a->worst.cursor;
    size_t end = tq_list_view(l, a->worst.list->n, at.y, at.h);
    for (size_t i = l->top; i < end; i++)
        draw_item(a, at.y + (int)(i - l->top), at.x, at.x + at.w, i);
}

/* The text around the chosen one, both predictions, and why they differ. */
static void draw_chosen(tq_app *a, tq_area at) {
    tq_worst_view *v = &a->worst;
    const tq_worst_item *item = &v->list->items[v->cursor.at];
    const tq_explanation *x = v->seen[v->cursor.at];
    size_t mark = 0, mark_end = 0;
    int lines = at.h > 24 ? 5 : 2, w = (at.w - 3) / 2, y = at.y;
    char *text = context_of(a, item, at.h > 24 ? 90 : 40, 24, &mark, &mark_end);
    if (text) tq_draw_marked(a, (tq_area){y, at.x, lines, at.w}, text, mark, mark_end);
    free(text);
    y += lines;
    tq_put(&a->canvas, y, at.x, at.x + w, TQ_ST_CHANGED, "base");
    tq_put(&a->canvas, y, at.x + at.w - w, at.x + at.w, TQ_ST_KEY, "plan");
    if (x) {
        tq_draw_candidates(a, y + 1, at.x, at.x + w, x->top[0], item->ids[item->before]);
        tq_draw_candidates(a, y + 1, at.x + at.w - w, at.x + at.w, x->top[1], item->ids[item->before]);
    }
    y += TQ_CANDIDATES + 1;
    tq_area rest = {y, at.x, at.y + at.h - y, at.w};
    if (rest.h < 1) return;
    if (v->asking)
        tq_draw_busy(a, y, at.x, at.x + at.w);
    else if (x && x->blocks)
        tq_draw_explanation(a, rest, x, "base", "plan", &v->scroll);
    else if (*v->failed)
        tq_putf(&a->canvas, y, at.x, at.x + at.w, TQ_ST_BAD, "! %s", v->failed);
    else if (x)
        tq_put(&a->canvas, y, at.x, at.x + at.w, TQ_ST_DIM,
               item->where.base_top == item->where.top ? "x shows what each layer moves there"
                                                       : "x finds the layers that do it");
}

void tq_draw_worst(tq_app *a, tq_area at) {
    const tq_worst_view *v = &a->worst;
    tq_area in = {at.y + 1, at.x + 2, at.h - 2, at.w - 4};
    tq_clear(&a->canvas, at);
    tq_frame(&a->canvas, at);
    tq_putf(&a->canvas, at.y, at.x + 2, at.x + at.w - 2, TQ_ST_TITLE, " worst tokens%s ",
            tq_worst_stale(a) ? " (of another plan)" : "");
    if (!v->list || !v->list->n) {
        tq_put(&a->canvas, in.y, in.x, in.x + in.w, TQ_ST_DIM,
               !a->status.text_tokens ? "there is no text to evaluate: ':text FILE' gives one"
               : !v->list             ? "they come with the evaluation"
                                      : "none: the plan predicts every token as the model as stored does");
        return;
    }
    int h = in.h > 30 ? 12 : in.h / 4;
    tq_put(&a->canvas, in.y, in.x, in.x + in.w, TQ_ST_DIM, "          KLD   base → plan");
    draw_list(a, (tq_area){in.y + 1, in.x, h, in.w});
    tq_hline(&a->canvas, in.y + 1 + h, at.x, at.x + at.w - 1);
    draw_chosen(a, (tq_area){in.y + 2 + h, in.x, in.h - 2 - h, in.w});
}
