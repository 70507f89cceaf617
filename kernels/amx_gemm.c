/* amx_gemm.c - bf16 weights times many bf16 inputs by tdpbf16ps, which multiplies tiles of up to 16 rows of 64 bytes.
 *
 * A tile of inputs holds 32 columns of 16 inputs, just as they lie; one of weights 16 pairs of columns of 16 rows, as
 * they lie too; one of sums what 16 inputs and 16 rows give, a part of y. Two tiles of inputs and two of weights meet
 * in four of sums. What is left at an edge is a tile of fewer rows or bytes: nothing is copied, nothing outside is
 * touched.
 *
 * One tdpbf16ps adds up the products of its 16 even columns and those of its 16 odd ones, each from zero by fused
 * multiplications and additions, then the two to each other, then that to the sum; subnormals are zero before and after
 * each step (Intel, Architecture Instruction Set Extensions Programming Reference, TDPBF16PS). How many rows a tile has
 * makes no difference to the others, and columns are cut at the same places for all: so a sum depends on its own input
 * and row alone. */
#include "kernels/internal.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))

enum { TILE = 16 };
/* Inputs that meet all rows before the next ones do: with 64 rows of 3072 columns they leave half of a second-level
 * cache of 2 MiB free. */
#define CHUNK_BYTES ((size_t)512 << 10)

/* What ldtilecfg reads: bytes of a row and rows of each tile. */
typedef struct tile_shapes {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_shapes;

/* Inputs and rows of a block's two tiles each, 0 for a second one that is not there, and its pairs of columns. */
typedef struct block {
    size_t inputs[2], rows[2], pairs;
} block;

/* Inputs times all rows over `steps` tiles of columns. */
typedef struct part {
    float *y;
    const uint16_t *w, *x;
    size_t ldy, ldw, ldx, rows, n, steps;
    int add;
} part;

/* Tiles 0 .. 3 are sums (2 * inputs + rows), 4 and 5 inputs, 6 and 7 weights. */
static void shape_tiles(const block *b) {
    tile_shapes s = {.palette = 1};
    for (int i = 0; i < 2; i++) {
        s.rows[4 + i] = (uint8_t)b->inputs[i];
        s.row_bytes[4 + i] = b->inputs[i] ? (uint16_t)(4 * b->pairs) : 0;
        s.rows[6 + i] = b->rows[i] ? (uint8_t)b->pairs : 0;
        s.row_bytes[6 + i] = (uint16_t)(4 * b->rows[i]);
        for (int t = 0; t < 2; t++) {
            if (!b->inputs[i] || !b->rows[t]) continue;
            s.rows[2 * i + t] = (uint8_t)b->inputs[i];
            s.row_bytes[2 * i + t] = (uint16_t)(4 * b->rows[t]);
        }
    }
    __asm__ volatile("" : : "r"(&s) : "memory"); /* the intrinsic does not say that it reads all of it */
    _tile_loadconfig(&s);
}

/* One block, from row r and input i on. */
INLINE void product(const part *p, size_t r, size_t i, int inputs, int tiles) {
    const size_t y_row = p->ldy * sizeof *p->y, w_row = p->ldw * sizeof *p->w, x_row = p->ldx * sizeof *p->x;
    const uint16_t *w = p->w + 2 * r, *x = p->x + i * p->ldx;
    float *y = p->y + i * p->ldy + r, *y1 = inputs > 1 ? y + TILE * p->ldy : y;
    if (p->add) {
        _tile_loadd(0, y, y_row);
        if (tiles > 1) _tile_loadd(1, y + TILE, y_row);
        if (inputs > 1) _tile_loadd(2, y1, y_row);
        if (inputs > 1 && tiles > 1) _tile_loadd(3, y1 + TILE, y_row);
    } else {
        _tile_zero(0);
        if (tiles > 1) _tile_zero(1);
        if (inputs > 1) _tile_zero(2);
        if (inputs > 1 && tiles > 1) _tile_zero(3);
    }
    for (size_t c = 0; c < p->steps; c++, w += TILE * p->ldw, x += 2 * TILE) {
        _tile_loadd(6, w, w_row);
        _tile_loadd(4, x, x_row);
        _tile_dpbf16ps(0, 4, 6);
        if (tiles > 1) _tile_loadd(7, w + 2 * TILE, w_row);
        if (tiles > 1) _tile_dpbf16ps(1, 4, 7);
        if (inputs > 1) _tile_loadd(5, x + TILE * p->ldx, x_row);
        if (inputs > 1) _tile_dpbf16ps(2, 5, 6);
        if (inputs > 1 && tiles > 1) _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, y, y_row);
    if (tiles > 1) _tile_stored(1, y + TILE, y_row);
    if (inputs > 1) _tile_stored(2, y1, y_row);
    if (inputs > 1 && tiles > 1) _tile_stored(3, y1 + TILE, y_row);
}

static void shared_out(size_t tiles[2], size_t left) {
    tiles[0] = left < TILE ? left : TILE;
    tiles[1] = left < TILE ? 0 : left < (size_t)2 * TILE ? left - TILE : TILE;
}

/* pairs: the depth of a tile of columns; shaped: the block that the tiles are shaped for. */
static void multiply(const part *p, size_t pairs, block *shaped) {
    block next = {{0}, {0}, pairs};
    for (size_t r = 0; r < p->rows; r += (size_t)2 * TILE) {
        shared_out(next.rows, p->rows - r);
        for (size_t i = 0; i < p->n; i += (size_t)2 * TILE) {
            shared_out(next.inputs, p->n - i);
            if (memcmp(shaped, &next, sizeof next)) {
                shape_tiles(&next);
                *shaped = next;
            }
            if (next.inputs[1] && next.rows[1])
                product(p, r, i, 2, 2);
            else if (next.inputs[1])
                product(p, r, i, 2, 1);
            else if (next.rows[1])
                product(p, r, i, 1, 2);
            else
                product(p, r, i, 1, 1);
        }
    }
}

/* The tiles are this thread's for the call alone: released, they cost nothing when another thread gets the core. */
static void gemm_bf16(float *y, size_t ldy, const uint16_t *w, size_t ldw, size_t rows, const uint16_t *x, size_t ldx,
                      size_t n, size_t pairs, int add) {
    block shaped = {{0}, {0}, 0};
    size_t whole = pairs / TILE, rest = pairs % TILE;
    size_t chunk = CHUNK_BYTES / (4 * pairs + 1) / (2 * TILE) * (2 * TILE);
    if (!chunk) chunk = 2 * TILE;
    for (size_t i = 0; i < n; i += chunk) {
        part p = {y + i * ldy, w, x + i * ldx, ldy, ldw, ldx, rows, n - i < chunk ? n - i : chunk, whole, add};
        if (whole || !rest) multiply(&p, TILE, &shaped);
        if (!rest) continue;
        p.w += whole * TILE * ldw; /* sums wait in y, exactly */
        p.x += whole * 2 * TILE;
        p.add = add || whole;
        p.steps = 1;
        multiply(&p, rest, &shaped);
    }
    _tile_release();
}

void tq_kernels_fill_amx(tq_kernels *k) {
    k->gemm_bf16 = gemm_bf16;
    k->gemm_bf16_pays = 1;
}
#endif
