/* rotation_internal.h - one group at a time, and the published signs; for the files of quant/ alone. */
#ifndef TQ_ROTATION_INTERNAL_H
#define TQ_ROTATION_INTERNAL_H

#include "quant/rotation.h"

/* y = scale * R x for the group of len values that begins at column `begin`: the group size, or the length of the short
 * last group. y may be x. scratch: tq_rotation_scratch floats. */
void tq_rotation_group_apply(const tq_rotation *r, float *y, const float *x, size_t begin, size_t len, float scale,
                             float *scratch);

/* signs: [n], +1 where an output of MT19937 is odd, else -1. Of the seed the low 32 bits count. */
void tq_signs_published(float *signs, size_t n, uint64_t seed);

#endif
