/* Training of the trellis tables: generalised Lloyd. The search codes the samples, then least squares fits a and v, u,
 * and t by turns to the codes found; at the end the same on the integer grid of the kernels. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "quant/base.h"
#include "quant/codebook.h"

enum { STEPS = 256, SEQUENCES = 176, SAMPLES = SEQUENCES * STEPS * TQ_TILE_ROWS, CELLS = 4096 };
enum { FREE_ROUNDS = 200, GRID_ROUNDS = 60, INNER_ROUNDS = 3 };

static uint64_t next_random(uint64_t *state) { /* splitmix64 (Steele, Lea, Flood 2014) */
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static int32_t branch_of(int level) {
    level = level / 2 * 2;
    uint32_t high = (uint32_t)(level * level + TQ_TRELLIS_SQUARE / 2) / TQ_TRELLIS_SQUARE;
    return (int32_t)(high << 16 | (uint16_t)(-2 * level));
}

/* The order of kernels.h: [n][p], or [p][n][pp]. */
static void cell_of(unsigned branch, int states, unsigned *n, unsigned *p, unsigned *pp) {
    *n = branch >> 4 & 15;
    *p = states == 16 ? branch & 15 : branch >> 8;
    *pp = states == 16 ? 0 : branch & 15;
}

void tq_codebook_branches(tq_trellis *trellis, const tq_levels *l, int states) {
    unsigned n, p, pp;
    trellis->states = states;
    for (unsigned i = 0; i < (unsigned)states * 16; i++) {
        cell_of(i, states, &n, &p, &pp);
        trellis->branch[i] = branch_of(l->a[n] + l->v[n] * (l->u[p] + l->t[pp]));
    }
}

/* A table in real numbers, in units of step. */
typedef struct table {
    double a[16], v[16], u[16], t[16];
    double step;
} table;

typedef struct trainer {
    int states;
    float *sample; /* [SEQUENCES][STEPS][16] */
    int16_t *z;    /* [STEPS][16] */
    uint8_t *codes;
    void *work;
    /* Over all samples: how often code n followed p and pp, and the samples' sum there: [pp][p][n]. */
    double count[CELLS], sum[CELLS], squares;
    tq_trellis trellis;
} trainer;

static double level_of(const table *b, unsigned cell) {
    unsigned n = cell & 15, p = cell >> 4 & 15, pp = cell >> 8;
    return b->a[n] + b->v[n] * (b->u[p] + b->t[pp]);
}

static double largest_level(const table *b) {
    double most = 0;
    for (unsigned i = 0; i < CELLS; i++)
        most = fmax(most, fabs(level_of(b, i)));
    return most;
}

/* Codes the samples with the table and counts. Levels are rounded to the search's units. */
static void search(trainer *tr, const table *b, bool grid) {
    const tq_kernels *k = tq_k();
    double unit = grid ? b->step : b->step * largest_level(b) / TQ_TRELLIS_MAX;
    unsigned n, p, pp;
    tr->trellis.states = tr->states;
    for (unsigned i = 0; i < (unsigned)tr->states * 16; i++) {
        cell_of(i, tr->states, &n, &p, &pp);
        tr->trellis.branch[i] = branch_of((int)lrint(level_of(b, pp << 8 | p << 4 | n) * b->step / unit));
    }
    memset(tr->count, 0, sizeof tr->count);
    memset(tr->sum, 0, sizeof tr->sum);
    static const uint8_t zero[TQ_TILE_ROWS];
    int32_t cost[256 * TQ_TILE_ROWS];
    for (size_t s = 0; s < SEQUENCES; s++) {
        const float *x = tr->sample + s * STEPS * TQ_TILE_ROWS;
        for (size_t i = 0; i < (size_t)STEPS * TQ_TILE_ROWS; i++)
            tr->z[i] = (int16_t)lrint(fmin(fmax((double)x[i] / unit, -TQ_TRELLIS_Z_MAX), TQ_TRELLIS_Z_MAX));
        tq_trellis_begin(cost, tr->states, zero);
        k->trellis(tr->codes, tr->z, STEPS, &tr->trellis, cost, NULL, tr->work);
        unsigned cell[TQ_TILE_ROWS] = {0};
        for (size_t i = 0; i < (size_t)STEPS * TQ_TILE_ROWS; i++) {
            unsigned *c = &cell[i % TQ_TILE_ROWS];
            *c = (*c << 4 | tr->codes[i]) & (CELLS - 1);
            tr->count[*c]++;
            tr->sum[*c] += (double)x[i];
        }
    }
}

static double error_of(const trainer *tr, const table *b) {
    double error = tr->squares;
    for (unsigned i = 0; i < CELLS; i++) {
        double level = b->step * level_of(b, i);
        error += level * (level * tr->count[i] - 2 * tr->sum[i]);
    }
    return error / SAMPLES;
}

static double rounded(double x, double grid) {
    return grid > 0 ? grid * rint(x / grid) : x;
}

/* a and v by least squares, u and t given; on the grid one after the other. */
static void fit_cells(const trainer *tr, table *b, bool grid) {
    for (unsigned n = 0; n < 16; n++) {
        double w = 1e-9, s1 = 0, s2 = 1e-9, y = 0, sy = 0;
        for (unsigned i = n; i < CELLS; i += 16) {
            double s = b->u[i >> 4 & 15] + b->t[i >> 8], sum = tr->sum[i] / b->step;
            w += tr->count[i];
            s1 += tr->count[i] * s;
            s2 += tr->count[i] * s * s;
            y += sum;
            sy += sum * s;
        }
        if (!grid) {
            b->v[n] = (w * sy - s1 * y) / (w * s2 - s1 * s1);
            b->a[n] = (y - b->v[n] * s1) / w;
            continue;
        }
        double limit = 127.0 * TQ_TRELLIS_UNIT;
        b->a[n] = fmin(fmax(rounded((y - b->v[n] * s1) / w, TQ_TRELLIS_UNIT), -limit), limit);
        b->v[n] = fmin(fmax(rint((sy - b->a[n] * s1) / s2), 1), 127);
    }
}

/* u (shift 4) or t (shift 8). */
static void fit_offsets(const trainer *tr, table *b, double *offset, unsigned shift, bool grid) {
    double num[16] = {0}, den[16] = {0};
    for (unsigned i = 0; i < CELLS; i++) {
        unsigned n = i & 15, at = i >> shift & 15;
        double others = level_of(b, i) - b->v[n] * offset[at];
        num[at] += b->v[n] * (tr->sum[i] / b->step - tr->count[i] * others);
        den[at] += tr->count[i] * b->v[n] * b->v[n];
    }
    for (int i = 0; i < 16; i++)
        if (den[i] > 0) offset[i] = rounded(num[i] / den[i], grid);
}

static void fit_step(const trainer *tr, table *b) {
    double num = 0, den = 0;
    for (unsigned i = 0; i < CELLS; i++) {
        double level = level_of(b, i);
        num += level * tr->sum[i];
        den += level * level * tr->count[i];
    }
    b->step = num / den;
}

static void fit(const trainer *tr, table *b, bool grid) {
    for (int i = 0; i < INNER_ROUNDS; i++) {
        fit_cells(tr, b, grid);
        fit_offsets(tr, b, b->u, 4, grid);
        if (tr->states > 16) fit_offsets(tr, b, b->t, 8, grid);
        if (grid) fit_step(tr, b);
    }
}

/* What the kernels ask for. */
static bool fits(const table *b) {
    double most = 0;
    for (int p = 0; p < 16; p++)
        for (int pp = 0; pp < 16; pp++)
            most = fmax(most, fabs(b->u[p] + b->t[pp]));
    for (int p = 0; p < 16; p++)
        most = fmax(most, fmax(fabs(b->u[p]), fabs(b->t[p])));
    return most <= 127 && largest_level(b) <= TQ_TRELLIS_MAX;
}

static double quantile(double p) {
    double lo = -8, hi = 8;
    for (int i = 0; i < 60; i++) {
        double mid = (lo + hi) / 2;
        *(0.5 * erfc(-mid * 0.7071067811865476) < p ? &lo : &hi) = mid;
    }
    return (lo + hi) / 2;
}

static void start_table(table *b, int states) {
    *b = (table){.step = 1};
    for (int n = 0; n < 16; n++) {
        double lo = n > 0 ? quantile(n / 16.0) : -3, hi = n < 15 ? quantile((n + 1) / 16.0) : 3;
        b->a[n] = quantile((n + 0.5) / 16);
        b->v[n] = fmin(hi - lo, 0.6);
        b->u[n] = (3 * n % 16 + 0.5) / 16 - 0.5;
        b->t[n] = states > 16 ? (3 * n % 16 + 0.5) / 16 - 0.5 : 0;
    }
}

/* The quantiles of N(0,1) in random order: no luck of the draw in the samples, only in their order. */
static void draw_samples(trainer *tr) {
    uint64_t state = 1;
    for (size_t i = 0; i < SAMPLES / 2; i++) {
        tr->sample[i] = (float)quantile(((double)i + 0.5) / SAMPLES);
        tr->sample[SAMPLES - 1 - i] = -tr->sample[i];
    }
    for (size_t i = SAMPLES - 1; i > 0; i--) {
        size_t j = (size_t)(next_random(&state) % (i + 1));
        float x = tr->sample[i];
        tr->sample[i] = tr->sample[j];
        tr->sample[j] = x;
    }
    tr->squares = 0;
    for (size_t i = 0; i < SAMPLES; i++)
        tr->squares += (double)tr->sample[i] * (double)tr->sample[i];
}

/* The table in integers. v and u + t share the product; with 48 for the largest v both are about as fine. */
static table to_grid(const table *free_table) {
    const double v_most = 48;
    table b = *free_table;
    double most = 0;
    for (int n = 0; n < 16; n++)
        most = fmax(most, b.v[n]);
    double unit = largest_level(&b) * b.step * 1.004 / TQ_TRELLIS_MAX, by = v_most / most;
    for (int n = 0; n < 16; n++) {
        b.a[n] = rounded(b.a[n] * b.step / unit, TQ_TRELLIS_UNIT);
        b.v[n] = rint(b.v[n] * by);
        b.u[n] = rint(b.u[n] * b.step / unit / by);
        b.t[n] = rint(b.t[n] * b.step / unit / by);
    }
    b.step = unit;
    return b;
}

static void store(tq_levels *l, const table *b) {
    memset(l, 0, sizeof *l);
    for (int n = 0; n < 16; n++) {
        l->a[n] = (int16_t)b->a[n];
        l->v[n] = (int8_t)b->v[n];
        l->u[n] = (int8_t)b->u[n];
        l->t[n] = (int8_t)b->t[n];
    }
    l->step = (float)b->step;
}

static void train(trainer *tr, tq_levels *levels) {
    table b, g;
    double best = DBL_MAX;
    draw_samples(tr);
    start_table(&b, tr->states);
    for (int i = 0; i < FREE_ROUNDS; i++) {
        search(tr, &b, false);
        fit(tr, &b, false);
    }
    search(tr, &b, false);
    g = to_grid(&b);
    for (int i = 0; i < GRID_ROUNDS; i++) {
        search(tr, &g, true);
        double error = error_of(tr, &g);
        if (error < best && fits(&g)) {
            best = error;
            store(levels, &g);
        }
        fit(tr, &g, true);
    }
}

static bool trainer_init(trainer *tr, int states) {
    tr->states = states;
    tr->sample = tq_calloc_aligned(SAMPLES, sizeof *tr->sample);
    tr->z = tq_calloc_aligned((size_t)STEPS * TQ_TILE_ROWS, sizeof *tr->z);
    tr->codes = tq_calloc_aligned((size_t)STEPS * TQ_TILE_ROWS, 1);
    tr->work = tq_calloc_aligned(TQ_TRELLIS_WORK(states, STEPS), 1);
    return tr->sample && tr->z && tr->codes && tr->work;
}

static void trainer_free(trainer *tr) {
    free(tr->sample);
    free(tr->z);
    free(tr->codes);
    free(tr->work);
    free(tr);
}

void tq_codebook_train_trellis(tq_levels *levels, int states) {
    trainer *tr = calloc(1, sizeof *tr);
    memset(levels, 0, sizeof *levels);
    if (tr && trainer_init(tr, states)) train(tr, levels);
    if (tr) trainer_free(tr);
}

double tq_codebook_trellis_mse(const tq_levels *levels, int states, uint64_t seed) {
    trainer *tr = calloc(1, sizeof *tr);
    table b = {.step = (double)levels->step};
    double error = INFINITY;
    if (!tr) return error;
    for (int n = 0; n < 16; n++) {
        b.a[n] = levels->a[n];
        b.v[n] = levels->v[n];
        b.u[n] = levels->u[n];
        b.t[n] = levels->t[n];
    }
    if (trainer_init(tr, states)) {
        for (size_t i = 0; i < SAMPLES; i++) {
            double r = ((double)(next_random(&seed) >> 11) + 0.5) * 0x1p-53;
            double angle = (double)(next_random(&seed) >> 11) * 0x1p-53 * 6.283185307179586;
            tr->sample[i] = (float)(sqrt(-2 * log(r)) * cos(angle));
            tr->squares += (double)tr->sample[i] * (double)tr->sample[i];
        }
        search(tr, &b, true);
        error = error_of(tr, &b);
    }
    trainer_free(tr);
    return error;
}
