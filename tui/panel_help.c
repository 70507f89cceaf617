/* panel_help.c - help, messages, menus and the title. */
#include <stdio.h>
#include <string.h>

#include "tui/actions.h"
#include "tui/format.h"
#include "tui/term.h"

static tq_area boxed(tq_app *a, tq_area at, const char *title) {
    tq_clear(&a->canvas, at);
    tq_frame(&a->canvas, at);
    tq_put(&a->canvas, at.y, at.x + 2, at.x + at.w - 2, TQ_ST_TITLE, title);
    return (tq_area){at.y + 1, at.x + 2, at.h - 2, at.w - 4};
}

/* Lines that scroll: `at` is where line 0 would stand. */
typedef struct page {
    tq_app *a;
    tq_area in;
    long line;
} page;

static int row_of(page *p) { /* -1: not in view */
    long y = p->line++ - (long)p->a->scroll;
    return y >= 0 && y < p->in.h ? p->in.y + (int)y : -1;
}

static void heading(page *p, const char *text) {
    if (p->line) p->line++;
    int y = row_of(p);
    if (y >= 0) tq_put(&p->a->canvas, y, p->in.x, p->in.x + p->in.w, TQ_ST_TITLE, text);
}

/* A key or mark, and what it means, in as many lines as it takes. */
static void entry(page *p, tq_style style, const char *left, int width, const char *text) {
    int x = p->in.x + width, end = p->in.x + p->in.w;
    bool first = true;
    do {
        size_t skip, n = tq_wrap(&p->a->canvas, text, end - x, &skip);
        int y = row_of(p);
        if (y >= 0) {
            if (first) tq_put(&p->a->canvas, y, p->in.x + 2, x, style, left);
            tq_putf(&p->a->canvas, y, x, end, TQ_ST_NORMAL, "%.*s", (int)n, text);
        }
        first = false;
        text += n + skip;
    } while (*text);
}

void tq_draw_help(tq_app *a, tq_area at) {
    page p = {a, boxed(a, at, " Help "), 0};
    size_t n, meanings;
    const tq_action *actions = tq_actions(&n);
    const tq_meaning *m = tq_meanings(&meanings);
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || strcmp(actions[i].section, actions[i - 1].section) != 0) heading(&p, actions[i].section);
        entry(&p, TQ_ST_KEY, actions[i].keys, 12, actions[i].help);
    }
    heading(&p, "Command line");
    for (size_t i = 0; i < tq_commands_help_count; i++)
        entry(&p, TQ_ST_KEY, "", 2, tq_commands_help[i]);
    heading(&p, "Marks and colours");
    for (size_t i = 0; i < meanings; i++)
        entry(&p, m[i].style, m[i].mark, 16, m[i].what);
    entry(&p, TQ_ST_BAR_USED, tq_block_glyph(0.6), 16,
          "right of rel.MSE: the matrix's own KLD, before that is known its squared error, relative to the largest");
    heading(&p, "Figures");
    entry(&p, TQ_ST_TITLE, "rel.MSE", 12, "||W - Q||² / ||W||²; of a block, the mean over its weights");
    entry(&p, TQ_ST_TITLE, "KLD", 12, "KL(base || plan) a token, in nats, mean ± standard error");
    entry(&p, TQ_ST_TITLE, "own KLD", 12,
          "of a matrix alone, all others as stored, with plain codes; (of a kept one in 4 bits); m measures it");
    entry(&p, TQ_ST_TITLE, "per MiB", 12, "KLD that a MiB more for this matrix saves at most");
    entry(&p, TQ_ST_TITLE, "predicted", 12,
          "KLD of the plan by its matrices' own, brought to the scale of whole plans");
    entry(&p, TQ_ST_TITLE, "same top", 12, "tokens for which both models would choose the same");
    entry(&p, TQ_ST_TITLE, "PPL", 12, "perplexity of the model as stored → with the plan, and their ratio");
    size_t most = p.line > p.in.h ? (size_t)(p.line - p.in.h) : 0;
    if (a->scroll > most) {
        a->scroll = most;
        tq_draw_help(a, at);
    }
}

void tq_draw_messages(tq_app *a, tq_area at) {
    page p = {a, boxed(a, at, " Messages "), 0};
    size_t n = a->said_count < TQ_SAID_MAX ? a->said_count : TQ_SAID_MAX;
    if (n == 0) tq_put(&a->canvas, p.in.y, p.in.x, p.in.x + p.in.w, TQ_ST_DIM, "nothing yet");
    for (size_t i = 0; i < n; i++) { /* newest first */
        const tq_said *s = &a->said[(a->said_count - 1 - i) % TQ_SAID_MAX];
        char when[32];
        unsigned long sec = (unsigned long)s->at;
        snprintf(when, sizeof when, "%lu:%02lu", sec / 60, sec % 60);
        entry(&p, s->tone == TQ_REFUSES ? TQ_ST_BAD : TQ_ST_DIM, when, 9, s->text);
    }
    size_t most = p.line > p.in.h ? (size_t)(p.line - p.in.h) : 0;
    if (a->scroll > most) {
        a->scroll = most;
        tq_draw_messages(a, at);
    }
}

void tq_draw_export(tq_app *a, tq_area at) {
    enum { HEIGHT = TQ_EXPORT_COUNT + 3, WIDTH = 100 };
    const int h = HEIGHT, w = WIDTH < at.w ? WIDTH : at.w;
    tq_area box = {at.y + (at.h - h) / 2, at.x + (at.w - w) / 2, h, w};
    tq_area in = boxed(a, box, " Export ");
    for (int f = 0; f < TQ_EXPORT_COUNT; f++) {
        const tq_export_traits *t = tq_export_get((tq_export_format)f);
        tq_err err;
        bool can = !t->check || t->check(tq_draft_plan(&a->draft), &err) == TQ_OK;
        tq_putf(&a->canvas, in.y + f, in.x, in.x + in.w, can ? TQ_ST_KEY : TQ_ST_DIM, "%c %s", t->key, t->name);
        tq_putf(&a->canvas, in.y + f, in.x + 20, in.x + in.w, can ? TQ_ST_NORMAL : TQ_ST_DIM, "%s%s", can ? "" : "× ",
                can ? t->what : err.msg);
        if ((size_t)f == a->menu.at) tq_highlight(&a->canvas, in.y + f, in.x - 1, in.x + in.w + 1);
    }
    (void)tq_list_view(&a->menu, TQ_EXPORT_COUNT, in.y, TQ_EXPORT_COUNT);
    tq_put(&a->canvas, in.y + TQ_EXPORT_COUNT, in.x, in.x + in.w, TQ_ST_DIM,
           "× is refused, and why; Enter says all of it where it does not fit");
}

void tq_draw_confirm(tq_app *a, tq_area at) {
    int w = tq_text_width(&a->canvas, a->question, sizeof a->question) + 6;
    if (w > at.w) w = at.w;
    tq_area box = {at.y + (at.h - 3) / 2, at.x + (at.w - w) / 2, 3, w};
    tq_area in = boxed(a, box, "");
    tq_put(&a->canvas, in.y, in.x, in.x + in.w, TQ_ST_WARN, a->question);
}

void tq_draw_title(tq_app *a) {
    int cols = a->canvas.cols;
    char plan[96], right[128] = "";
    bool changed = tq_draft_changed(&a->draft);
    snprintf(plan, sizeof plan, "plan %.60s%s", *a->plan_path ? a->plan_path : "draft", changed ? "*" : "");
    int x = tq_put(&a->canvas, 0, 1, cols, TQ_ST_TITLE, "tqexplore") + 2;
    x = tq_put(&a->canvas, 0, x, cols, TQ_ST_KEY, a->name) + 2;
    tq_text mib;
    if (cols >= 90)
        x = tq_putf(&a->canvas, 0, x, cols, TQ_ST_DIM, "%zu blocks  %zu matrices  %s MiB",
                    tq_model_config(a->model)->blocks, tq_model_matrices(a->model),
                    tq_fmt_mib(tq_model_stored_bytes(a->model), mib));
    size_t n = 0;
    if (cols >= 110 && a->status.kernels)
        n = (size_t)snprintf(right, sizeof right, "   %s  %d thread%s", a->status.kernels, a->status.threads,
                             a->status.threads == 1 ? "" : "s");
    if (*a->status.text_name && cols >= 80) {
        const char *slash = strrchr(a->status.text_name, '/');
        snprintf(right + n, sizeof right - n, "   text %.40s", slash ? slash + 1 : a->status.text_name);
    }
    int end = cols - 1 - tq_text_width(&a->canvas, right, sizeof right);
    tq_put_right(&a->canvas, 0, x + 2, end, changed ? TQ_ST_CHANGED : TQ_ST_DIM, plan);
    tq_put(&a->canvas, 0, end < x ? x : end, cols - 1, TQ_ST_DIM, right);
}
