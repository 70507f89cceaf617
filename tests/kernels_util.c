/* kernels_util.c - random values and guarded buffers. */
#include "tests/kernels_util.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATTERN = 0xa5 };

uint64_t kt_next(kt_random *r) {
    uint64_t z = r->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

size_t kt_below(kt_random *r, size_t n) {
    return (size_t)(kt_next(r) % n);
}

float kt_normal(kt_random *r) {
    int64_t sum = 0;
    for (int i = 0; i < 3; i++) {
        uint64_t u = kt_next(r);
        for (int j = 0; j < 4; j++)
            sum += (int64_t)(u >> (16 * j) & 0xffff);
    }
    return (float)((double)sum / 65536 - 6);
}

size_t kt_size(size_t i) {
    static const size_t large[] = {255, 256, 257, 1000, 4099};
    if (i <= 200) return i;
    return i - 201 < sizeof large / sizeof *large ? large[i - 201] : SIZE_MAX;
}

void kt_same_floats(const float *a, const float *b, size_t n, const char *what) {
    for (size_t i = 0; i < n; i++) {
        if (memcmp(a + i, b + i, sizeof *a) && !(isnan(a[i]) && isnan(b[i])))
            fail_msg("%s: value %zu of %zu is %.9g, the reference has %.9g", what, i, n, (double)a[i], (double)b[i]);
    }
}

static float from_bits(uint32_t u) {
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static float adversary(kt_random *r, int specials) {
    uint32_t bits = (uint32_t)kt_next(r), sign = bits & 0x80000000u;
    switch (kt_below(r, specials ? 7 : 4)) {
    case 0:
        return from_bits(sign);
    case 1:
        return from_bits(sign | (bits & 0x7fffff));
    case 2:
        return kt_normal(r) * 1e15f;
    case 3:
        return kt_normal(r) * 1e-15f;
    case 4:
        return from_bits(sign | 0x7f800000);
    case 5:
        return from_bits(sign | 0x7f800000 | (bits & 0x7fffff));
    default:
        return from_bits(bits);
    }
}

void kt_fill_floats(kt_random *r, float *x, size_t n, int adversarial, int specials) {
    for (size_t i = 0; i < n; i++)
        x[i] = adversarial && kt_below(r, 4) == 0 ? adversary(r, specials) : kt_normal(r);
}

double kt_small_float(unsigned h, int exponent_bits, int mantissa_bits) {
    int bias = (1 << (exponent_bits - 1)) - 1, exponent = (int)(h >> mantissa_bits) & ((1 << exponent_bits) - 1);
    int mantissa = (int)h & ((1 << mantissa_bits) - 1), sign = h >> 15 ? -1 : 1;
    if (exponent == (1 << exponent_bits) - 1) return mantissa ? (double)NAN : sign * (double)INFINITY;
    if (exponent == 0) return copysign(ldexp(mantissa, 1 - bias - mantissa_bits), sign);
    return sign * ldexp(mantissa + (1 << mantissa_bits), exponent - bias - mantissa_bits);
}

void kt_fill_bytes(kt_random *r, void *p, size_t n, unsigned mask) {
    uint8_t *b = p;
    for (size_t i = 0; i < n; i++)
        b[i] = (uint8_t)(kt_next(r) & mask);
}

void kt_guarded_new(kt_guarded *g, size_t capacity) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    g->capacity = (capacity + 256 + page - 1) / page * page;
    g->pages = mmap(NULL, g->capacity + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(g->pages != MAP_FAILED);
    assert_int_equal(mprotect(g->pages + page, g->capacity, PROT_READ | PROT_WRITE), 0);
    g->pages += page;
    g->data = g->pages;
    g->bytes = 0;
    memset(g->pages, PATTERN, g->capacity);
}

void kt_guarded_free(kt_guarded *g) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (g->pages) munmap(g->pages - page, g->capacity + 2 * page);
    g->pages = NULL;
}

void *kt_place(kt_guarded *g, size_t bytes, size_t element, int placement) {
    assert_true(bytes + 3 * element <= g->capacity);
    memset(g->pages, PATTERN, g->capacity);
    g->bytes = bytes;
    g->data = g->pages;
    if (placement == KT_AT_END) g->data += g->capacity - bytes;
    if (placement == KT_MISALIGNED) g->data += 3 * element;
    return g->data;
}

void kt_check(const kt_guarded *g) {
    for (size_t i = 0; i < g->capacity; i++) {
        const uint8_t *p = g->pages + i;
        if (p >= g->data && p < g->data + g->bytes) continue;
        if (*p != PATTERN) fail_msg("a byte outside of the buffer was written, %td from its start", p - g->data);
    }
}

void kt_random_levels(kt_random *r, tq_levels *l, int fine_bits, int extreme) {
    for (size_t i = 0; i < 16; i++) {
        if (extreme) {
            l->a[i] = (int16_t)((i & 1 ? -1 : 1) * (fine_bits ? 32767 - 32385 : 127));
            l->v[i] = i & 1 ? -127 : 127;
            l->fine[0][i] = l->fine[1][i] = 255;
            continue;
        }
        l->a[i] = (int16_t)((int)kt_below(r, 255) - 127);
        if (fine_bits) l->a[i] = (int16_t)(l->a[i] * 60);
        l->v[i] = (int8_t)((int)kt_below(r, 255) - 127);
        l->fine[0][i] = (uint8_t)kt_below(r, 190);
        l->fine[1][i] = (uint8_t)kt_below(r, 190);
    }
    l->step = 0.0123f;
}

void kt_matrix_new(kt_matrix *m, kt_random *r, int code_bits, int fine_bits, size_t tiles, size_t blocks,
                   size_t group_blocks, int extreme) {
    size_t code_bytes = tiles * blocks * 64 * (size_t)code_bits, fine_bytes = tiles * blocks * 64 * (size_t)fine_bits;
    m->tiles = tiles;
    m->groups = (blocks + group_blocks - 1) / group_blocks;
    size_t scale_count = tiles * m->groups * TQ_TILE_ROWS;
    kt_random_levels(r, &m->levels, fine_bits, extreme);
    kt_guarded_new(&m->codes, code_bytes);
    kt_guarded_new(&m->fine, fine_bytes);
    kt_guarded_new(&m->scales, scale_count * 2);
    uint8_t *codes = kt_place(&m->codes, code_bytes, 1, KT_AT_END),
            *fine = kt_place(&m->fine, fine_bytes, 1, KT_AT_END);
    uint16_t *scales = kt_place(&m->scales, scale_count * 2, 2, KT_AT_END);
    kt_fill_bytes(r, codes, code_bytes, 255);
    kt_fill_bytes(r, fine, fine_bytes, 255);
    if (extreme && kt_below(r, 2)) memset(codes, 0, code_bytes); /* all levels at the same limit */
    for (size_t i = 0; i < scale_count; i++)
        scales[i] = (uint16_t)(kt_below(r, 0x7c00)); /* finite, not negative */
    m->packed = (tq_packed){.levels = &m->levels,
                            .codes = codes,
                            .fine = fine_bits ? fine : NULL,
                            .scales = scales,
                            .scale_mul = 0.75f,
                            .code_bits = code_bits,
                            .fine_bits = fine_bits,
                            .tiles = tiles,
                            .blocks = blocks,
                            .group_blocks = group_blocks};
}

void kt_random_trellis(kt_random *r, tq_levels *l, int deep, int extreme) {
    int flat = extreme && kt_below(r, 2); /* the largest levels come from a, or from the product */
    for (size_t i = 0; i < 16; i++) {
        if (extreme) {
            int sign = i & 1 ? -1 : 1;
            l->a[i] = (int16_t)(flat ? sign * 127 * TQ_TRELLIS_UNIT : 0);
            l->v[i] = flat ? 16 : 64;
            l->u[i] = (int8_t)(sign * (deep ? 27 : 127));
            l->t[i] = (int8_t)(deep ? sign * 100 : 0);
            continue;
        }
        l->a[i] = (int16_t)(((int)kt_below(r, 191) - 95) * TQ_TRELLIS_UNIT);
        l->v[i] = (int8_t)kt_below(r, 61);
        l->u[i] = (int8_t)((int)kt_below(r, 61) - 30);
        l->t[i] = (int8_t)(deep ? (int)kt_below(r, 61) - 30 : 0);
    }
    l->step = 0.000123f;
}

void kt_matrix_trellis(kt_matrix *m, kt_random *r, int deep, int extreme) {
    kt_random_trellis(r, &m->levels, deep, extreme);
    m->packed.trellis = 1;
}

void kt_matrix_free(kt_matrix *m) {
    kt_guarded_free(&m->codes);
    kt_guarded_free(&m->fine);
    kt_guarded_free(&m->scales);
}

void kt_vector_new(kt_vector *v, size_t blocks) {
    size_t n = blocks * TQ_BLOCK;
    kt_guarded_new(&v->hi, n);
    kt_guarded_new(&v->lo, n);
    kt_guarded_new(&v->wide, n * sizeof(int16_t));
    kt_guarded_new(&v->scale, blocks * sizeof(float));
    kt_guarded_new(&v->sum, blocks * 2 * sizeof(int32_t));
    v->xq.hi = kt_place(&v->hi, n, 1, KT_AT_END);
    v->xq.lo = kt_place(&v->lo, n, 1, KT_MISALIGNED);
    v->xq.wide = kt_place(&v->wide, n * sizeof(int16_t), sizeof(int16_t), KT_AT_END);
    v->xq.scale = kt_place(&v->scale, blocks * sizeof(float), sizeof(float), KT_AT_END);
    v->xq.sum = kt_place(&v->sum, blocks * 2 * sizeof(int32_t), sizeof(int32_t), KT_AT_END);
}

void kt_vector_check(const kt_vector *v) {
    kt_check(&v->hi);
    kt_check(&v->lo);
    kt_check(&v->wide);
    kt_check(&v->scale);
    kt_check(&v->sum);
}

void kt_vector_free(kt_vector *v) {
    kt_guarded_free(&v->hi);
    kt_guarded_free(&v->lo);
    kt_guarded_free(&v->wide);
    kt_guarded_free(&v->scale);
    kt_guarded_free(&v->sum);
}
