/* plan_json.c - plans as JSON, there and back. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/json.h"
#include "model/plan_rules.h"

#define PLAN_FORMAT 1
#define MAX_VALUES ((size_t)1 << 20)
#define MAX_RULES 8192

/* --- writing --- */

/* cJSON_AddItemToObject that takes the item in every case. */
static bool add(cJSON *object, const char *name, cJSON *item) {
    if (item && cJSON_AddItemToObject(object, name, item)) return true;
    cJSON_Delete(item);
    return false;
}

static bool add_number(cJSON *object, const char *name, double v) {
    return add(object, name, isfinite(v) ? cJSON_CreateNumber(v) : cJSON_CreateNull());
}

static bool add_text(cJSON *object, const char *name, const char *text) {
    return add(object, name, cJSON_CreateString(text));
}

/* The last part of a path, without slashes at its end. */
static void base_name(const char *path, char out[256]) {
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/')
        end--;
    size_t start = end;
    while (start > 0 && path[start - 1] != '/')
        start--;
    (void)snprintf(out, 256, "%.*s", (int)(end - start > 255 ? 255 : end - start), path + start);
}

static bool write_model(cJSON *root, const tq_model *m) {
    char hash[17], name[256];
    cJSON *o = cJSON_AddObjectToObject(root, "model");
    tq_source_hash(tq_model_source(m), hash);
    base_name(tq_source_path(tq_model_source(m)), name);
    return o && add_text(o, "name", name) && add_text(o, "hash", hash) &&
           add_number(o, "matrices", (double)tq_model_matrices(m));
}

static bool write_rules(cJSON *root, char **rules, size_t count) {
    cJSON *array = cJSON_AddArrayToObject(root, "rules");
    for (size_t i = 0; array && i < count; i++) {
        cJSON *rule = cJSON_CreateString(rules[i]);
        if (!rule || !cJSON_AddItemToArray(array, rule)) return false;
    }
    return array != NULL;
}

static bool write_matrix(cJSON *array, const tq_plan *p, size_t i, const tq_plan_figures *f) {
    cJSON *o = cJSON_CreateObject();
    if (!o || !cJSON_AddItemToArray(array, o)) return false;
    tq_choice c = tq_plan_get(p, i);
    const tq_matrix *m = tq_model_matrix(tq_plan_model(p), i);
    char group[24];
    bool ok = add_text(o, "name", m->name) && add_text(o, "bits", tq_bits_get(c.bits)->name);
    if (ok && c.bits != TQ_BITS_KEEP)
        ok = add(o, "group",
                 c.group == TQ_GROUP_ROW ? cJSON_CreateString(tq_group_name(c.group, group))
                                         : cJSON_CreateNumber((double)c.group));
    if (ok && f && f->distortion)
        ok = add_number(o, "rel_mse", f->distortion[i].rel_mse) && add_number(o, "cosine", f->distortion[i].cosine);
    if (ok && f && f->bytes) ok = add_number(o, "bytes", (double)f->bytes[i]);
    return ok;
}

static bool write_figures(cJSON *root, const tq_plan_figures *f) {
    if (f->text_name) {
        cJSON *text = cJSON_AddObjectToObject(root, "text");
        if (!text || !add_text(text, "name", f->text_name) || !add_text(text, "hash", f->text_hash)) return false;
    }
    const tq_eval_result *e = f->eval;
    if (!e) return true;
    cJSON *o = cJSON_AddObjectToObject(root, "figures");
    bool ok = o != NULL;
    if (ok && f->options)
        ok = add_number(o, "ctx", (double)f->options->ctx) &&
             add(o, "score_half", cJSON_CreateBool(f->options->score_half));
    ok = ok && add_number(o, "tokens", (double)e->tokens) && add_number(o, "ppl_base", e->ppl_base) &&
         add_number(o, "ppl", e->ppl) && add_number(o, "ppl_ratio", e->ppl_ratio) &&
         add_number(o, "ppl_ratio_stderr", e->ppl_ratio_stderr) && add_number(o, "same_top", e->same_top);
    cJSON *kld = ok ? cJSON_AddObjectToObject(o, "kld") : NULL;
    return kld && add_number(kld, "mean", e->kld_mean) && add_number(kld, "stderr", e->kld_stderr) &&
           add_number(kld, "median", e->kld_median) && add_number(kld, "p90", e->kld_p90) &&
           add_number(kld, "p99", e->kld_p99) && add_number(kld, "p999", e->kld_p999) &&
           add_number(kld, "max", e->kld_max);
}

static bool print_value(FILE *f, const cJSON *item) {
    char *text = cJSON_PrintUnformatted(item);
    if (!text) return false;
    fputs(text, f);
    cJSON_free(text);
    return true;
}

/* A member a line, and of an array an element a line: what a person reads and a diff shows. */
static bool print_readable(FILE *f, const cJSON *root) {
    fputs("{\n", f);
    for (const cJSON *member = root->child; member; member = member->next) {
        fprintf(f, "  \"%s\": ", member->string); /* names are ours: nothing to escape */
        if (!cJSON_IsArray(member) || !member->child) {
            if (!print_value(f, member)) return false;
        } else {
            fputs("[\n", f);
            for (const cJSON *e = member->child; e; e = e->next) {
                fputs("    ", f);
                if (!print_value(f, e)) return false;
                fputs(e->next ? ",\n" : "\n  ]", f);
            }
        }
        fputs(member->next ? ",\n" : "\n}\n", f);
    }
    return true;
}

static bool build(cJSON *root, const tq_plan *p, const tq_plan_figures *figures, char **rules, size_t count) {
    tq_common c = tq_plan_common(p);
    bool ok = add_number(root, "tqexplore_plan", PLAN_FORMAT) && add_text(root, "version", TQ_VERSION) &&
              write_model(root, tq_plan_model(p)) && add_text(root, "residual", tq_residual_name(c.residual)) &&
              add_text(root, "rotation", tq_rotation_name(c.rotation)) && add_number(root, "seed", (double)c.seed) &&
              add_number(root, "states", c.states) && add_text(root, "calibrate", tq_calibrate_name(c.calibrate)) &&
              write_rules(root, rules, count);
    cJSON *array = ok ? cJSON_AddArrayToObject(root, "matrices") : NULL;
    ok = array != NULL;
    for (size_t i = 0; ok && i < tq_model_matrices(tq_plan_model(p)); i++)
        ok = write_matrix(array, p, i, figures);
    return ok && (!figures || write_figures(root, figures));
}

int tq_plan_to_json(const tq_plan *p, const tq_plan_figures *figures, char **json, tq_err *err) {
    char **rules = NULL;
    size_t count = 0, size = 0;
    *json = NULL;
    if (tq_plan_rules(p, &rules, &count, err) != TQ_OK) return TQ_FAIL;
    cJSON *root = cJSON_CreateObject();
    FILE *f = open_memstream(json, &size);
    bool ok = root && f && build(root, p, figures, rules, count) && print_readable(f, root);
    if (f && (fclose(f) != 0 || !ok)) {
        free(*json);
        *json = NULL;
    }
    cJSON_Delete(root);
    tq_plan_rules_free(rules, count);
    return *json ? TQ_OK : tq_fail(err, "out of memory for a plan");
}

/* --- reading --- */

typedef enum field_type {
    FIELD_WHOLE,
    FIELD_REAL,
    FIELD_TEXT,
    FIELD_BOOL,
    FIELD_OBJECT,
    FIELD_ARRAY,
    FIELD_GROUP
} field_type;
static const char *const type_names[] = {
    [FIELD_WHOLE] = "a whole number", [FIELD_REAL] = "a number or null", [FIELD_TEXT] = "a text",
    [FIELD_BOOL] = "true or false",   [FIELD_OBJECT] = "an object",      [FIELD_ARRAY] = "an array",
    [FIELD_GROUP] = "a group size",
};

typedef struct field {
    const char *name;
    field_type type;
    bool required;
} field;

static const field plan_fields[] = {
    {"tqexplore_plan", FIELD_WHOLE, true},
    {"version", FIELD_TEXT, false},
    {"model", FIELD_OBJECT, false},
    {"residual", FIELD_TEXT, false},
    {"rotation", FIELD_TEXT, false},
    {"seed", FIELD_WHOLE, false},
    {"states", FIELD_WHOLE, false},
    {"calibrate", FIELD_TEXT, false},
    {"rules", FIELD_ARRAY, true},
    {"matrices", FIELD_ARRAY, false},
    {"text", FIELD_OBJECT, false},
    {"figures", FIELD_OBJECT, false},
    {NULL, FIELD_WHOLE, false},
};
static const field model_fields[] = {{"name", FIELD_TEXT, true},
                                     {"hash", FIELD_TEXT, true},
                                     {"matrices", FIELD_WHOLE, false},
                                     {NULL, FIELD_WHOLE, false}};
static const field matrix_fields[] = {
    {"name", FIELD_TEXT, true},     {"bits", FIELD_TEXT, true},    {"group", FIELD_GROUP, false},
    {"rel_mse", FIELD_REAL, false}, {"cosine", FIELD_REAL, false}, {"bytes", FIELD_WHOLE, false},
    {NULL, FIELD_WHOLE, false},
};
static const field text_fields[] = {{"name", FIELD_TEXT, true}, {"hash", FIELD_TEXT, true}, {NULL, FIELD_WHOLE, false}};
static const field figures_fields[] = {
    {"ctx", FIELD_WHOLE, false},
    {"score_half", FIELD_BOOL, false},
    {"tokens", FIELD_WHOLE, false},
    {"ppl_base", FIELD_REAL, false},
    {"ppl", FIELD_REAL, false},
    {"ppl_ratio", FIELD_REAL, false},
    {"ppl_ratio_stderr", FIELD_REAL, false},
    {"same_top", FIELD_REAL, false},
    {"kld", FIELD_OBJECT, false},
    {NULL, FIELD_WHOLE, false},
};
static const field kld_fields[] = {
    {"mean", FIELD_REAL, false}, {"stderr", FIELD_REAL, false}, {"median", FIELD_REAL, false},
    {"p90", FIELD_REAL, false},  {"p99", FIELD_REAL, false},    {"p999", FIELD_REAL, false},
    {"max", FIELD_REAL, false},  {NULL, FIELD_WHOLE, false},
};

static bool read_group(const cJSON *item, size_t *group) {
    char text[32];
    if (cJSON_IsString(item)) return tq_group_parse(item->valuestring, group);
    size_t n;
    if (!tq_json_size(item, &n)) return false;
    (void)snprintf(text, sizeof text, "%zu", n);
    return tq_group_parse(text, group);
}

static bool has_type(const cJSON *item, field_type type) {
    size_t whole;
    switch (type) {
    case FIELD_WHOLE:
        return tq_json_size(item, &whole);
    case FIELD_REAL:
        return cJSON_IsNull(item) || (cJSON_IsNumber(item) && isfinite(item->valuedouble));
    case FIELD_TEXT:
        return cJSON_IsString(item);
    case FIELD_BOOL:
        return cJSON_IsBool(item);
    case FIELD_OBJECT:
        return cJSON_IsObject(item);
    case FIELD_ARRAY:
        return cJSON_IsArray(item);
    case FIELD_GROUP:
        return read_group(item, &whole);
    }
    return false;
}

/* Every member is one of `fields`, once and of its type; every required one is there. */
static int check_fields(const char *file, const char *what, const cJSON *object, const field *fields, tq_err *err) {
    if (!cJSON_IsObject(object)) return tq_fail(err, "%s: %s: expected an object", file, what);
    if (tq_json_unique(file, what, object, err) != TQ_OK) return TQ_FAIL;
    for (const cJSON *item = object->child; item; item = item->next) {
        const field *f = fields;
        while (f->name && strcmp(f->name, item->string) != 0)
            f++;
        if (!f->name) return tq_fail(err, "%s: unknown field \"%.60s\" in %s", file, item->string, what);
        if (!has_type(item, f->type))
            return tq_fail(err, "%s: \"%s\" in %s: expected %s", file, f->name, what, type_names[f->type]);
    }
    for (const field *f = fields; f->name; f++)
        if (f->required && !cJSON_GetObjectItemCaseSensitive(object, f->name))
            return tq_fail(err, "%s: \"%s\" is missing in %s", file, f->name, what);
    return TQ_OK;
}

/* An optional member that is an object with fields of its own. */
static int check_member(const char *file, const cJSON *root, const char *name, const field *fields, tq_err *err) {
    const cJSON *o = cJSON_GetObjectItemCaseSensitive(root, name);
    return o ? check_fields(file, name, o, fields, err) : TQ_OK;
}

static int check_plan(const char *file, const cJSON *root, tq_err *err) {
    size_t format = 0;
    if (check_fields(file, "the plan", root, plan_fields, err) != TQ_OK) return TQ_FAIL;
    (void)tq_json_size(cJSON_GetObjectItemCaseSensitive(root, "tqexplore_plan"), &format);
    if (format != PLAN_FORMAT) return tq_fail(err, "%s: plan format %zu, expected %d", file, format, PLAN_FORMAT);
    if (check_member(file, root, "model", model_fields, err) != TQ_OK ||
        check_member(file, root, "text", text_fields, err) != TQ_OK ||
        check_member(file, root, "figures", figures_fields, err) != TQ_OK)
        return TQ_FAIL;
    const cJSON *figures = cJSON_GetObjectItemCaseSensitive(root, "figures");
    return figures ? check_member(file, figures, "kld", kld_fields, err) : TQ_OK;
}

static int check_count(const char *file, const cJSON *root, const tq_model *m, tq_err *err) {
    const cJSON *array = cJSON_GetObjectItemCaseSensitive(root, "matrices");
    if (!array || (size_t)cJSON_GetArraySize(array) <= tq_model_matrices(m)) return TQ_OK;
    return tq_fail(err, "%s: \"matrices\" has %d entries, the model %zu", file, cJSON_GetArraySize(array),
                   tq_model_matrices(m));
}

static int parse_plan(const char *file, const char *json, size_t bytes, cJSON **out, tq_err *err) {
    int rc = tq_json_parse(file, json, bytes, MAX_VALUES, out, err);
    if (rc == TQ_OK) rc = check_plan(file, *out, err);
    if (rc == TQ_OK) return TQ_OK;
    cJSON_Delete(*out);
    *out = NULL;
    return rc;
}

bool tq_plan_is_json(const char *json, size_t bytes) {
    cJSON *root = NULL;
    bool is = tq_json_parse("", json, bytes, MAX_VALUES, &root, NULL) == TQ_OK && cJSON_IsObject(root) &&
              cJSON_GetObjectItemCaseSensitive(root, "tqexplore_plan");
    cJSON_Delete(root);
    return is;
}

static int check_model(const char *file, const cJSON *root, const tq_model *m, tq_err *err) {
    const cJSON *o = cJSON_GetObjectItemCaseSensitive(root, "model");
    if (!o) return TQ_OK;
    char hash[17];
    const char *wanted = tq_json_text(o, "hash");
    tq_source_hash(tq_model_source(m), hash);
    if (strcmp(hash, wanted) == 0) return TQ_OK;
    return tq_fail(err, "%s: this plan was made for %.80s (%.16s), the model is %s (%s)", file, tq_json_text(o, "name"),
                   wanted, tq_source_path(tq_model_source(m)), hash);
}

static int read_common(const char *file, const cJSON *root, tq_plan *p, tq_err *err) {
    tq_common c = tq_plan_common(p);
    size_t number;
    const char *text = tq_json_text(root, "residual");
    if (text && !tq_residual_parse(text, &c.residual))
        return tq_fail(err, "%s: \"residual\" is \"%.40s\", expected nested or independent", file, text);
    text = tq_json_text(root, "rotation");
    if (text && !tq_rotation_parse(text, &c.rotation))
        return tq_fail(err, "%s: \"rotation\" is \"%.40s\", expected hadamard, qr or none", file, text);
    if (tq_json_size(cJSON_GetObjectItemCaseSensitive(root, "seed"), &number)) c.seed = number;
    if (c.seed > TQ_SEED_MAX)
        return tq_fail(err, "%s: \"seed\" is %llu, expected at most 10^15", file, (unsigned long long)c.seed);
    if (tq_json_size(cJSON_GetObjectItemCaseSensitive(root, "states"), &number)) c.states = (int)(number & 0xffff);
    if (c.states != 16 && c.states != 256)
        return tq_fail(err, "%s: \"states\" is %d, expected 16 or 256", file, c.states);
    text = tq_json_text(root, "calibrate");
    if (text && !tq_calibrate_parse(text, &c.calibrate))
        return tq_fail(err, "%s: \"calibrate\" is \"%.40s\", expected none, ldlq or ldlq-asym", file, text);
    tq_plan_set_common(p, &c);
    return TQ_OK;
}

static int read_rules(const char *file, const cJSON *root, tq_plan *p, tq_err *err) {
    tq_err inner = {{0}};
    const cJSON *rules = cJSON_GetObjectItemCaseSensitive(root, "rules");
    if (cJSON_GetArraySize(rules) > MAX_RULES) return tq_fail(err, "%s: more than %d rules", file, MAX_RULES);
    for (const cJSON *r = rules->child; r; r = r->next) {
        if (!cJSON_IsString(r)) return tq_fail(err, "%s: \"rules\": expected texts", file);
        if (tq_plan_rule(p, r->valuestring, NULL, &inner) != TQ_OK) return tq_fail(err, "%s: %s", file, inner.msg);
    }
    return TQ_OK;
}

/* The matrix that an entry of "matrices" is about, and what it says was chosen; *matrix is where it is looked for
 * first. */
static int read_matrix(const char *file, const cJSON *o, const tq_model *m, size_t *matrix, tq_choice *c, tq_err *err) {
    if (check_fields(file, "matrices", o, matrix_fields, err) != TQ_OK) return TQ_FAIL;
    const char *name = tq_json_text(o, "name"), *bits = tq_json_text(o, "bits");
    const tq_bits_traits *traits = tq_bits_find(bits);
    const cJSON *group = cJSON_GetObjectItemCaseSensitive(o, "group");
    *matrix = tq_model_find_from(m, name, *matrix);
    if (*matrix == SIZE_MAX) return tq_fail(err, "%s: matrix %.120s is not in the model", file, name);
    if (!traits) return tq_fail(err, "%s: matrix %s: '%.20s' is no bit config", file, name, bits);
    if ((traits->id == TQ_BITS_KEEP) != !group)
        return tq_fail(err, "%s: matrix %s: %s", file, name, group ? "keep takes no group" : "the group is missing");
    *c = (tq_choice){traits->id, TQ_GROUP_DEFAULT};
    if (group) (void)read_group(group, &c->group);
    return TQ_OK;
}

/* "matrices" is what came of the rules: when it says something else, somebody edited one of them alone. */
static int check_matrices(const char *file, const cJSON *root, const tq_plan *p, tq_err *err) {
    const cJSON *array = cJSON_GetObjectItemCaseSensitive(root, "matrices");
    size_t i = 0;
    for (const cJSON *o = array ? array->child : NULL; o; o = o->next, i++) {
        tq_choice c;
        if (read_matrix(file, o, tq_plan_model(p), &i, &c, err) != TQ_OK) return TQ_FAIL;
        if (tq_choice_equal(c, tq_plan_get(p, i))) continue;
        return tq_fail(err,
                       "%s: the rules give %s another choice than \"matrices\" says: remove \"matrices\" after "
                       "editing the rules",
                       file, tq_model_matrix(tq_plan_model(p), i)->name);
    }
    return TQ_OK;
}

int tq_plan_from_json(const tq_model *m, const char *json, size_t bytes, const char *file_name, tq_plan **out,
                      tq_err *err) {
    cJSON *root = NULL;
    *out = NULL;
    if (parse_plan(file_name, json, bytes, &root, err) != TQ_OK) return TQ_FAIL;
    tq_plan *p = tq_plan_new(m, err);
    int rc = p ? check_model(file_name, root, m, err) : TQ_FAIL;
    if (rc == TQ_OK) rc = check_count(file_name, root, m, err);
    if (rc == TQ_OK) rc = read_common(file_name, root, p, err);
    if (rc == TQ_OK) rc = read_rules(file_name, root, p, err);
    if (rc == TQ_OK) rc = check_matrices(file_name, root, p, err);
    cJSON_Delete(root);
    if (rc != TQ_OK) {
        tq_plan_free(p);
        return rc;
    }
    *out = p;
    return TQ_OK;
}

int tq_plan_read_distortion(const tq_model *m, const char *json, size_t bytes, const char *file_name,
                            tq_distortion *distortion, tq_err *err) {
    cJSON *root = NULL;
    if (parse_plan(file_name, json, bytes, &root, err) != TQ_OK) return TQ_FAIL;
    for (size_t i = 0; i < tq_model_matrices(m); i++)
        distortion[i] = (tq_distortion){NAN, NAN};
    const cJSON *array = cJSON_GetObjectItemCaseSensitive(root, "matrices");
    int rc = check_count(file_name, root, m, err);
    size_t i = 0;
    for (const cJSON *o = array ? array->child : NULL; o && rc == TQ_OK; o = o->next, i++) {
        tq_choice c;
        rc = read_matrix(file_name, o, m, &i, &c, err);
        if (rc != TQ_OK) break;
        const cJSON *mse = tq_json_get(o, "rel_mse"), *cosine = tq_json_get(o, "cosine");
        if (mse && cosine) distortion[i] = (tq_distortion){mse->valuedouble, cosine->valuedouble};
    }
    cJSON_Delete(root);
    return rc;
}
