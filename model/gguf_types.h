/* gguf_types.h - the types that a tensor of a GGUF file may have. Private to model/. */
#ifndef TQ_GGUF_TYPES_H
#define TQ_GGUF_TYPES_H

#include "quant/qmatrix.h"

/* A row of the table. What has a dtype is read as it lies, what is TQ_CODED is decoded row by row when it is read, and
 * what is neither (TQ_DTYPE_OTHER) may stand in a file but not be a weight. */
typedef struct tq_gguf_type {
    uint32_t id; /* as the file writes it */
    tq_dtype dtype;
    tq_codec codec; /* name, block and bytes of every row; layout of TQ_CODED */
} tq_gguf_type;

const tq_gguf_type *tq_gguf_type_find(uint32_t id); /* NULL: unknown */
/* Rows of the table, for tests: NULL past the end. */
const tq_gguf_type *tq_gguf_type_at(size_t i);

#endif
