/* gguf_writer.h - writes GGUF files, version 3: values, tensors, weights. Atomic, as tensor_writer.h. Private to
 * model/. */
#ifndef TQ_GGUF_WRITER_H
#define TQ_GGUF_WRITER_H

#include "model/gguf.h"

typedef struct tq_gguf_writer tq_gguf_writer;

int tq_gguf_writer_new(const char *path, tq_gguf_writer **out, tq_err *err);

/* Values, before the first tensor. Memory that is short is said by the next call that has an error. */
void tq_gguf_put_u32(tq_gguf_writer *w, const char *key, size_t v);
void tq_gguf_put_f32(tq_gguf_writer *w, const char *key, double v);
void tq_gguf_put_bool(tq_gguf_writer *w, const char *key, bool v);
void tq_gguf_put_text(tq_gguf_writer *w, const char *key, const char *text);
void tq_gguf_put_texts(tq_gguf_writer *w, const char *key, const char *const *list, size_t n);
void tq_gguf_put_i32s(tq_gguf_writer *w, const char *key, const int32_t *list, size_t n);
void tq_gguf_put_f32s(tq_gguf_writer *w, const char *key, const float *list, size_t n);
void tq_gguf_put_value(tq_gguf_writer *w, const tq_gguf_value *v); /* of another file, as it is */

/* Declares a tensor, shape outermost first; all before the first data. */
int tq_gguf_declare(tq_gguf_writer *w, const char *name, const tq_gguf_type *type, const size_t *shape, size_t rank,
                    tq_err *err);
/* Appends bytes in the order and the amounts declared, in pieces that do not cross from one tensor into the next. */
int tq_gguf_data(tq_gguf_writer *w, const void *data, size_t bytes, tq_err *err);
/* Checks that all is there and makes the file appear. Frees w in every case. */
int tq_gguf_writer_finish(tq_gguf_writer *w, tq_err *err);
void tq_gguf_writer_abort(tq_gguf_writer *w); /* NULL is fine */

#endif
