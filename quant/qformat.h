/* qformat.h - what a matrix can be quantized to: the traits tables of bit configs, groups, rotations and residuals. */
#ifndef TQ_QFORMAT_H
#define TQ_QFORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quant/base.h"

typedef enum tq_bits { TQ_BITS_KEEP, TQ_BITS_4, TQ_BITS_4T, TQ_BITS_4_2, TQ_BITS_4_4, TQ_BITS_COUNT } tq_bits;
typedef enum tq_residual { TQ_RESIDUAL_NESTED, TQ_RESIDUAL_INDEPENDENT, TQ_RESIDUAL_COUNT } tq_residual;
typedef enum tq_rotation_kind {
    TQ_ROTATION_HADAMARD,
    TQ_ROTATION_QR,
    TQ_ROTATION_NONE,
    TQ_ROTATION_COUNT
} tq_rotation_kind;

/* How codes are found: alone, or under the second moment of the matrix's input (calibrate.h). */
typedef enum tq_calibrate { TQ_CALIBRATE_NONE, TQ_CALIBRATE_LDLQ, TQ_CALIBRATE_ASYM, TQ_CALIBRATE_COUNT } tq_calibrate;

/* A row of the traits table. Menus, totals, tests and the command line iterate over it. */
typedef struct tq_bits_traits {
    tq_bits id;
    const char *name; /* as typed and shown: "keep", "4", "4t", "4+2", "4+4" */
    char key;         /* the key that sets it on the screen: '0' '4' '5' '6' '8' */
    int code_bits;    /* 0 for keep */
    int fine_bits;    /* residual bits: 0, 2, 4 */
    bool trellis;     /* a code's level depends on the codes before it */
    const char *what; /* one line for help */
} tq_bits_traits;

const tq_bits_traits *tq_bits_get(tq_bits bits);      /* never NULL for bits < TQ_BITS_COUNT */
const tq_bits_traits *tq_bits_find(const char *name); /* NULL when unknown */

#define TQ_GROUP_ROW 0 /* one group a row */
/* The group sizes offered: 32, 64, 128, 256, 512, TQ_GROUP_ROW. */
extern const size_t tq_groups[];
extern const size_t tq_groups_count;
#define TQ_GROUP_DEFAULT 128

/* "128" or "row" into *group; false when it is not one of tq_groups. */
bool tq_group_parse(const char *text, size_t *group);
/* Writes "128" or "row"; returns buf. */
const char *tq_group_name(size_t group, char buf[24]);

const char *tq_residual_name(tq_residual r);      /* "nested", "independent" */
const char *tq_rotation_name(tq_rotation_kind r); /* "hadamard", "qr", "none" */
bool tq_residual_parse(const char *text, tq_residual *out);
bool tq_rotation_parse(const char *text, tq_rotation_kind *out);
const char *tq_calibrate_name(tq_calibrate c); /* "none", "ldlq", "ldlq-asym" */
bool tq_calibrate_parse(const char *text, tq_calibrate *out);

/* What all matrices of a plan have in common. */
typedef struct tq_common {
    tq_residual residual;
    tq_rotation_kind rotation;
    uint64_t seed; /* of the signs (hadamard) or of the matrix (qr); pass 2 of `independent` takes seed + 1000 */
    int states;    /* of the trellis encoder: 16 or 256 */
    tq_calibrate calibrate;
} tq_common;

#define TQ_SEED_DEFAULT 42
#define TQ_STATES_DEFAULT 16
tq_common tq_common_default(void);
bool tq_common_equal(const tq_common *a, const tq_common *b);

/* How one matrix is to be coded. */
typedef struct tq_qspec {
    tq_bits bits;
    size_t group; /* TQ_GROUP_ROW or one of tq_groups */
    tq_residual residual;
    tq_rotation_kind rotation;
    uint64_t seed;
    int states;             /* of the trellis encoder, 16 or 256; 0 is 16. The other configs ignore it */
    tq_calibrate calibrate; /* how the codes were found; what they decode to does not depend on it */
} tq_qspec;

tq_qspec tq_qspec_of(tq_bits bits, size_t group, const tq_common *common);

/* Are the signs of the rotation those of the published implementation? Its method is hadamard with independent
 * residuals; the first stage has its signs, too, and so has a matrix without a second. See tq_rotation_of. */
bool tq_qspec_published(const tq_qspec *s);

/* 0 without a trellis. */
int tq_qspec_states(const tq_qspec *s);

bool tq_qspec_equal(const tq_qspec *a, const tq_qspec *b);
/* Do both lie in memory and decode alike? */
bool tq_qspec_same_layout(const tq_qspec *a, const tq_qspec *b);

/* Bytes of codes, scales and level table that rows x cols weights take under spec, padding included: exactly what
 * tq_qmatrix_bytes will say. 0 for keep, and for what cannot be quantized (no rows, a group not offered, overflow). */
size_t tq_qspec_bytes(const tq_qspec *spec, size_t rows, size_t cols);

/* Bits a weight when so many weights take so many bytes; 0 without weights. */
double tq_bits_per_weight(double bytes, size_t weights);

#endif
