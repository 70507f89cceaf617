/* resume_read.h - a session's records, checked against the model and made whole, before anything of it is put in place.
 */
#ifndef TQ_RESUME_READ_H
#define TQ_RESUME_READ_H

#include <cjson/cJSON.h>

#include "tui/app_internal.h"

typedef struct tq_resumed {
    tq_state *states; /* [n_states] */
    size_t n_states, now;
    tq_plan *saved;
    tq_point *points; /* [n_points] */
    size_t n_points;
    tq_turn *turns; /* [n_turns] */
    size_t n_turns;
    double seconds; /* of the sittings before */
} tq_resumed;
void tq_resumed_free(tq_resumed *r);

/* Fails with one line, and r is empty then. Records that are put back one by one ("view", "tune", "talk", "text",
 * "history") are only checked: f keeps them. */
int tq_resumed_read(tq_app *a, const char *path, const tq_records *f, tq_resumed *r, tq_err *err);

/* Of the records "tune" and "text"; false: not there, or not what belongs there. */
bool tq_take_target(const cJSON *o, tq_target *t);
bool tq_take_text_settings(const cJSON *o, tq_eval_options *eval);

#endif
