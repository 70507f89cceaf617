/* kernels_gemm.c - tests of bf16 weights in pairs and of their products with many inputs. */
#include "tests/kernels_tests.h"
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* decode_pairs is decode_tile's weights, rounded, in another order. */
static void decode_body(kt_context *c, const kt_matrix *m) {
    const tq_packed *p = &m->packed;
    size_t cols = p->blocks * TQ_BLOCK, ld = 32 + 8 * kt_below(&c->random, 3);
    size_t bytes = cols ? ((cols / 2 - 1) * ld + 32) * 2 : 0;
    float *weights = calloc(TQ_TILE_ROWS * cols + 1, sizeof *weights);
    kt_guarded got;
    kt_guarded_new(&got, bytes);
    for (size_t tile = 0; tile < m->tiles; tile++) {
        uint16_t *out = kt_place(&got, bytes, 2, (int)kt_below(&c->random, KT_PLACEMENTS));
        memset(out, 0xee, bytes);
        c->k->decode_pairs(out, ld, p, tile);
        c->s->decode_tile(weights, cols, p, tile);
        for (size_t i = 0; i < TQ_TILE_ROWS * cols; i++) {
            size_t row = i / cols, col = i % cols;
            uint16_t want;
            float w = fabsf(weights[i]) < FLT_MIN ? copysignf(0, weights[i]) : weights[i];
            c->s->f32_to_bf16(&want, &w, 1);
            assert_int_equal(out[col / 2 * ld + 2 * row + col % 2], want);
        }
        for (size_t i = 0; i < bytes / 2; i++)
            if (i % ld >= 32) assert_int_equal(out[i], 0xeeee);
        kt_check(&got);
    }
    kt_guarded_free(&got);
    free(weights);
}

static void test_decode_pairs(kt_context *c) {
    kt_each_matrix(c, decode_body);
}

static void test_gather_pairs(kt_context *c) {
    kt_guarded in, got;
    kt_guarded_new(&in, 16 * 100 * 2);
    kt_guarded_new(&got, 50 * 40 * 2);
    for (size_t cols = 0; cols <= 99; cols++) {
        for (int round = 0; round < 4; round++) {
            size_t rows = round ? 1 + kt_below(&c->random, 16) : 16, ld = 32 + 4 * kt_below(&c->random, 3);
            size_t pairs = (cols + 1) / 2, bytes = pairs ? ((pairs - 1) * ld + 32) * 2 : 0;
            uint16_t *w = kt_place(&in, rows * cols * 2, 2, (int)kt_below(&c->random, KT_PLACEMENTS));
            uint16_t *out = kt_place(&got, bytes, 2, (int)kt_below(&c->random, KT_PLACEMENTS));
            kt_fill_bytes(&c->random, w, rows * cols * 2, 255);
            c->k->gather_pairs(out, ld, w, rows, cols);
            for (size_t i = 0; i < pairs * 32; i++) {
                size_t row = i % 32 / 2, col = i / 32 * 2 + i % 2;
                int want = row < rows && col < cols ? w[row * cols + col] : 0;
                assert_int_equal(out[i / 32 * ld + i % 32], want);
            }
            kt_check(&got);
        }
    }
    kt_guarded_free(&in);
    kt_guarded_free(&got);
}

typedef struct gemm_shape {
    size_t rows, n, pairs, ldw, ldx, ldy;
} gemm_shape;

/* The sum of the products in double, and of their magnitudes. */
static double dot_pairs(const gemm_shape *g, const uint16_t *w, const uint16_t *x, size_t row, size_t i, double *size) {
    double sum = 0;
    *size = 0;
    for (size_t j = 0; j < 2 * g->pairs; j++) {
        uint32_t a = (uint32_t)w[j / 2 * g->ldw + 2 * row + j % 2] << 16, b = (uint32_t)x[i * g->ldx + j] << 16;
        float fa, fb;
        memcpy(&fa, &a, sizeof fa);
        memcpy(&fb, &b, sizeof fb);
        sum += (double)fa * (double)fb;
        *size += fabs((double)fa * (double)fb);
    }
    return sum;
}

static void fill_bf16(kt_context *c, uint16_t *out, size_t n, float scale) {
    for (size_t i = 0; i < n; i++) {
        float f = scale * kt_normal(&c->random);
        c->s->f32_to_bf16(out + i, &f, 1);
    }
}

/* One rounding for each product and for each sum, at worst, and subnormals may count as zero. */
static double gemm_bound(const gemm_shape *g, double size) {
    return (4 * (double)g->pairs + 2) * (double)(FLT_EPSILON / 2 * size + FLT_MIN);
}

/* An input gives the same alone and among others, and rows the same without those before them. */
static void gemm_parts(kt_context *c, const gemm_shape *g, const float *y, const uint16_t *w, const uint16_t *x,
                       int add, float start) {
    float *alone = calloc(g->rows + 1, sizeof *alone);
    for (size_t i = 0; i < g->n; i++) {
        size_t skip = kt_below(&c->random, (g->rows + 15) / 16) * 16;
        for (size_t r = 0; r < g->rows; r++)
            alone[r] = start;
        c->k->gemm_bf16(alone, g->ldy, w + 2 * skip, g->ldw, g->rows - skip, x + i * g->ldx, g->ldx, 1, g->pairs, add);
        kt_same_floats(alone, y + i * g->ldy + skip, g->rows - skip, "gemm_bf16 of one input");
    }
    free(alone);
}

/* scale: of the weights; start: what y holds before. */
static void gemm_case(kt_context *c, gemm_shape g, int add, float scale, float start) {
    kt_guarded weights, inputs, outputs;
    size_t nw = g.pairs ? (g.pairs - 1) * g.ldw + 2 * ((g.rows + 15) / 16 * 16) : 0;
    size_t nx = g.n ? (g.n - 1) * g.ldx + 2 * g.pairs : 0, ny = g.n ? (g.n - 1) * g.ldy + g.rows : 0;
    kt_guarded_new(&weights, nw * 2);
    kt_guarded_new(&inputs, nx * 2);
    kt_guarded_new(&outputs, ny * 4);
    uint16_t *w = kt_place(&weights, nw * 2, 2, (int)kt_below(&c->random, KT_PLACEMENTS));
    uint16_t *x = kt_place(&inputs, nx * 2, 2, (int)kt_below(&c->random, KT_PLACEMENTS));
    float *y = kt_place(&outputs, ny * 4, 4, (int)kt_below(&c->random, KT_PLACEMENTS));
    fill_bf16(c, w, nw, scale);
    fill_bf16(c, x, nx, 1);
    for (size_t i = 0; i < ny; i++)
        y[i] = start;
    c->k->gemm_bf16(y, g.ldy, w, g.ldw, g.rows, x, g.ldx, g.n, g.pairs, add);
    for (size_t i = 0; i < ny; i++) {
        size_t row = i % g.ldy;
        if (row >= g.rows) {
            assert_true(y[i] == start); /* between the rows nothing is written */
            continue;
        }
        double size, want = dot_pairs(&g, w, x, row, i / g.ldy, &size) + (add ? (double)start : 0);
        assert_true(fabs(y[i] - want) <= gemm_bound(&g, size + fabs((double)start)));
    }
    gemm_parts(c, &g, y, w, x, add, start);
    kt_check(&outputs);
    kt_guarded_free(&weights);
    kt_guarded_free(&inputs);
    kt_guarded_free(&outputs);
}

static gemm_shape random_strides(kt_context *c, size_t rows, size_t n, size_t pairs) {
    gemm_shape g = {.rows = rows, .n = n, .pairs = pairs, .ldw = 2 * ((rows + 15) / 16 * 16)};
    g.ldw += 2 * kt_below(&c->random, 9);
    g.ldx = 2 * pairs + kt_below(&c->random, 5) + !pairs;
    g.ldy = rows + kt_below(&c->random, 5);
    return g;
}

static void test_gemm(kt_context *c) {
    for (size_t rows = 1; rows <= 130; rows += rows < 20 ? 1 : 11)
        for (size_t n = 0; n <= 14; n += 1 + n / 3)
            for (size_t pairs = 0; pairs <= 48; pairs = pairs * 2 + 1)
                gemm_case(c, random_strides(c, rows, n, pairs), (int)kt_below(&c->random, 2), 1, 0.5F);
}

/* Around whole tiles of rows, of inputs and of columns. */
static void test_gemm_edges(kt_context *c) {
    static const size_t edges[] = {1, 15, 16, 17, 31, 32, 33, 47, 48, 49, 64, 65};
    enum { EDGES = sizeof edges / sizeof *edges };
    for (size_t r = 0; r < EDGES; r++)
        for (size_t n = 0; n < EDGES; n++)
            for (size_t p = kt_below(&c->random, 3); p < EDGES; p += 3)
                gemm_case(c, random_strides(c, edges[r], edges[n], edges[p]), (int)kt_below(&c->random, 2), 1, 0.5F);
    for (size_t p = 0; p < 4; p++) /* inputs that a cache does not hold together */
        gemm_case(c, random_strides(c, 33, 97, 2045 + p), p % 2, 1, 0.5F);
}

/* Products and sums near the end of the normal numbers: what is lost is of that size. */
static void test_gemm_tiny(kt_context *c) {
    for (size_t pairs = 1; pairs <= 40; pairs += 3)
        for (int add = 0; add < 2; add++)
            gemm_case(c, random_strides(c, 18, 5, pairs), add, 64 * FLT_MIN, add ? FLT_MIN / 2 : 0.0F);
}

const kt_test kt_gemm_tests[] = {
    {"decode_pairs", test_decode_pairs},  {"gather_pairs", test_gather_pairs},      {"gemm_bf16", test_gemm},
    {"gemm_bf16 edges", test_gemm_edges}, {"gemm_bf16 subnormals", test_gemm_tiny}, {NULL, NULL}};
