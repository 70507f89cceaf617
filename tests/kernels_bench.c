/* kernels_bench.c - how fast each kernel of each instruction set is: test_kernels --bench [ISA]. */
#include "tests/kernels_util.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { N = 4096, VOCABULARY = 32768 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

typedef struct bench {
    const tq_kernels *k;
    float *x, *y, *z, *logits[2];
    uint8_t *codes, *fine, *packed;
    uint16_t *half;
    void *large; /* larger than the last cache */
    size_t large_bytes;
    tq_levels levels, deep; /* deep: a trellis of 256 states */
    tq_fine_search search;
    int32_t cost[256 * 16];
    tq_trellis trellis;
    int16_t *steps;
    void *work;
    float bounds[15];
    tq_xq xq;
    double sums[3];
    tq_kld_row row;
    uint64_t read;
    tq_blocks layout;
} bench;

static void do_bf16_to_f32(bench *b) {
    b->k->bf16_to_f32(b->y, b->half, N);
}
static void do_f16_to_f32(bench *b) {
    b->k->f16_to_f32(b->y, b->half, N);
}
static void do_f32_to_bf16(bench *b) {
    b->k->f32_to_bf16(b->half, b->x, N);
}
static void do_f32_to_f16(bench *b) {
    b->k->f32_to_f16(b->half, b->x, N);
}
static void do_dot(bench *b) {
    b->y[0] = b->k->dot(b->x, b->z, N);
}
static void do_axpy(bench *b) {
    b->k->axpy(b->y, 1e-9f, b->x, N);
}
static void do_mul(bench *b) {
    b->k->mul(b->y, b->x, b->z, N);
}
static void do_rmsnorm(bench *b) {
    b->k->rmsnorm(b->y, b->x, b->z, N, 1e-6f);
}
static void do_softmax(bench *b) {
    b->k->softmax(b->y, N);
}
static void do_silu_mul(bench *b) {
    b->k->silu_mul(b->y, b->x, b->z, N);
}
static void do_sigmoid_mul(bench *b) {
    b->k->sigmoid_mul(b->y, b->x, N);
}
static void do_kld_row(bench *b) {
    b->k->kld_row(&b->row, b->logits[0], b->logits[1], VOCABULARY, 1);
}
static void do_encode(bench *b) {
    b->k->encode(b->codes, b->x, N, b->bounds, 15);
}
static void do_encode_fine(bench *b) {
    b->k->encode_fine(b->fine, b->codes, b->x, N, &b->search);
}
static void do_levels(bench *b) {
    b->k->levels(b->y, b->codes, b->fine, N, &b->levels);
}
static void do_moments(bench *b) {
    b->k->moments(b->sums, b->x, b->z, N);
}
static void do_pack4(bench *b) {
    b->k->pack(b->packed, b->codes, N / 16, N / 512, 4);
}
static void do_pack2(bench *b) {
    b->k->pack(b->packed, b->codes, N / 16, N / 512, 2);
}
static void do_unpack4(bench *b) {
    b->k->unpack(b->codes, N / 16, b->packed, N / 512, 4);
}
static void do_trellis(bench *b) {
    b->k->trellis(b->codes, b->steps, N / 16, &b->trellis, b->cost, NULL, b->work);
}
static void do_trellis_levels(bench *b) {
    b->k->trellis_levels(b->y, b->codes, b->codes + 16, b->codes + 32, N - 32, &b->levels);
}
static void do_quantize_x(bench *b) {
    b->k->quantize_x(&b->xq, b->x, N / 32);
}

static void do_hadamard(bench *b, size_t n) {
    for (size_t i = 0; i < N; i += n)
        b->k->hadamard(b->y + i, n, n == 128 ? 0.08838835f : 0.03125f);
}
static void do_hadamard128(bench *b) {
    do_hadamard(b, 128);
}
static void do_hadamard1024(bench *b) {
    do_hadamard(b, 1024);
}

#define BLOCK(NAME, name, weights, bytes) {#NAME, weights},
static const struct {
    const char *name;
    size_t weights;
} block_layouts[] = {TQ_BLOCK_LAYOUTS(BLOCK)};

static void do_unpack_blocks(bench *b) {
    b->k->unpack_blocks[b->layout](b->y, b->large, N / block_layouts[b->layout].weights);
}

static const struct {
    const char *name;
    void (*call)(bench *b);
    size_t values;
} small[] = {
    {"bf16_to_f32", do_bf16_to_f32, N},
    {"f16_to_f32", do_f16_to_f32, N},
    {"f32_to_bf16", do_f32_to_bf16, N},
    {"f32_to_f16", do_f32_to_f16, N},
    {"dot", do_dot, N},
    {"axpy", do_axpy, N},
    {"mul", do_mul, N},
    {"rmsnorm", do_rmsnorm, N},
    {"softmax", do_softmax, N},
    {"silu_mul", do_silu_mul, N},
    {"sigmoid_mul", do_sigmoid_mul, N},
    {"kld_row", do_kld_row, VOCABULARY},
    {"hadamard 128", do_hadamard128, N},
    {"hadamard 1024", do_hadamard1024, N},
    {"encode", do_encode, N},
    {"encode_fine", do_encode_fine, N},
    {"levels", do_levels, N},
    {"moments", do_moments, N},
    {"pack 4", do_pack4, N},
    {"pack 2", do_pack2, N},
    {"unpack 4", do_unpack4, N},
    {"quantize_x", do_quantize_x, N},
    {"trellis_levels", do_trellis_levels, N - 32},
};

/* The best of some runs, in seconds a call. */
static double best_time(bench *b, void (*call)(bench *b), double seconds) {
    double best = 1e9, start = now();
    size_t calls = 1;
    do {
        double t = now();
        for (size_t i = 0; i < calls; i++)
            call(b);
        t = now() - t;
        if (t / (double)calls < best) best = t / (double)calls;
        if (t < 1e-3) calls *= 2;
    } while (now() - start < seconds);
    return best;
}

/* states: of a trellis, else 0. */
static tq_packed bench_matrix(const bench *b, int code_bits, int fine_bits, int states, size_t group_blocks,
                              size_t *tiles) {
    size_t blocks = 64, tile_bytes = blocks * 64 * (size_t)(code_bits + fine_bits);
    size_t scales = 65536; /* bytes at the end of the buffer, shared by tile 0 .. */
    *tiles = (b->large_bytes - scales) / (tile_bytes + (blocks / group_blocks) * 32);
    const uint8_t *codes = b->large, *fine = codes + *tiles * blocks * 64 * (size_t)code_bits;
    const uint8_t *scale = fine + *tiles * blocks * 64 * (size_t)fine_bits;
    return (tq_packed){.levels = states > 16 ? &b->deep : &b->levels,
                       .codes = codes,
                       .fine = fine_bits ? fine : NULL,
                       .scales = (const uint16_t *)(const void *)scale,
                       .scale_mul = 1,
                       .code_bits = code_bits,
                       .fine_bits = fine_bits,
                       .trellis = states > 0,
                       .blocks = blocks,
                       .tiles = *tiles,
                       .group_blocks = group_blocks};
}

static double matvec_time(const bench *b, const tq_packed *p, float *y, size_t tiles, double seconds) {
    double best = 1e9;
    for (double start = now(); now() - start < seconds;) {
        double t = now();
        b->k->matvec(y, p, &b->xq, 0, tiles);
        t = now() - t;
        if (t < best) best = t;
    }
    return best;
}

static void bench_packed(bench *b, int code_bits, int fine_bits, int states, size_t group_blocks) {
    enum { CACHED = 8 }; /* tiles: 128 KiB of 4-bit codes */
    size_t tiles;
    tq_packed p = bench_matrix(b, code_bits, fine_bits, states, group_blocks, &tiles);
    double bytes = (double)tiles * (double)(p.blocks * 64 * (size_t)(code_bits + fine_bits) + 64 / group_blocks * 32);
    double weights = (double)p.blocks * 512;
    char name[16];
    float *y = malloc(tiles * TQ_TILE_ROWS * sizeof *y);
    if (!y) return;
    if (states)
        snprintf(name, sizeof name, "4t %d", states);
    else
        snprintf(name, sizeof name, "%d+%d", code_bits, fine_bits);
    b->k->quantize_x(&b->xq, b->x, p.blocks);
    double memory = matvec_time(b, &p, y, tiles, 0.6), cache = matvec_time(b, &p, y, CACHED, 0.1);
    printf("  matvec %-6s g%-4zu %8.2f GB/s %9.0f Mweights/s, %9.0f in cache\n", name, group_blocks * 32,
           bytes / memory * 1e-9, (double)tiles * weights / memory * 1e-6, CACHED * weights / cache * 1e-6);
    if (group_blocks == 4) {
        float *out = malloc(p.blocks * 512 * sizeof *out);
        double best = 1e9;
        for (double start = now(); out && now() - start < 0.2;) {
            double t = now();
            for (size_t i = 0; i < 16; i++)
                b->k->decode_tile(out, p.blocks * 32, &p, i);
            t = (now() - t) / 16;
            if (t < best) best = t;
        }
        printf("  decode_tile %-6s    %8.0f Mweights/s\n", name, weights / best * 1e-6);
        free(out);
    }
    free(y);
}

static void do_read_sum(bench *b) {
    b->read += b->k->read_sum(b->large, b->large_bytes);
}
static void do_matvec_bf16(bench *b) {
    b->k->matvec_bf16(b->logits[1], b->large, b->x, b->large_bytes / 2 / 2048, 2048);
}
static void do_matvec_f16(bench *b) {
    b->k->matvec_f16(b->logits[1], b->large, b->x, b->large_bytes / 2 / 2048, 2048);
}
static void do_matvec_f32(bench *b) {
    b->k->matvec_f32(b->logits[1], b->large, b->x, b->large_bytes / 4 / 2048, 2048);
}

static void do_matvec_t_f32(bench *b) {
    b->k->matvec_t_f32(b->y, b->large, b->logits[1], b->large_bytes / 4 / 256, 256);
}

enum { GEMM_ROWS = 64, GEMM_COLS = 1024, GEMM_INPUTS = 512 };

static void do_gemm_bf16(bench *b) {
    const uint16_t *w = b->large, *x = w + (size_t)GEMM_ROWS * GEMM_COLS;
    b->k->gemm_bf16(b->logits[1], GEMM_ROWS, w, (size_t)2 * GEMM_ROWS, GEMM_ROWS, x, GEMM_COLS, GEMM_INPUTS,
                    GEMM_COLS / 2, 0);
}

static void bench_table(bench *b) {
    printf("%s\n", b->k->name);
    for (size_t i = 0; i < sizeof small / sizeof *small; i++) {
        memcpy(b->y, b->x, N * sizeof *b->y);
        printf("  %-16s %9.0f Mvalues/s\n", small[i].name,
               (double)small[i].values / best_time(b, small[i].call, 0.05) * 1e-6);
    }
    for (b->layout = 0; b->layout < TQ_BLOCKS; b->layout++)
        printf("  unpack %-9s %9.0f Mvalues/s\n", block_layouts[b->layout].name,
               N / best_time(b, do_unpack_blocks, 0.05) * 1e-6);
    for (int states = 16; states <= 256; states += 240) {
        b->trellis.states = states;
        printf("  trellis %-8d %9.1f Mvalues/s\n", states, N / best_time(b, do_trellis, 0.2) * 1e-6);
    }
    double bytes = (double)b->large_bytes;
    printf("  read_sum         %8.2f GB/s\n", bytes / best_time(b, do_read_sum, 0.6) * 1e-9);
    printf("  matvec_bf16      %8.2f GB/s\n", bytes / best_time(b, do_matvec_bf16, 0.6) * 1e-9);
    printf("  matvec_f16       %8.2f GB/s\n", bytes / best_time(b, do_matvec_f16, 0.6) * 1e-9);
    printf("  matvec_f32       %8.2f GB/s\n", bytes / best_time(b, do_matvec_f32, 0.6) * 1e-9);
    printf("  matvec_t_f32     %8.2f GB/s\n", bytes / best_time(b, do_matvec_t_f32, 0.6) * 1e-9);
    printf("  gemm_bf16        %8.1f G products/s\n",
           (double)GEMM_ROWS * GEMM_COLS * GEMM_INPUTS / best_time(b, do_gemm_bf16, 0.3) * 1e-9);
    for (size_t group_blocks = 1; group_blocks <= 4; group_blocks *= 4) {
        bench_packed(b, 4, 0, 0, group_blocks);
        bench_packed(b, 4, 0, 16, group_blocks);
        bench_packed(b, 4, 0, 256, group_blocks);
        bench_packed(b, 4, 2, 0, group_blocks);
        bench_packed(b, 4, 4, 0, group_blocks);
        bench_packed(b, 2, 0, 0, group_blocks);
    }
}

static void setup(bench *b) {
    kt_random r = {1};
    b->large_bytes = (size_t)128 << 20;
    b->large = aligned_alloc(64, b->large_bytes); /* as the program aligns what it multiplies */
    b->x = malloc(N * sizeof *b->x);
    b->y = malloc(N * sizeof *b->y);
    b->z = malloc(N * sizeof *b->z);
    b->half = malloc(N * sizeof *b->half);
    b->codes = malloc(N);
    b->fine = malloc(N);
    b->packed = malloc(N);
    b->xq =
        (tq_xq){malloc(N), malloc(N), malloc(2 * N), malloc(N / 32 * sizeof(float)), malloc(N / 16 * sizeof(int32_t))};
    b->steps = malloc(N * sizeof *b->steps);
    b->work = malloc(TQ_TRELLIS_WORK(256, N / 16));
    for (size_t i = 0; i < 2; i++)
        b->logits[i] = aligned_alloc(64, (size_t)VOCABULARY * 4 * sizeof(float));
    if (!b->large || !b->x || !b->y || !b->z || !b->half || !b->codes || !b->fine || !b->packed || !b->xq.hi ||
        !b->xq.lo || !b->xq.wide || !b->xq.scale || !b->xq.sum || !b->logits[0] || !b->logits[1] || !b->steps ||
        !b->work) {
        fputs("out of memory\n", stderr);
        exit(1);
    }
    memset(b->large, 0x3a, b->large_bytes); /* harmless as floats of any width */
    kt_fill_floats(&r, b->x, N, 0, 0);
    kt_fill_floats(&r, b->z, N, 0, 0);
    for (size_t i = 0; i < 2; i++)
        kt_fill_floats(&r, b->logits[i], VOCABULARY, 0, 0);
    kt_fill_bytes(&r, b->codes, N, 15);
    kt_fill_bytes(&r, b->fine, N, 15);
    kt_fill_bytes(&r, b->packed, N, 255);
    b->k->f32_to_f16(b->half, b->x, N);
    kt_random_levels(&r, &b->levels, 0, 0);
    kt_random_trellis(&r, &b->deep, 1, 0);
    for (size_t i = 0; i < 16; i++)
        b->levels.t[i] = 0;
    for (size_t i = 0; i < 4096; i++)
        b->trellis.branch[i] = (int32_t)((kt_next(&r) & 0x7fff) << 16 | (kt_next(&r) & 0xfffc));
    for (size_t i = 0; i < N; i++)
        b->steps[i] = (int16_t)(b->x[i] * 2000);
    for (size_t i = 0; i < 15; i++)
        b->bounds[i] = b->search.bounds[0][i] = b->search.bounds[1][i] = (float)i * 0.25f - 1.75f;
    for (size_t i = 0; i < 16; i++) {
        b->search.a[i] = (float)i * 0.25f - 2;
        b->search.inv_v[i] = 1;
    }
    b->search.count = 15;
}

void kt_bench(const char *isa) {
    bench b = {.k = tq_kernels_find("scalar")};
    const char *name;
    setup(&b);
    for (size_t i = 0; (name = tq_kernels_name(i)); i++) {
        b.k = tq_kernels_find(name);
        if (!isa || !strcmp(isa, name)) bench_table(&b);
    }
    free(b.large);
    free(b.x);
    free(b.y);
    free(b.z);
    free(b.half);
    free(b.codes);
    free(b.fine);
    free(b.packed);
    free(b.steps);
    free(b.work);
    free(b.xq.hi);
    free(b.xq.lo);
    free(b.xq.wide);
    free(b.xq.scale);
    free(b.xq.sum);
    free(b.logits[0]);
    free(b.logits[1]);
}
