/* rope.h - rotary position embedding (arXiv 2104.09864) with the scalings that transformers knows. */
#ifndef TQ_ROPE_H
#define TQ_ROPE_H

#include "model/config.h"

/* Cosines and sines of a range of positions: [count, dims / 2] each. */
typedef struct tq_rope_table {
    float *cos, *sin;
    size_t first, count, capacity;
    size_t length; /* the sequence length that `dynamic` frequencies were computed for; 0 for all others */
} tq_rope_table;

/* Makes the table hold positions first .. first+n-1 of a sequence whose length is first+n. context is the trained one:
 * frequencies depend on the length only for TQ_ROPE_DYNAMIC past it. */
int tq_rope_prepare(tq_rope_table *t, const tq_rope *r, size_t context, size_t first, size_t n, tq_err *err);
/* The frequencies: [dims / 2]. length: 0, or that of a sequence past the context with TQ_ROPE_DYNAMIC. */
void tq_rope_frequencies(const tq_rope *r, size_t context, size_t length, float *out);
void tq_rope_table_free(tq_rope_table *t);

/* Rotates the first r->dims values of a head's vector at `position`: pairs (i, i + dims/2). */
void tq_rope_apply(const tq_rope_table *t, const tq_rope *r, size_t position, float *x);

#endif
