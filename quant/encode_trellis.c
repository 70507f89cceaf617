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
        if (!tq_encode_group_z(e, s, begin, len, &unit)) return false;
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

/* A ring is searched in windows of at most so many steps around its seam; every second window begins half-way. */
#define SEAM_STEPS 24
#define SEAM_ROUNDS 3

/* A search in a ring of sequences: codes, z: [steps][16]. */
typedef struct ring {
    const tq_trellis *trellis;
    uint8_t *codes;
    const int16_t *z;
    size_t steps;
    int32_t *cost; /* [states][16] */
    void *work;
} ring;

/* The states of all lanes before step k, from the codes there; of a ring of one step its own code twice. */
static void ring_states(const ring *r, size_t k, uint8_t state[TQ_TILE_ROWS]) {
    const uint8_t *codes = r->codes;
    if (r->steps == 0) return;
    size_t one = (k + r->steps - 1) % r->steps, two = (k + 2 * r->steps - 2) % r->steps;
    for (size_t i = 0; i < TQ_TILE_ROWS; i++) {
        state[i] = codes[one * TQ_TILE_ROWS + i];
        if (r->trellis->states > 16) state[i] = (uint8_t)(state[i] | codes[two * TQ_TILE_ROWS + i] << 4);
    }
}

/* Finds the codes of `count` steps from `begin` on anew, those around them as they are. */
static void search_window(const ring *r, size_t begin, size_t count) {
    int16_t z[SEAM_STEPS * TQ_TILE_ROWS];
    uint8_t found[SEAM_STEPS * TQ_TILE_ROWS], first[TQ_TILE_ROWS] = {0}, last[TQ_TILE_ROWS] = {0};
    for (size_t i = 0; i < count; i++)
        memcpy(z + i * TQ_TILE_ROWS, r->z + (begin + i) % r->steps * TQ_TILE_ROWS, TQ_TILE_ROWS * sizeof *z);
    ring_states(r, begin, first);
    ring_states(r, begin + count, last);
    tq_trellis_begin(r->cost, r->trellis->states, first);
    tq_k()->trellis(found, z, count, r->trellis, r->cost, last, r->work);
    for (size_t i = 0; i < count; i++)
        memcpy(r->codes + (begin + i) % r->steps * TQ_TILE_ROWS, found + i * TQ_TILE_ROWS, TQ_TILE_ROWS);
}

/* The best path from the state at the seam around the ring to itself. */
static void close_ring(const ring *r) {
    uint8_t state[TQ_TILE_ROWS] = {0};
    ring_states(r, 0, state);
    tq_trellis_begin(r->cost, r->trellis->states, state);
    tq_k()->trellis(r->codes, r->z, r->steps, r->trellis, r->cost, state, r->work);
}

/* With codes in the ring: none of these passes makes them worse, and each mends the seams of the others. */
static void improve_ring(const ring *r) {
    size_t window = r->steps < SEAM_STEPS ? r->steps : SEAM_STEPS;
    for (size_t i = 1; r->steps > 1 && i <= SEAM_ROUNDS; i++)
        search_window(r, i * r->steps - i * window / 2 % r->steps, window);
}

/* The path around the ring. A run-up to the seam says what it costs to begin in each state, one pass with that where it
 * had best end (the wrap-around Viterbi algorithm: Shao, Lin, Fossorier, IEEE Trans. Commun. 51, 2003). */
static void search_ring(const ring *r) {
    int16_t z[SEAM_STEPS * TQ_TILE_ROWS];
    uint8_t codes[SEAM_STEPS * TQ_TILE_ROWS];
    if (r->steps == 0) return;
    memset(r->codes, 0, r->steps * TQ_TILE_ROWS);
    size_t begin = r->steps - (SEAM_STEPS - 1) % r->steps - 1;
    for (size_t i = 0; i < SEAM_STEPS; i++)
        memcpy(z + i * TQ_TILE_ROWS, r->z + (begin + i) % r->steps * TQ_TILE_ROWS, TQ_TILE_ROWS * sizeof *z);
    tq_trellis_begin(r->cost, r->trellis->states, NULL);
    tq_k()->trellis(codes, z, SEAM_STEPS, r->trellis, r->cost, NULL, r->work);
    tq_k()->trellis(r->codes, r->z, r->steps, r->trellis, r->cost, NULL, r->work);
    close_ring(r);
    improve_ring(r);
}

/* Bytes of work for that. */
static size_t ring_work(int states, size_t steps) {
    return TQ_TRELLIS_WORK(states, steps > SEAM_STEPS ? steps : SEAM_STEPS);
}

static void search_columns(void *ctx, size_t begin, size_t end, int thread) {
    tq_encoder *e = ctx;
    tq_encode_scratch *s = &e->scratch[thread];
    size_t tiles = e->stage->shape.tiles, lane = TQ_TILE_ROWS * sizeof *s->column;
    if (!tq_encode_going(e, thread)) return;
    for (size_t col = begin; col < end; col++) {
        for (size_t tile = 0; tile < tiles; tile++)
            memcpy(s->column + tile * TQ_TILE_ROWS, lane_of(e, tile, col), lane);
        int32_t cost[256 * TQ_TILE_ROWS];
        ring r = {&e->book.trellis, s->ring, s->column, tiles, cost, s->work};
        search_ring(&r);
        for (size_t tile = 0; tile < tiles; tile++)
            memcpy(lane_of(e, tile, col), s->ring + tile * TQ_TILE_ROWS, TQ_TILE_ROWS);
    }
    atomic_fetch_add(&e->units_done, end - begin);
}

/* The codes of a tile by rows: plane: [16, ld]; columns of padding are 0. */
static void gather_codes(const tq_encoder *e, size_t tile, uint8_t *plane) {
    for (size_t col = 0; col < e->w->cols; col++) {
        const uint8_t *codes = (const uint8_t *)lane_of(e, tile, col);
        for (size_t r = 0; r < TQ_TILE_ROWS; r++)
            plane[r * e->ld + col] = codes[r];
    }
}

/* planes: the codes of the tile and of the two before it. */
static bool fit_row(tq_encoder *e, tq_encode_scratch *s, size_t tile, size_t row_in_tile,
                    const uint8_t *const planes[3], tq_encode_sums *sum) {
    size_t cols = e->w->cols, group = tq_rotation_group(e->stage->rotation);
    size_t row = tile * TQ_TILE_ROWS + row_in_tile, at = tq_encode_scale_of(e, row);
    size_t offset = row_in_tile * e->ld;
    tq_matrix_row(e->w, row, s->row);
    for (size_t begin = 0; begin < cols; begin += group, at += TQ_TILE_ROWS) {
        size_t len = cols - begin < group ? cols - begin : group;
        double unit;
        if (!tq_encode_group_z(e, s, begin, len, &unit)) return false;
        tq_k()->trellis_levels(s->level, planes[0] + offset + begin, planes[1] + offset + begin,
                               planes[2] + offset + begin, len, e->book.levels);
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
    gather_codes(e, (begin + 2 * shape->tiles - 2) % shape->tiles, s->plane[0]);
    gather_codes(e, (begin + shape->tiles - 1) % shape->tiles, s->plane[1]);
    for (size_t tile = begin, at = 2; tile < end; tile++, at++) {
        const uint8_t *planes[3] = {s->plane[at % 3], s->plane[(at - 1) % 3], s->plane[(at - 2) % 3]};
        gather_codes(e, tile, s->plane[at % 3]);
        tq_encode_sums sum = {0};
        size_t rows = tq_encode_rows_of(e, tile);
        for (size_t r = 0; r < rows; r++)
            if (!fit_row(e, s, tile, r, planes, &sum)) tq_encode_bad_row(e, tile * TQ_TILE_ROWS + r);
        tq_k()->pack(e->stage->codes + tile * shape->blocks * 8 * TQ_BLOCK, planes[0], e->ld, shape->blocks, 4);
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
        s->work = tq_calloc_aligned(ring_work(shape->states, shape->tiles), 1);
        for (size_t j = 0; j < 3; j++)
            s->plane[j] = tq_calloc_aligned(TQ_TILE_ROWS * e->ld, 1);
        s->ring = tq_calloc_aligned(rows, 1);
        if (!s->column || !s->ring || !s->work || !s->plane[0] || !s->plane[1] || !s->plane[2]) return false;
    }
    return true;
}

void tq_encode_trellis_free(tq_encoder *e) {
    for (int i = 0; e->scratch && i < e->threads; i++) {
        free(e->scratch[i].column);
        free(e->scratch[i].ring);
        free(e->scratch[i].work);
        for (size_t j = 0; j < 3; j++)
            free(e->scratch[i].plane[j]);
    }
    free(e->z);
}

size_t tq_trellis_column_work(const tq_codebook *book, size_t rows16) {
    return rows16 * sizeof(int16_t) + ring_work(book->trellis.states, rows16 / TQ_TILE_ROWS);
}

void tq_trellis_column(const tq_codebook *book, const float *z, size_t rows16, uint8_t *codes, float *level, bool again,
                       void *work) {
    const tq_kernels *k = tq_k();
    float step = book->levels->step, inverse = 1.0F / step;
    size_t tiles = rows16 / TQ_TILE_ROWS;
    uint32_t *words = work;
    int16_t *steps = (int16_t *)(words + ring_work(book->trellis.states, tiles) / sizeof *words);
    for (size_t i = 0; i < rows16; i++)
        steps[i] = to_steps(z[i], inverse);
    int32_t cost[256 * TQ_TILE_ROWS];
    ring r = {&book->trellis, codes, steps, tiles, cost, words};
    if (again) {
        close_ring(&r);
        improve_ring(&r);
    } else {
        search_ring(&r);
    }
    for (size_t tile = 0; tile < tiles && tile < 2; tile++) {
        const uint8_t *before = codes + (tile + tiles - 1) % tiles * TQ_TILE_ROWS;
        const uint8_t *before2 = codes + (tile + 2 * tiles - 2) % tiles * TQ_TILE_ROWS;
        k->trellis_levels(level + tile * TQ_TILE_ROWS, codes + tile * TQ_TILE_ROWS, before, before2, TQ_TILE_ROWS,
                          book->levels);
    }
    if (tiles > 2)
        k->trellis_levels(level + (size_t)2 * TQ_TILE_ROWS, codes + (size_t)2 * TQ_TILE_ROWS, codes + TQ_TILE_ROWS,
                          codes, rows16 - (size_t)2 * TQ_TILE_ROWS, book->levels);
    for (size_t i = 0; i < rows16; i++)
        level[i] *= step;
}
