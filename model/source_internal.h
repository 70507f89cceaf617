/* source_internal.h - what a file format needs to fill a tq_source. Private to model/: a format is a row of the table
 * in tensor_source.c with a probe and an open function. */
#ifndef TQ_SOURCE_INTERNAL_H
#define TQ_SOURCE_INTERNAL_H

#include "model/tensor_source.h"

struct cJSON;

typedef struct tq_shard {
    char *name; /* file name without its directory */
    void *map;  /* NULL for an empty file */
    size_t size;
} tq_shard;

struct tq_source {
    const struct tq_format *format;
    char *path; /* as given */
    char *dir;
    tq_tensor *tensors; /* [count] names owned */
    size_t *shard_of;   /* [count] */
    size_t count, capacity;
    size_t *slots; /* open addressing by hash of the name: index + 1, 0 is free; a power of two of them */
    size_t n_slots;
    tq_shard *shards;
    size_t n_shards;
    void **copies; /* aligned copies of tensors that lie misaligned in their file */
    size_t n_copies;
    void *state; /* the format's own, freed by its close */
};

typedef struct tq_format {
    const char *name;
    bool (*probe)(const char *path, bool directory);
    /* s is empty but for path, dir and format; what is left half done is freed by the caller. */
    int (*open)(tq_source *s, bool directory, tq_err *err);
    void (*close)(tq_source *s); /* NULL: nothing to free */
    /* Makes a document such as config.json out of what the file says; with out NULL it says whether there is one. NULL:
     * documents are files beside it. *out is owned by the caller. */
    int (*document)(const tq_source *s, const char *name, struct cJSON **out, tq_err *err);
} tq_format;

extern const tq_format tq_format_safetensors;
extern const tq_format tq_format_gguf;

/* Maps DIR/NAME read-only as a new shard of s. */
int tq_source_map(tq_source *s, const char *name, tq_err *err);

/* Appends a tensor (all but name already checked) of a shard; the name is copied and must be new. */
int tq_source_add(tq_source *s, size_t shard, const char *name, const tq_tensor *t, tq_err *err);

#endif
