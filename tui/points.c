/* points.c - the plans that were tried. */
#include "tui/points.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tui/json_out.h"

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

/* Where the text stands in the point; n_texts: it does not. */
static size_t text_at(const tq_point *x, const char *name) {
    size_t i = 0;
    while (i < x->n_texts && strcmp(x->texts[i].name, name) != 0)
        i++;
    return i;
}

bool tq_points_note_text(tq_points *p, const tq_model *m, const tq_plan *plan, const tq_point_text *text) {
    size_t at = tq_points_find(p, m, plan);
    if (at == SIZE_MAX) return false;
    tq_point *x = &p->points[at];
    size_t i = text_at(x, text->name);
    if (i == TQ_TEXTS_MAX) return true; /* more than there can be at once: not kept */
    if (i == x->n_texts) x->n_texts++;
    x->texts[i] = *text;
    p->revision++;
    return true;
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

/* The names of all texts that any point was evaluated on; names: [n], at most `most`. */
static size_t text_names(const tq_points *p, const char **names, size_t most) {
    size_t n = 0;
    for (size_t i = 0; i < p->count; i++)
        for (size_t k = 0; k < p->points[i].n_texts; k++) {
            const char *name = p->points[i].texts[k].name;
            size_t at = 0;
            while (at < n && strcmp(names[at], name) != 0)
                at++;
            if (at == n && n < most) names[n++] = name;
        }
    return n;
}

static void put_text_titles(FILE *f, const char *const *names, size_t n) {
    static const char *const figures[] = {"kld", "kld_stderr"};
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < 2; k++) {
            char title[96];
            snprintf(title, sizeof title, "%s %s", figures[k], names[i]);
            fputc(',', f);
            put_quoted(f, title);
        }
}

char *tq_points_csv(const tq_points *p) {
    enum { TEXTS = 64 };
    const char *names[TEXTS];
    size_t texts = text_names(p, names, TEXTS), n = 0;
    char *text = NULL;
    FILE *f = open_memstream(&text, &n);
    if (!f) return NULL;
    fputs("name,seconds,bytes,bits_per_weight,kld,kld_stderr,kld_p99,same_top,ppl,ppl_base,tokens,front,"
          "questions_right,questions",
          f);
    put_text_titles(f, names, texts);
    fputc('\n', f);
    for (size_t i = 0; i < p->count; i++) {
        const tq_point *x = &p->points[i];
        put_quoted(f, x->name);
        fprintf(f, ",%.1f,%zu,%.6f,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g,%zu,%d,%zu,%zu", x->seconds, x->bytes, x->bpw,
                x->eval.kld_mean, x->eval.kld_stderr, x->eval.kld_p99, x->eval.same_top, x->eval.ppl, x->eval.ppl_base,
                x->eval.tokens, x->front, x->score.right, x->score.of);
        for (size_t k = 0; k < texts; k++) {
            size_t at = text_at(x, names[k]);
            if (at < x->n_texts)
                fprintf(f, ",%.9g,%.9g", x->texts[at].kld, x->texts[at].error);
            else
                fputs(",,", f);
        }
        fputc('\n', f);
    }
    if (fclose(f) == 0) return text;
    free(text);
    return NULL;
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
    return q && tq_json_number(q, "right", (double)s.right) && tq_json_number(q, "of", (double)s.of) &&
           tq_json_number(q, "low", low) && tq_json_number(q, "high", high);
}

cJSON *tq_point_texts_json(const tq_point *x) {
    cJSON *list = cJSON_CreateArray();
    bool ok = list != NULL;
    for (size_t i = 0; ok && i < x->n_texts; i++) {
        cJSON *o = cJSON_CreateObject();
        ok = o && cJSON_AddItemToArray(list, o) && cJSON_AddStringToObject(o, "name", x->texts[i].name) &&
             tq_json_number(o, "kld", x->texts[i].kld) && tq_json_number(o, "kld_stderr", x->texts[i].error);
    }
    return tq_json_done(list, ok);
}

static bool texts_json(cJSON *o, const tq_point *x) {
    cJSON *list = x->n_texts ? tq_point_texts_json(x) : NULL;
    return !x->n_texts || (list && cJSON_AddItemToObject(o, "texts", list));
}

static bool point_json(cJSON *list, const tq_point *x, tq_err *err) {
    cJSON *o = cJSON_CreateObject(), *plan;
    if (!o || !cJSON_AddItemToArray(list, o)) return false;
    bool ok = cJSON_AddStringToObject(o, "name", x->name) && tq_json_number(o, "seconds", x->seconds) &&
              tq_json_number(o, "bytes", (double)x->bytes) && tq_json_number(o, "bpw", x->bpw) &&
              tq_json_number(o, "kld", x->eval.kld_mean) && tq_json_number(o, "kld_stderr", x->eval.kld_stderr) &&
              tq_json_number(o, "kld_p99", x->eval.kld_p99) && tq_json_number(o, "same_top", x->eval.same_top) &&
              tq_json_number(o, "ppl", x->eval.ppl) && tq_json_number(o, "ppl_base", x->eval.ppl_base) &&
              tq_json_number(o, "tokens", (double)x->eval.tokens) && cJSON_AddBoolToObject(o, "front", x->front) &&
              score_json(o, x->score) && texts_json(o, x);
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
