/* qmatrix_internal.h - how a quantized matrix lies in memory; for the files of quant/ alone. */
#ifndef TQ_QMATRIX_INTERNAL_H
#define TQ_QMATRIX_INTERNAL_H

#include "quant/qmatrix.h"

#define TQ_MAX_STAGES 2

/* The level table of a stage as it lies in a file: version, a, v, fine, step, little-endian. */
#define TQ_LEVELS_VERSION 1
#define TQ_LEVELS_BYTES 88

/* The sizes of one stage, padding included. */
typedef struct tq_stage_shape {
    int code_bits;
    int fine_bits;
    size_t tiles;
    size_t blocks;
    size_t groups;
    size_t group_blocks;
    size_t codes_bytes;
    size_t fine_bytes;
    size_t scales_bytes;
} tq_stage_shape;

/* Fills shape[0 .. stages) and returns the number of stages: 0 for keep, for an empty matrix, for a spec with members
 * out of range, and when a size overflows. */
size_t tq_stage_shapes(const tq_qspec *spec, size_t rows, size_t cols, tq_stage_shape shape[TQ_MAX_STAGES]);

#endif
