/* compare.c - A/B on the screen: what its keys ask of the worker, and what comes back. */
#include "tui/compare.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tui/app_internal.h"
#include "tui/keys.h"

static void forget_answers(tq_compare_view *v) {
    for (int k = 0; k < 2; k++) {
        free(v->text[k]);
        tq_plan_free(v->plan[k]);
        v->text[k] = NULL;
        v->plan[k] = NULL;
        v->name[k][0] = '\0';
    }
    tq_comparison_free(v->result);
    tq_explanation_free(v->why);
    v->result = NULL;
    v->why = NULL;
    v->scroll = 0;
    v->failed[0] = '\0';
}

void tq_compare_free(tq_compare_view *v) {
    forget_answers(v);
    *v = (tq_compare_view){0};
}

/* --- sides --- */

/* The point of a side that is a snapshot; NULL: there is no such one. */
static const tq_point *named(const tq_app *a, size_t side) {
    size_t left = side - TQ_SIDE_NAMED;
    for (size_t i = 0; side >= TQ_SIDE_NAMED && i < a->points.count; i++)
        if (a->points.points[i].named && left-- == 0) return &a->points.points[i];
    return NULL;
}

const char *tq_compare_side_name(const tq_app *a, size_t side, char buf[64]) {
    const tq_point *x = named(a, side);
    if (side == TQ_SIDE_BASE)
        snprintf(buf, 64, "base");
    else if (side == TQ_SIDE_PLAN || !x)
        snprintf(buf, 64, "plan");
    else
        snprintf(buf, 64, "\"%.60s\"", x->name);
    return buf;
}

static void next_side(tq_app *a, int k) {
    tq_compare_view *v = &a->compare;
    size_t n = TQ_SIDE_NAMED;
    while (named(a, n))
        n++;
    v->side[k] = (v->side[k] + 1) % n;
}

/* A copy of the side's plan; NULL for the model as stored. False when memory is short. */
static bool plan_of(const tq_app *a, size_t side, tq_plan **out) {
    const tq_point *x = named(a, side);
    *out = side == TQ_SIDE_BASE ? NULL : tq_plan_copy(x ? x->plan : tq_draft_plan(&a->draft));
    return side == TQ_SIDE_BASE || *out;
}

/* --- asking --- */

static void answer(tq_app *a) {
    tq_compare_view *v = &a->compare;
    if (!a->tokenizer) {
        tq_say(a, TQ_REFUSES, "no tokenizer.json beside the model: it cannot answer");
        return;
    }
    if (v->step != TQ_COMPARE_IDLE) tq_worker_cancel(a->worker);
    forget_answers(v);
    for (int k = 0; k < 2; k++) {
        tq_compare_side_name(a, v->side[k], v->name[k]);
        if (plan_of(a, v->side[k], &v->plan[k])) continue;
        tq_say(a, TQ_REFUSES, "out of memory");
        return;
    }
    v->tag = ++a->tags;
    v->step = TQ_COMPARE_ANSWERS;
    tq_chat_options o = a->options->chat;
    o.think = a->talk.think;
    tq_worker_compare(a->worker, v->prompt, (const tq_plan *const *)v->plan, &o, v->tag);
}

void tq_compare_prompt(tq_app *a, const char *text) {
    tq_compare_view *v = &a->compare;
    if (!text[strspn(text, " \t\n")]) return;
    if (strlen(text) >= sizeof v->prompt) {
        tq_say(a, TQ_REFUSES, "a prompt of %zu bytes: A/B takes %zu at most", strlen(text), sizeof v->prompt - 1);
        return;
    }
    snprintf(v->prompt, sizeof v->prompt, "%s", text);
    a->overlay = TQ_OVER_COMPARE;
    answer(a);
}

static void explain(tq_app *a) {
    tq_compare_view *v = &a->compare;
    const tq_comparison *c = v->result;
    if (v->step != TQ_COMPARE_IDLE) tq_say(a, TQ_SAYS, "x explains when it is through: Esc stops it");
    if (!c || v->why || v->step != TQ_COMPARE_IDLE) return;
    tq_explain_at at = tq_comparison_at(c, (const tq_plan *const *)v->plan);
    v->tag = ++a->tags;
    v->step = TQ_COMPARE_EXPLAINS;
    tq_worker_explain(a->worker, &at, v->tag);
}

void tq_explain_jump(tq_app *a, const tq_explanation *x, char key) {
    size_t n = tq_explanation_guilty(x, a->model, a->targets), first = SIZE_MAX;
    if (!n) {
        tq_say(a, TQ_SAYS, "no layer makes a difference: there is nowhere to go");
        return;
    }
    (void)tq_table_filter(&a->table, "");
    tq_table_unmark(&a->table);
    for (size_t i = tq_model_matrices(a->model); i-- > 0;)
        if (a->targets[i]) {
            a->table.marked[i] = true;
            first = i;
        }
    tq_table_show(&a->table, first);
    a->overlay = TQ_OVER_NONE;
    tq_app_focus(a, TQ_FOCUS_LAYERS);
    tq_say(a, TQ_SAYS, "%zu marked: the digits and [ ] change %s, - unmarks, %c goes back", n, n == 1 ? "it" : "them",
           key);
}

/* --- keys --- */

void tq_compare_show(tq_app *a) {
    a->overlay = TQ_OVER_COMPARE;
    if (!*a->compare.prompt) {
        a->compare.side[1] = TQ_SIDE_PLAN;
        tq_lineedit_begin(TQ_LINE_COMPARE, NULL);
    }
}

void tq_compare_key(tq_app *a, int key) {
    tq_compare_view *v = &a->compare;
    switch (key) {
    case TQ_KEY_ENTER:
    case 'p':
        tq_lineedit_begin(TQ_LINE_COMPARE, v->prompt);
        return;
    case 'a':
    case 'b':
        next_side(a, key == 'b');
        return;
    case 'r':
        if (*v->prompt) answer(a);
        return;
    case 'x':
        explain(a);
        return;
    case 'g':
        if (v->why)
            tq_explain_jump(a, v->why, 'A');
        else
            tq_say(a, TQ_SAYS, "x first: it finds the rows that g goes to");
        return;
    default:
        break;
    }
    long by = tq_key_steps(key == ' ' ? TQ_KEY_PGDN : key, 11);
    if (by) {
        v->scroll = tq_scrolled(v->scroll, by > 1000 ? 1000 : by); /* drawing clips it */
        return;
    }
    if (key != TQ_KEY_ESC && key != 'q' && key != 'A') return;
    if (v->step != TQ_COMPARE_IDLE)
        tq_worker_cancel(a->worker);
    else
        a->overlay = TQ_OVER_NONE;
}

/* --- news --- */

static void append(char **to, const char *text) {
    size_t had = *to ? strlen(*to) : 0, more = strlen(text) + 1;
    char *longer = realloc(*to, had + more);
    if (!longer) return;
    memcpy(longer + had, text, more);
    *to = longer;
}

void tq_compare_event(tq_app *a, tq_event *e) {
    tq_compare_view *v = &a->compare;
    if (e->tag != v->tag) return;
    if (e->text) append(&v->text[e->side], e->text);
    if (!e->ended) return;
    v->step = TQ_COMPARE_IDLE;
    if (e->rc == TQ_FAIL) snprintf(v->failed, sizeof v->failed, "%.250s", e->err.msg);
    if (e->rc == TQ_CANCELLED)
        snprintf(v->failed, sizeof v->failed, "stopped: %s",
                 e->job == TQ_JOB_EXPLAIN ? "x explains" : "r answers again");
    if (e->rc == TQ_OK) v->failed[0] = '\0';
    if (e->comparison) {
        v->result = e->comparison;
        e->comparison = NULL;
    }
    if (e->explanation) {
        v->why = e->explanation;
        e->explanation = NULL;
    }
}
