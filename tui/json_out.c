#include "tui/json_out.h"

#include <math.h>

bool tq_json_number(cJSON *object, const char *name, double v) {
    return (isfinite(v) ? cJSON_AddNumberToObject(object, name, v) : cJSON_AddNullToObject(object, name)) != NULL;
}

cJSON *tq_json_done(cJSON *o, bool ok) {
    if (ok) return o;
    cJSON_Delete(o);
    return NULL;
}
