/* options_tune.c - the options of sweep and auto. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/journal.h"
#include "tui/options_table.h"

static bool number(const char *text, double least, double most, double *out) {
    char *end = NULL;
    double v = strtod(text, &end);
    if (end == text || *end || !(v >= least && v <= most)) return false;
    *out = v;
    return true;
}

bool tq_take_config(tq_options *o, const char *v) {
    const char *colon = strchr(v, ':');
    char bits[8];
    size_t n = colon ? (size_t)(colon - v) : strlen(v), group = TQ_GROUP_DEFAULT;
    if (n >= sizeof bits || (colon && !tq_group_parse(colon + 1, &group))) return false;
    memcpy(bits, v, n);
    bits[n] = '\0';
    const tq_bits_traits *t = tq_bits_find(bits);
    if (!t || t->id == TQ_BITS_KEEP) return false;
    tq_choice *grown = realloc(o->configs, (o->n_configs + 1) * sizeof *grown);
    if (!grown) return false;
    o->configs = grown;
    o->configs[o->n_configs++] = (tq_choice){t->id, group};
    return true;
}

bool tq_take_pin(tq_options *o, const char *v) {
    const char **grown = realloc(o->pins, (o->n_pins + 1) * sizeof *grown);
    if (!grown) return false;
    o->pins = grown;
    o->pins[o->n_pins++] = v;
    return true;
}

bool tq_take_ends(tq_options *o, const char *v) {
    (void)v;
    return o->ends = true;
}

bool tq_take_tune_text(tq_options *o, const char *v) {
    o->tune_text = v;
    return *v != '\0';
}

bool tq_take_tune_tokens(tq_options *o, const char *v) {
    double n = 0;
    if (!number(v, 4, 1 << 30, &n) || n != floor(n)) return false;
    o->tune_tokens = (size_t)n;
    return true;
}

static bool take_target(tq_options *o, tq_target_kind kind, bool valid) {
    o->target.kind = kind;
    o->targets++;
    return valid;
}

bool tq_take_target_size(tq_options *o, const char *v) {
    return take_target(o, TQ_TARGET_BYTES, tq_size_parse(v, &o->target.value));
}

bool tq_take_target_bpw(tq_options *o, const char *v) {
    return take_target(o, TQ_TARGET_BPW, number(v, 1, 64, &o->target.value));
}

bool tq_take_target_kld(tq_options *o, const char *v) {
    return take_target(o, TQ_TARGET_KLD, number(v, 0, 100, &o->target.value));
}

int tq_check_tuning(const tq_options *o, tq_err *err) {
    for (size_t i = 0; i < o->n_pins; i++)
        if (tq_plan_rule_check(o->pins[i], err) != TQ_OK) return TQ_FAIL;
    if (o->command != TQ_CMD_AUTO || o->targets == 1) return TQ_OK;
    return tq_fail(err, o->targets ? "auto: --size, --bpw and --kld exclude each other"
                                   : "auto: the target is missing: --size, --bpw or --kld");
}

int tq_options_tuning(const tq_options *o, tq_session *s, tq_err *err) {
    char *state = tq_state_dir();
    int rc = tq_session_set_tuning(s, o->tune_text, state, err);
    free(state);
    return rc;
}

tq_sweep_options tq_options_sweep(const tq_options *o) {
    size_t tokens = o->tune_tokens ? o->tune_tokens : TQ_SWEEP_TOKENS_DEFAULT;
    return (tq_sweep_options){
        .ctx = o->eval.ctx < tokens ? o->eval.ctx : tokens,
        .tokens = tokens,
        .configs = o->configs,
        .n_configs = o->n_configs,
    };
}
