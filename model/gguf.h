/* gguf.h - the metadata of a GGUF file, checked once when it is opened. Private to model/.
 *
 * Values are borrowed from the map. Strings are not NUL-terminated, and are valid UTF-8 only where it is said. */
#ifndef TQ_GGUF_H
#define TQ_GGUF_H

#include "model/config.h"
#include "model/gguf_types.h"
#include "model/source_internal.h"

/* Types of values, as the file numbers them. */
typedef enum tq_gguf_kind {
    TQ_GGUF_U8,
    TQ_GGUF_I8,
    TQ_GGUF_U16,
    TQ_GGUF_I16,
    TQ_GGUF_U32,
    TQ_GGUF_I32,
    TQ_GGUF_F32,
    TQ_GGUF_BOOL,
    TQ_GGUF_STRING,
    TQ_GGUF_ARRAY,
    TQ_GGUF_U64,
    TQ_GGUF_I64,
    TQ_GGUF_F64,
    TQ_GGUF_KINDS
} tq_gguf_kind;

typedef struct tq_gguf_text {
    const char *p;
    size_t n;
} tq_gguf_text;

typedef struct tq_gguf_value {
    char *key;         /* owned by the metadata */
    tq_gguf_kind kind; /* of the value, or of the elements of an array */
    bool array;
    size_t count;              /* elements; 1 of a single value */
    const unsigned char *data; /* the first element; of a string its length comes first */
    size_t bytes;              /* of all elements */
} tq_gguf_value;

typedef struct tq_gguf {
    tq_gguf_value *values; /* [count] sorted by key */
    size_t count;
    size_t tensors; /* how many the file describes */
    size_t align;   /* of its data */
} tq_gguf;

void tq_gguf_free(tq_gguf *g);

/* What a key has; NULL when absent. */
const tq_gguf_value *tq_gguf_find(const tq_gguf *g, const char *key);
/* Element i as a number; strings give 0. */
double tq_gguf_number(const tq_gguf_value *v, size_t i);
/* A single number of integral type within lo .. hi. */
bool tq_gguf_size(const tq_gguf_value *v, size_t lo, size_t hi, size_t *out);
/* A single string; {NULL, 0} for anything else. */
tq_gguf_text tq_gguf_string(const tq_gguf_value *v);
/* All strings of an array of strings: [count], freed by the caller; NULL when it is none or memory is short. */
tq_gguf_text *tq_gguf_strings(const tq_gguf_value *v);

/* The metadata of a source of this format (of its first shard); NULL for other formats. */
const tq_gguf *tq_gguf_of(const tq_source *s);

/* gguf_read.c: header, values and tensors of one mapped file. */
typedef struct tq_gguf_tensor {
    char *name; /* owned by the list */
    const tq_gguf_type *type;
    size_t rank, shape[4]; /* outermost first */
    size_t count, bytes, offset;
} tq_gguf_tensor;
typedef struct tq_gguf_file {
    tq_gguf meta;
    tq_gguf_tensor *tensors; /* [meta.tensors] */
    size_t data_at;          /* of the file, where offsets begin */
} tq_gguf_file;
/* Reads and checks everything but the weights themselves. *out is freed with tq_gguf_file_free in every case. */
int tq_gguf_read(const tq_shard *shard, tq_gguf_file *out, tq_err *err);
void tq_gguf_file_free(tq_gguf_file *f);

/* gguf_names.c: what an architecture's tensors are called here. */
typedef struct tq_gguf_arch tq_gguf_arch;
const tq_gguf_arch *tq_gguf_arch_find(tq_gguf_text name); /* NULL: not known */
const char *tq_gguf_arch_names(void);                     /* those that are known, for messages */
/* Writes our name of a tensor into out; a tensor that has none keeps its own. */
void tq_gguf_rename(const tq_gguf_arch *a, const char *name, char *out, size_t size);
/* The setting that counts the heads whose rows lie paired in this tensor, e.g. "attention.head_count"; NULL: none. */
const char *tq_gguf_paired(const tq_gguf_arch *a, const char *name);
/* The reverse; false when such a file has no place for the tensor. Our names begin with "model." here. */
bool tq_gguf_name_of(const tq_gguf_arch *a, const char *ours, char *out, size_t size);
const tq_gguf_arch *tq_gguf_arch_of(const tq_config *c); /* NULL: none that is written */
const char *tq_gguf_arch_name(const tq_gguf_arch *a);    /* general.architecture */
/* The model_type of config.json that the architecture has. */
const char *tq_gguf_model_type(const tq_gguf_arch *a);

#endif
