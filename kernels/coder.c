/* coder.c - the intervals that tell a code with one comparison. */
#include "kernels/internal.h"
#include <math.h>

enum { INTERVALS = 64 };

/* Whether no interval i, |x * scale + offset - i| <= 1/2, holds two bounds; the first and the last have no end. Where
 * one ends is off by what rounding does to x * scale + offset: a hundredth of an interval is far more. */
static int find_first(uint8_t first[INTERVALS], const float *bounds, int count, double scale, double offset) {
    const double half = 0.51;
    for (int i = 0; i < INTERVALS; i++) {
        int below = 0, inside = 0;
        for (int j = 0; j < count; j++) {
            double place = (double)bounds[j] * scale + offset - i;
            if (place < -half && i > 0)
                below++;
            else
                inside += place <= half || i == INTERVALS - 1;
        }
        if (inside > 1) return 0;
        first[i] = (uint8_t)below;
    }
    return 1;
}

/* The largest power of two that leaves `range` inside of the intervals. */
static float scale_for(float range) {
    int exponent = 0;
    frexpf((INTERVALS - 4) / range, &exponent);
    return ldexpf(1, exponent - 1);
}

static int init_coarse(tq_coder *c) {
    float low = c->bounds[0], high = c->bounds[c->count - 1];
    if (!(high > low)) return 0;
    c->scale = scale_for(high - low);
    c->offset = 0.5f * INTERVALS - c->scale * 0.5f * (low + high);
    return find_first(c->first, c->bounds, c->count, c->scale, c->offset);
}

static int init_fine(tq_coder *c, int k) {
    float scale = scale_for(c->search.bounds[k][c->search.count - 1]);
    if (!(c->search.bounds[k][0] >= 0) || !isfinite(scale)) return 0;
    for (int j = 0; j < 16; j++)
        c->fine_bounds[k][j] = j < c->search.count ? c->search.bounds[k][j] * scale : INFINITY;
    for (int n = 0; n < 16; n++)
        if ((n == 0 || n == 15) == k) c->inv_v[n] = c->search.inv_v[n] * scale;
    return find_first(c->fine_first[k], c->fine_bounds[k], c->search.count, 1, 0);
}

void tq_coder_init(tq_coder *c, const tq_levels *levels, const float *bounds, int count, const tq_fine_search *search) {
    memset(c, 0, sizeof *c);
    c->levels = levels;
    c->count = count;
    for (int j = 0; j < 16; j++)
        c->bounds[j] = j < count ? bounds[j] : INFINITY;
    if (search) c->search = *search;
    c->shortcut = count > 0 && init_coarse(c);
    if (c->search.count) c->shortcut = c->shortcut && init_fine(c, 0) && init_fine(c, 1);
}

void tq_encode_fit_with(const tq_kernels *k, uint8_t *codes, uint8_t *fine, double sums[3], const float *z, size_t n,
                        const tq_coder *coder) {
    enum { PIECE = 256 };
    float level[PIECE];
    int residual = coder->search.count > 0;
    sums[0] = sums[1] = sums[2] = 0;
    for (size_t i = 0; i < n; i += PIECE) {
        size_t m = n - i < PIECE ? n - i : PIECE;
        double part[3];
        k->encode(codes + i, z + i, m, coder->bounds, coder->count);
        if (residual) k->encode_fine(fine + i, codes + i, z + i, m, &coder->search);
        k->levels(level, codes + i, residual ? fine + i : NULL, m, coder->levels);
        k->moments(part, z + i, level, m);
        for (int j = 0; j < 3; j++)
            sums[j] += part[j];
    }
}
