/* bench.h - what a benchmark finds, and the parts that find it. */
#ifndef TQ_BENCH_H
#define TQ_BENCH_H

#include "tui/batch.h"

#define TQ_BENCH_ROUNDS 64 /* at most */
#define TQ_BENCH_ENCODES 64
#define TQ_BENCH_SLICES 1024 /* later ones are not kept */
#define TQ_BENCH_SPEEDS (TQ_BITS_COUNT + 1)

/* One figure of every round; all that is compared is measured once a round, one after the other. */
typedef struct tq_samples {
    double value[TQ_BENCH_ROUNDS];
    size_t n;
} tq_samples;
void tq_samples_add(tq_samples *s, double value);
double tq_samples_median(const tq_samples *s); /* NaN without any */

typedef struct tq_bench_encode {
    tq_choice choice;
    int states; /* of a trellis, else 0 */
    tq_samples mweights_per_s;
} tq_bench_encode;

/* A stretch of decoding between two readings of memory, GB/s: what the machine read (the mean of both), and what
 * decoding did. Where a host moves its guests about the one changes within seconds, and the other with it. */
typedef struct tq_bench_slice {
    double read, decode;
    bool steady; /* both readings within a tenth of each other */
} tq_bench_slice;

/* One way to hold the model: its matrices and its output head. */
typedef struct tq_bench_speed {
    const char *bits;                           /* "4", or "plan" */
    tq_bits head;                               /* keep: as stored */
    size_t token_bytes;                         /* of weights; bandwidth counts keys, values and states too */
    tq_samples tok_per_s, gbps, share, prefill; /* share: a round's median over its steady slices */
    tq_bench_slice slice[TQ_BENCH_SLICES];
    size_t n_slices;
    double part[TQ_PART_COUNT], seconds; /* of decoding */
} tq_bench_speed;

/* What KL divergence costs, of the first row with packed matrices; seconds. */
typedef struct tq_bench_eval {
    const char *bits; /* NULL: not measured */
    size_t tokens;
    tq_samples prefill, full,
        last; /* a prompt in fp32; all blocks, the base cached; after a change in the last block */
    double part[TQ_PART_COUNT], seconds; /* of full */
} tq_bench_eval;

typedef struct tq_bench_result {
    const char *cpu; /* the table of kernels */
    char machine[96];
    int threads;
    size_t rounds;
    tq_samples read_gbps,
        read_huge_gbps; /* from pages of 4 KiB, as of a mapped file, and from huge ones, as of codes */
    tq_bench_encode encode[TQ_BENCH_ENCODES];
    size_t n_encode;
    tq_bench_speed speed[TQ_BENCH_SPEEDS];
    size_t n_speed;
    tq_bench_eval eval;
    size_t model_bytes, model_weights;
} tq_bench_result;

/* Reads memory with the session's threads; owned by who made it. */
typedef struct tq_bench_reader tq_bench_reader;
tq_bench_reader *tq_bench_reader_new(tq_pool *pool, tq_err *err); /* NULL: no memory for what is to be read */
void tq_bench_reader_free(tq_bench_reader *r);
double tq_bench_read(tq_bench_reader *r);      /* GB/s from ordinary pages, the best of three passes */
double tq_bench_read_huge(tq_bench_reader *r); /* from huge ones */
double tq_bench_read_once(tq_bench_reader *r); /* from ordinary ones, one pass: some milliseconds */

/* Every way to hold the model in memory, side by side or, when there is too little of that, one after the other. */
typedef struct tq_bench_models tq_bench_models;

/* Fills in the rows of r->speed. */
int tq_bench_models_new(const tq_options *o, tq_session *s, tq_batch *b, tq_bench_result *r, tq_bench_models **out,
                        tq_err *err);
void tq_bench_models_free(tq_bench_models *m);
/* Decode and prefill of every row once, then the evaluation; memory is read in between. */
int tq_bench_models_round(tq_bench_models *m, tq_bench_reader *reader, tq_err *err);

void tq_bench_print(const tq_bench_result *r);
cJSON *tq_bench_json(const tq_bench_result *r); /* NULL when memory is short */

#endif
