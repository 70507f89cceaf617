/* scalar_gemm.c - the reference for products of bf16 weights with many bf16 inputs. */
#include "kernels/internal.h"

static uint16_t weight_code(float f) {
    uint32_t u = tq_f32_bits(f);
    return (u & 0x7f800000u) == 0 ? (uint16_t)(u >> 16 & 0x8000) : tq_bf16_code(f);
}

static void decode_pairs(uint16_t *out, size_t ld, const tq_packed *p, size_t tile) {
    for (size_t b = 0; b < p->blocks; b++) {
        float weights[TQ_TILE_ROWS][TQ_BLOCK];
        tq_block_weights_scalar(weights, p, tile, b);
        for (size_t row = 0; row < TQ_TILE_ROWS; row++)
            for (size_t col = 0; col < TQ_BLOCK; col++)
                out[(b * TQ_BLOCK + col) / 2 * ld + 2 * row + col % 2] = weight_code(weights[row][col]);
    }
}

static void gather_pairs(uint16_t *out, size_t ld, const uint16_t *w, size_t rows, size_t cols) {
    for (size_t c = 0; c < cols + cols % 2; c++)
        for (size_t r = 0; r < TQ_TILE_ROWS; r++)
            out[c / 2 * ld + 2 * r + c % 2] = r < rows && c < cols ? w[r * cols + c] : 0;
}

static void gemm_bf16(float *y, size_t ldy, const uint16_t *w, size_t ldw, size_t rows, const uint16_t *x, size_t ldx,
                      size_t n, size_t pairs, int add) {
    for (size_t i = 0; i < n; i++) {
        for (size_t r = 0; r < rows; r++) {
            float sum = 0;
            for (size_t c = 0; c < pairs; c++) {
                const uint16_t *pair = w + c * ldw + 2 * r;
                sum += tq_bf16_value(pair[0]) * tq_bf16_value(x[i * ldx + 2 * c]) +
                       tq_bf16_value(pair[1]) * tq_bf16_value(x[i * ldx + 2 * c + 1]);
            }
            y[i * ldy + r] = add ? y[i * ldy + r] + sum : sum;
        }
    }
}

void tq_kernels_fill_scalar_gemm(tq_kernels *k) {
    k->decode_pairs = decode_pairs;
    k->gather_pairs = gather_pairs;
    k->gemm_bf16 = gemm_bf16;
}
