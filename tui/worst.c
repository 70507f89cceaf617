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
    const tq_plan *plan = v->list && v->cursor.at < v->list->n ? plan_of(a) : NULL;
    if (!plan) return;
    if (v->asking) tq_worker_cancel(a->worker);
    const tq_worst_item *item = &v->list->items[v->cursor.at];
    tq_explain_at at = {
        .ids = item->ids, .n = item->before, .plan = {NULL, plan}, .token = {-1, -1}, .ends_only = !all};
    v->tag = ++a->tags;
    v->asked = v->cursor.at;
    v->asking = true;
    v->explains = all;
    v->failed[0] = '\0';
    tq_worker_explain(a->worker, &at, v->tag);
}

/* Another one is chosen: what is to be seen of it is asked for. */
void tq_worst_chosen(tq_app *a) {
    tq_worst_view *v = &a->worst;
    v->scroll = 0;
    v->failed[0] = '\0';
    if (v->list && v->list->n && !v->seen[v->cursor.at]) ask(a, false);
}

/* Is there an evaluation whose worst tokens will come? After a session was resumed its figures are known, but not this.
 */
static bool comes(const tq_app *a) {
    return a->status.job == TQ_JOB_EVAL || a->status.job == TQ_JOB_APPLY || a->status.eval_running;
}

void tq_worst_show(tq_app *a) {
    tq_worst_view *v = &a->worst;
    a->overlay = TQ_OVER_WORST;
    if (!v->list && a->status.text_tokens && !comes(a))
        tq_worker_want_eval(a->worker, a->eval.ctx, a->eval.tokens, a->eval.score_half);
    if (v->list) tq_list_begin(&v->cursor, v->list->n, v->cursor.at);
    tq_worst_chosen(a);
}

void tq_worst_key(tq_app *a, int key) {
    tq_worst_view *v = &a->worst;
    tq_explanation *x = v->list && v->cursor.at < v->list->n ? v->seen[v->cursor.at] : NULL;
    switch (key) {
    case TQ_KEY_PGUP:
        v->scroll = tq_scrolled(v->scroll, -5);
        return;
    case TQ_KEY_PGDN:
    case ' ':
        v->scroll += 5;
        return;
    case 'x':
        if (!(x && x->blocks) && !(v->asking && v->explains)) ask(a, true);
        return;
    case 'g':
        if (x && x->blocks)
            tq_explain_jump(a, x, 'W');
        else
            tq_say(a, TQ_SAYS, "x first: it finds the rows that g goes to");
        return;
    default:
        break;
    }
    size_t was = v->cursor.at;
    if (tq_list_key(&v->cursor, key)) {
        if (v->cursor.at != was) tq_worst_chosen(a);
        return;
    }
    if (key != TQ_KEY_ESC && key != 'q' && key != 'W') return;
    if (v->asking && v->explains)
        tq_worker_cancel(a->worker);
    else
        a->overlay = TQ_OVER_NONE;
}

static void take_list(tq_app *a, tq_event *e) {
    forget(&a->worst);
    a->worst.list = e->worst;
    e->worst = NULL;
    tq_list_begin(&a->worst.cursor, a->worst.list->n, 0);
    if (a->overlay == TQ_OVER_WORST) tq_worst_chosen(a);
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
