/* points.c - the plans that were tried. */
#include "tui/points.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void drop(tq_point *x) {
    tq_plan_free(x->plan);
    *x = (tq_point){0};
}

void tq_points_forget(tq_points *p) {
    for (size_t i = 0; i < p->count; i++)
        drop(&p->points[i]);
    p->count = 0;
    p->revision++;
}

void tq_points_free(tq_points *p) {
    tq_points_forget(p);
    free(p->points);
    *p = (tq_points){0};
}

size_t tq_points_find(const tq_points *p, const tq_model *m, const tq_plan *plan) {
    for (size_t i = 0; i < p->count; i++)
        if (tq_plans_equal(m, p->points[i].plan, plan)) return i;
    return SIZE_MAX;
}

static int by_size(const void *a, const void *b) {
    const tq_point *x = a, *y = b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? -1 : 1;
    if (x->eval.kld_mean != y->eval.kld_mean) return x->eval.kld_mean < y->eval.kld_mean ? -1 : 1;
    return x->seconds < y->seconds ? -1 : x->seconds > y->seconds;
}

static void arrange(tq_points *p) {
    double least = INFINITY;
    p->revision++;
    qsort(p->points, p->count, sizeof *p->points, by_size);
    for (size_t i = 0; i < p->count; i++) {
        p->points[i].front = p->points[i].eval.kld_mean < least;
        least = fmin(least, p->points[i].eval.kld_mean);
    }
}

bool tq_points_add(tq_points *p, const tq_model *m, const tq_plan *plan, const char *name, double seconds,
                   const tq_eval_result *eval) {
    size_t at = tq_points_find(p, m, plan);
    if (at != SIZE_MAX) {
        p->points[at].eval = *eval;
        arrange(p);
        return true;
    }
    if (p->count == p->capacity) {
        size_t capacity = p->capacity ? 2 * p->capacity : 32;
        tq_point *grown = realloc(p->points, capacity * sizeof *grown);
        if (!grown) return false;
        p->points = grown;
        p->capacity = capacity;
    }
    tq_memory memory = tq_plan_memory(m, plan);
    tq_point x = {.plan = tq_plan_copy(plan), .seconds = seconds, .bytes = memory.total, .bpw = memory.bpw_linear};
    if (!x.plan) return false;
    x.eval = *eval;
    x.id = ++p->last_id;
    snprintf(x.name, sizeof x.name, "%s", *name ? name : "as opened");
    p->points[p->count++] = x;
    arrange(p);
    return true;
}

void tq_points_note_score(tq_points *p, const tq_model *m, const tq_plan *plan, tq_score score) {
    size_t at = tq_points_find(p, m, plan);
    if (at != SIZE_MAX) p->points[at].score = score;
}

void tq_points_forget_scores(tq_points *p) {
    for (size_t i = 0; i < p->count; i++)
        p->points[i].score = (tq_score){0};
}

void tq_points_name(tq_points *p, size_t i, const char *name) {
    snprintf(p->points[i].name, sizeof p->points[i].name, "%s", name);
    p->points[i].named = true;
    p->revision++;
}

/* A field in quotes, theirs doubled. */
static void put_quoted(FILE *f, const char *text) {
    fputc('"', f);
    for (; *text; text++) {
        if (*text == '"') fputc('"', f);
        fputc(*text, f);
    }
    fputc('"', f);
}

char *tq_points_csv(const tq_points *p) {
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    if (!f) return NULL;
    fputs("name,seconds,bytes,bits_per_weight,kld,kld_stderr,kld_p99,same_top,ppl,ppl_base,tokens,front,"
          "questions_right,questions\n",
          f);
    for (size_t i = 0; i < p->count; i++) {
        const tq_point *x = &p->points[i];
        put_quoted(f, x->name);
        fprintf(f, ",%.1f,%zu,%.6f,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g,%zu,%d,%zu,%zu\n", x->seconds, x->bytes, x->bpw,
                x->eval.kld_mean, x->eval.kld_stderr, x->eval.kld_p99, x->eval.same_top, x->eval.ppl, x->eval.ppl_base,
                x->eval.tokens, x->front, x->score.right, x->score.of);
    }
    if (fclose(f) == 0) return text;
    free(text);
    return NULL;
}

static bool number(cJSON *o, const char *name, double v) {
    return (isfinite(v) ? cJSON_AddNumberToObject(o, name, v) : cJSON_AddNullToObject(o, name)) != NULL;
}

/* The plan as it would be saved, without figures. */
static cJSON *plan_json(const tq_plan *plan, tq_err *err) {
    char *text = NULL;
    if (tq_plan_to_json(plan, NULL, &text, err) != TQ_OK) return NULL;
    cJSON *o = cJSON_Parse(text);
    free(text);
    return o;
}

static bool score_json(cJSON *o, tq_score s) {
    double low, high;
    cJSON *q = s.of ? cJSON_AddObjectToObject(o, "questions") : NULL;
    if (!s.of) return true;
    tq_score_interval(s, &low, &high);
    return q && number(q, "right", (double)s.right) && number(q, "of", (double)s.of) && number(q, "low", low) &&
           number(q, "high", high);
}

static bool point_json(cJSON *list, const tq_point *x, tq_err *err) {
    cJSON *o = cJSON_CreateObject(), *plan;
    if (!o || !cJSON_AddItemToArray(list, o)) return false;
    bool ok = cJSON_AddStringToObject(o, "name", x->name) && number(o, "seconds", x->seconds) &&
              number(o, "bytes", (double)x->bytes) && number(o, "bpw", x->bpw) && number(o, "kld", x->eval.kld_mean) &&
              number(o, "kld_stderr", x->eval.kld_stderr) && number(o, "kld_p99", x->eval.kld_p99) &&
              number(o, "same_top", x->eval.same_top) && number(o, "ppl", x->eval.ppl) &&
              number(o, "ppl_base", x->eval.ppl_base) && number(o, "tokens", (double)x->eval.tokens) &&
              cJSON_AddBoolToObject(o, "front", x->front) && score_json(o, x->score);
    plan = ok ? plan_json(x->plan, err) : NULL;
    return plan && cJSON_AddItemToObject(o, "plan", plan);
}

char *tq_points_json(const tq_points *p, tq_err *err) {
    cJSON *root = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(root, "plans");
    bool ok = list != NULL;
    for (size_t i = 0; ok && i < p->count; i++)
        ok = point_json(list, &p->points[i], err);
    char *text = ok ? cJSON_Print(root) : NULL;
    cJSON_Delete(root);
    if (!text) (void)tq_fail(err, "out of memory for the plans that were tried");
    return text;
}
