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

typedef struct tq_plan tq_plan; /* a choice for every matrix of one model, and what all have in common */

/* Everything keep, group 128, tq_common_default. A matrix that the model holds packed has what it is packed as:
 * tq_plan_spec always gives that one back. */
tq_plan *tq_plan_new(const tq_model *m, tq_err *err);
/* Does it leave every matrix as the model has it? A matrix that is packed already is so under every plan. */
bool tq_plan_keeps_all(const tq_plan *p);
tq_plan *tq_plan_copy(const tq_plan *p); /* NULL when memory is short */
void tq_plan_free(tq_plan *p);
const tq_model *tq_plan_model(const tq_plan *p);

tq_choice tq_plan_get(const tq_plan *p, size_t matrix);
void tq_plan_set(tq_plan *p, size_t matrix, tq_choice c);
tq_qspec tq_plan_spec(const tq_plan *p, size_t matrix);
tq_common tq_plan_common(const tq_plan *p);
void tq_plan_set_common(tq_plan *p, const tq_common *common);
bool tq_choice_equal(tq_choice a, tq_choice b); /* the group of a kept matrix does not count */

/* The highest rotation seed: cJSON prints whole numbers exactly up to here. */
#define TQ_SEED_MAX ((uint64_t)1000000000000000)

/* Applies a rule as typed: 'GLOB=BITS[:GROUP]', to what tq_glob_select gives; without GROUP a matrix keeps the group it
 * has. A rule that matches nothing, and one that a matrix cannot take, are errors that change nothing. *matched may be
 * NULL. */
int tq_plan_rule(tq_plan *p, const char *rule, size_t *matched, tq_err *err);
/* Is the rule well-formed, whatever model it is for? */
int tq_plan_rule_check(const char *rule, tq_err *err);
/* Does the glob match? As in fnmatch(3), but '*' crosses dots and '/' is read as '.'. It has to match all of the full
 * name ("model.layers.3.mlp.down_proj"), or of the label ("mlp.down_proj"), or of BLOCK.label ("3.mlp.down_proj"). */
bool tq_glob_match(const char *glob, const tq_matrix *m);
/* The matrices that a glob means, selected: [matrices]; returns how many. Those of blocks that it matches; embedding
 * and head only when it matches none of these: "*" leaves them out, "lm_head" and "*embed*" name them. */
size_t tq_glob_select(const tq_model *m, const char *glob, bool *selected);

/* Can the matrix take c? NULL, or why not: a static text that goes on after its name. Weights are not read; what this
 * lets through is coded. */
const char *tq_choice_blocked(const tq_matrix *m, tq_choice c, tq_rotation_kind rotation);

/* Measured figures that go into a saved plan. */
typedef struct tq_plan_figures {
    const tq_distortion *distortion; /* [matrices] or NULL */
    const size_t *bytes;             /* [matrices] or NULL */
    const tq_eval_result *eval;      /* or NULL */
    const tq_eval_options *options;  /* those of eval, or NULL */
    const char *text_name;           /* or NULL */
    char text_hash[17];
} tq_plan_figures;

/* A readable JSON recipe: ordered glob rules (few that reproduce it), per-matrix results, model hash, text hash,
 * figures with their errors, version. figures may be NULL. The caller frees *json. */
int tq_plan_to_json(const tq_plan *p, const tq_plan_figures *figures, char **json, tq_err *err);

/* Loads one. Unknown fields are errors, and so is a plan made for another model (by hash), and rules that do not give
 * what its own "matrices" says. A plan of rules alone, without "model", fits every model that its globs match. */
int tq_plan_from_json(const tq_model *m, const char *json, size_t bytes, const char *file_name, tq_plan **out,
                      tq_err *err);

/* The distortions that a plan inside an export states: distortion: [matrices], NaN where it says nothing. */
int tq_plan_read_distortion(const tq_model *m, const char *json, size_t bytes, const char *file_name,
                            tq_distortion *distortion, tq_err *err);

/* Is this the text of a plan? Says nothing about its contents. */
bool tq_plan_is_json(const char *json, size_t bytes);

#endif
