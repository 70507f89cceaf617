/* avx2_trellis.c - trellis codes in AVX2.
 *
 * The search takes its 16 sequences in two registers. The product reads two tiles at a time, so that the codes of one
 * serve as those before of the next; levels come as 16 bits from bytes (v[n], unit) times bytes (u[p] + t[pp],
 * a[n] / unit), interleaved by unpacking, which leaves the columns in order and two sums a row. */
#include "kernels/internal.h"

#if defined(__x86_64__)
#include "kernels/avx2_tail.h"

#include "kernels/avx2_dot.h"
#include "kernels/avx2_trellis.h"

enum { LANES = TQ_TILE_ROWS };

typedef int32_t costs[256][LANES];

INLINE __m256i load(const void *p) {
    return _mm256_loadu_si256(p);
}

INLINE void store(void *p, __m256i v) {
    _mm256_storeu_si256(p, v);
}

/* ---- the search ---- */

static void subtract_least(costs cost, int states) {
    for (int half = 0; half < LANES; half += 8) {
        __m256i least = load(cost[0] + half);
        for (int s = 1; s < states; s++)
            least = _mm256_min_epi32(least, load(cost[s] + half));
        least = _mm256_andnot_si256(_mm256_set1_epi32(15), least);
        for (int s = 0; s < states; s++)
            store(cost[s] + half, _mm256_sub_epi32(load(cost[s] + half), least));
    }
}

/* One step through one group of 16 predecessors, `stride` states apart, to 16 successors. group < 0: a successor's
 * index is its own number. */
INLINE void advance_group(costs to, costs from, int stride, int group, const __m256i lane[2], const int32_t *branch,
                          uint32_t *words) {
    const __m256i low = _mm256_set1_epi32(15);
    int first = group < 0 ? 0 : group;
    __m256i word[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    for (int n = 0; n < 16; n++, branch += 16) {
        __m256i least[2] = {_mm256_set1_epi32(INT32_MAX), _mm256_set1_epi32(INT32_MAX)};
        for (int p = 0; p < 16; p++) {
            __m256i b = _mm256_set1_epi32(branch[p]);
            for (int half = 0; half < 2; half++) {
                __m256i cost = load(from[first + p * stride] + 8 * half);
                cost = _mm256_add_epi32(_mm256_madd_epi16(lane[half], b), cost);
                least[half] = _mm256_min_epi32(least[half], cost);
            }
        }
        for (int half = 0; half < 2; half++) {
            __m256i index = _mm256_set1_epi32(group < 0 ? n : group);
            store(to[16 * first + n] + 8 * half, _mm256_or_si256(_mm256_andnot_si256(low, least[half]), index));
            /* The eighth shift has brought the first nibble to the bottom. */
            __m256i nibble = _mm256_slli_epi32(least[half], 28);
            word[half] = _mm256_or_si256(_mm256_srli_epi32(word[half], 4), nibble);
            if ((n & 7) == 7) store(words + n / 8 * LANES + 8 * half, word[half]);
        }
    }
}

/* With 16 states every step's words are two registers each half. */
static void trace16(uint8_t *codes, size_t steps, costs cost, const uint8_t *last, const uint32_t *words) {
    const __m256i low = _mm256_set1_epi32(15);
    for (size_t half = 0; half < LANES; half += 8) {
        __m256i state = load(cost[0] + half);
        for (int s = 1; s < 16; s++)
            state = _mm256_min_epi32(state, load(cost[s] + half));
        state = _mm256_and_si256(state, low);
        if (last) state = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(last + half)));
        for (size_t k = steps; k-- > 0;) {
            tq_store8_u8(codes + k * LANES + half, 8, state);
            const uint32_t *at = words + k * 2 * LANES + half;
            __m256i upper = _mm256_cmpgt_epi32(state, _mm256_set1_epi32(7));
            __m256i word = _mm256_blendv_epi8(load(at), load(at + LANES), upper);
            __m256i shift = _mm256_and_si256(_mm256_slli_epi32(state, 2), _mm256_set1_epi32(28));
            state = _mm256_and_si256(_mm256_srlv_epi32(word, shift), low);
        }
    }
}

static void trellis(uint8_t *codes, const int16_t *z, size_t steps, const tq_trellis *t, int32_t *ends,
                    const uint8_t *last, void *work) {
    const __m256i square = _mm256_set1_epi32(TQ_TRELLIS_SQUARE << 16), two = _mm256_set1_epi32(2);
    costs cost[2];
    uint32_t *words = work;
    memcpy(cost[0], ends, (size_t)t->states * sizeof *cost[0]);
    for (size_t k = 0; k < steps; k++, words += t->states / 8 * LANES) {
        int32_t(*from)[LANES] = cost[k & 1], (*to)[LANES] = cost[~k & 1];
        __m256i lane[2];
        if (k && k % TQ_TRELLIS_PERIOD == 0) subtract_least(from, t->states);
        for (size_t half = 0; half < 2; half++) {
            __m256i x = _mm256_cvtepi16_epi32(_mm_loadu_si128((const __m128i *)(z + k * LANES + 8 * half)));
            x = _mm256_and_si256(_mm256_add_epi32(x, two), _mm256_set1_epi32(0xfffc));
            lane[half] = _mm256_or_si256(x, square);
        }
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

/* ---- levels as floats ---- */

/* The tables of tq_levels, low and high halves: every level is an integer below 2^13, so the arithmetic is exact. */
typedef struct float_tables {
    __m256 a[2], v[2], u[2], t[2];
} float_tables;

INLINE void load_floats(__m256 out[2], const int8_t table[16]) {
    for (size_t h = 0; h < 2; h++)
        out[h] = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(table + 8 * h))));
}

static float_tables make_floats(const tq_levels *l) {
    float_tables t;
    for (size_t h = 0; h < 2; h++)
        t.a[h] = _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(_mm_loadu_si128((const __m128i *)(l->a + 8 * h))));
    load_floats(t.v, l->v);
    load_floats(t.u, l->u);
    load_floats(t.t, l->t);
    return t;
}

INLINE __m256 level8(const float_tables *t, __m256i n, __m256i p, __m256i pp) {
    __m256 s = _mm256_add_ps(tq_lookup16(t->u[0], t->u[1], p), tq_lookup16(t->t[0], t->t[1], pp));
    return _mm256_fmadd_ps(tq_lookup16(t->v[0], t->v[1], n), s, tq_lookup16(t->a[0], t->a[1], n));
}

static void trellis_levels(float *out, const uint8_t *codes, const uint8_t *before, const uint8_t *before2, size_t n,
                           const tq_levels *l) {
    const float_tables t = make_floats(l);
    for (size_t i = 0; i < n; i += 8) {
        size_t left = n - i;
        __m256 level =
            level8(&t, tq_load8_u8(codes + i, left), tq_load8_u8(before + i, left), tq_load8_u8(before2 + i, left));
        tq_store8(out + i, left, level);
    }
}

void tq_trellis_tile_avx2(float *out, size_t ld, const tq_packed *p, size_t tile) {
    const float_tables t = make_floats(p->levels);
    const uint16_t *scales = tq_tile_scales(p, tile);
    const __m256 mul = _mm256_set1_ps(p->scale_mul * p->levels->step);
    for (size_t b = 0; b < p->blocks; b++) {
        uint8_t codes[3][TQ_TILE_ROWS * TQ_BLOCK];
        float scale[TQ_TILE_ROWS];
        const uint16_t *group = scales + b / p->group_blocks * TQ_TILE_ROWS;
        for (size_t h = 0; h < TQ_TILE_ROWS; h += 8) {
            __m256 s = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(group + h)));
            _mm256_storeu_ps(scale + h, _mm256_mul_ps(mul, s));
        }
        for (size_t i = 0; i < 3; i++)
            tq_unpack_avx2(codes[i], TQ_BLOCK, tq_trellis_codes(p, tile, i, b), 1, 4);
        for (size_t i = 0; i < TQ_TILE_ROWS * TQ_BLOCK; i += 8) {
            size_t row = i / TQ_BLOCK;
            __m256 level =
                level8(&t, tq_load8_u8(codes[0] + i, 8), tq_load8_u8(codes[1] + i, 8), tq_load8_u8(codes[2] + i, 8));
            float *place = out + row * ld + b * TQ_BLOCK + i % TQ_BLOCK;
            _mm256_storeu_ps(place, _mm256_mul_ps(_mm256_set1_ps(scale[row]), level));
        }
    }
}

/* ---- the product ---- */

void tq_trellis_matvec_avx2(float *y, const tq_packed *p, const tq_xq *x, size_t tile0, size_t tiles) {
    matvec_trellis(y, p, x, tile0, tiles);
}

void tq_kernels_fill_avx2_trellis(tq_kernels *k) {
    k->trellis = trellis;
    k->trellis_levels = trellis_levels;
}
#endif
