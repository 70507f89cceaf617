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

static void fill_bf16(kt_context *c, uint16_t *out, size_t n) {
    for (size_t i = 0; i < n; i++) {
        float f = kt_normal(&c->random);
        c->s->f32_to_bf16(out + i, &f, 1);
    }
}

static void gemm_case(kt_context *c, gemm_shape g, int add) {
    kt_guarded weights, inputs, outputs;
    size_t nw = g.pairs ? (g.pairs - 1) * g.ldw + 2 * ((g.rows + 15) / 16 * 16) : 0;
    size_t nx = g.n ? (g.n - 1) * g.ldx + 2 * g.pairs : 0, ny = g.n ? (g.n - 1) * g.ldy + g.rows : 0;
    kt_guarded_new(&weights, nw * 2);
    kt_guarded_new(&inputs, nx * 2);
    kt_guarded_new(&outputs, ny * 4);
    uint16_t *w = kt_place(&weights, nw * 2, 2, (int)kt_below(&c->random, KT_PLACEMENTS));
    uint16_t *x = kt_place(&inputs, nx * 2, 2, (int)kt_below(&c->random, KT_PLACEMENTS));
    float *y = kt_place(&outputs, ny * 4, 4, (int)kt_below(&c->random, KT_PLACEMENTS));
    fill_bf16(c, w, nw);
    fill_bf16(c, x, nx);
    for (size_t i = 0; i < ny; i++)
        y[i] = 0.5F;
    c->k->gemm_bf16(y, g.ldy, w, g.ldw, g.rows, x, g.ldx, g.n, g.pairs, add);
    for (size_t i = 0; i < ny; i++) {
        size_t row = i % g.ldy;
        double size, want = row < g.rows ? dot_pairs(&g, w, x, row, i / g.ldy, &size) + (add ? 0.5 : 0) : 0.5;
        if (row >= g.rows)
            assert_true(y[i] == 0.5F); /* between the rows nothing is written */
        else                           /* one rounding for each product and for each sum, at worst */
            assert_true(fabs(y[i] - want) <= (4 * (double)g.pairs + 2) * (double)FLT_EPSILON / 2 * (size + 0.5));
    }
    float *alone = calloc(g.rows + 1, sizeof *alone); /* an input gives the same alone and among others */
    for (size_t i = 0; i < g.n && !add; i++) {
        c->k->gemm_bf16(alone, g.ldy, w, g.ldw, g.rows, x + i * g.ldx, g.ldx, 1, g.pairs, 0);
        kt_same_floats(alone, y + i * g.ldy, g.rows, "gemm_bf16 of one input");
    }
    free(alone);
    kt_check(&outputs);
    kt_guarded_free(&weights);
    kt_guarded_free(&inputs);
    kt_guarded_free(&outputs);
}

static void test_gemm(kt_context *c) {
    for (size_t rows = 1; rows <= 130; rows += rows < 20 ? 1 : 11) {
        for (size_t n = 0; n <= 14; n += 1 + n / 3) {
            for (size_t pairs = 0; pairs <= 48; pairs = pairs * 2 + 1) {
                size_t padded = 2 * ((rows + 15) / 16 * 16);
                gemm_shape g = {.rows = rows, .n = n, .pairs = pairs, .ldw = padded + 2 * kt_below(&c->random, 9)};
                g.ldx = 2 * pairs + kt_below(&c->random, 5) + !pairs;
                g.ldy = rows + kt_below(&c->random, 5);
                gemm_case(c, g, (int)kt_below(&c->random, 2));
            }
        }
    }
}

const kt_test kt_gemm_tests[] = {
    {"decode_pairs", test_decode_pairs}, {"gather_pairs", test_gather_pairs}, {"gemm_bf16", test_gemm}, {NULL, NULL}};
