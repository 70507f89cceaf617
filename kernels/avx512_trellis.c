/* avx512_trellis.c - the search for trellis codes in AVX-512, 16 sequences in the lanes of a register.
 *
 * vpdpwssd adds what a branch costs (two 16-bit products) to the cost of the state it leaves, vpminsd takes the least:
 * two instructions for 16 weights and one branch. */
#include "kernels/internal.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))

enum { LANES = TQ_TILE_ROWS };

typedef int32_t costs[256][LANES];

static void start(costs cost, int states) {
    for (int s = 0; s < states; s++) {
        int32_t forbidden = TQ_TRELLIS_FORBIDDEN + (states == 16 ? s : s >> 4);
        _mm512_storeu_si512(cost[s], _mm512_set1_epi32(s ? forbidden : 0));
    }
}

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
static void trace16(uint8_t *codes, size_t steps, costs cost, const uint32_t *words) {
    const __m512i low = _mm512_set1_epi32(15), eight = _mm512_set1_epi32(8);
    __m512i state = _mm512_loadu_si512(cost[0]);
    for (int s = 1; s < 16; s++)
        state = _mm512_min_epi32(state, _mm512_loadu_si512(cost[s]));
    state = _mm512_and_si512(state, low);
    for (size_t k = steps; k-- > 0;) {
        _mm_storeu_si128((__m128i *)(codes + k * LANES), _mm512_cvtepi32_epi8(state));
        __mmask16 upper = _mm512_test_epi32_mask(state, eight);
        const uint32_t *at = words + k * 2 * LANES;
        __m512i word = _mm512_mask_loadu_epi32(_mm512_loadu_si512(at), upper, at + LANES);
        __m512i shift = _mm512_andnot_si512(_mm512_set1_epi32(32), _mm512_slli_epi32(state, 2));
        state = _mm512_and_si512(_mm512_srlv_epi32(word, shift), low);
    }
}

static void trellis(uint8_t *codes, const int16_t *z, size_t steps, const tq_trellis *t, void *work) {
    const __m512i square = _mm512_set1_epi32(TQ_TRELLIS_SQUARE << 16), two = _mm512_set1_epi32(2);
    costs cost[2];
    uint32_t *words = work;
    start(cost[0], t->states);
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
        trace16(codes, steps, cost[steps & 1], work);
    else
        tq_trellis_trace(codes, steps, t->states, cost[steps & 1][0], work);
}

void tq_kernels_fill_avx512_trellis(tq_kernels *k) {
    k->trellis = trellis;
}
#endif
