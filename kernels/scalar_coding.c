/* scalar_coding.c - the reference for codes: finding them, packing them, and multiplying them by a vector.
 * Everything here has one defined result, to the bit, that every instruction set must reproduce. */
#include "kernels/internal.h"
#include <math.h>

static unsigned count_below(float z, const float *bounds, int count) {
    unsigned code = 0;
    for (int j = 0; j < count; j++)
        code += bounds[j] < z;
    return code;
}

static void encode(uint8_t *codes, const float *z, size_t n, const float *bounds, int count) {
    for (size_t i = 0; i < n; i++)
        codes[i] = (uint8_t)count_below(z[i], bounds, count);
}

static void encode_fine(uint8_t *fine, const uint8_t *codes, const float *z, size_t n, const tq_fine_search *s) {
    for (size_t i = 0; i < n; i++) {
        unsigned c = codes[i] & 15;
        float t = (z[i] - s->a[c]) * s->inv_v[c];
        fine[i] = (uint8_t)count_below(t, s->bounds[c == 0 || c == 15], s->count);
    }
}

static void levels(float *out, const uint8_t *codes, const uint8_t *fine, size_t n, const tq_levels *l) {
    for (size_t i = 0; i < n; i++) {
        unsigned c = codes[i] & 15;
        out[i] = (float)(fine ? tq_level(l, c, fine[i] & 15) : l->a[c]);
    }
}

static void moments(double sums[3], const float *z, const float *c, size_t n) {
    sums[0] = sums[1] = sums[2] = 0;
    for (size_t i = 0; i < n; i++) {
        sums[0] += (double)z[i] * c[i];
        sums[1] += (double)c[i] * c[i];
        sums[2] += (double)z[i] * z[i];
    }
}

static void encode_fit(uint8_t *codes, uint8_t *fine, double sums[3], const float *z, size_t n, const tq_coder *coder) {
    static const tq_kernels own = {.encode = encode, .encode_fine = encode_fine, .levels = levels, .moments = moments};
    tq_encode_fit_with(&own, codes, fine, sums, z, n, coder);
}

/* Where column `col` of a block lies in its packed form: byte 4 * row + offset, shifted left by shift. */
static size_t column_place(unsigned col, int bits, unsigned *shift) {
    unsigned per_chunk = bits == 4 ? 8 : 16;
    *shift = col % per_chunk / 4 * (unsigned)bits;
    return (size_t)64 * (col / per_chunk) + col % 4;
}

static void pack(uint8_t *dst, const uint8_t *codes, size_t stride, size_t blocks, int bits) {
    size_t block_bytes = 64 * (size_t)bits;
    memset(dst, 0, blocks * block_bytes);
    for (size_t b = 0; b < blocks; b++) {
        for (unsigned col = 0; col < TQ_BLOCK; col++) {
            unsigned shift;
            uint8_t *place = dst + b * block_bytes + column_place(col, bits, &shift);
            for (size_t row = 0; row < TQ_TILE_ROWS; row++) {
                unsigned code = codes[row * stride + b * TQ_BLOCK + col] & ((1u << bits) - 1);
                place[4 * row] |= (uint8_t)(code << shift);
            }
        }
    }
}

static void unpack(uint8_t *codes, size_t stride, const uint8_t *src, size_t blocks, int bits) {
    size_t block_bytes = 64 * (size_t)bits;
    for (size_t b = 0; b < blocks; b++) {
        for (unsigned col = 0; col < TQ_BLOCK; col++) {
            unsigned shift;
            const uint8_t *place = src + b * block_bytes + column_place(col, bits, &shift);
            for (size_t row = 0; row < TQ_TILE_ROWS; row++)
                codes[row * stride + b * TQ_BLOCK + col] = place[4 * row] >> shift & ((1u << bits) - 1);
        }
    }
}

/* The same of a trellis, with the codes of the two tiles before. */
static void trellis_levels_of(int out[TQ_TILE_ROWS][TQ_BLOCK], const tq_packed *p, size_t tile, size_t block,
                              const uint8_t *codes) {
    uint8_t before[2][TQ_TILE_ROWS * TQ_BLOCK];
    for (size_t i = 0; i < 2; i++)
        unpack(before[i], TQ_BLOCK, tq_trellis_codes(p, tile, i + 1, block), 1, 4);
    for (size_t i = 0; i < (size_t)TQ_TILE_ROWS * TQ_BLOCK; i++)
        out[i / TQ_BLOCK][i % TQ_BLOCK] = tq_trellis_level(p->levels, codes[i], before[0][i], before[1][i]);
}

/* The integer levels of one block of a tile, [16][32]. */
static void block_levels(int out[TQ_TILE_ROWS][TQ_BLOCK], const tq_packed *p, size_t tile, size_t block) {
    uint8_t codes[TQ_TILE_ROWS * TQ_BLOCK], fine[TQ_TILE_ROWS * TQ_BLOCK];
    size_t index = tile * p->blocks + block;
    unpack(codes, TQ_BLOCK, p->codes + index * 64 * (size_t)p->code_bits, 1, p->code_bits);
    if (p->fine_bits) unpack(fine, TQ_BLOCK, p->fine + index * 64 * (size_t)p->fine_bits, 1, p->fine_bits);
    if (p->trellis) {
        trellis_levels_of(out, p, tile, block, codes);
        return;
    }
    for (size_t row = 0; row < TQ_TILE_ROWS; row++) {
        for (size_t col = 0; col < TQ_BLOCK; col++) {
            size_t i = row * TQ_BLOCK + col;
            out[row][col] = p->fine_bits ? tq_level(p->levels, codes[i], fine[i]) : p->levels->a[codes[i]];
        }
    }
}

/* (scale_mul * step * scale) * level, rounded in this order. */
void tq_block_weights_scalar(float out[TQ_TILE_ROWS][TQ_BLOCK], const tq_packed *p, size_t tile, size_t block) {
    const uint16_t *scales = tq_tile_scales(p, tile) + block / p->group_blocks * TQ_TILE_ROWS;
    float mul = p->scale_mul * p->levels->step;
    int level[TQ_TILE_ROWS][TQ_BLOCK];
    block_levels(level, p, tile, block);
    for (size_t row = 0; row < TQ_TILE_ROWS; row++) {
        float scale = mul * tq_f16_value(scales[row]);
        for (size_t col = 0; col < TQ_BLOCK; col++)
            out[row][col] = scale * (float)level[row][col];
    }
}

void tq_decode_tile_scalar(float *out, size_t ld, const tq_packed *p, size_t tile) {
    for (size_t b = 0; b < p->blocks; b++) {
        float weights[TQ_TILE_ROWS][TQ_BLOCK];
        tq_block_weights_scalar(weights, p, tile, b);
        for (size_t row = 0; row < TQ_TILE_ROWS; row++)
            memcpy(out + row * ld + b * TQ_BLOCK, weights[row], sizeof weights[row]);
    }
}

/* A block with a value that is not finite gets scale NaN and zero codes, so that the product is NaN; a block whose
 * largest value is below TQ_XQ_TINY is zero. */
static void quantize_x(tq_xq *dst, const float *x, size_t blocks) {
    for (size_t b = 0; b < blocks; b++) {
        uint32_t max_bits = 0;
        for (size_t i = b * TQ_BLOCK; i < (b + 1) * TQ_BLOCK; i++) {
            uint32_t bits = tq_f32_bits(x[i]) & 0x7fffffffu;
            if (bits > max_bits) max_bits = bits;
        }
        float max = tq_bits_f32(max_bits);
        int finite = max_bits < 0x7f800000u, zero = !finite || max < TQ_XQ_TINY;
        float inv = zero ? 0 : TQ_XQ_MAX / max;
        int32_t sum_hi = 0, sum_lo = 0;
        for (size_t i = b * TQ_BLOCK; i < (b + 1) * TQ_BLOCK; i++) {
            int q = zero ? 0 : (int)lrintf(x[i] * inv);
            int hi = (q + 64) >> 7, lo = q - 128 * hi;
            dst->hi[i] = (int8_t)hi;
            dst->lo[i] = (int8_t)lo;
            if (dst->wide) dst->wide[tq_wide_place(i)] = (int16_t)q;
            sum_hi += hi;
            sum_lo += lo;
        }
        dst->scale[b] = zero ? (finite ? 0 : NAN) : max / TQ_XQ_MAX;
        dst->sum[2 * b] = sum_hi;
        dst->sum[2 * b + 1] = sum_lo;
    }
}

/* The order of rounding, the same for every instruction set:
 *   block:  f = fma(128, (float)sum_hi, (float)sum_lo), sums exact in int32;  group_sum = fma(f, x.scale, group_sum)
 *           of a trellis: f = (float)(128 sum_hi + sum_lo), exact in int32 up to there
 *   group:  y = fma(scale, group_sum, y)          tile:  y = y * (scale_mul * step) */
static void matvec_tile(float *y, const tq_packed *p, const tq_xq *x, size_t tile) {
    const uint16_t *scales = tq_tile_scales(p, tile);
    float group_sum[TQ_TILE_ROWS] = {0};
    memset(y, 0, TQ_TILE_ROWS * sizeof *y);
    for (size_t b = 0; b < p->blocks; b++) {
        int level[TQ_TILE_ROWS][TQ_BLOCK];
        int group_ends = (b + 1) % p->group_blocks == 0 || b + 1 == p->blocks;
        block_levels(level, p, tile, b);
        for (size_t row = 0; row < TQ_TILE_ROWS; row++) {
            int32_t hi = 0, lo = 0;
            for (size_t col = 0; col < TQ_BLOCK; col++) {
                hi += level[row][col] * x->hi[b * TQ_BLOCK + col];
                lo += level[row][col] * x->lo[b * TQ_BLOCK + col];
            }
            float f = p->trellis ? (float)(128 * hi + lo) : fmaf(128, (float)hi, (float)lo);
            group_sum[row] = fmaf(f, x->scale[b], group_sum[row]);
            if (!group_ends) continue;
            y[row] = fmaf(tq_f16_value(scales[b / p->group_blocks * TQ_TILE_ROWS + row]), group_sum[row], y[row]);
            group_sum[row] = 0;
        }
    }
    for (size_t row = 0; row < TQ_TILE_ROWS; row++)
        y[row] *= p->scale_mul * p->levels->step;
}

void tq_matvec_scalar(float *y, const tq_packed *p, const tq_xq *x, size_t tile0, size_t tiles) {
    for (size_t t = 0; t < tiles; t++)
        matvec_tile(y + t * TQ_TILE_ROWS, p, x, tile0 + t);
}

void tq_kernels_fill_scalar_coding(tq_kernels *k) {
    k->encode = encode;
    k->encode_fine = encode_fine;
    k->levels = levels;
    k->moments = moments;
    k->encode_fit = encode_fit;
    k->pack = pack;
    k->unpack = unpack;
    k->decode_tile = tq_decode_tile_scalar;
    k->quantize_x = quantize_x;
    k->matvec = tq_matvec_scalar;
    tq_kernels_fill_scalar_trellis(k);
}
