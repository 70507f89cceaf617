/* weights.h - a model: config and tensors bound by name and validated once; after that nothing checks shapes. */
#ifndef TQ_WEIGHTS_H
#define TQ_WEIGHTS_H

#include <stddef.h>

#include "model/config.h"
#include "model/tensor_source.h"

typedef struct tq_model tq_model;

/* The matrices outside the blocks. Where the head is the embedding, they are one. */
typedef enum tq_end { TQ_END_NONE, TQ_END_EMBEDDING, TQ_END_HEAD, TQ_END_TIED } tq_end;

/* A matrix whose bits can be chosen. Ordered by block, then as the forward pass meets them; then embedding and head. */
typedef struct tq_matrix {
    const char *name;  /* the tensor's name without ".weight", e.g. "model.layers.3.mlp.down_proj" */
    const char *label; /* within its block, e.g. "mlp.down_proj", "linear_attn.in_proj_qkv" */
    size_t block;      /* of an end: the number of blocks */
    tq_end end;
    size_t expert;           /* SIZE_MAX: it is no expert's */
    const char *group;       /* of an expert's: what its block's matrices of this kind are called together,
                              * "mlp.experts.*.down_proj"; they stand one after another. NULL: it stands alone */
    tq_matrix_view w;        /* [rows = outputs, cols = inputs] */
    const float *bias;       /* [rows] or NULL, owned by the model */
    const tq_tensor *tensor; /* NULL when packed; of an expert's it may hold others too, then w is a part of it */
    tq_qmatrix
        *packed; /* of a tq export: w.data is NULL and this is the matrix as stored; owned by the model. Else NULL */
} tq_matrix;

/* Binds every tensor that the architecture needs; missing, misshapen or mistyped ones are errors that name the tensor,
 * what was found and what was expected. Tensors that are not used (vision tower, MTP) are counted and said in the note.
 * The source must outlive the model. */
int tq_model_bind(const tq_source *source, const tq_config *config, tq_model **out, tq_err *err);
void tq_model_free(tq_model *m);

/* Rotations shared by all that is quantized for this model; owned by the model, freed after every qmatrix. */
tq_rotation_cache *tq_model_rotations(const tq_model *m);

const tq_config *tq_model_config(const tq_model *m);
const tq_source *tq_model_source(const tq_model *m);
const char *tq_model_note(const tq_model *m); /* "" or e.g. "skipped 297 vision and 15 MTP tensors" */
/* What the matrices are stored as when they are quantized already, "Q4_1 GGUF"; "" when they are floats. Figures that
 * compare with the baseline compare with that. */
const char *tq_model_baseline(const tq_model *m);
/* "DeltaNet", "attention"; of what comes after the blocks "embedding, head". */
const char *tq_model_block_kind(const tq_model *m, size_t block);

size_t tq_model_matrices(const tq_model *m);
size_t tq_model_block_matrices(const tq_model *m); /* those of blocks, which come first */
const tq_matrix *tq_model_matrix(const tq_model *m, size_t i);
size_t tq_model_find(const tq_model *m, const char *name); /* SIZE_MAX when absent */
/* The same, looking there first: for many names in order. */
size_t tq_model_find_from(const tq_model *m, const char *name, size_t first);

/* The first block that runs differently when matrix i changes: its own; the first one for the embedding; the number of
 * blocks for a head that is no embedding. */
size_t tq_model_reach(const tq_model *m, size_t i);

/* Bytes as stored of what always stays so (norms, small tensors), of the blocks' matrices, and of embedding and head;
 * and the numbers of weights. Bits a weight are given over the blocks' matrices. */
size_t tq_model_kept_bytes(const tq_model *m);
size_t tq_model_matrix_bytes(const tq_model *m);
size_t tq_model_end_bytes(const tq_model *m);
size_t tq_model_kept_weights(const tq_model *m);
size_t tq_model_matrix_weights(const tq_model *m);
size_t tq_model_end_weights(const tq_model *m);
size_t tq_model_stored_bytes(const tq_model *m); /* all of it */
size_t tq_model_weights(const tq_model *m);

/* Is it larger than memory, so that what was read is let go (memory_plan.h)? False at first. */
void tq_model_set_streaming(tq_model *m, bool streams);
bool tq_model_streams(const tq_model *m);

/* Bytes of KV cache and recurrent state at a context of ctx tokens. */
size_t tq_model_state_bytes(const tq_model *m, size_t ctx);

/* The forward pass's way to the bound weights; defined in model/weights_internal.h, private to model/. */
struct tq_block_weights;
const struct tq_block_weights *tq_model_block(const tq_model *m, size_t block);

#endif
