/* gguf_types.c - blocks of quantized weights to floats. Layouts: the GGUF specification and the dequantizers of the
 * `gguf` Python package 0.19, against which tests hold every bit.
 *
 * Bytes are read one by one or through memcpy: a block lies wherever its file put it. Sums and products are rounded in
 * the order of the reference. */
#include "model/gguf_types.h"

#include <string.h>

static uint16_t read_u16(const uint8_t *p) {
    return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t read_u32(const uint8_t *p) {
    return (uint32_t)read_u16(p) | (uint32_t)read_u16(p + 2) << 16;
}

/* fp16: the exponent is moved by a product that is exact for subnormals too; infinities and NaNs keep their kind. */
static float read_f16(const uint8_t *p) {
    uint16_t h = read_u16(p);
    uint32_t bits = (uint32_t)(h & 0x7fff) << 13, sign = (uint32_t)(h & 0x8000) << 16;
    float f;
    if ((h & 0x7c00) == 0x7c00)
        bits |= 0x7f800000u;
    else {
        memcpy(&f, &bits, sizeof f);
        f *= 0x1p112F;
        memcpy(&bits, &f, sizeof bits);
    }
    bits |= sign;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* ---- blocks of 32: a scale, perhaps an offset; low nibbles are the first half, high nibbles the second ---- */

enum { SMALL = 32, HALF = SMALL / 2 };

static void decode_q4_0(float *out, const void *blocks, size_t n) {
    const uint8_t *p = blocks;
    for (; n > 0; n--, p += 18, out += SMALL) {
        float d = read_f16(p);
        for (int j = 0; j < HALF; j++) {
            out[j] = d * (float)((p[2 + j] & 15) - 8);
            out[j + HALF] = d * (float)((p[2 + j] >> 4) - 8);
        }
    }
}

static void decode_q4_1(float *out, const void *blocks, size_t n) {
    const uint8_t *p = blocks;
    for (; n > 0; n--, p += 20, out += SMALL) {
        float d = read_f16(p), m = read_f16(p + 2);
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

static void decode_q5_0(float *out, const void *blocks, size_t n) {
    const uint8_t *p = blocks;
    for (; n > 0; n--, p += 22, out += SMALL) {
        float d = read_f16(p);
        uint32_t high = read_u32(p + 2);
        for (int j = 0; j < SMALL; j++)
            out[j] = d * (float)(five_bits(p + 6, high, j) - 16);
    }
}

static void decode_q5_1(float *out, const void *blocks, size_t n) {
    const uint8_t *p = blocks;
    for (; n > 0; n--, p += 24, out += SMALL) {
        float d = read_f16(p), m = read_f16(p + 2);
        uint32_t high = read_u32(p + 4);
        for (int j = 0; j < SMALL; j++)
            out[j] = d * (float)five_bits(p + 8, high, j) + m;
    }
}

static void decode_q8_0(float *out, const void *blocks, size_t n) {
    const uint8_t *p = blocks;
    for (; n > 0; n--, p += 34, out += SMALL) {
        float d = read_f16(p);
        for (int j = 0; j < SMALL; j++)
            out[j] = d * (float)(int8_t)p[2 + j];
    }
}

/* Levels that are not evenly spaced, of IQ4_NL and IQ4_XS. */
static const int8_t uneven[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

static void decode_uneven(float *out, const uint8_t *q, float d) {
    for (int j = 0; j < HALF; j++) {
        out[j] = d * (float)uneven[q[j] & 15];
        out[j + HALF] = d * (float)uneven[q[j] >> 4];
    }
}

static void decode_iq4_nl(float *out, const void *blocks, size_t n) {
    const uint8_t *p = blocks;
    for (; n > 0; n--, p += 18, out += SMALL)
        decode_uneven(out, p + 2, read_f16(p));
}

/* ---- blocks of 256: sub-blocks of 16 or 32 with scales of their own ---- */

enum { LARGE = 256 };

/* scales [16]: scale low, offset high nibble; codes [64] of 2 bits; d, dmin */
static void decode_q2_k(float *out, const void *blocks, size_t n) {
    const uint8_t *p = blocks;
    for (; n > 0; n--, p += 84, out += LARGE) {
        float d = read_f16(p + 80), dmin = read_f16(p + 82);
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
static void decode_q3_k(float *out, const void *blocks, size_t n) {
    const uint8_t *p = blocks;
    for (; n > 0; n--, p += 110, out += LARGE) {
        const uint8_t *scales = p + 96;
        float d = read_f16(p + 108);
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
static void decode_q4_k(float *out, const void *blocks, size_t n) {
    const uint8_t *p = blocks;
    for (; n > 0; n--, p += 144, out += LARGE) {
        float d = read_f16(p), dmin = read_f16(p + 2);
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
static void decode_q5_k(float *out, const void *blocks, size_t n) {
    const uint8_t *p = blocks;
    for (; n > 0; n--, p += 176, out += LARGE) {
        float d = read_f16(p), dmin = read_f16(p + 2);
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
static void decode_q6_k(float *out, const void *blocks, size_t n) {
    const uint8_t *p = blocks;
    for (; n > 0; n--, p += 210, out += LARGE) {
        float d = read_f16(p + 208);
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
static void decode_iq4_xs(float *out, const void *blocks, size_t n) {
    const uint8_t *p = blocks;
    for (; n > 0; n--, p += 136, out += LARGE) {
        float d = read_f16(p);
        unsigned high = read_u16(p + 2);
        for (size_t s = 0; s < 8; s++) {
            int scale = (p[4 + s / 2] >> s % 2 * 4 & 15) | (int)(high >> 2 * s & 3) << 4;
            decode_uneven(out + s * 32, p + 8 + s * 16, d * (float)(scale - 32));
        }
    }
}

static const tq_gguf_type types[] = {
    {0, TQ_F32, {"F32", 1, 4, NULL}},
    {1, TQ_F16, {"F16", 1, 2, NULL}},
    {30, TQ_BF16, {"BF16", 1, 2, NULL}},
    {2, TQ_CODED, {"Q4_0", SMALL, 18, decode_q4_0}},
    {3, TQ_CODED, {"Q4_1", SMALL, 20, decode_q4_1}},
    {6, TQ_CODED, {"Q5_0", SMALL, 22, decode_q5_0}},
    {7, TQ_CODED, {"Q5_1", SMALL, 24, decode_q5_1}},
    {8, TQ_CODED, {"Q8_0", SMALL, 34, decode_q8_0}},
    {10, TQ_CODED, {"Q2_K", LARGE, 84, decode_q2_k}},
    {11, TQ_CODED, {"Q3_K", LARGE, 110, decode_q3_k}},
    {12, TQ_CODED, {"Q4_K", LARGE, 144, decode_q4_k}},
    {13, TQ_CODED, {"Q5_K", LARGE, 176, decode_q5_k}},
    {14, TQ_CODED, {"Q6_K", LARGE, 210, decode_q6_k}},
    {20, TQ_CODED, {"IQ4_NL", SMALL, 18, decode_iq4_nl}},
    {23, TQ_CODED, {"IQ4_XS", LARGE, 136, decode_iq4_xs}},
    /* Known by their size alone. */
    {9, TQ_DTYPE_OTHER, {"Q8_1", SMALL, 40, NULL}},
    {15, TQ_DTYPE_OTHER, {"Q8_K", LARGE, 292, NULL}},
    {16, TQ_DTYPE_OTHER, {"IQ2_XXS", LARGE, 66, NULL}},
    {17, TQ_DTYPE_OTHER, {"IQ2_XS", LARGE, 74, NULL}},
    {18, TQ_DTYPE_OTHER, {"IQ3_XXS", LARGE, 98, NULL}},
    {19, TQ_DTYPE_OTHER, {"IQ1_S", LARGE, 50, NULL}},
    {21, TQ_DTYPE_OTHER, {"IQ3_S", LARGE, 110, NULL}},
    {22, TQ_DTYPE_OTHER, {"IQ2_S", LARGE, 82, NULL}},
    {29, TQ_DTYPE_OTHER, {"IQ1_M", LARGE, 56, NULL}},
    {34, TQ_DTYPE_OTHER, {"TQ1_0", LARGE, 54, NULL}},
    {35, TQ_DTYPE_OTHER, {"TQ2_0", LARGE, 66, NULL}},
    {39, TQ_DTYPE_OTHER, {"MXFP4", SMALL, 17, NULL}},
    {40, TQ_DTYPE_OTHER, {"NVFP4", 64, 36, NULL}},
    {24, TQ_DTYPE_OTHER, {"I8", 1, 1, NULL}},
    {25, TQ_DTYPE_OTHER, {"I16", 1, 2, NULL}},
    {26, TQ_DTYPE_OTHER, {"I32", 1, 4, NULL}},
    {27, TQ_DTYPE_OTHER, {"I64", 1, 8, NULL}},
    {28, TQ_DTYPE_OTHER, {"F64", 1, 8, NULL}},
};

const tq_gguf_type *tq_gguf_type_at(size_t i) {
    return i < sizeof types / sizeof *types ? &types[i] : NULL;
}

const tq_gguf_type *tq_gguf_type_find(uint32_t id) {
    const tq_gguf_type *t;
    for (size_t i = 0; (t = tq_gguf_type_at(i)); i++)
        if (t->id == id) return t;
    return NULL;
}
