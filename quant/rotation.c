#include "quant/rotation.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "quant/rotation_internal.h"

#define MAX_DENSE 4096
#define SECOND_SEED 1000 /* what the second stage of independent residuals adds to the seed */

/* LAPACK, as OpenBLAS exports it; column-major. */
void dgeqrf_(const int *m, const int *n, double *a, const int *lda, double *tau, double *work, const int *lwork,
             int *info);
void dorgqr_(const int *m, const int *n, const int *k, double *a, const int *lda, const double *tau, double *work,
             const int *lwork, int *info);

/* The transform of one length d = m * p: R = (Q x H_p / sqrt(p)) D. Without random signs D is the identity, without a
 * dense factor m is 1; qr has p = 1 and no signs. */
typedef struct factor {
    size_t d, m, p;
    float *signs; /* [d], or NULL */
    float *q;     /* [m, m] row-major, or NULL */
    float *qt;    /* its transpose */
} factor;

struct tq_rotation {
    tq_rotation_kind kind;
    size_t cols, group;
    uint64_t seed;
    bool published;
    float *signs;  /* published: [cols], in place of those of the factors */
    factor full;   /* of length group */
    factor short_; /* of length cols % group; d = 0 when there is none */
};

/* splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014). */
static uint64_t next_random(uint64_t *state) {
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* N(0,1) by Box and Muller; uniform in (0, 1]. */
static double next_normal(uint64_t *state) {
    double u = ((double)(next_random(state) >> 11) + 1.0) * 0x1p-53;
    double v = (double)(next_random(state) >> 11) * 0x1p-53;
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}

/* Q of the QR decomposition of a Gaussian matrix, with the signs that make R's diagonal positive, is Haar-distributed
 * (Mezzadri, arXiv math-ph/0609050) and independent of how LAPACK chooses its reflections. */
static int random_orthogonal(factor *f, uint64_t *state, tq_err *err) {
    int n = (int)f->m, info = 0, lwork = n * 64;
    int rc = TQ_FAIL;
    size_t m = f->m;
    double *a = tq_calloc_aligned(m * m, sizeof *a);
    double *tau = tq_calloc_aligned(m, sizeof *tau);
    double *sign = tq_calloc_aligned(m, sizeof *sign);
    double *work = tq_calloc_aligned((size_t)lwork, sizeof *work);
    f->q = tq_calloc_aligned(m * m, sizeof *f->q);
    f->qt = tq_calloc_aligned(m * m, sizeof *f->qt);
    if (!a || !tau || !sign || !work || !f->q || !f->qt) {
        tq_fail(err, "out of memory for a rotation of %zu x %zu", m, m);
        goto out;
    }
    for (size_t i = 0; i < m * m; i++)
        a[i] = next_normal(state);
    dgeqrf_(&n, &n, a, &n, tau, work, &lwork, &info);
    for (size_t i = 0; i < m; i++)
        sign[i] = a[i * m + i] < 0 ? -1.0 : 1.0;
    if (info == 0) dorgqr_(&n, &n, &n, a, &n, tau, work, &lwork, &info);
    if (info != 0) {
        tq_fail(err, "LAPACK could not factor a random matrix of %zu x %zu (info %d)", m, m, info);
        goto out;
    }
    for (size_t col = 0; col < m; col++) {
        for (size_t row = 0; row < m; row++) {
            float v = (float)(a[col * m + row] * sign[col]);
            f->q[row * m + col] = v;
            f->qt[col * m + row] = v;
        }
    }
    rc = TQ_OK;
out:
    free(a);
    free(tau);
    free(sign);
    free(work);
    return rc;
}

static void factor_free(factor *f) {
    free(f->signs);
    free(f->q);
    free(f->qt);
}

/* How large a dense factor vectors of length d need. */
static size_t dense_of(tq_rotation_kind kind, size_t d) {
    if (kind == TQ_ROTATION_NONE) return 1;
    return kind == TQ_ROTATION_HADAMARD ? d / (d & -d) : d;
}

static size_t resolve(size_t cols, size_t group) {
    return group == TQ_GROUP_ROW || group > cols ? cols : group;
}

bool tq_rotation_possible(tq_rotation_kind kind, size_t cols, size_t group) {
    size_t full = cols ? resolve(cols, group) : 0, rest = full ? cols % full : 0;
    return full && dense_of(kind, full) <= MAX_DENSE && (!rest || dense_of(kind, rest) <= MAX_DENSE);
}

static int factor_init(factor *f, tq_rotation_kind kind, size_t d, uint64_t seed, tq_err *err) {
    /* Lengths get streams of their own: the seed alone would repeat the signs of one length in another. */
    uint64_t state = seed ^ (d * UINT64_C(0xd1342543de82ef95));
    f->d = d;
    f->m = dense_of(kind, d);
    f->p = 1;
    if (kind == TQ_ROTATION_NONE) return TQ_OK;
    if (kind == TQ_ROTATION_HADAMARD) {
        f->p = d & -d;
        f->signs = tq_calloc_aligned(d, sizeof *f->signs);
        if (!f->signs) return tq_fail(err, "out of memory for the signs of %zu columns", d);
        for (size_t i = 0; i < d; i++)
            f->signs[i] = next_random(&state) >> 63 ? -1.0F : 1.0F;
    }
    if (f->m > MAX_DENSE)
        return tq_fail(err, "rotation %s of %zu columns needs a dense factor of %zu x %zu, expected at most %d: %s",
                       tq_rotation_name(kind), d, f->m, f->m, MAX_DENSE, "choose a smaller group");
    return f->m > 1 ? random_orthogonal(f, &state, err) : TQ_OK;
}

static int draw_published(tq_rotation *r, tq_err *err) {
    r->signs = tq_calloc_aligned(r->cols, sizeof *r->signs);
    if (!r->signs) return tq_fail(err, "out of memory for the signs of %zu columns", r->cols);
    for (size_t i = 0; i < r->cols; i += r->group)
        tq_signs_published(r->signs + i, r->cols - i < r->group ? r->cols - i : r->group, r->seed + i);
    return TQ_OK;
}

static tq_rotation *new_rotation(tq_rotation_kind kind, bool published, size_t cols, size_t group, uint64_t seed,
                                 tq_err *err) {
    if (cols == 0 || cols > PTRDIFF_MAX / 64) {
        tq_fail(err, "rotation of %zu columns", cols);
        return NULL;
    }
    tq_rotation *r = calloc(1, sizeof *r);
    if (!r) {
        tq_fail(err, "out of memory for a rotation");
        return NULL;
    }
    r->kind = kind;
    r->cols = cols;
    r->group = resolve(cols, group);
    r->seed = seed;
    r->published = published;
    size_t rest = cols % r->group;
    if (factor_init(&r->full, kind, r->group, seed, err) != TQ_OK ||
        (rest > 0 && factor_init(&r->short_, kind, rest, seed, err) != TQ_OK) ||
        (published && draw_published(r, err) != TQ_OK)) {
        tq_rotation_free(r);
        return NULL;
    }
    return r;
}

tq_rotation *tq_rotation_new(tq_rotation_kind kind, size_t cols, size_t group, uint64_t seed, tq_err *err) {
    return new_rotation(kind, false, cols, group, seed, err);
}

void tq_rotation_free(tq_rotation *r) {
    if (!r) return;
    factor_free(&r->full);
    factor_free(&r->short_);
    free(r->signs);
    free(r);
}

size_t tq_rotation_cols(const tq_rotation *r) {
    return r->cols;
}
size_t tq_rotation_group(const tq_rotation *r) {
    return r->group;
}

/* Two vectors of a group, each on a cache line of its own. */
static size_t scratch_half(const tq_rotation *r) {
    return (r->group + 15) & ~(size_t)15;
}
size_t tq_rotation_scratch(const tq_rotation *r) {
    return 2 * scratch_half(r);
}

/* y: [m, p] = q x for x: [m, p]; transposed is [p, m] workspace for the narrow case. */
static void dense_multiply(const tq_kernels *k, float *y, const float *q, const float *x, size_t m, size_t p,
                           float *column) {
    if (p >= 16) {
        memset(y, 0, m * p * sizeof *y);
        for (size_t i = 0; i < m; i++)
            for (size_t j = 0; j < m; j++)
                k->axpy(y + i * p, q[i * m + j], x + j * p, p);
        return;
    }
    for (size_t c = 0; c < p; c++) {
        for (size_t j = 0; j < m; j++)
            column[j] = x[j * p + c];
        for (size_t i = 0; i < m; i++)
            y[i * p + c] = k->dot(q + i * m, column, m);
    }
}

static void hadamard_chunks(const tq_kernels *k, float *x, const factor *f, float scale) {
    if (f->p == 1 && scale == 1.0F) return;
    float s = scale / sqrtf((float)f->p);
    for (size_t i = 0; i < f->m; i++)
        k->hadamard(x + i * f->p, f->p, s);
}

static void factor_apply(const factor *f, const float *signs, float *y, const float *x, float scale, float *scratch,
                         size_t half) {
    const tq_kernels *k = tq_k();
    if (!f->q) { /* a plain Hadamard, or none */
        if (signs) {
            k->rotate(y, x, signs, f->d, scale / sqrtf((float)f->d));
            return;
        }
        for (size_t i = 0; i < f->d; i++)
            y[i] = x[i] * scale;
        return;
    }
    float *t = scratch;
    if (signs)
        k->mul(t, x, signs, f->d);
    else
        memcpy(t, x, f->d * sizeof *t);
    hadamard_chunks(k, t, f, scale);
    dense_multiply(k, y, f->q, t, f->m, f->p, scratch + half);
}

static void factor_apply_inverse(const factor *f, const float *signs, float *y, const float *x, float *scratch,
                                 size_t half) {
    const tq_kernels *k = tq_k();
    const float *t = x;
    if (f->q) {
        dense_multiply(k, scratch, f->qt, x, f->m, f->p, scratch + half);
        t = scratch;
    }
    if (y != t) memcpy(y, t, f->d * sizeof *y);
    if (!signs) return;
    hadamard_chunks(k, y, f, 1.0F);
    k->mul(y, y, signs, f->d);
}

static const float *signs_at(const tq_rotation *r, const factor *f, size_t begin) {
    return r->signs ? r->signs + begin : f->signs;
}

void tq_rotation_group_apply(const tq_rotation *r, float *y, const float *x, size_t begin, size_t len, float scale,
                             float *scratch) {
    const factor *f = len == r->group ? &r->full : &r->short_;
    factor_apply(f, signs_at(r, f, begin), y, x, scale, scratch, scratch_half(r));
}

void tq_rotation_apply(const tq_rotation *r, float *y, const float *x, float *scratch) {
    for (size_t i = 0; i < r->cols; i += r->group) {
        const factor *f = r->cols - i >= r->group ? &r->full : &r->short_;
        factor_apply(f, signs_at(r, f, i), y + i, x + i, 1.0F, scratch, scratch_half(r));
    }
}

void tq_rotation_apply_inverse(const tq_rotation *r, float *y, const float *x, float *scratch) {
    for (size_t i = 0; i < r->cols; i += r->group) {
        const factor *f = r->cols - i >= r->group ? &r->full : &r->short_;
        factor_apply_inverse(f, signs_at(r, f, i), y + i, x + i, scratch, scratch_half(r));
    }
}

struct tq_rotation_cache {
    tq_rotation **items;
    size_t count, room;
};

tq_rotation_cache *tq_rotation_cache_new(void) {
    return calloc(1, sizeof(tq_rotation_cache));
}

void tq_rotation_cache_free(tq_rotation_cache *c) {
    if (!c) return;
    for (size_t i = 0; i < c->count; i++)
        tq_rotation_free(c->items[i]);
    free(c->items);
    free(c);
}

static const tq_rotation *cached(tq_rotation_cache *c, tq_rotation_kind kind, bool published, size_t cols, size_t group,
                                 uint64_t seed, tq_err *err) {
    size_t resolved = group == TQ_GROUP_ROW || group > cols ? cols : group;
    for (size_t i = 0; i < c->count; i++) {
        const tq_rotation *r = c->items[i];
        if (r->kind == kind && r->published == published && r->cols == cols && r->group == resolved && r->seed == seed)
            return r;
    }
    if (c->count == c->room) {
        size_t room = c->room ? 2 * c->room : 16;
        tq_rotation **items = realloc(c->items, room * sizeof(tq_rotation *));
        if (!items) {
            tq_fail(err, "out of memory for the rotations");
            return NULL;
        }
        c->items = items;
        c->room = room;
    }
    tq_rotation *r = new_rotation(kind, published, cols, group, seed, err);
    if (r) c->items[c->count++] = r;
    return r;
}

const tq_rotation *tq_rotation_cache_get(tq_rotation_cache *c, tq_rotation_kind kind, size_t cols, size_t group,
                                         uint64_t seed, tq_err *err) {
    return cached(c, kind, false, cols, group, seed, err);
}

const tq_rotation *tq_rotation_of(tq_rotation_cache *c, const tq_qspec *spec, size_t stage, size_t cols, tq_err *err) {
    return cached(c, spec->rotation, tq_qspec_published(spec), cols, spec->group, spec->seed + stage * SECOND_SEED,
                  err);
}
