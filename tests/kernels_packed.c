/* kernels_packed.c - tests of packing, of whole tiles, and of packed matrices times vectors. All to the bit. */
#include "tests/kernels_tests.h"
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { BLOCKS_MAX = 24, TILES_MAX = 5 };

static const struct {
    int code_bits, fine_bits, states;
} configs[] = {{4, 0, 0}, {4, 2, 0}, {4, 4, 0}, {2, 0, 0}, {4, 0, 16}, {4, 0, 256}};

/* The layout as kernels.h words it. */
static unsigned code_at(const uint8_t *packed, size_t row, size_t col, int bits) {
    const uint8_t *block = packed + col / TQ_BLOCK * 64 * (size_t)bits;
    size_t in_block = col % TQ_BLOCK, c = in_block % 4;
    if (bits == 4) {
        size_t j = in_block / 8;
        uint8_t byte = block[64 * j + 4 * row + c];
        return in_block % 8 < 4 ? byte & 15 : byte >> 4;
    }
    size_t j = in_block / 16, part = in_block % 16 / 4;
    return block[64 * j + 4 * row + c] >> (2 * part) & 3;
}

static void pack_case(kt_context *c, size_t blocks, int bits, size_t extra, int placement) {
    size_t stride = blocks * TQ_BLOCK + extra, bytes = blocks * 64 * (size_t)bits;
    size_t code_bytes = blocks ? 15 * stride + blocks * TQ_BLOCK : 0;
    kt_guarded codes, packed, back;
    kt_guarded_new(&codes, code_bytes);
    kt_guarded_new(&packed, bytes);
    kt_guarded_new(&back, code_bytes);
    uint8_t *in = kt_place(&codes, code_bytes, 1, placement), *dst = kt_place(&packed, bytes, 1, placement);
    uint8_t *out = kt_place(&back, code_bytes, 1, placement);
    kt_fill_bytes(&c->random, in, code_bytes, (1u << bits) - 1);
    memset(out, 0xee, code_bytes);
    c->k->pack(dst, in, stride, blocks, bits);
    c->k->unpack(out, stride, dst, blocks, bits);
    for (size_t row = 0; row < TQ_TILE_ROWS; row++) {
        for (size_t col = 0; col < blocks * TQ_BLOCK; col++) {
            assert_int_equal(code_at(dst, row, col, bits), in[row * stride + col]);
            assert_int_equal(out[row * stride + col], in[row * stride + col]);
        }
        for (size_t col = blocks * TQ_BLOCK; col < stride && row * stride + col < code_bytes; col++)
            assert_int_equal(out[row * stride + col], 0xee); /* between the rows nothing is written */
    }
    kt_check(&packed);
    kt_check(&back);
    kt_guarded_free(&codes);
    kt_guarded_free(&packed);
    kt_guarded_free(&back);
}

static void test_pack(kt_context *c) {
    for (size_t blocks = 0; blocks <= 9; blocks++) {
        for (size_t extra = 0; extra <= 37; extra += 37) {
            for (int placement = 0; placement < KT_PLACEMENTS; placement++) {
                pack_case(c, blocks, 4, extra, placement);
                pack_case(c, blocks, 2, extra, placement);
            }
        }
    }
}

static int level_at(const tq_packed *p, size_t tile, size_t row, size_t col) {
    unsigned n = code_at(p->codes + tile * p->blocks * 64 * (size_t)p->code_bits, row, col, p->code_bits);
    if (p->trellis) {
        unsigned before[2] = {0, 0};
        for (size_t i = 0; i < 2; i++)
            before[i] = code_at(p->codes + (tile + 2 * p->tiles - 1 - i) % p->tiles * p->blocks * 256, row, col, 4);
        return p->levels->a[n] + p->levels->v[n] * (p->levels->u[before[0]] + p->levels->t[before[1]]);
    }
    if (!p->fine_bits) return p->levels->a[n];
    unsigned r = code_at(p->fine + tile * p->blocks * 64 * (size_t)p->fine_bits, row, col, p->fine_bits);
    return p->levels->a[n] + p->levels->v[n] * p->levels->fine[n == 0 || n == 15][r];
}

static void decode_case(kt_context *c, const kt_matrix *m, size_t ld) {
    const tq_packed *p = &m->packed;
    size_t cols = p->blocks * TQ_BLOCK, floats = p->blocks ? 15 * ld + cols : 0;
    kt_guarded got, want;
    kt_guarded_new(&got, floats * sizeof(float));
    kt_guarded_new(&want, floats * sizeof(float));
    for (size_t tile = 0; tile < m->tiles; tile++) {
        float *out = kt_place(&got, floats * sizeof(float), sizeof(float), (int)kt_below(&c->random, KT_PLACEMENTS));
        float *ref = kt_place(&want, floats * sizeof(float), sizeof(float), KT_AT_END);
        c->k->decode_tile(out, ld, p, tile);
        c->s->decode_tile(ref, ld, p, tile);
        if (floats) assert_memory_equal(out, ref, floats * sizeof(float)); /* the pattern between the rows included */
        kt_check(&got);
        for (size_t i = 0; i < TQ_TILE_ROWS * cols; i++) {
            size_t row = i / cols, col = i % cols, group = col / TQ_BLOCK / p->group_blocks;
            float scale;
            c->s->f16_to_f32(&scale, p->scales + (tile * m->groups + group) * TQ_TILE_ROWS + row, 1);
            double weight = (double)p->scale_mul * scale * p->levels->step * level_at(p, tile, row, col);
            assert_true(fabs(out[row * ld + col] - weight) <= 3 * (double)FLT_EPSILON * fabs(weight));
        }
    }
    kt_guarded_free(&got);
    kt_guarded_free(&want);
}

void kt_each_matrix(kt_context *c, void (*body)(kt_context *c, const kt_matrix *m)) {
    static const size_t groups[] = {1, 2, 4, 5, 16, 1000};
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        for (size_t blocks = 0; blocks <= BLOCKS_MAX; blocks = blocks < 6 ? blocks + 1 : blocks * 2) {
            for (size_t g = 0; g < sizeof groups / sizeof *groups; g++) {
                kt_matrix m;
                int extreme = kt_below(&c->random, 3) == 0;
                kt_matrix_new(&m, &c->random, configs[i].code_bits, configs[i].fine_bits,
                              1 + kt_below(&c->random, TILES_MAX), blocks, groups[g], extreme);
                if (configs[i].states) kt_matrix_trellis(&m, &c->random, configs[i].states > 16, extreme);
                body(c, &m);
                kt_matrix_free(&m);
            }
        }
    }
}

static void decode_body(kt_context *c, const kt_matrix *m) {
    decode_case(c, m, m->packed.blocks * TQ_BLOCK);
    decode_case(c, m, m->packed.blocks * TQ_BLOCK + 5);
}

static void test_decode_tile(kt_context *c) {
    kt_each_matrix(c, decode_body);
}

/* ---- activations ---- */

static void same_vector(const tq_xq *a, const tq_xq *b, size_t blocks) {
    assert_memory_equal(a->hi, b->hi, blocks * TQ_BLOCK);
    assert_memory_equal(a->lo, b->lo, blocks * TQ_BLOCK);
    assert_memory_equal(a->wide, b->wide, blocks * TQ_BLOCK * sizeof *a->wide);
    kt_same_floats(a->scale, b->scale, blocks, "x scale");
    assert_memory_equal(a->sum, b->sum, blocks * 2 * sizeof(int32_t));
}

/* The promises of tq_xq. */
static void check_vector(const tq_xq *q, const float *x, size_t blocks) {
    static const size_t wide_place[] = {0, 2, 1, 3};
    for (size_t b = 0; b < blocks; b++) {
        int finite = 1, sums[2] = {0, 0};
        for (size_t i = b * TQ_BLOCK; i < (b + 1) * TQ_BLOCK; i++) {
            int value = 128 * q->hi[i] + q->lo[i];
            finite &= isfinite(x[i]) != 0;
            assert_int_equal(q->wide[i / 4 * 4 + wide_place[i % 4]], value);
            assert_true(abs(value) <= 8064 && abs(q->hi[i]) <= 63 && q->lo[i] >= -64 && q->lo[i] <= 63);
            sums[0] += q->hi[i];
            sums[1] += q->lo[i];
        }
        assert_int_equal(q->sum[2 * b], sums[0]);
        assert_int_equal(q->sum[2 * b + 1], sums[1]);
        assert_int_equal(!isnan(q->scale[b]), finite);
        for (size_t i = b * TQ_BLOCK; finite && i < (b + 1) * TQ_BLOCK; i++) {
            double error = fabs(x[i] - (double)q->scale[b] * (128 * q->hi[i] + q->lo[i]));
            double ulps = 2 * (double)FLT_EPSILON * fabs((double)x[i]);
            assert_true(error <= 0.5 * (double)q->scale[b] + ulps + 1e-30);
        }
    }
}

static void test_quantize_x(kt_context *c) {
    kt_guarded in;
    kt_guarded_new(&in, 33 * TQ_BLOCK * sizeof(float));
    for (size_t blocks = 0; blocks <= 33; blocks++) {
        for (int kind = 0; kind < 4; kind++) {
            kt_vector got, want;
            size_t n = blocks * TQ_BLOCK;
            float *x = kt_place(&in, n * sizeof *x, sizeof *x, (int)kt_below(&c->random, KT_PLACEMENTS));
            kt_vector_new(&got, blocks);
            kt_vector_new(&want, blocks);
            kt_fill_floats(&c->random, x, n, kind > 0, kind > 1);
            for (size_t i = 0; kind == 3 && i < n; i++)
                x[i] = kt_below(&c->random, 2) ? x[i] * 1e-35f : 0;
            c->k->quantize_x(&got.xq, x, blocks);
            c->s->quantize_x(&want.xq, x, blocks);
            same_vector(&got.xq, &want.xq, blocks);
            check_vector(&got.xq, x, blocks);
            tq_xq narrow = got.xq;
            narrow.wide = NULL;
            memset(narrow.hi, 99, n);
            c->k->quantize_x(&narrow, x, blocks);
            same_vector(&got.xq, &want.xq, blocks);
            kt_vector_check(&got);
            kt_vector_free(&got);
            kt_vector_free(&want);
        }
    }
    kt_guarded_free(&in);
}

/* kind 0: normal, 1: all at the limit with one sign (the largest sums), 2: with NaN in one block. */
static void make_vector(kt_context *c, kt_vector *v, size_t blocks, int kind) {
    size_t n = blocks * TQ_BLOCK;
    float x[(BLOCKS_MAX + 1) * TQ_BLOCK];
    kt_vector_new(v, blocks);
    kt_fill_floats(&c->random, x, n, 0, 0);
    for (size_t i = 0; kind == 1 && i < n; i++)
        x[i] = -3;
    if (kind == 2 && n) x[kt_below(&c->random, n)] = NAN;
    c->s->quantize_x(&v->xq, x, blocks);
    if (kind != 1 || kt_below(&c->random, 2)) return;
    for (size_t b = 0; b < blocks; b++) { /* the low part at its limit too: 128 * 62 - 64 */
        memset(v->xq.hi + b * TQ_BLOCK, 62, TQ_BLOCK);
        memset(v->xq.lo + b * TQ_BLOCK, -64, TQ_BLOCK);
        v->xq.sum[2 * b] = 62 * TQ_BLOCK;
        v->xq.sum[2 * b + 1] = -64 * TQ_BLOCK;
        for (size_t i = b * TQ_BLOCK; i < (b + 1) * TQ_BLOCK; i++)
            v->xq.wide[i] = 128 * 62 - 64;
    }
}

/* The reference against its definition in double, with the vector as it was rounded. */
static void check_product(kt_context *c, const kt_matrix *m, const tq_xq *x, const float *y) {
    size_t cols = m->packed.blocks * TQ_BLOCK;
    float weights[TQ_TILE_ROWS * BLOCKS_MAX * TQ_BLOCK];
    for (size_t tile = 0; tile < m->tiles; tile++) {
        c->s->decode_tile(weights, cols, &m->packed, tile);
        for (size_t row = 0; row < TQ_TILE_ROWS; row++) {
            double sum = 0, sum_abs = 0;
            for (size_t i = 0; i < cols; i++) {
                double xi = (double)x->scale[i / TQ_BLOCK] * (128 * x->hi[i] + x->lo[i]);
                sum += weights[row * cols + i] * xi;
                sum_abs += fabs(weights[row * cols + i] * xi);
            }
            double got = y[tile * TQ_TILE_ROWS + row];
            /* fp32 rounding of the weights (3), of a block's sum (2), of at most 24 blocks and their groups (48) */
            if (!isnan(sum)) assert_true(fabs(got - sum) <= 53 * (double)FLT_EPSILON / 2 * sum_abs);
            if (isnan(sum)) assert_true(isnan(got));
        }
    }
}

static void matvec_body(kt_context *c, const kt_matrix *m) {
    kt_guarded got, want;
    size_t rows = m->tiles * TQ_TILE_ROWS;
    kt_guarded_new(&got, rows * sizeof(float));
    kt_guarded_new(&want, rows * sizeof(float));
    for (int kind = 0; kind < 3; kind++) {
        kt_vector v;
        make_vector(c, &v, m->packed.blocks, kind);
        float *y = kt_place(&got, rows * sizeof *y, sizeof *y, (int)kt_below(&c->random, KT_PLACEMENTS));
        float *ref = kt_place(&want, rows * sizeof *ref, sizeof *ref, KT_AT_END);
        c->k->matvec(y, &m->packed, &v.xq, 0, m->tiles);
        c->s->matvec(ref, &m->packed, &v.xq, 0, m->tiles);
        kt_same_floats(y, ref, rows, "matvec");
        check_product(c, m, &v.xq, y);
        kt_check(&got);
        /* A range of tiles gives what the whole gave. */
        size_t first = kt_below(&c->random, m->tiles);
        float *part = kt_place(&got, (rows - 16 * first) * sizeof *part, sizeof *part, KT_AT_END);
        c->k->matvec(part, &m->packed, &v.xq, first, m->tiles - first);
        kt_same_floats(part, ref + 16 * first, rows - 16 * first, "matvec of some tiles");
        c->k->matvec(part, &m->packed, &v.xq, first, 0);
        kt_check(&got);
        kt_vector_check(&v);
        kt_vector_free(&v);
    }
    kt_guarded_free(&got);
    kt_guarded_free(&want);
}

static void test_matvec(kt_context *c) {
    kt_each_matrix(c, matvec_body);
}

const kt_test kt_packed_tests[] = {{"pack and unpack", test_pack},
                                   {"decode_tile", test_decode_tile},
                                   {"quantize_x", test_quantize_x},
                                   {"matvec", test_matvec},
                                   {NULL, NULL}};
