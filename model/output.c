/* output.c - see output.h. */
#include "model/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* O_EXCL: a file or link that is already there is never followed or overwritten. */
int tq_output_open(const char *path, char **temp, int *fd, tq_err *err) {
    *temp = NULL;
    for (unsigned i = 0; i < 100; i++) {
        char *name = NULL;
        if (asprintf(&name, "%s.tmp-%ld-%u", path, (long)getpid(), i) < 0) break;
        *fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (*fd >= 0) {
            *temp = name;
            return TQ_OK;
        }
        free(name);
        if (errno != EEXIST) break;
    }
    tq_fail(err, "%s: cannot create a temporary file beside it: %s", path, strerror(errno));
    return TQ_FAIL;
}

int tq_output_write(int fd, const void *data, size_t bytes, const char *path, tq_err *err) {
    const char *p = data;
    while (bytes > 0) {
        size_t piece = bytes < ((size_t)1 << 30) ? bytes : (size_t)1 << 30;
        ssize_t n = write(fd, p, piece);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return tq_fail(err, "%s: cannot write: %s", path, strerror(errno));
        p += n;
        bytes -= (size_t)n;
    }
    return TQ_OK;
}

/* The rename itself must reach the disk too. Some file systems refuse to sync a directory: nothing can be done then. */
static void sync_parent(const char *path) {
    char *dir = strdup(path);
    if (!dir) return;
    char *slash = strrchr(dir, '/');
    if (slash == dir)
        slash[1] = '\0';
    else if (slash)
        *slash = '\0';
    int fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
    free(dir);
}

int tq_output_commit(int fd, const char *temp, const char *path, tq_err *err) {
    int rc = TQ_OK;
    if (fsync(fd)) rc = tq_fail(err, "%s: cannot write: %s", path, strerror(errno));
    if (close(fd) && !rc) rc = tq_fail(err, "%s: cannot write: %s", path, strerror(errno));
    if (!rc && rename(temp, path)) rc = tq_fail(err, "%s: cannot rename into place: %s", path, strerror(errno));
    if (rc)
        (void)unlink(temp);
    else
        sync_parent(path);
    return rc;
}
