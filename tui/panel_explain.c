/* panel_explain.c - predictions and explanations, as A/B and the worst tokens show them. */
#include "tui/panel_explain.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tui/explain_text.h"
#include "tui/format.h"
#include "tui/token_text.h"

/* --- marked text --- */

char *tq_marked_text(const tq_tokenizer *t, const char *text, int token, size_t *mark, size_t *mark_end) {
    tq_token_text name;
    char *out = NULL;
    int before = (int)*mark, n = (int)(*mark_end - *mark);
    const char *inner = n ? text + before : tq_token_show(t, token, name);
    if (!n) n = (int)strlen(inner);
    if (asprintf(&out, "%.*s[%.*s]%s", before, text, n, inner, text + *mark_end) < 0) return NULL;
    *mark_end = *mark + (size_t)n + 2;
    return out;
}

/* One line of a text: bytes [from, from + n) of it. */
static void put_line(tq_app *a, int y, tq_area at, const char *text, size_t from, size_t n, size_t mark, size_t end) {
    char part[1024];
    int x = at.x, stop = at.x + at.w;
    size_t cuts[4] = {from, mark, end, from + n};
    for (int k = 0; k < 3; k++) {
        size_t lo = cuts[k] < from ? from : cuts[k], hi = cuts[k + 1] > from + n ? from + n : cuts[k + 1];
        if (hi <= lo || lo >= from + n) continue;
        snprintf(part, sizeof part, "%.*s", (int)(hi - lo < 1000 ? hi - lo : 1000), text + lo);
        x = tq_put(&a->canvas, y, x, stop, k == 1 ? TQ_ST_CHOSEN : TQ_ST_NORMAL, part);
    }
}

/* Draws lines from `first` on, or only counts; *at_mark is the line in which the mark begins. */
static int walk(tq_app *a, tq_area at, const char *text, size_t mark, size_t end, int first, bool draw, int *at_mark) {
    size_t from = 0, skip = 0;
    int line = 0;
    do {
        size_t n = tq_wrap(&a->canvas, text + from, at.w, &skip);
        if (mark >= from && mark < from + n + skip) *at_mark = line;
        if (draw && line >= first && line < first + at.h)
            put_line(a, at.y + line - first, at, text, from, n, mark, end);
        from += n + skip;
        line++;
    } while (text[from]);
    return line;
}

void tq_draw_marked(tq_app *a, tq_area at, const char *text, size_t mark, size_t mark_end) {
    int at_mark = 0, lines = walk(a, at, text, mark, mark_end, 0, false, &at_mark);
    int first = at_mark - at.h / 2, most = lines - at.h;
    if (first > most) first = most;
    if (first < 0) first = 0;
    (void)walk(a, at, text, mark, mark_end, first, true, &at_mark);
}

int tq_marked_lines(tq_app *a, const char *text, int width) {
    int ignored = 0;
    return walk(a, (tq_area){.w = width}, text, 0, 0, 0, false, &ignored);
}

/* --- candidates --- */

void tq_draw_candidates(tq_app *a, int y, int x, int end, const tq_candidate top[TQ_CANDIDATES], int chosen) {
    int bar = end - x > 50 ? 16 : end - x > 34 ? 8 : 0, name = end - bar - 10;
    for (int k = 0; k < TQ_CANDIDATES && top[k].id >= 0; k++) {
        tq_token_text text;
        bool is = top[k].id == chosen;
        tq_put(&a->canvas, y + k, x, x + 2, is ? TQ_ST_KEY : TQ_ST_NORMAL, is ? "▸" : " ");
        tq_put(&a->canvas, y + k, x + 2, name, is ? TQ_ST_KEY : TQ_ST_NORMAL,
               tq_token_show(a->tokenizer, top[k].id, text));
        char percent[16];
        snprintf(percent, sizeof percent, "%.2f %%", 100 * top[k].p);
        tq_put_right(&a->canvas, y + k, name, name + 9, TQ_ST_NORMAL, percent);
        if (bar) tq_bar(&a->canvas, y + k, name + 10, bar - 1, top[k].p, TQ_ST_BAR_USED);
    }
}

/* --- explanations --- */

typedef struct line {
    tq_style style;
    char text[256];
} line;

typedef struct lines {
    line *line; /* [n] */
    size_t n, capacity;
} lines;

static void add(lines *l, tq_style style, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static void add(lines *l, tq_style style, const char *fmt, ...) {
    if (l->n == l->capacity) {
        size_t capacity = 2 * l->capacity + 32;
        line *grown = realloc(l->line, capacity * sizeof *grown);
        if (!grown) return;
        l->line = grown;
        l->capacity = capacity;
    }
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(l->line[l->n].text, sizeof l->line->text, fmt, ap);
    va_end(ap);
    l->line[l->n++].style = style;
}

static void add_verdict(const tq_app *a, lines *l, const tq_explanation *x, int width) {
    tq_verdict verdict;
    int n = tq_explain_verdict(x, a->model, verdict);
    for (int i = 0; i < n; i++)
        for (const char *p = verdict[i]; *p;) {
            size_t skip = 0, bytes = tq_wrap(&a->canvas, p, width, &skip);
            add(l, i == 0 ? TQ_ST_TITLE : TQ_ST_NORMAL, "%.*s", (int)bytes, p);
            p += bytes + skip;
        }
}

/* "+0.206 → 9", without the arrow where the choice stays. */
static const char *hybrid_text(const tq_app *a, const tq_hybrid *h, char buf[64]) {
    tq_token_text token;
    int n = snprintf(buf, 64, "%+8.3f", h->margin);
    if (h->flips) snprintf(buf + n, 64 - (size_t)n, " → %.40s", tq_token_show(a->tokenizer, h->choice, token));
    return buf;
}

/* Fills up to `width` columns with blanks: printf counts bytes. */
static const char *padded(const tq_app *a, const char *text, int width, char buf[128]) {
    int have = tq_text_width(&a->canvas, text, 64), blanks = have < width ? width - have : 0;
    snprintf(buf, 128, "%.60s%*s", text, blanks, "");
    return buf;
}

/* Columns of the figures: less where the area is narrow. */
typedef struct widths {
    int label, alone;
} widths;

static widths widths_for(int width) {
    return width < 74 ? (widths){9, 17} : (widths){18, 22};
}

/* The first block after b that does not do what b does: differ, or be the same in both. */
static size_t run_end(const tq_explanation *x, size_t b) {
    size_t end = b + 1;
    while (end < x->blocks && x->differs[end] == x->differs[b])
        end++;
    return end;
}

static void add_block(const tq_app *a, lines *l, const tq_explanation *x, size_t b, widths w) {
    char alone[64], before[64], wide[128], label[48];
    tq_text kld;
    const tq_hybrid *one = &x->alone[b], *all = &x->prefix[b + 1];
    snprintf(label, sizeof label, "%5zu %s", b, tq_model_block_kind(a->model, b));
    add(l, one->flips ? TQ_ST_WARN : TQ_ST_NORMAL, "%-*.*s%s %9s   %s", w.label, w.label, label,
        padded(a, hybrid_text(a, one, alone), w.alone, wide), tq_fmt_kld(one->kld, kld), hybrid_text(a, all, before));
}

static void add_blocks(const tq_app *a, lines *l, const tq_explanation *x, widths w) {
    add(l, TQ_ST_DIM, "%-*s %-*s %9s   %s", w.label, "block", w.alone - 1, "alone: margin", "KLD",
        w.label > 9 ? "with all before: margin" : "with all before");
    for (size_t b = 0, end; b < x->blocks; b = end) {
        end = run_end(x, b);
        if (x->differs[b])
            for (size_t k = b; k < end; k++)
                add_block(a, l, x, k, w);
        else if (end == b + 1)
            add(l, TQ_ST_DIM, "%5zu   the same in both", b);
        else
            add(l, TQ_ST_DIM, "%5zu to %zu   the same in both", b, end - 1);
    }
}

static void add_matrices(const tq_app *a, lines *l, const tq_explanation *x, widths w) {
    if (!x->n_matrices) return;
    int wide_label = w.label > 9 ? w.label : 17, alone_width = w.label > 9 ? w.alone : w.alone - 3;
    add(l, TQ_ST_DIM, "%-*s %-*s %9s", wide_label, "matrix", alone_width - 1,
        x->matrices[0].after_prefix ? "with those before" : "alone: margin", "KLD");
    for (size_t i = 0; i < x->n_matrices; i++) {
        char alone[64], wide[128];
        tq_text kld;
        const tq_matrix_hybrid *h = &x->matrices[i];
        const tq_matrix *m = tq_model_matrix(a->model, h->matrix);
        char label[64];
        snprintf(label, sizeof label, m->end == TQ_END_NONE ? "%2zu %.15s" : "%.0zu%.18s", m->block, tq_short_label(m));
        add(l, h->hybrid.flips ? TQ_ST_WARN : TQ_ST_NORMAL, "%-*.*s%s %9s", wide_label, wide_label, label,
            padded(a, hybrid_text(a, &h->hybrid, alone), alone_width, wide), tq_fmt_kld(h->hybrid.kld, kld));
    }
}

void tq_draw_explanation(tq_app *a, tq_area at, const tq_explanation *x, const char *one, const char *other,
                         size_t *scroll) {
    lines l = {0};
    tq_token_text t0, t1;
    widths w = widths_for(at.w);
    add_verdict(a, &l, x, at.w);
    add(&l, TQ_ST_NORMAL, "margin: logit of %s less that of %s; %s %+.3f, %s %+.3f",
        tq_token_show(a->tokenizer, x->token[0], t0), tq_token_show(a->tokenizer, x->token[1], t1), one, x->a.margin,
        other, x->b.margin);
    add_blocks(a, &l, x, w);
    add_matrices(a, &l, x, w);
    size_t most = l.n > (size_t)at.h ? l.n - (size_t)at.h : 0;
    if (*scroll > most) *scroll = most;
    for (size_t i = *scroll; i < l.n && (int)(i - *scroll) < at.h; i++)
        tq_put(&a->canvas, at.y + (int)(i - *scroll), at.x, at.x + at.w, l.line[i].style, l.line[i].text);
    if (*scroll < most)
        tq_put_right(&a->canvas, at.y + at.h, at.x, at.x + at.w, TQ_ST_DIM, " ↓ more: PgDn "); /* on the frame */
    free(l.line);
}

void tq_draw_busy(tq_app *a, int y, int x, int end) {
    const tq_status *s = &a->status;
    double part = s->total > 0 ? s->done / s->total : 0;
    tq_putf(&a->canvas, y, x, end, TQ_ST_DIM,
            part > 0 && part <= 1 ? "%s %.0f %%   Esc stops it" : "%s…   Esc stops it", tq_job_name(s->job),
            100 * part);
}
