/* json.h - JSON from strangers, by cJSON: size, encoding and number of values are limited before anything is built,
 * and members of what was read. */
#ifndef TQ_JSON_H
#define TQ_JSON_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>

#include "quant/base.h"

/* Parses n bytes that hold one JSON value and white space; file names it in errors. A text of more than max_values
 * values is refused: cJSON takes about 80 bytes for each. The caller frees *out with cJSON_Delete. */
int tq_json_parse(const char *file, const char *text, size_t n, size_t max_values, cJSON **out, tq_err *err);

/* Reads and parses DIR/NAME, which must hold an object of at most max bytes. The caller frees it; NULL on failure. */
cJSON *tq_json_load(const char *dir, const char *name, size_t max, size_t max_values, tq_err *err);

/* Fails when an object has two members of one name (cJSON keeps both, others take the last); what names the object. */
int tq_json_unique(const char *file, const char *what, const cJSON *object, tq_err *err);

/* A whole number in 0 .. 2^53. */
bool tq_json_size(const cJSON *item, size_t *out);

/* A member, case-sensitive; NULL when it is absent or null, or object is none (NULL too). */
const cJSON *tq_json_get(const cJSON *object, const char *name);

/* A string member's text, or NULL. */
const char *tq_json_text(const cJSON *object, const char *name);

/* DIR/NAME, owned by the caller; NULL when memory is short. */
char *tq_path_join(const char *dir, const char *name);

#endif
