/* Trellis codes of a matrix, in three sweeps: rows to z, the best path down every column, and with the codes known the
 * scales, as for other codes. z is made twice: that costs less than to keep it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "quant/encode_internal.h"

/* Shares of the work, for the progress. */
#define ROTATE_SHARE 0.15
#define FIT_SHARE 0.15

/* e->z is [blocks][tiles][32 columns][16 rows] int16 in units of step: the first sweep writes a block of a tile
 * together, the second reads down a column, and leaves its codes as bytes in the first half of each 16 places. */
static int16_t *lane_of(const tq_encoder *e, size_t tile, size_t col) {
    size_t block = col / TQ_BLOCK * e->stage->shape.tiles + tile;
    return e->z + (block * TQ_BLOCK + col % TQ_BLOCK) * TQ_TILE_ROWS;
}

static int16_t to_steps(float z, float inverse_step) {
    float x = z * inverse_step;
    return (int16_t)lrintf(fminf(fmaxf(x, -TQ_TRELLIS_Z_MAX), TQ_TRELLIS_Z_MAX));
}

/* One row of a tile; groups of zeros, columns and rows of padding stay 0. */
static bool rotate_row(tq_encoder *e, tq_encode_scratch *s, size_t tile, size_t row_in_tile) {
    size_t cols = e->w->cols, group = tq_rotation_group(e->stage->rotation);
    float inverse = 1.0F / e->stage->levels.step;
    tq_matrix_row(e->w, tile * TQ_TILE_ROWS + row_in_tile, s->row);
    for (size_t begin = 0; begin < cols; begin += group) {
        size_t len = cols - begin < group ? cols - begin : group;
        double unit;
        if (!tq_encode_group_z(e, s, s->row + begin, len, &unit)) return false;
        for (size_t b = 0; unit > 0 && b < len; b += TQ_BLOCK) { /* groups begin with a block */
            int16_t *place = lane_of(e, tile, begin + b) + row_in_tile;
            for (size_t i = 0; i < TQ_BLOCK && b + i < len; i++)
                place[i * TQ_TILE_ROWS] = to_steps(s->z[b + i], inverse);
        }
    }
    return true;
}

static void rotate_tiles(void *ctx, size_t begin, size_t end, int thread) {
    tq_encoder *e = ctx;
    if (!tq_encode_going(e, thread) || atomic_load(&e->bad_row) < begin * TQ_TILE_ROWS) return;
    for (size_t tile = begin; tile < end; tile++) {
        size_t rows = tq_encode_rows_of(e, tile);
        for (size_t r = 0; r < rows; r++) {
            if (rotate_row(e, &e->scratch[thread], tile, r)) continue;
            tq_encode_bad_row(e, tile * TQ_TILE_ROWS + r);
            break;
        }
    }
    atomic_fetch_add(&e->units_done, end - begin);
}

static void search_columns(void *ctx, size_t begin, size_t end, int thread) {
    tq_encoder *e = ctx;
    tq_encode_scratch *s = &e->scratch[thread];
    size_t tiles = e->stage->shape.tiles, lane = TQ_TILE_ROWS * sizeof *s->column;
    if (!tq_encode_going(e, thread)) return;
    for (size_t col = begin; col < end; col++) {
        for (size_t tile = 0; tile < tiles; tile++)
            memcpy(s->column + tile * TQ_TILE_ROWS, lane_of(e, tile, col), lane);
        uint8_t *codes = (uint8_t *)s->column;
        tq_k()->trellis(codes, s->column, tiles, &e->book.trellis, s->work);
        for (size_t tile = 0; tile < tiles; tile++)
            memcpy(lane_of(e, tile, col), codes + tile * TQ_TILE_ROWS, TQ_TILE_ROWS);
    }
    atomic_fetch_add(&e->units_done, end - begin);
}

/* The codes of a tile by rows: [16, ld]; columns of padding are 0. */
static uint8_t *gather_codes(const tq_encoder *e, tq_encode_scratch *s, size_t tile) {
    uint8_t *plane = s->plane[tile % 3];
    for (size_t col = 0; col < e->w->cols; col++) {
        const uint8_t *codes = (const uint8_t *)lane_of(e, tile, col);
        for (size_t r = 0; r < TQ_TILE_ROWS; r++)
            plane[r * e->ld + col] = codes[r];
    }
    return plane;
}

static bool fit_row(tq_encoder *e, tq_encode_scratch *s, size_t tile, size_t row_in_tile, tq_encode_sums *sum) {
    size_t cols = e->w->cols, group = tq_rotation_group(e->stage->rotation);
    size_t row = tile * TQ_TILE_ROWS + row_in_tile, at = tq_encode_scale_of(e, row);
    const uint8_t *codes[3]; /* of this tile and of the two before */
    for (size_t i = 0; i < 3; i++)
        codes[i] = (i <= tile ? s->plane[(tile - i) % 3] : s->fine) + row_in_tile * e->ld;
    tq_matrix_row(e->w, row, s->row);
    for (size_t begin = 0; begin < cols; begin += group, at += TQ_TILE_ROWS) {
        size_t len = cols - begin < group ? cols - begin : group;
        double unit;
        if (!tq_encode_group_z(e, s, s->row + begin, len, &unit)) return false;
        tq_k()->trellis_levels(s->level, codes[0] + begin, codes[1] + begin, codes[2] + begin, len, e->book.levels);
        double moments[3] = {0};
        if (unit > 0) tq_k()->moments(moments, s->z, s->level, len);
        tq_encode_group_fit(e, moments, at, unit, sum);
    }
    return true;
}

static void fit_tiles(void *ctx, size_t begin, size_t end, int thread) {
    tq_encoder *e = ctx;
    tq_encode_scratch *s = &e->scratch[thread];
    const tq_stage_shape *shape = &e->stage->shape;
    if (!tq_encode_going(e, thread)) return;
    for (size_t tile = begin < 2 ? 0 : begin - 2; tile < end; tile++) {
        const uint8_t *codes = gather_codes(e, s, tile);
        if (tile < begin) continue;
        tq_encode_sums sum = {0};
        size_t rows = tq_encode_rows_of(e, tile);
        for (size_t r = 0; r < rows; r++)
            if (!fit_row(e, s, tile, r, &sum)) tq_encode_bad_row(e, tile * TQ_TILE_ROWS + r);
        tq_k()->pack(e->stage->codes + tile * shape->blocks * 8 * TQ_BLOCK, codes, e->ld, shape->blocks, 4);
        e->tile[tile] = sum;
    }
    atomic_fetch_add(&e->units_done, end - begin);
}

int tq_encode_trellis(tq_encoder *e, tq_pool *pool, tq_err *err) {
    size_t tiles = e->stage->shape.tiles, grain = TQ_ENCODE_CHUNK / TQ_TILE_ROWS;
    double work = (double)e->w->rows * (double)e->w->cols;
    int rc = tq_encode_sweep(e, pool, rotate_tiles, tiles, grain / e->ld, work * ROTATE_SHARE, err);
    if (rc != TQ_OK || atomic_load(&e->bad_row) != SIZE_MAX) return rc;
    double search_share = 1 - ROTATE_SHARE - FIT_SHARE;
    rc = tq_encode_sweep(e, pool, search_columns, e->w->cols, grain / tiles, work * search_share, err);
    if (rc != TQ_OK) return rc;
    return tq_encode_sweep(e, pool, fit_tiles, tiles, 2 + 2 * grain / e->ld, work * FIT_SHARE, err);
}

bool tq_encode_trellis_init(tq_encoder *e) {
    const tq_stage_shape *shape = &e->q->stage[0].shape;
    size_t rows = shape->tiles * TQ_TILE_ROWS;
    e->z = tq_calloc_aligned(rows * e->ld, sizeof *e->z); /* the codes alone are half as many bytes: no overflow */
    if (!e->z) return false;
    for (int i = 0; i < e->threads; i++) {
        tq_encode_scratch *s = &e->scratch[i];
        s->column = tq_calloc_aligned(rows, sizeof *s->column);
        s->work = tq_calloc_aligned(TQ_TRELLIS_WORK(shape->states, shape->tiles), 1);
        for (size_t j = 0; j < 3; j++)
            s->plane[j] = tq_calloc_aligned(TQ_TILE_ROWS * e->ld, 1);
        if (!s->column || !s->work || !s->plane[0] || !s->plane[1] || !s->plane[2]) return false;
    }
    return true;
}

void tq_encode_trellis_free(tq_encoder *e) {
    for (int i = 0; e->scratch && i < e->threads; i++) {
        free(e->scratch[i].column);
        free(e->scratch[i].work);
        for (size_t j = 0; j < 3; j++)
            free(e->scratch[i].plane[j]);
    }
    free(e->z);
}

size_t tq_trellis_column_work(const tq_codebook *book, size_t rows16) {
    return rows16 * sizeof(int16_t) + TQ_TRELLIS_WORK(book->trellis.states, rows16 / TQ_TILE_ROWS);
}

void tq_trellis_column(const tq_codebook *book, const float *z, size_t rows16, uint8_t *codes, float *level,
                       void *work) {
    const tq_kernels *k = tq_k();
    static const uint8_t none[2 * TQ_TILE_ROWS];
    float step = book->levels->step, inverse = 1.0F / step;
    size_t first = rows16 < TQ_TILE_ROWS ? rows16 : TQ_TILE_ROWS;
    uint32_t *words = work;
    int16_t *steps = (int16_t *)(words + TQ_TRELLIS_WORK(book->trellis.states, rows16 / TQ_TILE_ROWS) / sizeof *words);
    for (size_t i = 0; i < rows16; i++)
        steps[i] = to_steps(z[i], inverse);
    k->trellis(codes, steps, rows16 / TQ_TILE_ROWS, &book->trellis, words);
    k->trellis_levels(level, codes, none, none, first, book->levels);
    if (rows16 > TQ_TILE_ROWS)
        k->trellis_levels(level + TQ_TILE_ROWS, codes + TQ_TILE_ROWS, codes, none, TQ_TILE_ROWS, book->levels);
    if (rows16 > sizeof none)
        k->trellis_levels(level + sizeof none, codes + sizeof none, codes + TQ_TILE_ROWS, codes, rows16 - sizeof none,
                          book->levels);
    for (size_t i = 0; i < rows16; i++)
        level[i] *= step;
}
