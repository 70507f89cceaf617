/* A quantized matrix as named parts of a file, and back. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "quant/qmatrix_internal.h"

enum { CODES, FINE, SCALES, LEVELS, KINDS };

static const char *const names[TQ_MAX_STAGES][KINDS] = {
    {"codes", "fine", "scales", "levels"},
    {"codes2", "fine2", "scales2", "levels2"},
};

static void put(uint8_t **at, uint32_t value, int bytes) {
    for (int i = 0; i < bytes; i++)
        *(*at)++ = (uint8_t)(value >> (8 * i));
}

static uint32_t get(const uint8_t **at, int bytes) {
    uint32_t value = 0;
    for (int i = 0; i < bytes; i++)
        value |= (uint32_t) * (*at)++ << (8 * i);
    return value;
}

static uint32_t float_bits(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static float bits_float(uint32_t u) {
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

void tq_stage_write_table(tq_stage *s) {
    uint8_t *at = s->table;
    put(&at, TQ_LEVELS_VERSION, 4);
    put(&at, float_bits(s->packed.scale_mul), 4);
    put(&at, float_bits(s->levels.step), 4);
    for (int n = 0; n < 16; n++)
        put(&at, (uint16_t)s->levels.a[n], 2);
    for (int n = 0; n < 16; n++)
        put(&at, (uint8_t)s->levels.v[n], 1);
    for (int k = 0; k < 2; k++)
        for (int r = 0; r < 16; r++)
            put(&at, s->packed.trellis ? (uint8_t)(k ? s->levels.t : s->levels.u)[r] : s->levels.fine[k][r], 1);
}

/* What kernels.h promises of a level table: the kernels' integers are wide enough for no more. */
static bool levels_fit(const tq_levels *l, int code_bits, int fine_bits) {
    for (int n = 0; n < 1 << code_bits; n++) {
        int outer = n == 0 || n == 15;
        if (fine_bits == 0 && (l->a[n] > 127 || l->a[n] < -127)) return false;
        for (int r = 0; r < 1 << fine_bits; r++) {
            int level = l->a[n] + (fine_bits > 0 ? l->v[n] * l->fine[outer][r] : 0);
            if (level > 32767 || level < -32767) return false;
        }
    }
    return true;
}

static bool trellis_fits(const tq_levels *l) {
    for (unsigned n = 0; n < 16; n++)
        if (l->v[n] < 0 || l->a[n] % TQ_TRELLIS_UNIT != 0 || abs(l->a[n]) > 127 * TQ_TRELLIS_UNIT) return false;
    for (unsigned i = 0; i < 4096; i++) {
        unsigned n = i & 15, p = i >> 4 & 15, pp = i >> 8;
        int level = l->a[n] + l->v[n] * (l->u[p] + l->t[pp]);
        if (abs(l->u[p] + l->t[pp]) > 127 || abs(level) > TQ_TRELLIS_MAX) return false;
    }
    return true;
}

static int read_table(tq_stage *s, const uint8_t *at, const char *name, tq_err *err) {
    memcpy(s->table, at, sizeof s->table);
    uint32_t version = get(&at, 4);
    if (version != TQ_LEVELS_VERSION)
        return tq_fail(err, "%s: version %u of the level table, expected %d", name, (unsigned)version,
                       TQ_LEVELS_VERSION);
    s->packed.scale_mul = bits_float(get(&at, 4));
    s->levels.step = bits_float(get(&at, 4));
    for (int n = 0; n < 16; n++)
        s->levels.a[n] = (int16_t)get(&at, 2);
    for (int n = 0; n < 16; n++)
        s->levels.v[n] = (int8_t)get(&at, 1);
    for (int k = 0; k < 2; k++)
        for (int r = 0; r < 16; r++) {
            uint8_t byte = (uint8_t)get(&at, 1);
            if (s->packed.trellis)
                (k ? s->levels.t : s->levels.u)[r] = (int8_t)byte;
            else
                s->levels.fine[k][r] = byte;
        }
    if (!isnormal(s->packed.scale_mul) || s->packed.scale_mul < 0 || !isnormal(s->levels.step) || s->levels.step < 0)
        return tq_fail(err, "%s: scale or step of the level table is not a positive number", name);
    if (s->packed.trellis ? !trellis_fits(&s->levels) : !levels_fit(&s->levels, s->shape.code_bits, s->shape.fine_bits))
        return tq_fail(err, "%s: levels out of range", name);
    return TQ_OK;
}

/* The part of that kind of stage i; without bytes when the stage has none. */
static tq_qpart part_of(const tq_qmatrix *q, size_t i, int kind) {
    const tq_stage *s = &q->stage[i];
    const tq_stage_shape *h = &s->shape;
    size_t block = (size_t)2 * TQ_BLOCK; /* bytes of a block for each bit of its codes */
    tq_qpart p = {.name = names[i][kind], .dtype = TQ_U8, .shape = {h->tiles, h->blocks, 0}, .rank = 3};
    switch (kind) {
    case CODES:
        p.shape[2] = block * (size_t)h->code_bits;
        p.data = s->codes;
        p.bytes = h->codes_bytes;
        break;
    case FINE:
        p.shape[2] = block * (size_t)h->fine_bits;
        p.data = s->fine;
        p.bytes = h->fine_bytes;
        break;
    case SCALES:
        p.dtype = TQ_F16;
        p.shape[1] = h->groups;
        p.shape[2] = TQ_TILE_ROWS;
        p.data = s->scales;
        p.bytes = h->scales_bytes;
        break;
    default:
        p.rank = 1;
        p.shape[0] = TQ_LEVELS_BYTES;
        p.shape[1] = 0;
        p.data = s->table;
        p.bytes = TQ_LEVELS_BYTES;
        break;
    }
    return p;
}

size_t tq_qmatrix_parts(const tq_qmatrix *q, tq_qpart *parts, size_t max) {
    size_t n = 0;
    for (size_t i = 0; i < q->stages; i++) {
        for (int kind = 0; kind < KINDS; kind++) {
            tq_qpart p = part_of(q, i, kind);
            if (p.bytes == 0) continue;
            if (n < max) parts[n] = p;
            n++;
        }
    }
    return n;
}

static int check_part(const tq_qpart *got, const tq_qpart *want, tq_err *err) {
    if (got->dtype != want->dtype)
        return tq_fail(err, "%s: dtype %s, expected %s", want->name,
                       got->dtype <= TQ_DTYPE_OTHER ? tq_dtype_name(got->dtype) : "?", tq_dtype_name(want->dtype));
    bool same = got->rank == want->rank;
    for (size_t i = 0; same && i < want->rank; i++)
        same = got->shape[i] == want->shape[i];
    if (!same)
        return tq_fail(err, "%s: shape differs, expected [%zu, %zu, %zu]", want->name, want->shape[0],
                       want->rank > 1 ? want->shape[1] : 1, want->rank > 2 ? want->shape[2] : 1);
    if (got->bytes != want->bytes || !got->data)
        return tq_fail(err, "%s: %zu bytes, expected %zu", want->name, got->data ? got->bytes : 0, want->bytes);
    return TQ_OK;
}

static const tq_qpart *find_part(const tq_qpart *parts, size_t n, const char *name) {
    const tq_qpart *found = NULL;
    for (size_t i = 0; i < n; i++) {
        if (!parts[i].name || strcmp(parts[i].name, name) != 0) continue;
        if (found) return NULL;
        found = &parts[i];
    }
    return found;
}

/* Exponent 31 of fp16 is infinity or NaN. */
static bool scales_finite(const uint16_t *scales, size_t n) {
    for (size_t i = 0; i < n; i++)
        if ((scales[i] & 0x7c00) == 0x7c00) return false;
    return true;
}

static int fill_stage(tq_qmatrix *q, size_t i, const tq_qpart *parts, size_t n, tq_err *err) {
    tq_stage *s = &q->stage[i];
    uint8_t table[TQ_LEVELS_BYTES];
    void *const to[KINDS] = {s->codes, s->fine, s->scales, table};
    for (int kind = 0; kind < KINDS; kind++) {
        tq_qpart want = part_of(q, i, kind);
        if (want.bytes == 0) continue;
        const tq_qpart *got = find_part(parts, n, want.name);
        if (!got) return tq_fail(err, "%s: missing, or there more than once", want.name);
        if (check_part(got, &want, err) != TQ_OK) return TQ_FAIL;
        memcpy(to[kind], got->data, got->bytes);
    }
    if (read_table(s, table, names[i][LEVELS], err) != TQ_OK) return TQ_FAIL;
    if (!scales_finite(s->scales, s->shape.scales_bytes / sizeof *s->scales))
        return tq_fail(err, "%s: a scale is not finite", names[i][SCALES]);
    return TQ_OK;
}

static int fill(tq_qmatrix *q, const tq_qpart *parts, size_t n, tq_err *err) {
    size_t count = tq_qmatrix_parts(q, NULL, 0);
    if (n != count) return tq_fail(err, "%zu parts, expected %zu", n, count);
    for (size_t i = 0; i < q->stages; i++)
        if (fill_stage(q, i, parts, n, err) != TQ_OK) return TQ_FAIL;
    return TQ_OK;
}

int tq_qmatrix_from_parts(const tq_qspec *spec, size_t rows, size_t cols, const tq_qpart *parts, size_t n,
                          tq_rotation_cache *cache, tq_qmatrix **out, tq_err *err) {
    *out = NULL;
    tq_stage_shape shape[TQ_MAX_STAGES];
    size_t stages = tq_stage_shapes(spec, rows, cols, shape), held = 0;
    for (size_t i = 0; i < n; i++)
        held += parts[i].bytes < PTRDIFF_MAX / 16 ? parts[i].bytes : 0;
    /* Before memory is taken for what the shape claims. */
    if (stages == 0 || held < tq_qspec_bytes(spec, rows, cols))
        return tq_fail(err, "%zu bytes of parts for a matrix of %zu x %zu, expected %zu", held, rows, cols,
                       stages ? tq_qspec_bytes(spec, rows, cols) : 0);
    tq_qmatrix *q = tq_qmatrix_new(spec, rows, cols, cache, err);
    if (!q) return TQ_FAIL;
    if (fill(q, parts, n, err) != TQ_OK) {
        tq_qmatrix_free(q);
        return TQ_FAIL;
    }
    *out = q;
    return TQ_OK;
}
