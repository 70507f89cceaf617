/* worst.c - the worst tokens of the evaluation: a list, and what is asked of the worker about one of them. */
#include "tui/worst.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tui/app_internal.h"
#include "tui/keys.h"

static void forget(tq_worst_view *v) {
    tq_worst_list_free(v->list);
    for (size_t i = 0; i < TQ_WORST_MAX; i++)
        tq_explanation_free(v->seen[i]);
    *v = (tq_worst_view){.tag = v->tag};
}

void tq_worst_free(tq_worst_view *v) {
    forget(v);
}

bool tq_worst_stale(const tq_app *a) {
    return a->worst.list && a->worst.list->serial != tq_draft_serial(&a->draft);
}

/* The plan that the list is of; NULL when it is not known any more. */
static const tq_plan *plan_of(const tq_app *a) {
    for (size_t i = 0; i < a->draft.count; i++)
        if (a->draft.states[i].serial == a->worst.list->serial) return a->draft.states[i].plan;
    return NULL;
}

static void ask(tq_app *a, bool all) {
    tq_worst_view *v = &a->worst;
    const tq_plan *plan = v->list && v->chosen < v->list->n ? plan_of(a) : NULL;
    if (!plan) return;
    if (v->asking) tq_worker_cancel(a->worker);
    const tq_worst_item *item = &v->list->items[v->chosen];
    tq_explain_at at = {
        .ids = item->ids, .n = item->before, .plan = {NULL, plan}, .token = {-1, -1}, .ends_only = !all};
    v->tag = ++a->tags;
    v->asked = v->chosen;
    v->asking = true;
    v->explains = all;
    v->failed[0] = '\0';
    tq_worker_explain(a->worker, &at, v->tag);
}

static void choose(tq_app *a, size_t to) {
    tq_worst_view *v = &a->worst;
    size_t n = v->list ? v->list->n : 0;
    v->chosen = to < n ? to : n ? n - 1 : 0;
    v->scroll = 0;
    v->failed[0] = '\0';
    if (n && !v->seen[v->chosen]) ask(a, false);
}

void tq_worst_show(tq_app *a) {
    a->overlay = TQ_OVER_WORST;
    choose(a, a->worst.chosen);
}

static void move(tq_app *a, long by) {
    size_t now = a->worst.chosen;
    choose(a, by < 0 && now < (size_t)-by ? 0 : now + (size_t)by);
}

void tq_worst_key(tq_app *a, int key) {
    tq_worst_view *v = &a->worst;
    tq_explanation *x = v->list && v->chosen < v->list->n ? v->seen[v->chosen] : NULL;
    switch (key) {
    case TQ_KEY_UP:
    case 'k':
        move(a, -1);
        return;
    case TQ_KEY_DOWN:
    case 'j':
        move(a, 1);
        return;
    case TQ_KEY_HOME:
        choose(a, 0);
        return;
    case TQ_KEY_END:
        choose(a, SIZE_MAX);
        return;
    case TQ_KEY_PGUP:
        v->scroll = v->scroll > 5 ? v->scroll - 5 : 0;
        return;
    case TQ_KEY_PGDN:
    case ' ':
        v->scroll += 5;
        return;
    case 'x':
        if (!(x && x->blocks) && !(v->asking && v->explains)) ask(a, true);
        return;
    case 'g':
        if (x && x->blocks) tq_explain_jump(a, x);
        return;
    default:
        break;
    }
    if (key != TQ_KEY_ESC && key != 'q' && key != 'W') return;
    if (v->asking && v->explains)
        tq_worker_cancel(a->worker);
    else
        a->overlay = TQ_OVER_NONE;
}

static void take_list(tq_app *a, tq_event *e) {
    size_t chosen = a->worst.chosen;
    forget(&a->worst);
    a->worst.list = e->worst;
    e->worst = NULL;
    a->worst.chosen = chosen;
    if (a->overlay == TQ_OVER_WORST) choose(a, 0);
}

void tq_worst_event(tq_app *a, tq_event *e) {
    tq_worst_view *v = &a->worst;
    if (e->worst) take_list(a, e);
    if (e->job != TQ_JOB_EXPLAIN || e->tag != v->tag || !v->asking) return;
    if (e->explanation) {
        tq_explanation_free(v->seen[v->asked]);
        v->seen[v->asked] = e->explanation;
        e->explanation = NULL;
    } else {
        snprintf(v->failed, sizeof v->failed, "%.250s", e->rc == TQ_FAIL ? e->err.msg : "stopped");
    }
    v->asking = false;
}
