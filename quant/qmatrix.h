/* qmatrix.h - a float matrix in, a compressed matrix out, and the products that read it packed. */
#ifndef TQ_QMATRIX_H
#define TQ_QMATRIX_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"
#include "quant/pool.h"
#include "quant/qformat.h"
#include "quant/rotation.h"

typedef enum tq_dtype { TQ_F32, TQ_F16, TQ_BF16, TQ_U8, TQ_CODED, TQ_DTYPE_OTHER } tq_dtype;
size_t tq_dtype_size(tq_dtype t);      /* bytes; 0 for TQ_CODED and TQ_DTYPE_OTHER */
const char *tq_dtype_name(tq_dtype t); /* "F32", "F16", "BF16", "U8", as safetensors writes them */

/* How another program's quantized weights lie: `block` weights in `bytes` bytes, a row being whole blocks of a layout
 * that the kernels unpack (TQ_BLOCKS: of none). Rows of a table, never freed. */
typedef struct tq_codec {
    const char *name; /* "Q4_1" */
    size_t block, bytes;
    tq_blocks layout;
} tq_codec;

/* A matrix as it lies in a file: w: [rows, cols] row-major, borrowed. dtype is F32, F16, BF16, or TQ_CODED with a
 * codec. paired: 0, or a number of rows p (even, divides rows): within each p rows the file holds 0, p/2, 1, p/2 + 1,
 * ..., as files do that rotate neighbours where we rotate i and i + p/2. Rows are always named in our order.
 * transposed: the file holds [cols, rows] floats, as it does for GPT-2, and a row is gathered. */
typedef struct tq_matrix_view {
    const void *data;
    tq_dtype dtype;
    size_t rows;
    size_t cols;
    const tq_codec *codec; /* NULL unless TQ_CODED */
    size_t paired;
    bool transposed;
} tq_matrix_view;

/* Row r as floats: out: [cols]. */
void tq_matrix_row(const tq_matrix_view *w, size_t r, float *out);
/* Rows r0 .. r0+n-1: out: [n, cols]. Of a transposed matrix some together cost little more than one alone. */
void tq_matrix_rows(const tq_matrix_view *w, size_t r0, size_t n, float *out);
/* Do the rows lie one after another as floats of the dtype, so that they may be read without tq_matrix_row? */
bool tq_matrix_is_flat(const tq_matrix_view *w);
/* What w takes in its file. */
size_t tq_matrix_bytes(const tq_matrix_view *w);

/* Relative MSE ||W - Q||^2 / ||W||^2 and cosine <W,Q> / (||W|| ||Q||), of what the kernels decode; 0 and 1 for an
 * all-zero matrix. */
typedef struct tq_distortion {
    double rel_mse;
    double cosine;
} tq_distortion;

typedef struct tq_qmatrix tq_qmatrix;

/* Quantizes w as spec says (bits other than keep). Rotations are taken from `cache`, which must outlive the result.
 * Fails on weights that are not finite, naming row and column. *out is owned by the caller; distortion may be NULL. */
int tq_qmatrix_encode(const tq_matrix_view *w, const tq_qspec *spec, tq_rotation_cache *cache, tq_pool *pool,
                      const tq_progress *progress, tq_qmatrix **out, tq_distortion *distortion, tq_err *err);
void tq_qmatrix_free(tq_qmatrix *q);

const tq_qspec *tq_qmatrix_spec(const tq_qmatrix *q);
size_t tq_qmatrix_rows(const tq_qmatrix *q);
size_t tq_qmatrix_cols(const tq_qmatrix *q);
size_t tq_qmatrix_bytes(const tq_qmatrix *q); /* codes, scales and side tables, as held in memory */

/* Stages: 1, or 2 with independent residuals. Each has its own rotation of the input. */
size_t tq_qmatrix_stages(const tq_qmatrix *q);
const tq_rotation *tq_qmatrix_rotation(const tq_qmatrix *q, size_t stage);
const tq_packed *tq_qmatrix_packed(const tq_qmatrix *q, size_t stage);

/* y[rows] (= or +=) stage `stage` times x, where x is the input already rotated by that stage's rotation and quantized
 * by the kernels' quantize_x over ceil(cols / 32) blocks. y: [rows]. */
void tq_qmatrix_matvec(const tq_qmatrix *q, size_t stage, const tq_xq *x, float *y, bool add, tq_pool *pool);

/* Rows r0 .. r0+n-1 of a stage as floats in the rotated basis: out: [n, ld], ld >= 32 * ceil(cols / 32); columns past
 * cols are zero. r0 is a multiple of 16. Serial, thread-safe. */
void tq_qmatrix_decode_rows(const tq_qmatrix *q, size_t stage, size_t r0, size_t n, float *out, size_t ld);

/* Rows r0 .. r0+n-1 of the whole quantized matrix in the original basis (all stages, de-rotated): out: [n, cols].
 * r0 is a multiple of 16. scratch: tq_qmatrix_scratch floats. Serial, thread-safe. */
void tq_qmatrix_dequantize_rows(const tq_qmatrix *q, size_t r0, size_t n, float *out, float *scratch);
/* Row r alone, whichever it is: out: [cols]. Equal to what the above gives. */
void tq_qmatrix_dequantize_row(const tq_qmatrix *q, size_t r, float *out, float *scratch);
size_t tq_qmatrix_scratch(const tq_qmatrix *q);

/* The parts that a file must hold, borrowed from q: a name ("codes", "fine", "scales", "levels"; the second stage's are
 * "codes2", "scales2", "levels2"), a dtype (U8 or F16) and a shape. "levels" holds the level table and the multiplier
 * of the scales with a version, so that a file stays readable when the program's own tables change. Their bytes add up
 * to tq_qmatrix_bytes. At most TQ_QPARTS_MAX are written to parts; returns how many there are. */
#define TQ_QPARTS_MAX 8
typedef struct tq_qpart {
    const char *name;
    tq_dtype dtype;
    size_t shape[4];
    size_t rank;
    const void *data;
    size_t bytes;
} tq_qpart;
size_t tq_qmatrix_parts(const tq_qmatrix *q, tq_qpart *parts, size_t max);

/* The inverse: builds a matrix from parts as tq_qmatrix_parts gave them (validated: sizes, versions, finite scales).
 * The data are copied. */
int tq_qmatrix_from_parts(const tq_qspec *spec, size_t rows, size_t cols, const tq_qpart *parts, size_t n,
                          tq_rotation_cache *cache, tq_qmatrix **out, tq_err *err);

#endif
