/* export.h - plan, tq and hf: what leaves the program. Atomic; refuses to overwrite without force; checks free space.
 */
#ifndef TQ_EXPORT_H
#define TQ_EXPORT_H

#include "model/plan.h"

/* tq: a directory of packed safetensors, sharded like the source, config and tokenizer copied, plan inside; opened
 * again by tqexplore. hf: the effect of quantization written back as bf16 safetensors, for transformers. The directory
 * is built under a temporary name beside `path` and renamed. q: [matrices], NULL entries stay as stored. */
int tq_export_tq(const tq_model *m, const tq_plan *plan, tq_variant q, const tq_plan_figures *figures, const char *path,
                 bool force, const tq_progress *p, tq_err *err);
int tq_export_hf(const tq_model *m, tq_variant q, const char *path, bool force, tq_pool *pool, const tq_progress *p,
                 tq_err *err);
/* Bytes that the export will take. */
size_t tq_export_tq_bytes(const tq_model *m, tq_variant q);
size_t tq_export_hf_bytes(const tq_model *m);

#endif
