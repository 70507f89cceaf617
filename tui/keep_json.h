/* keep_json.h - what a session keeps, as JSON values and back: plans, figures, points, turns of the chat. Reading
 * believes nothing: types, ranges and counts are checked against the model. No screen, no file. */
#ifndef TQ_KEEP_JSON_H
#define TQ_KEEP_JSON_H

#include <cjson/cJSON.h>

#include "model/json.h"
#include "tui/app_internal.h"
#include "tui/json_out.h"

/* Members of object o; false when memory is short. A text's broken bytes become '?'. */
bool tq_put_text(cJSON *o, const char *name, const char *text);
bool tq_put_bool(cJSON *o, const char *name, bool v);
/* The indices of what is true of flags [n]. */
bool tq_put_flags(cJSON *o, const char *name, const bool *flags, size_t n);

/* Members of what was read, NULL included, beside those of model/json.h; false: absent, or of another kind. */
bool tq_take_whole(const cJSON *o, const char *name, size_t most, size_t *out);
bool tq_take_number(const cJSON *o, const char *name, double *out); /* null is NaN */
bool tq_take_bool(const cJSON *o, const char *name, bool *out);
bool tq_take_flags(const cJSON *o, const char *name, bool *flags, size_t n);

cJSON *tq_plan_pack(const tq_plan *p); /* NULL: memory is short */
/* The caller's; NULL: it is no plan of this model. */
tq_plan *tq_plan_unpack(const tq_model *m, const cJSON *o);
cJSON *tq_eval_pack(const tq_eval_result *r);
bool tq_eval_unpack(const cJSON *o, tq_eval_result *r);

cJSON *tq_state_pack(const tq_state *s, uint64_t base); /* serials count from base in the file */
/* All but the serial; the parent as the file counts. s owns its plan. */
bool tq_state_unpack(const tq_model *m, const cJSON *o, tq_state *s);
cJSON *tq_point_pack(const tq_point *p);
bool tq_point_unpack(const tq_model *m, const cJSON *o, tq_point *p); /* p owns its plan */
cJSON *tq_turn_pack(const tq_turn *t);
bool tq_turn_unpack(const cJSON *o, tq_turn *t); /* t owns its text; an answer that had not ended was stopped */

#endif
