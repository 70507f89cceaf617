/* export.h - tq and hf: the model as it leaves the program. Atomic: built under a temporary name beside the target and
 * renamed. Refuses to overwrite without force; checks free space first.
 *
 * Both are directories sharded like the source (one shard becomes model.safetensors) with config and tokenizer copied,
 * the index made again, and tq_plan.json inside. q: [matrices], NULL entries stay as stored. plan and figures are what
 * tq_plan_to_json takes. With force, only a directory that holds an export of ours and nothing else is replaced. */
#ifndef TQ_EXPORT_H
#define TQ_EXPORT_H

#include "model/plan.h"

typedef struct tq_export_job {
    const tq_model *model;
    const tq_plan *plan;
    const tq_plan_figures *figures; /* or NULL */
    tq_variant q;
    const char *path;
    bool force;
    tq_pool *pool;
} tq_export_job;

/* Packed safetensors, opened again by tqexplore: quantized matrices in their parts, the rest bit for bit. */
int tq_export_tq(const tq_export_job *job, const tq_progress *p, tq_err *err);
/* The effect of quantization for transformers: quantized matrices as bf16, the rest bit for bit. */
int tq_export_hf(const tq_export_job *job, const tq_progress *p, tq_err *err);

/* The same as one GGUF file (not a directory), which llama.cpp loads: quantized matrices as BF16, vectors as F32, the
 * rest as stored. A model that such a file cannot describe is refused before any work. */
int tq_export_gguf(const tq_export_job *job, const tq_progress *p, tq_err *err);

/* Bytes of tensors that the export will hold. */
size_t tq_export_tq_bytes(const tq_model *m, tq_variant q);
size_t tq_export_hf_bytes(const tq_model *m, tq_variant q);

#endif
