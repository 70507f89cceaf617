/* worker_texts.c - the texts beside the main one: evaluated after it, one by one. */
#include <stdio.h>
#include <string.h>

#include "tui/worker_internal.h"

void tq_work_list_texts(tq_worker *w) {
    tq_status *s = &w->status;
    s->n_texts = tq_session_texts(w->session);
    memset(s->texts, 0, sizeof s->texts);
    for (size_t i = 0; i < s->n_texts; i++) {
        tq_text_status *t = &s->texts[i];
        const char *path = tq_session_text_path(w->session, i);
        snprintf(t->name, sizeof t->name, "%s", tq_session_text_at(w->session, i, &t->role));
        if (strlen(path) < sizeof t->path) snprintf(t->path, sizeof t->path, "%s", path);
    }
}

static void publish(tq_worker *w, size_t i, const tq_text_figures *f) {
    pthread_mutex_lock(&w->mutex);
    w->status.texts[i].figures = *f;
    w->status.texts[i].serial = w->session_serial;
    pthread_mutex_unlock(&w->mutex);
    tq_worker_wake(w);
}

void tq_work_note_main_text(tq_worker *w) {
    tq_text_figures f = tq_session_last_figures(w->session);
    publish(w, 0, &f);
}

/* The first one that is not known of the plan in force; n_texts when all are. */
static size_t next_text(tq_worker *w, tq_eval_options *o) {
    size_t i = 1;
    pthread_mutex_lock(&w->mutex);
    const tq_status *s = &w->status;
    while (i < s->n_texts && s->texts[i].figures.known && s->texts[i].serial == w->session_serial)
        i++;
    *o = w->eval;
    if (s->text_tokens && o->ctx > s->text_tokens) o->ctx = s->text_tokens;
    size_t at = i < s->n_texts ? i : 0;
    pthread_mutex_unlock(&w->mutex);
    return at;
}

void tq_work_texts(tq_worker *w) {
    tq_err err = {{0}};
    tq_eval_options o;
    int rc = TQ_OK;
    for (size_t i; rc == TQ_OK && (i = next_text(w, &o)) != 0;) {
        tq_progress p = tq_work_progress(w);
        tq_text_figures f;
        size_t length = tq_session_text_length(w->session, i);
        if (o.ctx > length) o.ctx = length; /* a short one is one window, as the main one is */
        rc = tq_session_eval_text(w->session, i, &o, &p, &f, &err);
        if (rc == TQ_OK) publish(w, i, &f);
    }
    pthread_mutex_lock(&w->mutex);
    w->to_texts = rc == TQ_CANCELLED && !w->status.cancelling && !w->to_apply;
    pthread_mutex_unlock(&w->mutex);
    if (rc == TQ_FAIL) tq_worker_post(w, tq_worker_event(TQ_JOB_TEXTS, rc, &err));
}

int tq_work_add_text(tq_worker *w, const char *path, tq_err *err) {
    int rc = tq_session_text_name(w->session)
                 ? tq_session_add_text(w->session, path, TQ_TEXT_HELD_OUT, err)
                 : tq_fail(err, "%s: no text is evaluated yet: ':text FILE' gives one", path);
    if (rc == TQ_OK) rc = tq_session_add_tuning_text(w->session, err);
    pthread_mutex_lock(&w->mutex);
    tq_text_status main = w->status.texts[0];
    tq_work_list_texts(w);
    if (main.figures.known) w->status.texts[0] = main;
    w->to_texts = w->status.n_texts > 1;
    pthread_mutex_unlock(&w->mutex);
    return rc;
}

void tq_work_first_texts(tq_worker *w) {
    tq_err err = {{0}};
    int rc = tq_options_more_texts(w->options, w->session, &err);
    pthread_mutex_lock(&w->mutex);
    tq_work_list_texts(w);
    pthread_mutex_unlock(&w->mutex);
    if (rc != TQ_OK) tq_worker_post(w, tq_worker_event(TQ_JOB_ADD_TEXT, rc, &err));
}

void tq_worker_add_text(tq_worker *w, const char *path) {
    tq_worker_ask(w, tq_request_new(TQ_JOB_ADD_TEXT, path));
}
