/* json_out.h - what everything that writes JSON shares. */
#ifndef TQ_JSON_OUT_H
#define TQ_JSON_OUT_H

#include <cjson/cJSON.h>
#include <stdbool.h>

/* Adds a number, null when it is not finite. False when memory is short. */
bool tq_json_number(cJSON *object, const char *name, double v);
/* o when all of it came together, else NULL: o is freed. */
cJSON *tq_json_done(cJSON *o, bool ok);

#endif
