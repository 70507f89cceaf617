/* logits_fixture.h - a model of tests/data/logits opened, with its reference. */
#ifndef TQ_TESTS_LOGITS_FIXTURE_H
#define TQ_TESTS_LOGITS_FIXTURE_H

#include "model/forward.h"

#define LOGITS_DATA "tests/data/logits"
#define LOGITS_SAMPLE "samples/tiny-qwen3.5"

extern const char *const logits_fixtures[];
extern const size_t logits_fixtures_count;

typedef struct logits_fixture {
    tq_source *source;
    tq_config config;
    tq_model *model;
    tq_pool *pool;
    tq_forward *forward;
    /* of reference.json and logits.bin */
    int *ids;
    size_t n_ids;
    size_t *positions;
    size_t n_positions;
    int *greedy;
    size_t n_greedy;
    float *logits; /* [n_positions, vocab] */
} logits_fixture;

/* Every step is asserted. name: of a fixture, or "sample". */
void logits_fixture_open(logits_fixture *f, const char *name, int threads);
/* A model directory, without a reference. */
void logits_fixture_open_dir(logits_fixture *f, const char *dir, int threads);
void logits_fixture_close(logits_fixture *f);

/* One matrix packed; the caller's. */
tq_qmatrix *logits_pack(const logits_fixture *f, size_t matrix, tq_bits bits, size_t group, tq_residual residual);
/* Every matrix of the blocks under one bit config, embedding and head as stored; entries are owned by the caller
 * (logits_variant_free). */
tq_qmatrix **logits_variant_new(const logits_fixture *f, tq_bits bits, size_t group, tq_residual residual);
void logits_variant_free(const logits_fixture *f, tq_qmatrix **q);

/* Logits of every position, by blocks, `seqs` sequences of `len` ids: [seqs * len, vocab], freed by the caller. */
float *logits_blocked(logits_fixture *f, tq_variant q, const int *ids, size_t seqs, size_t len);

float logits_max_diff(const float *a, const float *b, size_t n);

#endif
