/* kernels_blocks.c - tests of blocks of quantized weights to floats: each weight alone, by the definition of its
 * layout. The fields of a block in their order and the bits of a code, as the C structures of ggml's blocks declare
 * them (block_q4_0 .. block_iq4_xs) and its dequantize_row_* read them; nothing of it comes from kernels/. */
#include "tests/kernels_tests.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { BLOCKS_MAX = 9, BYTES_MAX = 210, WEIGHTS_MAX = 256, ROUNDS = 120 };

/* ---- fields ---- */

/* `count` bits of byte `at`, from bit `shift` on. */
static int bits(const uint8_t *b, size_t at, size_t shift, size_t count) {
    return (int)((unsigned)b[at] >> shift & ((1u << count) - 1));
}

static float fp16(const uint8_t *b, size_t at) {
    return (float)kt_small_float(b[at] | (unsigned)b[at + 1] << 8, 5, 10);
}

static int signed_byte(const uint8_t *b, size_t at) {
    return b[at] < 128 ? b[at] : b[at] - 256;
}

/* ---- 32 weights: byte i % 16 of the codes has weight i < 16 in its low half, another in its high half ---- */

static int nibble(const uint8_t *b, size_t codes, size_t i) {
    return bits(b, codes + i % 16, i / 16 * 4, 4);
}

/* With a fifth bit for each weight, bit i of the 32 that begin at byte `fifth`. */
static int nibble5(const uint8_t *b, size_t fifth, size_t codes, size_t i) {
    return nibble(b, codes, i) + 16 * bits(b, fifth + i / 8, i % 8, 1);
}

/* half d; uint8 codes[16] */
static float weight_q4_0(const uint8_t *b, size_t i) {
    return fp16(b, 0) * (float)(nibble(b, 2, i) - 8);
}

/* half d, m; uint8 codes[16] */
static float weight_q4_1(const uint8_t *b, size_t i) {
    float product = fp16(b, 0) * (float)nibble(b, 4, i);
    return product + fp16(b, 2);
}

/* half d; uint8 fifth[4], codes[16] */
static float weight_q5_0(const uint8_t *b, size_t i) {
    return fp16(b, 0) * (float)(nibble5(b, 2, 6, i) - 16);
}

/* half d, m; uint8 fifth[4], codes[16] */
static float weight_q5_1(const uint8_t *b, size_t i) {
    float product = fp16(b, 0) * (float)nibble5(b, 4, 8, i);
    return product + fp16(b, 2);
}

/* half d; int8 codes[32] */
static float weight_q8_0(const uint8_t *b, size_t i) {
    return fp16(b, 0) * (float)signed_byte(b, 2 + i);
}

/* The 16 levels of the uneven types. */
static float uneven(int code) {
    static const float levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
    return levels[code];
}

/* half d; uint8 codes[16] */
static float weight_iq4_nl(const uint8_t *b, size_t i) {
    return fp16(b, 0) * uneven(nibble(b, 2, i));
}

/* ---- 256 weights ---- */

/* Of each 128 weights 32 bytes of pairs: byte i % 32 has one weight of each run of 32. */
static int pair(const uint8_t *b, size_t codes, size_t i) {
    return bits(b, codes + i / 128 * 32 + i % 32, i % 128 / 32 * 2, 2);
}

/* uint8 scales[16], low half the scale of 16 weights, high half their minimum; codes[64]; half d, dmin */
static float weight_q2_k(const uint8_t *b, size_t i) {
    float scale = fp16(b, 80) * (float)bits(b, i / 16, 0, 4), min = fp16(b, 82) * (float)bits(b, i / 16, 4, 4);
    float product = scale * (float)pair(b, 16, i);
    return product - min;
}

/* uint8 high[32], of whose byte i % 32 bit i / 32 is the weight's third; codes[64]; scales[12]; half d. Of scale s the
 * low four bits are, up to the eighth, the low halves of bytes 0 .. 7, then the high ones; the high two are bits 0 and
 * 1 of bytes 8 .. 11, then bits 2 and 3, and so on. */
static float weight_q3_k(const uint8_t *b, size_t i) {
    size_t s = i / 16;
    int six = bits(b, 96 + s % 8, s / 8 * 4, 4) + 16 * bits(b, 104 + s % 4, s / 4 * 2, 2);
    int code = pair(b, 32, i) + 4 * bits(b, i % 32, i / 32, 1);
    float scale = fp16(b, 108) * (float)(six - 32);
    return scale * (float)(code - 4);
}

/* Of 12 bytes the scale (minimum: 0) or the minimum (4) of 32 weights: of the first four sub-blocks the low six bits of
 * one byte; of the others four bits of bytes 8 .. 11 and the two that the former left. */
static int scale_k(const uint8_t *scales, size_t s, size_t minimum) {
    if (s < 4) return bits(scales, minimum + s, 0, 6);
    return bits(scales, 8 + s - 4, minimum, 4) + 16 * bits(scales, minimum + s - 4, 6, 2);
}

/* Of each 64 weights 32 bytes: byte i % 32 has one of the first 32 in its low half, one of the others in its high half.
 */
static int nibble_k(const uint8_t *b, size_t codes, size_t i) {
    return bits(b, codes + i / 64 * 32 + i % 32, i % 64 / 32 * 4, 4);
}

/* half d, dmin; uint8 scales[12]; then a code */
static float weight_k(const uint8_t *b, size_t i, int code) {
    float scale = fp16(b, 0) * (float)scale_k(b + 4, i / 32, 0), min = fp16(b, 2) * (float)scale_k(b + 4, i / 32, 4);
    float product = scale * (float)code;
    return product - min;
}

/* codes[128] */
static float weight_q4_k(const uint8_t *b, size_t i) {
    return weight_k(b, i, nibble_k(b, 16, i));
}

/* uint8 fifth[32], of whose byte i % 32 bit i / 32 is the weight's; codes[128] */
static float weight_q5_k(const uint8_t *b, size_t i) {
    return weight_k(b, i, nibble_k(b, 48, i) + 16 * bits(b, 16 + i % 32, i / 32, 1));
}

/* uint8 low[128], high[64]; int8 scales[16]; half d. Of each 128 weights, 64 bytes of low: the first 64 weights are the
 * low halves, the others the high ones. */
static float weight_q6_k(const uint8_t *b, size_t i) {
    int code = bits(b, i / 128 * 64 + i % 64, i % 128 / 64 * 4, 4) + 16 * pair(b, 128, i);
    float scale = fp16(b, 208) * (float)signed_byte(b, 192 + i / 16);
    return scale * (float)(code - 32);
}

/* half d; uint16 high pairs of eight scales, uint8 low halves of them [4]; codes[128], each 16 as in IQ4_NL */
static float weight_iq4_xs(const uint8_t *b, size_t i) {
    size_t s = i / 32;
    int six = bits(b, 4 + s / 2, s % 2 * 4, 4) + 16 * bits(b, 2 + s / 4, s % 4 * 2, 2);
    float scale = fp16(b, 0) * (float)(six - 32);
    return scale * uneven(nibble(b, 8 + s * 16, i % 32));
}

/* ---- against the kernels ---- */

typedef struct layout {
    const char *name;
    tq_blocks index;
    size_t weights, bytes;
    size_t halves[2]; /* where numbers of fp16 lie; NONE: there is one */
    float (*weight)(const uint8_t *block, size_t i);
} layout;

#define NONE SIZE_MAX

static const layout layouts[] = {
    {"Q4_0", TQ_BLOCKS_Q4_0, 32, 18, {0, NONE}, weight_q4_0},
    {"Q4_1", TQ_BLOCKS_Q4_1, 32, 20, {0, 2}, weight_q4_1},
    {"Q5_0", TQ_BLOCKS_Q5_0, 32, 22, {0, NONE}, weight_q5_0},
    {"Q5_1", TQ_BLOCKS_Q5_1, 32, 24, {0, 2}, weight_q5_1},
    {"Q8_0", TQ_BLOCKS_Q8_0, 32, 34, {0, NONE}, weight_q8_0},
    {"IQ4_NL", TQ_BLOCKS_IQ4_NL, 32, 18, {0, NONE}, weight_iq4_nl},
    {"Q2_K", TQ_BLOCKS_Q2_K, 256, 84, {80, 82}, weight_q2_k},
    {"Q3_K", TQ_BLOCKS_Q3_K, 256, 110, {108, NONE}, weight_q3_k},
    {"Q4_K", TQ_BLOCKS_Q4_K, 256, 144, {0, 2}, weight_q4_k},
    {"Q5_K", TQ_BLOCKS_Q5_K, 256, 176, {0, 2}, weight_q5_k},
    {"Q6_K", TQ_BLOCKS_Q6_K, 256, 210, {208, NONE}, weight_q6_k},
    {"IQ4_XS", TQ_BLOCKS_IQ4_XS, 256, 136, {0, NONE}, weight_iq4_xs},
};

enum { LAYOUTS = sizeof layouts / sizeof *layouts };

/* Zeros, the ends of the subnormals and of the normals, infinities, NaN, of both signs; else any finite number. */
static unsigned any_half(kt_random *r) {
    static const unsigned ends[] = {0, 1, 0x3ff, 0x400, 0x7bff, 0x7c00, 0x7e01};
    unsigned sign = kt_below(r, 2) ? 0x8000 : 0;
    return sign | (kt_below(r, 3) ? (unsigned)kt_below(r, 0x7c00) : ends[kt_below(r, sizeof ends / sizeof *ends)]);
}

/* Random bytes, at times all of them 0 or 255. */
static void random_block(kt_random *r, const layout *l, uint8_t *block) {
    size_t kind = kt_below(r, 8);
    if (kind < 2)
        memset(block, kind ? 255 : 0, l->bytes);
    else
        kt_fill_bytes(r, block, l->bytes, 255);
    for (size_t i = 0; i < 2 && l->halves[i] != NONE; i++) {
        unsigned h = any_half(r);
        block[l->halves[i]] = (uint8_t)h;
        block[l->halves[i] + 1] = (uint8_t)(h >> 8);
    }
}

static void try_layout(kt_context *c, const layout *l, kt_guarded *in, kt_guarded *out) {
    float want[WEIGHTS_MAX];
    for (size_t round = 0; round < ROUNDS; round++) {
        int placement = (int)(round % KT_PLACEMENTS);
        size_t n = kt_below(&c->random, BLOCKS_MAX + 1);
        uint8_t *blocks = kt_place(in, n * l->bytes, 1, placement);
        float *got = kt_place(out, n * l->weights * sizeof *got, sizeof *got, placement);
        for (size_t b = 0; b < n; b++)
            random_block(&c->random, l, blocks + b * l->bytes);
        c->k->unpack_blocks[l->index](got, blocks, n);
        kt_check(in);
        kt_check(out);
        for (size_t b = 0; b < n; b++) {
            for (size_t i = 0; i < l->weights; i++)
                want[i] = l->weight(blocks + b * l->bytes, i);
            kt_same_floats(got + b * l->weights, want, l->weights, l->name);
        }
    }
}

/* What the kernels say of their layouts, by tq_blocks. */
#define SIZES(NAME, name, weights, bytes) {weights, bytes},
static const size_t sizes[][2] = {TQ_BLOCK_LAYOUTS(SIZES)};

static void test_blocks(kt_context *c) {
    kt_guarded in, out;
    assert_int_equal(LAYOUTS, TQ_BLOCKS); /* none is left out, as each has the index of its place */
    kt_guarded_new(&in, (size_t)(BLOCKS_MAX + 1) * BYTES_MAX);
    kt_guarded_new(&out, (size_t)(BLOCKS_MAX + 1) * WEIGHTS_MAX * sizeof(float));
    for (size_t i = 0; i < LAYOUTS; i++) {
        assert_int_equal(layouts[i].index, i);
        assert_int_equal(layouts[i].weights, sizes[i][0]);
        assert_int_equal(layouts[i].bytes, sizes[i][1]);
        try_layout(c, &layouts[i], &in, &out);
    }
    kt_guarded_free(&in);
    kt_guarded_free(&out);
}

const kt_test kt_blocks_tests[] = {{"blocks, weight by weight", test_blocks}, {NULL, NULL}};
