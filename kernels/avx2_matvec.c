/* avx2_matvec.c - packed codes times a vector in AVX2, straight from the planes.
 *
 * A register of codes holds 8 rows (lanes of 32 bits) of four columns. 8-bit levels are offset by 128 to unsigned bytes
 * for maddubs (255 * 64 * 2 fits in 16 bits), the offset is taken back through the sums in tq_xq. 16-bit levels are
 * made for even and odd columns apart and multiplied by activations widened likewise. */
#include "kernels/internal.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))

/* The tables of tq_levels, each repeated in both 128-bit lanes. With 4 fine bits outer has its top bit set in the outer
 * cells; with 2 it is 4 there, and fine[0] holds the inner shape and from 4 on the outer one. */
typedef struct byte_tables {
    __m256i offset, a_low, a_high, v, outer, fine[2];
} byte_tables;

static __m256i repeat(const uint8_t table[16]) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)table));
}

static byte_tables make_tables(const tq_levels *l, int fine_bits) {
    uint8_t offset[16], low[16], high[16], v[16], fine[2][16], outer[16] = {0};
    for (size_t i = 0; i < 16; i++) {
        offset[i] = (uint8_t)(l->a[i] + 128);
        low[i] = (uint8_t)(l->a[i] & 255);
        high[i] = (uint8_t)(l->a[i] >> 8 & 255);
        v[i] = (uint8_t)l->v[i];
        fine[0][i] = fine_bits == 2 ? l->fine[i / 4 % 2][i % 4] : l->fine[0][i];
        fine[1][i] = l->fine[1][i];
    }
    outer[0] = outer[15] = fine_bits == 2 ? 4 : 0x80;
    return (byte_tables){repeat(offset), repeat(low),   repeat(high),
                         repeat(v),      repeat(outer), {repeat(fine[0]), repeat(fine[1])}};
}

INLINE __m256i broadcast4(const int8_t *x) {
    int v;
    memcpy(&v, x, sizeof v);
    return _mm256_set1_epi32(v);
}

INLINE __m256i part_of(__m256i v, int part, int bits) {
    __m256i mask = _mm256_set1_epi8((char)((1 << bits) - 1));
    return _mm256_and_si256(part ? _mm256_srli_epi16(v, part * bits) : v, mask);
}

/* Sums of eight rows over one block with the high (0) and the low (1) part of the activations, levels of 8 bits. */
INLINE void block_bytes(__m256i sums[2], const byte_tables *t, const uint8_t *codes, const int8_t *hi, const int8_t *lo,
                        int bits) {
    const __m256i ones = _mm256_set1_epi16(1);
    sums[0] = sums[1] = _mm256_setzero_si256();
    for (int j = 0; j < bits; j++) {
        __m256i v = _mm256_loadu_si256((const __m256i *)(codes + 64 * j));
        for (int part = 0; part < 8 / bits; part++) {
            int col = (8 / bits * j + part) * 4;
            __m256i level = _mm256_shuffle_epi8(t->offset, part_of(v, part, bits));
            __m256i pairs_hi = _mm256_maddubs_epi16(level, broadcast4(hi + col));
            __m256i pairs_lo = _mm256_maddubs_epi16(level, broadcast4(lo + col));
            sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(pairs_hi, ones));
            sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(pairs_lo, ones));
        }
    }
}

/* The shape's entry: with 2 bits both shapes are in one table, with 4 bits one of two is taken. */
INLINE __m256i fine_bytes(const byte_tables *t, __m256i n, __m256i r, int fine_bits) {
    __m256i outer = _mm256_shuffle_epi8(t->outer, n);
    if (fine_bits == 2) return _mm256_shuffle_epi8(t->fine[0], _mm256_or_si256(r, outer));
    return _mm256_blendv_epi8(_mm256_shuffle_epi8(t->fine[0], r), _mm256_shuffle_epi8(t->fine[1], r), outer);
}

/* The same with levels of 16 bits: even columns in level[0], odd ones in level[1], a row still one 32-bit lane. */
INLINE void wide_levels(__m256i level[2], const byte_tables *t, __m256i n, __m256i fine) {
    const __m256i even = _mm256_set1_epi16(0x00ff);
    __m256i low = _mm256_shuffle_epi8(t->a_low, n), high = _mm256_shuffle_epi8(t->a_high, n);
    __m256i v = _mm256_shuffle_epi8(t->v, n);
    __m256i a0 = _mm256_or_si256(_mm256_and_si256(even, low), _mm256_slli_epi16(high, 8));
    __m256i a1 = _mm256_or_si256(_mm256_srli_epi16(low, 8), _mm256_andnot_si256(even, high));
    level[0] = _mm256_add_epi16(a0, _mm256_maddubs_epi16(_mm256_and_si256(even, fine), v));
    level[1] = _mm256_add_epi16(a1, _mm256_maddubs_epi16(_mm256_andnot_si256(even, fine), v));
}

INLINE void add_fine(__m256i sums[2], const byte_tables *t, __m256i n, __m256i r, const int8_t *hi, const int8_t *lo,
                     int fine_bits) {
    __m256i level[2];
    wide_levels(level, t, n, fine_bytes(t, n, r, fine_bits));
    for (int part = 0; part < 2; part++) {
        __m256i x = broadcast4(part ? lo : hi);
        __m256i x0 = _mm256_srai_epi16(_mm256_slli_epi16(x, 8), 8), x1 = _mm256_srai_epi16(x, 8);
        sums[part] = _mm256_add_epi32(sums[part], _mm256_madd_epi16(level[0], x0));
        sums[part] = _mm256_add_epi32(sums[part], _mm256_madd_epi16(level[1], x1));
    }
}

INLINE __m256i load32(const uint8_t *p) {
    return _mm256_loadu_si256((const __m256i *)p);
}

INLINE void block_fine(__m256i sums[2], const byte_tables *t, const uint8_t *codes, const uint8_t *fine,
                       const int8_t *hi, const int8_t *lo, int fine_bits) {
    sums[0] = sums[1] = _mm256_setzero_si256();
    for (int j = 0; j < 2; j++, codes += 128, fine += 32 * fine_bits, hi += 16, lo += 16) {
        __m256i v = load32(codes), w = load32(codes + 64);
        __m256i f = load32(fine), g = fine_bits == 4 ? load32(fine + 64) : _mm256_srli_epi16(f, 4);
        add_fine(sums, t, part_of(v, 0, 4), part_of(f, 0, fine_bits), hi, lo, fine_bits);
        add_fine(sums, t, part_of(v, 1, 4), part_of(f, 1, fine_bits), hi + 4, lo + 4, fine_bits);
        add_fine(sums, t, part_of(w, 0, 4), part_of(g, 0, fine_bits), hi + 8, lo + 8, fine_bits);
        add_fine(sums, t, part_of(w, 1, 4), part_of(g, 1, fine_bits), hi + 12, lo + 12, fine_bits);
    }
}

INLINE __m256 block_product(const byte_tables *t, const uint8_t *codes, const uint8_t *fine, const tq_xq *x, size_t b,
                            int code_bits, int fine_bits) {
    const int8_t *hi = x->hi + b * TQ_BLOCK, *lo = x->lo + b * TQ_BLOCK;
    __m256i sums[2];
    if (fine_bits) {
        block_fine(sums, t, codes, fine, hi, lo, fine_bits);
    } else {
        block_bytes(sums, t, codes, hi, lo, code_bits);
        for (size_t part = 0; part < 2; part++)
            sums[part] = _mm256_sub_epi32(sums[part], _mm256_set1_epi32(128 * x->sum[2 * b + part]));
    }
    return _mm256_fmadd_ps(_mm256_set1_ps(128), _mm256_cvtepi32_ps(sums[0]), _mm256_cvtepi32_ps(sums[1]));
}

/* The order of rounding is that of the scalar reference. */
INLINE void matvec_bits(float *y, const tq_packed *p, const tq_xq *x, size_t tile0, size_t tiles, int code_bits,
                        int fine_bits) {
    const byte_tables t = make_tables(p->levels, fine_bits);
    const __m256 mul = _mm256_set1_ps(p->scale_mul * p->levels->step);
    const uint8_t *codes = p->codes + tile0 * p->blocks * 64 * (size_t)code_bits;
    const uint8_t *fine = fine_bits ? p->fine + tile0 * p->blocks * 64 * (size_t)fine_bits : codes; /* not read */
    const uint16_t *scales = tq_tile_scales(p, tile0);
    for (size_t i = 0; i < tiles; i++) {
        __m256 sum[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
        for (size_t b = 0; b < p->blocks; scales += TQ_TILE_ROWS) {
            size_t end = p->blocks - b > p->group_blocks ? b + p->group_blocks : p->blocks;
            __m256 group_sum[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
            for (; b < end; b++, codes += 64 * code_bits, fine += 64 * fine_bits) {
                __m256 x_scale = _mm256_set1_ps(x->scale[b]);
                for (size_t half = 0; half < 2; half++) {
                    __m256 f = block_product(&t, codes + 32 * half, fine + 32 * half, x, b, code_bits, fine_bits);
                    group_sum[half] = _mm256_fmadd_ps(f, x_scale, group_sum[half]);
                }
            }
            for (size_t half = 0; half < 2; half++) {
                __m256 scale = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(scales + 8 * half)));
                sum[half] = _mm256_fmadd_ps(scale, group_sum[half], sum[half]);
            }
        }
        for (size_t half = 0; half < 2; half++)
            _mm256_storeu_ps(y + TQ_TILE_ROWS * i + 8 * half, _mm256_mul_ps(sum[half], mul));
    }
}

static void matvec(float *y, const tq_packed *p, const tq_xq *x, size_t tile0, size_t tiles) {
    if (p->trellis)
        tq_trellis_matvec_avx2(y, p, x, tile0, tiles);
    else if (p->fine_bits == 4)
        matvec_bits(y, p, x, tile0, tiles, 4, 4);
    else if (p->fine_bits == 2)
        matvec_bits(y, p, x, tile0, tiles, 4, 2);
    else if (p->code_bits == 4)
        matvec_bits(y, p, x, tile0, tiles, 4, 0);
    else
        matvec_bits(y, p, x, tile0, tiles, 2, 0);
}

static int32_t sum8(__m256i v) {
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}

static uint32_t max_abs_bits(const float *x) {
    const __m256i no_sign = _mm256_set1_epi32(0x7fffffff);
    __m256i max = _mm256_setzero_si256();
    for (size_t i = 0; i < TQ_BLOCK; i += 8)
        max = _mm256_max_epu32(max, _mm256_and_si256(_mm256_loadu_si256((const __m256i *)(x + i)), no_sign));
    __m128i m = _mm_max_epu32(_mm256_castsi256_si128(max), _mm256_extracti128_si256(max, 1));
    m = _mm_max_epu32(m, _mm_shuffle_epi32(m, 0x4e));
    return (uint32_t)_mm_cvtsi128_si32(_mm_max_epu32(m, _mm_shuffle_epi32(m, 0xb1)));
}

/* 32 integers that fit in a byte, in order. */
static __m256i pack_bytes(const __m256i v[4]) {
    __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(v[0], v[1]), _mm256_packs_epi32(v[2], v[3]));
    return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

/* 16 integers that fit in 16 bits, of each four in the order 0 2 1 3. */
static __m256i pack_wide(__m256i a, __m256i b) {
    __m256i words = _mm256_packs_epi32(_mm256_shuffle_epi32(a, 0xd8), _mm256_shuffle_epi32(b, 0xd8));
    return _mm256_permute4x64_epi64(words, 0xd8);
}

static void quantize_x(tq_xq *dst, const float *x, size_t blocks) {
    const __m256i half = _mm256_set1_epi32(64);
    for (size_t b = 0; b < blocks; b++, x += TQ_BLOCK) {
        uint32_t max_bits = max_abs_bits(x);
        float max = tq_bits_f32(max_bits);
        int finite = max_bits < 0x7f800000u, zero = !finite || max < TQ_XQ_TINY;
        const __m256 inv = _mm256_set1_ps(zero ? 0 : TQ_XQ_MAX / max);
        __m256i all[4], hi[4], lo[4], sum_hi = _mm256_setzero_si256(), sum_lo = sum_hi;
        for (size_t i = 0; i < 4; i++) {
            __m256i q = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 8 * i), inv));
            if (zero) q = _mm256_setzero_si256();
            all[i] = q;
            hi[i] = _mm256_srai_epi32(_mm256_add_epi32(q, half), 7);
            lo[i] = _mm256_sub_epi32(q, _mm256_slli_epi32(hi[i], 7));
            sum_hi = _mm256_add_epi32(sum_hi, hi[i]);
            sum_lo = _mm256_add_epi32(sum_lo, lo[i]);
        }
        _mm256_storeu_si256((__m256i *)(dst->hi + b * TQ_BLOCK), pack_bytes(hi));
        _mm256_storeu_si256((__m256i *)(dst->lo + b * TQ_BLOCK), pack_bytes(lo));
        for (size_t i = 0; dst->wide && i < 2; i++)
            _mm256_storeu_si256((__m256i *)(dst->wide + b * TQ_BLOCK + 16 * i), pack_wide(all[2 * i], all[2 * i + 1]));
        dst->scale[b] = zero ? (finite ? 0 : __builtin_nanf("")) : max / TQ_XQ_MAX;
        dst->sum[2 * b] = sum8(sum_hi);
        dst->sum[2 * b + 1] = sum8(sum_lo);
    }
}

void tq_kernels_fill_avx2_matvec(tq_kernels *k) {
    k->quantize_x = quantize_x;
    k->matvec = matvec;
}
#endif
