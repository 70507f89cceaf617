/* worker_compare.c - what the worker's thread does for A/B and explanations. */
#include <stdlib.h>
#include <string.h>

#include "tui/worker_internal.h"

static bool answer_piece(void *ctx, int side, const char *text, size_t bytes) {
    tq_request_run *run = ctx;
    tq_event *e = tq_worker_event(TQ_JOB_ANSWERS, TQ_OK, NULL);
    if (e) {
        e->text = strndup(text, bytes);
        e->side = side;
        e->tag = run->request->tag;
    }
    tq_worker_post(run->worker, e);
    return !atomic_load(&run->worker->cancel);
}

void tq_work_answers(tq_worker *w, const tq_request *r, tq_event *e) {
    tq_progress p = tq_work_progress(w);
    tq_request_run run = {w, r};
    tq_compare_job job = {.messages = r->messages,
                          .n = r->n,
                          .plan = {r->plan[0], r->plan[1]},
                          .sampling = r->chat.sampling,
                          .max_tokens = r->chat.max_tokens,
                          .think = r->chat.think};
    e->rc = tq_session_compare(w->session, &job, &p, answer_piece, &run, &e->comparison, &e->err);
}

void tq_work_explain(tq_worker *w, const tq_request *r, tq_event *e) {
    tq_progress p = tq_work_progress(w);
    tq_explain_at at = {.ids = r->ids,
                        .n = r->n_ids,
                        .plan = {r->plan[0], r->plan[1]},
                        .sampler = r->draws ? &r->sampler : NULL,
                        .token = {r->token[0], r->token[1]},
                        .ends_only = r->ends_only};
    e->rc = tq_session_explain(w->session, &at, &p, &e->explanation, &e->err);
}

/* --- the worst tokens --- */

void tq_worst_list_free(tq_worst_list *l) {
    if (!l) return;
    free(l->ids);
    free(l);
}

enum { SHOWN_AFTER = 24 };

static tq_worst_list *list_worst(const tq_session *s) {
    size_t n = 0, room = 0, tokens = tq_session_text_tokens(s);
    const tq_worst *worst = tq_session_worst(s, &n);
    const int *ids = tq_session_text_ids(s);
    for (size_t i = 0; i < n; i++)
        room += worst[i].at - worst[i].begin + 1 + SHOWN_AFTER;
    tq_worst_list *l = calloc(1, sizeof *l);
    if (l) l->ids = malloc((room + 1) * sizeof *l->ids);
    if (!l || !l->ids) {
        tq_worst_list_free(l);
        return NULL;
    }
    int *to = l->ids;
    for (size_t i = 0; i < n; i++) {
        size_t left = tokens - worst[i].at - 1, after = left < SHOWN_AFTER ? left : SHOWN_AFTER;
        size_t before = worst[i].at - worst[i].begin;
        l->items[l->n++] = (tq_worst_item){worst[i], to, before, after};
        memcpy(to, ids + worst[i].begin, (before + 1 + after) * sizeof *to);
        to += before + 1 + after;
    }
    return l;
}

void tq_work_tell_worst(tq_worker *w) {
    tq_event *e = tq_worker_event(TQ_JOB_EVAL, TQ_OK, NULL);
    if (!e) return;
    e->worst = list_worst(w->session);
    if (e->worst) e->worst->serial = w->session_serial;
    tq_worker_post(w, e);
}

/* --- called by the screen --- */

static bool copy_plans(tq_request *r, const tq_plan *const plan[2]) {
    for (int k = 0; k < 2; k++) {
        if (!plan[k]) continue;
        r->plan[k] = tq_plan_copy(plan[k]);
        if (!r->plan[k]) return false;
    }
    return true;
}

void tq_worker_compare(tq_worker *w, const char *prompt, const tq_plan *const plan[2], const tq_chat_options *o,
                       uint64_t tag) {
    tq_request *r = tq_request_new(TQ_JOB_ANSWERS, NULL);
    if (!r) return;
    r->tag = tag;
    r->chat = *o;
    r->messages = calloc(1, sizeof *r->messages);
    if (r->messages) r->messages[r->n++] = (tq_message){strdup("user"), strdup(prompt)};
    if (r->messages && r->messages[0].role && r->messages[0].text && copy_plans(r, plan))
        tq_worker_ask(w, r);
    else
        tq_request_free(r);
}

void tq_worker_explain(tq_worker *w, const tq_explain_at *at, uint64_t tag) {
    tq_request *r = tq_request_new(TQ_JOB_EXPLAIN, NULL);
    if (!r) return;
    r->tag = tag;
    r->ids = malloc((at->n + 1) * sizeof *r->ids);
    r->n_ids = at->n;
    r->draws = at->sampler != NULL;
    if (at->sampler) r->sampler = *at->sampler;
    memcpy(r->token, at->token, sizeof r->token);
    r->ends_only = at->ends_only;
    if (!r->ids || !copy_plans(r, at->plan)) {
        tq_request_free(r);
        return;
    }
    memcpy(r->ids, at->ids, at->n * sizeof *r->ids);
    tq_worker_ask(w, r);
}
