/* records.c - see records.h. */
#include "model/records.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "model/json.h"
#include "model/output.h"
#include "model/source_internal.h"
#include "model/tensor_writer.h"

#define MAX_BYTES ((size_t)64 << 20)
#define MAX_RECORDS ((size_t)1 << 15)
#define MAX_VALUES ((size_t)1 << 20) /* of JSON, in the whole file */
#define SLACK ((size_t)256 << 10)    /* bytes of old lines that are not worth writing the file anew */
enum { HASH_DIGITS = 16 };

static const char key_letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";

struct tq_keeper {
    char *path;
    int lock, fd; /* -1: not open */
    bool thread_runs;
    pthread_t thread;
    pthread_mutex_t mutex; /* guards everything below */
    pthread_cond_t changed;
    tq_records live;
    size_t live_bytes; /* of the lines that a file written anew would have */
    size_t bytes;      /* of the file */
    bool dirty, quit;
    bool renewing; /* the thread writes the file anew: what is put meanwhile goes to the tail, too */
    char *tail;
    size_t tail_bytes, tail_capacity;
};

/* --- records in memory --- */

void tq_records_free(tq_records *r) {
    for (size_t i = 0; i < r->count; i++) {
        free(r->items[i].text);
        cJSON_Delete(r->items[i].value);
    }
    free(r->items);
    *r = (tq_records){0};
}

static tq_record *find(const tq_records *r, const char *key) {
    for (size_t i = 0; i < r->count; i++)
        if (strcmp(r->items[i].key, key) == 0) return &r->items[i];
    return NULL;
}

const cJSON *tq_records_get(const tq_records *r, const char *key) {
    const tq_record *found = find(r, key);
    return found ? found->value : NULL;
}

static void forget(tq_records *r, const char *key) {
    tq_record *found = find(r, key);
    if (!found) return;
    free(found->text);
    cJSON_Delete(found->value);
    memmove(found, found + 1, (size_t)(r->items + r->count - (found + 1)) * sizeof *found);
    r->count--;
}

/* Takes text over when it succeeds; the key fits. */
static bool set(tq_records *r, const char *key, char *text) {
    tq_record *found = find(r, key);
    if (found) {
        free(found->text);
        found->text = text;
        return true;
    }
    if (r->count == r->capacity) {
        size_t capacity = r->capacity ? 2 * r->capacity : 64;
        tq_record *grown = realloc(r->items, capacity * sizeof *grown);
        if (!grown) return false;
        r->items = grown;
        r->capacity = capacity;
    }
    tq_record *x = &r->items[r->count++];
    *x = (tq_record){.text = text};
    (void)snprintf(x->key, sizeof x->key, "%s", key);
    return true;
}

/* --- lines --- */

static size_t line_bytes(const char *key, const char *text) {
    return strlen(key) + 1 + strlen(text) + 1 + HASH_DIGITS + 1;
}

/* "KEY TEXT HASH\n", the caller's; NULL when memory is short. */
static char *line_of(const char *key, const char *text, size_t *bytes) {
    char *line = NULL;
    int n = asprintf(&line, "%s %s ", key, text);
    if (n < 0) return NULL;
    char *whole = realloc(line, (size_t)n + HASH_DIGITS + 2);
    if (!whole) {
        free(line);
        return NULL;
    }
    (void)snprintf(whole + n, HASH_DIGITS + 2, "%016" PRIx64 "\n", tq_hash_bytes(TQ_HASH_SEED, whole, (size_t)n - 1));
    *bytes = (size_t)n + HASH_DIGITS + 1;
    return whole;
}

/* Takes a whole line (its newline is a NUL) into r; false: it is damaged. */
static bool take_line(char *line, size_t n, tq_records *r, bool *short_of_memory) {
    char wanted[HASH_DIGITS + 1];
    if (strlen(line) != n || n < HASH_DIGITS + 2 || line[n - HASH_DIGITS - 1] != ' ') return false;
    size_t length = n - HASH_DIGITS - 1;
    (void)snprintf(wanted, sizeof wanted, "%016" PRIx64, tq_hash_bytes(TQ_HASH_SEED, line, length));
    if (memcmp(wanted, line + length + 1, HASH_DIGITS) != 0) return false;
    line[length] = '\0';
    size_t key = strspn(line, key_letters);
    if (key == 0 || key >= TQ_RECORD_KEY || line[key] != ' ') return false;
    line[key] = '\0';
    if (strcmp(line + key + 1, "-") == 0) {
        forget(r, line);
        return true;
    }
    char *text = strdup(line + key + 1);
    if (text && set(r, line, text)) return true;
    free(text);
    *short_of_memory = true;
    return false;
}

static int take_lines(const char *path, char *text, size_t n, tq_records *r, tq_err *err) {
    size_t number = 1;
    for (size_t at = 0; at < n; number++) {
        char *end = memchr(text + at, '\n', n - at);
        bool short_of_memory = false;
        if (!end) break; /* torn */
        *end = '\0';
        size_t length = (size_t)(end - (text + at));
        if (!take_line(text + at, length, r, &short_of_memory)) {
            if (short_of_memory) return tq_fail(err, "%s: out of memory", path);
            return tq_fail(err, "%s: line %zu is damaged", path, number);
        }
        if (r->count > MAX_RECORDS) return tq_fail(err, "%s: more than %zu records", path, MAX_RECORDS);
        at += length + 1;
        r->bytes = at;
    }
    return TQ_OK;
}

static int parse_values(const char *path, tq_records *r, tq_err *err) {
    size_t left = MAX_VALUES;
    for (size_t i = 0; i < r->count; i++) {
        tq_record *x = &r->items[i];
        tq_err inner = {{0}};
        size_t n = strlen(x->text), most = n + 1 < left ? n + 1 : left;
        if (tq_json_parse(x->key, x->text, n, most, &x->value, &inner) != TQ_OK)
            return tq_fail(err, "%s: %s", path, inner.msg);
        for (const char *p = x->text; *p; p++)
            if (left > 0 && (*p == ',' || *p == '{' || *p == '[')) left--;
    }
    return TQ_OK;
}

int tq_records_read(const char *path, const char *first, tq_records *out, tq_err *err) {
    char *text = NULL;
    size_t n = 0;
    *out = (tq_records){0};
    int rc = tq_read_file(path, MAX_BYTES, &text, &n, err);
    if (rc == TQ_OK) rc = take_lines(path, text, n, out, err);
    if (rc == TQ_OK && (out->count == 0 || strcmp(out->items[0].key, first) != 0))
        rc = tq_fail(err, "%s: does not begin with \"%s\"", path, first);
    if (rc == TQ_OK) rc = parse_values(path, out, err);
    free(text);
    if (rc != TQ_OK) tq_records_free(out);
    return rc;
}

/* --- the keeper's thread --- */

/* All lines of the live records, the caller's; with the mutex held. */
static char *all_lines(const tq_keeper *k, size_t *bytes) {
    char *text = NULL;
    FILE *f = open_memstream(&text, bytes);
    bool ok = f != NULL;
    for (size_t i = 0; ok && i < k->live.count; i++) {
        size_t n;
        char *line = line_of(k->live.items[i].key, k->live.items[i].text, &n);
        ok = line && fwrite(line, 1, n, f) == n;
        free(line);
    }
    if (f && fclose(f) == 0 && ok) return text;
    free(text);
    return NULL;
}

/* Writes what is put meanwhile to the new file, until there is no more and it can take the old one's place. With the
 * mutex held, which is let go while the disk works. */
static bool write_tail(tq_keeper *k, int fd, const char *temp) {
    tq_err err;
    for (;;) {
        char *tail = k->tail;
        size_t n = k->tail_bytes;
        k->tail = NULL;
        k->tail_bytes = k->tail_capacity = 0;
        pthread_mutex_unlock(&k->mutex);
        bool ok = tq_output_write(fd, tail, n, k->path, &err) == TQ_OK && fsync(fd) == 0;
        free(tail);
        pthread_mutex_lock(&k->mutex);
        if (!ok || !k->renewing) return false;
        if (k->tail_bytes == 0) return rename(temp, k->path) == 0;
    }
}

/* The file anew, without what no longer counts; when it fails the old one goes on. With the mutex held. */
static void renew(tq_keeper *k) {
    tq_err err;
    char *temp = NULL;
    int fd = -1;
    size_t n = 0;
    char *text = all_lines(k, &n);
    if (!text) return;
    k->renewing = true;
    pthread_mutex_unlock(&k->mutex);
    bool ok = tq_output_open(k->path, &temp, &fd, &err) == TQ_OK && fcntl(fd, F_SETFL, O_APPEND) == 0 &&
              tq_output_write(fd, text, n, k->path, &err) == TQ_OK;
    free(text);
    pthread_mutex_lock(&k->mutex);
    ok = ok && write_tail(k, fd, temp);
    off_t end = ok ? lseek(fd, 0, SEEK_END) : -1;
    if (end >= 0) {
        close(k->fd);
        k->fd = fd;
        k->bytes = (size_t)end;
    } else {
        if (fd >= 0) close(fd);
        if (temp) (void)unlink(temp);
        k->live_bytes += SLACK; /* not again at once */
    }
    free(temp);
    free(k->tail);
    k->tail = NULL;
    k->tail_bytes = k->tail_capacity = 0;
    k->renewing = false;
}

static void *keep(void *arg) {
    tq_keeper *k = arg;
    pthread_mutex_lock(&k->mutex);
    for (;;) {
        while (!k->dirty && !k->quit)
            pthread_cond_wait(&k->changed, &k->mutex);
        if (!k->dirty) break;
        k->dirty = false;
        if (k->bytes > 2 * k->live_bytes + SLACK) renew(k);
        int fd = k->fd; /* this thread alone puts another in its place */
        pthread_mutex_unlock(&k->mutex);
        (void)fdatasync(fd);
        pthread_mutex_lock(&k->mutex);
    }
    pthread_mutex_unlock(&k->mutex);
    return NULL;
}

/* --- the keeper --- */

static tq_keeper *new_keeper(const char *path) {
    tq_keeper *k = calloc(1, sizeof *k);
    if (!k) return NULL;
    k->lock = k->fd = -1;
    pthread_mutex_init(&k->mutex, NULL);
    pthread_cond_init(&k->changed, NULL);
    k->path = strdup(path);
    if (k->path) return k;
    tq_keeper_close(k);
    return NULL;
}

/* The directory that the file is in. */
static int make_dir(const char *path, tq_err *err) {
    char *dir = strdup(path), *slash = dir ? strrchr(dir, '/') : NULL;
    bool ok = dir != NULL;
    if (slash && slash != dir) {
        *slash = '\0';
        ok = tq_make_dirs(dir);
    }
    int rc = ok ? TQ_OK : tq_fail(err, "%s: cannot make its directory: %s", path, strerror(errno));
    free(dir);
    return rc;
}

static int take_lock(tq_keeper *k, bool *busy, tq_err *err) {
    char *lock_path = NULL;
    if (asprintf(&lock_path, "%s.lock", k->path) < 0) return tq_fail(err, "%s: out of memory", k->path);
    int rc = TQ_OK;
    k->lock = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (k->lock < 0) {
        rc = tq_fail(err, "%s: cannot make it: %s", lock_path, strerror(errno));
    } else if (flock(k->lock, LOCK_EX | LOCK_NB) != 0) {
        *busy = errno == EWOULDBLOCK;
        rc = tq_fail(err, "%s: %s", lock_path, *busy ? "another process has it" : strerror(errno));
    }
    free(lock_path);
    return rc;
}

int tq_keeper_claim(const char *path, bool *busy, tq_keeper **out, tq_err *err) {
    *out = NULL;
    *busy = false;
    tq_keeper *k = new_keeper(path);
    if (!k) return tq_fail(err, "%s: out of memory", path);
    int rc = make_dir(path, err);
    if (rc == TQ_OK) rc = take_lock(k, busy, err);
    if (rc == TQ_OK)
        *out = k;
    else
        tq_keeper_close(k);
    return rc;
}

const char *tq_keeper_path(const tq_keeper *k) {
    return k->path;
}

static int start(tq_keeper *k, tq_err *err) {
    for (size_t i = 0; i < k->live.count; i++)
        k->live_bytes += line_bytes(k->live.items[i].key, k->live.items[i].text);
    int failed = pthread_create(&k->thread, NULL, keep, k);
    if (failed) return tq_fail(err, "%s: no thread: %s", k->path, strerror(failed));
    k->thread_runs = true;
    return TQ_OK;
}

int tq_keeper_begin(tq_keeper *k, tq_err *err) {
    k->fd = open(k->path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
    if (k->fd < 0) return tq_fail(err, "%s: cannot make it: %s", k->path, strerror(errno));
    return start(k, err);
}

int tq_keeper_continue(tq_keeper *k, tq_records *read, tq_err *err) {
    k->fd = open(k->path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
    if (k->fd < 0 || ftruncate(k->fd, (off_t)read->bytes) != 0) /* the torn line goes */
        return tq_fail(err, "%s: cannot open it for writing: %s", k->path, strerror(errno));
    k->live = *read;
    k->bytes = read->bytes;
    *read = (tq_records){0};
    return start(k, err);
}

static bool add_to_tail(tq_keeper *k, const char *line, size_t n) {
    if (k->tail_bytes + n > k->tail_capacity) {
        size_t capacity = 2 * (k->tail_bytes + n);
        char *grown = realloc(k->tail, capacity);
        if (!grown) return false;
        k->tail = grown;
        k->tail_capacity = capacity;
    }
    memcpy(k->tail + k->tail_bytes, line, n);
    k->tail_bytes += n;
    return true;
}

/* With the mutex held. */
static int append(tq_keeper *k, const char *line, size_t n, tq_err *err) {
    ssize_t written = write(k->fd, line, n);
    if (written == (ssize_t)n) {
        k->bytes += n;
        if (k->renewing && !add_to_tail(k, line, n)) k->renewing = false; /* the new file is given up */
        k->dirty = true;
        pthread_cond_signal(&k->changed);
        return TQ_OK;
    }
    int rc = tq_fail(err, "%s: cannot write: %s", k->path, written < 0 ? strerror(errno) : "no room");
    if (written > 0 && ftruncate(k->fd, (off_t)k->bytes) != 0) return rc; /* the torn line goes when it is read */
    return rc;
}

int tq_keeper_put(tq_keeper *k, const char *key, const char *text, tq_err *err) {
    pthread_mutex_lock(&k->mutex);
    const tq_record *had = find(&k->live, key);
    size_t n = 0, old = had ? line_bytes(key, had->text) : 0;
    int rc = TQ_OK;
    if (text ? had && strcmp(had->text, text) == 0 : !had) {
        pthread_mutex_unlock(&k->mutex);
        return TQ_OK;
    }
    char *line = line_of(key, text ? text : "-", &n), *copy = text ? strdup(text) : NULL;
    if (!line || (text && !copy)) rc = tq_fail(err, "%s: out of memory", k->path);
    if (rc == TQ_OK) rc = append(k, line, n, err);
    if (rc == TQ_OK && !text) {
        forget(&k->live, key);
        k->live_bytes -= old;
    } else if (rc == TQ_OK && set(&k->live, key, copy)) {
        copy = NULL;
        k->live_bytes += n - old;
    } else if (rc == TQ_OK) {
        rc = tq_fail(err, "%s: out of memory", k->path);
    }
    pthread_mutex_unlock(&k->mutex);
    free(line);
    free(copy);
    return rc;
}

size_t tq_keeper_bytes(tq_keeper *k) {
    pthread_mutex_lock(&k->mutex);
    size_t n = k->bytes;
    pthread_mutex_unlock(&k->mutex);
    return n;
}

void tq_keeper_close(tq_keeper *k) {
    if (!k) return;
    pthread_mutex_lock(&k->mutex);
    k->quit = true;
    pthread_cond_signal(&k->changed);
    pthread_mutex_unlock(&k->mutex);
    if (k->thread_runs) pthread_join(k->thread, NULL);
    if (k->fd >= 0) close(k->fd);
    if (k->lock >= 0) close(k->lock);
    pthread_mutex_destroy(&k->mutex);
    pthread_cond_destroy(&k->changed);
    tq_records_free(&k->live);
    free(k->tail);
    free(k->path);
    free(k);
}
