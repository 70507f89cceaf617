/* byte_blocks.h - blocks of quantized weights to floats by 16 bytes at a time: a code becomes a signed byte, then a
 * float. Included by the file of an instruction set after these, which it has of its own:
 *
 *   bytes16              16 bytes
 *   load16(p)            from anywhere
 *   field(x, s, m, l)    (byte >> s & m) << l of each, m << l < 256
 *   join(x, y)           x | y
 *   less(x, n)           byte - n
 *   uneven(x)            tq_block_uneven[byte], byte < 16
 *   spread(bits)         16 where bit i of 16 bits is set, else 0
 *   half(p)              fp16 at p as a float
 *   put(out, x, a)       out[i] = a * byte i, which is signed
 *   put_more(out, x, a, b)   out[i] = a * byte i + b, rounded twice
 *
 * x - b and x + -b are the same float. */
#ifndef TQ_KERNELS_BYTE_BLOCKS_H
#define TQ_KERNELS_BYTE_BLOCKS_H

#include "kernels/blocks.h"

/* ---- blocks of 32 ---- */

static void unpack_q4_0(float *out, const void *blocks, size_t n) {
    const uint8_t *p = blocks;
    for (; n > 0; n--, p += 18, out += 32) {
        float d = half(p);
        bytes16 x = load16(p + 2);
        put(out, less(field(x, 0, 15, 0), 8), d);
        put(out + 16, less(field(x, 4, 15, 0), 8), d);
    }
}

static void unpack_q4_1(float *out, const void *blocks, size_t n) {
    const uint8_t *p = blocks;
    for (; n > 0; n--, p += 20, out += 32) {
        float d = half(p), m = half(p + 2);
        bytes16 x = load16(p + 4);
        put_more(out, field(x, 0, 15, 0), d, m);
        put_more(out + 16, field(x, 4, 15, 0), d, m);
    }
}

static void unpack_q5_0(float *out, const void *blocks, size_t n) {
    const uint8_t *p = blocks;
    for (; n > 0; n--, p += 22, out += 32) {
        float d = half(p);
        bytes16 x = load16(p + 6);
        put(out, less(join(field(x, 0, 15, 0), spread(tq_block_u16(p + 2))), 16), d);
        put(out + 16, less(join(field(x, 4, 15, 0), spread(tq_block_u16(p + 4))), 16), d);
    }
}

static void unpack_q5_1(float *out, const void *blocks, size_t n) {
    const uint8_t *p = blocks;
    for (; n > 0; n--, p += 24, out += 32) {
        float d = half(p), m = half(p + 2);
        bytes16 x = load16(p + 8);
        put_more(out, join(field(x, 0, 15, 0), spread(tq_block_u16(p + 4))), d, m);
        put_more(out + 16, join(field(x, 4, 15, 0), spread(tq_block_u16(p + 6))), d, m);
    }
}

static void unpack_q8_0(float *out, const void *blocks, size_t n) {
    const uint8_t *p = blocks;
    for (; n > 0; n--, p += 34, out += 32) {
        float d = half(p);
        put(out, load16(p + 2), d);
        put(out + 16, load16(p + 18), d);
    }
}

static void unpack_iq4_nl(float *out, const void *blocks, size_t n) {
    const uint8_t *p = blocks;
    for (; n > 0; n--, p += 18, out += 32) {
        float d = half(p);
        bytes16 x = load16(p + 2);
        put(out, uneven(field(x, 0, 15, 0)), d);
        put(out + 16, uneven(field(x, 4, 15, 0)), d);
    }
}

/* ---- blocks of 256 ---- */

/* a[i] = d * s[i] of 16 signed bytes. */
static inline void scales16(float a[16], const int8_t *s, float d) {
    for (size_t i = 0; i < 16; i++)
        a[i] = d * (float)s[i];
}

static void unpack_q2_k(float *out, const void *blocks, size_t n) {
    const uint8_t *p = blocks;
    for (; n > 0; n--, p += 84, out += 256) {
        float a[16], b[16], d = half(p + 80), dmin = -half(p + 82);
        for (size_t s = 0; s < 16; s++) {
            a[s] = d * (float)(p[s] & 15);
            b[s] = dmin * (float)(p[s] >> 4);
        }
        for (size_t s = 0; s < 16; s += 8) /* 128 weights, two sub-blocks of each shift */
            for (size_t i = 0; i < 2; i++) {
                bytes16 x = load16(p + 16 + s * 4 + i * 16);
                float *o = out + s * 16 + i * 16;
                put_more(o, field(x, 0, 3, 0), a[s + i], b[s + i]);
                put_more(o + 32, field(x, 2, 3, 0), a[s + i + 2], b[s + i + 2]);
                put_more(o + 64, field(x, 4, 3, 0), a[s + i + 4], b[s + i + 4]);
                put_more(o + 96, field(x, 6, 3, 0), a[s + i + 6], b[s + i + 6]);
            }
    }
}

static void unpack_q3_k(float *out, const void *blocks, size_t n) {
    const uint8_t *p = blocks;
    for (; n > 0; n--, p += 110, out += 256) {
        float a[16], d = half(p + 108);
        for (size_t s = 0; s < 16; s++) {
            int low = p[96 + s % 8] >> s / 8 * 4 & 15, high = p[104 + s % 4] >> s / 4 * 2 & 3;
            a[s] = d * (float)((low | high << 4) - 32);
        }
        for (size_t i = 0; i < 2; i++) {
            bytes16 x = load16(p + 32 + i * 16), y = load16(p + 64 + i * 16), h = load16(p + i * 16);
            float *o = out + i * 16;
            put(o, less(join(field(x, 0, 3, 0), field(h, 0, 1, 2)), 4), a[i]);
            put(o + 32, less(join(field(x, 2, 3, 0), field(h, 1, 1, 2)), 4), a[i + 2]);
            put(o + 64, less(join(field(x, 4, 3, 0), field(h, 2, 1, 2)), 4), a[i + 4]);
            put(o + 96, less(join(field(x, 6, 3, 0), field(h, 3, 1, 2)), 4), a[i + 6]);
            put(o + 128, less(join(field(y, 0, 3, 0), field(h, 4, 1, 2)), 4), a[i + 8]);
            put(o + 160, less(join(field(y, 2, 3, 0), field(h, 5, 1, 2)), 4), a[i + 10]);
            put(o + 192, less(join(field(y, 4, 3, 0), field(h, 6, 1, 2)), 4), a[i + 12]);
            put(o + 224, less(join(field(y, 6, 3, 0), field(h, 7, 1, 2)), 4), a[i + 14]);
        }
    }
}

/* The first 16 bytes of a Q4_K or Q5_K: a[s] = d * scale, b[s] = -dmin * offset. */
static inline void scales_k(float a[8], float b[8], const uint8_t *p) {
    uint32_t x = tq_block_u32(p + 4), y = tq_block_u32(p + 8), z = tq_block_u32(p + 12);
    const uint32_t six = 0x3f3f3f3f, four = 0x0f0f0f0f, two = 0x03030303;
    uint32_t scale[2] = {x & six, (z & four) | (x >> 6 & two) << 4};
    uint32_t offset[2] = {y & six, (z >> 4 & four) | (y >> 6 & two) << 4};
    float d = half(p), dmin = -half(p + 2);
    for (size_t s = 0; s < 8; s++) {
        a[s] = d * (float)(scale[s / 4] >> s % 4 * 8 & 63);
        b[s] = dmin * (float)(offset[s / 4] >> s % 4 * 8 & 63);
    }
}

static void unpack_q4_k(float *out, const void *blocks, size_t n) {
    const uint8_t *p = blocks;
    for (; n > 0; n--, p += 144, out += 256) {
        float a[8], b[8];
        scales_k(a, b, p);
        for (size_t s = 0; s < 8; s += 2)
            for (size_t i = 0; i < 2; i++) {
                bytes16 x = load16(p + 16 + s * 16 + i * 16);
                put_more(out + s * 32 + i * 16, field(x, 0, 15, 0), a[s], b[s]);
                put_more(out + s * 32 + 32 + i * 16, field(x, 4, 15, 0), a[s + 1], b[s + 1]);
            }
    }
}

/* Sub-blocks s and s + 1; h: the fifth bits of 16 weights each, those of s lowest. */
static inline void five_bits(float *out, bytes16 x, bytes16 h, const float *a, const float *b) {
    put_more(out, join(field(x, 0, 15, 0), field(h, 0, 1, 4)), a[0], b[0]);
    put_more(out + 32, join(field(x, 4, 15, 0), field(h, 1, 1, 4)), a[1], b[1]);
}

static void unpack_q5_k(float *out, const void *blocks, size_t n) {
    const uint8_t *p = blocks;
    for (; n > 0; n--, p += 176, out += 256) {
        float a[8], b[8];
        scales_k(a, b, p);
        for (size_t i = 0; i < 2; i++) {
            const uint8_t *q = p + 48 + i * 16;
            bytes16 h = load16(p + 16 + i * 16);
            float *o = out + i * 16;
            five_bits(o, load16(q), h, a, b);
            five_bits(o + 64, load16(q + 32), field(h, 2, 3, 0), a + 2, b + 2);
            five_bits(o + 128, load16(q + 64), field(h, 4, 3, 0), a + 4, b + 4);
            five_bits(o + 192, load16(q + 96), field(h, 6, 3, 0), a + 6, b + 6);
        }
    }
}

static void unpack_q6_k(float *out, const void *blocks, size_t n) {
    const uint8_t *p = blocks;
    for (; n > 0; n--, p += 210, out += 256) {
        float scales[16];
        scales16(scales, (const int8_t *)p + 192, half(p + 208));
        for (size_t s = 0; s < 16; s += 8) /* 128 weights */
            for (size_t i = 0; i < 2; i++) {
                bytes16 x = load16(p + s * 8 + i * 16), y = load16(p + s * 8 + 32 + i * 16);
                bytes16 h = load16(p + 128 + s * 4 + i * 16);
                const float *a = scales + s + i;
                float *o = out + s * 16 + i * 16;
                put(o, less(join(field(x, 0, 15, 0), field(h, 0, 3, 4)), 32), a[0]);
                put(o + 32, less(join(field(y, 0, 15, 0), field(h, 2, 3, 4)), 32), a[2]);
                put(o + 64, less(join(field(x, 4, 15, 0), field(h, 4, 3, 4)), 32), a[4]);
                put(o + 96, less(join(field(y, 4, 15, 0), field(h, 6, 3, 4)), 32), a[6]);
            }
    }
}

static void unpack_iq4_xs(float *out, const void *blocks, size_t n) {
    const uint8_t *p = blocks;
    for (; n > 0; n--, p += 136, out += 256) {
        float d = half(p);
        unsigned high = tq_block_u16(p + 2);
        for (size_t s = 0; s < 8; s++) {
            int scale = (p[4 + s / 2] >> s % 2 * 4 & 15) | (int)(high >> 2 * s & 3) << 4;
            float a = d * (float)(scale - 32);
            bytes16 x = load16(p + 8 + s * 16);
            put(out + s * 32, uneven(field(x, 0, 15, 0)), a);
            put(out + s * 32 + 16, uneven(field(x, 4, 15, 0)), a);
        }
    }
}

static inline void fill_blocks(tq_kernels *k) {
    TQ_BLOCK_LAYOUTS(TQ_BLOCK_ENTER)
}

#endif
