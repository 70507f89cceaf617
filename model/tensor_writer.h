/* tensor_writer.h - writes safetensors files: a header, then the data in order. Atomic: the file appears whole under
 * its name, or not at all (temporary name in the same directory, fsync, rename). */
#ifndef TQ_TENSOR_WRITER_H
#define TQ_TENSOR_WRITER_H

#include <stdio.h>

#include "model/tensor_source.h"

typedef struct tq_writer tq_writer;

/* Declares the file. metadata: pairs key, value, ..., NULL for the __metadata__ object, or NULL. */
int tq_writer_new(const char *path, const char *const *metadata, tq_writer **out, tq_err *err);
/* Declares a tensor; all are declared before the first tq_writer_data. */
int tq_writer_declare(tq_writer *w, const char *name, const char *dtype, const size_t *shape, size_t rank, size_t bytes,
                      tq_err *err);
/* Appends bytes; they must come in the order and the amounts declared, in pieces of any size. */
int tq_writer_data(tq_writer *w, const void *data, size_t bytes, tq_err *err);
/* Checks that all is there, fsyncs, renames. Frees w in every case. */
int tq_writer_finish(tq_writer *w, tq_err *err);
void tq_writer_abort(tq_writer *w); /* removes the temporary file; NULL is fine */

/* Bytes free for this user on the file system of `path` (or of its nearest existing parent); 0 when unknown. */
size_t tq_free_space(const char *path);
/* mkdir -p, for this user alone; false when it cannot be. */
bool tq_make_dirs(const char *path);
/* Writes a whole small file atomically. */
int tq_write_file(const char *path, const void *data, size_t bytes, tq_err *err);
/* Reads a whole file of at most max bytes, NUL added after the end; the caller frees *out. */
int tq_read_file(const char *path, size_t max, char **out, size_t *bytes, tq_err *err);

#endif
