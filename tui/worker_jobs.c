/* worker_jobs.c - what the worker's thread does with the session: open, quantize, evaluate, inspect, and what is asked.
 *
 * Only the thread runs this; what the screen reads is written with the mutex held. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "kernels/kernels.h"

#include "tui/worker_internal.h"

enum { COARSE_TOKENS = 1024 };

static void report(void *ctx, double done, double total) {
    tq_worker *w = ctx;
    pthread_mutex_lock(&w->mutex);
    w->status.done = done;
    w->status.total = total;
    pthread_mutex_unlock(&w->mutex);
    tq_worker_wake(w);
}

tq_progress tq_work_progress(tq_worker *w) {
    return (tq_progress){report, w, &w->cancel};
}

/* --- opening --- */

/* What the main text is, with the mutex held. */
static void note_main_text(tq_worker *w) {
    tq_status *s = &w->status;
    const char *name = tq_session_text_name(w->session);
    s->text_read = true;
    s->text_tokens = name ? tq_session_text_tokens(w->session) : 0;
    snprintf(s->text_name, sizeof s->text_name, "%s", name ? name : "");
    snprintf(s->text_hash, sizeof s->text_hash, "%s", tq_session_text_hash(w->session));
    tq_work_list_texts(w);
}

static void load_first_text(tq_worker *w) {
    tq_err err;
    int rc = tq_options_text(w->options, w->session, &err);
    pthread_mutex_lock(&w->mutex);
    note_main_text(w);
    pthread_mutex_unlock(&w->mutex);
    tq_worker_post(w, tq_worker_event(TQ_JOB_TEXT, rc, &err));
}

static bool open_session(tq_worker *w) {
    tq_err err;
    int rc = tq_options_open(w->options, &w->session, &err);
    tq_measured *measured = NULL;
    tq_felt *felt = NULL;
    tq_plan *plan = NULL;
    char *note = NULL;
    if (rc == TQ_OK) rc = tq_options_tuning(w->options, w->session, &err);
    if (rc == TQ_OK) {
        size_t n = tq_model_matrices(tq_session_model(w->session));
        measured = calloc(n + 1, sizeof *measured);
        felt = calloc(n + 1, sizeof *felt);
        plan = tq_plan_copy(tq_session_plan(w->session));
        note = strdup(tq_session_note(w->session));
        if (!measured || !felt || !plan || !note) rc = tq_fail(&err, "%s: out of memory", w->options->model);
    }
    pthread_mutex_lock(&w->mutex);
    w->first_plan = plan;
    w->measured = measured;
    w->felt = felt;
    w->note = note;
    if (rc == TQ_OK) {
        w->model = tq_session_model(w->session);
        w->tokenizer = tq_session_tokenizer(w->session);
        w->can_think = tq_session_chat(w->session) && tq_chat_can_think(tq_session_chat(w->session));
        w->status.kernels = tq_k()->name;
        w->status.threads = tq_pool_threads(tq_session_pool(w->session));
        w->opened = true;
        w->to_apply = true;
    } else {
        w->open_err = err;
        w->failed = true;
    }
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->mutex);
    return rc == TQ_OK;
}

bool tq_work_open(tq_worker *w) {
    if (!open_session(w)) return false;
    load_first_text(w);
    tq_work_first_texts(w);
    tq_work_first_questions(w);
    return true;
}

/* --- plan and evaluation --- */

static void publish_measured(tq_worker *w, size_t i) { /* with the mutex held */
    tq_matrix_figures f = tq_session_figures(w->session, i);
    if (!f.ready) return;
    w->measured[i] = (tq_measured){true, tq_plan_spec(tq_session_plan(w->session), i), f};
}

static void after_matrix(void *ctx, size_t matrix) {
    tq_worker *w = ctx;
    pthread_mutex_lock(&w->mutex);
    publish_measured(w, matrix);
    pthread_mutex_unlock(&w->mutex);
    tq_worker_wake(w);
}

int tq_work_sync_plan(tq_worker *w, tq_err *err) {
    pthread_mutex_lock(&w->mutex);
    tq_plan *plan = w->plan;
    uint64_t serial = w->plan_serial;
    w->plan = NULL;
    pthread_mutex_unlock(&w->mutex);
    if (!plan) return TQ_OK;
    int rc = tq_session_set_plan(w->session, plan, err);
    tq_plan_free(plan);
    if (rc == TQ_OK) w->session_serial = serial;
    return rc;
}

static int apply(tq_worker *w, tq_err *err) {
    tq_progress p = tq_work_progress(w);
    int rc = tq_session_apply(w->session, &p, after_matrix, w, err);
    pthread_mutex_lock(&w->mutex);
    for (size_t i = 0; i < tq_model_matrices(w->model); i++)
        publish_measured(w, i);
    w->status.flattered = tq_session_calibrates_on_text(w->session);
    pthread_mutex_unlock(&w->mutex);
    tq_worker_wake(w);
    return rc;
}

void tq_work_apply(tq_worker *w) {
    tq_err err;
    int rc = tq_work_sync_plan(w, &err);
    if (rc == TQ_OK) rc = apply(w, &err);
    pthread_mutex_lock(&w->mutex);
    if (rc == TQ_CANCELLED && !w->to_apply) w->to_apply = !w->status.cancelling; /* interrupted, not given up */
    if (rc == TQ_OK && !w->to_apply) {
        w->to_coarse = w->to_fine = w->status.text_tokens > 1;
        w->to_ask = !w->to_fine; /* else after the evaluation */
    }
    pthread_mutex_unlock(&w->mutex);
    if (rc == TQ_FAIL) tq_worker_post(w, tq_worker_event(TQ_JOB_APPLY, rc, &err));
}

static void publish_eval(tq_worker *w, const tq_eval_result *r, bool running) {
    pthread_mutex_lock(&w->mutex);
    /* The first windows of the fine evaluation say less than the whole coarse one. */
    if (!running || w->status.eval_serial != w->session_serial || r->tokens >= w->status.eval.tokens) {
        w->status.eval = *r;
        w->status.eval_serial = w->session_serial;
        w->status.eval_running = running;
    }
    pthread_mutex_unlock(&w->mutex);
    tq_worker_wake(w);
}

static void partial(void *ctx, const tq_eval_result *r) {
    tq_worker *w = ctx;
    if (r->tokens > 0) publish_eval(w, r, true);
}

static size_t tokens_of(const tq_eval_options *o, size_t text_tokens) {
    return o->tokens && o->tokens < text_tokens ? o->tokens : text_tokens;
}

void tq_work_eval(tq_worker *w, bool coarse) {
    tq_err err;
    tq_eval_result result = {0};
    pthread_mutex_lock(&w->mutex);
    tq_eval_options o = w->eval;
    size_t all = tokens_of(&o, w->status.text_tokens);
    if (o.ctx > w->status.text_tokens) o.ctx = w->status.text_tokens;
    bool skip = coarse && all / 2 <= COARSE_TOKENS; /* the fine one is as quick */
    if (coarse) o.tokens = COARSE_TOKENS > o.ctx ? COARSE_TOKENS : o.ctx;
    w->status.eval_goal = all;
    pthread_mutex_unlock(&w->mutex);
    if (skip) return;
    tq_progress p = tq_work_progress(w);
    int rc = tq_session_eval(w->session, &o, &p, partial, w, &result, &err);
    if (rc == TQ_OK) publish_eval(w, &result, coarse);
    if (rc == TQ_OK && !coarse) {
        tq_work_note_main_text(w);
        tq_work_tell_worst(w);
    }
    pthread_mutex_lock(&w->mutex);
    if (rc == TQ_CANCELLED && !w->status.cancelling && !w->to_apply) {
        if (coarse) w->to_coarse = true;
        w->to_fine = true;
    } else if (rc != TQ_OK) {
        w->to_coarse = w->to_fine = false;
        w->status.eval_running = false;
    }
    if (rc == TQ_OK && !coarse) {
        w->to_texts = w->status.n_texts > 1;
        w->to_ask = true;
    }
    bool given_up = rc == TQ_CANCELLED && w->status.cancelling;
    pthread_mutex_unlock(&w->mutex);
    if (rc == TQ_FAIL || given_up) tq_worker_post(w, tq_worker_event(TQ_JOB_EVAL, rc, &err));
}

/* --- inspect --- */

static void post_inspected(tq_worker *w, const tq_inspected *found) {
    tq_event *e = tq_worker_event(TQ_JOB_INSPECT, TQ_OK, NULL);
    if (!e) return;
    e->inspected = malloc(sizeof *found);
    if (e->inspected) *e->inspected = *found;
    tq_worker_post(w, e);
}

void tq_work_inspect(tq_worker *w) {
    tq_err err;
    if (tq_work_sync_plan(w, &err) != TQ_OK) return;
    pthread_mutex_lock(&w->mutex);
    tq_inspected found = {.matrix = w->inspect, .group = w->inspect_group, .common = w->inspect_common};
    w->inspect = SIZE_MAX;
    pthread_mutex_unlock(&w->mutex);
    if (found.matrix == SIZE_MAX) return;
    if (tq_session_inspect(w->session, found.matrix, &found.histogram, &err) == TQ_OK) {
        found.has_histogram = true;
        post_inspected(w, &found);
    }
    for (int bits = 0; bits < TQ_BITS_COUNT && !atomic_load(&w->cancel); bits++) {
        tq_choice c = {(tq_bits)bits, found.group};
        found.known[bits] = tq_session_try(w->session, found.matrix, c, &found.figures[bits], &err) == TQ_OK;
    }
    post_inspected(w, &found);
}

/* --- what is asked --- */

static bool answer_piece(void *ctx, const char *text, size_t bytes) {
    tq_worker *w = ctx;
    tq_event *e = tq_worker_event(TQ_JOB_CHAT, TQ_OK, NULL);
    if (e) e->text = strndup(text, bytes);
    tq_worker_post(w, e);
    return !atomic_load(&w->cancel);
}

static void run_chat(tq_worker *w, const tq_request *r, tq_event *e) {
    tq_progress p = tq_work_progress(w);
    e->rc = r->chat.base ? TQ_OK : apply(w, &e->err);
    if (e->rc == TQ_OK)
        e->rc =
            tq_session_answer(w->session, r->messages, r->n, &r->chat, &p, answer_piece, w, NULL, &e->stats, &e->err);
    if (e->rc == TQ_OK && atomic_load(&w->cancel)) e->rc = TQ_CANCELLED;
    e->ended = true;
}

static void run_text(tq_worker *w, const tq_request *r, tq_event *e) {
    e->rc = tq_session_load_text(w->session, r->path, &e->err);
    if (e->rc != TQ_OK) return;
    pthread_mutex_lock(&w->mutex);
    note_main_text(w);
    w->status.eval.tokens = 0;
    w->status.flattered = tq_session_calibrates_on_text(w->session);
    w->to_coarse = w->to_fine = w->status.text_tokens > 1;
    memset(w->felt, 0, tq_model_matrices(w->model) * sizeof *w->felt);
    pthread_mutex_unlock(&w->mutex);
}

static void run_load(tq_worker *w, const tq_request *r, tq_event *e) {
    e->rc = tq_session_load_plan(w->session, r->path, &e->err);
    if (e->rc == TQ_OK) e->plan = tq_plan_copy(tq_session_plan(w->session));
    if (e->rc == TQ_OK && !e->plan) e->rc = tq_fail(&e->err, "%s: out of memory", r->path);
}

static void run_write(tq_worker *w, const tq_request *r, tq_event *e) {
    tq_progress p = tq_work_progress(w);
    struct stat st;
    bool export = r->job == TQ_JOB_EXPORT;
    e->rc = export ? tq_export_check(r->format, tq_session_plan(w->session), &e->err) : TQ_OK;
    if (e->rc != TQ_OK) return;
    e->exists = !r->force && lstat(r->path, &st) == 0;
    if (e->exists)
        e->rc = tq_fail(&e->err, "%s exists", r->path);
    else if ((e->rc = apply(w, &e->err)) == TQ_OK)
        e->rc = export ? tq_session_export(w->session, r->format, r->path, r->force, &p, &e->err)
                       : tq_session_save_plan(w->session, r->path, r->force, &e->err);
    if (export) e->note = tq_export_note(r->format, tq_session_plan(w->session));
    e->serial = w->session_serial;
}

void tq_work_request(tq_worker *w, const tq_request *r) {
    tq_event *e = tq_worker_event(r->job, TQ_OK, NULL);
    if (!e) return;
    snprintf(e->path, sizeof e->path, "%s", r->path);
    e->tag = r->tag;
    e->rc = tq_work_sync_plan(w, &e->err);
    if (e->rc == TQ_OK) switch (r->job) {
        case TQ_JOB_CHAT:
            run_chat(w, r, e);
            break;
        case TQ_JOB_TEXT:
            run_text(w, r, e);
            break;
        case TQ_JOB_LOAD:
            run_load(w, r, e);
            break;
        case TQ_JOB_READ_QUESTIONS:
            e->rc = tq_work_read_questions(w, r->path, &e->err);
            break;
        case TQ_JOB_ADD_TEXT:
            e->rc = tq_work_add_text(w, r->path, &e->err);
            break;
        case TQ_JOB_ANSWERS:
            tq_work_answers(w, r, e);
            break;
        case TQ_JOB_EXPLAIN:
            tq_work_explain(w, r, e);
            break;
        default:
            run_write(w, r, e);
            break;
        }
    e->ended = true;
    tq_worker_post(w, e);
}
