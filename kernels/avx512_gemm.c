/* avx512_gemm.c - bf16 weights times many bf16 inputs by vdpbf16ps, which does twice the multiplications of an fp32
 * FMA.
 *
 * A register of weights holds two neighbouring columns of 16 rows, one lane a row, and meets two values of an input
 * broadcast to all lanes. Four tiles times six inputs fill 24 accumulators; they run over all columns, so that nothing
 * is stored in between. */
#include "kernels/internal.h"

#if defined(__x86_64__)
#include "kernels/avx512_tables.h"

enum { GEMM_TILES = 4, GEMM_INPUTS = 6 };

INLINE __m512bh broadcast_pair(const uint16_t *x) {
    int v;
    memcpy(&v, x, sizeof v);
    return (__m512bh)_mm512_set1_epi32(v);
}

INLINE void product(float *y, size_t ldy, const uint16_t *w, size_t ldw, __mmask16 last, const uint16_t *x, size_t ldx,
                    size_t pairs, int add, size_t tiles, size_t inputs) {
    __m512 sum[GEMM_INPUTS][GEMM_TILES];
#pragma GCC unroll 6
    for (size_t i = 0; i < inputs; i++)
#pragma GCC unroll 4
        for (size_t t = 0; t < tiles; t++)
            sum[i][t] = _mm512_setzero_ps();
    for (size_t c = 0; c < pairs; c++, w += ldw) {
        __m512bh weights[GEMM_TILES];
#pragma GCC unroll 4
        for (size_t t = 0; t < tiles; t++)
            weights[t] = (__m512bh)_mm512_loadu_si512(w + 32 * t);
#pragma GCC unroll 6
        for (size_t i = 0; i < inputs; i++) {
            __m512bh pair = broadcast_pair(x + i * ldx + 2 * c);
#pragma GCC unroll 4
            for (size_t t = 0; t < tiles; t++)
                sum[i][t] = _mm512_dpbf16_ps(sum[i][t], weights[t], pair);
        }
    }
#pragma GCC unroll 6
    for (size_t i = 0; i < inputs; i++) {
#pragma GCC unroll 4
        for (size_t t = 0; t < tiles; t++) {
            float *place = y + i * ldy + 16 * t;
            __mmask16 m = t + 1 == tiles ? last : 0xffff;
            if (add) sum[i][t] = _mm512_add_ps(sum[i][t], _mm512_maskz_loadu_ps(m, place));
            _mm512_mask_storeu_ps(place, m, sum[i][t]);
        }
    }
}

/* The same sums whichever of these takes an input: each accumulator goes over the columns in order. */
static void product_4x6(float *y, size_t ldy, const uint16_t *w, size_t ldw, __mmask16 last, const uint16_t *x,
                        size_t ldx, size_t pairs, int add) {
    product(y, ldy, w, ldw, last, x, ldx, pairs, add, 4, 6);
}
static void product_4x1(float *y, size_t ldy, const uint16_t *w, size_t ldw, __mmask16 last, const uint16_t *x,
                        size_t ldx, size_t pairs, int add) {
    product(y, ldy, w, ldw, last, x, ldx, pairs, add, 4, 1);
}
static void product_1x6(float *y, size_t ldy, const uint16_t *w, size_t ldw, __mmask16 last, const uint16_t *x,
                        size_t ldx, size_t pairs, int add) {
    product(y, ldy, w, ldw, last, x, ldx, pairs, add, 1, 6);
}
static void product_1x1(float *y, size_t ldy, const uint16_t *w, size_t ldw, __mmask16 last, const uint16_t *x,
                        size_t ldx, size_t pairs, int add) {
    product(y, ldy, w, ldw, last, x, ldx, pairs, add, 1, 1);
}

static void gemm_bf16(float *y, size_t ldy, const uint16_t *w, size_t ldw, size_t rows, const uint16_t *x, size_t ldx,
                      size_t n, size_t pairs, int add) {
    for (size_t r = 0; r < rows;) {
        size_t tiles = rows - r > 16 * (GEMM_TILES - 1) ? GEMM_TILES : 1, height = 16 * tiles;
        size_t inside = rows - r < height ? rows - r - 16 * (tiles - 1) : 16; /* rows of the last tile */
        __mmask16 last = (__mmask16)((1u << inside) - 1);
        const uint16_t *panel = w + 2 * r;
        size_t i = 0;
        for (; i + GEMM_INPUTS <= n; i += GEMM_INPUTS)
            (tiles == 1 ? product_1x6 : product_4x6)(y + i * ldy + r, ldy, panel, ldw, last, x + i * ldx, ldx, pairs,
                                                     add);
        for (; i < n; i++)
            (tiles == 1 ? product_1x1 : product_4x1)(y + i * ldy + r, ldy, panel, ldw, last, x + i * ldx, ldx, pairs,
                                                     add);
        r += height;
    }
}

/* --- packed codes as pairs --- */

/* Byte c of each lane as a signed number. */
INLINE __m512i byte_level(__m512i low, unsigned c) {
    return _mm512_srai_epi32(_mm512_slli_epi32(low, 24 - 8 * c), 24);
}

/* 256 * (byte c of high, signed) + (byte c of low). */
INLINE __m512i word_level(__m512i low, __m512i high, unsigned c) {
    __m512i top = _mm512_srai_epi32(_mm512_slli_epi32(high, 24 - 8 * c), 16);
    return _mm512_ternarylogic_epi32(_mm512_set1_epi32(255), _mm512_srli_epi32(low, 8 * c), top, 0xca);
}

/* The four columns of one register of indexes: two pairs. */
INLINE void store_pairs(uint16_t *out, size_t ld, const byte_tables *t, __m512i index, int fine_bits, __m512 scale) {
    __m512i even[2], odd[2];
    if (fine_bits) {
        __m512i low, high;
        if (fine_bits == 2) {
            low = _mm512_permutexvar_epi8(index, t->low[0]);
            high = _mm512_permutexvar_epi8(index, t->high[0]);
        } else {
            __mmask64 upper = _mm512_movepi8_mask(index);
            low = lookup256(t->low, index, upper);
            high = lookup256(t->high, index, upper);
        }
        even[0] = word_level(low, high, 0);
        odd[0] = word_level(low, high, 1);
        even[1] = word_level(low, high, 2);
        odd[1] = word_level(low, high, 3);
    } else {
        __m512i level = _mm512_permutexvar_epi8(index, t->low[0]);
        even[0] = byte_level(level, 0);
        odd[0] = byte_level(level, 1);
        even[1] = byte_level(level, 2);
        odd[1] = byte_level(level, 3);
    }
    _mm512_storeu_si512(out, tq_round_pair(even[0], odd[0], scale));
    _mm512_storeu_si512(out + ld, tq_round_pair(even[1], odd[1], scale));
}

/* Codes (and residual codes) of columns 4 * quad .. + 3 of a block as indexes; foreign bits may remain where the tables
 * repeat. */
INLINE __m512i quad_index(const uint8_t *codes, const uint8_t *fine, unsigned quad, int code_bits, int fine_bits) {
    unsigned per_code = code_bits == 4 ? 2 : 4, shift = quad % per_code * (unsigned)code_bits;
    __m512i n = _mm512_srli_epi16(_mm512_loadu_si512(codes + 64 * (size_t)(quad / per_code)), shift);
    if (fine_bits == 4) {
        __m512i f = _mm512_loadu_si512(fine + 64 * (size_t)(quad / 2));
        return joint_index(n, quad % 2 ? f : _mm512_slli_epi16(f, 4));
    }
    if (fine_bits == 2) {
        __m512i f = _mm512_loadu_si512(fine + 64 * (size_t)(quad / 4));
        unsigned part = quad % 4;
        return joint_index(n, part < 2 ? _mm512_slli_epi16(f, 4 - 2 * part) : _mm512_srli_epi16(f, 2 * part - 4));
    }
    return n;
}

INLINE void decode_bits(uint16_t *out, size_t ld, const tq_packed *p, size_t tile, int code_bits, int fine_bits) {
    const byte_tables t = make_tables(p->levels, code_bits, fine_bits, 0);
    const uint16_t *scales = tq_tile_scales(p, tile);
    const __m512 mul = _mm512_set1_ps(p->scale_mul * p->levels->step);
    const uint8_t *codes = p->codes + tile * p->blocks * 64 * (size_t)code_bits;
    const uint8_t *fine = fine_bits ? p->fine + tile * p->blocks * 64 * (size_t)fine_bits : codes; /* not read */
    for (size_t b = 0; b < p->blocks; b++, codes += 64 * code_bits, fine += 64 * fine_bits) {
        const uint16_t *group = scales + b / p->group_blocks * TQ_TILE_ROWS;
        __m512 scale = _mm512_mul_ps(mul, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)group)));
#pragma GCC unroll 8
        for (unsigned quad = 0; quad < 8; quad++, out += 2 * ld)
            store_pairs(out, ld, &t, quad_index(codes, fine, quad, code_bits, fine_bits), fine_bits, scale);
    }
}

static void decode_pairs(uint16_t *out, size_t ld, const tq_packed *p, size_t tile) {
    if (p->trellis)
        tq_trellis_pairs_avx512(out, ld, p, tile);
    else if (p->fine_bits == 4)
        decode_bits(out, ld, p, tile, 4, 4);
    else if (p->fine_bits == 2)
        decode_bits(out, ld, p, tile, 4, 2);
    else if (p->code_bits == 4)
        decode_bits(out, ld, p, tile, 4, 0);
    else
        decode_bits(out, ld, p, tile, 2, 0);
}

/* 16 rows of 16 pairs, transposed by two rounds of permutations of two registers. */
INLINE void transpose16(__m512i v[16]) {
    for (int i = 0; i < 16; i += 2) {
        __m512i a = v[i], b = v[i + 1];
        v[i] = _mm512_unpacklo_epi32(a, b);
        v[i + 1] = _mm512_unpackhi_epi32(a, b);
    }
    for (int i = 0; i < 16; i += 4) {
        for (int j = 0; j < 2; j++) {
            __m512i a = v[i + j], b = v[i + j + 2];
            v[i + j] = _mm512_unpacklo_epi64(a, b);
            v[i + j + 2] = _mm512_unpackhi_epi64(a, b);
        }
    }
}

/* Pair c of 16 rows out of what transpose16 left: rows 4q .. 4q+3 lie in v[4q + place], in the 128 bits c / 4. */
INLINE __m512i gather_column(const __m512i v[16], int place, int quarter) {
    const __m512i q = _mm512_set_epi64(9, 8, 1, 0, 9, 8, 1, 0), lane = _mm512_set1_epi64(2 * quarter);
    __m512i index = _mm512_add_epi64(q, lane);
    __m512i low = _mm512_permutex2var_epi64(v[place], index, v[4 + place]);
    __m512i high = _mm512_permutex2var_epi64(v[8 + place], index, v[12 + place]);
    return _mm512_shuffle_i64x2(low, high, 0x44);
}

static void gather_pairs(uint16_t *out, size_t ld, const uint16_t *w, size_t rows, size_t cols) {
    static const int places[4] = {0, 2, 1, 3}; /* of pairs 0 .. 3 of a quarter */
    for (size_t c = 0; c < cols; c += 32) {
        __m512i v[16];
        size_t left = cols - c < 32 ? cols - c : 32;
        __mmask32 m = (__mmask32)((1ull << left) - 1);
        for (size_t r = 0; r < 16; r++)
            v[r] = _mm512_maskz_loadu_epi16(r < rows ? m : 0, w + (r < rows ? r : 0) * cols + c);
        transpose16(v);
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++)
            if (2 * (size_t)i < left)
                _mm512_storeu_si512(out + (c / 2 + (size_t)i) * ld, gather_column(v, places[i % 4], i / 4));
    }
}

void tq_kernels_fill_avx512_gemm(tq_kernels *k) {
    k->decode_pairs = decode_pairs;
    k->gather_pairs = gather_pairs;
    k->gemm_bf16 = gemm_bf16;
    k->gemm_bf16_pays = !tq_cpu_is_intel(); /* there vdpbf16ps does no more than an fp32 FMA */
}
#endif
