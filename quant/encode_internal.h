/* encode_internal.h - the encoder of a matrix at work; for the files of quant/ that encode. */
#ifndef TQ_ENCODE_INTERNAL_H
#define TQ_ENCODE_INTERNAL_H

#include "quant/codebook.h"
#include "quant/qmatrix_internal.h"

#define TQ_ENCODE_CHUNK 16384 /* weights that a thread takes at a time */

/* Sums over a tile, in double: added up in the order of the tiles, the total does not depend on the threads. */
typedef struct tq_encode_sums {
    double ww, wq, qq, error;
} tq_encode_sums;

/* What one thread works in. */
typedef struct tq_encode_scratch {
    float *row;      /* [ld] */
    float *z;        /* [ld] */
    float *level;    /* [ld] */
    float *rotation; /* tq_rotation_scratch */
    uint8_t *codes;  /* [16, ld] */
    uint8_t *fine;   /* [16, ld] */
    float *deq;      /* [16, cols], of the stages before; two stages alone */
    float *deq_work; /* tq_qmatrix_scratch */
    /* Of a trellis alone: */
    uint8_t *plane[3]; /* [16, ld]: the codes of tile t in number t % 3 */
    int16_t *column;   /* [tiles, 16] */
    uint8_t *ring;     /* [tiles, 16] its codes */
    void *work;        /* of the search */
} tq_encode_scratch;

typedef struct tq_encoder {
    const tq_matrix_view *w;
    tq_qmatrix *q;
    size_t index; /* of the stage */
    tq_stage *stage;
    tq_codebook book;
    size_t ld; /* columns, padded */
    int threads;
    tq_encode_scratch *scratch;
    /* Per group, [tiles, groups, 16]: the scale that least squares gives, and <z, z> of its coded levels. */
    float *scale;
    float *energy;
    tq_encode_sums *tile; /* [tiles]: ww and the error at the ideal scale; of measure: all */
    atomic_size_t bad_row;
    atomic_bool stop;
    const tq_progress *progress;
    double next_report;
    double work_before, work_total; /* in weights, all sweeps together */
    double sweep_work;              /* of the sweep that runs */
    size_t sweep_units;
    atomic_size_t units_done;
    int16_t *z; /* of a trellis, see encode_trellis.c */
} tq_encoder;

/* The group of s->row that begins at column `begin` in z, by its norm and the rotation: s->z. *unit is the weight of z
 * = 1, or 0 for a group of zeros, which has no z. False when a weight is not finite. */
bool tq_encode_group_z(const tq_encoder *e, tq_encode_scratch *s, size_t begin, size_t len, double *unit);

/* The scale that least squares gives, from the moments of z and its levels, and what it leaves; at: its place among the
 * scales. With unit 0 the scale is 0 and moments are not looked at. */
void tq_encode_group_fit(tq_encoder *e, const double moments[3], size_t at, double unit, tq_encode_sums *sum);

/* Where the first scale of a row stands; those of its next groups follow TQ_TILE_ROWS apart. */
static inline size_t tq_encode_scale_of(const tq_encoder *e, size_t row) {
    return row / TQ_TILE_ROWS * e->stage->shape.groups * TQ_TILE_ROWS + row % TQ_TILE_ROWS;
}

static inline size_t tq_encode_rows_of(const tq_encoder *e, size_t tile) {
    size_t left = e->w->rows - tile * TQ_TILE_ROWS;
    return left < TQ_TILE_ROWS ? left : TQ_TILE_ROWS;
}

/* The first row with a weight that is not finite. */
void tq_encode_bad_row(tq_encoder *e, size_t row);

/* For a chunk of a sweep: whether to go on. The calling thread, number 0, reports. */
bool tq_encode_going(tq_encoder *e, int thread);

/* fn(e, begin, end, thread) over n units; each call adds what it did to e->units_done. work: in weights. */
int tq_encode_sweep(tq_encoder *e, tq_pool *pool, void (*fn)(void *, size_t, size_t, int), size_t n, size_t grain,
                    double work, tq_err *err);

/* Trellis codes of e's stage: codes, scales and sums of all tiles. */
int tq_encode_trellis(tq_encoder *e, tq_pool *pool, tq_err *err);
bool tq_encode_trellis_init(tq_encoder *e);
void tq_encode_trellis_free(tq_encoder *e);

#endif
