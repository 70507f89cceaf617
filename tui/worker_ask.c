/* worker_ask.c - questions with known answers: asked one by one when there is nothing better to do. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tui/worker_internal.h"

static tq_tally *tally_of(tq_worker *w, uint64_t serial) {
    for (size_t i = 0; i < TQ_TALLIES; i++)
        if (w->tallies[i].serial == serial) return &w->tallies[i];
    tq_tally *t = &w->tallies[w->next_tally++ % TQ_TALLIES];
    *t = (tq_tally){.serial = serial};
    return t;
}

static void publish(tq_worker *w, tq_score score, tq_score *where) {
    pthread_mutex_lock(&w->mutex);
    *where = score;
    if (where == &w->status.score) w->status.score_serial = w->session_serial;
    pthread_mutex_unlock(&w->mutex);
    tq_worker_wake(w);
}

/* Goes on from score->of to the last one; what is published is one of the status's two scores. */
static int ask(tq_worker *w, bool base, tq_score *score, tq_score *where, tq_err *err) {
    size_t n = tq_questions_count(w->questions);
    tq_progress p = tq_work_progress(w);
    while (score->of < n) {
        bool right = false;
        if (tq_progress_cancelled(&p)) return tq_cancelled(err);
        int rc = tq_questions_ask_one(w->questions, w->session, base, score->of, &p, &right, err);
        if (rc != TQ_OK) return rc;
        score->right += right;
        score->of++;
        publish(w, *score, where);
        tq_progress_report(&p, (double)score->of, (double)n);
    }
    publish(w, *score, where);
    return TQ_OK;
}

void tq_work_ask(tq_worker *w) {
    tq_err err = {{0}};
    int rc = tq_work_sync_plan(w, &err);
    pthread_mutex_lock(&w->mutex);
    tq_score base = w->status.base_score;
    pthread_mutex_unlock(&w->mutex);
    if (rc == TQ_OK && w->questions) {
        tq_tally *t = tally_of(w, w->session_serial);
        bool kept = tq_plan_keeps_all(tq_session_plan(w->session));
        if (!kept) rc = ask(w, false, &t->score, &w->status.score, &err);
        if (rc == TQ_OK) rc = ask(w, true, &base, &w->status.base_score, &err);
        if (rc == TQ_OK && kept) publish(w, t->score = base, &w->status.score);
    }
    pthread_mutex_lock(&w->mutex);
    bool later = rc == TQ_CANCELLED && !w->status.cancelling && !w->to_apply;
    w->to_ask = later;
    pthread_mutex_unlock(&w->mutex);
    if (rc == TQ_FAIL) tq_worker_post(w, tq_worker_event(TQ_JOB_ASK, rc, &err));
}

/* --- which questions --- */

/* path: the real one, NULL for none. */
static void take(tq_worker *w, tq_questions *q, const char *path) {
    tq_questions_free(w->questions);
    w->questions = q;
    memset(w->tallies, 0, sizeof w->tallies);
    pthread_mutex_lock(&w->mutex);
    w->status.questions = q ? tq_questions_count(q) : 0;
    snprintf(w->status.questions_path, sizeof w->status.questions_path, "%s", path ? path : "");
    snprintf(w->status.questions_hash, sizeof w->status.questions_hash, "%s", q ? tq_questions_hash(q) : "");
    w->status.score = w->status.base_score = (tq_score){0};
    w->status.score_serial = 0;
    w->to_ask = q != NULL;
    pthread_mutex_unlock(&w->mutex);
    tq_worker_wake(w);
}

int tq_work_read_questions(tq_worker *w, const char *path, tq_err *err) {
    tq_questions *q = NULL;
    bool none = !*path || strcmp(path, "none") == 0;
    int rc = none ? TQ_OK : tq_questions_load(path, &q, err);
    if (rc == TQ_OK && q && !tq_session_chat(w->session)) {
        tq_questions_free(q);
        return tq_fail(err, "%s: no tokenizer.json beside the model: nobody can be asked", path);
    }
    if (rc != TQ_OK) return rc;
    char *real = q ? realpath(path, NULL) : NULL;
    take(w, q, real);
    free(real);
    return rc;
}

void tq_work_first_questions(tq_worker *w) {
    tq_err err;
    char *path = tq_options_questions(w->options, w->session);
    int rc = path ? tq_work_read_questions(w, path, &err) : TQ_OK;
    pthread_mutex_lock(&w->mutex);
    w->to_ask = false; /* after the first evaluation */
    w->status.questions_read = true;
    pthread_mutex_unlock(&w->mutex);
    free(path);
    if (rc != TQ_OK) tq_worker_post(w, tq_worker_event(TQ_JOB_READ_QUESTIONS, rc, &err));
}

void tq_worker_questions(tq_worker *w, const char *path) {
    tq_worker_ask(w, tq_request_new(TQ_JOB_READ_QUESTIONS, path));
}
