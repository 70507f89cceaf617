/* packed.h - matrices as a tq export holds them: tensors "NAME.weight.tq.PART" plus DIR/tq_plan.json. */
#ifndef TQ_PACKED_H
#define TQ_PACKED_H

#include "model/tensor_source.h"

/* Is the source one of our tq exports (does it hold packed matrices)? */
bool tq_packed_source(const tq_source *s);

/* The packed matrix `name` (without ".weight"); *out is owned by the caller, NULL when the source does not hold it
 * packed. Sizes, versions and the spec are validated; errors name the file and the tensor. */
int tq_packed_load(const tq_source *s, const char *name, size_t rows, size_t cols, tq_rotation_cache *cache,
                   tq_qmatrix **out, tq_err *err);

#endif
