/* plan.c - a choice for every matrix, and the rules that set them. */
#include "model/plan.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GLOB_SIZE 256
#define TRELLIS_ROWS_MIN 128 /* from there on 4t codes N(0,1) better than 4 */

struct tq_plan {
    const tq_model *model;
    size_t count;
    tq_choice *choices; /* [count] */
    tq_common common;
};

tq_plan *tq_plan_new(const tq_model *m, tq_err *err) {
    tq_plan *p = calloc(1, sizeof *p);
    if (!p) goto memory;
    p->model = m;
    p->count = tq_model_matrices(m);
    p->common = tq_common_default();
    p->choices = calloc(p->count + 1, sizeof *p->choices);
    if (!p->choices) goto memory;
    for (size_t i = p->count; i-- > 0;) {
        const tq_qmatrix *packed = tq_model_matrix(m, i)->packed;
        p->choices[i] = (tq_choice){TQ_BITS_KEEP, TQ_GROUP_DEFAULT};
        if (!packed) continue;
        const tq_qspec *spec = tq_qmatrix_spec(packed);
        p->choices[i] = (tq_choice){spec->bits, spec->group};
        p->common.residual = spec->residual;
        p->common.rotation = spec->rotation;
        p->common.seed = spec->seed;
    }
    return p;
memory:
    tq_plan_free(p);
    (void)tq_fail(err, "out of memory for a plan");
    return NULL;
}

bool tq_plan_keeps_all(const tq_plan *p) {
    for (size_t i = 0; i < p->count; i++)
        if (p->choices[i].bits != TQ_BITS_KEEP && !tq_model_matrix(p->model, i)->packed) return false;
    return true;
}

tq_plan *tq_plan_copy(const tq_plan *p) {
    tq_plan *copy = malloc(sizeof *copy);
    if (!copy) return NULL;
    *copy = *p;
    copy->choices = calloc(p->count + 1, sizeof *copy->choices);
    if (!copy->choices) {
        free(copy);
        return NULL;
    }
    memcpy(copy->choices, p->choices, p->count * sizeof *p->choices);
    return copy;
}

void tq_plan_free(tq_plan *p) {
    if (!p) return;
    free(p->choices);
    free(p);
}

const tq_model *tq_plan_model(const tq_plan *p) {
    return p->model;
}
tq_choice tq_plan_get(const tq_plan *p, size_t matrix) {
    return p->choices[matrix];
}
void tq_plan_set(tq_plan *p, size_t matrix, tq_choice c) {
    p->choices[matrix] = c;
}

tq_qspec tq_plan_spec(const tq_plan *p, size_t matrix) {
    const tq_qmatrix *packed = tq_model_matrix(p->model, matrix)->packed;
    if (packed) return *tq_qmatrix_spec(packed);
    tq_choice c = p->choices[matrix];
    tq_qspec spec = tq_qspec_of(c.bits, c.group, &p->common);
    /* What is looked up is no product with an input that could be calibrated. */
    tq_end end = tq_model_matrix(p->model, matrix)->end;
    if (end == TQ_END_EMBEDDING || end == TQ_END_TIED) spec.calibrate = TQ_CALIBRATE_NONE;
    return spec;
}

tq_common tq_plan_common(const tq_plan *p) {
    return p->common;
}

void tq_plan_set_common(tq_plan *p, const tq_common *common) {
    p->common = *common;
}

bool tq_choice_equal(tq_choice a, tq_choice b) {
    return a.bits == b.bits && (a.bits == TQ_BITS_KEEP || a.group == b.group);
}

/* Residuals of both kinds take so much, but for the second scales of independent ones. */
static size_t packed_bytes(const tq_matrix *m, tq_choice c) {
    tq_common common = tq_common_default();
    tq_qspec spec = tq_qspec_of(c.bits, c.group, &common);
    return tq_qspec_bytes(&spec, m->w.rows, m->w.cols);
}

const char *tq_choice_blocked(const tq_matrix *m, tq_choice c, tq_rotation_kind rotation) {
    if (m->packed) {
        const tq_qspec *spec = tq_qmatrix_spec(m->packed);
        if (tq_choice_equal(c, (tq_choice){spec->bits, spec->group})) return NULL;
        return "is packed in this export: open the original model to change it";
    }
    if (c.bits == TQ_BITS_KEEP) return NULL;
    if (tq_bits_get(c.bits)->trellis && m->w.rows < TRELLIS_ROWS_MIN)
        return "has too few rows for a trellis: 4 serves it better";
    if (!tq_rotation_possible(rotation, m->w.cols, c.group))
        return rotation == TQ_ROTATION_QR ? "has rows too long for qr over the whole row"
                                          : "has whole rows that no rotation fits: take a group";
    if (packed_bytes(m, c) >= m->w.rows * m->w.cols * sizeof(uint16_t))
        return "is too small: packed it takes no less than 16 bits";
    return NULL;
}

/* '/' becomes '.'; false when the glob is too long to match anything. */
static bool normalize_glob(const char *glob, char out[GLOB_SIZE]) {
    size_t n = strlen(glob);
    if (n >= GLOB_SIZE) return false;
    for (size_t i = 0; i <= n; i++)
        out[i] = glob[i] == '/' ? '.' : glob[i];
    return true;
}

bool tq_glob_match(const char *glob, const tq_matrix *m) {
    char pattern[GLOB_SIZE], numbered[GLOB_SIZE];
    if (!normalize_glob(glob, pattern)) return false;
    if (fnmatch(pattern, m->name, 0) == 0 || fnmatch(pattern, m->label, 0) == 0) return true;
    (void)snprintf(numbered, sizeof numbered, "%zu.%s", m->block, m->label);
    return m->end == TQ_END_NONE && fnmatch(pattern, numbered, 0) == 0;
}

size_t tq_glob_select(const tq_model *m, const char *glob, bool *selected) {
    size_t hits = 0, n = tq_model_matrices(m), in_blocks = tq_model_block_matrices(m);
    for (size_t i = 0; i < n; i++) {
        selected[i] = (i < in_blocks || !hits) && tq_glob_match(glob, tq_model_matrix(m, i));
        if (i < in_blocks) hits += selected[i];
    }
    for (size_t i = in_blocks; i < n; i++)
        hits += selected[i];
    return hits;
}

typedef struct plan_rule {
    char glob[GLOB_SIZE];
    tq_bits bits;
    bool has_group;
    size_t group;
} plan_rule;

static void list_names(char *buf, size_t size, const char *(*name)(size_t i, char scratch[24]), size_t count) {
    char scratch[24];
    size_t at = 0;
    for (size_t i = 0; i < count && at < size; i++) {
        int n = snprintf(buf + at, size - at, "%s%s", i ? ", " : "", name(i, scratch));
        at += n > 0 ? (size_t)n : 0;
    }
}

static const char *bits_name(size_t i, char scratch[24]) {
    (void)scratch;
    return tq_bits_get((tq_bits)i)->name;
}

static const char *group_name(size_t i, char scratch[24]) {
    return tq_group_name(tq_groups[i], scratch);
}

static int parse_rule(const char *text, plan_rule *r, tq_err *err) {
    char value[32], names[128];
    const char *equals = strrchr(text, '=');
    size_t glob = equals ? (size_t)(equals - text) : 0;
    if (!equals || glob == 0 || glob >= sizeof r->glob || strlen(equals + 1) >= sizeof value)
        return tq_fail(err, "rule '%.80s': expected GLOB=BITS[:GROUP], such as '*.mlp.*=4+2:128'", text);
    memcpy(r->glob, text, glob);
    r->glob[glob] = '\0';
    memcpy(value, equals + 1, strlen(equals + 1) + 1);
    char *colon = strchr(value, ':');
    r->has_group = colon != NULL;
    if (colon) *colon = '\0';
    const tq_bits_traits *traits = tq_bits_find(value);
    if (!traits) {
        list_names(names, sizeof names, bits_name, TQ_BITS_COUNT);
        return tq_fail(err, "rule '%.80s': '%s' is no bit config, expected one of %s", text, value, names);
    }
    r->bits = traits->id;
    if (colon && r->bits == TQ_BITS_KEEP) return tq_fail(err, "rule '%.80s': keep takes no group", text);
    if (colon && !tq_group_parse(colon + 1, &r->group)) {
        list_names(names, sizeof names, group_name, tq_groups_count);
        return tq_fail(err, "rule '%.80s': '%s' is no group size, expected one of %s", text, colon + 1, names);
    }
    return TQ_OK;
}

int tq_plan_rule_check(const char *rule, tq_err *err) {
    plan_rule r = {0};
    return parse_rule(rule, &r, err);
}

static tq_choice rule_choice(const tq_plan *p, const plan_rule *r, size_t matrix) {
    return (tq_choice){r->bits, r->has_group ? r->group : p->choices[matrix].group};
}

static int matches_nothing(const tq_plan *p, const char *rule, const plan_rule *r, tq_err *err) {
    const tq_matrix *last = p->count ? tq_model_matrix(p->model, p->count - 1) : NULL;
    if (last && last->end == TQ_END_TIED && fnmatch(r->glob, "lm_head", 0) == 0)
        return tq_fail(err, "rule '%.80s': the output head is tied to the embedding: name %s for both", rule,
                       last->label);
    return tq_fail(err, "rule '%.80s': '%.80s' matches none of the %zu matrices of %s", rule, r->glob, p->count,
                   tq_source_path(tq_model_source(p->model)));
}

static int apply_rule(tq_plan *p, const char *rule, const plan_rule *r, const bool *selected, tq_err *err) {
    for (size_t i = 0; i < p->count; i++) {
        const tq_matrix *m = tq_model_matrix(p->model, i);
        const char *why = selected[i] ? tq_choice_blocked(m, rule_choice(p, r, i), p->common.rotation) : NULL;
        if (why) return tq_fail(err, "rule '%.80s': %s %s", rule, m->name, why);
    }
    for (size_t i = 0; i < p->count; i++)
        if (selected[i]) p->choices[i] = rule_choice(p, r, i);
    return TQ_OK;
}

int tq_plan_rule(tq_plan *p, const char *rule, size_t *matched, tq_err *err) {
    plan_rule r = {0};
    if (parse_rule(rule, &r, err) != TQ_OK) return TQ_FAIL;
    bool *selected = calloc(p->count + 1, sizeof *selected);
    if (!selected) return tq_fail(err, "out of memory for a plan");
    size_t hits = tq_glob_select(p->model, r.glob, selected);
    int rc = hits ? apply_rule(p, rule, &r, selected, err) : matches_nothing(p, rule, &r, err);
    free(selected);
    if (rc == TQ_OK && matched) *matched = hits;
    return rc;
}
