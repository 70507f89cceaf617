/* config_internal.h - members of config.json with their defaults and ranges checked. Private to model/. */
#ifndef TQ_CONFIG_INTERNAL_H
#define TQ_CONFIG_INTERNAL_H

#include "model/config.h"
#include "model/json.h"

/* A JSON object and what to call it in errors. */
typedef struct tq_settings {
    const char *file;
    const cJSON *json;
} tq_settings;

/* Each takes `def` when the member is absent or null, and fails on a wrong type or a value outside lo .. hi. */
int tq_setting_size(const tq_settings *s, const char *key, size_t def, size_t lo, size_t hi, size_t *out, tq_err *err);
int tq_setting_real(const tq_settings *s, const char *key, double def, double lo, double hi, double *out, tq_err *err);
int tq_setting_bool(const tq_settings *s, const char *key, bool def, bool *out, tq_err *err);

/* rope_parameters or rope_scaling, rope_theta, partial_rotary_factor. head_dim and context are already set. */
int tq_config_rope(const tq_settings *top, double default_partial, tq_config *c, tq_err *err);

#endif
