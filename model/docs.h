/* docs.h - the JSON documents that describe a model (config.json, tokenizer.json, ...): files of its directory, or made
 * by a source's format out of what the file says itself. Private to model/. */
#ifndef TQ_DOCS_H
#define TQ_DOCS_H

#include "model/json.h"
#include "model/tensor_source.h"

typedef struct tq_docs {
    const char *dir;         /* NULL: documents come from source */
    const tq_source *source; /* borrowed */
} tq_docs;

tq_docs tq_docs_in(const char *dir);
tq_docs tq_docs_of(const tq_source *s);

bool tq_docs_has(const tq_docs *d, const char *name);
/* The document, which must be an object; the limits are those of tq_json_load. NULL on failure; the caller frees it. */
cJSON *tq_docs_load(const tq_docs *d, const char *name, size_t max, size_t max_values, tq_err *err);
/* What to call it in errors, owned by the caller; NULL when memory is short. */
char *tq_docs_path(const tq_docs *d, const char *name);

/* chat_template.c: the chat template's text, owned by the caller; NULL without an error when there is none. */
int tq_chat_template(const tq_docs *d, char **text, tq_err *err);

#endif
