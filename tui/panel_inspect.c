/* panel_inspect.c - the matrix under the cursor: its weights before and after rotation, and what each bit config
 * would cost. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tui/app_internal.h"
#include "tui/format.h"
#include "tui/tune.h"

uint64_t tq_inspect_common(const tq_app *a) {
    tq_common c = tq_plan_common(tq_draft_plan(&a->draft));
    return c.seed * 32 + (uint64_t)c.residual * 8 + (uint64_t)c.rotation * 2 + (c.states == 256);
}

const tq_inspected *tq_inspect_cached(const tq_app *a, size_t matrix, size_t group) {
    uint64_t common = tq_inspect_common(a);
    for (size_t i = 0; i < TQ_INSPECT_CACHE; i++) {
        const tq_inspected *f = a->cache[i];
        if (f && f->matrix == matrix && f->group == group && f->common == common) return f;
    }
    return NULL;
}

void tq_inspect_keep(tq_app *a, tq_inspected *found) {
    size_t last = TQ_INSPECT_CACHE - 1;
    for (size_t i = 0; i < TQ_INSPECT_CACHE; i++) {
        const tq_inspected *f = a->cache[i];
        if (f && f->matrix == found->matrix && f->group == found->group && f->common == found->common) last = i;
    }
    free(a->cache[last]);
    for (size_t i = last; i > 0; i--)
        a->cache[i] = a->cache[i - 1];
    a->cache[0] = found;
}

static bool complete(const tq_inspected *f) {
    return f && f->known[TQ_BITS_KEEP];
}

static bool shown(const tq_app *a) {
    return a->layout.inspect.h > 0 || a->inspect_over || a->overlay == TQ_OVER_CHOICE;
}

bool tq_inspect_wanted(const tq_app *a) {
    size_t at = tq_table_matrix(&a->table);
    if (!shown(a) || at == SIZE_MAX) return false;
    size_t group = tq_plan_get(tq_draft_plan(&a->draft), at).group;
    if (a->asked_matrix == at && a->asked_group == group && a->asked_common == tq_inspect_common(a)) return false;
    return !complete(tq_inspect_cached(a, at, group));
}

void tq_inspect_ask(tq_app *a) {
    if (!tq_inspect_wanted(a)) return;
    a->asked_matrix = tq_table_matrix(&a->table);
    a->asked_group = tq_plan_get(tq_draft_plan(&a->draft), a->asked_matrix).group;
    a->asked_common = tq_inspect_common(a);
    tq_worker_inspect(a->worker, a->asked_matrix, a->asked_group, a->asked_common);
}

/* Columns of a density over [-range, range], h rows tall, `top` at full height. */
static void histogram(tq_canvas *c, tq_area at, const double *density, double top, tq_style style) {
    for (int x = 0; x < at.w; x++) {
        int from = x * TQ_HIST_BINS / at.w, to = (x + 1) * TQ_HIST_BINS / at.w;
        double sum = 0;
        if (to == from) to++;
        for (int b = from; b < to; b++)
            sum += density[b];
        double height = top > 0 ? sum / (to - from) / top * at.h : 0;
        for (int k = 0; k < at.h; k++) {
            double part = height - k;
            if (part <= 0.06) break;
            tq_put(c, at.y + at.h - 1 - k, at.x + x, at.x + x + 1, style, tq_block_glyph(part > 0.999 ? 0.999 : part));
        }
    }
}

/* N(0,1) as dots over what is there. */
static void gaussian(tq_canvas *c, tq_area at, double range, double top) {
    for (int x = 0; x < at.w; x++) {
        double z = ((x + 0.5) / at.w * 2 - 1) * range;
        int k = (int)(exp(-z * z / 2) / 2.5066282746310002 / top * at.h);
        if (k >= 0 && k < at.h) tq_put(c, at.y + at.h - 1 - k, at.x + x, at.x + x + 1, TQ_ST_WARN, "·");
    }
}

static void draw_histograms(tq_app *a, tq_area at, const tq_inspected *f) {
    const tq_inspection *h = &f->histogram;
    int w = (at.w - 3) / 2, rows = at.h - 2;
    tq_area left = {at.y + 1, at.x, rows, w}, right = {at.y + 1, at.x + w + 3, rows, w};
    double top = 0.42;
    for (int b = 0; b < TQ_HIST_BINS; b++) {
        if (h->stored[b] > top) top = h->stored[b];
        if (h->rotated[b] > top) top = h->rotated[b];
    }
    tq_put(&a->canvas, at.y, left.x, left.x + w, TQ_ST_DIM, "as stored");
    tq_put(&a->canvas, at.y, right.x, right.x + w, TQ_ST_DIM, w < 18 ? "rotated ·N(0,1)" : "rotated   · N(0,1)");
    histogram(&a->canvas, left, h->stored, top, TQ_ST_DIM);
    histogram(&a->canvas, right, h->rotated, top, TQ_ST_BAR_USED);
    gaussian(&a->canvas, right, h->range, top);
    tq_text low, high;
    int y = at.y + at.h - 1;
    snprintf(low, sizeof low, "%.2g", -h->range * h->rms);
    snprintf(high, sizeof high, "%.2g", h->range * h->rms);
    tq_put(&a->canvas, y, left.x, left.x + w, TQ_ST_DIM, low);
    tq_put_right(&a->canvas, y, left.x, left.x + w, TQ_ST_DIM, high);
    snprintf(low, sizeof low, "%.1f", -h->range);
    snprintf(high, sizeof high, "%.1f", h->range);
    tq_put(&a->canvas, y, right.x, right.x + w, TQ_ST_DIM, low);
    tq_put_right(&a->canvas, y, right.x, right.x + w, TQ_ST_DIM, high);
}

/* NULL, or why the matrix cannot take this. */
static const char *blocked(const tq_app *a, size_t matrix, tq_choice c) {
    tq_rotation_kind rotation = tq_plan_common(tq_draft_plan(&a->draft)).rotation;
    return tq_choice_blocked(tq_model_matrix(a->model, matrix), c, rotation);
}

/* The bit configs with their cost, from the largest; the plan's has a mark, `chosen` is the row under the cursor. What
 * is blocked has the reason in place of its cost. */
static int draw_configs(tq_app *a, tq_area at, size_t matrix, const tq_inspected *f, long chosen) {
    const tq_plan *plan = tq_draft_plan(&a->draft);
    const tq_matrix *m = tq_model_matrix(a->model, matrix);
    tq_choice now = tq_plan_get(plan, matrix);
    static const int ends[] = {8, 16, 25, 35, 46};
    const tq_costs *costs = tq_tune_costs(a); /* which say more than the cosine */
    const char *const titles[] = {"bits", "bpw", "MiB", "rel.MSE", costs ? "own KLD" : "cosine"};
    for (int k = 0; k < 5; k++)
        if (ends[k] <= at.w) tq_put_right(&a->canvas, at.y, at.x, at.x + ends[k], TQ_ST_DIM, titles[k]);
    for (int row = 0; row < TQ_BITS_COUNT && row + 1 < at.h; row++) {
        tq_bits bits = (tq_bits)(TQ_BITS_COUNT - 1 - row);
        int y = at.y + 1 + row;
        size_t bytes = tq_matrix_cost_at(a->model, plan, matrix, (tq_choice){bits, now.group});
        tq_style style = bits == now.bits ? TQ_ST_CHOSEN : TQ_ST_NORMAL;
        char text[5][48];
        tq_text own;
        snprintf(text[0], sizeof text[0], "%s", tq_bits_get(bits)->name);
        snprintf(text[1], sizeof text[1], "%.2f", 8.0 * (double)bytes / ((double)m->w.rows * (double)m->w.cols));
        tq_fmt_mib(bytes, text[2]);
        bool known = f && f->known[bits];
        snprintf(text[3], sizeof text[3], "…");
        snprintf(text[4], sizeof text[4], "…");
        if (known) {
            tq_fmt_sci(f->figures[bits].distortion.rel_mse, text[3]);
            snprintf(text[4], sizeof text[4], "%.5f", f->figures[bits].distortion.cosine);
        }
        const tq_cost *cost = costs ? tq_costs_find(costs, matrix, (tq_choice){bits, now.group}) : NULL;
        if (costs) snprintf(text[4], sizeof text[4], "%s", cost ? tq_fmt_sci(cost->kld, own) : "");
        const char *why = blocked(a, matrix, (tq_choice){bits, now.group});
        if (bits == now.bits) tq_put(&a->canvas, y, at.x, at.x + 1, TQ_ST_CHOSEN, "▸");
        if (why) tq_putf(&a->canvas, y, at.x + ends[0] + 1, at.x + at.w, TQ_ST_DIM, "× %s", why);
        for (int k = 0; k < (why ? 1 : 5); k++) {
            tq_style s = why      ? TQ_ST_DIM
                         : k < 3  ? style
                         : !known ? TQ_ST_DIM
                         : k == 3 ? tq_damage_style(f->figures[bits].distortion.rel_mse)
                                  : TQ_ST_NORMAL;
            if (ends[k] <= at.w) tq_put_right(&a->canvas, y, at.x + 1, at.x + ends[k], s, text[k]);
        }
        if (row == chosen) {
            tq_highlight(&a->canvas, y, at.x, at.x + at.w);
        }
    }
    return at.y + 1 + TQ_BITS_COUNT;
}

/* Those that the matrix cannot take at its config (kept: at 4) have a cross. */
static void draw_groups(tq_app *a, int y, int x, int end, size_t matrix) {
    tq_choice at = tq_plan_get(tq_draft_plan(&a->draft), matrix);
    tq_bits bits = at.bits == TQ_BITS_KEEP ? TQ_BITS_4 : at.bits;
    char name[24];
    x = tq_put(&a->canvas, y, x, end, TQ_ST_DIM, "group ");
    for (size_t k = 0; k < tq_groups_count; k++) {
        bool now = tq_groups[k] == at.group;
        const char *before = now ? "[" : blocked(a, matrix, (tq_choice){bits, tq_groups[k]}) ? "×" : " ";
        x = tq_putf(&a->canvas, y, x, end, now ? TQ_ST_CHOSEN : TQ_ST_DIM, "%s%s%s", before,
                    tq_group_name(tq_groups[k], name), now ? "]" : " ");
    }
}

/* What calibration did to the error of the product, once the matrix is as the plan says. */
static void draw_calibration(tq_app *a, int y, int x, int end, size_t i) {
    const tq_measured *m = &a->measured[i];
    tq_qspec spec = tq_plan_spec(tq_draft_plan(&a->draft), i);
    if (spec.bits == TQ_BITS_KEEP || spec.calibrate == TQ_CALIBRATE_NONE) return;
    if (!m->known || !tq_qspec_equal(&m->spec, &spec)) {
        tq_put(&a->canvas, y, x, end, TQ_ST_DIM, "weighted error …");
        return;
    }
    tq_text plain, weighted;
    tq_fmt_sci(m->figures.plain, plain);
    tq_fmt_sci(m->figures.weighted, weighted);
    if (m->figures.unseen)
        tq_put(&a->canvas, y, x, end, TQ_ST_WARN, "plain codes: the expert saw too few tokens");
    else if (m->figures.fell_back)
        tq_putf(&a->canvas, y, x, end, TQ_ST_WARN, "weighted error %s: fell back to plain codes", plain);
    else
        tq_putf(&a->canvas, y, x, end, TQ_ST_NORMAL, "weighted error %s → %s calibrated", plain, weighted);
}

/* While the cursor moves the histograms of the matrix before stay for a moment, under "measuring": else each move would
 * wipe them out and draw them again. */
static const tq_inspected *held(const tq_app *a) {
    const tq_inspected *newest = a->cache[0];
    return newest && newest->has_histogram && tq_now() < a->hold_until ? newest : NULL;
}

static const char *full_title(const tq_matrix *m, char buf[64]) {
    if (m->end == TQ_END_NONE)
        snprintf(buf, 64, "block %zu · %.40s", m->block, m->label);
    else
        snprintf(buf, 64, "%.40s%s", m->label, m->end == TQ_END_TIED ? ", the output head too" : "");
    return buf;
}

void tq_draw_inspect(tq_app *a, tq_area at) {
    tq_clear(&a->canvas, at);
    size_t i = tq_table_matrix(&a->table);
    if (i == SIZE_MAX) return;
    const tq_matrix *m = tq_model_matrix(a->model, i);
    size_t group = tq_plan_get(tq_draft_plan(&a->draft), i).group;
    const tq_inspected *f = tq_inspect_cached(a, i, group);
    bool focus = a->focus == TQ_FOCUS_INSPECT;
    int end = at.x + at.w;
    char title[64];
    tq_putf(&a->canvas, at.y - 1, at.x + 1, end - 1, focus ? TQ_ST_CHOSEN : TQ_ST_TITLE, focus ? "[%s]" : " %s ",
            full_title(m, title));
    int x = tq_putf(&a->canvas, at.y, at.x + 1, end, TQ_ST_NORMAL, "%zu x %zu   %s", m->w.rows, m->w.cols,
                    m->packed ? "packed" : m->tensor->dtype_name);
    if (f && f->has_histogram) {
        tq_putf(&a->canvas, at.y, x, end, TQ_ST_NORMAL,
                end - x < 28 ? "  kurtosis %.1f → %.1f" : "   kurtosis %.1f, rotated %.1f",
                f->histogram.kurtosis_stored, f->histogram.kurtosis_rotated);
        if (at.h >= 14)
            tq_putf(&a->canvas, at.y + 1, at.x + 1, end, TQ_ST_DIM, "row norms %.2g  median %.2g  max %.2g",
                    f->histogram.norm_min, f->histogram.norm_median, f->histogram.norm_max);
    } else {
        tq_put(&a->canvas, at.y, x, end, TQ_ST_DIM, "   measuring …");
    }
    int table = TQ_BITS_COUNT + 3, rows = at.h - table - 2;
    int most = at.h >= 36 ? 20 : 14;
    if (rows > most) rows = most;
    if (rows > 8) rows--; /* a blank line below */
    int y = at.y + (at.h >= 14 ? 2 : 1);
    if (rows >= 4) {
        const tq_inspected *drawn = f && f->has_histogram ? f : held(a);
        if (drawn) draw_histograms(a, (tq_area){y, at.x + 1, rows, at.w - 2}, drawn);
        y += rows + (at.h > rows + table + 3);
    }
    y = draw_configs(a, (tq_area){y, at.x + 1, at.y + at.h - y, at.w - 2}, i, f, focus ? (long)a->inspect_row : -1);
    if (y < at.y + at.h) draw_groups(a, y + (y + 1 < at.y + at.h), at.x + 1, end, i);
    if (y + 2 < at.y + at.h) draw_calibration(a, y + 2, at.x + 1, end, i);
}

void tq_draw_choice(tq_app *a, tq_area at) {
    size_t i = tq_table_matrix(&a->table), marks = tq_table_marks(&a->table);
    if (i == SIZE_MAX) return;
    const tq_matrix *m = tq_model_matrix(a->model, i);
    size_t group = tq_plan_get(tq_draft_plan(&a->draft), i).group;
    enum { HEIGHT = TQ_BITS_COUNT + 5, WIDTH = 54 }; /* frame, titles, groups, keys */
    tq_area box = {at.y + (at.h - HEIGHT) / 2, at.x + (at.w - WIDTH) / 2, HEIGHT, WIDTH};
    char label[64];
    tq_clear(&a->canvas, box);
    tq_frame(&a->canvas, box);
    tq_putf(&a->canvas, box.y, box.x + 2, box.x + 52, TQ_ST_TITLE, marks ? " %zu marked, figures of %s " : " %.0zu%s ",
            marks, tq_long_label(m, label));
    tq_area inner = {box.y + 1, box.x + 2, TQ_BITS_COUNT + 1, 50};
    (void)tq_list_view(&a->menu, TQ_BITS_COUNT, inner.y + 1, TQ_BITS_COUNT);
    draw_configs(a, inner, i, tq_inspect_cached(a, i, group), (long)a->menu.at);
    draw_groups(a, box.y + HEIGHT - 3, box.x + 3, box.x + 53, i);
    const char *why = blocked(a, i, (tq_choice){(tq_bits)(TQ_BITS_COUNT - 1 - (int)a->menu.at), group});
    tq_put(&a->canvas, box.y + HEIGHT - 2, box.x + 3, box.x + 53, why ? TQ_ST_WARN : TQ_ST_DIM,
           why ? why : "↑↓ Enter choose   0 4 5 6 8   [ ] group   Esc");
}
