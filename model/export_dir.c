/* export_dir.c - a directory that appears whole or not at all, and that never takes the place of something else. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "model/docs.h"
#include "model/export_internal.h"
#include "model/gguf_docs.h"
#include "model/packed.h"
#include "model/tensor_writer.h"
#include "model/tokenizer_internal.h"

#define MAX_COPIED ((size_t)256 << 20)
#define MAX_PLAN ((size_t)64 << 20)

/* What a model's directory may hold beside its tensors that a reader of the export needs. */
static const char *const copied_files[] = {
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "chat_template.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "preprocessor_config.json",
    "processor_config.json",
    "video_preprocessor_config.json",
};
enum { N_COPIED = sizeof copied_files / sizeof *copied_files };

static bool ends_with(const char *s, const char *end) {
    size_t n = strlen(s), e = strlen(end);
    return n >= e && strcmp(s + n - e, end) == 0;
}

/* Could an export have written a file of this name? */
static bool is_ours(const char *name) {
    static const char *const made[] = {TQ_PLAN_FILE, "model.safetensors.index.json", "turboquant_config.json"};
    for (size_t i = 0; i < sizeof made / sizeof *made; i++)
        if (strcmp(name, made[i]) == 0) return true;
    for (size_t i = 0; i < N_COPIED; i++)
        if (strcmp(name, copied_files[i]) == 0) return true;
    return ends_with(name, ".safetensors");
}

static bool has_plan(const char *dir) {
    char *path = tq_path_join(dir, TQ_PLAN_FILE), *text = NULL;
    size_t n = 0;
    bool has = path && tq_read_file(path, MAX_PLAN, &text, &n, NULL) == TQ_OK && tq_plan_is_json(text, n);
    free(text);
    free(path);
    return has;
}

/* Calls fn for every entry but "." and ".."; stops when it fails. */
static int each_entry(const char *dir, int (*fn)(const char *dir, const char *name, tq_err *err), tq_err *err) {
    DIR *d = opendir(dir);
    if (!d) return tq_fail(err, "%s: cannot open: %s", dir, strerror(errno));
    int rc = TQ_OK;
    for (const struct dirent *e = readdir(d); e && rc == TQ_OK; e = readdir(d))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) rc = fn(dir, e->d_name, err);
    closedir(d);
    return rc;
}

static int check_entry(const char *dir, const char *name, tq_err *err) {
    struct stat st;
    char *path = tq_path_join(dir, name);
    bool regular = path && lstat(path, &st) == 0 && S_ISREG(st.st_mode);
    free(path);
    if (regular && is_ours(name)) return TQ_OK;
    return tq_fail(err, "%s: not overwritten, it holds %.80s, which no export wrote", dir, name);
}

static int remove_entry(const char *dir, const char *name, tq_err *err) {
    char *path = tq_path_join(dir, name);
    if (path) (void)unlink(path);
    free(path);
    (void)err;
    return TQ_OK;
}

/* Regular files and then the directory; one that holds a directory stays. */
static void remove_dir(const char *dir) {
    (void)each_entry(dir, remove_entry, NULL);
    (void)rmdir(dir);
}

static int check_target(const char *path, bool force, tq_err *err) {
    struct stat st;
    if (lstat(path, &st) != 0)
        return errno == ENOENT ? TQ_OK : tq_fail(err, "%s: cannot look at it: %s", path, strerror(errno));
    if (!force) return tq_fail(err, "%s: exists, --force overwrites an earlier export", path);
    if (!S_ISDIR(st.st_mode) || !has_plan(path))
        return tq_fail(err, "%s: not overwritten, it is no export of tqexplore", path);
    return each_entry(path, check_entry, err);
}

static int make_temp(tq_outdir *d, tq_err *err) {
    for (unsigned i = 0; i < 100; i++) {
        if (asprintf(&d->temp, "%s.tmp-%ld-%u", d->path, (long)getpid(), i) < 0) {
            d->temp = NULL;
            return tq_fail(err, "%s: out of memory", d->path);
        }
        if (mkdir(d->temp, 0777) == 0) return TQ_OK;
        free(d->temp);
        d->temp = NULL;
        if (errno != EEXIST) break;
    }
    return tq_fail(err, "%s: cannot make a directory beside it: %s", d->path, strerror(errno));
}

int tq_outdir_new(const char *path, bool force, size_t bytes, tq_outdir *out, tq_err *err) {
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    *out = (tq_outdir){.path = strndup(path, n), .force = force};
    if (!out->path || !n) {
        tq_outdir_abort(out);
        return tq_fail(err, n ? "%s: out of memory" : "%sthe path to export to is empty", path);
    }
    int rc = check_target(out->path, force, err);
    size_t space = rc == TQ_OK ? tq_free_space(out->path) : 0;
    if (space && space < bytes)
        rc = tq_fail(err, "%s: %zu MiB must be free for the export, %zu MiB are", out->path, (bytes >> 20) + 1,
                     space >> 20);
    if (rc == TQ_OK) rc = make_temp(out, err);
    if (rc != TQ_OK) tq_outdir_abort(out);
    return rc;
}

void tq_outdir_abort(tq_outdir *d) {
    if (d->temp) remove_dir(d->temp);
    free(d->temp);
    free(d->path);
    *d = (tq_outdir){0};
}

static int copy_file(const char *from_dir, const char *to_dir, const char *name, tq_err *err) {
    char *from = tq_path_join(from_dir, name), *to = tq_path_join(to_dir, name), *data = NULL;
    size_t n = 0;
    int rc = TQ_OK;
    if (!from || !to) {
        rc = tq_fail(err, "%s: out of memory", name);
    } else if (access(from, F_OK) == 0) {
        rc = tq_read_file(from, MAX_COPIED, &data, &n, err);
        if (rc == TQ_OK) rc = tq_write_file(to, data, n, err);
    }
    free(data);
    free(from);
    free(to);
    return rc;
}

/* What only this program reads is left out, and what it needs not is put in: merges where there are scores. */
static int make_foreign(cJSON *root, const char *name, tq_err *err) {
    const cJSON *added = tq_json_get(root, "added_tokens");
    if (strcmp(name, "config.json") == 0) cJSON_DeleteItemFromObjectCaseSensitive(root, TQ_NORM_PLUS_ONE);
    for (cJSON *token = added ? added->child : NULL; token; token = token->next)
        cJSON_DeleteItemFromObjectCaseSensitive(token, "always");
    return strcmp(name, "tokenizer.json") == 0 ? tq_tokenizer_merges_of_scores(root, err) : TQ_OK;
}

static int write_document(const tq_docs *docs, const char *to_dir, const char *name, bool foreign, tq_err *err) {
    if (!tq_docs_has(docs, name)) return TQ_OK;
    cJSON *root = tq_docs_load(docs, name, MAX_COPIED, MAX_COPIED, err);
    if (!root) return TQ_FAIL;
    int rc = foreign ? make_foreign(root, name, err) : TQ_OK;
    char *to = tq_path_join(to_dir, name), *text = rc == TQ_OK ? cJSON_Print(root) : NULL;
    if (rc == TQ_OK)
        rc = to && text ? tq_write_file(to, text, strlen(text), err) : tq_fail(err, "%s: out of memory", name);
    cJSON_free(text);
    cJSON_Delete(root);
    free(to);
    return rc;
}

int tq_outdir_copy(const tq_outdir *d, const tq_source *source, bool foreign, tq_err *err) {
    const tq_docs docs = tq_docs_of(source);
    int rc = TQ_OK;
    for (size_t i = 0; i < N_COPIED && rc == TQ_OK; i++)
        rc = docs.dir ? copy_file(docs.dir, d->temp, copied_files[i], err)
                      : write_document(&docs, d->temp, copied_files[i], foreign, err);
    return rc;
}

static void sync_dir(const char *path) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    (void)fsync(fd); /* some file systems refuse: nothing can be done then */
    close(fd);
}

static void sync_parent(const char *path) {
    char *parent = tq_path_join(path, "..");
    if (parent) sync_dir(parent);
    free(parent);
}

/* The old directory goes away only after the new one has taken its place. */
static int swap_in(tq_outdir *d, tq_err *err) {
    if (renameat2(AT_FDCWD, d->temp, AT_FDCWD, d->path, RENAME_EXCHANGE) == 0) return TQ_OK; /* temp is the old one */
    if (errno != EINVAL && errno != ENOSYS)
        return tq_fail(err, "%s: cannot rename into place: %s", d->path, strerror(errno));
    char *old = NULL;
    if (asprintf(&old, "%s.old", d->temp) < 0) return tq_fail(err, "%s: out of memory", d->path);
    int rc = TQ_OK;
    if (rename(d->path, old) != 0) {
        rc = tq_fail(err, "%s: cannot rename it away: %s", d->path, strerror(errno));
        free(old);
        return rc;
    }
    if (rename(d->temp, d->path) != 0) {
        rc = tq_fail(err, "%s: cannot rename into place: %s", d->path, strerror(errno));
        (void)rename(old, d->path);
        free(old);
        return rc;
    }
    free(d->temp);
    d->temp = old;
    return TQ_OK;
}

int tq_outdir_finish(tq_outdir *d, tq_err *err) {
    sync_dir(d->temp);
    int rc = check_target(d->path, d->force, err); /* it may have changed in the meantime */
    bool exists = rc == TQ_OK && access(d->path, F_OK) == 0;
    if (rc == TQ_OK && exists) rc = swap_in(d, err);
    if (rc == TQ_OK && !exists) {
        rc = rename(d->temp, d->path) == 0 ? TQ_OK
                                           : tq_fail(err, "%s: cannot rename into place: %s", d->path, strerror(errno));
        if (rc == TQ_OK) {
            free(d->temp);
            d->temp = NULL;
        }
    }
    if (rc == TQ_OK) sync_parent(d->path);
    tq_outdir_abort(d); /* removes what is left under the temporary name: the new one when it failed, or the old one */
    return rc;
}
