/* keep.c - what a person would miss, put into the session's file after every change. */
#include "tui/keep.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tui/keep_json.h"

/* What was put of the states, to know what has changed without making all of it again. */
struct tq_kept_state {
    uint64_t serial;
    bool eval_known;
    size_t tokens;
    double kld;
    tq_score score;
};
struct tq_kept_turn {
    size_t bytes;
    bool ended, stopped;
};

/* Takes o, which may be NULL: then memory was short. */
static void put(tq_app *a, const char *key, cJSON *o) {
    tq_err err;
    char *text = o ? cJSON_PrintUnformatted(o) : NULL;
    cJSON_Delete(o);
    int rc = text ? tq_keeper_put(a->keep.keeper, key, text, &err) : tq_fail(&err, "out of memory");
    cJSON_free(text);
    if (rc != TQ_OK && !a->keep.failed) tq_say(a, TQ_REFUSES, "the session is not kept: %s", err.msg);
    a->keep.failed = rc != TQ_OK;
}

static void drop(tq_app *a, const char *key) {
    tq_err err;
    (void)tq_keeper_put(a->keep.keeper, key, NULL, &err); /* when it cannot be, the file has a state too many */
}

/* --- what there is one of --- */

static cJSON *view_of(const tq_app *a) {
    const tq_table *t = &a->table;
    const tq_row *row = tq_table_row(t);
    size_t matrix = tq_table_matrix(t);
    cJSON *o = cJSON_CreateObject();
    bool ok = o && tq_put_text(o, "filter", t->filter) &&
              tq_put_flags(o, "marked", t->marked, tq_model_matrices(a->model)) &&
              tq_put_flags(o, "folded", t->folded, tq_model_config(a->model)->blocks + 1) &&
              tq_put_bool(o, "sorted", t->order != NULL) && tq_json_number(o, "focus", a->focus) &&
              (t->order == NULL || tq_put_bool(o, "by_own", a->tune.order == TQ_ORDER_OWN)) &&
              tq_put_bool(o, "inspect", a->inspect_over) && tq_json_number(o, "top", (double)t->top);
    if (ok && row && matrix != SIZE_MAX)
        ok = tq_json_number(o, "matrix", (double)matrix) && tq_put_bool(o, "block", row->matrix == SIZE_MAX);
    return tq_json_done(o, ok);
}

static cJSON *tune_of(const tq_app *a) {
    const tq_tune *t = &a->tune;
    cJSON *o = cJSON_CreateObject();
    bool ok = o && tq_put_flags(o, "pinned", t->pinned, t->matrices) && tq_put_bool(o, "swept", t->costs != NULL) &&
              tq_json_number(o, "budget", t->serial > a->keep.base ? (double)(t->serial - a->keep.base) : 0);
    if (ok && t->has_target)
        ok = tq_json_number(o, "kind", t->target.kind) && tq_json_number(o, "value", t->target.value);
    return tq_json_done(o, ok);
}

static cJSON *text_of(const tq_app *a) {
    const char *path = a->status.texts[0].path;
    cJSON *o = cJSON_CreateObject();
    bool ok = o && tq_put_text(o, "path", *path ? path : a->status.text_name) &&
              tq_put_text(o, "hash", a->status.text_hash) && tq_json_number(o, "ctx", (double)a->eval.ctx) &&
              tq_json_number(o, "tokens", (double)a->eval.tokens) && tq_put_bool(o, "score_half", a->eval.score_half);
    return tq_json_done(o, ok);
}

/* The paths of the texts beside it; the tuning text comes by itself. */
static cJSON *texts_of(const tq_app *a) {
    cJSON *list = cJSON_CreateArray();
    bool ok = list != NULL;
    for (size_t i = 1; ok && i < a->status.n_texts; i++) {
        const tq_text_status *t = &a->status.texts[i];
        cJSON *o = t->role == TQ_TEXT_HELD_OUT && *t->path ? cJSON_CreateObject() : NULL;
        if (!o) continue;
        ok = cJSON_AddItemToArray(list, o) && tq_put_text(o, "path", t->path);
    }
    return tq_json_done(list, ok);
}

static cJSON *questions_of(const tq_app *a) {
    cJSON *o = cJSON_CreateObject();
    return tq_json_done(o, o && tq_put_text(o, "path", a->status.questions_path) &&
                               tq_put_text(o, "hash", a->status.questions_hash));
}

static cJSON *plan_of(const tq_app *a) {
    cJSON *o = cJSON_CreateObject(), *saved = o ? tq_plan_pack(a->draft.saved) : NULL;
    if (saved && !cJSON_AddItemToObject(o, "saved", saved)) {
        cJSON_Delete(saved);
        saved = NULL;
    }
    return tq_json_done(o, saved && tq_put_text(o, "path", a->plan_path) &&
                               tq_json_number(o, "now", (double)(tq_draft_serial(&a->draft) - a->keep.base)));
}

static cJSON *talk_of(const tq_app *a) {
    bool chatting = tq_lineedit_active(TQ_LINE_CHAT);
    cJSON *o = cJSON_CreateObject();
    return tq_json_done(o,
                        o && tq_json_number(o, "speakers", a->talk.speakers) &&
                            tq_put_text(o, "draft", chatting ? tq_lineedit_text() : tq_lineedit_draft(TQ_LINE_CHAT)));
}

/* The prompt that is open; a path that is asked for is not worth it. */
static cJSON *prompt_of(void) {
    static const tq_line kinds[] = {TQ_LINE_COMMAND, TQ_LINE_FILTER, TQ_LINE_BUDGET};
    cJSON *o = cJSON_CreateObject();
    bool ok = o != NULL;
    for (size_t i = 0; ok && i < sizeof kinds / sizeof *kinds; i++)
        if (tq_lineedit_active(kinds[i]))
            ok = tq_json_number(o, "kind", kinds[i]) && tq_put_text(o, "text", tq_lineedit_text());
    return tq_json_done(o, ok);
}

static cJSON *history_of(const tq_app *a) {
    return cJSON_CreateDoubleArray(a->kld_history, (int)a->kld_count);
}

/* --- what there are many of --- */

static void key_of(char key[TQ_RECORD_KEY], char kind, uint64_t number) {
    (void)snprintf(key, TQ_RECORD_KEY, "%c%" PRIu64, kind, number);
}

static bool same_state(const struct tq_kept_state *k, const tq_state *s) {
    return k->eval_known == s->eval_known && k->score.of == s->score.of && k->score.right == s->score.right &&
           (!s->eval_known || (k->tokens == s->eval.tokens && k->kld == s->eval.kld_mean));
}

/* Serials rise in both lists: one pass. */
static void keep_states(tq_app *a) {
    const tq_draft *d = &a->draft;
    tq_keep *k = &a->keep;
    struct tq_kept_state *now = calloc(d->count, sizeof *now);
    char key[TQ_RECORD_KEY];
    if (!now) return;
    for (size_t i = 0, was = 0; i < d->count || was < k->n_states;) {
        bool gone = i == d->count || (was < k->n_states && k->states[was].serial < d->states[i].serial);
        if (gone) {
            key_of(key, 's', k->states[was++].serial - k->base);
            drop(a, key);
            continue;
        }
        const tq_state *s = &d->states[i];
        bool known = was < k->n_states && k->states[was].serial == s->serial;
        if (!known || !same_state(&k->states[was], s)) {
            key_of(key, 's', s->serial - k->base);
            put(a, key, tq_state_pack(s, k->base));
        }
        was += known;
        now[i++] = (struct tq_kept_state){s->serial, s->eval_known, s->eval.tokens, s->eval.kld_mean, s->score};
    }
    free(k->states);
    k->states = now;
    k->n_states = d->count;
}

static void keep_points(tq_app *a) {
    tq_keep *k = &a->keep;
    char key[TQ_RECORD_KEY];
    if (k->points_revision == a->points.revision) return;
    k->points_revision = a->points.revision;
    bool *there = calloc(a->points.last_id + 1, sizeof *there);
    for (size_t i = 0; i < a->points.count; i++) {
        key_of(key, 'p', a->points.points[i].id);
        put(a, key, tq_point_pack(&a->points.points[i]));
        if (there) there[a->points.points[i].id] = true;
    }
    for (size_t id = 1; there && id <= a->points.last_id; id++) {
        key_of(key, 'p', id);
        if (!there[id]) drop(a, key);
    }
    free(there);
}

/* An answer that comes is put when it has grown by a fifth, not at every piece. */
static bool turn_is_new(const struct tq_kept_turn *k, const tq_turn *t) {
    size_t n = strlen(t->text);
    if (k->ended != t->ended || k->stopped != t->stopped) return true;
    return t->answer && !t->ended ? n > k->bytes + k->bytes / 5 + 8 : n != k->bytes;
}

static void keep_turns(tq_app *a) {
    tq_keep *k = &a->keep;
    const tq_dialogue *t = &a->talk;
    char key[TQ_RECORD_KEY];
    for (; k->n_turns > t->count; k->n_turns--) {
        key_of(key, 'c', k->n_turns - 1);
        drop(a, key);
    }
    if (t->count > k->turns_capacity) {
        struct tq_kept_turn *grown = realloc(k->turns, 2 * t->count * sizeof *grown);
        if (!grown) return;
        k->turns = grown;
        k->turns_capacity = 2 * t->count;
    }
    for (size_t i = 0; i < t->count; i++) {
        const tq_turn *turn = &t->turns[i];
        if (i < k->n_turns && !turn_is_new(&k->turns[i], turn)) continue;
        key_of(key, 'c', i);
        put(a, key, tq_turn_pack(turn));
        k->turns[i] = (struct tq_kept_turn){strlen(turn->text), turn->ended, turn->stopped};
    }
    k->n_turns = t->count;
}

void tq_keep_now(tq_app *a) {
    if (!a->keep.keeper) return;
    keep_states(a);
    put(a, "plan", plan_of(a));
    put(a, "view", view_of(a));
    put(a, "tune", tune_of(a));
    put(a, "talk", talk_of(a));
    put(a, "prompt", prompt_of());
    if (*a->status.text_hash) put(a, "text", text_of(a));
    if (*a->status.text_hash && !a->keep.texts_due) put(a, "texts", texts_of(a));
    if (a->status.questions_read && !a->keep.questions_step) put(a, "questions", questions_of(a));
    if (a->keep.kld_seen != a->kld_count || a->keep.eval_seen != a->eval_seen) put(a, "history", history_of(a));
    a->keep.kld_seen = a->kld_count;
    a->keep.eval_seen = a->eval_seen;
    keep_points(a);
    keep_turns(a);
}

void tq_keep_close(tq_app *a) {
    tq_keeper_close(a->keep.keeper);
    tq_records_free(&a->keep.found);
    free(a->keep.states);
    free(a->keep.turns);
    a->keep = (tq_keep){0};
}
