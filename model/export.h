/* export.h - what leaves the program: the plan, the model in one format or another, recipes for other tools. A table of
 * formats; menus, the command line, completion and help iterate over it.
 *
 * tq, hf and turboquant-model are directories, the others files. Atomic: built under a temporary name beside the target
 * and renamed. Refuses to overwrite without force; checks free space first. What a format cannot say is refused before
 * any work.
 *
 * tq and hf are sharded like the source (one shard becomes model.safetensors) with config and tokenizer copied, the
 * index made again, and tq_plan.json inside. q: [matrices], NULL entries stay as stored. plan and figures are what
 * tq_plan_to_json takes. With force, only a directory that holds an export of ours and nothing else is replaced. */
#ifndef TQ_EXPORT_H
#define TQ_EXPORT_H

#include "model/plan.h"

/* The one list of formats: id, name as typed and shown, key on the screen, end of the path that is proposed, one line
 * for menus and help, whether it is a recipe, what checks a plan for it, and what writes it. The first and the last row
 * have macros of their own, so that lists of names can be made of it. */
#define TQ_EXPORT_FORMATS(FIRST, NEXT, LAST)                                                                           \
    FIRST(PLAN, "plan", 'p', ".plan.json", "the plan, a readable file", false, NULL, NULL)                             \
    NEXT(TQ, "tq", 't', "-tq", "packed, opened again by tqexplore", false, NULL, tq_export_tq)                         \
    NEXT(HF, "hf", 'h', "-hf", "the effect as bf16, for transformers", false, tq_export_hf_check, tq_export_hf)        \
    NEXT(GGUF, "gguf", 'g', "-bf16.gguf", "the effect as bf16 GGUF, for llama.cpp", false, tq_export_gguf_check,       \
         tq_export_gguf)                                                                                               \
    NEXT(TURBOQUANT, "turboquant-model", 'u', "-turboquant", "packed, for the published implementation", false,        \
         tq_export_turboquant_check, tq_export_turboquant)                                                             \
    NEXT(LLAMA_CPP, "llama.cpp", 'l', "-llama.cpp.sh", "hint: types by tensor, for llama-quantize", true,              \
         tq_recipe_llama_cpp_check, tq_recipe_llama_cpp)                                                               \
    NEXT(EXLLAMAV3, "exllamav3", 'x', "-exllamav3.yaml", "hint: overrides, for its recompile.py", true,                \
         tq_recipe_exllamav3_check, tq_recipe_exllamav3)                                                               \
    NEXT(GPTQMODEL, "gptqmodel", 'q', "-gptqmodel.json", "hint: quantize config with dynamic", true,                   \
         tq_recipe_gptqmodel_check, tq_recipe_gptqmodel)                                                               \
    LAST(MLX_LM, "mlx-lm", 'm', "-mlx-lm.json", "hint: quantization config by layer", true, tq_recipe_mlx_lm_check,    \
         tq_recipe_mlx_lm)

#define TQ_EXPORT_ID(id, ...) TQ_EXPORT_##id,
typedef enum tq_export_format {
    TQ_EXPORT_FORMATS(TQ_EXPORT_ID, TQ_EXPORT_ID, TQ_EXPORT_ID) TQ_EXPORT_COUNT
} tq_export_format;

/* "plan, tq, ... or mlx-lm", and "plan|tq|...|mlx-lm", and a line for each. */
#define TQ_EXPORT_NAME(id, name, ...) name
#define TQ_EXPORT_NEXT(id, name, ...) ", " name
#define TQ_EXPORT_OR(id, name, ...) " or " name
#define TQ_EXPORT_NAMES TQ_EXPORT_FORMATS(TQ_EXPORT_NAME, TQ_EXPORT_NEXT, TQ_EXPORT_OR)
#define TQ_EXPORT_WORD(id, name, ...) "|" name
#define TQ_EXPORT_WORDS TQ_EXPORT_FORMATS(TQ_EXPORT_NAME, TQ_EXPORT_WORD, TQ_EXPORT_WORD)
#define TQ_EXPORT_LINE(id, name, key, suffix, what, ...) name ": " what
#define TQ_EXPORT_LINES_NEXT(id, name, key, suffix, what, ...) ";\n" name ": " what
#define TQ_EXPORT_LINES TQ_EXPORT_FORMATS(TQ_EXPORT_LINE, TQ_EXPORT_LINES_NEXT, TQ_EXPORT_LINES_NEXT)

typedef struct tq_export_job {
    const tq_model *model;
    const tq_plan *plan;
    const tq_plan_figures *figures; /* or NULL */
    tq_variant q;                   /* of a recipe NULL */
    const char *path;
    bool force;
    tq_pool *pool;
} tq_export_job;

/* A row of the table of formats. */
typedef struct tq_export_traits {
    tq_export_format id;
    const char *name;   /* as typed and shown */
    char key;           /* the key that chooses it on the screen */
    const char *suffix; /* of the path that is proposed */
    const char *what;   /* one line for menus and help */
    bool recipe;        /* for another tool, of the plan alone: a hint on bit widths, not an equivalent */
    /* Can the plan be said so? NULL: every plan. The message is the reason alone. */
    int (*check)(const tq_plan *plan, tq_err *err);
    int (*write)(const tq_export_job *job, const tq_progress *p, tq_err *err); /* NULL: the plan itself */
} tq_export_traits;

const tq_export_traits *tq_export_get(tq_export_format f); /* never NULL for f < TQ_EXPORT_COUNT */
const tq_export_traits *tq_export_find(const char *name);  /* NULL when unknown */
const char *tq_export_format_name(tq_export_format f);     /* "plan", "tq", ... */
/* What is to be said of what was written, or NULL: that a recipe is only a hint, that nothing is quantized in a model.
 */
const char *tq_export_note(tq_export_format f, const tq_plan *plan);
/* Fails, with path and reason, when the plan cannot be exported so. */
int tq_export_check(tq_export_format f, const tq_plan *plan, tq_err *err);

/* Packed safetensors, opened again by tqexplore: quantized matrices in their parts, the rest bit for bit. */
int tq_export_tq(const tq_export_job *job, const tq_progress *p, tq_err *err);
/* The effect of quantization for transformers: quantized matrices as bf16, the rest bit for bit. */
int tq_export_hf(const tq_export_job *job, const tq_progress *p, tq_err *err);
int tq_export_hf_check(const tq_plan *plan, tq_err *err);

/* The same as one GGUF file (not a directory), which llama.cpp loads: quantized matrices as BF16, vectors as F32, the
 * rest as stored. */
int tq_export_gguf(const tq_export_job *job, const tq_progress *p, tq_err *err);
int tq_export_gguf_check(const tq_plan *plan, tq_err *err);

/* The directory of turboquant-model, the published PyTorch implementation: the plan's own codes, level tables and
 * scales (as norms, in fp32), which it decodes to the same weights. */
int tq_export_turboquant(const tq_export_job *job, const tq_progress *p, tq_err *err);
int tq_export_turboquant_check(const tq_plan *plan, tq_err *err);

/* Recipes; see recipe.c for what each is. */
int tq_recipe_llama_cpp(const tq_export_job *job, const tq_progress *p, tq_err *err);
int tq_recipe_llama_cpp_check(const tq_plan *plan, tq_err *err);
int tq_recipe_exllamav3(const tq_export_job *job, const tq_progress *p, tq_err *err);
int tq_recipe_exllamav3_check(const tq_plan *plan, tq_err *err);
int tq_recipe_gptqmodel(const tq_export_job *job, const tq_progress *p, tq_err *err);
int tq_recipe_gptqmodel_check(const tq_plan *plan, tq_err *err);
int tq_recipe_mlx_lm(const tq_export_job *job, const tq_progress *p, tq_err *err);
int tq_recipe_mlx_lm_check(const tq_plan *plan, tq_err *err);

/* Bytes of tensors that the export will hold. */
size_t tq_export_tq_bytes(const tq_model *m, tq_variant q);
size_t tq_export_hf_bytes(const tq_model *m, tq_variant q);

#endif
