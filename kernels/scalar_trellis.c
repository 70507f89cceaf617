/* scalar_trellis.c - the reference for trellis codes: the search for the best path (Viterbi, 1967) and its levels. */
#include "kernels/internal.h"

enum { LANES = TQ_TILE_ROWS };

typedef int32_t costs[256][LANES];

static void subtract_least(costs cost, int states) {
    for (int i = 0; i < LANES; i++) {
        int32_t least = cost[0][i];
        for (int s = 1; s < states; s++)
            if (cost[s][i] < least) least = cost[s][i];
        for (int s = 0; s < states; s++)
            cost[s][i] -= least & ~15;
    }
}

/* The least cost over the 16 predecessors, `stride` states apart, in the low bits which of them it was. */
static int32_t least_branch(const int32_t *from, int stride, const int32_t *branch, uint32_t lane) {
    int32_t least = INT32_MAX;
    for (int p = 0; p < 16; p++) {
        uint32_t b = (uint32_t)branch[p];
        int32_t low = (int16_t)(lane & 0xffff) * (int16_t)(b & 0xffff);
        int32_t high = (int16_t)(lane >> 16) * (int16_t)(b >> 16);
        int32_t cost = from[(ptrdiff_t)p * stride * LANES] + low + high;
        if (cost < least) least = cost;
    }
    return least;
}

/* One step of 16 sequences. Group g leads from the states g, g + stride, g + 2 stride, ... to 16 g .. 16 g + 15. */
static void advance(costs to, costs from, const int16_t *z, const tq_trellis *t, uint32_t *words) {
    int groups = t->states / 16;
    memset(words, 0, (size_t)t->states / 8 * LANES * sizeof *words);
    for (int s = 0; s < t->states; s++) {
        int group = s / 16, index = groups == 1 ? s : group;
        for (int i = 0; i < LANES; i++) {
            int32_t least = least_branch(&from[group][i], groups, t->branch + (size_t)16 * s, tq_trellis_lane(z[i]));
            to[s][i] = (least & ~15) | index;
            words[s / 8 * LANES + i] |= (uint32_t)(least & 15) << (4 * (s & 7));
        }
    }
}

void tq_trellis_trace(uint8_t *codes, size_t steps, int states, const int32_t *cost, const uint8_t *last,
                      const uint32_t *words) {
    for (int i = 0; i < LANES; i++) {
        unsigned state = last ? last[i] : 0;
        for (unsigned s = 1; !last && s < (unsigned)states; s++)
            if (cost[s * LANES + (unsigned)i] < cost[state * LANES + (unsigned)i]) state = s;
        for (size_t k = steps; k-- > 0;) {
            codes[k * LANES + (size_t)i] = (uint8_t)(state & 15);
            uint32_t word = words[(k * (size_t)states / 8 + state / 8) * LANES + (size_t)i];
            unsigned before = word >> (4 * (state & 7)) & 15;
            state = states == 16 ? before : before << 4 | state >> 4;
        }
    }
}

static void trellis(uint8_t *codes, const int16_t *z, size_t steps, const tq_trellis *t, int32_t *ends,
                    const uint8_t *last, void *work) {
    costs cost[2];
    uint32_t *words = work;
    memcpy(cost[0], ends, (size_t)t->states * sizeof *cost[0]);
    for (size_t k = 0; k < steps; k++) {
        if (k && k % TQ_TRELLIS_PERIOD == 0) subtract_least(cost[k & 1], t->states);
        advance(cost[~k & 1], cost[k & 1], z + k * LANES, t, words + k * (size_t)t->states / 8 * LANES);
    }
    tq_trellis_trace(codes, steps, t->states, cost[steps & 1][0], last, words);
    memcpy(ends, cost[steps & 1], (size_t)t->states * sizeof *cost[0]);
}

static void trellis_levels(float *out, const uint8_t *codes, const uint8_t *before, const uint8_t *before2, size_t n,
                           const tq_levels *l) {
    for (size_t i = 0; i < n; i++)
        out[i] = (float)tq_trellis_level(l, codes[i] & 15, before[i] & 15, before2[i] & 15);
}

void tq_kernels_fill_scalar_trellis(tq_kernels *k) {
    k->trellis = trellis;
    k->trellis_levels = trellis_levels;
}
