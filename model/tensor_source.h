/* tensor_source.h - tensors by name out of a file or directory, whichever format it is.
 *
 * Formats are rows of a table (probe, open); nothing above knows which one it was. Files are mapped, never copied, and
 * validated once here: header sizes, offsets in range and not overlapping, shapes that match their bytes, no duplicate
 * names. */
#ifndef TQ_TENSOR_SOURCE_H
#define TQ_TENSOR_SOURCE_H

#include <stddef.h>
#include <stdint.h>

#include "quant/qmatrix.h"

typedef struct tq_source tq_source;

typedef struct tq_tensor {
    const char *name; /* owned by the source */
    tq_dtype dtype;
    char dtype_name[16];   /* as the file says it, "BF16", "I64", "Q4_1", ... */
    const tq_codec *codec; /* of TQ_CODED, else NULL */
    size_t paired;         /* see tq_matrix_view */
    size_t rank;
    size_t shape[8];
    size_t count; /* product of the shape */
    size_t bytes;
    const void *data; /* borrowed from the map */
} tq_tensor;

/* A tensor as rows of its innermost dimension; of a vector whose elements lie paired, as a column. */
tq_matrix_view tq_tensor_view(const tq_tensor *t);

/* path: a .safetensors file, a directory with model.safetensors or model.safetensors.index.json (the index is followed,
 * not a glob), or a .gguf file (one part of several stands for all; tensors have the names of safetensors files).
 * Errors name the file and the fault. */
int tq_source_open(const char *path, tq_source **out, tq_err *err);
void tq_source_close(tq_source *s);

const char *tq_source_format(const tq_source *s); /* "safetensors", "gguf" */
const char *tq_source_path(const tq_source *s);   /* as given */
const char *tq_source_dir(const tq_source *s);    /* where config.json and tokenizer.json are looked for */
size_t tq_source_bytes(const tq_source *s);       /* of all tensors */

size_t tq_source_count(const tq_source *s);
const tq_tensor *tq_source_at(const tq_source *s, size_t i);           /* in file order, shard after shard */
const tq_tensor *tq_source_find(const tq_source *s, const char *name); /* NULL when absent; hashed */

/* Shards, for writers that keep the layout: file names (no directory), and the shard of tensor i. */
size_t tq_source_shards(const tq_source *s);
const char *tq_source_shard_name(const tq_source *s, size_t shard);
size_t tq_source_shard_of(const tq_source *s, size_t i);

/* 64-bit hash (FNV-1a or better) of names, dtypes, shapes and sampled bytes, as 16 hex digits: tells models apart,
 * costs milliseconds on any size. */
void tq_source_hash(const tq_source *s, char out[17]);

/* Tells the system how the pages that bytes of a file lie on will be used (MADV_...). Pages at the ends may hold a
 * neighbour's bytes, too. Advice only: nothing depends on it. */
void tq_advise_pages(const void *data, size_t bytes, int advice);

uint64_t tq_hash_bytes(uint64_t seed, const void *data, size_t n); /* FNV-1a, 64 bits; begin with TQ_HASH_SEED */
#define TQ_HASH_SEED 0xcbf29ce484222325u

#endif
