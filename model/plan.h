/* plan.h - which matrix gets which bit config: ordered glob rules, and what came of them. */
#ifndef TQ_PLAN_H
#define TQ_PLAN_H

#include <stddef.h>

#include "model/divergence.h"
#include "model/weights.h"

typedef struct tq_choice {
    tq_bits bits;
    size_t group;
} tq_choice;

typedef struct tq_plan tq_plan; /* a choice for every matrix of one model, plus residual, rotation and seed */

tq_plan *tq_plan_new(const tq_model *m, tq_err *err); /* everything keep, group 128, nested, hadamard, seed 42 */
tq_plan *tq_plan_copy(const tq_plan *p);
void tq_plan_free(tq_plan *p);

tq_choice tq_plan_get(const tq_plan *p, size_t matrix);
void tq_plan_set(tq_plan *p, size_t matrix, tq_choice c);
tq_qspec tq_plan_spec(const tq_plan *p, size_t matrix);
void tq_plan_common(const tq_plan *p, tq_residual *residual, tq_rotation_kind *rotation, uint64_t *seed);
void tq_plan_set_common(tq_plan *p, tq_residual residual, tq_rotation_kind rotation, uint64_t seed);

/* Applies a rule as typed: 'GLOB=BITS[:GROUP]'. The glob is matched against the whole matrix name and, when it holds no
 * dot or slash of its own path, against its label ('*' matches across dots; '/' in a glob is read as '.'). A rule that
 * matches nothing is an error. *matched may be NULL. */
int tq_plan_rule(tq_plan *p, const char *rule, size_t *matched, tq_err *err);
/* Does the glob match matrix i? The same matching as tq_plan_rule; used by the screen's filter. */
bool tq_glob_match(const char *glob, const tq_matrix *m);

/* Can matrix i take c? NULL, or why not (a static text). */
const char *tq_choice_blocked(const tq_matrix *m, tq_choice c, tq_rotation_kind rotation);

/* Measured figures that go into a saved plan. */
typedef struct tq_plan_figures {
    const tq_distortion *distortion; /* [matrices] or NULL */
    const size_t *bytes;             /* [matrices] or NULL */
    const tq_eval_result *eval;      /* or NULL */
    const char *text_name;           /* or NULL */
    char text_hash[17];
} tq_plan_figures;

/* A readable JSON recipe: ordered glob rules (as few as reproduce it), per-matrix results, model hash, text hash,
 * figures with their errors, version. The caller frees *json. */
int tq_plan_to_json(const tq_plan *p, const tq_plan_figures *figures, char **json, tq_err *err);
/* Loads one; unknown fields are errors; a plan for another model (hash) is refused unless its rules match every matrix
 * and `other_model_ok`. */
int tq_plan_from_json(const tq_model *m, const char *json, const char *file_name, tq_plan **out, tq_err *err);

#endif
