/* gguf_export.h - the parts of the GGUF export; private to model/. */
#ifndef TQ_GGUF_EXPORT_H
#define TQ_GGUF_EXPORT_H

#include "model/export.h"
#include "model/gguf_docs.h"
#include "model/gguf_writer.h"

/* gguf_export.c: a tensor's name with the prefix that most models have, as tq_gguf_name_of takes it. */
void tq_gguf_plain_name(const tq_config *c, const char *name, char *out, size_t size);

/* gguf_export_meta.c: why a model cannot be written so; NULL when it can. */
const char *tq_gguf_blocked(const tq_model *m);
/* All values but those of the tensors. A source that is GGUF itself gives its own. */
int tq_gguf_write_meta(tq_gguf_writer *w, const tq_model *m, const tq_gguf_arch *arch, tq_err *err);

/* gguf_tokenizer.c: the name of a pre-tokenizer by what tokenizer.json has; NULL: none. */
const char *tq_gguf_pre_of(const cJSON *tokenizer);

#endif
