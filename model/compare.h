/* compare.h - two variants of one model answer the same prompt with the same seed: where they part, and why. */
#ifndef TQ_COMPARE_H
#define TQ_COMPARE_H

#include "model/explain.h"
#include "model/session.h"

/* plan NULL: the model as stored. Everything is borrowed for the call. */
typedef struct tq_compare_job {
    const tq_message *messages; /* [n] */
    size_t n;
    const tq_plan *plan[2];
    tq_sampling sampling;
    size_t max_tokens; /* 0: 256 */
    tq_think think;
} tq_compare_job;

/* One side's answer. */
typedef struct tq_told {
    char *text;                      /* UTF-8 */
    size_t tokens;                   /* special ones that the text leaves out too */
    bool ended;                      /* by an end token, not by a limit */
    size_t mark, mark_end;           /* bytes of text that the token in question made; none when it is a special one */
    int token;                       /* that token; -1: there is none */
    tq_candidate top[TQ_CANDIDATES]; /* what was likeliest there */
} tq_told;

/* The token in question is the first that differs; where none does, the one whose predictions diverge most; where
 * nothing diverges, there is none, and ids are all that was said. */
typedef struct tq_comparison {
    tq_told side[2];
    bool diverged;     /* a token differs */
    size_t common;     /* tokens of the answer before a token differs, or all */
    size_t at;         /* tokens of the answer before the one in question */
    double kld;        /* KL(side 0 || side 1) there, nats */
    double kld_common; /* mean over the tokens in common */
    int *ids;          /* [n_ids] prompt and the answer before the token in question */
    size_t n_ids;
    tq_sampler sampler; /* as it stood before that token */
    double seconds;
} tq_comparison;
void tq_comparison_free(tq_comparison *c); /* NULL is fine */

/* Both answers, token by token, in fp32 arithmetic throughout. piece (may be NULL) is told complete text as it comes.
 * Progress in tokens. *out is owned by the caller; NULL when cancelled. */
int tq_session_compare(tq_session *s, const tq_compare_job *job, const tq_progress *p,
                       bool (*piece)(void *ctx, int side, const char *text, size_t bytes), void *ctx,
                       tq_comparison **out, tq_err *err);

/* Which layers make side 1 choose another token than side 0 after these; see explain.h. */
typedef struct tq_explain_at {
    const int *ids; /* [n] */
    size_t n;
    const tq_plan *plan[2];
    const tq_sampler *sampler; /* NULL: the likeliest */
    int token[2];              /* what they chose; -1: what they choose here */
    bool ends_only;
} tq_explain_at;
/* What there is to explain of a comparison of these plans; borrows from both. */
tq_explain_at tq_comparison_at(const tq_comparison *c, const tq_plan *const plan[2]);
int tq_session_explain(tq_session *s, const tq_explain_at *at, const tq_progress *p, tq_explanation **out, tq_err *err);

#endif
