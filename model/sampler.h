/* sampler.h - the next token from logits: greedy, or temperature with top-k and top-p, reproducible from a seed. */
#ifndef TQ_SAMPLER_H
#define TQ_SAMPLER_H

#include <stddef.h>
#include <stdint.h>

typedef struct tq_sampling {
    float temperature; /* 0: greedy */
    size_t top_k;      /* 0: off */
    float top_p;       /* 1: off */
    uint64_t seed;
} tq_sampling;

typedef struct tq_sampler {
    tq_sampling options;
    uint64_t state[4];
} tq_sampler;

void tq_sampler_init(tq_sampler *s, const tq_sampling *options);
/* logits: [vocab], overwritten. Returns an id; ties go to the lowest id. */
int tq_sampler_next(tq_sampler *s, float *logits, size_t vocab);

#endif
