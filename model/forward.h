/* forward.h - the forward pass, over many sequences at once (evaluation) or one with a cache (chat).
 *
 * A variant of the model is an array q: [tq_model_matrices] of tq_qmatrix pointers, NULL for a matrix that stays as
 * stored; q itself NULL is the base model. Variants are borrowed and may change between calls. */
#ifndef TQ_FORWARD_H
#define TQ_FORWARD_H

#include <stddef.h>

#include "model/weights.h"
#include "quant/pool.h"

typedef tq_qmatrix *const *tq_variant;

/* Scratch memory and threads of one user of the model; grows as needed, one call at a time. */
typedef struct tq_forward tq_forward;
tq_forward *tq_forward_new(const tq_model *m, tq_pool *pool, tq_err *err);
void tq_forward_free(tq_forward *f);

/* Called by tq_forward_block with every input x: [n, cols] that matrices[0 .. count) of the block share, before they
 * are applied. A failure ends the pass. fn NULL: no more. */
typedef int (*tq_input_observer)(void *ctx, const size_t *matrices, size_t count, const float *x, size_t n,
                                 tq_err *err);
void tq_forward_observe(tq_forward *f, tq_input_observer fn, void *ctx);

/* How inputs meet the matrices. Evaluation is USUAL or EXACT, which differ where one token comes alone. */
typedef enum tq_arithmetic {
    TQ_ARITHMETIC_USUAL, /* one token: packed codes times 14-bit integers; more: fp32. The default */
    TQ_ARITHMETIC_FAST,  /* more tokens: inputs and weights rounded to bf16, where the machine multiplies that faster */
    TQ_ARITHMETIC_EXACT, /* fp32 throughout */
} tq_arithmetic;
void tq_forward_set_arithmetic(tq_forward *f, tq_arithmetic a);
/* Where the time of a forward pass goes, in seconds of the calling thread since tq_forward_new or the last reset. What
 * is in none of them is norms, embeddings and the MLP's product of two vectors. */
typedef enum tq_part {
    TQ_PART_ROTATION, /* inputs rotated and rounded, but for the head */
    TQ_PART_MATRICES, /* products of the blocks' matrices */
    TQ_PART_ATTENTION,
    TQ_PART_DELTANET,
    TQ_PART_LOGITS, /* final norm and output head */
    TQ_PART_KLD,    /* of an evaluation */
    TQ_PART_COUNT
} tq_part;
const char *tq_part_name(tq_part part);                /* "rotation", "matrices", ... */
const double *tq_forward_seconds(const tq_forward *f); /* [TQ_PART_COUNT] */
void tq_forward_reset_seconds(tq_forward *f);

/* Packs the output head for this user of the model alone, whatever the variant says (bench). */
int tq_forward_pack_head(tq_forward *f, const tq_qspec *spec, tq_err *err);
size_t tq_forward_head_saves(const tq_forward *f); /* bytes that a token reads less for it; 0 when it is not packed */

/* Bytes of scratch memory that it holds now. */
size_t tq_forward_held(const tq_forward *f);

/* A sequence being continued: KV cache and recurrent state for up to ctx tokens. */
typedef struct tq_cache tq_cache;
tq_cache *tq_cache_new(const tq_model *m, size_t ctx, tq_err *err);
void tq_cache_free(tq_cache *c);
void tq_cache_reset(tq_cache *c);
size_t tq_cache_length(const tq_cache *c); /* tokens held */
size_t tq_cache_capacity(const tq_cache *c);
size_t tq_cache_token_bytes(const tq_cache *c); /* of keys, values and states that the next token reads */

/* h = embeddings of ids: h: [n, hidden], a row of the packed matrix where the variant has one. Fails on an id outside
 * the vocabulary. */
int tq_forward_embed(tq_forward *f, tq_variant q, const int *ids, size_t n, float *h, tq_err *err);

/* Block b in place over h: [seqs * len, hidden]: seqs independent sequences of len tokens that start at position 0,
 * blocked (weights decoded once into tiles, multiplied by OpenBLAS). Fails when the result is not finite, naming the
 * block. */
int tq_forward_block(tq_forward *f, tq_variant q, size_t b, float *h, size_t seqs, size_t len, const tq_progress *p,
                     tq_err *err);

/* What the output head gets for n positions: h: [n, hidden], out: [n, hidden]. */
void tq_forward_final_norm(tq_forward *f, const float *h, size_t n, float *out);

/* Final norm and output head for n positions: h: [n, hidden] (unchanged), logits: [n, vocab]. */
int tq_forward_logits(tq_forward *f, tq_variant q, const float *h, size_t n, float *logits, tq_err *err);

/* Appends ids (n >= 1) to the cached sequence and gives the logits of the last one: logits: [vocab]. One id goes by
 * packed matrix-vector products, more by blocks. TQ_FAIL when the cache is full; on TQ_CANCELLED the cache is reset. */
int tq_forward_append(tq_forward *f, tq_variant q, tq_cache *c, const int *ids, size_t n, float *logits,
                      const tq_progress *p, tq_err *err);

#endif
