/* panel_points.c - the plans that were tried: bits a weight against KLD, and the front of those that no other betters.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "model/tensor_writer.h"
#include "tui/app_internal.h"
#include "tui/format.h"
#include "tui/keys.h"

/* A point that can be drawn on a logarithmic axis. */
static bool drawable(const tq_point *x) {
    return x->eval.kld_mean > 0 && isfinite(x->eval.kld_mean);
}

typedef struct scale {
    tq_area at;
    double x0, x1, y0, y1; /* bits a weight, and log10 of KLD */
} scale;

static bool scale_of(const tq_points *p, tq_area at, scale *s) {
    *s = (scale){at, INFINITY, -INFINITY, INFINITY, -INFINITY};
    for (size_t i = 0; i < p->count; i++) {
        const tq_point *x = &p->points[i];
        if (!drawable(x)) continue;
        s->x0 = fmin(s->x0, x->bpw);
        s->x1 = fmax(s->x1, x->bpw);
        s->y0 = fmin(s->y0, log10(x->eval.kld_mean));
        s->y1 = fmax(s->y1, log10(x->eval.kld_mean));
    }
    if (!(s->x0 <= s->x1)) return false;
    s->x0 -= 0.1;
    s->x1 += 0.1;
    s->y0 -= 0.05;
    s->y1 += 0.05;
    return true;
}

static int column_of(const scale *s, double bpw) {
    return s->at.x + (int)lround((bpw - s->x0) / (s->x1 - s->x0) * (s->at.w - 1));
}

static int row_of(const scale *s, double kld) {
    return s->at.y + (int)lround((s->y1 - log10(kld)) / (s->y1 - s->y0) * (s->at.h - 1));
}

static void dot(tq_app *a, const scale *s, int y, int x, tq_style style, const char *glyph) {
    if (y >= s->at.y && y < s->at.y + s->at.h && x >= s->at.x && x < s->at.x + s->at.w)
        tq_put(&a->canvas, y, x, x + 1, style, glyph);
}

/* Between two points of the front. */
static void draw_line(tq_app *a, const scale *s, const tq_point *from, const tq_point *to) {
    int x0 = column_of(s, from->bpw), x1 = column_of(s, to->bpw);
    for (int x = x0 + 1; x < x1; x++) {
        double part = (double)(x - x0) / (x1 - x0);
        double y = log(from->eval.kld_mean) + part * (log(to->eval.kld_mean) - log(from->eval.kld_mean));
        dot(a, s, row_of(s, exp(y)), x, TQ_ST_DIM, "·");
    }
}

/* KLD at the left: 1, 2 and 5 of every decade that have room. */
static void draw_axes(tq_app *a, const scale *s) {
    static const int marks[] = {1, 2, 5};
    int last = -10;
    for (int decade = (int)floor(s->y1); decade >= (int)floor(s->y0); decade--)
        for (int k = 2; k >= 0; k--) {
            double kld = marks[k] * pow(10, decade);
            int y = row_of(s, kld);
            tq_text text;
            if (log10(kld) > s->y1 || log10(kld) < s->y0 || y < last + 2) continue;
            last = y;
            tq_put_right(&a->canvas, y, s->at.x - 9, s->at.x - 1, TQ_ST_DIM, tq_fmt_sci(kld, text));
        }
    for (int y = s->at.y; y < s->at.y + s->at.h; y++)
        tq_put(&a->canvas, y, s->at.x - 1, s->at.x, TQ_ST_BORDER, "│");
    double step = (s->x1 - s->x0) / s->at.w * 8 > 0.5 ? 1 : (s->x1 - s->x0) / s->at.w * 8 > 0.1 ? 0.5 : 0.1;
    for (long k = (long)ceil(s->x0 / step); (double)k * step <= s->x1; k++)
        tq_putf(&a->canvas, s->at.y + s->at.h, column_of(s, (double)k * step), s->at.x + s->at.w + 4, TQ_ST_DIM, "%.3g",
                (double)k * step);
}

static void draw_plot(tq_app *a, const scale *s) {
    const tq_points *p = &a->points;
    const tq_point *front = NULL;
    draw_axes(a, s);
    for (size_t i = 0; i < p->count; i++) {
        const tq_point *x = &p->points[i];
        if (!x->front || !drawable(x)) continue;
        if (front) draw_line(a, s, front, x);
        front = x;
    }
    for (int pass = 0; pass < 3; pass++) /* the front over the others, the chosen one over all */
        for (size_t i = 0; i < p->count; i++) {
            const tq_point *x = &p->points[i];
            int what = i == a->menu.at ? 2 : x->front;
            if (what != pass || !drawable(x)) continue;
            dot(a, s, row_of(s, x->eval.kld_mean), column_of(s, x->bpw),
                what == 2  ? TQ_ST_CHOSEN
                : x->front ? TQ_ST_GOOD
                           : TQ_ST_NORMAL,
                what == 2  ? "■"
                : x->front ? "●"
                           : "○");
        }
}

static const char *score_text(tq_score s, tq_text buf) {
    double low, high;
    buf[0] = '\0';
    tq_score_interval(s, &low, &high);
    if (s.of)
        snprintf(buf, sizeof(tq_text), "  exact %.1f %% (%.1f to %.1f)", 100 * tq_score_share(s), 100 * low,
                 100 * high);
    return buf;
}

static void draw_chosen(tq_app *a, int y, int left, int end) {
    int x = left;
    const tq_point *p = &a->points.points[a->menu.at];
    tq_text kld, error, mib, score;
    bool now = tq_points_find(&a->points, a->model, tq_draft_plan(&a->draft)) == a->menu.at;
    x = tq_putf(&a->canvas, y, x, end, TQ_ST_CHOSEN, "%s%s%s", p->named ? "\"" : "", p->name, p->named ? "\"" : "");
    x = tq_putf(&a->canvas, y, x, end, TQ_ST_GOOD, "%s%s", p->front ? "   on the front" : "",
                now ? "   the plan now" : "");
    x = tq_put(&a->canvas, y, x, end, TQ_ST_NORMAL, "  ");
    for (size_t i = 0; i < p->n_texts && x + 20 < end; i++)
        x = tq_putf(&a->canvas, y, x, end, TQ_ST_DIM, " %.30s %s", p->texts[i].name, tq_fmt_kld(p->texts[i].kld, kld));
    x = left;
    tq_putf(&a->canvas, y + 1, x, end, TQ_ST_NORMAL, "%.3f bits/weight  %s MiB  KLD %s ± %s  PPL %.2f%s", p->bpw,
            tq_fmt_mib(p->bytes, mib), tq_fmt_kld(p->eval.kld_mean, kld),
            tq_fmt_kld_error(p->eval.kld_mean, p->eval.kld_stderr, error), p->eval.ppl, score_text(p->score, score));
}

void tq_draw_points(tq_app *a, tq_area at) {
    tq_clear(&a->canvas, at);
    tq_frame(&a->canvas, at);
    tq_putf(&a->canvas, at.y, at.x + 2, at.x + at.w - 2, TQ_ST_TITLE, " %zu plan%s tried ", a->points.count,
            a->points.count == 1 ? "" : "s");
    tq_area plot = {at.y + 1, at.x + 11, at.h - 5, at.w - 18};
    scale s;
    (void)tq_list_view(&a->menu, a->points.count, at.y, 1); /* a picture: no rows */
    if (a->points.count == 0) {
        tq_put(&a->canvas, at.y + 2, at.x + 3, at.x + at.w - 2, TQ_ST_DIM, "none is evaluated yet");
        return;
    }
    if (plot.h >= 3 && scale_of(&a->points, plot, &s)) draw_plot(a, &s);
    tq_put_right(&a->canvas, at.y + 1, at.x + at.w - 26, at.x + at.w - 2, TQ_ST_DIM, "KLD over bits/weight");
    draw_chosen(a, at.y + at.h - 3, at.x + 3, at.x + at.w - 2);
}

static void restore(tq_app *a) {
    const tq_point *x = &a->points.points[a->menu.at];
    tq_plan *plan = tq_plan_copy(x->plan);
    char what[96];
    if (tq_plans_equal(a->model, x->plan, tq_draft_plan(&a->draft))) {
        tq_plan_free(plan);
        tq_say(a, TQ_SAYS, "that is the plan now");
        return;
    }
    snprintf(what, sizeof what, "restore %.80s", x->name);
    if (plan) tq_edit_push(a, plan, what);
    tq_say(a, TQ_SAYS, "restored: %s", x->name);
}

void tq_points_key(tq_app *a, int key) {
    bool sideways = key == TQ_KEY_LEFT || key == TQ_KEY_RIGHT || key == 'h' || key == 'l';
    if (sideways) key = key == TQ_KEY_LEFT || key == 'h' ? TQ_KEY_UP : TQ_KEY_DOWN;
    if (tq_list_key(&a->menu, key)) return;
    a->overlay = TQ_OVER_NONE;
    if (key == TQ_KEY_ENTER && a->points.count) restore(a);
}

void tq_points_show(tq_app *a) {
    size_t now = tq_points_find(&a->points, a->model, tq_draft_plan(&a->draft));
    tq_list_begin(&a->menu, a->points.count, now);
    a->overlay = TQ_OVER_POINTS;
}

void tq_points_snapshot(tq_app *a, const char *name) {
    size_t now = tq_points_find(&a->points, a->model, tq_draft_plan(&a->draft));
    if (now == SIZE_MAX) {
        tq_say(a, TQ_REFUSES, "the plan is not evaluated yet: a snapshot needs its figures");
        return;
    }
    tq_points_name(&a->points, now, name);
    tq_say(a, TQ_SAYS, "snapshot: %.90s", name);
}

void tq_points_write(tq_app *a, const char *path) {
    struct stat st;
    tq_err err = {{0}};
    size_t n = strlen(path);
    bool csv = n > 4 && strcmp(path + n - 4, ".csv") == 0, json = n > 5 && strcmp(path + n - 5, ".json") == 0;
    if (!csv && !json) {
        tq_say(a, TQ_REFUSES, "history '%.80s': expected a name that ends with .csv or .json", path);
        return;
    }
    if (lstat(path, &st) == 0 || errno != ENOENT) {
        tq_say(a, TQ_REFUSES, "%.200s exists: it is not overwritten", path);
        return;
    }
    char *text = csv ? tq_points_csv(&a->points) : tq_points_json(&a->points, &err);
    int rc = text ? tq_write_file(path, text, strlen(text), &err) : TQ_FAIL;
    free(text);
    if (rc == TQ_OK)
        tq_say(a, TQ_SAYS, "%zu plans written: %.200s", a->points.count, path);
    else
        tq_say(a, TQ_REFUSES, "%s", *err.msg ? err.msg : "out of memory");
}
