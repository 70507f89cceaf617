/* rotation_internal.h - one group at a time; for the files of quant/ alone. */
#ifndef TQ_ROTATION_INTERNAL_H
#define TQ_ROTATION_INTERNAL_H

#include "quant/rotation.h"

/* y = scale * R x for one group of len values: the group size, or the length of the short last group. y may be x.
 * scratch: tq_rotation_scratch floats. */
void tq_rotation_group_apply(const tq_rotation *r, float *y, const float *x, size_t len, float scale, float *scratch);

#endif
