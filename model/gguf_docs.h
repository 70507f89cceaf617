/* gguf_docs.h - the documents that a GGUF file's metadata stands for. Private to model/. */
#ifndef TQ_GGUF_DOCS_H
#define TQ_GGUF_DOCS_H

#include "model/docs.h"
#include "model/gguf.h"

/* A setting of config.json that only these documents have: norms are stored as they are, though the family adds one. */
#define TQ_NORM_PLUS_ONE "norm_plus_one"
/* And DeltaNet is as llama.cpp's converter leaves it (tq_config.linear_converted). */
#define TQ_LINEAR_CONVERTED "linear_attention_converted"

/* Gemma 3 of so many blocks (27B) scales queries by hidden / heads, smaller ones by the head; no key says it. */
#define TQ_GGUF_GEMMA3_LARGEST 62

typedef struct tq_gguf_job {
    const char *file; /* for errors */
    const tq_source *source;
    const tq_gguf *meta;
    const char *arch;       /* general.architecture */
    const char *model_type; /* of config.json */
} tq_gguf_job;

/* Each fills an empty object. */
int tq_gguf_config(const tq_gguf_job *j, cJSON *root, tq_err *err);           /* config.json */
int tq_gguf_tokenizer(const tq_gguf_job *j, cJSON *root, tq_err *err);        /* tokenizer.json */
int tq_gguf_tokenizer_config(const tq_gguf_job *j, cJSON *root, tq_err *err); /* tokenizer_config.json */

#endif
