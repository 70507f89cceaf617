/* keep_json.c - see keep_json.h. */
#include "tui/keep_json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* --- members --- */

bool tq_put_text(cJSON *o, const char *name, const char *text) {
    char *copy = strdup(text);
    size_t n = copy ? strlen(copy) : 0;
    for (size_t i = 0; i < n;) {
        utf8proc_int32_t point;
        utf8proc_ssize_t len = utf8proc_iterate((utf8proc_uint8_t *)copy + i, (utf8proc_ssize_t)(n - i), &point);
        if (len < 1) copy[i] = '?';
        i += len < 1 ? 1 : (size_t)len;
    }
    bool ok = copy && cJSON_AddStringToObject(o, name, copy);
    free(copy);
    return ok;
}

bool tq_put_bool(cJSON *o, const char *name, bool v) {
    return cJSON_AddBoolToObject(o, name, v) != NULL;
}

bool tq_put_flags(cJSON *o, const char *name, const bool *flags, size_t n) {
    cJSON *list = cJSON_AddArrayToObject(o, name);
    for (size_t i = 0; list && i < n; i++) {
        cJSON *item = flags[i] ? cJSON_CreateNumber((double)i) : NULL;
        if (flags[i] && (!item || !cJSON_AddItemToArray(list, item))) return false;
    }
    return list != NULL;
}

static bool whole(const cJSON *item, size_t most, size_t *out) {
    size_t n;
    if (!tq_json_size(item, &n) || n > most) return false;
    *out = n;
    return true;
}

bool tq_take_whole(const cJSON *o, const char *name, size_t most, size_t *out) {
    return whole(tq_json_get(o, name), most, out);
}

bool tq_take_number(const cJSON *o, const char *name, double *out) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(o, name);
    if (!cJSON_IsNumber(item) && !cJSON_IsNull(item)) return false;
    *out = cJSON_IsNumber(item) ? item->valuedouble : NAN;
    return true;
}

bool tq_take_bool(const cJSON *o, const char *name, bool *out) {
    const cJSON *item = tq_json_get(o, name);
    if (cJSON_IsBool(item)) *out = cJSON_IsTrue(item);
    return cJSON_IsBool(item);
}

bool tq_take_flags(const cJSON *o, const char *name, bool *flags, size_t n) {
    const cJSON *list = tq_json_get(o, name);
    memset(flags, 0, n * sizeof *flags);
    if (!cJSON_IsArray(list)) return false;
    for (const cJSON *item = list->child; item; item = item->next) {
        size_t i;
        if (n == 0 || !whole(item, n - 1, &i) || flags[i]) return false;
        flags[i] = true;
    }
    return true;
}

/* --- plans: "4:128*12 keep:128 ..." --- */

static char *choices_of(const tq_plan *p) {
    char *text = NULL, group[24];
    size_t bytes = 0, n = tq_model_matrices(tq_plan_model(p));
    FILE *f = open_memstream(&text, &bytes);
    if (!f) return NULL;
    for (size_t i = 0, run; i < n; i += run) {
        tq_choice c = tq_plan_get(p, i), next;
        for (run = 1; i + run < n; run++) {
            next = tq_plan_get(p, i + run);
            if (next.bits != c.bits || next.group != c.group) break;
        }
        fprintf(f, "%s%s:%s*%zu", i ? " " : "", tq_bits_get(c.bits)->name, tq_group_name(c.group, group), run);
    }
    if (fclose(f) == 0) return text;
    free(text);
    return NULL;
}

/* "4:128*12" at the beginning of text; the bytes that it takes, 0: it is none. */
static size_t take_run(const char *text, tq_choice *c, size_t *run) {
    char bits[8], group[8];
    unsigned long count;
    int n = 0;
    if (sscanf(text, "%7[^:* ]:%7[^:* ]*%9lu%n", bits, group, &count, &n) != 3 || n == 0) return 0;
    const tq_bits_traits *traits = tq_bits_find(bits);
    if (!traits || !tq_group_parse(group, &c->group) || count == 0) return 0;
    c->bits = traits->id;
    *run = count;
    return (size_t)n;
}

static bool take_choices(const tq_model *m, const char *text, tq_plan *p) {
    size_t i = 0, n = tq_model_matrices(m), run = 0, bytes;
    tq_choice c = {0};
    for (; *text; text += *text == ' ') {
        bytes = take_run(text, &c, &run);
        if (bytes == 0 || run > n - i) return false;
        for (; run > 0; run--, i++) {
            if (tq_choice_blocked(tq_model_matrix(m, i), c, tq_plan_common(p).rotation)) return false;
            tq_plan_set(p, i, c);
        }
        text += bytes;
        if (*text && (*text != ' ' || !text[1])) return false;
    }
    return i == n;
}

cJSON *tq_plan_pack(const tq_plan *p) {
    tq_common c = tq_plan_common(p);
    char *choices = choices_of(p);
    cJSON *o = choices ? cJSON_CreateObject() : NULL;
    bool ok = o && tq_put_text(o, "residual", tq_residual_name(c.residual)) &&
              tq_put_text(o, "rotation", tq_rotation_name(c.rotation)) && tq_json_number(o, "seed", (double)c.seed) &&
              tq_json_number(o, "states", c.states) && tq_put_text(o, "calibrate", tq_calibrate_name(c.calibrate)) &&
              tq_put_text(o, "choices", choices);
    free(choices);
    return tq_json_done(o, ok);
}

static bool take_common(const cJSON *o, tq_common *c) {
    const char *residual = tq_json_text(o, "residual"), *rotation = tq_json_text(o, "rotation"),
               *calibrate = tq_json_text(o, "calibrate");
    size_t seed, states;
    if (!residual || !rotation || !calibrate || !tq_take_whole(o, "seed", TQ_SEED_MAX, &seed) ||
        !tq_take_whole(o, "states", 256, &states))
        return false;
    c->seed = seed;
    c->states = (int)states;
    return (states == 16 || states == 256) && tq_residual_parse(residual, &c->residual) &&
           tq_rotation_parse(rotation, &c->rotation) && tq_calibrate_parse(calibrate, &c->calibrate);
}

tq_plan *tq_plan_unpack(const tq_model *m, const cJSON *o) {
    tq_err err;
    const char *choices = tq_json_text(o, "choices");
    tq_plan *p = choices ? tq_plan_new(m, &err) : NULL;
    if (!p) return NULL;
    tq_common c = tq_plan_common(p);
    bool ok = take_common(o, &c);
    if (ok) tq_plan_set_common(p, &c);
    if (ok && take_choices(m, choices, p)) return p;
    tq_plan_free(p);
    return NULL;
}

/* --- figures --- */

static const struct {
    const char *name;
    size_t at;
    bool count;
} figures[] = {
#define REAL(name)                                                                                                     \
    { #name, offsetof(tq_eval_result, name), false }
#define COUNT(name)                                                                                                    \
    { #name, offsetof(tq_eval_result, name), true }
    COUNT(tokens),          COUNT(windows),   REAL(ppl_base),    REAL(ppl),     REAL(kld_mean),
    REAL(kld_stderr),       REAL(kld_median), REAL(kld_p90),     REAL(kld_p99), REAL(kld_p999),
    REAL(kld_max),          REAL(same_top),   REAL(dp_mean),     REAL(dp_rms),  REAL(ppl_ratio),
    REAL(ppl_ratio_stderr), REAL(seconds),    COUNT(blocks_run),
#undef REAL
#undef COUNT
};

cJSON *tq_eval_pack(const tq_eval_result *r) {
    cJSON *o = cJSON_CreateObject();
    bool ok = o != NULL;
    for (size_t i = 0; ok && i < sizeof figures / sizeof *figures; i++) {
        const char *at = (const char *)r + figures[i].at;
        double v = figures[i].count ? (double)*(const size_t *)(const void *)at : *(const double *)(const void *)at;
        ok = tq_json_number(o, figures[i].name, v);
    }
    return tq_json_done(o, ok);
}

bool tq_eval_unpack(const cJSON *o, tq_eval_result *r) {
    *r = (tq_eval_result){0};
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) {
        char *at = (char *)r + figures[i].at;
        if (figures[i].count ? !tq_take_whole(o, figures[i].name, SIZE_MAX, (size_t *)(void *)at)
                             : !tq_take_number(o, figures[i].name, (double *)(void *)at))
            return false;
    }
    return r->kld_mean >= 0 && r->ppl >= 0;
}

/* --- states, points, turns --- */

/* Adds item, which may be NULL, to o; takes it in every case. */
static bool add(cJSON *o, const char *name, cJSON *item) {
    if (item && cJSON_AddItemToObject(o, name, item)) return true;
    cJSON_Delete(item);
    return false;
}

static bool take_text(const cJSON *o, const char *name, char *out, size_t size) {
    const char *text = tq_json_text(o, name);
    if (!text || strlen(text) >= size) return false;
    (void)snprintf(out, size, "%s", text);
    return true;
}

/* { "right", "of" }, when the questions were asked. */
static bool put_score(cJSON *o, tq_score s) {
    cJSON *score = s.of ? cJSON_AddObjectToObject(o, "score") : NULL;
    return !s.of ||
           (score && tq_json_number(score, "right", (double)s.right) && tq_json_number(score, "of", (double)s.of));
}

static bool take_score(const cJSON *o, tq_score *s) {
    const cJSON *score = tq_json_get(o, "score");
    return !score || (tq_take_whole(score, "of", SIZE_MAX, &s->of) && tq_take_whole(score, "right", s->of, &s->right));
}

cJSON *tq_state_pack(const tq_state *s, uint64_t base) {
    uint64_t parent = s->parent > base ? s->parent - base : 0;
    cJSON *o = cJSON_CreateObject();
    return tq_json_done(o, o && tq_put_text(o, "what", s->what) && tq_json_number(o, "parent", (double)parent) &&
                               add(o, "plan", tq_plan_pack(s->plan)) &&
                               (!s->eval_known || add(o, "eval", tq_eval_pack(&s->eval))) && put_score(o, s->score));
}

bool tq_state_unpack(const tq_model *m, const cJSON *o, tq_state *s) {
    *s = (tq_state){0};
    const cJSON *eval = tq_json_get(o, "eval");
    if (!take_text(o, "what", s->what, sizeof s->what)) return false;
    if (eval && !tq_eval_unpack(eval, &s->eval)) return false;
    s->eval_known = eval != NULL;
    size_t parent = 0;
    if (!take_score(o, &s->score) || !tq_take_whole(o, "parent", SIZE_MAX, &parent)) return false;
    s->parent = parent;
    s->plan = tq_plan_unpack(m, tq_json_get(o, "plan"));
    return s->plan != NULL;
}

cJSON *tq_point_pack(const tq_point *p) {
    cJSON *o = cJSON_CreateObject();
    return tq_json_done(o, o && tq_put_text(o, "name", p->name) && tq_put_bool(o, "named", p->named) &&
                               tq_json_number(o, "seconds", p->seconds) && add(o, "plan", tq_plan_pack(p->plan)) &&
                               add(o, "eval", tq_eval_pack(&p->eval)) && put_score(o, p->score) &&
                               (!p->n_texts || add(o, "texts", tq_point_texts_json(p))));
}

/* Sessions of before had none. */
static bool take_texts(const cJSON *list, tq_point *p) {
    if (!list) return true;
    if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) > TQ_TEXTS_MAX) return false;
    for (const cJSON *x = list->child; x; x = x->next) {
        tq_point_text *t = &p->texts[p->n_texts++];
        if (!take_text(x, "name", t->name, sizeof t->name) || !tq_take_number(x, "kld", &t->kld) ||
            !tq_take_number(x, "kld_stderr", &t->error))
            return false;
    }
    return true;
}

bool tq_point_unpack(const tq_model *m, const cJSON *o, tq_point *p) {
    *p = (tq_point){0};
    if (!take_text(o, "name", p->name, sizeof p->name) || !tq_take_bool(o, "named", &p->named) ||
        !tq_take_number(o, "seconds", &p->seconds) || !tq_eval_unpack(tq_json_get(o, "eval"), &p->eval) ||
        !take_score(o, &p->score) || !take_texts(tq_json_get(o, "texts"), p))
        return false;
    if (!(p->seconds >= 0 && p->seconds < 1e9)) return false;
    p->plan = tq_plan_unpack(m, tq_json_get(o, "plan"));
    return p->plan != NULL;
}

cJSON *tq_turn_pack(const tq_turn *t) {
    cJSON *o = cJSON_CreateObject();
    return tq_json_done(o, o && tq_json_number(o, "speakers", t->speakers) && tq_put_bool(o, "answer", t->answer) &&
                               tq_put_text(o, "text", t->text) && tq_put_bool(o, "ended", t->ended) &&
                               tq_put_bool(o, "stopped", t->stopped) &&
                               tq_json_number(o, "tokens", (double)t->stats.tokens) &&
                               tq_json_number(o, "seconds", t->stats.seconds));
}

bool tq_turn_unpack(const cJSON *o, tq_turn *t) {
    *t = (tq_turn){0};
    size_t speakers;
    const char *text = tq_json_text(o, "text");
    if (!text || !tq_take_whole(o, "speakers", TQ_BOTH, &speakers) || speakers == 0 ||
        !tq_take_bool(o, "answer", &t->answer) || !tq_take_bool(o, "ended", &t->ended) ||
        !tq_take_bool(o, "stopped", &t->stopped) || !tq_take_whole(o, "tokens", SIZE_MAX, &t->stats.tokens) ||
        !tq_take_number(o, "seconds", &t->stats.seconds))
        return false;
    t->speakers = (int)speakers;
    if (t->answer && (!t->ended || speakers == TQ_BOTH)) t->ended = t->stopped = true;
    t->text = strdup(text);
    return t->text != NULL;
}
