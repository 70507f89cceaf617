/* linear.c - see linear.h. All floats are single precision; work is cut into pieces by shape alone. */
#include "model/linear.h"

#include <cblas.h>
#include <string.h>

#include "kernels/kernels.h"

/* Rows that one task multiplies with one vector: four tiles. */
#define VECTOR_ROWS 64
/* Inputs that one task multiplies with one panel of rows. */
#define BLOCK_INPUTS 512
/* A panel of decoded rows holds at most so many floats: 4 MiB. */
#define PANEL_FLOATS ((size_t)1 << 20)
/* Inputs that one task rotates. */
#define ROTATE_INPUTS 16

typedef struct linear_run {
    tq_forward *f;
    const tq_linear_job *jobs;
    size_t count;
    const float *x;
    size_t n;
    size_t first[TQ_LINEAR_JOBS + 1]; /* the first task of each job */
    tq_rotated *rotated;              /* the slot that a task fills */
} linear_run;

static size_t round_up(size_t n, size_t to) {
    return (n + to - 1) / to * to;
}
static size_t ceil_div(size_t a, size_t b) {
    return (a + b - 1) / b;
}

/* Tall panels make OpenBLAS pack the inputs less often; short ones give small matrices to several threads. */
static size_t panel_rows(size_t rows, size_t cols) {
    size_t want = rows <= 256 ? 64 : rows <= 1024 ? 128 : 256;
    size_t fit = PANEL_FLOATS / round_up(cols, TQ_BLOCK) / TQ_TILE_ROWS * TQ_TILE_ROWS;
    if (fit < TQ_TILE_ROWS) fit = TQ_TILE_ROWS;
    return want < fit ? want : fit;
}

static tq_rotated *slot_of(tq_forward *f, const tq_rotation *r) {
    for (size_t i = 0; i < TQ_ROTATED_SLOTS; i++)
        if (f->rotated[i].rotation == r) return &f->rotated[i];
    return NULL;
}

static void rotate_some(void *ctx, size_t begin, size_t end, int thread) {
    const linear_run *run = ctx;
    const tq_rotation *r = run->rotated->rotation;
    size_t cols = tq_rotation_cols(r), ld = round_up(cols, TQ_BLOCK);
    float *scratch = run->f->work[thread].data;
    for (size_t i = begin; i < end; i++) {
        float *y = run->rotated->x.data + i * ld;
        tq_rotation_apply(r, y, run->x + i * cols, scratch);
        memset(y + cols, 0, (ld - cols) * sizeof *y);
    }
}

/* Carves the integer form of one vector out of the slot's buffer. */
static int slot_integers(tq_rotated *slot, size_t blocks, tq_err *err) {
    size_t width = blocks * TQ_BLOCK;
    int rc = tq_buffer_need(&slot->integers, 4 * width / sizeof(float) + 3 * blocks, err);
    if (rc != TQ_OK) return rc;
    slot->xq.scale = slot->integers.data;
    slot->xq.sum = (int32_t *)(void *)(slot->xq.scale + blocks);
    slot->xq.wide = (int16_t *)(void *)(slot->xq.sum + 2 * blocks);
    slot->xq.hi = (int8_t *)(slot->xq.wide + width);
    slot->xq.lo = slot->xq.hi + width;
    return TQ_OK;
}

/* Rotates the inputs once for each rotation that the jobs use. */
static int rotate_inputs(linear_run *run, tq_err *err) {
    tq_forward *f = run->f;
    size_t used = 0;
    for (size_t i = 0; i < TQ_ROTATED_SLOTS; i++)
        f->rotated[i].rotation = NULL;
    for (size_t j = 0; j < run->count; j++) {
        const tq_qmatrix *q = run->jobs[j].q;
        for (size_t s = 0; q && s < tq_qmatrix_stages(q); s++) {
            const tq_rotation *r = tq_qmatrix_rotation(q, s);
            if (slot_of(f, r)) continue;
            tq_rotated *slot = &f->rotated[used++];
            size_t ld = round_up(tq_rotation_cols(r), TQ_BLOCK);
            slot->rotation = r;
            int rc = tq_buffer_need(&slot->x, run->n * ld, err);
            if (rc == TQ_OK && run->n == 1) rc = slot_integers(slot, ld / TQ_BLOCK, err);
            if (rc == TQ_OK) rc = tq_forward_work(f, tq_rotation_scratch(r), err);
            if (rc != TQ_OK) return rc;
            run->rotated = slot;
            tq_forward_parallel(f, run->n, ROTATE_INPUTS, rotate_some, run);
            if (run->n == 1) tq_k()->quantize_x(&slot->xq, slot->x.data, ld / TQ_BLOCK);
        }
    }
    return TQ_OK;
}

static const tq_linear_job *job_of(const linear_run *run, size_t task, size_t *within) {
    size_t j = 0;
    while (task >= run->first[j + 1])
        j++;
    *within = task - run->first[j];
    return &run->jobs[j];
}

/* y[0..rows) of a matrix as stored, from row r0. */
static void stored_product(const tq_matrix_view *w, size_t r0, size_t rows, const float *x, float *y) {
    const tq_kernels *k = tq_k();
    const char *data = (const char *)w->data + r0 * w->cols * tq_dtype_size(w->dtype);
    if (w->dtype == TQ_BF16)
        k->matvec_bf16(y, (const uint16_t *)(const void *)data, x, rows, w->cols);
    else if (w->dtype == TQ_F16)
        k->matvec_f16(y, (const uint16_t *)(const void *)data, x, rows, w->cols);
    else
        k->matvec_f32(y, (const float *)(const void *)data, x, rows, w->cols);
}

/* y[0..VECTOR_ROWS) of a packed matrix: whole tiles, all stages. */
static void packed_product(tq_forward *f, const tq_qmatrix *q, size_t r0, size_t rows, float *y) {
    const tq_kernels *k = tq_k();
    size_t tiles = ceil_div(rows, TQ_TILE_ROWS);
    float stage[VECTOR_ROWS];
    for (size_t s = 0; s < tq_qmatrix_stages(q); s++) {
        const tq_rotated *slot = slot_of(f, tq_qmatrix_rotation(q, s));
        k->matvec(s ? stage : y, tq_qmatrix_packed(q, s), &slot->xq, r0 / TQ_TILE_ROWS, tiles);
        if (s) k->axpy(y, 1.0F, stage, rows);
    }
}

static void multiply_vector(void *ctx, size_t begin, size_t end, int thread) {
    const linear_run *run = ctx;
    (void)thread;
    for (size_t task = begin; task < end; task++) {
        size_t chunk = 0;
        const tq_linear_job *job = job_of(run, task, &chunk);
        size_t r0 = chunk * VECTOR_ROWS, rows = job->w->rows - r0 < VECTOR_ROWS ? job->w->rows - r0 : VECTOR_ROWS;
        float y[VECTOR_ROWS];
        if (job->q)
            packed_product(run->f, job->q, r0, rows, y);
        else
            stored_product(job->w, r0, rows, run->x, y);
        if (job->bias) tq_k()->axpy(y, 1.0F, job->bias + r0, rows);
        if (job->add)
            tq_k()->axpy(job->y + r0, 1.0F, y, rows);
        else
            memcpy(job->y + r0, y, rows * sizeof *y);
    }
}

/* Rows r0 .. r0+rows-1 as stored, as floats: in the map itself or converted into `panel`. */
static const float *stored_panel(const tq_matrix_view *w, size_t r0, size_t rows, float *panel) {
    const char *data = (const char *)w->data + r0 * w->cols * tq_dtype_size(w->dtype);
    if (w->dtype == TQ_F32) return (const float *)(const void *)data;
    if (w->dtype == TQ_BF16)
        tq_k()->bf16_to_f32(panel, (const uint16_t *)(const void *)data, rows * w->cols);
    else
        tq_k()->f16_to_f32(panel, (const uint16_t *)(const void *)data, rows * w->cols);
    return panel;
}

/* y: [n, ldy] (= or +=) x: [n, ldx] times panel: [rows, ldp] transposed. */
static void multiply_panel(const float *x, size_t ldx, size_t n, const float *panel, size_t ldp, size_t rows,
                           size_t cols, float *y, size_t ldy, bool add) {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)n, (blasint)rows, (blasint)cols, 1.0F, x,
                (blasint)ldx, panel, (blasint)ldp, add ? 1.0F : 0.0F, y, (blasint)ldy);
}

static void multiply_block(void *ctx, size_t begin, size_t end, int thread) {
    const linear_run *run = ctx;
    float *panel = run->f->work[thread].data;
    for (size_t task = begin; task < end; task++) {
        size_t within = 0;
        const tq_linear_job *job = job_of(run, task, &within);
        size_t cols = job->w->cols, height = panel_rows(job->w->rows, cols), panels = ceil_div(job->w->rows, height);
        size_t r0 = within % panels * height, i0 = within / panels * BLOCK_INPUTS;
        size_t rows = job->w->rows - r0 < height ? job->w->rows - r0 : height;
        size_t n = run->n - i0 < BLOCK_INPUTS ? run->n - i0 : BLOCK_INPUTS;
        float *y = job->y + i0 * job->ldy + r0;
        if (job->q) {
            size_t ld = round_up(cols, TQ_BLOCK);
            for (size_t s = 0; s < tq_qmatrix_stages(job->q); s++) {
                const tq_rotated *slot = slot_of(run->f, tq_qmatrix_rotation(job->q, s));
                tq_qmatrix_decode_rows(job->q, s, r0, rows, panel, ld);
                multiply_panel(slot->x.data + i0 * ld, ld, n, panel, ld, rows, cols, y, job->ldy, job->add || s);
            }
        } else {
            const float *w = stored_panel(job->w, r0, rows, panel);
            multiply_panel(run->x + i0 * cols, cols, n, w, cols, rows, cols, y, job->ldy, job->add);
        }
        for (size_t i = 0; job->bias && i < n; i++)
            tq_k()->axpy(y + i * job->ldy, 1.0F, job->bias + r0, rows);
    }
}

static int show_inputs(const linear_run *run, tq_err *err) {
    size_t matrices[TQ_LINEAR_JOBS], count = 0;
    for (size_t j = 0; j < run->count; j++)
        if (run->jobs[j].matrix != SIZE_MAX) matrices[count++] = run->jobs[j].matrix;
    return count ? run->f->observe(run->f->observe_ctx, matrices, count, run->x, run->n, err) : TQ_OK;
}

int tq_linear_run(tq_forward *f, const tq_linear_job *jobs, size_t count, const float *x, size_t n, tq_err *err) {
    linear_run run = {.f = f, .jobs = jobs, .count = count, .x = x, .n = n};
    int rc = f->observe ? show_inputs(&run, err) : TQ_OK;
    if (rc == TQ_OK) rc = rotate_inputs(&run, err);
    if (rc != TQ_OK) return rc;
    size_t panel = 0;
    for (size_t j = 0; j < count; j++) {
        size_t rows = jobs[j].w->rows, cols = jobs[j].w->cols, height = panel_rows(rows, cols);
        size_t tasks = n == 1 ? ceil_div(rows, VECTOR_ROWS) : ceil_div(rows, height) * ceil_div(n, BLOCK_INPUTS);
        size_t floats = height * round_up(cols, TQ_BLOCK);
        run.first[j + 1] = run.first[j] + tasks;
        if (floats > panel) panel = floats;
    }
    if (n > 1) rc = tq_forward_work(f, panel, err);
    if (rc != TQ_OK) return rc;
    tq_forward_parallel(f, run.first[count], 1, n == 1 ? multiply_vector : multiply_block, &run);
    return TQ_OK;
}

tq_linear_job tq_linear_role(const tq_forward *f, tq_variant q, const struct tq_block_weights *w, tq_role role,
                             float *y, size_t ldy, bool add) {
    size_t i = w->matrix[role];
    const tq_matrix *m = tq_model_matrix(f->model, i);
    const tq_qmatrix *packed = q && q[i] ? q[i] : m->packed;
    return (tq_linear_job){.w = &m->w, .q = packed, .bias = m->bias, .y = y, .ldy = ldy, .matrix = i, .add = add};
}

tq_linear_job tq_linear_plain(const tq_matrix_view *w, float *y) {
    return (tq_linear_job){.w = w, .y = y, .ldy = w->rows, .matrix = SIZE_MAX};
}
