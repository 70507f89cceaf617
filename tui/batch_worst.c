/* batch_worst.c - the worst tokens of an evaluation, for eval --worst. */
#include "tui/batch_worst.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tui/token_text.h"

enum { BEFORE = 24, AFTER = 8 };

int tq_batch_worst_find(tq_session *s, size_t n, bool explain, const tq_progress *p, tq_batch_worst *out, tq_err *err) {
    size_t have = 0;
    const tq_worst *worst = tq_session_worst(s, &have);
    int rc = TQ_OK;
    *out = (tq_batch_worst){0};
    for (size_t i = 0; rc == TQ_OK && i < n && i < have; i++) {
        tq_explain_at at = {.ids = tq_session_text_ids(s) + worst[i].begin,
                            .n = worst[i].at - worst[i].begin,
                            .plan = {NULL, tq_session_plan(s)},
                            .token = {-1, -1},
                            .ends_only = !explain};
        const tq_progress quiet = {.cancel = p ? p->cancel : NULL};
        rc = tq_session_explain(s, &at, &quiet, &out->x[i], err);
        if (rc == TQ_OK) out->n++;
        tq_progress_report(p, (double)(i + 1), (double)(n < have ? n : have));
    }
    return rc;
}

void tq_batch_worst_free(tq_batch_worst *w) {
    for (size_t i = 0; i < w->n; i++)
        tq_explanation_free(w->x[i]);
    w->n = 0;
}

/* n ids of the text as text; the caller frees it. NULL when memory is short. */
static char *text_of(const tq_session *s, size_t from, size_t n) {
    char *text = NULL;
    size_t bytes = 0;
    int rc = tq_tokenizer_decode(tq_session_tokenizer(s), tq_session_text_ids(s) + from, n, false, &text, &bytes, NULL);
    return rc == TQ_OK ? text : NULL;
}

/* What stands before the token in its window, and after it: as much as is shown. */
static void around(const tq_session *s, const tq_worst *w, char **before, char **after) {
    size_t n = w->at - w->begin < BEFORE ? w->at - w->begin : BEFORE, left = tq_session_text_tokens(s) - w->at - 1;
    *before = text_of(s, w->at - n, n);
    *after = text_of(s, w->at + 1, left < AFTER ? left : AFTER);
}

static bool item_json(cJSON *o, const tq_session *s, const tq_worst *w, const tq_explanation *x) {
    const tq_tokenizer *t = tq_session_tokenizer(s);
    tq_token_text text;
    char *before = NULL, *after = NULL;
    around(s, w, &before, &after);
    bool ok = before && after && tq_json_number(o, "position", (double)w->at) &&
              tq_json_number(o, "window", (double)w->begin) && tq_json_number(o, "kld", w->kld) &&
              cJSON_AddStringToObject(o, "before", before) &&
              cJSON_AddStringToObject(o, "token", tq_token_show(t, tq_session_text_ids(s)[w->at], text)) &&
              cJSON_AddStringToObject(o, "after", after) && tq_json_candidates(o, "base", t, x->top[0]) &&
              tq_json_candidates(o, "plan", t, x->top[1]) && (!x->blocks || tq_json_explanation(o, s, x));
    free(before);
    free(after);
    return ok;
}

bool tq_json_worst(cJSON *root, const tq_session *s, const tq_batch_worst *w) {
    size_t have = 0;
    const tq_worst *worst = tq_session_worst(s, &have);
    cJSON *list = cJSON_AddArrayToObject(root, "worst");
    bool ok = list != NULL;
    for (size_t i = 0; ok && i < w->n; i++) {
        cJSON *o = cJSON_CreateObject();
        ok = o && cJSON_AddItemToArray(list, o) && item_json(o, s, &worst[i], w->x[i]);
    }
    return ok;
}

/* On one line. */
static void print_text(const char *text) {
    for (; text && *text; text++)
        putchar((unsigned char)*text < ' ' ? ' ' : *text);
}

void tq_print_worst(const tq_session *s, const tq_batch_worst *w) {
    size_t have = 0;
    const tq_worst *worst = tq_session_worst(s, &have);
    if (!w->n) puts("worst       none: every token is predicted as by the model as stored");
    for (size_t i = 0; i < w->n; i++) {
        char *before = NULL, *after = NULL;
        tq_token_text text;
        int token = tq_session_text_ids(s)[worst[i].at];
        around(s, &worst[i], &before, &after);
        printf("worst %-4zu  KLD %.4f, token %zu: ", i + 1, worst[i].kld, worst[i].at);
        print_text(before);
        printf("[[%s]]", tq_token_show(tq_session_tokenizer(s), token, text));
        print_text(after);
        putchar('\n');
        free(before);
        free(after);
        tq_print_candidates(tq_session_tokenizer(s), "base", w->x[i]->top[0], "plan", w->x[i]->top[1]);
        if (w->x[i]->blocks) tq_print_explanation(s, w->x[i], "base", "plan");
    }
}
