/* divergence.h - what quantization does to the model's predictions: KL divergence from the base model and perplexity.
 *
 * Windows of ctx tokens without overlap; every position but the first of a window is scored (its token predicted from
 * those before), or the second half alone. P is the model's own weights in fp32 arithmetic. The base model's last
 * hidden states are kept, and of its logits those of the first positions, up to 256 MiB; the other logits, and all of
 * the variant's, are made a chunk at a time. The quantized model's hidden state at every block's input is kept too, so
 * that after a change in block b only blocks b.. run again. */
#ifndef TQ_DIVERGENCE_H
#define TQ_DIVERGENCE_H

#include <stdbool.h>
#include <stddef.h>

#include "model/forward.h"

typedef struct tq_eval_options {
    size_t ctx;      /* tokens a window; default 512 */
    size_t tokens;   /* at most so many, 0: all; rounded down to whole windows, at least one */
    bool score_half; /* score the second half of each window alone */
    bool fast;       /* the variant in bf16 arithmetic (the base model stays in fp32) */
} tq_eval_options;

typedef struct tq_eval_result {
    size_t tokens; /* scored positions */
    size_t windows;
    double ppl_base, ppl;
    double kld_mean,
        kld_stderr; /* nats; the standard error is over windows' means when there are at least 8, else tokens */
    double kld_median, kld_p90, kld_p99, kld_p999, kld_max;
    double same_top;        /* fraction 0..1 */
    double dp_mean, dp_rms; /* change of the correct token's probability, mean and root mean square */
    double ppl_ratio, ppl_ratio_stderr;
    double seconds;
    size_t blocks_run; /* how many blocks were run for it */
} tq_eval_result;

/* A scored position: how token `at` of the text was predicted from those since `begin`, where its window begins. */
typedef struct tq_worst {
    size_t begin, at;
    double kld;
    int base_top, top; /* the likeliest tokens of base and variant */
} tq_worst;

typedef struct tq_evaluator tq_evaluator;

/* ids are copied. The evaluator keeps (blocks + 2) * tokens * hidden floats at most; past `memory_limit` bytes (0:
 * TQ_EVAL_MEMORY) it keeps fewer block inputs and runs more blocks again; logits of the base model take an eighth of it
 * at most. A model that streams is let go of block by block. */
#define TQ_EVAL_MEMORY ((size_t)2 << 30)
int tq_evaluator_new(const tq_model *m, tq_pool *pool, const int *ids, size_t n, const tq_eval_options *options,
                     size_t memory_limit, tq_evaluator **out, tq_err *err);
void tq_evaluator_free(tq_evaluator *e);

/* From now on P is what another model predicts, and the evaluator's model is the variant, also where nothing of it is
 * quantized. `base` is borrowed and must have the same hidden size, number of blocks and vocabulary. To be called
 * before the first run. */
int tq_evaluator_against(tq_evaluator *e, const tq_model *base, tq_err *err);

/* Blocks from `block` on must be run again at the next tq_evaluator_run. A new evaluator is dirty from 0. */
void tq_evaluator_touch(tq_evaluator *e, size_t block);

/* Where the time went, [TQ_PART_COUNT]; see forward.h. Starts anew with every run. */
const double *tq_evaluator_seconds(const tq_evaluator *e);

/* Runs what is missing and scores. Calls partial (may be NULL) with running figures about ten times while scoring.
 * Cancel leaves the evaluator usable: what was run stays, what was not is still dirty. With q all NULL kld is exactly
 * 0, but against another model. */
int tq_evaluator_run(tq_evaluator *e, tq_variant q, const tq_progress *p,
                     void (*partial)(void *ctx, const tq_eval_result *so_far), void *partial_ctx, tq_eval_result *out,
                     tq_err *err);

/* The scored positions of the last run with the highest KLD, falling, at most n; those with none are left out. Returns
 * how many; 0 when the last run did not come to its end. */
size_t tq_evaluator_worst(const tq_evaluator *e, size_t n, tq_worst *out);

/* Mean KLD of the last run's windows in at most n pieces, in order, of nearly the same number of windows. Returns how
 * many; 0 when the last run did not come to its end. */
size_t tq_evaluator_parts(const tq_evaluator *e, size_t n, double *out);

#endif
