/* recipe.h - what the recipes for other tools share; private to model/. */
#ifndef TQ_RECIPE_H
#define TQ_RECIPE_H

#include "model/export.h"
#include "model/json.h"

/* Bits a weight of a config, scales aside: 4, 6 or 8; 0 for keep. */
int tq_recipe_bits(tq_choice c);
/* What most quantized matrices of the plan have; keep when none is quantized. */
tq_choice tq_recipe_common(const tq_plan *plan);
/* Fails when no matrix of a block is quantized, or embedding or head is. */
int tq_recipe_fits(const tq_plan *plan, tq_err *err);
/* Fails unless matrices are named as modules of a text model are: "model.layers...". */
int tq_recipe_plain_names(const tq_plan *plan, tq_err *err);
/* "made by tqexplore for NAME: a hint on bit widths, not an equivalent ...", in one line; out: [size]. */
void tq_recipe_label(const tq_export_job *job, tq_export_format f, char *out, size_t size);

/* A text that grows by lines; zero it. */
typedef struct tq_recipe_text {
    char *text;
    size_t n, room;
    bool failed; /* memory was short */
} tq_recipe_text;
void tq_recipe_line(tq_recipe_text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Writes it to job's path, as tq_write_file does, and frees it. An existing file is refused without force. */
int tq_recipe_save(tq_recipe_text *t, const tq_export_job *job, tq_err *err);
/* The same of a document, which is deleted; ok: it is complete. */
int tq_recipe_save_json(cJSON *root, bool ok, const tq_export_job *job, tq_err *err);

#endif
