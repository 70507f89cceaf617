/* worker_tune.c - what the worker's thread does for budgets: the sweep, and the uniform plan beside the solved one. */
#include <stdlib.h>
#include <string.h>

#include "tui/worker_internal.h"

/* The config by which the heat is shown, the first that was measured. */
static const tq_choice felt_by[] = {
    {TQ_BITS_4T, TQ_GROUP_DEFAULT}, {TQ_BITS_4, TQ_GROUP_DEFAULT}, {TQ_BITS_4_2, TQ_GROUP_DEFAULT}};

static void publish_felt(void *ctx, size_t matrix) {
    tq_worker *w = ctx;
    tq_felt felt = {0};
    for (size_t k = 0; felt.rel_mse == 0 && k < sizeof felt_by / sizeof *felt_by; k++) {
        tq_sensed s = tq_sensitivity_get(tq_session_sensitivity(w->session), matrix, felt_by[k]);
        if (s.measured) felt = (tq_felt){s.kld, s.rel_mse};
    }
    pthread_mutex_lock(&w->mutex);
    w->felt[matrix] = felt;
    pthread_mutex_unlock(&w->mutex);
    tq_worker_wake(w);
}

static tq_eval_options options_now(tq_worker *w) {
    pthread_mutex_lock(&w->mutex);
    tq_eval_options o = w->eval;
    if (w->status.text_tokens && o.ctx > w->status.text_tokens) o.ctx = w->status.text_tokens;
    pthread_mutex_unlock(&w->mutex);
    return o;
}

/* Interrupted, it goes on later; given up or failed, it does not. */
static bool goes_on(const tq_worker *w, int rc) { /* with the mutex held */
    return rc == TQ_CANCELLED && !w->status.cancelling;
}

static int sweep(tq_worker *w, tq_event *e, tq_err *err) {
    tq_progress p = tq_work_progress(w);
    tq_eval_options o = options_now(w);
    tq_sweep_options sweep_options = tq_options_sweep(w->options);
    const tq_costs *costs = NULL;
    int rc = tq_work_sync_plan(w, err);
    if (rc == TQ_OK) rc = tq_session_sweep(w->session, NULL, &sweep_options, &p, publish_felt, w, err);
    for (size_t i = 0; rc == TQ_OK && i < tq_model_matrices(w->model); i++)
        publish_felt(w, i);
    if (rc == TQ_OK) rc = tq_session_costs(w->session, &sweep_options, &o, NULL, &p, &costs, err);
    if (rc != TQ_OK) return rc;
    e->costs = tq_costs_copy(costs);
    e->common = tq_plan_common(tq_session_plan(w->session));
    e->tunes_on_text = tq_session_tunes_on_text(w->session);
    return e->costs ? TQ_OK : tq_fail(err, "out of memory for a table of costs");
}

void tq_work_sweep(tq_worker *w) {
    tq_event *e = tq_worker_event(TQ_JOB_SWEEP, TQ_OK, NULL);
    if (!e) return;
    e->rc = sweep(w, e, &e->err);
    pthread_mutex_lock(&w->mutex);
    bool later = goes_on(w, e->rc);
    if (!later) w->to_sweep = false;
    pthread_mutex_unlock(&w->mutex);
    if (later)
        tq_event_free(e);
    else
        tq_worker_post(w, e);
}

void tq_work_compare(tq_worker *w) {
    tq_event *e = tq_worker_event(TQ_JOB_COMPARE, TQ_OK, NULL);
    tq_progress p = tq_work_progress(w);
    tq_eval_options o = options_now(w);
    pthread_mutex_lock(&w->mutex);
    tq_plan *plan = w->uniform;
    uint64_t serial = w->uniform_serial;
    w->uniform = NULL;
    pthread_mutex_unlock(&w->mutex);
    if (e && plan) e->rc = tq_session_measure(w->session, plan, &o, &p, &e->eval, &e->err);
    pthread_mutex_lock(&w->mutex);
    if (e && plan && goes_on(w, e->rc) && !w->uniform && !w->to_apply) { /* what is to be applied is another plan */
        w->uniform = plan;
        plan = NULL;
    }
    pthread_mutex_unlock(&w->mutex);
    if (e && plan && e->rc != TQ_CANCELLED) {
        e->plan = plan;
        e->serial = serial;
        tq_worker_post(w, e);
        return;
    }
    tq_plan_free(plan);
    tq_event_free(e);
}
