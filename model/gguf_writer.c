/* gguf_writer.c - see gguf_writer.h. Values and tensors gather in memory; weights go to the file as they come. */
#include "model/gguf_writer.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/output.h"
#include "model/tokenizer_internal.h"

enum { ALIGN = 32 };

struct tq_gguf_writer {
    char *path, *temp;
    int fd;
    tq_buffer values, tensors; /* as the file has them */
    uint64_t n_values, n_tensors;
    size_t *ends; /* [n_tensors] where each ends, padding not counted */
    size_t declared, written, current;
    bool begun, failed;
};

static void put_bytes(tq_gguf_writer *w, tq_buffer *b, const void *data, size_t n) {
    if (!tq_buffer_add(b, data, n)) w->failed = true;
}

static void put_number(tq_gguf_writer *w, tq_buffer *b, uint64_t v, size_t n) {
    unsigned char bytes[8];
    for (size_t i = 0; i < n; i++)
        bytes[i] = (unsigned char)(v >> (8 * i));
    put_bytes(w, b, bytes, n);
}

static void put_string(tq_gguf_writer *w, tq_buffer *b, const char *text) {
    size_t n = strlen(text);
    put_number(w, b, n, 8);
    put_bytes(w, b, text, n);
}

static void put_key(tq_gguf_writer *w, const char *key, tq_gguf_kind kind) {
    put_string(w, &w->values, key);
    put_number(w, &w->values, (uint64_t)kind, 4);
    w->n_values++;
}

static void put_list(tq_gguf_writer *w, const char *key, tq_gguf_kind kind, size_t n) {
    put_key(w, key, TQ_GGUF_ARRAY);
    put_number(w, &w->values, (uint64_t)kind, 4);
    put_number(w, &w->values, n, 8);
}

static void put_float(tq_gguf_writer *w, float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    put_number(w, &w->values, bits, 4);
}

void tq_gguf_put_u32(tq_gguf_writer *w, const char *key, size_t v) {
    put_key(w, key, TQ_GGUF_U32);
    put_number(w, &w->values, v, 4);
}

void tq_gguf_put_f32(tq_gguf_writer *w, const char *key, double v) {
    put_key(w, key, TQ_GGUF_F32);
    put_float(w, (float)v);
}

void tq_gguf_put_bool(tq_gguf_writer *w, const char *key, bool v) {
    put_key(w, key, TQ_GGUF_BOOL);
    put_number(w, &w->values, v, 1);
}

void tq_gguf_put_text(tq_gguf_writer *w, const char *key, const char *text) {
    put_key(w, key, TQ_GGUF_STRING);
    put_string(w, &w->values, text);
}

void tq_gguf_put_texts(tq_gguf_writer *w, const char *key, const char *const *list, size_t n) {
    put_list(w, key, TQ_GGUF_STRING, n);
    for (size_t i = 0; i < n; i++)
        put_string(w, &w->values, list[i]);
}

void tq_gguf_put_i32s(tq_gguf_writer *w, const char *key, const int32_t *list, size_t n) {
    put_list(w, key, TQ_GGUF_I32, n);
    for (size_t i = 0; i < n; i++)
        put_number(w, &w->values, (uint32_t)list[i], 4);
}

void tq_gguf_put_f32s(tq_gguf_writer *w, const char *key, const float *list, size_t n) {
    put_list(w, key, TQ_GGUF_F32, n);
    for (size_t i = 0; i < n; i++)
        put_float(w, list[i]);
}

void tq_gguf_put_value(tq_gguf_writer *w, const tq_gguf_value *v) {
    if (v->array)
        put_list(w, v->key, v->kind, v->count);
    else
        put_key(w, v->key, v->kind);
    put_bytes(w, &w->values, v->data, v->bytes);
}

int tq_gguf_writer_new(const char *path, tq_gguf_writer **out, tq_err *err) {
    *out = NULL;
    tq_gguf_writer *w = calloc(1, sizeof *w);
    if (!w) return tq_fail(err, "%s: out of memory", path);
    w->fd = -1;
    w->path = strdup(path);
    int rc = w->path ? tq_output_open(path, &w->temp, &w->fd, err) : tq_fail(err, "%s: out of memory", path);
    if (rc) {
        tq_gguf_writer_abort(w);
        return rc;
    }
    *out = w;
    return TQ_OK;
}

static size_t aligned(size_t n) {
    return (n + ALIGN - 1) / ALIGN * ALIGN;
}

int tq_gguf_declare(tq_gguf_writer *w, const char *name, const tq_gguf_type *type, const size_t *shape, size_t rank,
                    tq_err *err) {
    size_t count = 1, bytes = 0, offset = aligned(w->declared);
    for (size_t i = 0; i < rank; i++)
        if (!tq_mul_size(&count, count, shape[i])) return tq_fail(err, "%s: tensor %s is too large", w->path, name);
    if (rank == 0 || rank > 4 || shape[rank - 1] % type->codec.block ||
        !tq_mul_size(&bytes, count / type->codec.block, type->codec.bytes) || bytes > SIZE_MAX / 2 - offset)
        return tq_fail(err, "%s: tensor %s cannot be written as %s", w->path, name, type->codec.name);
    size_t *ends = realloc(w->ends, (w->n_tensors + 1) * sizeof *ends);
    if (!ends) return tq_fail(err, "%s: out of memory", w->path);
    w->ends = ends;
    put_string(w, &w->tensors, name);
    put_number(w, &w->tensors, rank, 4);
    for (size_t i = rank; i-- > 0;)
        put_number(w, &w->tensors, shape[i], 8);
    put_number(w, &w->tensors, type->id, 4);
    put_number(w, &w->tensors, offset, 8);
    w->declared = offset + bytes;
    w->ends[w->n_tensors++] = w->declared;
    return TQ_OK;
}

static int write_padding(tq_gguf_writer *w, size_t n, tq_err *err) {
    static const char zeros[ALIGN];
    return n ? tq_output_write(w->fd, zeros, n, w->path, err) : TQ_OK;
}

static int begin(tq_gguf_writer *w, tq_err *err) {
    tq_buffer head = {0};
    put_bytes(w, &head, "GGUF", 4);
    put_number(w, &head, 3, 4);
    put_number(w, &head, w->n_tensors, 8);
    put_number(w, &head, w->n_values, 8);
    size_t n = head.n + w->values.n + w->tensors.n;
    int rc = w->failed ? tq_fail(err, "%s: out of memory", w->path) : TQ_OK;
    if (!rc) rc = tq_output_write(w->fd, head.data, head.n, w->path, err);
    if (!rc) rc = tq_output_write(w->fd, w->values.data, w->values.n, w->path, err);
    if (!rc) rc = tq_output_write(w->fd, w->tensors.data, w->tensors.n, w->path, err);
    if (!rc) rc = write_padding(w, aligned(n) - n, err);
    free(head.data);
    w->begun = true;
    return rc;
}

int tq_gguf_data(tq_gguf_writer *w, const void *data, size_t bytes, tq_err *err) {
    if (!w->begun && begin(w, err)) return TQ_FAIL;
    if (w->current == w->n_tensors || bytes > w->ends[w->current] - w->written)
        return tq_fail(err, "%s: more data than was declared", w->path);
    if (tq_output_write(w->fd, data, bytes, w->path, err)) return TQ_FAIL;
    w->written += bytes;
    if (w->written < w->ends[w->current]) return TQ_OK;
    size_t pad = aligned(w->written) - w->written;
    w->written += pad;
    w->current++;
    return write_padding(w, pad, err);
}

static void writer_free(tq_gguf_writer *w) {
    free(w->values.data);
    free(w->tensors.data);
    free(w->ends);
    free(w->temp);
    free(w->path);
    free(w);
}

int tq_gguf_writer_finish(tq_gguf_writer *w, tq_err *err) {
    int rc = w->begun ? TQ_OK : begin(w, err);
    if (!rc && w->current != w->n_tensors) rc = tq_fail(err, "%s: less data than was declared", w->path);
    if (rc) {
        tq_gguf_writer_abort(w);
        return rc;
    }
    rc = tq_output_commit(w->fd, w->temp, w->path, err);
    writer_free(w);
    return rc;
}

void tq_gguf_writer_abort(tq_gguf_writer *w) {
    if (!w) return;
    if (w->fd >= 0) {
        close(w->fd);
        (void)unlink(w->temp);
    }
    writer_free(w);
}
