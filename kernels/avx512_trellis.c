/* avx512_trellis.c - trellis codes in AVX-512.
 *
 * The search holds 16 sequences in the lanes of a register. vpdpwssd adds what a branch costs (two 16-bit products) to
 * the cost of the state it leaves, vpminsd takes the least: two instructions for 16 weights and one branch.
 *
 * The product reads two tiles at a time, so that the codes of one serve as those before of the next. Levels come as 16
 * bits, those of even and of odd columns apart: bytes (v[n], unit) times bytes (u[p] + t[pp], a[n] / unit). */
#include "kernels/internal.h"

#if defined(__x86_64__)
#include "kernels/avx512_pairs.h"

enum { LANES = TQ_TILE_ROWS };

typedef int32_t costs[256][LANES];

static void subtract_least(costs cost, int states) {
    __m512i least = _mm512_loadu_si512(cost[0]);
    for (int s = 1; s < states; s++)
        least = _mm512_min_epi32(least, _mm512_loadu_si512(cost[s]));
    least = _mm512_andnot_si512(_mm512_set1_epi32(15), least);
    for (int s = 0; s < states; s++)
        _mm512_storeu_si512(cost[s], _mm512_sub_epi32(_mm512_loadu_si512(cost[s]), least));
}

INLINE __m512i least_branch(const __m512i from[16], __m512i lane, const int32_t *branch) {
    __m512i least = _mm512_dpwssd_epi32(from[0], lane, _mm512_set1_epi32(branch[0]));
    for (int p = 1; p < 16; p++)
        least = _mm512_min_epi32(least, _mm512_dpwssd_epi32(from[p], lane, _mm512_set1_epi32(branch[p])));
    return least;
}

/* One step through one group of 16 predecessors, `stride` states apart, to 16 successors. group < 0: a successor's
 * index is its own number. */
INLINE void advance_group(costs to, costs from, int stride, int group, __m512i lane, const int32_t *branch,
                          uint32_t *words) {
    const __m512i low = _mm512_set1_epi32(15);
    __m512i cost[16];
    for (int p = 0; p < 16; p++)
        cost[p] = _mm512_loadu_si512(from[(group < 0 ? 0 : group) + p * stride]);
    for (int half = 0; half < 2; half++) {
        __m512i word = _mm512_setzero_si512();
        for (int i = 0; i < 8; i++, branch += 16) {
            int n = 8 * half + i;
            __m512i least = least_branch(cost, lane, branch);
            __m512i index = _mm512_set1_epi32(group < 0 ? n : group);
            _mm512_storeu_si512(to[(group < 0 ? 0 : 16 * group) + n],
                                _mm512_ternarylogic_epi32(low, least, index, 0xae));
            /* The eighth shift has brought the first nibble to the bottom. */
            __m512i nibble = _mm512_slli_epi32(least, 28);
            word = _mm512_or_si512(_mm512_srli_epi32(word, 4), nibble);
        }
        _mm512_storeu_si512(words + (size_t)half * LANES, word);
    }
}

/* With 16 states every step's words are two registers. */
static void trace16(uint8_t *codes, size_t steps, costs cost, const uint8_t *last, const uint32_t *words) {
    const __m512i low = _mm512_set1_epi32(15), eight = _mm512_set1_epi32(8);
    __m512i state = _mm512_loadu_si512(cost[0]);
    for (int s = 1; s < 16; s++)
        state = _mm512_min_epi32(state, _mm512_loadu_si512(cost[s]));
    state = _mm512_and_si512(state, low);
    if (last) state = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)last));
    for (size_t k = steps; k-- > 0;) {
        _mm_storeu_si128((__m128i *)(codes + k * LANES), _mm512_cvtepi32_epi8(state));
        __mmask16 upper = _mm512_test_epi32_mask(state, eight);
        const uint32_t *at = words + k * 2 * LANES;
        __m512i word = _mm512_mask_loadu_epi32(_mm512_loadu_si512(at), upper, at + LANES);
        __m512i shift = _mm512_andnot_si512(_mm512_set1_epi32(32), _mm512_slli_epi32(state, 2));
        state = _mm512_and_si512(_mm512_srlv_epi32(word, shift), low);
    }
}

static void trellis(uint8_t *codes, const int16_t *z, size_t steps, const tq_trellis *t, int32_t *ends,
                    const uint8_t *last, void *work) {
    const __m512i square = _mm512_set1_epi32(TQ_TRELLIS_SQUARE << 16), two = _mm512_set1_epi32(2);
    costs cost[2];
    uint32_t *words = work;
    memcpy(cost[0], ends, (size_t)t->states * sizeof *cost[0]);
    for (size_t k = 0; k < steps; k++, words += t->states / 8 * LANES) {
        int32_t(*from)[LANES] = cost[k & 1], (*to)[LANES] = cost[~k & 1];
        if (k && k % TQ_TRELLIS_PERIOD == 0) subtract_least(from, t->states);
        __m512i lane = _mm512_cvtepi16_epi32(_mm256_loadu_si256((const __m256i *)(z + k * LANES)));
        lane = _mm512_and_si512(_mm512_add_epi32(lane, two), _mm512_set1_epi32(0xfffc));
        lane = _mm512_or_si512(lane, square);
        if (t->states == 16)
            advance_group(to, from, 1, -1, lane, t->branch, words);
        else
            for (int g = 0; g < 16; g++)
                advance_group(to, from, 16, g, lane, t->branch + (ptrdiff_t)256 * g, words + (ptrdiff_t)2 * g * LANES);
    }
    if (t->states == 16)
        trace16(codes, steps, cost[steps & 1], last, work);
    else
        tq_trellis_trace(codes, steps, t->states, cost[steps & 1][0], last, work);
    memcpy(ends, cost[steps & 1], (size_t)t->states * sizeof *cost[0]);
}

/* The tables of tq_levels as floats: every level is an integer below 2^13, so the arithmetic is exact. */
typedef struct float_tables {
    __m512 a, v, u, t;
} float_tables;

INLINE __m512 floats(const int8_t table[16]) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)table)));
}

INLINE float_tables load_floats(const tq_levels *l) {
    __m512 a = _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(_mm256_loadu_si256((const __m256i *)l->a)));
    return (float_tables){a, floats(l->v), floats(l->u), floats(l->t)};
}

INLINE __m512 level16(const float_tables *t, const uint8_t *codes, const uint8_t *before, const uint8_t *before2,
                      __mmask16 m) {
    __m512i n = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(m, codes)); /* of an index the low 4 bits count */
    __m512i p = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(m, before));
    __m512i pp = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(m, before2));
    __m512 s = _mm512_add_ps(_mm512_permutexvar_ps(p, t->u), _mm512_permutexvar_ps(pp, t->t));
    return _mm512_fmadd_ps(_mm512_permutexvar_ps(n, t->v), s, _mm512_permutexvar_ps(n, t->a));
}

static void trellis_levels(float *out, const uint8_t *codes, const uint8_t *before, const uint8_t *before2, size_t n,
                           const tq_levels *l) {
    const float_tables t = load_floats(l);
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 m = n - i >= 16 ? 0xffff : (__mmask16)((1u << (n - i)) - 1);
        _mm512_mask_storeu_ps(out + i, m, level16(&t, codes + i, before + i, before2 + i, m));
    }
}

void tq_trellis_tile_avx512(float *out, size_t ld, const tq_packed *p, size_t tile) {
    const float_tables t = load_floats(p->levels);
    const uint16_t *scales = tq_tile_scales(p, tile);
    const __m512 mul = _mm512_set1_ps(p->scale_mul * p->levels->step);
    for (size_t b = 0; b < p->blocks; b++) {
        uint8_t codes[3][TQ_TILE_ROWS * TQ_BLOCK];
        float scale[TQ_TILE_ROWS];
        const uint16_t *group = scales + b / p->group_blocks * TQ_TILE_ROWS;
        _mm512_storeu_ps(scale, _mm512_mul_ps(mul, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)group))));
        for (size_t i = 0; i < 3; i++)
            tq_unpack_avx2(codes[i], TQ_BLOCK, tq_trellis_codes(p, tile, i, b), 1, 4);
        for (size_t i = 0; i < TQ_TILE_ROWS * TQ_BLOCK; i += 16) {
            size_t row = i / TQ_BLOCK;
            __m512 level = level16(&t, codes[0] + i, codes[1] + i, codes[2] + i, 0xffff);
            float *place = out + row * ld + b * TQ_BLOCK + i % TQ_BLOCK;
            _mm512_storeu_ps(place, _mm512_mul_ps(_mm512_set1_ps(scale[row]), level));
        }
    }
}

/* Each table four times over: vpermb may then be given indexes with foreign bits above. */
typedef struct byte_tables {
    __m512i v, u, t, a;
} byte_tables;

INLINE __m512i repeat(const int8_t table[16]) {
    return _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)table));
}

static byte_tables make_tables(const tq_levels *l) {
    int8_t a[16];
    for (int i = 0; i < 16; i++)
        a[i] = (int8_t)(l->a[i] / TQ_TRELLIS_UNIT);
    return (byte_tables){repeat(l->v), repeat(l->u), repeat(l->t), repeat(a)};
}

INLINE __m512i broadcast2(const int16_t *x) {
    int v;
    memcpy(&v, x, sizeof v);
    return _mm512_set1_epi32(v);
}

/* Four columns: n in the low nibbles of code, before[0] and before[1] likewise; below: code moved up by a byte. above:
 * down by one. x: as tq_xq holds them. */
INLINE __m512i add_columns(__m512i sum, const byte_tables *t, __m512i code, __m512i up, __m512i down, __m512i s,
                           const int16_t *x) {
    const __mmask64 even = 0x5555555555555555u, odd = ~even;
    const __m512i unit = _mm512_set1_epi8(TQ_TRELLIS_UNIT);
    __m512i v0 = _mm512_mask_permutexvar_epi8(unit, even, code, t->v);
    __m512i v1 = _mm512_mask_permutexvar_epi8(unit, odd, code, t->v);
    __m512i s0 = _mm512_mask_permutexvar_epi8(s, odd, up, t->a);
    __m512i s1 = _mm512_mask_permutexvar_epi8(s, even, down, t->a);
    sum = _mm512_dpwssd_epi32(sum, _mm512_maddubs_epi16(v0, s0), broadcast2(x));
    return _mm512_dpwssd_epi32(sum, _mm512_maddubs_epi16(v1, s1), broadcast2(x + 2));
}

INLINE __m512i offsets(const byte_tables *t, __m512i before, __m512i before2, int deep) {
    __m512i s = _mm512_permutexvar_epi8(before, t->u);
    return deep ? _mm512_add_epi8(s, _mm512_permutexvar_epi8(before2, t->t)) : s;
}

/* Adds one block of `count` tiles; codes[2 + i] are those of tile i, codes[1] and codes[0] of the tiles before. */
INLINE void add_block(__m512i *sum, const byte_tables *t, const uint8_t *const codes[], int count, int deep,
                      const int16_t *x) {
    for (int j = 0; j < 4; j++, x += 8) {
        __m512i before2 = deep ? _mm512_loadu_si512(codes[0] + 64 * j) : _mm512_setzero_si512();
        __m512i before = _mm512_loadu_si512(codes[1] + 64 * j);
        __m512i high2 = _mm512_srli_epi16(before2, 4), high1 = _mm512_srli_epi16(before, 4);
        for (int i = 0; i < count; i++) {
            __m512i code = _mm512_loadu_si512(codes[2 + i] + 64 * j), high = _mm512_srli_epi16(code, 4);
            sum[i] = add_columns(sum[i], t, code, _mm512_slli_epi16(code, 8), _mm512_srli_epi16(code, 8),
                                 offsets(t, before, before2, deep), x);
            sum[i] = add_columns(sum[i], t, high, _mm512_slli_epi16(code, 4), _mm512_srli_epi16(code, 12),
                                 offsets(t, high1, high2, deep), x + 4);
            before2 = before;
            before = code;
            high2 = high1;
            high1 = high;
        }
    }
}

/* `count` tiles from `tile` on. The order of rounding is that of the scalar reference. */
INLINE void multiply_tiles(float *y, const tq_packed *p, const byte_tables *t, const tq_xq *x, size_t tile, int count,
                           int deep) {
    const uint16_t *scales = tq_tile_scales(p, tile);
    size_t groups = p->blocks ? (p->blocks - 1) / p->group_blocks + 1 : 0;
    __m512 sum[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
    const uint8_t *codes[6];
    const ptrdiff_t ahead = (ptrdiff_t)((size_t)count * p->blocks * 256); /* the next tiles */
    for (int i = 0; i < count + 2; i++) {
        size_t back = i < 2 ? (size_t)(2 - i) : 0;
        codes[i] = tq_trellis_codes(p, tile + (size_t)(i < 2 ? 0 : i - 2), back, 0);
    }
    for (size_t b = 0; b < p->blocks; scales += TQ_TILE_ROWS) {
        size_t end = p->blocks - b > p->group_blocks ? b + p->group_blocks : p->blocks;
        __m512 group_sum[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
        for (; b < end; b++) {
            __m512i block[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(),
                                _mm512_setzero_si512()};
            for (int i = 0; i < count; i++)
                tq_ask_ahead(codes[2 + i], 4, ahead);
            add_block(block, t, codes, count, deep, x->wide + b * TQ_BLOCK);
            __m512 x_scale = _mm512_set1_ps(x->scale[b]);
            for (int i = 0; i < count; i++)
                group_sum[i] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(block[i]), x_scale, group_sum[i]);
            for (int i = 0; i < count + 2; i++)
                codes[i] += 256;
        }
        for (int i = 0; i < count; i++) {
            const uint16_t *at = scales + (size_t)i * groups * TQ_TILE_ROWS;
            sum[i] = _mm512_fmadd_ps(_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)at)), group_sum[i], sum[i]);
        }
    }
    const __m512 mul = _mm512_set1_ps(p->scale_mul * p->levels->step);
    for (int i = 0; i < count; i++)
        _mm512_storeu_ps(y + (ptrdiff_t)TQ_TILE_ROWS * i, _mm512_mul_ps(sum[i], mul));
}

enum { TILES = 2 }; /* whose codes are read together */

INLINE void multiply(float *y, const tq_packed *p, const tq_xq *x, size_t tile0, size_t tiles, int deep) {
    const byte_tables t = make_tables(p->levels);
    size_t i = 0;
    for (; i + TILES <= tiles; i += TILES)
        multiply_tiles(y + TQ_TILE_ROWS * i, p, &t, x, tile0 + i, TILES, deep);
    for (; i < tiles; i++)
        multiply_tiles(y + TQ_TILE_ROWS * i, p, &t, x, tile0 + i, 1, deep);
}

void tq_trellis_matvec_avx512(float *y, const tq_packed *p, const tq_xq *x, size_t tile0, size_t tiles) {
    if (tq_trellis_deep(p->levels))
        multiply(y, p, x, tile0, tiles, 1);
    else
        multiply(y, p, x, tile0, tiles, 0);
}

/* The two levels of 16 bits in a lane. */
INLINE __m512i lower(__m512i levels) {
    return _mm512_srai_epi32(_mm512_slli_epi32(levels, 16), 16);
}
INLINE __m512i upper(__m512i levels) {
    return _mm512_srai_epi32(levels, 16);
}

/* Four columns of 16 rows as two pairs; code, up, down and s are those of add_columns. */
INLINE void store_pairs(uint16_t *out, size_t ld, const byte_tables *t, __m512i code, __m512i up, __m512i down,
                        __m512i s, __m512 scale) {
    const __mmask64 even = 0x5555555555555555u, odd = ~even;
    const __m512i unit = _mm512_set1_epi8(TQ_TRELLIS_UNIT);
    __m512i v0 = _mm512_mask_permutexvar_epi8(unit, even, code, t->v);
    __m512i v1 = _mm512_mask_permutexvar_epi8(unit, odd, code, t->v);
    __m512i l0 = _mm512_maddubs_epi16(v0, _mm512_mask_permutexvar_epi8(s, odd, up, t->a));
    __m512i l1 = _mm512_maddubs_epi16(v1, _mm512_mask_permutexvar_epi8(s, even, down, t->a));
    _mm512_storeu_si512(out, tq_round_pair(lower(l0), lower(l1), scale));
    _mm512_storeu_si512(out + ld, tq_round_pair(upper(l0), upper(l1), scale));
}

void tq_trellis_pairs_avx512(uint16_t *out, size_t ld, const tq_packed *p, size_t tile) {
    const byte_tables t = make_tables(p->levels);
    const int deep = tq_trellis_deep(p->levels);
    const uint16_t *scales = tq_tile_scales(p, tile);
    const __m512 mul = _mm512_set1_ps(p->scale_mul * p->levels->step);
    for (size_t b = 0; b < p->blocks; b++) {
        const uint16_t *group = scales + b / p->group_blocks * TQ_TILE_ROWS;
        __m512 scale = _mm512_mul_ps(mul, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)group)));
        for (size_t j = 0; j < 4; j++, out += 4 * ld) {
            __m512i code[3], high[3];
            for (size_t i = 0; i < 3; i++) {
                code[i] = _mm512_loadu_si512(tq_trellis_codes(p, tile, i, b) + 64 * j);
                high[i] = _mm512_srli_epi16(code[i], 4);
            }
            store_pairs(out, ld, &t, code[0], _mm512_slli_epi16(code[0], 8), _mm512_srli_epi16(code[0], 8),
                        offsets(&t, code[1], code[2], deep), scale);
            store_pairs(out + 2 * ld, ld, &t, high[0], _mm512_slli_epi16(code[0], 4), _mm512_srli_epi16(code[0], 12),
                        offsets(&t, high[1], high[2], deep), scale);
        }
    }
}

void tq_kernels_fill_avx512_trellis(tq_kernels *k) {
    k->trellis = trellis;
    k->trellis_levels = trellis_levels;
}
#endif
