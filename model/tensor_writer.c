/* tensor_writer.c - safetensors files, whole or not at all; and small files read and written whole. */
#include "model/tensor_writer.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "model/output.h"

/* The reference pads the header to 8 bytes; 64 keeps every row of a map at the alignment that SIMD loads like. */
enum { HEADER_ALIGN = 64, MAX_RANK = 8 };
#define MAX_OFFSET ((size_t)1 << 49) /* cJSON prints whole numbers exactly up to 10^15 */

struct tq_writer {
    char *path;
    char *temp;
    int fd;
    cJSON *header; /* NULL once written */
    size_t declared;
    size_t written;
};

static void writer_free(tq_writer *w) {
    if (!w) return;
    cJSON_Delete(w->header);
    free(w->temp);
    free(w->path);
    free(w);
}

void tq_writer_abort(tq_writer *w) {
    if (!w) return;
    if (w->fd >= 0) {
        close(w->fd);
        (void)unlink(w->temp);
    }
    writer_free(w);
}

int tq_writer_new(const char *path, const char *const *metadata, tq_writer **out, tq_err *err) {
    *out = NULL;
    tq_writer *w = calloc(1, sizeof *w);
    if (!w) return tq_fail(err, "%s: out of memory", path);
    w->fd = -1;
    w->path = strdup(path);
    w->header = cJSON_CreateObject();
    if (!w->path || !w->header) goto memory;
    if (metadata && metadata[0]) {
        cJSON *m = cJSON_AddObjectToObject(w->header, "__metadata__");
        if (!m) goto memory;
        for (size_t i = 0; metadata[i]; i += 2)
            if (!cJSON_AddStringToObject(m, metadata[i], metadata[i + 1])) goto memory;
    }
    if (tq_output_open(path, &w->temp, &w->fd, err)) {
        writer_free(w);
        return TQ_FAIL;
    }
    *out = w;
    return TQ_OK;
memory:
    writer_free(w);
    return tq_fail(err, "%s: out of memory", path);
}

int tq_writer_declare(tq_writer *w, const char *name, const char *dtype, const size_t *shape, size_t rank, size_t bytes,
                      tq_err *err) {
    size_t end = 0;
    if (!w->header) return tq_fail(err, "%s: tensor %s is declared after the first data", w->path, name);
    if (rank > MAX_RANK) return tq_fail(err, "%s: tensor %s has %zu dimensions, at most 8", w->path, name, rank);
    if (!tq_add_size(&end, w->declared, bytes) || end > MAX_OFFSET)
        return tq_fail(err, "%s: tensor %s makes the file too large", w->path, name);
    if (cJSON_GetObjectItemCaseSensitive(w->header, name))
        return tq_fail(err, "%s: tensor %s is declared twice", w->path, name);
    cJSON *t = cJSON_AddObjectToObject(w->header, name);
    bool ok = t && cJSON_AddStringToObject(t, "dtype", dtype);
    cJSON *dims = ok ? cJSON_AddArrayToObject(t, "shape") : NULL;
    for (size_t i = 0; dims && ok && i < rank; i++)
        ok = cJSON_AddItemToArray(dims, cJSON_CreateNumber((double)shape[i]));
    cJSON *offsets = dims && ok ? cJSON_AddArrayToObject(t, "data_offsets") : NULL;
    ok = offsets && cJSON_AddItemToArray(offsets, cJSON_CreateNumber((double)w->declared)) &&
         cJSON_AddItemToArray(offsets, cJSON_CreateNumber((double)end));
    if (!ok) return tq_fail(err, "%s: out of memory", w->path);
    w->declared = end;
    return TQ_OK;
}

static int write_header(tq_writer *w, tq_err *err) {
    char *text = cJSON_PrintUnformatted(w->header);
    if (!text) return tq_fail(err, "%s: out of memory", w->path);
    size_t n = strlen(text);
    size_t padded = (n + 8 + HEADER_ALIGN - 1) / HEADER_ALIGN * HEADER_ALIGN - 8;
    unsigned char head[8];
    for (int i = 0; i < 8; i++)
        head[i] = (unsigned char)(padded >> (8 * i));
    char pad[HEADER_ALIGN];
    memset(pad, ' ', sizeof pad);
    int rc = tq_output_write(w->fd, head, 8, w->path, err);
    if (!rc) rc = tq_output_write(w->fd, text, n, w->path, err);
    if (!rc) rc = tq_output_write(w->fd, pad, padded - n, w->path, err);
    cJSON_free(text);
    cJSON_Delete(w->header);
    w->header = NULL;
    return rc;
}

int tq_writer_data(tq_writer *w, const void *data, size_t bytes, tq_err *err) {
    if (w->header && write_header(w, err)) return TQ_FAIL;
    if (bytes > w->declared - w->written)
        return tq_fail(err, "%s: more data than the %zu bytes declared", w->path, w->declared);
    if (tq_output_write(w->fd, data, bytes, w->path, err)) return TQ_FAIL;
    w->written += bytes;
    return TQ_OK;
}

int tq_writer_finish(tq_writer *w, tq_err *err) {
    if (w->header && write_header(w, err)) {
        tq_writer_abort(w);
        return TQ_FAIL;
    }
    if (w->written != w->declared) {
        int rc = tq_fail(err, "%s: %zu bytes of data where %zu were declared", w->path, w->written, w->declared);
        tq_writer_abort(w);
        return rc;
    }
    int rc = tq_output_commit(w->fd, w->temp, w->path, err);
    writer_free(w);
    return rc;
}

size_t tq_free_space(const char *path) {
    struct statvfs v;
    size_t bytes = 0;
    char *p = strdup(path);
    while (p && statvfs(p, &v)) {
        char *slash = strrchr(p, '/');
        if (strcmp(p, ".") == 0 || strcmp(p, "/") == 0) break;
        if (!slash) {
            free(p);
            p = strdup(".");
        } else {
            slash[slash == p] = '\0';
        }
    }
    if (p && !statvfs(p, &v) && !tq_mul_size(&bytes, v.f_bavail, v.f_frsize)) bytes = SIZE_MAX;
    free(p);
    return bytes;
}

bool tq_make_dirs(const char *path) {
    char *part = strdup(path);
    bool ok = part != NULL;
    for (char *slash = part ? strchr(part + 1, '/') : NULL; ok; slash = strchr(slash + 1, '/')) {
        if (slash) *slash = '\0';
        ok = mkdir(part, 0700) == 0 || errno == EEXIST;
        if (!slash) break;
        *slash = '/';
    }
    free(part);
    return ok;
}

int tq_write_file(const char *path, const void *data, size_t bytes, tq_err *err) {
    char *temp = NULL;
    int fd = -1;
    if (tq_output_open(path, &temp, &fd, err)) return TQ_FAIL;
    int rc = tq_output_write(fd, data, bytes, path, err);
    if (rc) {
        close(fd);
        (void)unlink(temp);
    } else {
        rc = tq_output_commit(fd, temp, path, err);
    }
    free(temp);
    return rc;
}

int tq_read_file(const char *path, size_t max, char **out, size_t *bytes, tq_err *err) {
    *out = NULL;
    if (bytes) *bytes = 0;
    char *data = NULL;
    size_t n = 0;
    int rc = TQ_FAIL;
    struct stat st;
    /* O_NONBLOCK: opening a pipe must not wait for its writer. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return tq_fail(err, "%s: cannot open: %s", path, strerror(errno));
    if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        tq_fail(err, "%s: not a regular file", path);
        goto done;
    }
    if ((uintmax_t)st.st_size > max) {
        tq_fail(err, "%s: %jd bytes, at most %zu are read", path, (intmax_t)st.st_size, max);
        goto done;
    }
    size_t size = (size_t)st.st_size;
    data = malloc(size + 1);
    if (!data) {
        tq_fail(err, "%s: out of memory", path);
        goto done;
    }
    while (n < size) {
        ssize_t got = read(fd, data + n, size - n);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            tq_fail(err, "%s: cannot read: %s", path, strerror(errno));
            goto done;
        }
        if (got == 0) break;
        n += (size_t)got;
    }
    data[n] = '\0';
    *out = data;
    data = NULL;
    if (bytes) *bytes = n;
    rc = TQ_OK;
done:
    free(data);
    close(fd);
    return rc;
}
