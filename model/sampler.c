/* sampler.c - sets of best tokens are found by radix selection on the bits of floats: exact, no sorting, no memory. */
#include "model/sampler.h"

#include <math.h>
#include <string.h>

#define RADIX 2048

/* splitmix64, which fills the state of xoshiro256** (Blackman and Vigna, arXiv 1805.01407). */
static uint64_t splitmix(uint64_t *x) {
    uint64_t z = (*x += 0x9E3779B97F4A7C15U);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    return z ^ (z >> 31);
}

static uint64_t rotate_left(uint64_t x, int k) {
    return (x << k) | (x >> (64 - k));
}

static uint64_t next_random(uint64_t s[4]) {
    uint64_t result = rotate_left(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

void tq_sampler_init(tq_sampler *s, const tq_sampling *options) {
    uint64_t x = options->seed;
    s->options = *options;
    for (int i = 0; i < 4; i++)
        s->state[i] = splitmix(&x);
}

/* Unsigned integers in the order of the floats. */
static uint32_t key_of(float x) {
    uint32_t bits = 0;
    memcpy(&bits, &x, sizeof bits);
    return bits & 0x80000000U ? ~bits : bits | 0x80000000U;
}

static float value_of(uint32_t key) {
    uint32_t bits = key & 0x80000000U ? key & 0x7FFFFFFFU : ~key;
    float x = 0.0F;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* The largest values, up to a weight: everything above `key`, and of those equal to it the first `equal`. */
typedef struct cut {
    uint32_t key;
    size_t equal;
} cut;

/* The fewest of the largest values whose weights reach `want`; a value weighs itself (by_mass) or one. */
static cut select_largest(const float *x, size_t n, double want, int by_mass) {
    static const struct {
        int shift;
        uint32_t digits;
    } passes[] = {{21, 0x7FF}, {10, 0x7FF}, {0, 0x3FF}};
    double bins[RADIX], above = 0.0;
    uint32_t prefix = 0, mask = 0;
    for (size_t pass = 0; pass < 3; pass++) {
        int shift = passes[pass].shift;
        uint32_t digits = passes[pass].digits, digit = digits, lowest = 0;
        memset(bins, 0, sizeof bins);
        for (size_t i = 0; i < n; i++) {
            uint32_t key = key_of(x[i]);
            if ((key & mask) == prefix) bins[key >> shift & digits] += by_mass ? (double)x[i] : 1.0;
        }
        /* Empty bins never stop the walk, neither above the largest value nor, by rounding, below the smallest. */
        while (lowest < digits && bins[lowest] <= 0.0)
            lowest++;
        while (digit > lowest && (bins[digit] <= 0.0 || above + bins[digit] < want))
            above += bins[digit--];
        prefix |= digit << shift;
        mask |= digits << shift;
    }
    double each = by_mass ? (double)value_of(prefix) : 1.0, count = each > 0.0 ? ceil((want - above) / each) : 1.0;
    size_t equal = count < 1.0 ? 1 : count > (double)n ? n : (size_t)count;
    return (cut){.key = prefix, .equal = equal};
}

/* What is not in the set becomes `rest`; among equals the lowest ids stay. */
static void keep_largest(float *x, size_t n, cut c, float rest) {
    size_t equal = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t key = key_of(x[i]);
        if (key < c.key || (key == c.key && equal++ >= c.equal)) x[i] = rest;
    }
}

static int argmax(const float *x, size_t n) {
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return (int)best;
}

/* Weights relative to the best token's, in place; -inf becomes 0. */
static void weigh(float *x, size_t n, float temperature) {
    float best = x[argmax(x, n)];
    for (size_t i = 0; i < n; i++)
        x[i] = x[i] == -INFINITY ? 0.0F : expf((x[i] - best) / temperature);
}

static double sum_of(const float *x, size_t n) {
    double sum = 0.0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i];
    return sum;
}

int tq_sampler_next(tq_sampler *s, float *logits, size_t vocab) {
    const tq_sampling *o = &s->options;
    if (!(o->temperature > 0.0F)) return argmax(logits, vocab);
    if (o->top_k && o->top_k < vocab)
        keep_largest(logits, vocab, select_largest(logits, vocab, (double)o->top_k, 0), -INFINITY);
    weigh(logits, vocab, o->temperature);
    double total = sum_of(logits, vocab);
    if (o->top_p < 1.0F) {
        keep_largest(logits, vocab, select_largest(logits, vocab, (double)o->top_p * total, 1), 0.0F);
        total = sum_of(logits, vocab);
    }
    double left = (double)(next_random(s->state) >> 11) * 0x1p-53 * total;
    int last = argmax(logits, vocab);
    for (size_t i = 0; i < vocab; i++) {
        if (logits[i] <= 0.0F) continue;
        last = (int)i;
        left -= (double)logits[i];
        if (left < 0.0) break;
    }
    return last;
}
