/* config_internal.h - members of config.json with their defaults and ranges checked. Private to model/. */
#ifndef TQ_CONFIG_INTERNAL_H
#define TQ_CONFIG_INTERNAL_H

#include "model/config.h"
#include "model/json.h"

/* A JSON object and what to call it in errors. */
typedef struct tq_settings {
    const char *file;
    const cJSON *json;
    const char *const (*own)[2]; /* NULL, or what the family calls the usual settings: pairs, NULL at the end */
} tq_settings;
/* What s calls a setting. */
const char *tq_setting_name(const tq_settings *s, const char *usual);

/* Each takes `def` when the member is absent or null, and fails on a wrong type or a value outside lo .. hi. */
int tq_setting_size(const tq_settings *s, const char *key, size_t def, size_t lo, size_t hi, size_t *out, tq_err *err);
int tq_setting_real(const tq_settings *s, const char *key, double def, double lo, double hi, double *out, tq_err *err);
int tq_setting_bool(const tq_settings *s, const char *key, bool def, bool *out, tq_err *err);

/* What a model_type means and what it takes for granted where its file says nothing. */
typedef struct tq_family {
    const char *model_type;
    tq_arch arch;
    size_t vocab, heads;         /* 0: the file must say it */
    size_t intermediate;         /* 0: the file must say it, unless: */
    size_t feed;                 /* it is so many times the hidden size */
    double norm_eps;             /* 0: 1e-6 */
    const char *const (*own)[2]; /* of tq_settings */
    size_t kv_heads;             /* 0: as many as heads */
    size_t head_dim;             /* 0: hidden / heads */
    size_t context;
    double partial_rotary, theta;
    int bos, eos;
    bool attention_bias, mlp_bias; /* has the setting */
    bool tied;
    const char *activation_key;
    tq_activation activation;
    /* Reads what only this family has; called before the rope settings. */
    int (*more)(const tq_settings *s, const struct tq_family *f, tq_config *c, tq_err *err);
} tq_family;

/* config_families.c */
extern const tq_family tq_families[];
extern const size_t tq_families_count;

/* rope_parameters or rope_scaling, rope_theta, partial_rotary_factor, and the local ones where the architecture has
 * them. head_dim and context are already set. */
int tq_config_rope(const tq_settings *top, const tq_family *f, tq_config *c, tq_err *err);

#endif
