/* panel_compare.c - A/B: two answers beside each other, or one below the other, and why they part. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tui/format.h"
#include "tui/panel_explain.h"
#include "tui/token_text.h"

enum { BESIDE_COLS = 100, CANDIDATE_ROWS = TQ_CANDIDATES + 1 };

static const char *text_of(const tq_compare_view *v, int k) {
    return v->result ? v->result->side[k].text : v->text[k] ? v->text[k] : "";
}

/* One answer, with its name in the line above it. */
static void draw_side(tq_app *a, tq_area at, int k) {
    const tq_compare_view *v = &a->compare;
    const tq_told *told = v->result ? &v->result->side[k] : NULL;
    const char *text = text_of(v, k);
    char stats[64] = "";
    if (told) snprintf(stats, sizeof stats, "%zu tokens%s", told->tokens, told->ended ? "" : ", cut");
    tq_putf(&a->canvas, at.y, at.x, at.x + at.w, k ? TQ_ST_KEY : TQ_ST_CHANGED, "%c %s", k ? 'b' : 'a', v->name[k]);
    tq_put_right(&a->canvas, at.y, at.x + 20, at.x + at.w, TQ_ST_DIM, stats);
    at.y++;
    at.h--;
    if (!told || told->token < 0) {
        tq_draw_marked(a, at, text, strlen(text), strlen(text));
        return;
    }
    size_t mark = told->mark, mark_end = told->mark_end;
    char *marked = tq_marked_text(a->tokenizer, text, told->token, &mark, &mark_end);
    tq_draw_marked(a, at, marked ? marked : text, mark, mark_end);
    free(marked);
}

/* Both answers in h rows. */
static void draw_answers(tq_app *a, tq_area at, bool beside) {
    if (beside) {
        int w = (at.w - 3) / 2;
        draw_side(a, (tq_area){at.y, at.x, at.h, w}, 0);
        draw_side(a, (tq_area){at.y, at.x + at.w - w, at.h, w}, 1);
        for (int y = at.y; y < at.y + at.h; y++)
            tq_put(&a->canvas, y, at.x + w + 1, at.x + w + 2, TQ_ST_BORDER, "│");
    } else {
        int h = at.h / 2;
        draw_side(a, (tq_area){at.y, at.x, h, at.w}, 0);
        draw_side(a, (tq_area){at.y + h, at.x, h, at.w}, 1);
    }
}

static void draw_difference(tq_app *a, int y, int x, int end) {
    const tq_comparison *c = a->compare.result;
    tq_token_text one, other;
    tq_text kld, mean;
    const char *t0 = tq_token_show(a->tokenizer, c->side[0].token, one);
    const char *t1 = tq_token_show(a->tokenizer, c->side[1].token, other);
    tq_fmt_kld(c->kld, kld);
    tq_fmt_kld(c->kld_common, mean);
    if (c->diverged)
        tq_putf(&a->canvas, y, x, end, TQ_ST_WARN, "after %zu tokens in common (mean KLD %s): %s against %s, KLD %s",
                c->common, mean, t0, t1, kld);
    else if (c->side[0].token >= 0)
        tq_putf(&a->canvas, y, x, end, TQ_ST_GOOD, "no token differs (mean KLD %s); furthest apart at %s, KLD %s", mean,
                t0, kld);
    else
        tq_putf(&a->canvas, y, x, end, TQ_ST_GOOD, "no difference at all: %zu tokens, KLD 0", c->common);
}

static void draw_result(tq_app *a, tq_area at) {
    tq_compare_view *v = &a->compare;
    const tq_comparison *c = v->result;
    int w = (at.w - 3) / 2, y = at.y;
    draw_difference(a, y++, at.x, at.x + at.w);
    if (c->side[0].token >= 0) {
        tq_draw_candidates(a, y, at.x, at.x + w, c->side[0].top, c->side[0].token);
        tq_draw_candidates(a, y, at.x + at.w - w, at.x + at.w, c->side[1].top, c->side[1].token);
        y += CANDIDATE_ROWS;
    }
    tq_area rest = {y, at.x, at.y + at.h - y, at.w};
    if (rest.h < 1) return;
    if (v->why)
        tq_draw_explanation(a, rest, v->why, v->name[0], v->name[1], &v->scroll);
    else if (v->step == TQ_COMPARE_EXPLAINS)
        tq_draw_busy(a, y, at.x, at.x + at.w);
    else if (*v->failed)
        tq_putf(&a->canvas, y, at.x, at.x + at.w, TQ_ST_BAD, "! %s", v->failed);
    else
        tq_put(&a->canvas, y, at.x, at.x + at.w, TQ_ST_DIM,
               c->diverged             ? "x finds the layers that do it"
               : c->side[0].token >= 0 ? "x shows what each layer moves there"
                                       : "");
}

static void draw_title(tq_app *a, tq_area at) {
    char one[64], other[64];
    const tq_compare_view *v = &a->compare;
    int end = at.x + at.w - 2, x = tq_put(&a->canvas, at.y, at.x + 2, end, TQ_ST_TITLE, " A/B ");
    x = tq_put(&a->canvas, at.y, x, end, TQ_ST_KEY, " a");
    x = tq_putf(&a->canvas, at.y, x, end, TQ_ST_CHOSEN, " %.24s", tq_compare_side_name(a, v->side[0], one));
    x = tq_put(&a->canvas, at.y, x, end, TQ_ST_KEY, "  b");
    x = tq_putf(&a->canvas, at.y, x, end, TQ_ST_CHOSEN, " %.24s", tq_compare_side_name(a, v->side[1], other));
    (void)tq_put(&a->canvas, at.y, x, end, TQ_ST_TITLE, " ");
}

/* As many as the longer one takes, but for what the differences need. */
static int rows_of_answers(tq_app *a, tq_area in, bool beside) {
    const tq_compare_view *v = &a->compare;
    int width = beside ? (in.w - 3) / 2 : in.w, most = v->result ? in.h / 3 : in.h - 2, lines = 1;
    for (int k = 0; k < 2; k++) {
        int n = tq_marked_lines(a, text_of(v, k), width - 2); /* a mark takes two columns more */
        if (n > lines) lines = n;
    }
    if (!beside) return 2 * (lines + 1) < most ? 2 * (lines + 1) : most / 2 * 2 < 4 ? 4 : most / 2 * 2;
    return lines + 2 < most ? lines + 2 : most;
}

void tq_draw_compare(tq_app *a, tq_area at) {
    tq_compare_view *v = &a->compare;
    bool beside = at.w >= BESIDE_COLS;
    tq_clear(&a->canvas, at);
    tq_frame(&a->canvas, at);
    draw_title(a, at);
    tq_area in = {at.y + 1, at.x + 2, at.h - 2, at.w - 4};
    if (!*v->prompt) {
        tq_put(&a->canvas, in.y, in.x, in.x + in.w, TQ_ST_DIM, "Both sides answer one prompt with the same seed.");
        return;
    }
    int x = tq_put(&a->canvas, in.y, in.x, in.x + in.w, TQ_ST_TITLE, "you ");
    tq_put(&a->canvas, in.y, x, in.x + in.w, TQ_ST_NORMAL, v->prompt);
    int h = rows_of_answers(a, in, beside);
    draw_answers(a, (tq_area){in.y + 1, in.x, h, in.w}, beside);
    tq_area rest = {in.y + 1 + h, in.x, in.h - 1 - h, in.w};
    if (v->result)
        draw_result(a, rest);
    else if (v->step == TQ_COMPARE_ANSWERS)
        tq_draw_busy(a, rest.y, rest.x, rest.x + rest.w);
    else if (*v->failed)
        tq_putf(&a->canvas, rest.y, rest.x, rest.x + rest.w, TQ_ST_BAD, "! %s", v->failed);
}
