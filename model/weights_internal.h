/* weights_internal.h - the forward pass's way to the bound weights; private to model/. */
#ifndef TQ_WEIGHTS_INTERNAL_H
#define TQ_WEIGHTS_INTERNAL_H

#include "model/arch.h"
#include "model/weights.h"

/* What one block is made of; everything is owned by the model. */
struct tq_block_weights {
    tq_mixer mixer;
    size_t matrix[TQ_ROLE_COUNT];       /* indices for tq_model_matrix; SIZE_MAX: this block has none */
    tq_matrix_view side[TQ_SIDE_COUNT]; /* borrowed from the map */
    float *vec[TQ_VEC_COUNT];           /* NULL: none */
};

/* Indices for tq_model_matrix, [vocab, hidden] both; the same when tied. */
size_t tq_model_embedding(const tq_model *m);
size_t tq_model_head(const tq_model *m);
const float *tq_model_final_norm(const tq_model *m); /* [hidden] */

/* baseline.c: what the matrices are stored as when some are quantized already, "Q4_1 GGUF", the kinds with the most
 * weights first; else "". */
void tq_baseline_text(const tq_matrix *matrices, size_t count, const char *format, char *out, size_t size);

#endif
