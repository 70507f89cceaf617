/* worker.c - the thread that owns the session. */
#include "tui/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { COARSE_TOKENS = 1024 };

/* Something that was asked for. */
typedef struct request {
    struct request *next;
    tq_job job;
    char path[512];
    tq_export_format format;
    bool force;
    tq_message *messages; /* [n], strings owned */
    size_t n;
    tq_chat_options chat;
} request;

struct tq_worker {
    const tq_options *options;
    tq_session *session; /* the thread's alone */
    uint64_t session_serial;
    tq_eval_options eval_now; /* the options of the evaluation that runs: the thread's alone */

    pthread_t thread;
    pthread_mutex_t mutex; /* guards everything below but cancel and wake */
    pthread_cond_t changed;
    int wake[2];
    atomic_bool cancel;
    bool quit;

    bool opened, failed;
    tq_err open_err;
    const tq_model *model;
    const tq_tokenizer *tokenizer;
    tq_plan *first_plan;
    char *note;

    tq_status status;
    tq_measured *measured; /* [matrices] */
    tq_event *events, **events_end;

    tq_plan *plan; /* wanted, NULL once the session has it */
    uint64_t plan_serial;
    bool to_apply, to_coarse, to_fine;
    tq_eval_options eval;
    size_t inspect; /* SIZE_MAX: none */
    size_t inspect_group;
    uint64_t inspect_common;
    request *requests, **requests_end;
};

const char *tq_job_name(tq_job job) {
    static const char *const names[TQ_JOB_COUNT] = {"",           "opening",   "reading text", "quantizing",
                                                    "evaluating", "measuring", "answering",    "saving",
                                                    "loading",    "exporting"};
    return job < TQ_JOB_COUNT ? names[job] : "";
}

void tq_event_free(tq_event *e) {
    if (!e) return;
    tq_plan_free(e->plan);
    free(e->text);
    free(e->inspected);
    free(e);
}

static void request_free(request *r) {
    if (!r) return;
    for (size_t i = 0; i < r->n; i++) {
        free((char *)r->messages[i].role);
        free((char *)r->messages[i].text);
    }
    free(r->messages);
    free(r);
}

/* The pipe is full only when the screen has been told already. */
static void wake_screen(tq_worker *w) {
    ssize_t n = write(w->wake[1], "", 1);
    (void)n;
}

static void post_event(tq_worker *w, tq_event *e) {
    if (!e) return;
    pthread_mutex_lock(&w->mutex);
    *w->events_end = e;
    w->events_end = &e->next;
    pthread_mutex_unlock(&w->mutex);
    wake_screen(w);
}

static tq_event *new_event(tq_job job, int rc, const tq_err *err) {
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
    wake_screen(w);
}

static void report(void *ctx, double done, double total) {
    tq_worker *w = ctx;
    pthread_mutex_lock(&w->mutex);
    w->status.done = done;
    w->status.total = total;
    pthread_mutex_unlock(&w->mutex);
    wake_screen(w);
}

static tq_progress progress_of(tq_worker *w) {
    return (tq_progress){report, w, &w->cancel};
}

/* --- opening --- */

static void load_first_text(tq_worker *w) {
    tq_err err;
    int rc = tq_options_text(w->options, w->session, &err);
    pthread_mutex_lock(&w->mutex);
    const char *name = tq_session_text_name(w->session);
    w->status.text_tokens = name ? tq_session_text_tokens(w->session) : 0;
    snprintf(w->status.text_name, sizeof w->status.text_name, "%s", name ? name : "");
    pthread_mutex_unlock(&w->mutex);
    post_event(w, new_event(TQ_JOB_TEXT, rc, &err));
}

static bool open_session(tq_worker *w) {
    tq_err err;
    int rc = tq_options_open(w->options, &w->session, &err);
    tq_measured *measured = NULL;
    tq_plan *plan = NULL;
    char *note = NULL;
    if (rc == TQ_OK) {
        measured = calloc(tq_model_matrices(tq_session_model(w->session)) + 1, sizeof *measured);
        plan = tq_plan_copy(tq_session_plan(w->session));
        note = strdup(tq_session_note(w->session));
        if (!measured || !plan || !note) rc = tq_fail(&err, "%s: out of memory", w->options->model);
    }
    pthread_mutex_lock(&w->mutex);
    w->first_plan = plan;
    w->measured = measured;
    w->note = note;
    if (rc == TQ_OK) {
        w->model = tq_session_model(w->session);
        w->tokenizer = tq_session_tokenizer(w->session);
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

/* --- plan and evaluation --- */

static void publish_measured(tq_worker *w, size_t i) { /* with the mutex held */
    tq_matrix_figures f = tq_session_figures(w->session, i);
    if (!f.ready) return;
    w->measured[i] = (tq_measured){true, tq_plan_spec(tq_session_plan(w->session), i), f.distortion};
}

static void after_matrix(void *ctx, size_t matrix) {
    tq_worker *w = ctx;
    pthread_mutex_lock(&w->mutex);
    publish_measured(w, matrix);
    pthread_mutex_unlock(&w->mutex);
    wake_screen(w);
}

/* The session gets the newest plan. */
static int sync_plan(tq_worker *w, tq_err *err) {
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
    tq_progress p = progress_of(w);
    int rc = tq_session_apply(w->session, &p, after_matrix, w, err);
    pthread_mutex_lock(&w->mutex);
    for (size_t i = 0; i < tq_model_matrices(w->model); i++)
        publish_measured(w, i);
    pthread_mutex_unlock(&w->mutex);
    wake_screen(w);
    return rc;
}

static void run_apply(tq_worker *w) {
    tq_err err;
    int rc = sync_plan(w, &err);
    if (rc == TQ_OK) rc = apply(w, &err);
    pthread_mutex_lock(&w->mutex);
    if (rc == TQ_CANCELLED && !w->to_apply) w->to_apply = !w->status.cancelling; /* interrupted, not given up */
    if (rc == TQ_OK && !w->to_apply) w->to_coarse = w->to_fine = w->status.text_tokens > 1;
    pthread_mutex_unlock(&w->mutex);
    if (rc == TQ_FAIL) post_event(w, new_event(TQ_JOB_APPLY, rc, &err));
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
    wake_screen(w);
}

static void partial(void *ctx, const tq_eval_result *r) {
    tq_worker *w = ctx;
    if (r->tokens > 0) publish_eval(w, r, true);
}

static size_t tokens_of(const tq_eval_options *o, size_t text_tokens) {
    return o->tokens && o->tokens < text_tokens ? o->tokens : text_tokens;
}

static void run_eval(tq_worker *w, bool coarse) {
    tq_err err;
    tq_eval_result result = {0};
    pthread_mutex_lock(&w->mutex);
    tq_eval_options o = w->eval;
    size_t all = tokens_of(&o, w->status.text_tokens);
    if (o.ctx > w->status.text_tokens) o.ctx = w->status.text_tokens;
    bool skip = coarse && all <= 2 * COARSE_TOKENS; /* the fine one is as quick */
    if (coarse) o.tokens = COARSE_TOKENS > o.ctx ? COARSE_TOKENS : o.ctx;
    w->status.eval_goal = all;
    pthread_mutex_unlock(&w->mutex);
    if (skip) return;
    tq_progress p = progress_of(w);
    int rc = tq_session_eval(w->session, &o, &p, partial, w, &result, &err);
    if (rc == TQ_OK) publish_eval(w, &result, coarse);
    pthread_mutex_lock(&w->mutex);
    if (rc == TQ_CANCELLED && !w->status.cancelling && !w->to_apply) {
        if (coarse) w->to_coarse = true;
        w->to_fine = true;
    } else if (rc != TQ_OK) {
        w->to_coarse = w->to_fine = false;
        w->status.eval_running = false;
    }
    bool given_up = rc == TQ_CANCELLED && w->status.cancelling;
    pthread_mutex_unlock(&w->mutex);
    if (rc == TQ_FAIL || given_up) post_event(w, new_event(TQ_JOB_EVAL, rc, &err));
}

/* --- inspect --- */

static void post_inspected(tq_worker *w, const tq_inspected *found) {
    tq_event *e = new_event(TQ_JOB_INSPECT, TQ_OK, NULL);
    if (!e) return;
    e->inspected = malloc(sizeof *found);
    if (e->inspected) *e->inspected = *found;
    post_event(w, e);
}

static void run_inspect(tq_worker *w) {
    tq_err err;
    if (sync_plan(w, &err) != TQ_OK) return;
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
    tq_event *e = new_event(TQ_JOB_CHAT, TQ_OK, NULL);
    if (e) e->text = strndup(text, bytes);
    post_event(w, e);
    return !atomic_load(&w->cancel);
}

static void run_chat(tq_worker *w, const request *r, tq_event *e) {
    tq_progress p = progress_of(w);
    e->rc = r->chat.base ? TQ_OK : apply(w, &e->err);
    if (e->rc == TQ_OK)
        e->rc =
            tq_session_answer(w->session, r->messages, r->n, &r->chat, &p, answer_piece, w, NULL, &e->stats, &e->err);
    if (e->rc == TQ_OK && atomic_load(&w->cancel)) e->rc = TQ_CANCELLED;
    e->ended = true;
}

static void run_text(tq_worker *w, const request *r, tq_event *e) {
    e->rc = tq_session_load_text(w->session, r->path, &e->err);
    if (e->rc != TQ_OK) return;
    const char *name = tq_session_text_name(w->session);
    pthread_mutex_lock(&w->mutex);
    w->status.text_tokens = tq_session_text_tokens(w->session);
    snprintf(w->status.text_name, sizeof w->status.text_name, "%s", name ? name : "");
    w->status.eval.tokens = 0;
    w->to_coarse = w->to_fine = w->status.text_tokens > 1;
    pthread_mutex_unlock(&w->mutex);
}

static void run_load(tq_worker *w, const request *r, tq_event *e) {
    e->rc = tq_session_load_plan(w->session, r->path, &e->err);
    if (e->rc == TQ_OK) e->plan = tq_plan_copy(tq_session_plan(w->session));
    if (e->rc == TQ_OK && !e->plan) e->rc = tq_fail(&e->err, "%s: out of memory", r->path);
}

static void run_write(tq_worker *w, const request *r, tq_event *e) {
    tq_progress p = progress_of(w);
    struct stat st;
    e->exists = !r->force && lstat(r->path, &st) == 0;
    if (e->exists)
        e->rc = tq_fail(&e->err, "%s exists", r->path);
    else if ((e->rc = apply(w, &e->err)) == TQ_OK)
        e->rc = r->job == TQ_JOB_SAVE ? tq_session_save_plan(w->session, r->path, r->force, &e->err)
                                      : tq_session_export(w->session, r->format, r->path, r->force, &p, &e->err);
    e->serial = w->session_serial;
}

static void run_request(tq_worker *w, const request *r) {
    tq_event *e = new_event(r->job, TQ_OK, NULL);
    if (!e) return;
    snprintf(e->path, sizeof e->path, "%s", r->path);
    e->rc = sync_plan(w, &e->err);
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
        default:
            run_write(w, r, e);
            break;
        }
    e->ended = true;
    post_event(w, e);
}

/* --- the thread --- */

/* Takes what is to be done next, with the mutex held. */
static tq_job next_job(tq_worker *w, request **r, bool *coarse) {
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
    return TQ_JOB_NONE;
}

static void *work(void *arg) {
    tq_worker *w = arg;
    if (!open_session(w)) return NULL;
    load_first_text(w);
    pthread_mutex_lock(&w->mutex);
    for (;;) {
        request *r = NULL;
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
            run_request(w, r);
        else if (job == TQ_JOB_APPLY)
            run_apply(w);
        else if (job == TQ_JOB_INSPECT)
            run_inspect(w);
        else
            run_eval(w, coarse);
        request_free(r);
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
    tq_session_close(w->session);
    for (tq_event *e = w->events, *next; e; e = next) {
        next = e->next;
        tq_event_free(e);
    }
    for (request *r = w->requests, *next; r; r = next) {
        next = r->next;
        request_free(r);
    }
    tq_plan_free(w->plan);
    tq_plan_free(w->first_plan);
    free(w->measured);
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

tq_event *tq_worker_snapshot(tq_worker *w, tq_status *status, tq_measured *measured) {
    char sink[256];
    while (read(w->wake[0], sink, sizeof sink) > 0) {
    }
    pthread_mutex_lock(&w->mutex);
    *status = w->status;
    memcpy(measured, w->measured, tq_model_matrices(w->model) * sizeof *measured);
    tq_event *events = w->events;
    w->events = NULL;
    w->events_end = &w->events;
    pthread_mutex_unlock(&w->mutex);
    return events;
}

/* Work that goes on later by itself. */
static bool in_background(tq_job job) {
    return job == TQ_JOB_APPLY || job == TQ_JOB_EVAL || job == TQ_JOB_INSPECT;
}

static void interrupt_background(tq_worker *w) { /* with the mutex held */
    if (in_background(w->status.job)) atomic_store(&w->cancel, true);
    pthread_cond_broadcast(&w->changed);
}

void tq_worker_want_plan(tq_worker *w, tq_plan *plan, uint64_t serial) {
    pthread_mutex_lock(&w->mutex);
    tq_plan_free(w->plan);
    w->plan = plan;
    w->plan_serial = serial;
    w->to_apply = true;
    w->to_coarse = w->to_fine = false;
    interrupt_background(w);
    pthread_mutex_unlock(&w->mutex);
}

void tq_worker_want_eval(tq_worker *w, size_t ctx, size_t tokens, bool score_half) {
    pthread_mutex_lock(&w->mutex);
    w->eval = (tq_eval_options){ctx, tokens, score_half};
    w->status.eval.tokens = 0;
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

static request *new_request(tq_job job, const char *path) {
    request *r = calloc(1, sizeof *r);
    if (!r) return NULL;
    r->job = job;
    snprintf(r->path, sizeof r->path, "%s", path ? path : "");
    return r;
}

static void ask(tq_worker *w, request *r) {
    if (!r) return;
    pthread_mutex_lock(&w->mutex);
    *w->requests_end = r;
    w->requests_end = &r->next;
    interrupt_background(w);
    pthread_mutex_unlock(&w->mutex);
}

void tq_worker_chat(tq_worker *w, const tq_message *messages, size_t n, const tq_chat_options *o) {
    request *r = new_request(TQ_JOB_CHAT, NULL);
    if (!r) return;
    r->chat = *o;
    r->messages = calloc(n + 1, sizeof *r->messages);
    for (size_t i = 0; r->messages && i < n; i++) {
        r->messages[i] = (tq_message){strdup(messages[i].role), strdup(messages[i].text)};
        r->n = i + 1;
        if (!r->messages[i].role || !r->messages[i].text) break;
    }
    if (!r->messages || (n && (!r->messages[r->n - 1].role || !r->messages[r->n - 1].text))) {
        request_free(r);
        return;
    }
    ask(w, r);
}

void tq_worker_text(tq_worker *w, const char *path) {
    ask(w, new_request(TQ_JOB_TEXT, path));
}

void tq_worker_load(tq_worker *w, const char *path) {
    ask(w, new_request(TQ_JOB_LOAD, path));
}

void tq_worker_save(tq_worker *w, const char *path, bool force) {
    request *r = new_request(TQ_JOB_SAVE, path);
    if (r) r->force = force;
    ask(w, r);
}

void tq_worker_export(tq_worker *w, tq_export_format f, const char *path, bool force) {
    request *r = new_request(TQ_JOB_EXPORT, path);
    if (!r) return;
    r->format = f;
    r->force = force;
    ask(w, r);
}

void tq_worker_cancel(tq_worker *w) {
    pthread_mutex_lock(&w->mutex);
    if (w->status.job != TQ_JOB_NONE) {
        w->status.cancelling = true;
        atomic_store(&w->cancel, true);
    }
    request *r = w->requests;
    w->requests = NULL;
    w->requests_end = &w->requests;
    pthread_mutex_unlock(&w->mutex);
    for (request *next; r; r = next) {
        next = r->next;
        request_free(r);
    }
}
