/* calibration.h - second moments of the inputs of a model's matrices, gathered from a text.
 *
 * One pass of the base model over the text, all windows through one block before the next: in memory are one block, the
 * moments of its inputs and the hidden states of the tokens. Matrices that share an input (q, k, v; gate, up) share its
 * moment. What was gathered is kept in files of a cache directory, named by the hashes of model and text and by the
 * options; a file that is not what it should be is gathered again, never trusted. */
#ifndef TQ_CALIBRATION_H
#define TQ_CALIBRATION_H

#include "model/forward.h"
#include "quant/calibrate.h"

#define TQ_CALIB_CTX 512
#define TQ_CALIB_TOKENS_DEFAULT 65536

typedef struct tq_calib_options {
    size_t tokens; /* at most so many, taken as windows spread evenly over the text; 0: TQ_CALIB_TOKENS_DEFAULT */
    double lambda; /* shrinkage; 0: TQ_LAMBDA_DEFAULT */
} tq_calib_options;

typedef struct tq_calibration tq_calibration;

/* ids: [n]; windows of TQ_CALIB_CTX tokens are copied, at least one and at most so many that `tokens` are not exceeded,
 * spread evenly. text_hash names the text (16 hex digits). cache_dir
 * is made when it is missing; NULL keeps all moments in memory. Reads no weights yet. */
int tq_calibration_new(const tq_model *m, tq_pool *pool, const int *ids, size_t n, size_t tokens, const char *text_hash,
                       const char *cache_dir, tq_calibration **out, tq_err *err);
void tq_calibration_free(tq_calibration *c);
size_t tq_calibration_tokens(const tq_calibration *c);

/* Makes the moments of all inputs known, from the cache or by a pass over the text. Progress in blocks. */
int tq_calibration_gather(tq_calibration *c, const tq_progress *p, tq_err *err);

/* The moment of matrix i's input; gathers when it must. An embedding has no input, also when it is the head. Valid
 * until the next call. */
int tq_calibration_moment(tq_calibration *c, size_t matrix, const tq_progress *p, tq_moment *out, tq_err *err);

/* Calls encode for every matrix in the order of the forward pass, with the moments between what the base model's layers
 * before it produce and what those of the variant q do; encode may put a packed matrix into q, and what follows sees
 * it. q: [tq_model_matrices]. Progress in blocks. Costs about ten passes over the text. */
int tq_calibration_asym(tq_calibration *c, tq_variant q,
                        int (*encode)(void *ctx, size_t matrix, const tq_moment *moment, tq_err *err), void *ctx,
                        const tq_progress *p, tq_err *err);

/* $XDG_CACHE_HOME/tqexplore, or ~/.cache/tqexplore; NULL when there is neither. The caller frees it. */
char *tq_cache_dir(void);

#endif
