/* journal.c - append, and read back what is whole. See journal.h. */
#include "model/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "model/hashed_line.h"
#include "model/source_internal.h"
#include "model/tensor_writer.h"

#define MAX_BYTES ((size_t)64 << 20)

struct tq_journal {
    char *path, *lock_path;
    uint64_t key;
    int fd, lock; /* -1: not open */
    off_t end;
};

char *tq_state_dir(void) {
    const char *base = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    char *dir = NULL;
    if (base && base[0] == '/') return asprintf(&dir, "%s/tqexplore", base) < 0 ? NULL : dir;
    if (home && home[0] == '/') return asprintf(&dir, "%s/.local/state/tqexplore", home) < 0 ? NULL : dir;
    return NULL;
}

void tq_journal_close(tq_journal *j) {
    if (!j) return;
    if (j->fd >= 0) close(j->fd);
    if (j->lock >= 0) close(j->lock);
    free(j->path);
    free(j->lock_path);
    free(j);
}

#define WAIT_NS 50000000L

static int take_lock(tq_journal *j, const tq_progress *p, tq_err *err) {
    j->lock = open(j->lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (j->lock < 0) return tq_fail(err, "%s: cannot make it: %s", j->lock_path, strerror(errno));
    while (flock(j->lock, LOCK_EX | LOCK_NB) != 0) {
        struct timespec wait = {.tv_nsec = WAIT_NS};
        if (errno != EWOULDBLOCK && errno != EINTR)
            return tq_fail(err, "%s: cannot lock it: %s", j->lock_path, strerror(errno));
        if (tq_progress_cancelled(p)) return tq_cancelled(err);
        (void)nanosleep(&wait, NULL);
    }
    return TQ_OK;
}

/* Gives the whole lines of text to take; kept: at least as many bytes, gets the lines that stay. Were all right? */
static bool read_lines(uint64_t key, char *text, size_t bytes, char *kept, size_t *n_kept,
                       bool (*take)(void *ctx, const char *line), void *ctx) {
    bool all = true;
    *n_kept = 0;
    for (size_t at = 0; at < bytes;) {
        char *end = memchr(text + at, '\n', bytes - at);
        size_t n = end ? (size_t)(end - (text + at)) : bytes - at;
        memcpy(kept + *n_kept, text + at, n);
        text[at + n] = '\0';
        bool good = end && tq_line_open(key, text + at, n) && take(ctx, text + at);
        if (good) {
            kept[*n_kept + n] = '\n';
            *n_kept += n + 1;
        }
        all = all && good;
        at += n + 1;
    }
    return all;
}

/* Gives the lines of the file to take; repair: what is damaged is taken out of it. */
static int read_back(const char *path, uint64_t key, bool (*take)(void *ctx, const char *line), void *ctx, bool repair,
                     tq_err *err) {
    struct stat st;
    char *text = NULL, *kept = NULL;
    size_t bytes = 0, n_kept = 0;
    if (lstat(path, &st) != 0 && errno == ENOENT) return TQ_OK;
    int rc = tq_read_file(path, MAX_BYTES, &text, &bytes, err);
    if (rc != TQ_OK) return rc;
    kept = malloc(bytes + 1);
    if (!kept) {
        free(text);
        return tq_fail(err, "%s: out of memory", path);
    }
    if (!read_lines(key, text, bytes, kept, &n_kept, take, ctx) && repair) rc = tq_write_file(path, kept, n_kept, err);
    free(kept);
    free(text);
    return rc;
}

int tq_journal_read(const char *dir, const char *name, uint64_t key, bool (*take)(void *ctx, const char *line),
                    void *ctx, tq_err *err) {
    char *path = NULL;
    if (asprintf(&path, "%s/%s", dir, name) < 0) return tq_fail(err, "%s: out of memory", dir);
    int rc = read_back(path, key, take, ctx, false, err);
    free(path);
    return rc;
}

int tq_journal_open(const char *dir, const char *name, uint64_t key, bool (*take)(void *ctx, const char *line),
                    void *ctx, const tq_progress *p, tq_journal **out, tq_err *err) {
    *out = NULL;
    tq_journal *j = calloc(1, sizeof *j);
    if (!j) return tq_fail(err, "%s: out of memory", dir);
    j->key = key;
    j->fd = j->lock = -1;
    int rc = asprintf(&j->path, "%s/%s", dir, name) < 0 || asprintf(&j->lock_path, "%s/%s.lock", dir, name) < 0
                 ? tq_fail(err, "%s: out of memory", dir)
             : tq_make_dirs(dir) ? TQ_OK
                                 : tq_fail(err, "%s: cannot make it: %s", dir, strerror(errno));
    if (rc == TQ_OK) rc = take_lock(j, p, err);
    if (rc == TQ_OK) rc = read_back(j->path, key, take, ctx, true, err);
    if (rc == TQ_OK) {
        j->fd = open(j->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
        j->end = j->fd >= 0 ? lseek(j->fd, 0, SEEK_END) : -1;
        if (j->end < 0) rc = tq_fail(err, "%s: cannot open it: %s", j->path, strerror(errno));
    }
    if (rc != TQ_OK) {
        tq_journal_close(j);
        return rc;
    }
    *out = j;
    return TQ_OK;
}

int tq_journal_add(tq_journal *j, const char *line, tq_err *err) {
    size_t n = 0;
    char *text = tq_line_seal(j->key, line, &n);
    if (!text) return tq_fail(err, "%s: out of memory", j->path);
    ssize_t written = write(j->fd, text, n);
    free(text);
    if (written == (ssize_t)n && fdatasync(j->fd) == 0) {
        j->end += written;
        return TQ_OK;
    }
    int rc = tq_fail(err, "%s: cannot write: %s", j->path,
                     written >= 0 && written < (ssize_t)n ? "no room" : strerror(errno));
    if (ftruncate(j->fd, j->end) != 0) return rc; /* the torn line is dropped when the file is opened */
    return rc;
}
