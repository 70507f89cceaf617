/* scalar_blocks.c - the reference for blocks of quantized weights to floats. Layouts: the GGUF specification and the
 * dequantizers of the `gguf` Python package 0.19, against which tests hold every bit.
 *
 * Sums and products are rounded in the order of the reference. */
#include "kernels/blocks.h"

const int8_t tq_block_uneven[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

static float half(const uint8_t *p) {
    return tq_f16_value(tq_block_u16(p));
}

/* ---- blocks of 32: a scale, perhaps an offset; low nibbles are the first half, high nibbles the second ---- */

enum { SMALL = 32, HALF = SMALL / 2 };

static void unpack_q4_0(float *out, const void *blocks, size_t n) {
    const uint8_t *p = blocks;
    for (; n > 0; n--, p += 18, out += SMALL) {
        float d = half(p);
        for (int j = 0; j < HALF; j++) {
            out[j] = d * (float)((p[2 + j] & 15) - 8);
            out[j + HALF] = d * (float)((p[2 + j] >> 4) - 8);
        }
    }
}

static void unpack_q4_1(float *out, const void *blocks, size_t n) {
    const uint8_t *p = blocks;
    for (; n > 0; n--, p += 20, out += SMALL) {
        float d = half(p), m = half(p + 2);
        for (int j = 0; j < HALF; j++) {
            out[j] = d * (float)(p[4 + j] & 15) + m;
            out[j + HALF] = d * (float)(p[4 + j] >> 4) + m;
        }
    }
}

/* The fifth bits of the 32 weights are one word. */
static int five_bits(const uint8_t *q, uint32_t high, int j) {
    int low = j < HALF ? q[j] & 15 : q[j - HALF] >> 4;
    return low | (int)(high >> j & 1) << 4;
}

static void unpack_q5_0(float *out, const void *blocks, size_t n) {
    const uint8_t *p = blocks;
    for (; n > 0; n--, p += 22, out += SMALL) {
        float d = half(p);
        uint32_t high = tq_block_u32(p + 2);
        for (int j = 0; j < SMALL; j++)
            out[j] = d * (float)(five_bits(p + 6, high, j) - 16);
    }
}

static void unpack_q5_1(float *out, const void *blocks, size_t n) {
    const uint8_t *p = blocks;
    for (; n > 0; n--, p += 24, out += SMALL) {
        float d = half(p), m = half(p + 2);
        uint32_t high = tq_block_u32(p + 4);
        for (int j = 0; j < SMALL; j++)
            out[j] = d * (float)five_bits(p + 8, high, j) + m;
    }
}

static void unpack_q8_0(float *out, const void *blocks, size_t n) {
    const uint8_t *p = blocks;
    for (; n > 0; n--, p += 34, out += SMALL) {
        float d = half(p);
        for (int j = 0; j < SMALL; j++)
            out[j] = d * (float)(int8_t)p[2 + j];
    }
}

static void put_uneven(float *out, const uint8_t *q, float d) {
    for (int j = 0; j < HALF; j++) {
        out[j] = d * (float)tq_block_uneven[q[j] & 15];
        out[j + HALF] = d * (float)tq_block_uneven[q[j] >> 4];
    }
}

static void unpack_iq4_nl(float *out, const void *blocks, size_t n) {
    const uint8_t *p = blocks;
    for (; n > 0; n--, p += 18, out += SMALL)
        put_uneven(out, p + 2, half(p));
}

/* ---- blocks of 256: sub-blocks of 16 or 32 with scales of their own ---- */

enum { LARGE = 256 };

/* scales [16]: scale low, offset high nibble; codes [64] of 2 bits; d, dmin */
static void unpack_q2_k(float *out, const void *blocks, size_t n) {
    const uint8_t *p = blocks;
    for (; n > 0; n--, p += 84, out += LARGE) {
        float d = half(p + 80), dmin = half(p + 82);
        for (size_t s = 0; s < 16; s++) { /* sub-block s: 16 weights */
            const uint8_t *q = p + 16 + s / 8 * 32 + s % 2 * 16;
            float scale = d * (float)(p[s] & 15), offset = dmin * (float)(p[s] >> 4);
            for (int j = 0; j < 16; j++)
                out[s * 16 + j] = scale * (float)(q[j] >> s % 8 / 2 * 2 & 3) - offset;
        }
    }
}

/* high bits [32], codes [64] of 2 bits, scales [12] of 6 bits, d. Scale s: the low four bits are nibbles of the first
 * eight bytes, the high two are pairs of bits of the last four. */
static void unpack_q3_k(float *out, const void *blocks, size_t n) {
    const uint8_t *p = blocks;
    for (; n > 0; n--, p += 110, out += LARGE) {
        const uint8_t *scales = p + 96;
        float d = half(p + 108);
        for (size_t s = 0; s < 16; s++) {
            int low = s < 8 ? scales[s] & 15 : scales[s - 8] >> 4, high = scales[8 + s % 4] >> s / 4 * 2 & 3;
            const uint8_t *q = p + 32 + s / 8 * 32 + s % 2 * 16, *h = p + s % 2 * 16;
            float scale = d * (float)((low | high << 4) - 32);
            for (int j = 0; j < 16; j++) {
                int code = (q[j] >> s % 8 / 2 * 2 & 3) - (h[j] >> s / 2 & 1 ? 0 : 4);
                out[s * 16 + j] = scale * (float)code;
            }
        }
    }
}

/* Scales and offsets of 8 sub-blocks, 6 bits each, in 12 bytes. */
static void six_bits(const uint8_t *p, size_t s, int *scale, int *offset) {
    if (s < 4) {
        *scale = p[s] & 63;
        *offset = p[s + 4] & 63;
    } else {
        *scale = (p[s + 4] & 15) | p[s - 4] >> 6 << 4;
        *offset = p[s + 4] >> 4 | p[s] >> 6 << 4;
    }
}

/* d, dmin, scales [12], codes [128]: 32 bytes hold two sub-blocks, low nibbles and high ones */
static void unpack_q4_k(float *out, const void *blocks, size_t n) {
    const uint8_t *p = blocks;
    for (; n > 0; n--, p += 144, out += LARGE) {
        float d = half(p), dmin = half(p + 2);
        for (size_t s = 0; s < 8; s++) {
            int scale, offset;
            six_bits(p + 4, s, &scale, &offset);
            const uint8_t *q = p + 16 + s / 2 * 32;
            float a = d * (float)scale, b = dmin * (float)offset;
            for (int j = 0; j < 32; j++)
                out[s * 32 + j] = a * (float)(q[j] >> s % 2 * 4 & 15) - b;
        }
    }
}

/* d, dmin, scales [12], fifth bits [32], codes [128] */
static void unpack_q5_k(float *out, const void *blocks, size_t n) {
    const uint8_t *p = blocks;
    for (; n > 0; n--, p += 176, out += LARGE) {
        float d = half(p), dmin = half(p + 2);
        for (size_t s = 0; s < 8; s++) {
            int scale, offset;
            six_bits(p + 4, s, &scale, &offset);
            const uint8_t *q = p + 48 + s / 2 * 32, *h = p + 16;
            float a = d * (float)scale, b = dmin * (float)offset;
            for (int j = 0; j < 32; j++)
                out[s * 32 + j] = a * (float)((q[j] >> s % 2 * 4 & 15) | (h[j] >> s & 1) << 4) - b;
        }
    }
}

/* low nibbles [128], high pairs [64], scales [16] signed, d. Each half of the block: 4 runs of 32 weights. */
static void unpack_q6_k(float *out, const void *blocks, size_t n) {
    const uint8_t *p = blocks;
    for (; n > 0; n--, p += 210, out += LARGE) {
        float d = half(p + 208);
        for (size_t s = 0; s < 16; s++) {
            size_t run = s / 2 % 4, at = s % 2 * 16;
            const uint8_t *low = p + s / 8 * 64 + run % 2 * 32 + at, *high = p + 128 + s / 8 * 32 + at;
            float scale = d * (float)(int8_t)p[192 + s];
            for (int j = 0; j < 16; j++) {
                int code = (low[j] >> run / 2 * 4 & 15) | (high[j] >> run * 2 & 3) << 4;
                out[s * 16 + j] = scale * (float)(code - 32);
            }
        }
    }
}

/* d, high pairs of the scales (16 bits), low nibbles of the scales [4], codes [128] */
static void unpack_iq4_xs(float *out, const void *blocks, size_t n) {
    const uint8_t *p = blocks;
    for (; n > 0; n--, p += 136, out += LARGE) {
        float d = half(p);
        unsigned high = tq_block_u16(p + 2);
        for (size_t s = 0; s < 8; s++) {
            int scale = (p[4 + s / 2] >> s % 2 * 4 & 15) | (int)(high >> 2 * s & 3) << 4;
            put_uneven(out + s * 32, p + 8 + s * 16, d * (float)(scale - 32));
        }
    }
}

void tq_kernels_fill_scalar_blocks(tq_kernels *k) {
    TQ_BLOCK_LAYOUTS(TQ_BLOCK_ENTER)
}
