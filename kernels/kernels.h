/* kernels.h - pure arithmetic on buffers, one table of function pointers.
 *
 * The table is filled with the scalar reference and then overwritten by each instruction set that both the CPU
 * and the operating system support. Kernels allocate nothing, do no I/O, start no threads and know no model.
 * Every kernel of every instruction set is held against the scalar one in tests/. */
#ifndef TQ_KERNELS_H
#define TQ_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* Packed codes lie in tiles of 16 rows, each cut into blocks of 32 columns. Rows are padded to a multiple of 16 and
 * columns to a multiple of 32; padding columns meet zero activations and padding rows are never read back. */
#define TQ_TILE_ROWS 16
#define TQ_BLOCK 32

/* One decode formula for every bit config, exact in 16-bit integers, so that each table is one 16-entry byte shuffle:
 *
 *     level(n, r) = a[n] + v[n] * fine[k][r],   k = 1 in the two outer cells (n = 0 and n = 15), else 0
 *     z           = step * level
 *
 * n is the 4-bit code (or a 2-bit code, n < 4), r the code of the residual plane (absent: the product is 0).
 * |level| <= 32767; without a residual plane |a| <= 127, which lets the byte kernels take it. The product itself fits
 * in int16. v < 0 mirrors the shape for the cells left of zero. */
typedef struct tq_levels {
    int16_t a[16];
    int8_t v[16];
    uint8_t fine[2][16];
    int8_t u[16], t[16]; /* of a trellis, see below; else not looked at */
    float step;
} tq_levels;

/* A trellis: the level of a weight depends on its own 4-bit code n and on the codes p and pp of the two weights before
 * it in its sequence, which runs down the rows of one column: row r follows row r - 16, the same place of the tile
 * before. The sequence is a ring: in front of its first weight stands its last.
 *
 *     level(n, p, pp) = a[n] + v[n] * (u[p] + t[pp]),     z = step * level
 *
 * a is a multiple of TQ_TRELLIS_UNIT, at most 127 of them: (v, unit) . (u + t, a / unit) is one step of pmaddubsw.
 * v >= 0, |u + t| <= 127, |level| <= TQ_TRELLIS_MAX for all 4096 combinations: the sum of one block of 32 products with
 * 14-bit activations is exact in int32. With t all zero there are 16 states, else 256. */
#define TQ_TRELLIS_UNIT 48
#define TQ_TRELLIS_MAX 8191

/* What the search for the best codes needs of such a table; made by quant/. A branch is what it costs to code z as l,
 * less z^2, which all branches share: l^2 - 2 z l = 2048 * high + z * low, with l rounded to even, low = -2 l and
 * high = l^2 / 2048, rounded. Stored as high << 16 | low.
 *   branch: [groups][16][16]: with 16 states one group, [n][p]; with 256 states group p, [n][pp]. */
#define TQ_TRELLIS_SQUARE 2048
typedef struct tq_trellis {
    int states; /* 16 or 256 */
    int32_t branch[16 * 256];
} tq_trellis;

/* Costs carry in their low four bits which of its 16 successors' predecessors a state is. */
#define TQ_TRELLIS_FORBIDDEN (1 << 30)
static inline int tq_trellis_index(int states, int state) {
    return states == 16 ? state : state >> 4;
}

/* |z| that the search takes, in units of step, and the bytes it works in. */
#define TQ_TRELLIS_Z_MAX 16380
#define TQ_TRELLIS_WORK(states, steps) ((size_t)(states)*8 * (steps))

/* How the residual code of a coordinate is found: t = (z - a[n]) * inv_v[n], r = how many of bounds[k] lie strictly
 * below t, k as above. a and inv_v are in units of z; bounds ascend; count is 3 or 15. */
typedef struct tq_fine_search {
    float a[16];
    float inv_v[16];
    float bounds[2][15];
    int count;
} tq_fine_search;

/* All that finding the codes of one table takes, made by tq_coder_init. Beside the bounds it has a shortcut, valid when
 * no interval holds two bounds: round(z * scale + offset) names one of 64 intervals, first[] says how many bounds lie
 * below it, and one comparison with the next bound decides. For the residual code the intervals are those of
 * t * 2^shift[k], the power of two of each shape being taken into inv_v and the bounds, which keeps t exact. */
typedef struct tq_coder {
    const tq_levels *levels; /* borrowed */
    float bounds[16];        /* as encode takes them, infinite from count on */
    int count;
    tq_fine_search search; /* count 0: no residual plane */
    int shortcut;
    float scale, offset;
    uint8_t first[64], fine_first[2][64];
    float inv_v[16], fine_bounds[2][16];
} tq_coder;

/* levels is kept, bounds and search (NULL: no residual plane) are copied. */
void tq_coder_init(tq_coder *coder, const tq_levels *levels, const float *bounds, int count,
                   const tq_fine_search *search);

/* A packed matrix, or one stage of it; everything is borrowed.
 *   codes:  [tiles][blocks][64 * code_bits] bytes, code_bits 4 or 2
 *   fine:   [tiles][blocks][64 * fine_bits] bytes, fine_bits 0 (NULL), 2 or 4
 *   scales: [tiles][groups][16] fp16, groups = ceil(blocks / group_blocks); weight = scale_mul * scale * z
 * Inside a block of 4 bits: four chunks of 64 bytes; byte 4*row + c of chunk j holds column 8j + c in its low nibble
 * and column 8j + 4 + c in its high nibble (c = 0..3). Inside a block of 2 bits: two chunks; byte 4*row + c of chunk j
 * holds columns 16j + c, 16j + 4 + c, 16j + 8 + c, 16j + 12 + c from its low to its high bits. A lane of 32 bits is
 * thus one row and four neighbouring columns, which is what a byte dot product consumes.
 * A trellis has code_bits 4 and no fine plane; to decode a tile the codes of the two tiles before it are read too. */
typedef struct tq_packed {
    const tq_levels *levels;
    const uint8_t *codes;
    const uint8_t *fine;
    const uint16_t *scales;
    float scale_mul;
    int code_bits;
    int fine_bits;
    int trellis; /* 0 or 1 */
    size_t tiles;
    size_t blocks;
    size_t group_blocks;
} tq_packed;

/* A rotated input vector in integers: x[i] = scale[i / 32] * (128 * hi[i] + lo[i]), |128 hi + lo| <= 8064, lo in
 * [-64, 63]. 14 bits keep the integer product as good as fp32 activations (relative MSE about 1e-9).
 *   hi, lo: [blocks * 32] int8;  scale: [blocks] float;  sum: [blocks][2] int32, the sums of hi and of lo;
 *   wide: [blocks * 32] int16, 128 hi + lo, of each four columns in the order 0 2 1 3: the even ones are the 16-bit
 *   halves of one 32-bit lane, the odd ones of the next. Only trellis codes meet it; NULL: not wanted. */
typedef struct tq_xq {
    int8_t *hi;
    int8_t *lo;
    int16_t *wide;
    float *scale;
    int32_t *sum;
} tq_xq;

/* What one position of two sets of logits says. All in nats, sums in double. */
typedef struct tq_kld_row {
    double kld;        /* KL(P || Q), P = softmax(base), Q = softmax(quant) */
    double base_logp;  /* log P[target] */
    double quant_logp; /* log Q[target] */
    size_t base_top;   /* argmax, the lowest index among equals */
    size_t quant_top;
} tq_kld_row;

/* Quantized weights as other programs' files hold them: blocks of 32 or 256, one after another, aligned to nothing,
 * numbers little-endian. d, m, dmin are fp16, q is a code, its bits put together as beside it; each product and each
 * sum is rounded to fp32 in the order given. "nibbles" of 32 weights are 16 bytes: weights 0 .. 15 low, 16 .. 31 high.
 *
 *   Q4_0    d, nibbles:                              d * (q - 8)
 *   Q4_1    d, m, nibbles:                           d * q + m
 *   Q5_0    d, fifth bits [4], nibbles:              d * (q - 16), bit i of the little-endian word is of weight i
 *   Q5_1    d, m, fifth bits [4], nibbles:           d * q + m
 *   Q8_0    d, int8 [32]:                            d * q
 *   IQ4_NL  d, nibbles:                              d * uneven[q], levels that are not evenly spaced
 *
 * 256 weights, sub-blocks with scales of their own. "planes": byte j of each 32 is of the weights j of 2 (nibbles), 4
 * (pairs) or 8 (bits) runs of 32 that follow each other, lowest bits first.
 *
 *   Q2_K    scales [16], planes of pairs [64], d, dmin; sub-blocks of 16:
 *           (d * low nibble) * q - dmin * high nibble
 *
 *   Q3_K    third bits [32], planes of pairs [64], scales [12], d; sub-blocks of 16:
 *           (d * (s - 32)) * (q - 4), s of 6 bits: nibbles of bytes 0 .. 7 (8 low, then 8 high), pairs of bytes 8 .. 11
 *           (4 of each shift)
 *
 *   Q4_K    d, dmin, scales [12], planes of nibbles [128]; sub-blocks of 32:
 *           (d * s) * q - dmin * o, s and o of 6 bits: the first four are the low bits of bytes 0 .. 3 and 4 .. 7; of
 *           the last four, bytes 8 .. 11 hold the low four bits, s in low nibbles and o in high ones, and the tops of
 *           bytes 0 .. 3 and 4 .. 7 the high two
 *
 *   Q5_K    d, dmin, scales [12] as those, fifth bits [32], planes of nibbles [128]
 *
 *   Q6_K    low nibbles [128], high pairs [64], int8 scales [16], d; sub-blocks of 16:
 *           (d * s) * (q - 32); of each 128 weights 64 bytes of nibbles hold two runs of 32 low and two high, and 32
 *           bytes of pairs four runs
 *
 *   IQ4_XS  d, high pairs of the scales (16 bits), low nibbles of the scales [4], nibbles [16] of each 32 weights:
 *           (d * (s - 32)) * uneven[q] */

/* The list of them: name, the same in small letters, the weights of a block, its bytes. */
#define TQ_BLOCK_LAYOUTS(LAYOUT)                                                                                       \
    LAYOUT(Q4_0, q4_0, 32, 18)                                                                                         \
    LAYOUT(Q4_1, q4_1, 32, 20)                                                                                         \
    LAYOUT(Q5_0, q5_0, 32, 22)                                                                                         \
    LAYOUT(Q5_1, q5_1, 32, 24)                                                                                         \
    LAYOUT(Q8_0, q8_0, 32, 34)                                                                                         \
    LAYOUT(IQ4_NL, iq4_nl, 32, 18)                                                                                     \
    LAYOUT(Q2_K, q2_k, 256, 84)                                                                                        \
    LAYOUT(Q3_K, q3_k, 256, 110)                                                                                       \
    LAYOUT(Q4_K, q4_k, 256, 144)                                                                                       \
    LAYOUT(Q5_K, q5_k, 256, 176)                                                                                       \
    LAYOUT(Q6_K, q6_k, 256, 210)                                                                                       \
    LAYOUT(IQ4_XS, iq4_xs, 256, 136)

#define TQ_BLOCK_INDEX(NAME, name, weights, bytes) TQ_BLOCKS_##NAME,
typedef enum tq_blocks {
    TQ_BLOCK_LAYOUTS(TQ_BLOCK_INDEX) /* TQ_BLOCKS_Q4_0 .. */
    TQ_BLOCKS                        /* how many there are */
} tq_blocks;
#undef TQ_BLOCK_INDEX

/* TQ_BLOCK_WEIGHTS_Q4_0 and TQ_BLOCK_BYTES_Q4_0, and so on: what a block holds and takes. */
#define TQ_BLOCK_SIZES(NAME, name, weights, bytes) TQ_BLOCK_WEIGHTS_##NAME = (weights), TQ_BLOCK_BYTES_##NAME = (bytes),
enum { TQ_BLOCK_LAYOUTS(TQ_BLOCK_SIZES) };
#undef TQ_BLOCK_SIZES

typedef struct tq_kernels {
    const char *name; /* "scalar", "avx2", "avx-vnni", "avx512", "amx", "neon", "neon-dotprod", "neon-i8mm" */

    /* Conversions of n values; rounding is to nearest even, NaN stays NaN. */
    void (*bf16_to_f32)(float *dst, const uint16_t *src, size_t n);
    void (*f16_to_f32)(float *dst, const uint16_t *src, size_t n);
    void (*f32_to_bf16)(uint16_t *dst, const float *src, size_t n);
    void (*f32_to_f16)(uint16_t *dst, const float *src, size_t n);

    /* n blocks as floats, by tq_blocks: out: [n * weights]. */
    void (*unpack_blocks[TQ_BLOCKS])(float *out, const void *blocks, size_t n);

    /* Vectors of n floats. Results do not depend on alignment. */
    float (*dot)(const float *a, const float *b, size_t n);
    void (*axpy)(float *y, float a, const float *x, size_t n);                      /* y += a * x */
    void (*mul)(float *y, const float *x, const float *w, size_t n);                /* y = x * w, y may be x */
    void (*rmsnorm)(float *y, const float *x, const float *w, size_t n, float eps); /* y = x/rms * w; y may be x */
    void (*softmax)(float *x, size_t n);                                            /* in place, max subtracted */
    void (*silu)(float *x, size_t n);                                               /* x = x * sigmoid(x) */
    void (*silu_mul)(float *y, const float *gate, const float *up, size_t n);       /* y = silu(gate) * up */
    void (*sigmoid_mul)(float *y, const float *gate, size_t n);                     /* y *= sigmoid(gate) */
    void (*kld_row)(tq_kld_row *out, const float *base, const float *quant, size_t n, size_t target);

    /* Walsh-Hadamard transform in natural (Sylvester) order, in place, times scale; n is a power of two. */
    void (*hadamard)(float *x, size_t n, float scale);

    /* Coding of n coordinates. encode: code = how many of the `count` ascending bounds lie strictly below z. */
    void (*encode)(uint8_t *codes, const float *z, size_t n, const float *bounds, int count);
    void (*encode_fine)(uint8_t *fine, const uint8_t *codes, const float *z, size_t n, const tq_fine_search *s);
    /* out[i] = level(codes[i], fine[i]) as float (without step); fine may be NULL. */
    void (*levels)(float *out, const uint8_t *codes, const uint8_t *fine, size_t n, const tq_levels *l);
    /* Codes of 16 sequences side by side: the path of least squared error through the trellis, ties to the smaller
     * code. first, last: [16] the states before and after all steps, a state being the last code, or 16 times the one
     * before it plus the last; NULL: any. z: [steps][16] in units of step, |z| <= TQ_TRELLIS_Z_MAX; codes: [steps][16],
     * which may lie where z does; work: TQ_TRELLIS_WORK bytes. Exact: the same codes on every instruction set. */
    void (*trellis)(uint8_t *codes, const int16_t *z, size_t steps, const tq_trellis *t, int32_t *cost,
                    const uint8_t *last, void *work);
    /* out[i] = level(codes[i], before[i], before2[i]) as float (without step). */
    void (*trellis_levels)(float *out, const uint8_t *codes, const uint8_t *before, const uint8_t *before2, size_t n,
                           const tq_levels *l);
    /* sums[0] = <z, c>, sums[1] = <c, c>, sums[2] = <z, z>, accumulated in double. */
    void (*moments)(double sums[3], const float *z, const float *c, size_t n);

    /* encode, encode_fine (with search.count), levels and moments in one pass. sums are those of moments to 1e-6
     * of their magnitudes; the squared errors with and without the best scale, which they give as differences, to 1e-6
     * of the one without. */
    void (*encode_fit)(uint8_t *codes, uint8_t *fine, double sums[3], const float *z, size_t n, const tq_coder *coder);
    /* y = scale * H (x * signs): y, x, signs: [n], y may be x; n is a power of two. */
    void (*rotate)(float *y, const float *x, const float *signs, size_t n, float scale);

    /* Packing of one tile: codes: [16][stride] bytes, blocks * 32 columns are taken; dst: blocks * 64 * bits bytes. */
    void (*pack)(uint8_t *dst, const uint8_t *codes, size_t stride, size_t blocks, int bits);
    void (*unpack)(uint8_t *codes, size_t stride, const uint8_t *src, size_t blocks, int bits);

    /* Tile `tile` as floats (scale_mul * scale * step * level): out: [16][ld], blocks * 32 columns are written. */
    void (*decode_tile)(float *out, size_t ld, const tq_packed *p, size_t tile);

    /* The same tile as bf16, in the order that gemm_bf16 reads: columns 2c and 2c + 1 of row r at out + c * ld + 2 * r.
     * Each weight is rounded once, from decode_tile's; subnormals count as zero. */
    void (*decode_pairs)(uint16_t *out, size_t ld, const tq_packed *p, size_t tile);
    /* At most 16 rows of a plain bf16 matrix in that order: w: [rows, cols]; rows up to 16 and an odd column are zero.
     */
    void (*gather_pairs)(uint16_t *out, size_t ld, const uint16_t *w, size_t rows, size_t cols);
    /* y: [n, ldy], columns 0 .. rows-1, = (add: +=) x times weights, summed in fp32. w: [pairs, ldw] in pairs, rows
     * padded to 16, ldw >= 2 * that; x: [n, ldx] bf16, 2 * pairs columns. A row of y depends on its row of x alone.
     * Each product and each sum is rounded to fp32 at most once, to nearest even, in an order that each instruction set
     * has for itself; subnormal values, products and sums may count as zero. */
    void (*gemm_bf16)(float *y, size_t ldy, const uint16_t *w, size_t ldw, size_t rows, const uint16_t *x, size_t ldx,
                      size_t n, size_t pairs, int add);
    int gemm_bf16_pays; /* whether it is faster than a good fp32 product on this instruction set */

    /* Rotated x: [blocks * 32] (padded with zeros by the caller) to integers. */
    void (*quantize_x)(tq_xq *dst, const float *x, size_t blocks);
    /* How many bytes ahead of codes that lie in one plane, in huge pages, the next are asked for: the machine's own
     * prefetcher stops at the end of a page, and how far it is to be helped depends on who made it. */
    size_t ask_ahead;
    /* y[0 .. 16*tiles) = the rows of tiles tile0 .. tile0+tiles-1 times x. */
    void (*matvec)(float *y, const tq_packed *p, const tq_xq *x, size_t tile0, size_t tiles);

    /* Plain row-major matrices: w: [rows, cols], x: [cols], y: [rows]. */
    void (*matvec_bf16)(float *y, const uint16_t *w, const float *x, size_t rows, size_t cols);
    void (*matvec_f16)(float *y, const uint16_t *w, const float *x, size_t rows, size_t cols);
    void (*matvec_f32)(float *y, const float *w, const float *x, size_t rows, size_t cols);
    /* The transposed product: w: [rows, cols], x: [rows], y: [cols] = the sum of the rows, row r times x[r]. */
    void (*matvec_t_f32)(float *y, const float *w, const float *x, size_t rows, size_t cols);

    /* Sum of n bytes' worth of 64-bit words: reads memory as fast as it goes (bench). */
    uint64_t (*read_sum)(const void *p, size_t bytes);
} tq_kernels;

/* The table in use; chosen on first call as the best that this machine supports. Thread-safe after the first call. */
const tq_kernels *tq_k(void);

/* The table of one instruction set by name, or NULL when this build or this CPU has none (tests, benchmarks). */
const tq_kernels *tq_kernels_find(const char *name);

/* Makes `name` ("auto" or that of a table) the one in use. Returns 0, or -1 if it is not supported.
 * To be called before threads use the table. */
int tq_kernels_use(const char *name);

/* Tells the CPU that this thread waits in a loop for another one. */
void tq_spin_hint(void);

/* Asks for memory that will be read soon, into this core's second-level cache. Any address is allowed. */
void tq_prefetch(const void *p, size_t bytes);

/* The names this machine supports, best first; n < count. NULL past the end. */
const char *tq_kernels_name(size_t n);

#endif
