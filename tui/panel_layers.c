/* panel_layers.c - the table: a row a matrix, grouped by block. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tui/app_internal.h"
#include "tui/format.h"
#include "tui/tune.h"

tq_style tq_damage_style(double x) {
    return x < 1e-3 ? TQ_ST_GOOD : x <= 0.05 ? TQ_ST_WARN : TQ_ST_BAD;
}

typedef enum column {
    COL_SHAPE,
    COL_BITS,
    COL_GROUP,
    COL_BPW,
    COL_MIB,
    COL_MSE,
    COL_OWN,
    COL_GAIN,
    COL_COSINE,
    COL_BAR,
    COLS
} column;

/* Columns go when there is no room, the highest `drop` first. */
static const struct {
    const char *title;
    int width, drop;
} columns[COLS] = {
    [COL_SHAPE] = {"shape", 12, 3}, [COL_BITS] = {"bits", 6, 0},    [COL_GROUP] = {"group", 6, 2},
    [COL_BPW] = {"bpw", 7, 4},      [COL_MIB] = {"MiB", 8, 1},      [COL_MSE] = {"rel.MSE", 9, 0},
    [COL_OWN] = {"own KLD", 9, 1},  [COL_GAIN] = {"per MiB", 9, 6}, [COL_COSINE] = {"cosine", 10, 7},
    [COL_BAR] = {"", 2, 5},
};
enum { NAME_MAX = 40, LEAD = 5, INDENT = 2 /* of experts */ };

typedef struct view {
    tq_app *a;
    tq_area at;
    int x[COLS], end[COLS]; /* end 0: not shown */
    double most;            /* the largest own KLD, or share of distortion, of the blocks' matrices */
    bool heat;              /* own KLD is known of some */
} view;

/* Columns that the longest name takes, with those of blocks ("12 attention"). */
static int name_width(const tq_canvas *c, const tq_model *m) {
    int width = 14;
    for (size_t i = 0; i < tq_model_matrices(m); i++) {
        const tq_matrix *x = tq_model_matrix(m, i);
        const char *label = tq_short_label(x);
        int w = tq_text_width(c, label, strlen(label)) + (x->group ? INDENT : 0);
        if (w > width) width = w;
    }
    return width < NAME_MAX ? width : NAME_MAX;
}

/* What is not known of any matrix takes no room. */
static bool has(const view *v, int c) {
    return c == COL_OWN ? v->heat : c == COL_GAIN ? tq_tune_costs(v->a) != NULL : true;
}

/* With own KLD known the shape says least, and the bar most; sorted by what a MiB saves, so does that. */
static int drop_of(const view *v, int c) {
    if (v->heat && c == COL_SHAPE) return 6;
    if (v->heat && c == COL_BAR) return 3;
    if (v->a->table.order && c == COL_GAIN) return 1;
    return columns[c].drop;
}

static void place_columns(view *v) {
    int drop_from = 8, used = 0, name_min = name_width(&v->a->canvas, v->a->model);
    for (; drop_from > 1; drop_from--) {
        used = 0;
        for (int c = 0; c < COLS; c++)
            if (drop_of(v, c) < drop_from && has(v, c)) used += columns[c].width;
        if (used + name_min + LEAD < v->at.w) break;
    }
    int name = v->at.w - 1 - used - LEAD;
    if (name > NAME_MAX) name = NAME_MAX;
    int x = v->at.x + LEAD + name;
    for (int c = 0; c < COLS; c++) {
        v->end[c] = 0;
        if (drop_of(v, c) >= drop_from || !has(v, c)) continue;
        v->x[c] = x;
        v->end[c] = x += columns[c].width;
    }
}

static void cell(view *v, int y, column c, tq_style style, const char *text) {
    if (v->end[c]) tq_put_right(&v->a->canvas, y, v->x[c] + 1, v->end[c], style, text);
}

/* Is the measured figure the one of the plan? 1 yes, 0 there is an older one, -1 there is none. */
static int measured_state(const tq_app *a, size_t i) {
    tq_qspec spec = tq_plan_spec(tq_draft_plan(&a->draft), i);
    if (spec.bits == TQ_BITS_KEEP) return 1;
    if (!a->measured[i].known || a->measured[i].spec.bits == TQ_BITS_KEEP) return -1;
    return tq_qspec_equal(&spec, &a->measured[i].spec);
}

static double mse_of(const tq_app *a, size_t i) {
    tq_choice c = tq_plan_get(tq_draft_plan(&a->draft), i);
    return c.bits == TQ_BITS_KEEP ? 0 : a->measured[i].figures.distortion.rel_mse;
}

static double weights_of(const tq_app *a, size_t i) {
    const tq_matrix *m = tq_model_matrix(a->model, i);
    return (double)m->w.rows * (double)m->w.cols;
}

static void put_mse(view *v, int y, double mse, int state) {
    tq_text text, full;
    tq_fmt_sci(mse, text);
    snprintf(full, sizeof full, "%s%.40s", state == 0 ? "~" : "", text);
    if (state < 0)
        cell(v, y, COL_MSE, TQ_ST_DIM, "…");
    else
        cell(v, y, COL_MSE, state == 0 ? TQ_ST_STALE : mse == 0 ? TQ_ST_NORMAL : tq_damage_style(mse), full);
}

/* dim: what it would be in 4 bits. */
static void put_heat(view *v, int y, double own, bool dim, double gain) {
    tq_text text, full;
    if (isnan(own)) {
        cell(v, y, COL_OWN, TQ_ST_DIM, "…");
    } else {
        tq_fmt_sci(own, text);
        snprintf(full, sizeof full, dim ? "(%.40s)" : "%.40s", text);
        cell(v, y, COL_OWN, dim ? TQ_ST_DIM : own > 0 ? tq_damage_style(own) : TQ_ST_NORMAL, full);
    }
    if (gain > 0) cell(v, y, COL_GAIN, TQ_ST_NORMAL, tq_fmt_sci(gain, text));
}

static bool is_kept(const view *v, size_t i) {
    return tq_plan_get(tq_draft_plan(&v->a->draft), i).bits == TQ_BITS_KEEP;
}

/* How much of the damage is this matrix's; of a kept one, once that is known, how much it would be in 4 bits. */
static double share_of(const view *v, size_t i) {
    if (!v->heat) return mse_of(v->a, i) * weights_of(v->a, i);
    double own = is_kept(v, i) ? tq_tune_in_four(v->a, i) : tq_tune_own(v->a, i);
    return isnan(own) ? 0 : own;
}

static void draw_matrix(view *v, int y, size_t i) {
    tq_app *a = v->a;
    const tq_plan *plan = tq_draft_plan(&a->draft);
    const tq_matrix *m = tq_model_matrix(a->model, i);
    tq_choice c = tq_plan_get(plan, i);
    size_t bytes = tq_matrix_cost(a->model, plan, i);
    bool marked = a->table.marked[i], changed = tq_draft_matrix_changed(&a->draft, i);
    int state = measured_state(a, i);
    double mse = mse_of(a, i);
    tq_text text;
    char name[64];

    if (marked) tq_put(&a->canvas, y, v->at.x + 2, v->at.x + 3, TQ_ST_MARKED, "●");
    if (tq_tune_held(a, i)) tq_put(&a->canvas, y, v->at.x + 3, v->at.x + 4, TQ_ST_TITLE, "■");
    if (a->table.order)
        snprintf(text, sizeof text, "%.47s", tq_long_label(m, name));
    else
        snprintf(text, sizeof text, "%.47s", tq_short_label(m));
    int indent = m->group && !a->table.order ? INDENT : 0;
    tq_put(&a->canvas, y, v->at.x + LEAD - 1 + indent,
           v->x[COL_SHAPE] && v->end[COL_SHAPE] ? v->x[COL_SHAPE] : v->x[COL_BITS],
           marked ? TQ_ST_MARKED : TQ_ST_NORMAL, text);
    snprintf(text, sizeof text, "%zux%zu", m->w.rows, m->w.cols);
    cell(v, y, COL_SHAPE, TQ_ST_DIM, text);
    snprintf(text, sizeof text, "%s%s", changed ? "*" : "", tq_bits_get(c.bits)->name);
    cell(v, y, COL_BITS, changed ? TQ_ST_CHANGED : TQ_ST_NORMAL, text);
    if (c.bits != TQ_BITS_KEEP) cell(v, y, COL_GROUP, TQ_ST_NORMAL, tq_group_name(c.group, name));
    snprintf(text, sizeof text, "%.2f", 8.0 * (double)bytes / weights_of(a, i));
    cell(v, y, COL_BPW, TQ_ST_NORMAL, text);
    cell(v, y, COL_MIB, TQ_ST_NORMAL, tq_fmt_mib(bytes, text));
    put_mse(v, y, mse, state);
    bool kept = is_kept(v, i);
    if (v->heat) put_heat(v, y, kept ? tq_tune_in_four(a, i) : tq_tune_own(a, i), kept, tq_tune_gain(a, i));
    double share = share_of(v, i);
    if (share > 0 && v->most > 0)
        cell(v, y, COL_BAR, kept ? TQ_ST_DIM : tq_damage_style(v->heat ? share : mse), tq_block_glyph(share / v->most));
    if (state < 0) return;
    double cosine = c.bits == TQ_BITS_KEEP ? 1 : a->measured[i].figures.distortion.cosine;
    snprintf(text, sizeof text, "%s%.5f", state == 0 ? "~" : "", cosine);
    cell(v, y, COL_COSINE, state == 0 ? TQ_ST_STALE : TQ_ST_NORMAL, text);
}

static const char *block_title(const tq_model *m, size_t block, char buf[64]) {
    int n = block < tq_model_config(m)->blocks ? snprintf(buf, 64, "%zu ", block) : 0;
    snprintf(buf + n, 64 - (size_t)n, "%.40s", tq_model_block_kind(m, block));
    return buf;
}

/* What a head says of the matrices that it stands for, whatever the filter hides of them. */
typedef struct total {
    size_t bytes, count, marks, pins;
    double weights, damage, own;
    int state;
    bool changed, same;
    tq_choice first;
} total;

static total add_up(const tq_app *a, const tq_row *r) {
    const tq_plan *plan = tq_draft_plan(&a->draft);
    total t = {.state = 1, .same = true};
    size_t from = r->count ? r->matrix : 0, to = r->count ? r->matrix + r->count : tq_model_matrices(a->model);
    for (size_t i = from; i < to; i++) {
        if (tq_model_matrix(a->model, i)->block != r->block) continue;
        tq_choice c = tq_plan_get(plan, i);
        int state = measured_state(a, i);
        if (t.count++ == 0) t.first = c;
        if (c.bits != t.first.bits) t.same = false;
        t.bytes += tq_matrix_cost(a->model, plan, i);
        t.weights += weights_of(a, i);
        t.damage += mse_of(a, i) * weights_of(a, i);
        t.own += tq_tune_own(a, i);
        if (state < t.state) t.state = state;
        t.changed |= tq_draft_matrix_changed(&a->draft, i);
        t.marks += a->table.marked[i];
        t.pins += tq_tune_held(a, i);
    }
    return t;
}

/* A block, or the experts' matrices of one kind in it. */
static void draw_head(view *v, int y, const tq_row *r) {
    tq_app *a = v->a;
    total t = add_up(a, r);
    tq_text text;
    char title[64];
    const char *fold = tq_table_is_folded(&a->table, r) ? "▸" : "▾";
    int end = v->end[COL_SHAPE] ? v->end[COL_SHAPE] : v->x[COL_BITS];
    if (t.marks) tq_put(&a->canvas, y, v->at.x + 2, v->at.x + 3, TQ_ST_MARKED, "●");
    if (r->count) {
        const tq_matrix *m = tq_model_matrix(a->model, r->matrix);
        if (t.pins) tq_put(&a->canvas, y, v->at.x + 3, v->at.x + 4, TQ_ST_TITLE, "■");
        tq_put(&a->canvas, y, v->at.x + TQ_KIND_FOLD, end, TQ_ST_TITLE, fold);
        tq_putf(&a->canvas, y, v->at.x + TQ_KIND_FOLD + INDENT, v->end[COL_SHAPE] ? v->x[COL_SHAPE] : end,
                t.marks ? TQ_ST_MARKED : TQ_ST_NORMAL, "%zu %s", r->count, m->group + strlen("mlp."));
        snprintf(text, sizeof text, "%zux%zu", m->w.rows, m->w.cols);
        cell(v, y, COL_SHAPE, TQ_ST_DIM, text);
    } else {
        tq_put(&a->canvas, y, v->at.x + 1, end, TQ_ST_TITLE, fold);
        tq_putf(&a->canvas, y, v->at.x + 3 + (t.marks > 0), end, TQ_ST_TITLE, "%s",
                block_title(a->model, r->block, title));
    }
    snprintf(text, sizeof text, "%s%s", t.changed ? "*" : "", t.same ? tq_bits_get(t.first.bits)->name : "mix");
    cell(v, y, COL_BITS, t.changed ? TQ_ST_CHANGED : TQ_ST_DIM, text);
    snprintf(text, sizeof text, "%.2f", 8.0 * (double)t.bytes / t.weights);
    cell(v, y, COL_BPW, TQ_ST_DIM, text);
    cell(v, y, COL_MIB, TQ_ST_DIM, tq_fmt_mib(t.bytes, text));
    put_mse(v, y, t.damage / t.weights, t.state);
    if (v->heat) put_heat(v, y, t.own, false, NAN);
}

static void draw_title(tq_app *a, tq_area at) {
    char text[256] = "";
    size_t marks = tq_table_marks(&a->table);
    int end = at.x + at.w - 1;
    tq_put(&a->canvas, at.y - 1, at.x + 1, end, a->focus == TQ_FOCUS_LAYERS ? TQ_ST_CHOSEN : TQ_ST_TITLE,
           a->focus == TQ_FOCUS_LAYERS ? "[Layers]" : " Layers ");
    size_t pins = tq_tune_pins(a);
    if (marks) snprintf(text, sizeof text, " ● %zu marked%s ", marks, a->table.anchor != SIZE_MAX ? ", range" : "");
    if (pins) snprintf(text + strlen(text), sizeof text - strlen(text), " ■ %zu pinned ", pins);
    if (a->table.order)
        snprintf(text + strlen(text), sizeof text - strlen(text), " by %s ",
                 a->tune.order == TQ_ORDER_OWN ? "own KLD" : "KLD saved per MiB");
    if (tq_lineedit_active(TQ_LINE_FILTER) || *a->table.filter) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, " filter %.60s: %zu of %zu ", a->table.filter, a->table.shown,
                 tq_model_matrices(a->model));
    }
    if (*text) tq_put_right(&a->canvas, at.y - 1, at.x + 11, end, TQ_ST_MARKED, text);
}

void tq_draw_layers(tq_app *a, tq_area at) {
    view v = {.a = a, .at = at, .heat = tq_tune_any(a)};
    place_columns(&v);
    tq_clear(&a->canvas, at);
    draw_title(a, at);
    tq_put(&a->canvas, at.y, at.x + LEAD - 1, at.x + at.w, TQ_ST_DIM, "matrix");
    for (int c = 0; c < COLS; c++)
        cell(&v, at.y, (column)c, TQ_ST_DIM, columns[c].title);
    for (size_t i = 0; i < tq_model_block_matrices(a->model); i++) {
        double share = share_of(&v, i);
        if (share > v.most) v.most = share;
    }
    tq_table_scroll(&a->table, (size_t)(at.h > 1 ? at.h - 1 : 1));
    for (int k = 1; k < at.h; k++) {
        size_t r = a->table.top + (size_t)k - 1;
        if (r >= a->table.count) break;
        const tq_row *row = &a->table.rows[r];
        if (tq_row_is_head(row))
            draw_head(&v, at.y + k, row);
        else
            draw_matrix(&v, at.y + k, row->matrix);
        if (r == a->table.cursor) {
            tq_put(&a->canvas, at.y + k, at.x, at.x + 1, TQ_ST_CHOSEN, ">");
            tq_highlight(&a->canvas, at.y + k, at.x, at.x + at.w);
        }
    }
}
