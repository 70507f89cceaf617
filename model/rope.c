/* rope.c - frequencies are computed in float in the order in which transformers does it, so that angles agree at
 * large positions too. */
#include "model/rope.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TWO_PI 6.28318530717958647692

static float frequency(double base, size_t i, size_t dims) {
    return 1.0F / (float)pow(base, (double)((float)(2 * i) / (float)dims));
}

/* Llama 3.1: long wavelengths are slowed by `factor`, short ones kept, those between are mixed. */
static float llama3(const tq_rope *r, float freq) {
    double wavelength = TWO_PI / (double)freq, old = (double)r->original_context;
    if (wavelength > old / (double)r->low_freq_factor) return freq / r->factor;
    if (wavelength < old / (double)r->high_freq_factor) return freq;
    float smooth = (float)((old / wavelength - (double)r->low_freq_factor) /
                           ((double)r->high_freq_factor - (double)r->low_freq_factor));
    return (1.0F - smooth) * freq / r->factor + smooth * freq;
}

/* YaRN, arXiv 2309.00071, section 3.2: the dimension at which the trained context holds `rotations` turns. */
static double yarn_dimension(const tq_rope *r, double rotations) {
    return (double)r->dims * log((double)r->original_context / (rotations * TWO_PI)) / (2.0 * log((double)r->theta));
}

static float yarn(const tq_rope *r, float freq, size_t i) {
    double low = fmax(floor(yarn_dimension(r, (double)r->beta_fast)), 0.0);
    double high = fmin(ceil(yarn_dimension(r, (double)r->beta_slow)), (double)r->dims - 1.0);
    if (low == high) high += 0.001;
    float ramp = (float)fmin(fmax(((double)i - low) / (high - low), 0.0), 1.0);
    return freq / r->factor * ramp + freq * (1.0F - ramp);
}

void tq_rope_frequencies(const tq_rope *r, size_t context, size_t length, float *out) {
    double base = (double)r->theta, dims = (double)r->dims;
    if (length) {
        double stretch = (double)r->factor * (double)length / (double)context - ((double)r->factor - 1.0);
        base *= pow(stretch, dims / (dims - 2.0));
    }
    for (size_t i = 0; i < r->dims / 2; i++) {
        float freq = frequency(base, i, r->dims);
        if (r->type == TQ_ROPE_LINEAR) freq /= r->factor;
        if (r->type == TQ_ROPE_LLAMA3) freq = llama3(r, freq);
        if (r->type == TQ_ROPE_YARN) freq = yarn(r, freq, i);
        out[i] = r->divisors ? freq / r->divisors[i] : freq;
    }
}

static int reserve(tq_rope_table *t, size_t count, size_t half, tq_err *err) {
    if (count <= t->capacity) return TQ_OK;
    size_t capacity = t->capacity ? t->capacity : 256;
    while (capacity < count)
        capacity *= 2;
    float *cosines = tq_calloc_aligned(capacity, (half ? half : 1) * sizeof *cosines);
    float *sines = tq_calloc_aligned(capacity, (half ? half : 1) * sizeof *sines);
    if (!cosines || !sines) {
        free(cosines);
        free(sines);
        return tq_fail(err, "out of memory for %zu positions", count);
    }
    if (t->count) {
        memcpy(cosines, t->cos, t->count * half * sizeof *cosines);
        memcpy(sines, t->sin, t->count * half * sizeof *sines);
    }
    tq_rope_table_free(t);
    t->cos = cosines;
    t->sin = sines;
    t->capacity = capacity;
    return TQ_OK;
}

int tq_rope_prepare(tq_rope_table *t, const tq_rope *r, size_t context, size_t first, size_t n, tq_err *err) {
    size_t half = r->dims / 2, length = r->type == TQ_ROPE_DYNAMIC && first + n > context ? first + n : 0;
    float factor = r->type == TQ_ROPE_YARN ? r->attention_factor : 1.0F;
    if (length != t->length) {
        t->count = 0;
        t->length = length;
    }
    /* Frequencies of one length serve one call: only its positions are computed. All others serve every call. */
    size_t begin = length ? first : 0;
    if (t->count && t->first == begin && t->first + t->count >= first + n) return TQ_OK;
    if (t->first != begin) t->count = 0;
    size_t have = t->count, want = first + n - begin;
    float *freq = malloc((half ? half : 1) * sizeof *freq);
    if (!freq) return tq_fail(err, "out of memory");
    int rc = reserve(t, want, half, err);
    if (rc == TQ_OK) {
        tq_rope_frequencies(r, context, length, freq);
        for (size_t p = have; p < want; p++) {
            for (size_t i = 0; i < half; i++) {
                float angle = freq[i] * (float)(begin + p);
                t->cos[p * half + i] = cosf(angle) * factor;
                t->sin[p * half + i] = sinf(angle) * factor;
            }
        }
        t->first = begin;
        t->count = want;
        t->length = length;
    }
    free(freq);
    return rc;
}

void tq_rope_table_free(tq_rope_table *t) {
    free(t->cos);
    free(t->sin);
    *t = (tq_rope_table){0};
}

void tq_rope_apply(const tq_rope_table *t, const tq_rope *r, size_t position, float *x) {
    size_t half = r->dims / 2;
    const float *co = t->cos + (position - t->first) * half, *si = t->sin + (position - t->first) * half;
    for (size_t i = 0; i < half; i++) {
        float a = x[i], b = x[i + half];
        x[i] = a * co[i] - b * si[i];
        x[i + half] = b * co[i] + a * si[i];
    }
}
