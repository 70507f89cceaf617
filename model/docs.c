/* docs.c - see docs.h. */
#include "model/docs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/source_internal.h"

tq_docs tq_docs_in(const char *dir) {
    return (tq_docs){.dir = dir};
}

tq_docs tq_docs_of(const tq_source *s) {
    const tq_docs own = {.source = s};
    return s->format->document ? own : tq_docs_in(tq_source_dir(s));
}

char *tq_docs_path(const tq_docs *d, const char *name) {
    return d->dir ? tq_path_join(d->dir, name) : strdup(tq_source_path(d->source));
}

bool tq_docs_has(const tq_docs *d, const char *name) {
    if (!d->dir) return d->source->format->document(d->source, name, NULL, NULL) == TQ_OK;
    char *path = tq_path_join(d->dir, name);
    bool has = path && access(path, F_OK) == 0;
    free(path);
    return has;
}

cJSON *tq_docs_load(const tq_docs *d, const char *name, size_t max, size_t max_values, tq_err *err) {
    if (d->dir) return tq_json_load(d->dir, name, max, max_values, err);
    cJSON *root = NULL;
    return d->source->format->document(d->source, name, &root, err) == TQ_OK ? root : NULL;
}
