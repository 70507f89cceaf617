#include "quant/qmatrix.h"

#include <stdlib.h>
#include <string.h>

#include "quant/codebook.h"
#include "quant/pages.h"
#include "quant/qmatrix_internal.h"

#define MATVEC_WEIGHTS 32768 /* of a chunk: some microseconds of work */
#define MATVEC_TILES 64

static const struct {
    const char *name;
    size_t size;
} dtypes[] = {
    [TQ_F32] = {"F32", 4}, [TQ_F16] = {"F16", 2},     [TQ_BF16] = {"BF16", 2},
    [TQ_U8] = {"U8", 1},   [TQ_CODED] = {"coded", 0}, [TQ_DTYPE_OTHER] = {"other", 0},
};

size_t tq_dtype_size(tq_dtype t) {
    return dtypes[t].size;
}
const char *tq_dtype_name(tq_dtype t) {
    return dtypes[t].name;
}

bool tq_matrix_is_flat(const tq_matrix_view *w) {
    return w->dtype != TQ_CODED && !w->paired && !w->transposed;
}

static size_t row_bytes(const tq_matrix_view *w) {
    return w->codec ? w->cols / w->codec->block * w->codec->bytes : w->cols * dtypes[w->dtype].size;
}

size_t tq_matrix_bytes(const tq_matrix_view *w) {
    return w->rows * row_bytes(w);
}

/* Where row r lies in the file. */
static size_t stored_row(const tq_matrix_view *w, size_t r) {
    if (!w->paired) return r;
    size_t half = w->paired / 2, i = r % w->paired;
    return r - i + (i < half ? 2 * i : 2 * (i - half) + 1);
}

/* Floats of w from element `at` on. */
static void take_floats(const tq_matrix_view *w, size_t at, size_t n, float *out) {
    const char *p = (const char *)w->data + at * dtypes[w->dtype].size;
    if (w->dtype == TQ_F32)
        memcpy(out, p, n * sizeof *out);
    else if (w->dtype == TQ_F16)
        tq_k()->f16_to_f32(out, (const uint16_t *)(const void *)p, n);
    else
        tq_k()->bf16_to_f32(out, (const uint16_t *)(const void *)p, n);
}

/* Rows of a transposed matrix: what lies together in the file is taken together. */
static void gather_rows(const tq_matrix_view *w, size_t r0, size_t n, float *out) {
    enum { TOGETHER = 64 };
    float run[TOGETHER];
    for (size_t r = 0; r < n; r += TOGETHER) {
        size_t some = n - r < TOGETHER ? n - r : TOGETHER;
        for (size_t c = 0; c < w->cols; c++) {
            take_floats(w, c * w->rows + r0 + r, some, run);
            for (size_t i = 0; i < some; i++)
                out[(r + i) * w->cols + c] = run[i];
        }
    }
}

void tq_matrix_rows(const tq_matrix_view *w, size_t r0, size_t n, float *out) {
    if (w->transposed) {
        gather_rows(w, r0, n, out);
        return;
    }
    for (size_t r = 0; r < n; r++)
        tq_matrix_row(w, r0 + r, out + r * w->cols);
}

void tq_matrix_row(const tq_matrix_view *w, size_t r, float *out) {
    if (w->transposed) {
        gather_rows(w, r, 1, out);
        return;
    }
    const char *row = (const char *)w->data + stored_row(w, r) * row_bytes(w);
    if (w->codec)
        tq_k()->unpack_blocks[w->codec->layout](out, row, w->cols / w->codec->block);
    else
        take_floats(w, stored_row(w, r) * w->cols, w->cols, out);
}

void tq_stage_codebook(tq_codebook *book, const tq_stage_shape *shape) {
    if (shape->states)
        tq_codebook_init_trellis(book, shape->states);
    else
        tq_codebook_init(book, shape->code_bits, shape->fine_bits);
}

static int stage_init(tq_stage *s, tq_err *err) {
    s->codes = tq_pages_alloc(s->shape.codes_bytes);
    s->fine = s->shape.fine_bits > 0 ? tq_pages_alloc(s->shape.fine_bytes) : NULL;
    s->scales = tq_pages_alloc(s->shape.scales_bytes);
    if (!s->codes || !s->scales || (s->shape.fine_bits > 0 && !s->fine))
        return tq_fail(err, "out of memory for %zu bytes of codes", s->shape.codes_bytes + s->shape.fine_bytes);
    s->levels = s->shape.states ? *tq_codebook_trellis(s->shape.states)
                                : *tq_codebook_levels(s->shape.code_bits, s->shape.fine_bits);
    s->packed = (tq_packed){
        .levels = &s->levels,
        .codes = s->codes,
        .fine = s->fine,
        .scales = s->scales,
        .scale_mul = 1,
        .code_bits = s->shape.code_bits,
        .fine_bits = s->shape.fine_bits,
        .trellis = s->shape.states > 0,
        .tiles = s->shape.tiles,
        .blocks = s->shape.blocks,
        .group_blocks = s->shape.group_blocks,
    };
    tq_stage_write_table(s);
    return TQ_OK;
}

tq_qmatrix *tq_qmatrix_new(const tq_qspec *spec, size_t rows, size_t cols, tq_rotation_cache *cache, tq_err *err) {
    tq_stage_shape shape[TQ_MAX_STAGES];
    size_t stages = tq_stage_shapes(spec, rows, cols, shape);
    if (stages == 0) {
        tq_fail(err, "a matrix of %zu x %zu cannot be quantized so", rows, cols);
        return NULL;
    }
    tq_qmatrix *q = calloc(1, sizeof *q);
    if (!q) {
        tq_fail(err, "out of memory for a matrix");
        return NULL;
    }
    q->spec = *spec;
    q->rows = rows;
    q->cols = cols;
    q->stages = stages;
    for (size_t i = 0; i < stages; i++) {
        tq_stage *s = &q->stage[i];
        s->shape = shape[i];
        s->rotation = tq_rotation_of(cache, spec, i, cols, err);
        if (s->rotation && stage_init(s, err) == TQ_OK) continue;
        tq_qmatrix_free(q);
        return NULL;
    }
    return q;
}

void tq_qmatrix_free(tq_qmatrix *q) {
    if (!q) return;
    for (size_t i = 0; i < q->stages; i++) {
        tq_pages_free(q->stage[i].codes);
        tq_pages_free(q->stage[i].fine);
        tq_pages_free(q->stage[i].scales);
    }
    free(q);
}

const tq_qspec *tq_qmatrix_spec(const tq_qmatrix *q) {
    return &q->spec;
}
size_t tq_qmatrix_rows(const tq_qmatrix *q) {
    return q->rows;
}
size_t tq_qmatrix_cols(const tq_qmatrix *q) {
    return q->cols;
}
size_t tq_qmatrix_stages(const tq_qmatrix *q) {
    return q->stages;
}
const tq_rotation *tq_qmatrix_rotation(const tq_qmatrix *q, size_t stage) {
    return q->stage[stage].rotation;
}
const tq_packed *tq_qmatrix_packed(const tq_qmatrix *q, size_t stage) {
    return &q->stage[stage].packed;
}

size_t tq_qmatrix_bytes(const tq_qmatrix *q) {
    size_t total = 0;
    for (size_t i = 0; i < q->stages; i++) {
        const tq_stage_shape *s = &q->stage[i].shape;
        total += s->codes_bytes + s->fine_bytes + s->scales_bytes + TQ_LEVELS_BYTES;
    }
    return total;
}

typedef struct matvec_job {
    const tq_qmatrix *q;
    const tq_packed *packed;
    const tq_xq *x;
    float *y;
    bool add;
} matvec_job;

static void matvec_tiles(void *ctx, size_t begin, size_t end, int thread) {
    (void)thread;
    const matvec_job *job = ctx;
    const tq_kernels *k = tq_k();
    size_t first = begin * TQ_TILE_ROWS, last = end * TQ_TILE_ROWS;
    if (!job->add && last <= job->q->rows) {
        k->matvec(job->y + first, job->packed, job->x, begin, end - begin);
        return;
    }
    float part[MATVEC_TILES * TQ_TILE_ROWS];
    k->matvec(part, job->packed, job->x, begin, end - begin);
    size_t n = (last <= job->q->rows ? last : job->q->rows) - first;
    if (!job->add) {
        memcpy(job->y + first, part, n * sizeof *part);
        return;
    }
    for (size_t i = 0; i < n; i++)
        job->y[first + i] += part[i];
}

void tq_qmatrix_matvec(const tq_qmatrix *q, size_t stage, const tq_xq *x, float *y, bool add, tq_pool *pool) {
    matvec_job job = {q, &q->stage[stage].packed, x, y, add};
    size_t grain = MATVEC_WEIGHTS / (TQ_TILE_ROWS * TQ_BLOCK) / job.packed->blocks;
    grain = grain < 1 ? 1 : grain > MATVEC_TILES ? MATVEC_TILES : grain;
    tq_pool_run(pool, q->stage[stage].shape.tiles, grain, matvec_tiles, &job);
}

/* The first n rows of a tile, a block at a time: there is no room for the other rows in out. */
static void decode_partial_tile(const tq_stage *s, size_t tile, size_t n, float *out, size_t ld) {
    float block[TQ_TILE_ROWS * TQ_BLOCK];
    uint8_t codes[3 * 4 * 64]; /* of a trellis: two tiles before and this one, one block of each */
    size_t before = s->shape.states == 0 ? 0 : tile < 2 ? tile : 2;
    tq_packed p = s->packed;
    p.blocks = p.group_blocks = 1;
    for (size_t b = 0; b < s->shape.blocks; b++) {
        size_t bytes = 64 * (size_t)p.code_bits, at = tile * s->shape.blocks + b;
        for (size_t i = 0; i <= before; i++)
            memcpy(codes + i * bytes, s->codes + (at - (before - i) * s->shape.blocks) * bytes, bytes);
        p.codes = codes;
        p.fine = s->fine ? s->fine + at * 64 * (size_t)p.fine_bits : NULL;
        p.scales = s->scales + (tile * s->shape.groups + b / s->shape.group_blocks) * TQ_TILE_ROWS;
        p.scales -= before * TQ_TILE_ROWS; /* its tile is number `before`, with one group a tile */
        tq_k()->decode_tile(block, TQ_BLOCK, &p, before);
        for (size_t r = 0; r < n; r++)
            memcpy(out + r * ld + b * TQ_BLOCK, block + r * TQ_BLOCK, TQ_BLOCK * sizeof *block);
    }
}

void tq_qmatrix_decode_rows(const tq_qmatrix *q, size_t stage, size_t r0, size_t n, float *out, size_t ld) {
    const tq_stage *s = &q->stage[stage];
    size_t padding = s->shape.blocks * TQ_BLOCK - q->cols;
    for (size_t r = 0; r < n; r += TQ_TILE_ROWS) {
        size_t tile = (r0 + r) / TQ_TILE_ROWS;
        if (n - r >= TQ_TILE_ROWS)
            tq_k()->decode_tile(out + r * ld, ld, &s->packed, tile);
        else
            decode_partial_tile(s, tile, n - r, out + r * ld, ld);
    }
    for (size_t r = 0; padding > 0 && r < n; r++)
        memset(out + r * ld + q->cols, 0, padding * sizeof *out);
}

size_t tq_qmatrix_scratch(const tq_qmatrix *q) {
    size_t rotation = 0;
    for (size_t i = 0; i < q->stages; i++) {
        size_t n = tq_rotation_scratch(q->stage[i].rotation);
        if (n > rotation) rotation = n;
    }
    return (TQ_TILE_ROWS + 1) * q->stage[0].shape.blocks * TQ_BLOCK + rotation;
}

void tq_qmatrix_dequantize_stages(const tq_qmatrix *q, size_t stages, size_t r0, size_t n, float *out, float *scratch) {
    size_t ld = q->stage[0].shape.blocks * TQ_BLOCK;
    float *row = scratch + TQ_TILE_ROWS * ld;
    float *rotation = row + ld;
    for (size_t r = 0; r < n; r += TQ_TILE_ROWS) {
        size_t count = n - r < TQ_TILE_ROWS ? n - r : TQ_TILE_ROWS;
        for (size_t i = 0; i < stages; i++) {
            const tq_stage *s = &q->stage[i];
            tq_k()->decode_tile(scratch, ld, &s->packed, (r0 + r) / TQ_TILE_ROWS);
            for (size_t j = 0; j < count; j++) {
                float *dst = out + (r + j) * q->cols;
                tq_rotation_apply_inverse(s->rotation, i == 0 ? dst : row, scratch + j * ld, rotation);
                if (i > 0) tq_k()->axpy(dst, 1.0F, row, q->cols);
            }
        }
    }
}

void tq_qmatrix_dequantize_rows(const tq_qmatrix *q, size_t r0, size_t n, float *out, float *scratch) {
    tq_qmatrix_dequantize_stages(q, q->stages, r0, n, out, scratch);
}

void tq_qmatrix_dequantize_row(const tq_qmatrix *q, size_t r, float *out, float *scratch) {
    size_t ld = q->stage[0].shape.blocks * TQ_BLOCK;
    float *row = scratch + TQ_TILE_ROWS * ld, *rotation = row + ld;
    for (size_t i = 0; i < q->stages; i++) {
        const tq_stage *s = &q->stage[i];
        tq_k()->decode_tile(scratch, ld, &s->packed, r / TQ_TILE_ROWS);
        tq_rotation_apply_inverse(s->rotation, i == 0 ? out : row, scratch + r % TQ_TILE_ROWS * ld, rotation);
        if (i > 0) tq_k()->axpy(out, 1.0F, row, q->cols);
    }
}
