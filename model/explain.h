/* explain.h - which layers make two variants of a model predict different tokens at one position.
 *
 * The tokens before the position are fixed. Hybrids of the variants a and b predict the next one: one block from b and
 * all others from a ("alone"), or blocks before k from b and the others from a ("prefix"). A bisection over the
 * prefixes finds a block at which the prediction tips; then every block alone, every prefix, and the matrices of the
 * blocks that matter, one by one. States at the inputs of blocks are kept, so that a hybrid runs only the blocks from
 * its change on. All in fp32 arithmetic.
 *
 * The embedding counts as a part of the first block and the output head of the last one; where they are one matrix, its
 * two uses go apart in hybrids of blocks, and together where matrices are tried.
 *
 * What this can show: that a change suffices to tip the prediction, with all else as in a (alone) or after the blocks
 * before it (prefix). What it cannot: errors of several blocks add up and cancel, so that a prediction can tip without
 * any block that tips it alone, tip and tip back, and the bisection finds one boundary of possibly several. */
#ifndef TQ_EXPLAIN_H
#define TQ_EXPLAIN_H

#include "model/forward.h"
#include "model/sampler.h"

#define TQ_CANDIDATES 5

typedef struct tq_candidate {
    int id;   /* -1: the vocabulary has no more */
    double p; /* softmax at temperature 1 */
} tq_candidate;

/* The n tokens before the position; borrowed. */
typedef struct tq_explain_job {
    const int *ids; /* [n], n >= 1 */
    size_t n;
    const tq_model *model;
    tq_variant a, b;
    const tq_sampler *sampler; /* as it stands before the token, so that it draws the same; NULL: the likeliest */
    int token[2];              /* what a and b chose; -1: what they choose here */
    bool ends_only;            /* the two predictions alone */
} tq_explain_job;

/* What one hybrid predicts. */
typedef struct tq_hybrid {
    bool known;
    bool flips;    /* it does not choose what a chooses */
    int choice;    /* an id */
    double margin; /* logit of a's token less that of b's: the choice tips where it becomes negative (greedily) */
    double kld;    /* KL(P_a || P_hybrid) at this position, nats; 0 for a itself */
} tq_hybrid;

typedef struct tq_matrix_hybrid {
    size_t matrix;
    bool after_prefix; /* all blocks before its own are b's too */
    tq_hybrid hybrid;
} tq_matrix_hybrid;

typedef struct tq_explanation {
    int token[2];    /* the tokens whose margin is told */
    bool reproduced; /* the choices here are those that the job named */
    tq_candidate top[2][TQ_CANDIDATES];
    tq_hybrid a, b;    /* the variants themselves */
    size_t blocks;     /* 0 when only the ends were asked for */
    bool *differs;     /* [blocks]: the variants are not the same there */
    tq_hybrid *alone;  /* [blocks]; of a block that does not differ: a */
    tq_hybrid *prefix; /* [blocks + 1]: blocks before it from b */
    size_t tips;       /* the bisection: without this block prefix keeps a's choice, with it not; SIZE_MAX: none */
    tq_matrix_hybrid *matrices; /* [n_matrices], of the blocks that matter, in their order */
    size_t n_matrices;
    size_t blocks_run;
    double seconds;
} tq_explanation;

/* The variants and the model are borrowed for the call. *out is owned by the caller. Progress in blocks, about. */
int tq_explain(const tq_explain_job *job, tq_pool *pool, const tq_progress *p, tq_explanation **out, tq_err *err);
void tq_explanation_free(tq_explanation *x);

/* How many blocks flip the choice alone, and the fewest first blocks that flip it together (SIZE_MAX: none do). */
size_t tq_explanation_alone(const tq_explanation *x);
size_t tq_explanation_shortest(const tq_explanation *x);
/* The matrices to look at: guilty[i] of those that flip the choice alone; else all of the blocks that do; else those
 * of the block that completes the shortest prefix; else, where nothing flips, of the block that moves the prediction
 * most. guilty: [tq_model_matrices]. Returns how many. */
size_t tq_explanation_guilty(const tq_explanation *x, const tq_model *m, bool *guilty);

/* The likeliest tokens of logits: [vocab]. */
void tq_candidates(const float *logits, size_t vocab, tq_candidate top[TQ_CANDIDATES]);

#endif
