/* packed.h - matrices as a tq export holds them: tensors "NAME.weight.tq.PART", one of them "NAME.weight.tq.spec".
 *
 * The spec is a text (U8, padded with spaces to 64 bytes so that what follows stays aligned): "tq1" ("tq2" when the
 * signs are the published ones), bits, group, residual, rotation, seed, then the names of the other parts, separated by
 * single spaces. */
#ifndef TQ_PACKED_H
#define TQ_PACKED_H

#include "model/tensor_source.h"

/* The text that stands between a matrix's name and its parts in tensor names. */
#define TQ_PACKED_INFIX ".weight.tq."
/* Most parts that a matrix has, spec not counted. */
#define TQ_PACKED_PARTS 16
/* A plan file inside every export; what makes a directory recognisable as ours. */
#define TQ_PLAN_FILE "tq_plan.json"

/* Is the source one of our tq exports (does it hold packed matrices)? */
bool tq_packed_source(const tq_source *s);

/* The packed matrix `name` (without ".weight"); *out is owned by the caller, NULL when the source does not hold it
 * packed. Sizes, versions and the spec are validated; errors name the file and the tensor. */
int tq_packed_load(const tq_source *s, const char *name, size_t rows, size_t cols, tq_rotation_cache *cache,
                   tq_qmatrix **out, tq_err *err);

/* All parts of q, the spec first; spec_text holds the spec's bytes. At most TQ_PACKED_PARTS + 1; returns how many. */
size_t tq_packed_parts(const tq_qmatrix *q, tq_qpart *parts, char spec_text[256]);

#endif
