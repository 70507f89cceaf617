/* panel_texts.c - the plan on several texts: those that are held out, and the one that it is tuned on. */
#include <string.h>

#include "tui/app_internal.h"
#include "tui/format.h"

static const tq_state *now(const tq_app *a) {
    return &a->draft.states[a->draft.now];
}

static tq_text_change change_of(const tq_app *a, size_t i) {
    tq_text_figures none = {0};
    const tq_state *before = tq_draft_before(&a->draft);
    return tq_text_compare(before ? &before->texts[i] : &none, &now(a)->texts[i]);
}

bool tq_texts_only_tuning(const tq_app *a) {
    tq_text_role roles[TQ_TEXTS_MAX];
    tq_text_change changes[TQ_TEXTS_MAX];
    size_t n = a->status.n_texts;
    for (size_t i = 0; i < n; i++) {
        roles[i] = a->status.texts[i].role;
        changes[i] = change_of(a, i);
    }
    return n > 1 && tq_only_tuning_improves(roles, changes, n);
}

int tq_draw_other_texts(tq_app *a, int y, int x, int end) {
    for (size_t i = 1; i < a->status.n_texts; i++) {
        const tq_text_status *t = &a->status.texts[i];
        const tq_text_figures *f = &now(a)->texts[i];
        const char *name = t->role == TQ_TEXT_TUNING ? "tuning" : t->name;
        tq_text kld;
        int width = tq_text_width(&a->canvas, name, 16) + 9;
        if (x + 2 + width > end) break;
        x = tq_putf(&a->canvas, y, x + 2, end, TQ_ST_DIM, "%.16s %s", name, f->known ? tq_fmt_kld(f->kld, kld) : "…");
    }
    return x;
}

/* Columns from the left edge; in a narrow terminal the tokens go, and the change has a line of its own. */
typedef struct columns {
    int role, tokens, kld, change; /* tokens, change: 0: not there */
} columns;
static const columns wide = {18, 27, 36, 54}, narrow = {18, 0, 28, 0};

static const columns *columns_for(int width) {
    return width >= 76 ? &wide : &narrow;
}

static void draw_change(tq_app *a, int y, int x, int end, const tq_text_change *c) {
    tq_text change, spread;
    tq_putf(&a->canvas, y, x, end,
            c->improves  ? TQ_ST_GOOD
            : c->worsens ? TQ_ST_BAD
                         : TQ_ST_DIM,
            "%s ± %s %s", tq_fmt_kld_change(0, c->mean, change), tq_fmt_kld(c->error, spread),
            c->improves  ? "▼"
            : c->worsens ? "▲"
                         : "");
}

/* Returns the line after it. */
static int draw_text(tq_app *a, int y, int x, int end, size_t i) {
    const tq_text_status *t = &a->status.texts[i];
    const tq_text_figures *f = &now(a)->texts[i];
    const columns *at = columns_for(end - x);
    tq_text tokens, kld, error;
    tq_put(&a->canvas, y, x, x + at->role - 1, TQ_ST_KEY, t->name);
    tq_put(&a->canvas, y, x + at->role, x + at->role + 9, t->role == TQ_TEXT_TUNING ? TQ_ST_CHANGED : TQ_ST_NORMAL,
           tq_text_role_name(t->role));
    if (!f->known) {
        tq_put(&a->canvas, y, x + at->kld, end, TQ_ST_DIM, "…");
        return y + 1;
    }
    if (at->tokens)
        tq_put_right(&a->canvas, y, x + at->tokens, x + at->tokens + 7, TQ_ST_NORMAL, tq_fmt_count(f->tokens, tokens));
    tq_putf(&a->canvas, y, x + at->kld, end, TQ_ST_NORMAL, "%s ± %s", tq_fmt_kld(f->kld, kld),
            tq_fmt_kld_error(f->kld, f->error, error));
    tq_text_change c = change_of(a, i);
    if (!c.known) return y + 1;
    if (!at->change) y++;
    draw_change(a, y, x + (at->change ? at->change : at->kld), end, &c);
    return y + 1;
}

/* Lines of a sentence; returns the one after them. */
static int draw_wrapped(tq_app *a, int y, int bottom, int x, int end, tq_style style, const char *text) {
    for (size_t skip; *text && y < bottom; y++) {
        size_t n = tq_wrap(&a->canvas, text, end - x, &skip);
        tq_putf(&a->canvas, y, x, end, style, "%.*s", (int)n, text);
        text += n + skip;
    }
    return y;
}

void tq_draw_texts(tq_app *a, tq_area at) {
    size_t n = a->status.n_texts;
    int x = at.x + 2, end = at.x + at.w - 2, bottom = at.y + at.h - 1, y = at.y + 2;
    bool whole = columns_for(end - x)->change != 0;
    tq_clear(&a->canvas, at);
    tq_frame(&a->canvas, at);
    tq_put(&a->canvas, at.y, at.x + 2, end, TQ_ST_TITLE, " texts ");
    tq_put(&a->canvas, at.y + 1, x, end, TQ_ST_DIM,
           whole ? "text              role      tokens  KLD               change by last edit"
                 : "text              role      KLD, change by last edit");
    for (size_t i = 0; i < n && y < bottom; i++)
        y = draw_text(a, y, x, end, i);
    y = draw_wrapped(a, y, bottom, x, end, TQ_ST_DIM,
                     n ? ":text +FILE adds one that is held out"
                       : "none: ':text FILE' gives one, ':text sample' the sample's");
    if (tq_texts_only_tuning(a))
        y = draw_wrapped(a, y + 1, bottom, x, end, TQ_ST_WARN,
                         "only the tuning text improves: no text that is held out does");
    (void)draw_wrapped(
        a, y + 1, bottom, x, end, TQ_ST_DIM,
        "▼ improves, ▲ worsens: by more than two standard errors of the paired differences of the pieces of "
        "each text, both plans on the same tokens");
}
