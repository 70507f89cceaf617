/* calibration_internal.h - what the passes of a calibration share; private to model/. */
#ifndef TQ_CALIBRATION_INTERNAL_H
#define TQ_CALIBRATION_INTERNAL_H

#include "model/calibration.h"

/* Windows that go through a block together. */
#define TQ_CALIB_WINDOWS 4

/* An input that some matrices share. Which ones do is seen in the pass itself: no second list of it exists. */
typedef struct tq_calib_site {
    size_t block, n;
    size_t seen; /* tokens: all of the text, or those that reach an expert */
    float *xx;   /* [n, n], NULL: not in memory */
} tq_calib_site;

struct tq_calibration {
    const tq_model *model;
    tq_pool *pool;
    int *ids;
    size_t windows;
    uint64_t key;         /* of model, text and options */
    char *cache_dir;      /* NULL: none */
    tq_calib_site *sites; /* [count] in the order of the forward pass */
    size_t count;
    size_t *site_of; /* [matrices] SIZE_MAX: not known yet, or an expert that no token reaches */
    bool gathered;
    float *loaded; /* the moment that was read last and is not resident */
};

/* Is matrix i of an expert that too few tokens reach? */
bool tq_calibration_is_few(const tq_calibration *c, size_t matrix);

#endif
