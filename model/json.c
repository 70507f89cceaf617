/* json.c - JSON from strangers, by cJSON. */
#include "model/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "model/tensor_writer.h"

char *tq_path_join(const char *dir, const char *name) {
    size_t n = strlen(dir);
    char *path = NULL;
    if (asprintf(&path, "%s%s%s", dir, n > 0 && dir[n - 1] != '/' ? "/" : "", name) < 0) return NULL;
    return path;
}

static int check_text(const char *file, const char *text, size_t n, size_t max_values, tq_err *err) {
    size_t values = 1;
    for (size_t i = 0; i < n;) {
        unsigned char c = (unsigned char)text[i];
        if (c == 0) return tq_fail(err, "%s: broken JSON: a NUL byte at %zu", file, i);
        if (c == '\\') { /* a C string ends at a NUL: names that differ after it would be the same */
            if (n - i >= 6 && memcmp(text + i + 1, "u0000", 5) == 0)
                return tq_fail(err, "%s: a string with a NUL at byte %zu is not supported", file, i);
            i += n - i > 1 && text[i + 1] == '\\' ? 2 : 1;
            continue;
        }
        if (c < 0x80) {
            values += c == ',' || c == '{' || c == '[';
            i++;
            continue;
        }
        utf8proc_int32_t point;
        utf8proc_ssize_t len = utf8proc_iterate((const utf8proc_uint8_t *)text + i, (utf8proc_ssize_t)(n - i), &point);
        if (len < 1) return tq_fail(err, "%s: broken JSON: not UTF-8 at byte %zu", file, i);
        i += (size_t)len;
    }
    if (values > max_values) return tq_fail(err, "%s: more than %zu JSON values", file, max_values);
    return TQ_OK;
}

int tq_json_parse(const char *file, const char *text, size_t n, size_t max_values, cJSON **out, tq_err *err) {
    *out = NULL;
    if (check_text(file, text, n, max_values, err)) return TQ_FAIL;
    const char *end = NULL;
    cJSON *root = cJSON_ParseWithLengthOpts(text, n, &end, 0);
    size_t at = end && end >= text ? (size_t)(end - text) : 0;
    if (!root) return tq_fail(err, "%s: broken JSON at byte %zu", file, at);
    while (at < n && strchr(" \t\r\n", text[at]))
        at++;
    if (at < n) {
        cJSON_Delete(root);
        return tq_fail(err, "%s: broken JSON: text after the end at byte %zu", file, at);
    }
    *out = root;
    return TQ_OK;
}

cJSON *tq_json_load(const char *dir, const char *name, size_t max, size_t max_values, tq_err *err) {
    cJSON *root = NULL;
    char *text = NULL;
    size_t n = 0;
    char *path = tq_path_join(dir, name);
    if (!path) {
        tq_fail(err, "%s: out of memory", name);
        return NULL;
    }
    if (tq_read_file(path, max, &text, &n, err) || tq_json_parse(path, text, n, max_values, &root, err)) root = NULL;
    if (root && !cJSON_IsObject(root)) {
        tq_fail(err, "%s: expected a JSON object", path);
        cJSON_Delete(root);
        root = NULL;
    }
    free(text);
    free(path);
    return root;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int tq_json_unique(const char *file, const char *what, const cJSON *object, tq_err *err) {
    size_t n = 0;
    for (const cJSON *m = object->child; m; m = m->next)
        n++;
    if (n < 2) return TQ_OK;
    char **names = malloc(n * sizeof *names);
    if (!names) return tq_fail(err, "%s: out of memory", file);
    n = 0;
    for (const cJSON *m = object->child; m; m = m->next)
        names[n++] = m->string;
    qsort(names, n, sizeof *names, by_name);
    int rc = TQ_OK;
    for (size_t i = 1; i < n && !rc; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            rc = tq_fail(err, "%s: \"%s\" stands twice in %s", file, names[i], what);
    free(names);
    return rc;
}

bool tq_json_size(const cJSON *item, size_t *out) {
    if (!cJSON_IsNumber(item)) return false;
    double v = item->valuedouble;
    if (!(v >= 0 && v <= 9007199254740992.0) || v != floor(v)) return false;
    *out = (size_t)v;
    return true;
}

const cJSON *tq_json_get(const cJSON *object, const char *name) {
    const cJSON *m = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsNull(m) ? NULL : m;
}

const char *tq_json_text(const cJSON *object, const char *name) {
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
}
