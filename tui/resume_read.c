/* resume_read.c - see resume_read.h. */
#include "tui/resume_read.h"

#include <stdlib.h>
#include <string.h>

#include "tui/keep.h"
#include "tui/keep_json.h"

void tq_resumed_free(tq_resumed *r) {
    for (size_t i = 0; i < r->n_states; i++)
        tq_plan_free(r->states[i].plan);
    for (size_t i = 0; i < r->n_points; i++)
        tq_plan_free(r->points[i].plan);
    for (size_t i = 0; i < r->n_turns; i++)
        free(r->turns[i].text);
    tq_plan_free(r->saved);
    free(r->states);
    free(r->points);
    free(r->turns);
    *r = (tq_resumed){0};
}

/* The number in the key "s12"; false: it is another kind of key. */
static bool numbered(const char *key, char kind, uint64_t *number) {
    if (key[0] != kind || !key[1] || strlen(key) > 16 || key[1 + strspn(key + 1, "0123456789")]) return false;
    *number = strtoull(key + 1, NULL, 10);
    return true;
}

static int by_serial(const void *a, const void *b) {
    const tq_state *x = a, *y = b;
    return x->serial < y->serial ? -1 : x->serial > y->serial;
}

static int by_id(const void *a, const void *b) {
    const tq_point *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* Serials rise, and a state is a change of one before it. */
static bool is_tree(const tq_resumed *r) {
    for (size_t i = 0; i < r->n_states; i++) {
        const tq_state *s = &r->states[i];
        if (s->parent >= s->serial || (i && s->serial == s[-1].serial)) return false;
    }
    return true;
}

static bool read_many(const tq_app *a, const tq_records *f, tq_resumed *r, const char **bad) {
    r->states = calloc(f->count + 1, sizeof *r->states);
    r->points = calloc(f->count + 1, sizeof *r->points);
    r->turns = calloc(f->count + 1, sizeof *r->turns);
    if (!r->states || !r->points || !r->turns) return false;
    for (size_t i = 0; i < f->count; i++) {
        const tq_record *x = &f->items[i];
        uint64_t n;
        *bad = x->key;
        if (numbered(x->key, 's', &n)) {
            tq_state *s = &r->states[r->n_states++];
            if (!tq_state_unpack(a->model, x->value, s)) return false;
            s->serial = n;
        } else if (numbered(x->key, 'p', &n)) {
            tq_point *p = &r->points[r->n_points++];
            if (!tq_point_unpack(a->model, x->value, p)) return false;
            p->id = n;
            if (p->seconds > r->seconds) r->seconds = p->seconds;
        } else if (numbered(x->key, 'c', &n)) {
            if (n != r->n_turns || !tq_turn_unpack(x->value, &r->turns[r->n_turns++])) return false;
        }
    }
    qsort(r->states, r->n_states, sizeof *r->states, by_serial);
    qsort(r->points, r->n_points, sizeof *r->points, by_id);
    *bad = "s";
    return is_tree(r);
}

static bool read_plan(const tq_app *a, const tq_records *f, tq_resumed *r) {
    const cJSON *o = tq_records_get(f, "plan");
    const char *path = tq_json_text(o, "path");
    size_t now;
    if (!path || strlen(path) >= sizeof a->plan_path || !tq_take_whole(o, "now", SIZE_MAX, &now)) return false;
    r->saved = tq_plan_unpack(a->model, cJSON_GetObjectItemCaseSensitive(o, "saved"));
    for (size_t i = 0; i < r->n_states; i++)
        if (r->states[i].serial <= now) r->now = i; /* killed between two puts, the state itself may be gone */
    return r->saved != NULL;
}

/* Fields that are put back one by one, checked before anything is. */
static bool check_view(tq_app *a, const cJSON *o) {
    size_t n, matrices = tq_model_matrices(a->model), blocks = tq_model_config(a->model)->blocks + 1;
    bool flag, *flags = calloc(matrices + blocks + 1, sizeof *flags);
    const char *filter = tq_json_text(o, "filter");
    bool ok = flags && filter && strlen(filter) < sizeof a->table.filter &&
              tq_take_flags(o, "marked", flags, matrices) && tq_take_flags(o, "folded", flags, blocks) &&
              tq_take_bool(o, "sorted", &flag) && tq_take_bool(o, "inspect", &flag) &&
              tq_take_whole(o, "focus", TQ_FOCUS_COUNT - 1, &n) && tq_take_whole(o, "top", SIZE_MAX, &n) &&
              (!cJSON_GetObjectItemCaseSensitive(o, "matrix") ||
               (matrices && tq_take_whole(o, "matrix", matrices - 1, &n) && tq_take_bool(o, "block", &flag)));
    free(flags);
    return ok;
}

bool tq_take_target(const cJSON *o, tq_target *t) {
    size_t kind;
    if (!tq_take_whole(o, "kind", TQ_TARGET_KLD, &kind) || !tq_take_number(o, "value", &t->value)) return false;
    t->kind = (tq_target_kind)kind;
    return t->value >= 0 && t->value < 1e18;
}

static bool check_tune(const tq_app *a, const cJSON *o) {
    bool flag, *flags = calloc(a->tune.matrices + 1, sizeof *flags);
    size_t n;
    tq_target t;
    bool ok = flags && tq_take_flags(o, "pinned", flags, a->tune.matrices) && tq_take_bool(o, "swept", &flag) &&
              tq_take_whole(o, "budget", SIZE_MAX, &n) &&
              (!cJSON_GetObjectItemCaseSensitive(o, "kind") || tq_take_target(o, &t));
    free(flags);
    return ok;
}

bool tq_take_text_settings(const cJSON *o, tq_eval_options *eval) {
    const char *path = tq_json_text(o, "path"), *hash = tq_json_text(o, "hash");
    return path && hash && strlen(hash) == 16 && tq_take_whole(o, "ctx", 1U << 24, &eval->ctx) && eval->ctx >= 4 &&
           tq_take_whole(o, "tokens", 1U << 30, &eval->tokens) && tq_take_bool(o, "score_half", &eval->score_half);
}

static bool check_talk(const cJSON *o) {
    size_t speakers;
    return tq_take_whole(o, "speakers", TQ_BOTH, &speakers) && speakers > 0 && tq_json_text(o, "draft");
}

static bool check_history(const cJSON *list) {
    if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) > TQ_KLD_HISTORY) return false;
    for (const cJSON *x = list->child; x; x = x->next)
        if (!cJSON_IsNumber(x)) return false;
    return true;
}

static bool check_texts(const cJSON *list) {
    if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) >= TQ_TEXTS_MAX) return false;
    for (const cJSON *x = list->child; x; x = x->next)
        if (!tq_json_text(x, "path")) return false;
    return true;
}

static bool check_questions(const cJSON *o) {
    const char *hash = tq_json_text(o, "hash");
    return hash && (strlen(hash) == 16 || !*hash) && tq_json_text(o, "path");
}

/* What has to be there, and what may be. */
static const char *bad_record(tq_app *a, const tq_records *f) {
    const cJSON *text = tq_records_get(f, "text"), *history = tq_records_get(f, "history"),
                *texts = tq_records_get(f, "texts"), *questions = tq_records_get(f, "questions");
    tq_eval_options eval;
    return !check_view(a, tq_records_get(f, "view"))     ? "view"
           : !check_tune(a, tq_records_get(f, "tune"))   ? "tune"
           : !check_talk(tq_records_get(f, "talk"))      ? "talk"
           : text && !tq_take_text_settings(text, &eval) ? "text"
           : history && !check_history(history)          ? "history"
           : texts && !check_texts(texts)                ? "texts"
           : questions && !check_questions(questions)    ? "questions"
                                                         : NULL;
}

static int check_header(const tq_app *a, const char *path, const tq_records *f, tq_err *err) {
    const cJSON *o = tq_records_get(f, TQ_KEEP_HEADER);
    const char *model = tq_json_text(o, "model"), *hash = tq_json_text(o, "hash");
    const tq_source *source = tq_model_source(a->model);
    char now[17];
    size_t format, matrices;
    if (!tq_take_whole(o, "format", SIZE_MAX, &format) || !model || !hash ||
        !tq_take_whole(o, "matrices", SIZE_MAX, &matrices))
        return tq_fail(err, "%s: \"%s\": expected format, model, hash and matrices", path, TQ_KEEP_HEADER);
    if (format != TQ_KEEP_FORMAT) return tq_fail(err, "%s: format %zu, expected %d", path, format, TQ_KEEP_FORMAT);
    tq_source_hash(source, now);
    if (strcmp(now, hash) == 0 && matrices == tq_model_matrices(a->model)) return TQ_OK;
    char *real = realpath(tq_source_path(source), NULL);
    bool same = real && strcmp(real, model) == 0;
    free(real);
    if (same) return tq_fail(err, "%s: the model has changed since (it was %.16s, it is %s)", path, hash, now);
    return tq_fail(err, "%s: it is of another model, %.200s (%.16s; this one is %s)", path, model, hash, now);
}

int tq_resumed_read(tq_app *a, const char *path, const tq_records *f, tq_resumed *r, tq_err *err) {
    const char *bad = "";
    *r = (tq_resumed){0};
    if (check_header(a, path, f, err) != TQ_OK) return TQ_FAIL;
    bool ok = read_many(a, f, r, &bad);
    if (ok && (r->n_states == 0 || !read_plan(a, f, r))) {
        bad = "plan";
        ok = false;
    }
    if (ok) {
        bad = bad_record(a, f);
        ok = !bad;
    }
    if (ok) return TQ_OK;
    tq_resumed_free(r);
    return tq_fail(err, "%s: \"%.32s\" is not what a session holds there", path, bad);
}
