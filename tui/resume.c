/* resume.c - a session that was kept is found, offered and put back. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "model/journal.h"
#include "tui/keep.h"
#include "tui/keep_json.h"
#include "tui/keys.h"
#include "tui/resume_read.h"
#include "tui/tune.h"

enum { SLOTS = 16 /* programs on one model at once */, ASIDE_MAX = 100 };
enum { TEXT_CHECKED, TEXT_FIRST, TEXT_ASKED }; /* tq_keep.text_step, questions_step */

/* --- putting back --- */

static void put_states(tq_app *a, tq_resumed *r) {
    uint64_t base = tq_draft_serial(&a->draft); /* the worker knows the plans up to here */
    for (size_t i = 0; i < r->n_states; i++) {
        r->states[i].serial += base;
        if (r->states[i].parent) r->states[i].parent += base;
    }
    a->keep.base = base;
    tq_draft_restore(&a->draft, r->states, r->n_states, r->now, r->saved);
    r->states = NULL;
    r->saved = NULL;
    r->n_states = 0;
}

static void put_points(tq_app *a, const tq_resumed *r) {
    tq_points_forget(&a->points);
    for (size_t i = 0; i < r->n_points; i++) {
        const tq_point *p = &r->points[i];
        if (!tq_points_add(&a->points, a->model, p->plan, p->name, p->seconds, &p->eval)) continue;
        tq_points_note_score(&a->points, a->model, p->plan, p->score);
        for (size_t k = 0; k < p->n_texts; k++)
            (void)tq_points_note_text(&a->points, a->model, p->plan, &p->texts[k]);
        size_t at = p->named ? tq_points_find(&a->points, a->model, p->plan) : SIZE_MAX;
        if (at != SIZE_MAX) tq_points_name(&a->points, at, p->name);
    }
    /* New ones are numbered above all that the file has. */
    if (r->n_points && a->points.last_id < r->points[r->n_points - 1].id)
        a->points.last_id = r->points[r->n_points - 1].id;
    a->started -= r->seconds;
}

static void put_view(tq_app *a, const cJSON *o) {
    tq_table *t = &a->table;
    size_t matrix = SIZE_MAX, top = 0, focus = 0;
    bool block = false, sorted = false, by_own = false;
    (void)tq_table_filter(t, tq_json_text(o, "filter"));
    (void)tq_take_flags(o, "marked", t->marked, tq_model_matrices(a->model));
    (void)tq_take_whole(o, "matrix", SIZE_MAX, &matrix);
    (void)tq_take_bool(o, "block", &block);
    (void)tq_take_bool(o, "sorted", &sorted);
    (void)tq_take_bool(o, "by_own", &by_own); /* where it is sorted, and not in older sessions */
    (void)tq_take_bool(o, "inspect", &a->inspect_over);
    (void)tq_take_whole(o, "top", SIZE_MAX, &top);
    (void)tq_take_whole(o, "focus", SIZE_MAX, &focus);
    size_t blocks = tq_model_config(a->model)->blocks + 1; /* embedding and head come last */
    bool *folded = calloc(blocks, sizeof *folded);
    if (folded && tq_take_flags(o, "folded", folded, blocks))
        for (size_t b = 0; b < blocks; b++)
            tq_table_fold(t, b, folded[b]);
    free(folded);
    for (size_t i = 0; i < t->count && matrix != SIZE_MAX; i++) {
        bool here = block
                        ? t->rows[i].matrix == SIZE_MAX && t->rows[i].block == tq_model_matrix(a->model, matrix)->block
                        : t->rows[i].matrix == matrix;
        if (here) t->cursor = i;
    }
    t->top = top < t->count ? top : 0;
    a->keep.wants_sort = !sorted ? TQ_ORDER_MODEL : by_own ? TQ_ORDER_OWN : TQ_ORDER_GAIN;
    a->keep.sort_cursor = matrix;
    tq_app_focus(a, (tq_focus)focus);
}

static void put_tune(tq_app *a, const cJSON *o) {
    tq_tune *t = &a->tune;
    size_t budget = 0;
    bool swept = false;
    (void)tq_take_flags(o, "pinned", t->pinned, t->matrices);
    (void)tq_take_whole(o, "budget", SIZE_MAX, &budget);
    (void)tq_take_bool(o, "swept", &swept);
    t->has_target = tq_take_target(o, &t->target);
    t->serial = budget ? budget + a->keep.base : 0;
    if (swept) tq_worker_want_sweep(a->worker); /* what was measured is found in its own journal */
}

static void put_talk(tq_app *a, tq_resumed *r, const tq_records *f) {
    const cJSON *o = tq_records_get(f, "talk"), *prompt = tq_records_get(f, "prompt");
    size_t n = TQ_PLAN;
    tq_chat_free_turns(&a->talk);
    a->talk.turns = r->turns;
    a->talk.count = r->n_turns;
    a->talk.capacity = r->n_turns;
    r->turns = NULL;
    r->n_turns = 0;
    (void)tq_take_whole(o, "speakers", TQ_BOTH, &n);
    a->talk.speakers = (tq_speaker)n;
    bool chatting = tq_lineedit_active(TQ_LINE_CHAT);
    tq_lineedit_begin(TQ_LINE_CHAT, tq_json_text(o, "draft"));
    if (!chatting) tq_lineedit_end();
    const char *text = tq_json_text(prompt, "text");
    if (text && tq_take_whole(prompt, "kind", TQ_LINE_COUNT - 1, &n) && n != TQ_LINE_PATH && n != TQ_LINE_CHAT)
        tq_lineedit_begin((tq_line)n, text);
}

static void forget_figures(tq_app *a, const char *why) {
    tq_eval_changed(a);
    tq_say(a, TQ_SAYS, "the figures of the session are forgotten: %s", why);
}

/* The settings of the command line win; figures of others are no figures of these. */
static void put_text(tq_app *a, const cJSON *o) {
    tq_eval_options eval = {0};
    const tq_options *given = a->options;
    if (!o || !tq_take_text_settings(o, &eval)) return;
    if (given->eval_given) {
        if (eval.ctx != a->eval.ctx || eval.tokens != a->eval.tokens || eval.score_half != a->eval.score_half)
            forget_figures(a, "--ctx, --tokens or --score-half are others");
    } else if (eval.ctx != a->eval.ctx || eval.tokens != a->eval.tokens || eval.score_half != a->eval.score_half) {
        a->eval.ctx = eval.ctx;
        a->eval.tokens = eval.tokens;
        a->eval.score_half = eval.score_half;
        tq_worker_want_eval(a->worker, eval.ctx, eval.tokens, eval.score_half);
    }
    snprintf(a->keep.text_hash, sizeof a->keep.text_hash, "%s", tq_json_text(o, "hash"));
    snprintf(a->keep.text_wanted, sizeof a->keep.text_wanted, "%s", tq_json_text(o, "path"));
    a->keep.text_step = TEXT_FIRST;
    tq_resume_text(a, NULL);
}

void tq_resume_text(tq_app *a, const tq_event *e) {
    tq_keep *k = &a->keep;
    bool asked = k->text_step == TEXT_ASKED;
    if (k->text_step == TEXT_CHECKED) return;
    if (!e && !a->status.text_read) return; /* it comes */
    if (asked && e && !*e->path) return;    /* the first one, read meanwhile */
    k->text_step = TEXT_CHECKED;
    if (strcmp(a->status.text_hash, k->text_hash) == 0) return;
    if (!asked && !a->options->text && *k->text_wanted) {
        k->text_step = TEXT_ASKED;
        tq_worker_text(a->worker, k->text_wanted);
        return;
    }
    forget_figures(a, asked ? "the text has changed" : "the text is another one");
}

static void put_other_texts(tq_app *a, const cJSON *list) {
    for (const cJSON *x = list ? list->child : NULL; x; x = x->next) {
        a->keep.texts_due++;
        tq_worker_add_text(a->worker, tq_json_text(x, "path"));
    }
}

/* The questions of the command line win. */
static void put_questions(tq_app *a, const cJSON *o) {
    tq_keep *k = &a->keep;
    if (!o) return;
    snprintf(k->questions_hash, sizeof k->questions_hash, "%s", tq_json_text(o, "hash"));
    k->questions_step = a->options->questions ? TEXT_FIRST : TEXT_ASKED;
    if (k->questions_step == TEXT_ASKED) tq_worker_questions(a->worker, tq_json_text(o, "path"));
    tq_resume_questions(a, NULL);
}

static void forget_scores(tq_app *a) {
    tq_draft_forget_scores(&a->draft);
    tq_points_forget_scores(&a->points);
}

void tq_resume_questions(tq_app *a, const tq_event *e) {
    tq_keep *k = &a->keep;
    if (e && e->rc == TQ_OK && k->questions_step == TEXT_CHECKED) forget_scores(a); /* others, by a command */
    if (k->questions_step != (e ? TEXT_ASKED : TEXT_FIRST) || (!e && !a->status.questions_read)) return;
    k->questions_step = TEXT_CHECKED;
    if (strcmp(a->status.questions_hash, k->questions_hash) == 0) return;
    forget_scores(a);
    if (*k->questions_hash) tq_say(a, TQ_SAYS, "the scores of the session are forgotten: the questions are others");
}

static void put_history(tq_app *a, const cJSON *list) {
    a->kld_count = 0;
    for (const cJSON *x = list ? list->child : NULL; x && a->kld_count < TQ_KLD_HISTORY; x = x->next)
        a->kld_history[a->kld_count++] = x->valuedouble;
}

/* What the command line asks of the plan comes on top of what the session has. */
static void put_given_plan(tq_app *a, tq_plan *given) {
    if (given && !tq_plans_equal(a->model, given, tq_draft_plan(&a->draft)))
        tq_edit_push(a, given, "as the command line says");
    else
        tq_plan_free(given);
}

static void put_back(tq_app *a, const tq_records *f, tq_resumed *r) {
    size_t changes = r->n_states - 1, points = r->n_points, turns = r->n_turns;
    tq_plan *given = tq_options_has_plan(a->options) ? tq_plan_copy(tq_draft_plan(&a->draft)) : NULL;
    put_states(a, r);
    put_points(a, r);
    put_history(a, tq_records_get(f, "history"));
    snprintf(a->plan_path, sizeof a->plan_path, "%s", tq_json_text(tq_records_get(f, "plan"), "path"));
    put_view(a, tq_records_get(f, "view"));
    put_tune(a, tq_records_get(f, "tune"));
    put_talk(a, r, f);
    a->hint = false;
    if (tq_points_find(&a->points, a->model, tq_draft_plan(&a->draft)) != SIZE_MAX)
        a->eval_seen = tq_draft_serial(&a->draft);
    tq_plan *now = tq_plan_copy(tq_draft_plan(&a->draft));
    if (now) tq_worker_want_plan(a->worker, now, tq_draft_serial(&a->draft));
    put_text(a, tq_records_get(f, "text"));
    put_other_texts(a, tq_records_get(f, "texts"));
    put_questions(a, tq_records_get(f, "questions"));
    put_given_plan(a, given);
    tq_say(a, TQ_SAYS, "resumed: %zu change%s, %zu plan%s tried, %zu line%s of chat", changes, changes == 1 ? "" : "s",
           points, points == 1 ? "" : "s", turns, turns == 1 ? "" : "s");
}

/* --- files --- */

static void say_refused(tq_app *a, const tq_err *err) {
    tq_say(a, TQ_REFUSES, "the session is not resumed: %s", err->msg);
}

/* "STATE/sessions/NAME-HASH.2.session": by the model's real path, so that models of one name do not meet. */
static char *slot_path(const tq_app *a, int slot) {
    char *real = realpath(tq_source_path(tq_model_source(a->model)), NULL), *state = tq_state_dir(), *path = NULL;
    char name[48], number[16] = "";
    uint64_t hash = real ? tq_hash_bytes(0, real, strlen(real)) : 0;
    snprintf(name, sizeof name, "%.40s", a->name);
    for (char *p = name; *p; p++)
        if ((unsigned char)*p >= 128 || *p == '/' || *p <= ' ') *p = '_';
    if (slot > 1) snprintf(number, sizeof number, ".%d", slot);
    if (!real || !state || asprintf(&path, "%s/sessions/%s-%016" PRIx64 "%s.session", state, name, hash, number) < 0)
        path = NULL;
    free(real);
    free(state);
    return path;
}

static double changed_at(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 ? (double)st.st_mtim.tv_sec + 1e-9 * (double)st.st_mtim.tv_nsec : -1;
}

/* Of the sessions that no other program has: the one that was used last. */
static tq_keeper *claim_newest(tq_app *a, tq_err *err) {
    tq_keeper *best = NULL;
    double newest = -2;
    int others = 0;
    for (int slot = 1; slot <= SLOTS; slot++) {
        bool busy = false;
        tq_keeper *k = NULL;
        char *path = slot_path(a, slot);
        int rc = path ? tq_keeper_claim(path, &busy, &k, err) : tq_fail(err, "there is no directory for it");
        double at = path ? changed_at(path) : -1;
        free(path);
        others += busy;
        if (rc != TQ_OK && !busy) break;
        if (k && at > newest) {
            tq_keeper_close(best);
            best = k;
            newest = at;
        } else {
            tq_keeper_close(k);
        }
        if (at < 0 && !busy) break; /* the first that was never used */
    }
    if (best && others)
        tq_say(a, TQ_SAYS, "%d other tqexplore %s this model open: this session is kept apart from %s", others,
               others == 1 ? "has" : "have", others == 1 ? "its" : "theirs");
    return best;
}

/* Begins anew; a->keep.claimed becomes the keeper. */
static void begin(tq_app *a) {
    tq_err err;
    tq_keeper *k = a->keep.claimed;
    a->keep.claimed = NULL;
    tq_records_free(&a->keep.found);
    if (!k) return;
    if (tq_keeper_begin(k, &err) != TQ_OK) {
        tq_say(a, TQ_REFUSES, "the session is not kept: %s", err.msg);
        tq_keeper_close(k);
        return;
    }
    char hash[17], *text = NULL;
    char *real = realpath(tq_source_path(tq_model_source(a->model)), NULL);
    cJSON *o = cJSON_CreateObject();
    tq_source_hash(tq_model_source(a->model), hash);
    bool ok = o && tq_json_number(o, "format", TQ_KEEP_FORMAT) && tq_put_text(o, "version", TQ_VERSION) &&
              tq_put_text(o, "model", real ? real : tq_source_path(tq_model_source(a->model))) &&
              tq_put_text(o, "hash", hash) && tq_json_number(o, "matrices", (double)tq_model_matrices(a->model));
    if (ok) text = cJSON_PrintUnformatted(o);
    if (text && tq_keeper_put(k, TQ_KEEP_HEADER, text, &err) == TQ_OK) {
        a->keep.keeper = k;
    } else {
        tq_say(a, TQ_REFUSES, "the session is not kept: %s", text ? err.msg : "out of memory");
        tq_keeper_close(k);
    }
    cJSON_free(text);
    cJSON_Delete(o);
    free(real);
    tq_keep_now(a);
}

/* Renames the file, never over another; the new name in aside[]. */
static bool set_aside(const char *path, char *aside, size_t size) {
    char when[32];
    time_t now = time(NULL);
    struct tm tm;
    if (!localtime_r(&now, &tm) || strftime(when, sizeof when, "%Y%m%d-%H%M%S", &tm) == 0) return false;
    for (int i = 0; i < ASIDE_MAX; i++) {
        struct stat st;
        int n = i ? snprintf(aside, size, "%s.%s-%d", path, when, i) : snprintf(aside, size, "%s.%s", path, when);
        if (n < 0 || (size_t)n >= size) return false;
        if (lstat(aside, &st) != 0 && errno == ENOENT) return rename(path, aside) == 0;
    }
    return false;
}

static void begin_beside(tq_app *a, const char *what) {
    char aside[4096];
    if (!set_aside(tq_keeper_path(a->keep.claimed), aside, sizeof aside)) {
        tq_say(a, TQ_REFUSES, "the session is not kept: %s cannot be set aside", tq_keeper_path(a->keep.claimed));
        tq_keeper_close(a->keep.claimed);
        a->keep.claimed = NULL;
        return;
    }
    begin(a);
    tq_say(a, TQ_SAYS, "%s is kept: --session %s", what, aside);
}

/* Goes on with what was read of the claimed file. */
static void go_on(tq_app *a, tq_resumed *r) {
    tq_err err;
    tq_keeper *k = a->keep.claimed;
    put_back(a, &a->keep.found, r);
    a->keep.claimed = NULL;
    if (tq_keeper_continue(k, &a->keep.found, &err) == TQ_OK) {
        a->keep.keeper = k;
        tq_keep_now(a);
        return;
    }
    tq_say(a, TQ_REFUSES, "the session is not kept: %s", err.msg);
    tq_keeper_close(k);
}

static void resume(tq_app *a) {
    tq_resumed r;
    tq_err err;
    if (tq_resumed_read(a, tq_keeper_path(a->keep.claimed), &a->keep.found, &r, &err) == TQ_OK) {
        go_on(a, &r);
        tq_resumed_free(&r);
        return;
    }
    say_refused(a, &err);
    begin_beside(a, "it");
}

/* Is there anything that a person would miss? The question says what. */
static bool worth_asking(tq_app *a, const tq_resumed *r, const tq_records *f) {
    const cJSON *view = tq_records_get(f, "view"), *tune = tq_records_get(f, "tune");
    size_t named = 0, marks = (size_t)cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(view, "marked")),
           pins = (size_t)cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(tune, "pinned"));
    for (size_t i = 0; i < r->n_points; i++)
        named += r->points[i].named;
    if (r->n_states < 2 && r->n_points < 2 && !named && !r->n_turns && !marks && !pins) return false;
    time_t at = (time_t)changed_at(tq_keeper_path(a->keep.claimed));
    struct tm tm;
    char when[40] = "";
    if (localtime_r(&at, &tm)) (void)strftime(when, sizeof when, "%e %b %H:%M", &tm);
    snprintf(a->question, sizeof a->question, "of %s: %zu change%s, %zu plan%s, %zu chat line%s", when, r->n_states - 1,
             r->n_states == 2 ? "" : "s", r->n_points, r->n_points == 1 ? "" : "s", r->n_turns,
             r->n_turns == 1 ? "" : "s");
    return true;
}

static void look_into(tq_app *a, bool named) {
    tq_err err;
    tq_resumed r = {0};
    const char *path = tq_keeper_path(a->keep.claimed);
    int rc = tq_records_read(path, TQ_KEEP_HEADER, &a->keep.found, &err);
    if (rc == TQ_OK) rc = tq_resumed_read(a, path, &a->keep.found, &r, &err);
    bool worth = rc == TQ_OK && worth_asking(a, &r, &a->keep.found);
    /* Where the cursor stood is not worth a question. */
    bool unasked = !worth && a->options->resume == TQ_RESUME_ASK && !tq_options_has_plan(a->options);
    if (rc != TQ_OK) {
        say_refused(a, &err);
        if (!named) {
            begin_beside(a, "it");
        } else {
            tq_keeper_close(a->keep.claimed); /* a file that was named is left alone */
            a->keep.claimed = NULL;
        }
    } else if (named || a->options->resume == TQ_RESUME_YES || unasked) {
        go_on(a, &r);
    } else if (!worth) {
        (void)unlink(path);
        begin(a);
    } else if (a->options->resume == TQ_RESUME_NO) {
        begin_beside(a, "the former session");
    } else {
        a->overlay = TQ_OVER_RESUME;
    }
    tq_resumed_free(&r);
}

void tq_resume_look(tq_app *a) {
    tq_err err = {{0}};
    struct stat st;
    bool busy, named = a->options->session != NULL;
    if (named && stat(a->options->session, &st) != 0) {
        tq_say(a, TQ_REFUSES, "the session is not resumed: %s: %s", a->options->session, strerror(errno));
        named = false;
    }
    if (named && tq_keeper_claim(a->options->session, &busy, &a->keep.claimed, &err) != TQ_OK) say_refused(a, &err);
    if (!a->keep.claimed) {
        named = false;
        a->keep.claimed = claim_newest(a, &err);
    }
    if (!a->keep.claimed) {
        tq_say(a, TQ_REFUSES, "the session is not kept: %s", err.msg);
        return;
    }
    if (changed_at(tq_keeper_path(a->keep.claimed)) >= 0)
        look_into(a, named);
    else
        begin(a);
    if (!a->keep.claimed && !a->keep.keeper && named) { /* refused: this one has a file of its own */
        a->keep.claimed = claim_newest(a, &err);
        if (a->keep.claimed && changed_at(tq_keeper_path(a->keep.claimed)) < 0)
            begin(a);
        else if (a->keep.claimed)
            begin_beside(a, "the former session");
    }
}

void tq_resume_key(tq_app *a, int key) {
    if (key == 'q' || key == TQ_CTRL('c')) {
        a->quit = true; /* nothing was decided: it is asked again */
    } else if (key == 'r' || key == 'y' || key == TQ_KEY_ENTER) {
        a->overlay = TQ_OVER_NONE;
        resume(a);
    } else if (key == 'n') {
        a->overlay = TQ_OVER_NONE;
        begin_beside(a, "the former session");
    }
}

void tq_draw_resume(tq_app *a, tq_area at) {
    int w = 58;
    tq_area box = {at.y + (at.h - 6) / 2, at.x + (at.w - w) / 2, 6, w};
    tq_clear(&a->canvas, box);
    tq_frame(&a->canvas, box);
    int x = box.x + 2, end = box.x + w - 2;
    tq_put(&a->canvas, box.y, x, end, TQ_ST_TITLE, " A session of this model ");
    tq_put(&a->canvas, box.y + 1, x, end, TQ_ST_NORMAL, a->question);
    tq_put(&a->canvas, box.y + 3, x, end, TQ_ST_KEY, "r");
    tq_put(&a->canvas, box.y + 3, x + 3, end, TQ_ST_NORMAL, "resume it");
    tq_put(&a->canvas, box.y + 3, x + 18, end, TQ_ST_KEY, "n");
    tq_put(&a->canvas, box.y + 3, x + 21, end, TQ_ST_NORMAL, "new; it is kept aside");
    tq_put(&a->canvas, box.y + 3, x + 47, end, TQ_ST_KEY, "q");
    tq_put(&a->canvas, box.y + 3, x + 49, end, TQ_ST_NORMAL, "quit");
}
