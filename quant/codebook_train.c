/* Training of the level tables. Everything is integrated against the density of N(0,1): no samples, no seed. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "quant/codebook.h"

#define INNER 7 /* inner cells right of zero: codes 8 .. 14; code 15 is the outer one */
#define FAR 12.0

static double density(double x) {
    return exp(-0.5 * x * x) * 0.3989422804014327;
}
static double tail(double x) {
    return 0.5 * erfc(x * 0.7071067811865476);
}

/* Mass, first and second moment of N(0,1) on [a, b]. */
typedef struct moments {
    double p, m1, m2;
} moments;

static moments integrate(double a, double b) {
    double p = tail(a) - tail(b), fa = density(a), fb = density(b);
    moments m = {p, fa - fb, p + a * fa - b * fb};
    return m;
}

/* Statistics of `count` ascending levels inside [lo, hi]; returns the squared error. */
static double cell_stats(const double *level, int count, double lo, double hi, moments *stats) {
    double error = 0, a = lo;
    for (int r = 0; r < count; r++) {
        double b = r + 1 < count ? 0.5 * (level[r] + level[r + 1]) : hi;
        b = fmin(fmax(b, a), hi);
        moments m = integrate(a, b);
        error += m.m2 - 2 * level[r] * m.m1 + level[r] * level[r] * m.p;
        if (stats) stats[r] = m;
        a = b;
    }
    return error;
}

static void lloyd_max(double *level, int count, double lo, double hi, int rounds) {
    moments s[16];
    double top = fmin(hi, 4.0), bottom = fmax(lo, -4.0);
    for (int r = 0; r < count; r++)
        level[r] = bottom + (top - bottom) * (r + 0.5) / count;
    for (int i = 0; i < rounds; i++) {
        cell_stats(level, count, lo, hi, s);
        for (int r = 0; r < count; r++)
            if (s[r].p > 0) level[r] = s[r].m1 / s[r].p;
    }
}

/* Levels on a symmetric int8 grid: every grid that puts the largest level at `top` .. 127 is tried, and the step is
 * refitted after the rounding. */
static void train_plain(tq_levels *levels, int count) {
    double ideal[16], best = DBL_MAX;
    lloyd_max(ideal, count, -FAR, FAR, 4000);
    for (int i = 0; i < 4000; i++) {
        double grid = (127.0 - i * (64.0 / 4000)) / ideal[count - 1];
        double level[16], unit = 1.0 / grid;
        moments s[16];
        int16_t a[16];
        for (int n = 0; n < count; n++)
            a[n] = (int16_t)lround(ideal[n] * grid);
        double error = 0;
        for (int round = 0; round < 6; round++) {
            double num = 0, den = 0;
            for (int n = 0; n < count; n++)
                level[n] = unit * a[n];
            error = cell_stats(level, count, -FAR, FAR, s);
            for (int n = 0; n < count; n++) {
                num += a[n] * s[n].m1;
                den += (double)a[n] * a[n] * s[n].p;
            }
            unit = num / den;
        }
        if (error >= best) continue;
        best = error;
        for (int n = 0; n < count; n++)
            levels->a[n] = a[n];
        levels->step = (float)unit;
    }
}

/* Cells that share one shape: levels A[j] + v[j] * f[r] in cell j = [edge[j], edge[j + 1]]. */
typedef struct shape {
    int cells, count;
    double edge[INNER + 1];
    double a[INNER], v[INNER], f[16];
    double error;
} shape;

static double shape_stats(const shape *s, moments stats[INNER][16]) {
    double error = 0, level[16] = {0};
    for (int j = 0; j < s->cells; j++) {
        for (int r = 0; r < s->count; r++)
            level[r] = s->a[j] + s->v[j] * s->f[r];
        error += cell_stats(level, s->count, s->edge[j], s->edge[j + 1], stats ? stats[j] : NULL);
    }
    return error;
}

/* Least squares for a, and for v unless it is fixed, given f. */
static void refit_cells(shape *s, moments st[INNER][16], int v_fixed) {
    for (int j = 0; j < s->cells; j++) {
        double p = 0, f = 0, x = 0, ff = 0, fx = 0;
        for (int r = 0; r < s->count; r++) {
            p += st[j][r].p;
            f += st[j][r].p * s->f[r];
            ff += st[j][r].p * s->f[r] * s->f[r];
            x += st[j][r].m1;
            fx += st[j][r].m1 * s->f[r];
        }
        if (!v_fixed) s->v[j] = (fx - f * x / p) / (ff - f * f / p);
        s->a[j] = (x - s->v[j] * f) / p;
    }
}

static void refit_shape(shape *s, moments st[INNER][16]) {
    for (int r = 0; r < s->count; r++) {
        double num = 0, den = 0;
        for (int j = 0; j < s->cells; j++) {
            num += s->v[j] * (st[j][r].m1 - s->a[j] * st[j][r].p);
            den += s->v[j] * s->v[j] * st[j][r].p;
        }
        if (den > 0) s->f[r] = num / den;
    }
}

static void train_shape(shape *s) {
    double f[16] = {0};
    for (int j = 0; j < s->cells; j++) {
        double level[16];
        lloyd_max(level, s->count, s->edge[j], s->edge[j + 1], 600);
        s->v[j] = level[s->count - 1] - level[0];
        s->a[j] = level[0];
        for (int r = 0; r < s->count; r++)
            f[r] += (level[r] - level[0]) / s->v[j] / s->cells;
    }
    memcpy(s->f, f, sizeof f);
    moments st[INNER][16];
    for (int i = 0; i < 300; i++) {
        shape_stats(s, st);
        refit_cells(s, st, 0);
        shape_stats(s, st);
        refit_shape(s, st);
    }
    s->error = shape_stats(s, NULL);
    /* f starts at 0: what is below goes into a. */
    double low = s->f[0];
    for (int r = 0; r < s->count; r++)
        s->f[r] -= low;
    for (int j = 0; j < s->cells; j++)
        s->a[j] += s->v[j] * low;
}

/* The error of a shape on integers: a in units of step, v and f in units of which the product is step. */
static double error_in_units(const shape *u, double step) {
    shape s = *u;
    for (int j = 0; j < s.cells; j++) {
        s.a[j] *= step;
        s.v[j] *= step;
    }
    return shape_stats(&s, NULL);
}

/* Rounds v so that the last cell's is v_last, then f and a by turns, each refitted to what the others became. */
static shape round_shape(const shape *ideal, double step, int v_last) {
    shape u = *ideal;
    double t = v_last / ideal->v[ideal->cells - 1];
    for (int j = 0; j < u.cells; j++)
        u.v[j] = fmax(1.0, rint(ideal->v[j] * t));
    for (int round = 0; round < 3; round++) {
        moments st[INNER][16];
        shape s = u;
        for (int j = 0; j < s.cells; j++)
            s.v[j] *= step;
        if (round == 0) {
            for (int r = 0; r < s.count; r++)
                s.f[r] = ideal->f[r] / (t * step);
        } else {
            for (int j = 0; j < s.cells; j++)
                s.a[j] *= step;
            shape_stats(&s, st);
            refit_shape(&s, st);
        }
        double low = s.f[0];
        for (int r = 0; r < s.count; r++)
            u.f[r] = s.f[r] = fmin(255.0, fmax(0.0, rint(s.f[r] - low)));
        shape_stats(&s, st);
        refit_cells(&s, st, 1);
        for (int j = 0; j < u.cells; j++)
            u.a[j] = rint(s.a[j] / step);
    }
    u.error = error_in_units(&u, step);
    return u;
}

static int fits(const shape *u) {
    for (int r = 0; r < u->count; r++)
        if (u->f[r] < 0 || u->f[r] > 255 || (r > 0 && u->f[r] <= u->f[r - 1])) return 0;
    for (int j = 0; j < u->cells; j++)
        if (u->v[j] < 1 || u->v[j] > 127 || u->a[j] + u->v[j] * u->f[u->count - 1] > 32767) return 0;
    return 1;
}

/* Moves one number after the other by `by` while that helps. */
static void descend(shape *u, double step) {
    static const double moves[] = {-1, 1, -4, 4, -16, 16};
    double *number[2 * INNER + 16];
    int count = 0, improved = 1;
    for (int j = 0; j < u->cells; j++)
        number[count++] = &u->a[j];
    for (int j = 0; j < u->cells; j++)
        number[count++] = &u->v[j];
    for (int r = 0; r < u->count; r++)
        number[count++] = &u->f[r];
    for (int round = 0; improved && round < 12; round++) {
        improved = 0;
        for (int i = 0; i < count; i++) {
            for (size_t m = 0; m < sizeof moves / sizeof moves[0]; m++) {
                double before = *number[i];
                *number[i] += moves[m];
                double error = fits(u) ? error_in_units(u, step) : DBL_MAX;
                if (error < u->error - 1e-15) {
                    u->error = error;
                    improved = 1;
                } else {
                    *number[i] = before;
                }
            }
        }
    }
}

static shape best_rounding(const shape *ideal, double step) {
    shape best = *ideal;
    best.error = DBL_MAX;
    for (int v = 4; v <= 127; v++) {
        double range = ideal->f[ideal->count - 1] * ideal->v[ideal->cells - 1] / (step * v);
        if (range > 255) continue;
        shape u = round_shape(ideal, step, v);
        if (fits(&u) && u.error < best.error) best = u;
    }
    return best;
}

static void store(tq_levels *l, const shape *inner, const shape *outer, double step) {
    for (int n = 8; n < 16; n++) {
        const shape *s = n < 15 ? inner : outer;
        int j = n < 15 ? n - 8 : 0;
        l->a[n] = (int16_t)s->a[j];
        l->v[n] = (int8_t)s->v[j];
        l->a[15 - n] = (int16_t)-s->a[j];
        l->v[15 - n] = (int8_t)-s->v[j];
    }
    for (int r = 0; r < inner->count; r++) {
        l->fine[0][r] = (uint8_t)inner->f[r];
        l->fine[1][r] = (uint8_t)outer->f[r];
    }
    l->step = (float)step;
}

static void train_nested(tq_levels *levels, int count) {
    tq_levels coarse = {0};
    train_plain(&coarse, 16);
    shape inner = {.cells = INNER, .count = count}, outer = {.cells = 1, .count = count};
    for (int j = 1; j <= INNER; j++)
        inner.edge[j] = 0.5 * coarse.step * (coarse.a[7 + j] + coarse.a[8 + j]);
    outer.edge[0] = inner.edge[INNER];
    outer.edge[1] = FAR;
    train_shape(&inner);
    train_shape(&outer);
    double top = outer.a[0] + outer.v[0] * outer.f[count - 1];
    double best = DBL_MAX;
    for (int i = 0; i < 24; i++) {
        /* The finest step that holds the largest level, and coarser ones: they suit some sets of v better. */
        double step = top * 1.002 / 32767 * (1 + 0.04 * i);
        shape in = best_rounding(&inner, step), out = best_rounding(&outer, step);
        if (in.error + out.error >= best * 1.02) continue;
        descend(&in, step);
        descend(&out, step);
        if (in.error + out.error >= best) continue;
        best = in.error + out.error;
        store(levels, &in, &out, step);
    }
}

void tq_codebook_train(tq_levels *levels, int code_bits, int fine_bits) {
    memset(levels, 0, sizeof *levels);
    if (fine_bits == 0)
        train_plain(levels, 1 << code_bits);
    else
        train_nested(levels, 1 << fine_bits);
}

double tq_codebook_mse(const tq_levels *levels, const tq_levels *coarse, int code_bits, int fine_bits) {
    int cells = 1 << code_bits, count = 1 << fine_bits;
    double step = (double)levels->step, error = 0, lo = -FAR;
    double level[16];
    if (!coarse) {
        for (int n = 0; n < cells; n++)
            level[n] = step * levels->a[n];
        return cell_stats(level, cells, -FAR, FAR, NULL);
    }
    for (int n = 0; n < cells; n++) {
        double hi = n + 1 < cells ? 0.5 * (double)coarse->step * (coarse->a[n] + coarse->a[n + 1]) : FAR;
        const uint8_t *fine = levels->fine[n == 0 || n == cells - 1];
        for (int r = 0; r < count; r++) {
            int at = levels->v[n] < 0 ? count - 1 - r : r; /* mirrored cells descend */
            level[r] = step * (levels->a[n] + levels->v[n] * fine[at]);
        }
        error += cell_stats(level, count, lo, hi, NULL);
        lo = hi;
    }
    return error;
}
