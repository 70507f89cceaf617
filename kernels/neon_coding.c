/* neon_coding.c - codes on AArch64: finding them, their levels, and packed tiles as floats. */
#include "kernels/internal.h"

#if defined(__aarch64__)
#include "kernels/neon_levels.h"

/* ---- finding codes ---- */

/* How many bounds lie strictly below each of four values. */
INLINE uint32x4_t count_below(float32x4_t z, const float *bounds, int count) {
    uint32x4_t code = vdupq_n_u32(0);
    for (int j = 0; j < count; j++)
        code = vsubq_u32(code, vcgtq_f32(z, vdupq_n_f32(bounds[j])));
    return code;
}

static void encode(uint8_t *codes, const float *z, size_t n, const float *bounds, int count) {
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        uint16x4_t low = vmovn_u32(count_below(vld1q_f32(z + i), bounds, count));
        uint16x4_t high = vmovn_u32(count_below(vld1q_f32(z + i + 4), bounds, count));
        vst1_u8(codes + i, vmovn_u16(vcombine_u16(low, high)));
    }
    for (; i < n; i++) {
        unsigned code = 0;
        for (int j = 0; j < count; j++)
            code += bounds[j] < z[i];
        codes[i] = (uint8_t)code;
    }
}

/* A table of 16 floats by the code in each lane: the places of a value's four bytes are looked up as bytes. */
INLINE float32x4_t lookup(const float table[16], uint32x4_t codes) {
    const uint8_t *bytes = (const uint8_t *)table;
    uint8x16x4_t t = {{vld1q_u8(bytes), vld1q_u8(bytes + 16), vld1q_u8(bytes + 32), vld1q_u8(bytes + 48)}};
    uint32x4_t place = vmlaq_n_u32(vdupq_n_u32(0x03020100), codes, 0x04040404);
    return vreinterpretq_f32_u8(vqtbl4q_u8(t, vreinterpretq_u8_u32(place)));
}

INLINE uint32x4_t fine4(uint32x4_t codes, float32x4_t z, const tq_fine_search *s) {
    uint32x4_t outer = vorrq_u32(vceqzq_u32(codes), vceqq_u32(codes, vdupq_n_u32(15)));
    float32x4_t t = vmulq_f32(vsubq_f32(z, lookup(s->a, codes)), lookup(s->inv_v, codes));
    return vbslq_u32(outer, count_below(t, s->bounds[1], s->count), count_below(t, s->bounds[0], s->count));
}

static void encode_fine(uint8_t *fine, const uint8_t *codes, const float *z, size_t n, const tq_fine_search *s) {
    for (size_t i = 0; i < n; i += 8) {
        size_t left = n - i < 8 ? n - i : 8;
        uint8_t c[8] = {0};
        float x[8] = {0};
        memcpy(c, codes + i, left);
        memcpy(x, z + i, left * sizeof *x);
        uint16x8_t wide = vmovl_u8(vand_u8(vld1_u8(c), vdup_n_u8(15)));
        uint16x4_t low = vmovn_u32(fine4(vmovl_u16(vget_low_u16(wide)), vld1q_f32(x), s));
        uint16x4_t high = vmovn_u32(fine4(vmovl_high_u16(wide), vld1q_f32(x + 4), s));
        vst1_u8(c, vmovn_u16(vcombine_u16(low, high)));
        memcpy(fine + i, c, left);
    }
}

/* ---- levels ---- */

static void levels(float *out, const uint8_t *codes, const uint8_t *fine, size_t n, const tq_levels *l) {
    const level_tables t = load_levels(l);
    const uint8x16_t low = vdupq_n_u8(15);
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        uint8x16_t code = vandq_u8(vld1q_u8(codes + i), low);
        store_levels(out + i, fine ? levels_fine(&t, code, vandq_u8(vld1q_u8(fine + i), low)) : levels_of(&t, code), 1);
    }
    for (; i < n; i++)
        out[i] = (float)(fine ? tq_level(l, codes[i] & 15, fine[i] & 15) : l->a[codes[i] & 15]);
}

static void moments(double sums[3], const float *z, const float *c, size_t n) {
    float64x2_t zc[2] = {vdupq_n_f64(0), vdupq_n_f64(0)}, cc[2] = {zc[0], zc[0]}, zz[2] = {zc[0], zc[0]};
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        float32x4_t zf = vld1q_f32(z + i), cf = vld1q_f32(c + i);
        float64x2_t zd[2] = {vcvt_f64_f32(vget_low_f32(zf)), vcvt_high_f64_f32(zf)};
        float64x2_t cd[2] = {vcvt_f64_f32(vget_low_f32(cf)), vcvt_high_f64_f32(cf)};
        for (int h = 0; h < 2; h++) {
            zc[h] = vfmaq_f64(zc[h], zd[h], cd[h]);
            cc[h] = vfmaq_f64(cc[h], cd[h], cd[h]);
            zz[h] = vfmaq_f64(zz[h], zd[h], zd[h]);
        }
    }
    sums[0] = vaddvq_f64(vaddq_f64(zc[0], zc[1]));
    sums[1] = vaddvq_f64(vaddq_f64(cc[0], cc[1]));
    sums[2] = vaddvq_f64(vaddq_f64(zz[0], zz[1]));
    for (; i < n; i++) {
        sums[0] += (double)z[i] * c[i];
        sums[1] += (double)c[i] * c[i];
        sums[2] += (double)z[i] * z[i];
    }
}

static void encode_fit(uint8_t *codes, uint8_t *fine, double sums[3], const float *z, size_t n, const tq_coder *coder) {
    static const tq_kernels own = {.encode = encode, .encode_fine = encode_fine, .levels = levels, .moments = moments};
    tq_encode_fit_with(&own, codes, fine, sums, z, n, coder);
}

/* ---- packed codes ---- */

/* Four rows of one block: eight columns a chunk of 4-bit codes, in two registers of two rows. */
INLINE void rows_of_nibbles(uint64x2_t out[2], const uint8_t *chunk) {
    uint8x16_t v = vld1q_u8(chunk);
    uint32x4_t low = vreinterpretq_u32_u8(vandq_u8(v, vdupq_n_u8(15))), high = vreinterpretq_u32_u8(vshrq_n_u8(v, 4));
    out[0] = vreinterpretq_u64_u32(vzip1q_u32(low, high));
    out[1] = vreinterpretq_u64_u32(vzip2q_u32(low, high));
}

/* The same of 2-bit codes: sixteen columns a chunk, a register a row. */
INLINE void rows_of_pairs(uint8x16_t out[4], const uint8_t *chunk) {
    uint8x16_t v = vld1q_u8(chunk), low = vdupq_n_u8(3);
    uint32x4_t p0 = vreinterpretq_u32_u8(vandq_u8(v, low)), p1 = vreinterpretq_u32_u8(vandq_u8(vshrq_n_u8(v, 2), low));
    uint32x4_t p2 = vreinterpretq_u32_u8(vandq_u8(vshrq_n_u8(v, 4), low)), p3 = vreinterpretq_u32_u8(vshrq_n_u8(v, 6));
    uint64x2_t a = vreinterpretq_u64_u32(vzip1q_u32(p0, p1)), b = vreinterpretq_u64_u32(vzip1q_u32(p2, p3));
    uint64x2_t c = vreinterpretq_u64_u32(vzip2q_u32(p0, p1)), d = vreinterpretq_u64_u32(vzip2q_u32(p2, p3));
    out[0] = vreinterpretq_u8_u64(vzip1q_u64(a, b));
    out[1] = vreinterpretq_u8_u64(vzip2q_u64(a, b));
    out[2] = vreinterpretq_u8_u64(vzip1q_u64(c, d));
    out[3] = vreinterpretq_u8_u64(vzip2q_u64(c, d));
}

/* Four rows and sixteen columns of a block; half: the columns from 16 on. */
INLINE void unpack_rows(uint8x16_t out[4], const uint8_t *block, int q, int half, int bits) {
    block += (ptrdiff_t)16 * q;
    if (bits == 2) {
        rows_of_pairs(out, block + (ptrdiff_t)64 * half);
        return;
    }
    uint64x2_t left[2], right[2];
    rows_of_nibbles(left, block + (ptrdiff_t)128 * half);
    rows_of_nibbles(right, block + (ptrdiff_t)128 * half + 64);
    for (int i = 0; i < 2; i++) {
        out[2 * i] = vreinterpretq_u8_u64(vzip1q_u64(left[i], right[i]));
        out[2 * i + 1] = vreinterpretq_u8_u64(vzip2q_u64(left[i], right[i]));
    }
}

void tq_unpack_neon(uint8_t *codes, size_t stride, const uint8_t *src, size_t blocks, int bits) {
    for (size_t b = 0; b < blocks; b++, src += 64 * bits) {
        for (int i = 0; i < 8; i++) {
            int q = i / 2, half = i % 2;
            uint8x16_t row[4];
            unpack_rows(row, src, q, half, bits);
            for (size_t r = 0; r < 4; r++)
                vst1q_u8(codes + (4 * (size_t)q + r) * stride + b * TQ_BLOCK + 16 * (size_t)half, row[r]);
        }
    }
}

static void decode_tile(float *out, size_t ld, const tq_packed *p, size_t tile) {
    if (p->trellis) {
        tq_trellis_tile_neon(out, ld, p, tile);
        return;
    }
    const level_tables t = load_levels(p->levels);
    const uint16_t *scales = tq_tile_scales(p, tile);
    const float mul = p->scale_mul * p->levels->step;
    const uint8_t *codes = p->codes + tile * p->blocks * 64 * (size_t)p->code_bits;
    const uint8_t *fine = p->fine_bits ? p->fine + tile * p->blocks * 64 * (size_t)p->fine_bits : codes;
    for (size_t b = 0; b < p->blocks; b++, codes += 64 * p->code_bits, fine += 64 * p->fine_bits) {
        const uint16_t *group = scales + b / p->group_blocks * TQ_TILE_ROWS;
        for (int i = 0; i < 8; i++) {
            int q = i / 2, half = i % 2;
            uint8x16_t n[4], r[4];
            unpack_rows(n, codes, q, half, p->code_bits);
            if (p->fine_bits) unpack_rows(r, fine, q, half, p->fine_bits);
            for (size_t j = 0; j < 4; j++) {
                size_t row = 4 * (size_t)q + j;
                int16x8x2_t level = p->fine_bits ? levels_fine(&t, n[j], r[j]) : levels_of(&t, n[j]);
                store_levels(out + row * ld + b * TQ_BLOCK + 16 * (size_t)half, level, mul * tq_f16_value(group[row]));
            }
        }
    }
}

void tq_kernels_fill_neon_coding(tq_kernels *k) {
    k->encode = encode;
    k->encode_fine = encode_fine;
    k->levels = levels;
    k->moments = moments;
    k->encode_fit = encode_fit;
    k->unpack = tq_unpack_neon;
    k->decode_tile = decode_tile;
}
#endif
