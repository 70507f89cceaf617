/* linear.c - see linear.h. Work is cut into pieces by shape alone. */
#include "model/linear.h"

#include <cblas.h>
#include <string.h>

#include "kernels/kernels.h"

/* A task of one vector is whole tiles of about so many bytes, which are read in half a microsecond: threads wait for
 * each other as long as the last task takes. Tasks that follow each other are multiplied together, up to VECTOR_ROWS.
 */
#define VECTOR_BYTES ((size_t)16 << 10)
#define VECTOR_TASK_ROWS 64
#define VECTOR_ROWS 256
/* What a waiting thread asks for at most: it must stay in its second-level cache. */
#define ASKED_BYTES ((size_t)256 << 10)
/* Rows of a matrix that is not flat, converted together: of one that is gathered at most so many, of others what stays
 * in the first-level cache with the input. */
#define GATHERED_ROWS 16
#define DECODED_FLOATS ((size_t)4096)
/* How far ahead of them the next bytes are asked for: the machine's own prefetcher stops at the end of a page. */
#define DECODED_AHEAD ((size_t)8 << 10)
/* Inputs that one task multiplies with one panel of rows. */
#define BLOCK_INPUTS 512
/* Rows of a bf16 panel: with 3072 columns it leaves half of a second-level cache of 1 MiB to the inputs. */
#define HALF_ROWS 64
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
    bool vector;                      /* one input, by matrix-vector products */
    bool half;                        /* inputs and weights as bf16 */
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

static size_t vector_rows(const tq_linear_job *job) {
    size_t bytes = job->q ? tq_qmatrix_bytes(job->q) : tq_matrix_bytes(job->w);
    size_t fit = VECTOR_BYTES / (bytes / job->w->rows + 1) / TQ_TILE_ROWS * TQ_TILE_ROWS;
    bool trellis = job->q && tq_qmatrix_packed(job->q, 0)->trellis; /* looks at the tiles before its first, too */
    if (trellis || fit > VECTOR_TASK_ROWS) return VECTOR_TASK_ROWS;
    return fit < TQ_TILE_ROWS ? TQ_TILE_ROWS : fit;
}

static size_t task_rows(const linear_run *run, const tq_linear_job *job) {
    if (run->vector) return vector_rows(job);
    return run->half ? HALF_ROWS : panel_rows(job->w->rows, job->w->cols);
}

/* Inputs as bf16: [n, ld], zeros past their columns. */
static uint16_t *half_row(const tq_buffer *b, size_t i, size_t ld) {
    return (uint16_t *)(void *)b->data + i * ld;
}

static tq_rotated *slot_of(tq_forward *f, const tq_rotation *r) {
    for (size_t i = 0; i < TQ_ROTATED_SLOTS; i++)
        if (f->rotated[i].rotation == r) return &f->rotated[i];
    return NULL;
}

static void store_half(uint16_t *out, const float *x, size_t cols, size_t ld) {
    tq_k()->f32_to_bf16(out, x, cols);
    memset(out + cols, 0, (ld - cols) * sizeof *out);
}

static void halve_some(void *ctx, size_t begin, size_t end, int thread) {
    const linear_run *run = ctx;
    size_t cols = run->jobs[0].w->cols, ld = round_up(cols, TQ_BLOCK);
    (void)thread;
    for (size_t i = begin; i < end; i++)
        store_half(half_row(&run->f->half, i, ld), run->x + i * cols, cols, ld);
}

static void rotate_some(void *ctx, size_t begin, size_t end, int thread) {
    const linear_run *run = ctx;
    const tq_rotation *r = run->rotated->rotation;
    size_t cols = tq_rotation_cols(r), ld = round_up(cols, TQ_BLOCK);
    float *scratch = run->f->work[thread].data;
    for (size_t i = begin; i < end; i++) {
        float *y = run->half ? scratch + tq_rotation_scratch(r) : run->rotated->x.data + i * ld;
        tq_rotation_apply(r, y, run->x + i * cols, scratch);
        if (run->half)
            store_half(half_row(&run->rotated->half, i, ld), y, cols, ld);
        else
            memset(y + cols, 0, (ld - cols) * sizeof *y);
    }
}

static bool any_trellis(const linear_run *run) {
    for (size_t j = 0; j < run->count; j++) {
        const tq_qmatrix *q = run->jobs[j].q;
        for (size_t s = 0; q && s < tq_qmatrix_stages(q); s++)
            if (tq_qmatrix_packed(q, s)->trellis) return true;
    }
    return false;
}

/* Carves the integer form of one vector out of the slot's buffer. */
static int slot_integers(tq_rotated *slot, size_t blocks, bool wide, tq_err *err) {
    size_t width = blocks * TQ_BLOCK;
    int rc = tq_buffer_need(&slot->integers, 4 * width / sizeof(float) + 3 * blocks, err);
    if (rc != TQ_OK) return rc;
    slot->xq.scale = slot->integers.data;
    slot->xq.sum = (int32_t *)(void *)(slot->xq.scale + blocks);
    slot->xq.hi = (int8_t *)(slot->xq.sum + 2 * blocks);
    slot->xq.lo = slot->xq.hi + width;
    slot->xq.wide = wide ? (int16_t *)(void *)(slot->xq.lo + width) : NULL;
    return TQ_OK;
}

static int rotate_for(linear_run *run, tq_rotated *slot, const tq_rotation *r, tq_err *err) {
    size_t ld = round_up(tq_rotation_cols(r), TQ_BLOCK);
    slot->rotation = r;
    int rc = run->half ? tq_buffer_need(&slot->half, run->n * ld / 2, err) : tq_buffer_need(&slot->x, run->n * ld, err);
    if (rc == TQ_OK && run->vector) rc = slot_integers(slot, ld / TQ_BLOCK, any_trellis(run), err);
    if (rc == TQ_OK) rc = tq_forward_work(run->f, tq_rotation_scratch(r) + ld, err);
    if (rc != TQ_OK) return rc;
    run->rotated = slot;
    tq_forward_parallel(run->f, run->n, ROTATE_INPUTS, rotate_some, run);
    if (!run->vector) return TQ_OK;
    tq_pool_ask(run->f->pool);
    tq_k()->quantize_x(&slot->xq, slot->x.data, ld / TQ_BLOCK);
    tq_pool_ask(run->f->pool);
    return TQ_OK;
}

/* Rotates the inputs once for each rotation that the jobs use. */
static int prepare_inputs(linear_run *run, tq_err *err) {
    tq_forward *f = run->f;
    size_t used = 0;
    bool stored = false;
    for (size_t i = 0; i < TQ_ROTATED_SLOTS; i++)
        f->rotated[i].rotation = NULL;
    for (size_t j = 0; j < run->count; j++) {
        const tq_linear_job *job = &run->jobs[j];
        stored = stored || (!job->q && run->half);
        for (size_t s = 0; job->q && s < tq_qmatrix_stages(job->q); s++) {
            const tq_rotation *r = tq_qmatrix_rotation(job->q, s);
            int rc = slot_of(f, r) ? TQ_OK : rotate_for(run, &f->rotated[used++], r, err);
            if (rc != TQ_OK) return rc;
        }
    }
    if (!stored) return TQ_OK;
    int rc = tq_buffer_need(&f->half, run->n * round_up(run->jobs[0].w->cols, TQ_BLOCK) / 2, err);
    if (rc == TQ_OK) tq_forward_parallel(f, run->n, ROTATE_INPUTS, halve_some, run);
    return rc;
}

static const tq_linear_job *job_of(const linear_run *run, size_t task, size_t *within) {
    size_t j = 0;
    while (task >= run->first[j + 1])
        j++;
    *within = task - run->first[j];
    return &run->jobs[j];
}

/* The product of rows that have to be made first, some at a time; some: [GATHERED_ROWS, cols]. */
static void made_product(const tq_matrix_view *w, size_t r0, size_t rows, const float *x, float *y, float *some) {
    size_t fit = DECODED_FLOATS / w->cols ? DECODED_FLOATS / w->cols : 1;
    size_t most = w->transposed || fit > GATHERED_ROWS ? GATHERED_ROWS : fit, bytes = tq_matrix_bytes(w) / w->rows;
    for (size_t r = 0, n; r < rows; r += n) {
        n = rows - r < most ? rows - r : most;
        if (!w->transposed) tq_prefetch((const char *)w->data + (r0 + r) * bytes + DECODED_AHEAD, n * bytes);
        tq_matrix_rows(w, r0 + r, n, some);
        tq_k()->matvec_f32(y + r, some, x, n, w->cols);
    }
}

/* y[0..rows) of a matrix as stored, from row r0. some: scratch of made_product. */
static void stored_product(const tq_matrix_view *w, size_t r0, size_t rows, const float *x, float *y, float *some) {
    const tq_kernels *k = tq_k();
    if (!tq_matrix_is_flat(w)) {
        made_product(w, r0, rows, x, y, some);
        return;
    }
    const char *data = (const char *)w->data + r0 * w->cols * tq_dtype_size(w->dtype);
    if (w->dtype == TQ_BF16)
        k->matvec_bf16(y, (const uint16_t *)(const void *)data, x, rows, w->cols);
    else if (w->dtype == TQ_F16)
        k->matvec_f16(y, (const uint16_t *)(const void *)data, x, rows, w->cols);
    else
        k->matvec_f32(y, (const float *)(const void *)data, x, rows, w->cols);
}

/* y[0..rows) of a packed matrix, rows at most VECTOR_ROWS: whole tiles, all stages. */
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

static void multiply_rows(const linear_run *run, const tq_linear_job *job, size_t r0, size_t rows, int thread) {
    float y[VECTOR_ROWS];
    if (job->q)
        packed_product(run->f, job->q, r0, rows, y);
    else
        stored_product(job->w, r0, rows, run->x, y, run->f->work[thread].data);
    if (job->bias) tq_k()->axpy(y, 1.0F, job->bias + r0, rows);
    if (job->add)
        tq_k()->axpy(job->y + r0, 1.0F, y, rows);
    else
        memcpy(job->y + r0, y, rows * sizeof *y);
}

/* Tasks of one job whose rows follow each other are multiplied together, as many as y takes. */
static void multiply_vector(void *ctx, size_t begin, size_t end, int thread) {
    const linear_run *run = ctx;
    for (size_t task = begin; task < end;) {
        size_t chunk = 0;
        const tq_linear_job *job = job_of(run, task, &chunk);
        size_t height = vector_rows(job), r0 = chunk * height, left = run->first[job - run->jobs + 1] - task;
        size_t take = end - task < VECTOR_ROWS / height ? end - task : VECTOR_ROWS / height;
        if (take > left) take = left;
        size_t rows = job->w->rows - r0 < take * height ? job->w->rows - r0 : take * height;
        multiply_rows(run, job, r0, rows, thread);
        task += take;
    }
}

/* Where the rows of a job lie from row r0 on, as far as a thread may ask for them. */
static size_t rows_at(const tq_linear_job *job, size_t r0, tq_ahead out[TQ_POOL_SPANS]) {
    size_t row = tq_matrix_bytes(job->w) / job->w->rows, rows = job->w->rows - r0;
    if (!job->q) {
        if (rows > ASKED_BYTES / row) rows = ASKED_BYTES / row;
        out[0] = (tq_ahead){(const char *)job->w->data + r0 * row, rows * row};
        return 1;
    }
    const tq_packed *p = tq_qmatrix_packed(job->q, 0);
    size_t tile = r0 / TQ_TILE_ROWS, tiles = p->tiles - tile, code = p->blocks * 64 * (size_t)p->code_bits;
    size_t fine = p->blocks * 64 * (size_t)p->fine_bits, groups = ceil_div(p->blocks, p->group_blocks);
    if (tiles > ASKED_BYTES / (code + fine)) tiles = ASKED_BYTES / (code + fine);
    out[0] = (tq_ahead){p->codes + tile * code, tiles * code};
    out[1] = (tq_ahead){p->scales + tile * groups * TQ_TILE_ROWS, tiles * groups * TQ_TILE_ROWS * sizeof *p->scales};
    out[2] = (tq_ahead){p->fine ? p->fine + tile * fine : NULL, tiles * fine};
    return 3;
}

/* While inputs are prepared all threads ask for the first rows that they will multiply. */
static void tell_rows(const linear_run *run) {
    size_t tasks = run->first[run->count];
    if (!run->jobs[0].q) return; /* nothing to prepare */
    for (int thread = 0; thread < tq_pool_threads(run->f->pool); thread++) {
        size_t chunk = 0, task = tq_pool_stream_begin(run->f->pool, tasks, thread);
        if (task == tasks) break;
        tq_ahead ahead[TQ_POOL_SPANS];
        const tq_linear_job *job = job_of(run, task, &chunk);
        size_t count = rows_at(job, chunk * vector_rows(job), ahead);
        tq_pool_expect(run->f->pool, thread, ahead, count);
    }
    tq_pool_ask(run->f->pool);
}

/* Rows r0 .. r0+rows-1 as stored, as floats: in the map itself or converted into `panel`. */
static const float *stored_panel(const tq_matrix_view *w, size_t r0, size_t rows, float *panel) {
    if (!tq_matrix_is_flat(w)) {
        tq_matrix_rows(w, r0, rows, panel);
        return panel;
    }
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

/* Rows r0 .. of a job times inputs i0 .. : what one task computes. */
typedef struct piece {
    const tq_linear_job *job;
    size_t r0, rows, i0, n;
    float *y;
    float *panel;
} piece;

static void multiply_floats(const linear_run *run, const piece *p) {
    const tq_linear_job *job = p->job;
    size_t cols = job->w->cols, ld = round_up(cols, TQ_BLOCK);
    if (!job->q) {
        const float *w = stored_panel(job->w, p->r0, p->rows, p->panel);
        multiply_panel(run->x + p->i0 * cols, cols, p->n, w, cols, p->rows, cols, p->y, job->ldy, job->add);
        return;
    }
    for (size_t s = 0; s < tq_qmatrix_stages(job->q); s++) {
        const tq_rotated *slot = slot_of(run->f, tq_qmatrix_rotation(job->q, s));
        tq_qmatrix_decode_rows(job->q, s, p->r0, p->rows, p->panel, ld);
        multiply_panel(slot->x.data + p->i0 * ld, ld, p->n, p->panel, ld, p->rows, cols, p->y, job->ldy, job->add || s);
    }
}

/* The same rows as bf16, in the file itself or rounded into `room`: [rows, 3 * cols / 2] floats. */
static const uint16_t *stored_halves(const tq_matrix_view *w, size_t r0, size_t rows, float *room) {
    if (w->dtype == TQ_BF16 && tq_matrix_is_flat(w)) return (const uint16_t *)w->data + r0 * w->cols;
    uint16_t *halves = (uint16_t *)(void *)(room + rows * w->cols);
    tq_k()->f32_to_bf16(halves, stored_panel(w, r0, rows, room), rows * w->cols);
    return halves;
}

/* The same in bf16: HALF_ROWS rows are unpacked into the second-level cache, in the order that gemm_bf16 reads. */
static void multiply_halves(const linear_run *run, const piece *p) {
    const tq_kernels *k = tq_k();
    const tq_linear_job *job = p->job;
    enum { LD = 2 * HALF_ROWS };
    uint16_t *panel = (uint16_t *)(void *)p->panel;
    size_t cols = job->w->cols, ld = round_up(cols, TQ_BLOCK), stages = job->q ? tq_qmatrix_stages(job->q) : 1;
    float *room = p->panel + ld * HALF_ROWS / 2; /* what bf16 leaves of the scratch of so many rows of floats */
    for (size_t s = 0; s < stages; s++) {
        const tq_buffer *x = job->q ? &slot_of(run->f, tq_qmatrix_rotation(job->q, s))->half : &run->f->half;
        for (size_t r = 0; r < p->rows; r += TQ_TILE_ROWS) {
            size_t row = p->r0 + r, rows = p->rows - r < TQ_TILE_ROWS ? p->rows - r : TQ_TILE_ROWS;
            if (job->q)
                k->decode_pairs(panel + 2 * r, LD, tq_qmatrix_packed(job->q, s), row / TQ_TILE_ROWS);
            else
                k->gather_pairs(panel + 2 * r, LD, stored_halves(job->w, row, rows, room), rows, cols);
        }
        k->gemm_bf16(p->y, job->ldy, panel, LD, p->rows, half_row(x, p->i0, ld), ld, p->n, ceil_div(cols, 2),
                     job->add || s);
    }
}

static void multiply_block(void *ctx, size_t begin, size_t end, int thread) {
    const linear_run *run = ctx;
    for (size_t task = begin; task < end; task++) {
        size_t within = 0;
        const tq_linear_job *job = job_of(run, task, &within);
        size_t height = task_rows(run, job), panels = ceil_div(job->w->rows, height);
        piece p = {.job = job, .r0 = within % panels * height, .i0 = within / panels * BLOCK_INPUTS};
        p.rows = job->w->rows - p.r0 < height ? job->w->rows - p.r0 : height;
        p.n = run->n - p.i0 < BLOCK_INPUTS ? run->n - p.i0 : BLOCK_INPUTS;
        p.y = job->y + p.i0 * job->ldy + p.r0;
        p.panel = run->f->work[thread].data;
        if (run->half)
            multiply_halves(run, &p);
        else
            multiply_floats(run, &p);
        for (size_t i = 0; job->bias && i < p.n; i++)
            tq_k()->axpy(p.y + i * job->ldy, 1.0F, job->bias + p.r0, p.rows);
    }
}

static int show_inputs(const linear_run *run, tq_err *err) {
    size_t matrices[TQ_LINEAR_JOBS], count = 0;
    for (size_t j = 0; j < run->count; j++)
        if (run->jobs[j].matrix != SIZE_MAX) matrices[count++] = run->jobs[j].matrix;
    return count ? run->f->observe(run->f->observe_ctx, matrices, count, run->x, run->n, err) : TQ_OK;
}

/* Numbers the tasks of all jobs; the floats of scratch that one takes. */
static size_t share_out(linear_run *run) {
    size_t panel = 0;
    for (size_t j = 0; j < run->count; j++) {
        const tq_matrix_view *w = run->jobs[j].w;
        size_t height = task_rows(run, &run->jobs[j]);
        size_t floats = (run->vector ? GATHERED_ROWS : height) * round_up(w->cols, TQ_BLOCK);
        run->first[j + 1] = run->first[j] + ceil_div(w->rows, height) * ceil_div(run->n, BLOCK_INPUTS);
        if (floats > panel) panel = floats;
    }
    return panel;
}

int tq_linear_run(tq_forward *f, const tq_linear_job *jobs, size_t count, const float *x, size_t n, tq_err *err) {
    linear_run run = {.f = f, .jobs = jobs, .count = count, .x = x, .n = n};
    run.vector = n == 1 && f->arithmetic != TQ_ARITHMETIC_EXACT;
    run.half = n > 1 && f->arithmetic == TQ_ARITHMETIC_FAST && tq_k()->gemm_bf16_pays;
    int rc = f->observe ? show_inputs(&run, err) : TQ_OK;
    double start = tq_now();
    size_t panel = share_out(&run);
    if (rc == TQ_OK && run.vector) tell_rows(&run);
    if (rc == TQ_OK) rc = prepare_inputs(&run, err);
    if (rc == TQ_OK) rc = tq_forward_work(f, panel, err);
    if (rc != TQ_OK) return rc;
    double prepared = tq_now();
    if (run.vector)
        tq_pool_stream(f->pool, run.first[count], multiply_vector, &run);
    else
        tq_forward_parallel(f, run.first[count], 1, multiply_block, &run);
    f->seconds[TQ_PART_ROTATION] += prepared - start;
    f->seconds[TQ_PART_MATRICES] += tq_now() - prepared;
    return TQ_OK;
}

tq_linear_job tq_linear_role(const tq_forward *f, tq_variant q, const struct tq_block_weights *w, tq_role role,
                             float *y, size_t ldy, bool add) {
    return tq_linear_matrix(f, q, w->matrix[role], y, ldy, add);
}

tq_linear_job tq_linear_matrix(const tq_forward *f, tq_variant q, size_t i, float *y, size_t ldy, bool add) {
    const tq_matrix *m = tq_model_matrix(f->model, i);
    const tq_qmatrix *packed = q && q[i] ? q[i] : m->packed;
    return (tq_linear_job){.w = &m->w, .q = packed, .bias = m->bias, .y = y, .ldy = ldy, .matrix = i, .add = add};
}

tq_linear_job tq_linear_plain(const tq_matrix_view *w, float *y) {
    return (tq_linear_job){.w = w, .y = y, .ldy = w->rows, .matrix = SIZE_MAX};
}
