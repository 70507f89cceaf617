/* worker.c - the thread that owns the session: its life, what it does next, and what the screen calls. The work itself
 * is in worker_jobs.c. */
#include "tui/worker_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *tq_job_name(tq_job job) {
    static const char *const names[TQ_JOB_COUNT] = {
        "",          "opening",    "reading text",     "quantizing",        "evaluating", "measuring",
        "answering", "saving",     "loading",          "exporting",         "measuring",  "comparing",
        "answering", "explaining", "asking questions", "reading questions", "evaluating", "reading text"};
    return job < TQ_JOB_COUNT ? names[job] : "";
}

bool tq_job_background(tq_job job) {
    return job == TQ_JOB_APPLY || job == TQ_JOB_EVAL || job == TQ_JOB_INSPECT || job == TQ_JOB_SWEEP ||
           job == TQ_JOB_COMPARE || job == TQ_JOB_ASK || job == TQ_JOB_TEXTS;
}

void tq_event_free(tq_event *e) {
    if (!e) return;
    tq_plan_free(e->plan);
    free(e->text);
    free(e->inspected);
    tq_costs_free(e->costs);
    tq_worst_list_free(e->worst);
    tq_comparison_free(e->comparison);
    tq_explanation_free(e->explanation);
    free(e);
}

void tq_request_free(tq_request *r) {
    if (!r) return;
    for (size_t i = 0; i < r->n; i++) {
        free((char *)r->messages[i].role);
        free((char *)r->messages[i].text);
    }
    free(r->messages);
    tq_plan_free(r->plan[0]);
    tq_plan_free(r->plan[1]);
    free(r->ids);
    free(r);
}

/* The pipe is full only when the screen has been told already. */
void tq_worker_wake(tq_worker *w) {
    ssize_t n = write(w->wake[1], "", 1);
    (void)n;
}

void tq_worker_post(tq_worker *w, tq_event *e) {
    if (!e) return;
    pthread_mutex_lock(&w->mutex);
    *w->events_end = e;
    w->events_end = &e->next;
    pthread_mutex_unlock(&w->mutex);
    tq_worker_wake(w);
}

tq_event *tq_worker_event(tq_job job, int rc, const tq_err *err) {
    tq_event *e = calloc(1, sizeof *e);
    if (!e) return NULL;
    e->job = job;
    e->rc = rc;
    if (rc != TQ_OK && err) e->err = *err;
    return e;
}

static void begin(tq_worker *w, tq_job job) { /* with the mutex held */
    w->status.job = job;
    w->status.done = w->status.total = 0;
    w->status.started = tq_now();
    w->status.cancelling = false;
    atomic_store(&w->cancel, w->quit);
    tq_worker_wake(w);
}

/* --- the thread --- */

/* Takes what is to be done next, with the mutex held. */
static tq_job next_job(tq_worker *w, tq_request **r, bool *coarse) {
    *r = w->requests;
    if (*r) {
        w->requests = (*r)->next;
        if (!w->requests) w->requests_end = &w->requests;
        return (*r)->job;
    }
    if (w->to_apply) {
        w->to_apply = false;
        return TQ_JOB_APPLY;
    }
    if (w->inspect != SIZE_MAX) return TQ_JOB_INSPECT;
    *coarse = w->to_coarse;
    if (w->to_coarse) {
        w->to_coarse = false;
        return TQ_JOB_EVAL;
    }
    if (w->to_fine) {
        w->to_fine = false;
        return TQ_JOB_EVAL;
    }
    if (w->uniform) return TQ_JOB_COMPARE;
    if (w->to_texts) return TQ_JOB_TEXTS;
    if (w->to_sweep) return TQ_JOB_SWEEP;
    if (w->to_ask) return TQ_JOB_ASK;
    return TQ_JOB_NONE;
}

static void *work(void *arg) {
    tq_worker *w = arg;
    if (!tq_work_open(w)) return NULL;
    pthread_mutex_lock(&w->mutex);
    for (;;) {
        tq_request *r = NULL;
        bool coarse = false;
        if (w->quit) break;
        tq_job job = next_job(w, &r, &coarse);
        if (job != w->status.job || job != TQ_JOB_NONE) begin(w, job);
        if (job == TQ_JOB_NONE) {
            pthread_cond_wait(&w->changed, &w->mutex);
            continue;
        }
        pthread_mutex_unlock(&w->mutex);
        if (r)
            tq_work_request(w, r);
        else if (job == TQ_JOB_APPLY)
            tq_work_apply(w);
        else if (job == TQ_JOB_INSPECT)
            tq_work_inspect(w);
        else if (job == TQ_JOB_SWEEP)
            tq_work_sweep(w);
        else if (job == TQ_JOB_COMPARE)
            tq_work_compare(w);
        else if (job == TQ_JOB_TEXTS)
            tq_work_texts(w);
        else if (job == TQ_JOB_ASK)
            tq_work_ask(w);
        else
            tq_work_eval(w, coarse);
        tq_request_free(r);
        pthread_mutex_lock(&w->mutex);
    }
    pthread_mutex_unlock(&w->mutex);
    return NULL;
}

tq_worker *tq_worker_start(const tq_options *o, tq_err *err) {
    tq_worker *w = calloc(1, sizeof *w);
    if (!w) {
        (void)tq_fail(err, "out of memory");
        return NULL;
    }
    w->options = o;
    w->session_serial = TQ_SERIAL_FIRST;
    w->eval = o->eval;
    w->inspect = SIZE_MAX;
    w->events_end = &w->events;
    w->requests_end = &w->requests;
    w->status.job = TQ_JOB_OPEN;
    w->status.started = tq_now();
    atomic_init(&w->cancel, false);
    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->changed, NULL);
    if (pipe2(w->wake, O_NONBLOCK | O_CLOEXEC) != 0) {
        (void)tq_fail(err, "no pipe: %s", strerror(errno));
        free(w);
        return NULL;
    }
    /* Signals are the screen's: the thread, and the threads that it starts, take none. */
    sigset_t all, before;
    sigfillset(&all);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGILL);
    sigdelset(&all, SIGABRT);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&w->thread, NULL, work, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed) {
        (void)tq_fail(err, "no thread: %s", strerror(failed));
        close(w->wake[0]);
        close(w->wake[1]);
        free(w);
        return NULL;
    }
    return w;
}

void tq_worker_stop(tq_worker *w) {
    if (!w) return;
    pthread_mutex_lock(&w->mutex);
    w->quit = true;
    atomic_store(&w->cancel, true);
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->mutex);
    pthread_join(w->thread, NULL);
    tq_questions_free(w->questions);
    tq_session_close(w->session);
    for (tq_event *e = w->events, *next; e; e = next) {
        next = e->next;
        tq_event_free(e);
    }
    for (tq_request *r = w->requests, *next; r; r = next) {
        next = r->next;
        tq_request_free(r);
    }
    tq_plan_free(w->plan);
    tq_plan_free(w->first_plan);
    tq_plan_free(w->uniform);
    free(w->measured);
    free(w->felt);
    free(w->note);
    close(w->wake[0]);
    close(w->wake[1]);
    pthread_mutex_destroy(&w->mutex);
    pthread_cond_destroy(&w->changed);
    free(w);
}

/* --- called by the screen --- */

int tq_worker_fd(const tq_worker *w) {
    return w->wake[0];
}

bool tq_worker_can_think(tq_worker *w) {
    pthread_mutex_lock(&w->mutex);
    bool can = w->can_think;
    pthread_mutex_unlock(&w->mutex);
    return can;
}

int tq_worker_wait_open(tq_worker *w, const tq_model **model, const tq_tokenizer **tok, tq_plan **plan, char **note,
                        tq_err *err) {
    pthread_mutex_lock(&w->mutex);
    while (!w->opened && !w->failed)
        pthread_cond_wait(&w->changed, &w->mutex);
    *model = w->model;
    *tok = w->tokenizer;
    *plan = w->opened ? w->first_plan : NULL;
    *note = w->opened ? w->note : NULL;
    if (w->opened) {
        w->first_plan = NULL;
        w->note = NULL;
    }
    if (w->failed && err) *err = w->open_err;
    bool ok = w->opened;
    pthread_mutex_unlock(&w->mutex);
    return ok ? TQ_OK : TQ_FAIL;
}

tq_event *tq_worker_snapshot(tq_worker *w, tq_status *status, tq_measured *measured, tq_felt *felt) {
    char sink[256];
    while (read(w->wake[0], sink, sizeof sink) > 0) {
    }
    pthread_mutex_lock(&w->mutex);
    *status = w->status;
    status->asked = w->requests ? w->requests->job : TQ_JOB_NONE;
    memcpy(measured, w->measured, tq_model_matrices(w->model) * sizeof *measured);
    memcpy(felt, w->felt, tq_model_matrices(w->model) * sizeof *felt);
    tq_event *events = w->events;
    w->events = NULL;
    w->events_end = &w->events;
    pthread_mutex_unlock(&w->mutex);
    return events;
}

static void interrupt_background(tq_worker *w) { /* with the mutex held */
    if (tq_job_background(w->status.job)) atomic_store(&w->cancel, true);
    pthread_cond_broadcast(&w->changed);
}

void tq_worker_want_plan(tq_worker *w, tq_plan *plan, uint64_t serial) {
    pthread_mutex_lock(&w->mutex);
    tq_plan_free(w->plan);
    w->plan = plan;
    w->plan_serial = serial;
    w->to_apply = true;
    w->to_coarse = w->to_fine = w->to_texts = w->to_ask = false;
    tq_plan_free(w->uniform);
    w->uniform = NULL;
    interrupt_background(w);
    pthread_mutex_unlock(&w->mutex);
}

void tq_worker_want_sweep(tq_worker *w) {
    pthread_mutex_lock(&w->mutex);
    w->to_sweep = true;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->mutex);
}

void tq_worker_want_compare(tq_worker *w, tq_plan *plan, uint64_t serial) {
    pthread_mutex_lock(&w->mutex);
    tq_plan_free(w->uniform);
    w->uniform = plan;
    w->uniform_serial = serial;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->mutex);
}

void tq_worker_want_eval(tq_worker *w, size_t ctx, size_t tokens, bool score_half) {
    pthread_mutex_lock(&w->mutex);
    w->eval = (tq_eval_options){.ctx = ctx, .tokens = tokens, .score_half = score_half};
    w->status.eval.tokens = 0;
    w->to_texts = false;
    for (size_t i = 0; i < TQ_TEXTS_MAX; i++)
        w->status.texts[i].figures.known = false;
    w->to_apply = true; /* and the evaluation after it */
    interrupt_background(w);
    pthread_mutex_unlock(&w->mutex);
}

void tq_worker_inspect(tq_worker *w, size_t matrix, size_t group, uint64_t common) {
    pthread_mutex_lock(&w->mutex);
    w->inspect = matrix;
    w->inspect_group = group;
    w->inspect_common = common;
    if (matrix != SIZE_MAX && w->status.job != TQ_JOB_APPLY) interrupt_background(w);
    pthread_mutex_unlock(&w->mutex);
}

tq_request *tq_request_new(tq_job job, const char *path) {
    tq_request *r = calloc(1, sizeof *r);
    if (!r) return NULL;
    r->job = job;
    snprintf(r->path, sizeof r->path, "%s", path ? path : "");
    return r;
}

void tq_worker_ask(tq_worker *w, tq_request *r) {
    if (!r) return;
    pthread_mutex_lock(&w->mutex);
    *w->requests_end = r;
    w->requests_end = &r->next;
    interrupt_background(w);
    pthread_mutex_unlock(&w->mutex);
}

void tq_worker_chat(tq_worker *w, const tq_message *messages, size_t n, const tq_chat_options *o) {
    tq_request *r = tq_request_new(TQ_JOB_CHAT, NULL);
    if (!r) return;
    r->chat = *o;
    r->messages = calloc(n + 1, sizeof *r->messages);
    for (size_t i = 0; r->messages && i < n; i++) {
        r->messages[i] = (tq_message){strdup(messages[i].role), strdup(messages[i].text)};
        r->n = i + 1;
        if (!r->messages[i].role || !r->messages[i].text) break;
    }
    if (!r->messages || (n && (!r->messages[r->n - 1].role || !r->messages[r->n - 1].text))) {
        tq_request_free(r);
        return;
    }
    tq_worker_ask(w, r);
}

void tq_worker_text(tq_worker *w, const char *path) {
    tq_worker_ask(w, tq_request_new(TQ_JOB_TEXT, path));
}

void tq_worker_load(tq_worker *w, const char *path) {
    tq_worker_ask(w, tq_request_new(TQ_JOB_LOAD, path));
}

void tq_worker_save(tq_worker *w, const char *path, bool force) {
    tq_request *r = tq_request_new(TQ_JOB_SAVE, path);
    if (r) r->force = force;
    tq_worker_ask(w, r);
}

void tq_worker_export(tq_worker *w, tq_export_format f, const char *path, bool force) {
    tq_request *r = tq_request_new(TQ_JOB_EXPORT, path);
    if (!r) return;
    r->format = f;
    r->force = force;
    tq_worker_ask(w, r);
}

void tq_worker_cancel(tq_worker *w) {
    pthread_mutex_lock(&w->mutex);
    /* What the background was interrupted for is forgotten: it goes on. */
    if (w->status.job != TQ_JOB_NONE && !(w->requests && tq_job_background(w->status.job))) {
        w->status.cancelling = true;
        atomic_store(&w->cancel, true);
    }
    tq_request *r = w->requests;
    w->requests = NULL;
    w->requests_end = &w->requests;
    bool answering = w->status.job == TQ_JOB_CHAT; /* whose end is told by itself, and ends all questions */
    pthread_mutex_unlock(&w->mutex);
    for (tq_request *next; r; r = next) {
        next = r->next;
        tq_event *e = r->job == TQ_JOB_CHAT && answering ? NULL : tq_worker_event(r->job, TQ_CANCELLED, NULL);
        if (e) {
            e->ended = true;
            e->tag = r->tag;
        }
        tq_worker_post(w, e);
        tq_request_free(r);
    }
}
