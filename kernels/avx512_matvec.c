/* avx512_matvec.c - packed codes times a vector in AVX-512, straight from the planes.
 *
 * A register of codes holds 16 rows (lanes of 32 bits) of four columns, so one vpdpbusd with four activations broadcast
 * adds four columns of 16 rows. Levels must be unsigned bytes for it: 8-bit levels are offset by 128; 16-bit levels are
 * taken apart into 256 * (high - 128) + low, both looked up by the joint index n + 16 r. The offsets are taken back
 * through the sums that quantize_x left in tq_xq. */
#include "kernels/internal.h"

#if defined(__x86_64__)
#include "kernels/avx512_tables.h"

INLINE __m512i broadcast4(const int8_t *x) {
    int v;
    memcpy(&v, x, sizeof v);
    return _mm512_set1_epi32(v);
}

/* Integer sums of one block: with the high (0) and the low (1) part of the activations. */
typedef struct block_sums {
    __m512i low[2], high[2];
} block_sums;

INLINE void add_bytes(__m512i sums[2], __m512i bytes, const int8_t *hi, const int8_t *lo) {
    sums[0] = _mm512_dpbusd_epi32(sums[0], bytes, broadcast4(hi));
    sums[1] = _mm512_dpbusd_epi32(sums[1], bytes, broadcast4(lo));
}

/* n from the low nibbles of codes, r from the high nibbles of fine. */
INLINE void add_index(block_sums *s, const byte_tables *t, __m512i codes, __m512i fine, int fine_bits, const int8_t *hi,
                      const int8_t *lo) {
    __m512i index = joint_index(codes, fine);
    if (fine_bits == 2) {
        add_bytes(s->low, _mm512_permutexvar_epi8(index, t->low[0]), hi, lo);
        add_bytes(s->high, _mm512_permutexvar_epi8(index, t->high[0]), hi, lo);
    } else {
        __mmask64 upper = _mm512_movepi8_mask(index);
        add_bytes(s->low, lookup256(t->low, index, upper), hi, lo);
        add_bytes(s->high, lookup256(t->high, index, upper), hi, lo);
    }
}

INLINE void add_codes(block_sums *s, const byte_tables *t, const uint8_t *codes, int bits, const int8_t *hi,
                      const int8_t *lo) {
    for (int j = 0; j < bits; j++) {
        __m512i v = _mm512_loadu_si512(codes + 64 * j);
        for (int part = 0; part < 8 / bits; part++) {
            int col = (8 / bits * j + part) * 4;
            __m512i index = part ? _mm512_srli_epi16(v, (unsigned)(part * bits)) : v;
            add_bytes(s->low, _mm512_permutexvar_epi8(index, t->low[0]), hi + col, lo + col);
        }
    }
}

INLINE void add_codes_fine4(block_sums *s, const byte_tables *t, const uint8_t *codes, const uint8_t *fine,
                            const int8_t *hi, const int8_t *lo) {
    for (int j = 0; j < 4; j++, hi += 8, lo += 8) {
        __m512i v = _mm512_loadu_si512(codes + 64 * j), f = _mm512_loadu_si512(fine + 64 * j);
        add_index(s, t, v, _mm512_slli_epi16(f, 4), 4, hi, lo);
        add_index(s, t, _mm512_srli_epi16(v, 4), f, 4, hi + 4, lo + 4);
    }
}

INLINE void add_codes_fine2(block_sums *s, const byte_tables *t, const uint8_t *codes, const uint8_t *fine,
                            const int8_t *hi, const int8_t *lo) {
    for (int j = 0; j < 2; j++, hi += 16, lo += 16) {
        __m512i v = _mm512_loadu_si512(codes + 128 * j), w = _mm512_loadu_si512(codes + 128 * j + 64);
        __m512i f = _mm512_loadu_si512(fine + 64 * j);
        add_index(s, t, v, _mm512_slli_epi16(f, 4), 2, hi, lo);
        add_index(s, t, _mm512_srli_epi16(v, 4), _mm512_slli_epi16(f, 2), 2, hi + 4, lo + 4);
        add_index(s, t, w, f, 2, hi + 8, lo + 8);
        add_index(s, t, _mm512_srli_epi16(w, 4), _mm512_srli_epi16(f, 2), 2, hi + 12, lo + 12);
    }
}

/* The exact sum of level * x, x the high or the low part. */
INLINE __m512 true_sum(const block_sums *s, int part, int32_t x_sum, int fine_bits) {
    __m512i sum = s->low[part];
    if (fine_bits) sum = _mm512_add_epi32(sum, _mm512_slli_epi32(s->high[part], 8));
    int32_t offset = x_sum * (fine_bits ? 32768 : 128);
    return _mm512_cvtepi32_ps(_mm512_sub_epi32(sum, _mm512_set1_epi32(offset)));
}

INLINE __m512 block_product(const byte_tables *t, const uint8_t *codes, const uint8_t *fine, const tq_xq *x, size_t b,
                            int code_bits, int fine_bits) {
    const int8_t *hi = x->hi + b * TQ_BLOCK, *lo = x->lo + b * TQ_BLOCK;
    block_sums s;
    s.low[0] = s.low[1] = s.high[0] = s.high[1] = _mm512_setzero_si512();
    if (fine_bits == 4)
        add_codes_fine4(&s, t, codes, fine, hi, lo);
    else if (fine_bits == 2)
        add_codes_fine2(&s, t, codes, fine, hi, lo);
    else
        add_codes(&s, t, codes, code_bits, hi, lo);
    return _mm512_fmadd_ps(_mm512_set1_ps(128), true_sum(&s, 0, x->sum[2 * b], fine_bits),
                           true_sum(&s, 1, x->sum[2 * b + 1], fine_bits));
}

/* The order of rounding is that of the scalar reference. */
INLINE void matvec_bits(float *y, const tq_packed *p, const tq_xq *x, size_t tile0, size_t tiles, int code_bits,
                        int fine_bits) {
    const byte_tables t = make_tables(p->levels, code_bits, fine_bits, 128);
    const __m512 mul = _mm512_set1_ps(p->scale_mul * p->levels->step);
    const uint8_t *codes = p->codes + tile0 * p->blocks * 64 * (size_t)code_bits;
    const uint8_t *fine = fine_bits ? p->fine + tile0 * p->blocks * 64 * (size_t)fine_bits : codes; /* not read */
    const uint16_t *scales = tq_tile_scales(p, tile0);
    const ptrdiff_t ahead = tq_ask_distance(fine_bits);
    for (size_t i = 0; i < tiles; i++) {
        __m512 sum = _mm512_setzero_ps();
        for (size_t b = 0; b < p->blocks; scales += TQ_TILE_ROWS) {
            size_t end = p->blocks - b > p->group_blocks ? b + p->group_blocks : p->blocks;
            __m512 group_sum = _mm512_setzero_ps();
            for (; b < end; b++, codes += 64 * code_bits, fine += 64 * fine_bits) {
                tq_ask_ahead(codes, code_bits, ahead);
                tq_ask_ahead(fine, fine_bits, ahead);
                __m512 f = block_product(&t, codes, fine, x, b, code_bits, fine_bits);
                group_sum = _mm512_fmadd_ps(f, _mm512_set1_ps(x->scale[b]), group_sum);
            }
            __m512 scale = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)scales));
            sum = _mm512_fmadd_ps(scale, group_sum, sum);
        }
        _mm512_storeu_ps(y + TQ_TILE_ROWS * i, _mm512_mul_ps(sum, mul));
    }
}

static void matvec(float *y, const tq_packed *p, const tq_xq *x, size_t tile0, size_t tiles) {
    if (p->trellis)
        tq_trellis_matvec_avx512(y, p, x, tile0, tiles);
    else if (p->fine_bits == 4)
        matvec_bits(y, p, x, tile0, tiles, 4, 4);
    else if (p->fine_bits == 2)
        matvec_bits(y, p, x, tile0, tiles, 4, 2);
    else if (p->code_bits == 4)
        matvec_bits(y, p, x, tile0, tiles, 4, 0);
    else
        matvec_bits(y, p, x, tile0, tiles, 2, 0);
}

/* The sums of 32 bytes of a and of 32 of b. */
INLINE void byte_sums(int32_t sums[2], __m256i a, __m256i b) {
    const __m256i one = _mm256_set1_epi8(1), none = _mm256_setzero_si256();
    __m256i s = _mm256_hadd_epi32(_mm256_dpbusd_epi32(none, one, a), _mm256_dpbusd_epi32(none, one, b));
    s = _mm256_hadd_epi32(s, s);
    __m128i both = _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
    _mm_storel_epi64((__m128i *)sums, both);
}

INLINE __m256i low_bytes(__m512i first, __m512i second) {
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm512_cvtepi32_epi8(first)), _mm512_cvtepi32_epi8(second),
                                   1);
}

static void quantize_x(tq_xq *dst, const float *x, size_t blocks) {
    const __m512i no_sign = _mm512_set1_epi32(0x7fffffff), half = _mm512_set1_epi32(64);
    for (size_t b = 0; b < blocks; b++) {
        __m512 v[2] = {_mm512_loadu_ps(x + b * TQ_BLOCK), _mm512_loadu_ps(x + b * TQ_BLOCK + 16)};
        __m512i abs0 = _mm512_and_si512(_mm512_castps_si512(v[0]), no_sign);
        __m512i abs1 = _mm512_and_si512(_mm512_castps_si512(v[1]), no_sign);
        uint32_t max_bits = _mm512_reduce_max_epu32(_mm512_max_epu32(abs0, abs1));
        float max = tq_bits_f32(max_bits);
        int finite = max_bits < 0x7f800000u, zero = !finite || max < TQ_XQ_TINY;
        const __m512 inv = _mm512_set1_ps(zero ? 0 : TQ_XQ_MAX / max);
        __mmask16 keep = zero ? 0 : 0xffff;
        __m512i hi[2], lo[2];
        for (size_t i = 0; i < 2; i++) {
            __m512i q = _mm512_maskz_cvtps_epi32(keep, _mm512_mul_ps(v[i], inv));
            hi[i] = _mm512_srai_epi32(_mm512_add_epi32(q, half), 7);
            lo[i] = _mm512_sub_epi32(q, _mm512_slli_epi32(hi[i], 7));
            if (!dst->wide) continue;
            __m256i wide = _mm512_cvtepi32_epi16(_mm512_shuffle_epi32(q, _MM_PERM_DBCA));
            _mm256_storeu_si256((__m256i *)(dst->wide + b * TQ_BLOCK + 16 * i), wide);
        }
        __m256i high = low_bytes(hi[0], hi[1]), low = low_bytes(lo[0], lo[1]);
        _mm256_storeu_si256((__m256i *)(dst->hi + b * TQ_BLOCK), high);
        _mm256_storeu_si256((__m256i *)(dst->lo + b * TQ_BLOCK), low);
        dst->scale[b] = zero ? (finite ? 0 : __builtin_nanf("")) : max / TQ_XQ_MAX;
        byte_sums(dst->sum + 2 * b, high, low);
    }
}

void tq_kernels_fill_avx512_matvec(tq_kernels *k) {
    k->quantize_x = quantize_x;
    k->matvec = matvec;
}
#endif
