/* rotation.h - the random orthogonal transform that makes the coordinates of a group close to N(0,1).
 *
 * Hadamard: R = H D / sqrt(d), D random signs, H Walsh-Hadamard in natural order. A group whose length is no power of
 * two, d = m * 2^k with m odd, takes the Kronecker product of a random orthogonal m x m factor (QR of a Gaussian
 * matrix, by LAPACK) and a Hadamard of size 2^k. TurboQuant, arXiv 2504.19874, section 3; randomised Hadamard as in
 * QuIP#, arXiv 2402.04396, section 3. */
#ifndef TQ_ROTATION_H
#define TQ_ROTATION_H

#include <stddef.h>

#include "quant/qformat.h"

typedef struct tq_rotation tq_rotation;

/* The rotation of vectors of `cols` values in groups of `group`; the last group may be shorter. All groups of one
 * length share the same factor, signs included. `qr` costs d x d floats and is refused above d = 4096. NULL with a
 * message on failure.
 */
tq_rotation *tq_rotation_new(tq_rotation_kind kind, size_t cols, size_t group, uint64_t seed, tq_err *err);
void tq_rotation_free(tq_rotation *r);
/* Is there one, whatever the seed? Not where a dense factor would be larger than 4096. */
bool tq_rotation_possible(tq_rotation_kind kind, size_t cols, size_t group);

size_t tq_rotation_cols(const tq_rotation *r);
size_t tq_rotation_group(const tq_rotation *r); /* resolved: cols for TQ_GROUP_ROW */

/* y = R x for one vector: x: [cols], y: [cols], y may be x. Norms are kept. `scratch`: tq_rotation_scratch floats. */
void tq_rotation_apply(const tq_rotation *r, float *y, const float *x, float *scratch);
/* y = R^T x. */
void tq_rotation_apply_inverse(const tq_rotation *r, float *y, const float *x, float *scratch);
size_t tq_rotation_scratch(const tq_rotation *r);

/* A cache: matrices that share (kind, cols, group, seed) share the rotation, so that their input is rotated once. The
 * cache owns what it hands out until it is freed. Not thread-safe. */
typedef struct tq_rotation_cache tq_rotation_cache;
tq_rotation_cache *tq_rotation_cache_new(void);
void tq_rotation_cache_free(tq_rotation_cache *c);
const tq_rotation *tq_rotation_cache_get(tq_rotation_cache *c, tq_rotation_kind kind, size_t cols, size_t group,
                                         uint64_t seed, tq_err *err);

/* What stage `stage` of a matrix of `cols` columns that is coded so is rotated by. With hadamard and independent
 * residuals, the published method, every group has signs of its own, as the published implementation draws them: those
 * of MT19937 seeded with the stage's seed plus the group's first column. Else it is tq_rotation_cache_get's. */
const tq_rotation *tq_rotation_of(tq_rotation_cache *c, const tq_qspec *spec, size_t stage, size_t cols, tq_err *err);

#endif
