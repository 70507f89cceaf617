/* codebook.h - the level tables of each bit config, trained for N(0,1) and committed as integers.
 *
 * 4 bits: the 16 Lloyd-Max levels (Max, "Quantizing for minimum distortion", 1960; Lloyd 1982) on an int8 grid.
 * Nested 4+2 and 4+4: inside each cell of the 4-bit code, 4 or 16 levels a[n] + v[n] * fine[k][r]; the 14 inner cells
 * share one shape, the two outer cells another. The code of the 4-bit model is thus a prefix of the nested ones. */
#ifndef TQ_CODEBOOK_H
#define TQ_CODEBOOK_H

#include "kernels/kernels.h"

typedef struct tq_codebook {
    const tq_levels *levels; /* static */
    float bounds[15];        /* of the coarse code, in z; ascending */
    int count;               /* 15 or 3 */
    tq_fine_search search;   /* search.count is 0 without a residual plane */
    tq_coder coder;          /* the same for encode_fit */
    tq_trellis trellis;      /* trellis.states is 0 for the others; it has no bounds */
} tq_codebook;

/* The committed table: (4, 0), (4, 2), (4, 4) or (2, 0). */
const tq_levels *tq_codebook_levels(int code_bits, int fine_bits);

/* Bounds and search of that table. */
void tq_codebook_init(tq_codebook *book, int code_bits, int fine_bits);

/* The committed trellis of 16 or 256 states, and the search in it. */
const tq_levels *tq_codebook_trellis(int states);
void tq_codebook_init_trellis(tq_codebook *book, int states);

/* Costs of beginning in a state for kernels' trellis: 0 in that of first: [16], or (NULL) in all. cost: [states][16].
 */
void tq_trellis_begin(int32_t *cost, int states, const uint8_t *first);

/* The search in any trellis. */
void tq_codebook_branches(tq_trellis *trellis, const tq_levels *levels, int states);

/* Trains it on samples that the quantiles of N(0,1) give; some seconds (256 states: a minute).
 * Deterministic; on another machine's libm a table as good may come out. */
void tq_codebook_train_trellis(tq_levels *levels, int states);

/* Mean squared error of it on 720,896 samples of N(0,1), drawn with `seed`, as the search codes them. */
double tq_codebook_trellis_mse(const tq_levels *levels, int states, uint64_t seed);

/* Trains the table from nothing but the density of N(0,1). Deterministic; takes some tenths of a second. */
void tq_codebook_train(tq_levels *levels, int code_bits, int fine_bits);

/* Mean squared error of the table on N(0,1), coded as tq_codebook_init says, by integration. coarse is the table of the
 * 4-bit code when levels has a residual plane, else NULL. */
double tq_codebook_mse(const tq_levels *levels, const tq_levels *coarse, int code_bits, int fine_bits);

#endif
