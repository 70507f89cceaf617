/* neon_trellis.c - trellis codes on AArch64. The search takes its 16 sequences in four registers, one add and one
 * multiply-add a branch and register. Levels come as 16 bits from byte products and meet the 14-bit activations whole.
 */
#include "kernels/internal.h"

#if defined(__aarch64__)
#include "kernels/neon_levels.h"

enum { LANES = TQ_TILE_ROWS, PARTS = LANES / 4 };

typedef int32_t costs[256][LANES];

/* ---- the search ---- */

static void subtract_least(costs cost, int states) {
    for (int part = 0; part < LANES; part += 4) {
        int32x4_t least = vld1q_s32(cost[0] + part);
        for (int s = 1; s < states; s++)
            least = vminq_s32(least, vld1q_s32(cost[s] + part));
        least = vbicq_s32(least, vdupq_n_s32(15));
        for (int s = 0; s < states; s++)
            vst1q_s32(cost[s] + part, vsubq_s32(vld1q_s32(cost[s] + part), least));
    }
}

/* What branches have in common with all sequences: the cost of the code before it, plus z times the branch's low half.
 */
INLINE int32x4_t branch_cost(int32x4_t from, int16x4_t z, int32_t branch) {
    int32x4_t high = vdupq_n_s32(TQ_TRELLIS_SQUARE * (branch >> 16));
    return vaddq_s32(from, vmlal_n_s16(high, z, (int16_t)branch));
}

/* One step through one group of 16 predecessors, `stride` states apart, to 16 successors. group < 0: a successor's
 * index is its own number. */
INLINE void advance_group(costs to, costs from, int stride, int group, const int16x4_t z[PARTS], const int32_t *branch,
                          uint32_t *words) {
    int first = group < 0 ? 0 : group;
    uint32x4_t word[PARTS] = {vdupq_n_u32(0), vdupq_n_u32(0), vdupq_n_u32(0), vdupq_n_u32(0)};
    for (int n = 0; n < 16; n++, branch += 16) {
        int32x4_t least[PARTS] = {vdupq_n_s32(INT32_MAX), vdupq_n_s32(INT32_MAX), vdupq_n_s32(INT32_MAX),
                                  vdupq_n_s32(INT32_MAX)};
        for (int p = 0; p < 16; p++)
            for (ptrdiff_t i = 0; i < PARTS; i++)
                least[i] =
                    vminq_s32(least[i], branch_cost(vld1q_s32(from[first + p * stride] + 4 * i), z[i], branch[p]));
        int32x4_t index = vdupq_n_s32(group < 0 ? n : group);
        for (ptrdiff_t i = 0; i < PARTS; i++) {
            vst1q_s32(to[16 * first + n] + 4 * i, vorrq_s32(vbicq_s32(least[i], vdupq_n_s32(15)), index));
            /* The eighth shift has brought the first nibble to the bottom. */
            word[i] = vsraq_n_u32(vshlq_n_u32(vreinterpretq_u32_s32(least[i]), 28), word[i], 4);
            if ((n & 7) == 7) vst1q_u32(words + (ptrdiff_t)(n / 8) * LANES + 4 * i, word[i]);
        }
    }
}

static void trellis(uint8_t *codes, const int16_t *z, size_t steps, const tq_trellis *t, int32_t *ends,
                    const uint8_t *last, void *work) {
    costs cost[2];
    uint32_t *words = work;
    memcpy(cost[0], ends, (size_t)t->states * sizeof *cost[0]);
    for (size_t k = 0; k < steps; k++, words += t->states / 8 * LANES) {
        int32_t(*from)[LANES] = cost[k & 1], (*to)[LANES] = cost[~k & 1];
        int16x4_t lane[PARTS];
        if (k && k % TQ_TRELLIS_PERIOD == 0) subtract_least(from, t->states);
        for (size_t i = 0; i < PARTS; i++)
            lane[i] = vbic_s16(vadd_s16(vld1_s16(z + k * LANES + 4 * i), vdup_n_s16(2)), vdup_n_s16(3));
        if (t->states == 16)
            advance_group(to, from, 1, -1, lane, t->branch, words);
        else
            for (int g = 0; g < 16; g++)
                advance_group(to, from, 16, g, lane, t->branch + (ptrdiff_t)256 * g, words + (ptrdiff_t)2 * g * LANES);
    }
    tq_trellis_trace(codes, steps, t->states, cost[steps & 1][0], last, work);
    memcpy(ends, cost[steps & 1], (size_t)t->states * sizeof *cost[0]);
}

/* ---- levels as floats ---- */

INLINE int16x8x2_t level16(const trellis_tables *t, uint8x16_t n, uint8x16_t p, uint8x16_t pp) {
    return levels_trellis(t, n, vaddq_s8(vqtbl1q_s8(t->u, p), vqtbl1q_s8(t->t, pp)));
}

static void trellis_levels(float *out, const uint8_t *codes, const uint8_t *before, const uint8_t *before2, size_t n,
                           const tq_levels *l) {
    const trellis_tables t = load_trellis(l);
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        store_levels(out + i, level16(&t, vld1q_u8(codes + i), vld1q_u8(before + i), vld1q_u8(before2 + i)), 1);
    for (; i < n; i++)
        out[i] = (float)tq_trellis_level(l, codes[i], before[i], before2[i]);
}

void tq_trellis_tile_neon(float *out, size_t ld, const tq_packed *p, size_t tile) {
    const trellis_tables t = load_trellis(p->levels);
    const uint16_t *scales = tq_tile_scales(p, tile);
    const float mul = p->scale_mul * p->levels->step;
    for (size_t b = 0; b < p->blocks; b++) {
        uint8_t codes[3][TQ_TILE_ROWS * TQ_BLOCK];
        const uint16_t *group = scales + b / p->group_blocks * TQ_TILE_ROWS;
        for (size_t i = 0; i < 3; i++)
            tq_unpack_neon(codes[i], TQ_BLOCK, tq_trellis_codes(p, tile, i, b), 1, 4);
        for (size_t i = 0; i < TQ_TILE_ROWS * TQ_BLOCK; i += 16) {
            size_t row = i / TQ_BLOCK;
            int16x8x2_t level = level16(&t, vld1q_u8(codes[0] + i), vld1q_u8(codes[1] + i), vld1q_u8(codes[2] + i));
            store_levels(out + row * ld + b * TQ_BLOCK + i % TQ_BLOCK, level, mul * tq_f16_value(group[row]));
        }
    }
}

/* ---- the product ---- */

/* The activations of one block in the order of columns: tq_xq holds each four as 0 2 1 3. */
INLINE void load_x(int16x4_t x[8], const int16_t *wide) {
    const uint8x8_t order = vcreate_u8(0x0706030205040100);
    for (ptrdiff_t i = 0; i < 8; i++)
        x[i] = vreinterpret_s16_u8(vtbl1_u8(vreinterpret_u8_s16(vld1_s16(wide + 4 * i)), order));
}

/* Sums of four rows over one block; before, before2: the codes of the tiles before. */
INLINE int32x4_t block_rows(const trellis_tables *t, const uint8_t *codes, const uint8_t *before,
                            const uint8_t *before2, int deep, const int16x4_t x[8]) {
    int32x4_t row[4] = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};
    for (int group = 0; group < 8; group++) {
        int8x16_t s = vqtbl1q_s8(t->u, codes_at(before, group, 4));
        if (deep) s = vaddq_s8(s, vqtbl1q_s8(t->t, codes_at(before2, group, 4)));
        int16x8x2_t level = levels_trellis(t, codes_at(codes, group, 4), s);
        for (int i = 0; i < 2; i++) {
            row[2 * i] = vmlal_s16(row[2 * i], vget_low_s16(level.val[i]), x[group]);
            row[2 * i + 1] = vmlal_s16(row[2 * i + 1], vget_high_s16(level.val[i]), x[group]);
        }
    }
    return vpaddq_s32(vpaddq_s32(row[0], row[1]), vpaddq_s32(row[2], row[3]));
}

/* One tile. The order of rounding is that of the scalar reference. */
INLINE void multiply_tile(float *y, const tq_packed *p, const trellis_tables *t, const tq_xq *x, size_t tile,
                          int deep) {
    const uint16_t *scales = tq_tile_scales(p, tile);
    const float mul = p->scale_mul * p->levels->step;
    float32x4_t sum[4] = {vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0)};
    const uint8_t *codes[3];
    for (size_t i = 0; i < 3; i++)
        codes[i] = tq_trellis_codes(p, tile, i, 0);
    for (size_t b = 0; b < p->blocks; scales += TQ_TILE_ROWS) {
        size_t end = p->blocks - b > p->group_blocks ? b + p->group_blocks : p->blocks;
        float32x4_t group_sum[4] = {vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0)};
        for (; b < end; b++) {
            int16x4_t wide[8];
            size_t at = b * 256;
            load_x(wide, x->wide + b * TQ_BLOCK);
            for (size_t q = 0; q < 4; q++, at += 16) {
                int32x4_t s = block_rows(t, codes[0] + at, codes[1] + at, codes[2] + at, deep, wide);
                group_sum[q] = vfmaq_n_f32(group_sum[q], vcvtq_f32_s32(s), x->scale[b]);
            }
        }
        for (size_t q = 0; q < 4; q++)
            sum[q] = vfmaq_f32(sum[q], load_f16(scales + 4 * q), group_sum[q]);
    }
    for (size_t q = 0; q < 4; q++)
        vst1q_f32(y + 4 * q, vmulq_n_f32(sum[q], mul));
}

void tq_trellis_matvec_neon(float *y, const tq_packed *p, const tq_xq *x, size_t tile0, size_t tiles) {
    const trellis_tables t = load_trellis(p->levels);
    const int deep = tq_trellis_deep(p->levels);
    for (size_t i = 0; i < tiles; i++) {
        if (deep)
            multiply_tile(y + TQ_TILE_ROWS * i, p, &t, x, tile0 + i, 1);
        else
            multiply_tile(y + TQ_TILE_ROWS * i, p, &t, x, tile0 + i, 0);
    }
}

void tq_kernels_fill_neon_trellis(tq_kernels *k) {
    k->trellis = trellis;
    k->trellis_levels = trellis_levels;
}
#endif
