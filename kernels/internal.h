/* internal.h - what the kernel files share among themselves: single-value conversions, the fill functions. */
#ifndef TQ_KERNELS_INTERNAL_H
#define TQ_KERNELS_INTERNAL_H

#include "kernels/kernels.h"
#include <string.h>

/* A named bundle holds every CPU feature that its files are compiled for. */
enum {
    TQ_CPU_AVX2 = 1,
    TQ_CPU_AVX_VNNI = 2,
    TQ_CPU_AVX512 = 4,
    TQ_CPU_NEON = 8,
    TQ_CPU_NEON_DOTPROD = 16,
    TQ_CPU_NEON_I8MM = 32,
    TQ_CPU_AMX = 64
};

/* The bundles that both the CPU and the operating system support (cpu.c). */
unsigned tq_cpu_bundles(void);

/* For what the makers do differently (x86-64 only). */
int tq_cpu_is_intel(void);

/* Each overwrites the entries that its instruction set does better; on another architecture it does not exist. */
void tq_kernels_fill_scalar(tq_kernels *k);
void tq_kernels_fill_scalar_blocks(tq_kernels *k);
void tq_kernels_fill_scalar_coding(tq_kernels *k);
void tq_kernels_fill_scalar_trellis(tq_kernels *k);
void tq_kernels_fill_scalar_gemm(tq_kernels *k);
void tq_kernels_fill_avx2(tq_kernels *k);
void tq_kernels_fill_avx2_exp(tq_kernels *k);
void tq_kernels_fill_avx2_blocks(tq_kernels *k);
void tq_kernels_fill_avx2_coding(tq_kernels *k);
void tq_kernels_fill_avx2_pack(tq_kernels *k);
void tq_kernels_fill_avx2_matvec(tq_kernels *k);
void tq_kernels_fill_avx2_trellis(tq_kernels *k);
void tq_kernels_fill_avx_vnni(tq_kernels *k);
void tq_kernels_fill_avx512(tq_kernels *k);
void tq_kernels_fill_avx512_exp(tq_kernels *k);
void tq_kernels_fill_avx512_blocks(tq_kernels *k);
void tq_kernels_fill_avx512_coding(tq_kernels *k);
void tq_kernels_fill_avx512_fit(tq_kernels *k);
void tq_kernels_fill_avx512_matvec(tq_kernels *k);
void tq_kernels_fill_avx512_trellis(tq_kernels *k);
void tq_kernels_fill_avx512_gemm(tq_kernels *k);
void tq_kernels_fill_amx(tq_kernels *k);
void tq_kernels_fill_neon(tq_kernels *k);
void tq_kernels_fill_neon_blocks(tq_kernels *k);
void tq_kernels_fill_neon_coding(tq_kernels *k);
void tq_kernels_fill_neon_matvec(tq_kernels *k);
void tq_kernels_fill_neon_trellis(tq_kernels *k);
void tq_kernels_fill_neon_dotprod(tq_kernels *k);
void tq_kernels_fill_neon_i8mm(tq_kernels *k);

/* kernels.h: unpack; shared by the tables that decode. */
void tq_unpack_avx2(uint8_t *codes, size_t stride, const uint8_t *src, size_t blocks, int bits);

/* kernels.h: encode_fit by the four kernels it stands for, piece by piece. */
void tq_encode_fit_with(const tq_kernels *k, uint8_t *codes, uint8_t *fine, double sums[3], const float *z, size_t n,
                        const tq_coder *coder);

/* One block of a tile as floats, by the reference. */
void tq_block_weights_scalar(float out[TQ_TILE_ROWS][TQ_BLOCK], const tq_packed *p, size_t tile, size_t block);

/* kernels.h: decode_tile and matvec of the reference, for what an instruction set does not do itself. */
void tq_decode_tile_scalar(float *out, size_t ld, const tq_packed *p, size_t tile);
void tq_matvec_scalar(float *y, const tq_packed *p, const tq_xq *x, size_t tile0, size_t tiles);

/* The same of a trellis. */
void tq_trellis_tile_avx2(float *out, size_t ld, const tq_packed *p, size_t tile);
void tq_trellis_matvec_avx2(float *y, const tq_packed *p, const tq_xq *x, size_t tile0, size_t tiles);
void tq_trellis_matvec_avx_vnni(float *y, const tq_packed *p, const tq_xq *x, size_t tile0, size_t tiles);
void tq_trellis_tile_avx512(float *out, size_t ld, const tq_packed *p, size_t tile);
void tq_trellis_matvec_avx512(float *y, const tq_packed *p, const tq_xq *x, size_t tile0, size_t tiles);
void tq_trellis_pairs_avx512(uint16_t *out, size_t ld, const tq_packed *p, size_t tile);

/* quantize_x: the largest |128 hi + lo|, and the largest |x| of a block that still counts as zero. */
#define TQ_XQ_MAX 8064.0f
#define TQ_XQ_TINY 1e-30f

/* Asks for `lines` cache lines, `ahead` bytes behind p, into the first-level cache. Any address is allowed. */
static inline __attribute__((always_inline)) void tq_ask_ahead(const uint8_t *p, int lines, ptrdiff_t ahead) {
    for (int j = 0; j < lines; j++)
        __builtin_prefetch(p + ahead + (ptrdiff_t)64 * j, 0, 3);
}

/* How many bytes ahead rows of bf16 and f16 are asked for: the machine's own prefetcher stops at the end of a page.
 * They lie in the ordinary pages of a file, where two pages are best whoever made the machine. */
enum { TQ_ROWS_AHEAD = 8192 };

/* How far codes are: of two planes each a page ahead, one alone as kernels.h says. */
static inline ptrdiff_t tq_ask_distance(int fine_bits) {
    return fine_bits ? 4096 : (ptrdiff_t)tq_k()->ask_ahead;
}

/* Where column i of a vector lies in its wide plane. */
static inline size_t tq_wide_place(size_t i) {
    return (i & ~(size_t)3) + (i >> 1 & 1) + 2 * (i & 1);
}

/* kld_row: probabilities relative to the largest below e^-708, the end of the normal doubles, count as 0. */
#define TQ_KLD_EXP_MIN (-708.0)

static inline uint32_t tq_f32_bits(float f) {
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static inline float tq_bits_f32(uint32_t u) {
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static inline float tq_bf16_value(uint16_t h) {
    return tq_bits_f32((uint32_t)h << 16);
}

static inline uint16_t tq_bf16_code(float f) {
    uint32_t u = tq_f32_bits(f);
    if ((u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

/* As F16C does it: a signalling NaN becomes quiet and keeps its payload. */
static inline float tq_f16_value(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, mantissa = h & 0x3ff;
    if (exponent == 31) return tq_bits_f32(sign | 0x7f800000u | mantissa << 13 | (mantissa ? 0x400000u : 0));
    if (exponent == 0) {
        float f = (float)mantissa * 0x1p-24f;
        return tq_bits_f32(sign | tq_f32_bits(f));
    }
    return tq_bits_f32(sign | (exponent + 112) << 23 | mantissa << 13);
}

static inline uint16_t tq_f16_code(float f) {
    uint32_t u = tq_f32_bits(f), sign = u >> 16 & 0x8000, a = u & 0x7fffffffu;
    if (a > 0x7f800000u) return (uint16_t)(sign | 0x7e00 | (a >> 13 & 0x3ff));
    if (a >= 0x477ff000u) return (uint16_t)(sign | 0x7c00); /* 65520 and above round to infinity */
    if (a < 0x38800000u) {
        /* Subnormal: adding 0.5 leaves the mantissa in units of 2^-24, rounded to nearest even by the addition. */
        float shifted = tq_bits_f32(a) + 0.5f;
        return (uint16_t)(sign | (tq_f32_bits(shifted) - 0x3f000000u));
    }
    a += 0xfff + (a >> 13 & 1);
    return (uint16_t)(sign | ((a - 0x38000000u) >> 13));
}

/* level(n, r) of the decode formula; outer cells have a fine shape of their own. */
static inline int tq_level(const tq_levels *l, unsigned n, unsigned r) {
    return l->a[n] + l->v[n] * l->fine[n == 0 || n == 15][r];
}

/* level(n, p, pp) of a trellis. */
static inline int tq_trellis_level(const tq_levels *l, unsigned n, unsigned p, unsigned pp) {
    return l->a[n] + l->v[n] * (l->u[p] + l->t[pp]);
}

/* Whether the code two steps before matters. */
static inline int tq_trellis_deep(const tq_levels *l) {
    for (int i = 0; i < 16; i++) {
        if (l->t[i]) return 1;
    }
    return 0;
}

/* trellis, what the instruction sets share. A cost is a multiple of 16 plus, in the low four bits, the index that this
 * state has among its successors' predecessors (p of 16 states, pp of 256): the smallest cost brings its own index, and
 * of equal ones the smallest. With |l| <= 2^13 and |z| <= 2^14 a branch lies in (-2^28, 2^28 + 2^26]. Any state is
 * reached from any other in two steps at most, so costs never spread by more than 2^30 + 2^27; the smallest is
 * subtracted every fourth step, until when they drift by less than 2^30 + 2^28 up and 2^30 down: int32 holds that, also
 * from the start, where all states but one may cost 2^30 and are left behind after two steps. */
enum { TQ_TRELLIS_PERIOD = 4 };

/* The lane of z: its own rounding to a multiple of 4 keeps the low bits of costs free. */
static inline uint32_t tq_trellis_lane(int16_t z) {
    return (uint32_t)TQ_TRELLIS_SQUARE << 16 | (uint16_t)((z + 2) & ~3);
}

/* The codes from the end of the path back: cost: [states][16] after the last step; predecessors of a state in words of
 * eight states, four bits each: [steps][states / 8][16]. */
void tq_trellis_trace(uint8_t *codes, size_t steps, int states, const int32_t *cost, const uint8_t *last,
                      const uint32_t *words);

/* The codes of a block, `back` (at most 2) tiles before `tile`; in front of the first stands the last. */
static inline const uint8_t *tq_trellis_codes(const tq_packed *p, size_t tile, size_t back, size_t block) {
    size_t before = tile >= back ? tile - back : (tile + 2 * p->tiles - back) % p->tiles;
    return p->codes + (before * p->blocks + block) * 256;
}

/* Binary search over ascending bounds as a walk down a tree: at step s the path so far (which starts with the shape, 0
 * or 1) selects tree[s][path], and the path is doubled, plus one if that bound lies below z. After 4 steps path & 15 is
 * the code. Missing bounds are infinite; count <= 15. */
static inline void tq_search_tree(float tree[4][16], const float *bounds[2], int count) {
    for (int step = 0; step < 4; step++) {
        for (int path = 0; path < 2 << step; path++) {
            int j = ((path & ((1 << step) - 1)) << (4 - step)) + (1 << (3 - step)) - 1;
            tree[step][path] = j < count ? bounds[path >> step][j] : __builtin_inff();
        }
        for (int path = 2 << step; path < 16; path++)
            tree[step][path] = __builtin_inff();
    }
}

static inline const uint16_t *tq_tile_scales(const tq_packed *p, size_t tile) {
    size_t groups = p->blocks ? (p->blocks - 1) / p->group_blocks + 1 : 0;
    return p->scales + tile * groups * TQ_TILE_ROWS;
}

#endif
