/* memory_plan.h - what running a model takes of a machine's memory, and how one that is larger than it is read.
 *
 * Weights as stored lie in mapped files. Where they are larger than half of the memory they are streamed: their pages
 * are given back when a pass is through with a block (an expert, or a matrix was packed), and the next one's are asked
 * for. What is packed, states and activations are the program's own memory. */
#ifndef TQ_MEMORY_PLAN_H
#define TQ_MEMORY_PLAN_H

#include "model/weights.h"

typedef struct tq_memory_plan {
    size_t ctx;         /* tokens in the cache */
    size_t packed;      /* bytes of packed matrices */
    size_t mapped;      /* of what stays as stored */
    size_t state;       /* keys and values, recurrent states of one sequence of ctx tokens */
    size_t activations; /* of a prompt of ctx tokens, which goes through in pieces; at most, about */
    size_t total;       /* of these four */
    size_t machine;     /* memory that the machine, its control group or the caller allows */
    bool streams;       /* the model as stored is larger than half of that */
} tq_memory_plan;

/* Physical memory, or what the control group of this process may have; 0 when that cannot be known. */
size_t tq_machine_memory(void);
/* Is a model as stored to be streamed on such a machine? machine 0: no. */
bool tq_needs_streaming(const tq_model *m, size_t machine);

/* packed, kept: bytes of the matrices as the plan has them, packed and as stored (tq_memory). machine: as above. */
tq_memory_plan tq_memory_plan_of(const tq_model *m, size_t packed, size_t kept, size_t ctx, size_t threads,
                                 size_t machine);

/* Scratch of a forward pass over n tokens at a time, of `total` in a sequence: activations, rotated inputs, panels,
 * and the logits of one. */
size_t tq_activation_bytes(const tq_model *m, size_t n, size_t total, size_t threads);

/* For a model that streams (tq_model_set_streaming), nothing for others: asks for a block's matrices, or for one, and
 * lets go of them. Another read finds them again, in the page cache or the file. A block ahead is its matrices without
 * experts: nobody knows yet who goes to which, and two blocks of all experts may be more than memory holds. */
void tq_model_block_ahead(const tq_model *m, size_t block);
void tq_model_block_done(const tq_model *m, size_t block);
void tq_model_matrix_ahead(const tq_model *m, size_t i);
void tq_model_matrix_done(const tq_model *m, size_t i);

#endif
