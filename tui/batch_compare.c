/* batch_compare.c - compare: two answers to one prompt, without a screen. */
#include "tui/batch_compare.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tui/explain_text.h"
#include "tui/token_text.h"

bool tq_json_candidates(cJSON *o, const char *name, const tq_tokenizer *t, const tq_candidate top[TQ_CANDIDATES]) {
    cJSON *list = cJSON_AddArrayToObject(o, name);
    bool ok = list != NULL;
    for (size_t k = 0; ok && k < TQ_CANDIDATES && top[k].id >= 0; k++) {
        tq_token_text text;
        cJSON *one = cJSON_CreateObject();
        ok = one && cJSON_AddItemToArray(list, one) && tq_json_number(one, "id", top[k].id) &&
             cJSON_AddStringToObject(one, "text", tq_token_show(t, top[k].id, text)) &&
             tq_json_number(one, "p", top[k].p);
    }
    return ok;
}

static bool hybrid_json(cJSON *o, const tq_tokenizer *t, const tq_hybrid *h) {
    tq_token_text text;
    return tq_json_number(o, "token", h->choice) &&
           cJSON_AddStringToObject(o, "text", tq_token_show(t, h->choice, text)) &&
           cJSON_AddBoolToObject(o, "flips", h->flips) && tq_json_number(o, "margin", h->margin) &&
           tq_json_number(o, "kld", h->kld);
}

static bool hybrids_json(cJSON *o, const tq_tokenizer *t, const tq_explanation *x) {
    cJSON *alone = cJSON_AddArrayToObject(o, "alone"), *prefix = cJSON_AddArrayToObject(o, "prefix");
    bool ok = alone && prefix;
    for (size_t b = 0; ok && b < x->blocks; b++) {
        cJSON *one = cJSON_CreateObject();
        ok = one && cJSON_AddItemToArray(alone, one) && tq_json_number(one, "block", (double)b) &&
             cJSON_AddBoolToObject(one, "differs", x->differs[b]) && hybrid_json(one, t, &x->alone[b]);
    }
    for (size_t b = 0; ok && b <= x->blocks; b++) {
        cJSON *one = cJSON_CreateObject();
        ok = one && cJSON_AddItemToArray(prefix, one) && tq_json_number(one, "blocks", (double)b) &&
             hybrid_json(one, t, &x->prefix[b]);
    }
    return ok;
}

static bool matrices_json(cJSON *o, const tq_session *s, const tq_explanation *x) {
    cJSON *list = cJSON_AddArrayToObject(o, "matrices");
    bool ok = list != NULL;
    for (size_t i = 0; ok && i < x->n_matrices; i++) {
        const tq_matrix *m = tq_model_matrix(tq_session_model(s), x->matrices[i].matrix);
        cJSON *one = cJSON_CreateObject();
        ok = one && cJSON_AddItemToArray(list, one) && cJSON_AddStringToObject(one, "name", m->name) &&
             cJSON_AddBoolToObject(one, "after_prefix", x->matrices[i].after_prefix) &&
             hybrid_json(one, tq_session_tokenizer(s), &x->matrices[i].hybrid);
    }
    return ok;
}

/* null for SIZE_MAX */
static bool count_json(cJSON *o, const char *name, size_t n) {
    return n == SIZE_MAX ? cJSON_AddNullToObject(o, name) != NULL : tq_json_number(o, name, (double)n);
}

bool tq_json_explanation(cJSON *o, const tq_session *s, const tq_explanation *x) {
    tq_verdict lines;
    cJSON *e = cJSON_AddObjectToObject(o, "explain"), *verdict = e ? cJSON_AddArrayToObject(e, "verdict") : NULL;
    int n = tq_explain_verdict(x, tq_session_model(s), lines);
    bool ok = verdict != NULL;
    for (int i = 0; ok && i < n; i++) {
        cJSON *line = cJSON_CreateString(lines[i]);
        ok = line && cJSON_AddItemToArray(verdict, line);
    }
    return ok && cJSON_AddBoolToObject(e, "reproduced", x->reproduced) &&
           tq_json_number(e, "flips_alone", (double)tq_explanation_alone(x)) &&
           count_json(e, "shortest_prefix", tq_explanation_shortest(x)) &&
           count_json(e, "bisection_tips_at", x->tips) && hybrids_json(e, tq_session_tokenizer(s), x) &&
           matrices_json(e, s, x) && tq_json_number(e, "blocks_run", (double)x->blocks_run) &&
           tq_json_number(e, "seconds", x->seconds);
}

void tq_print_candidates(const tq_tokenizer *t, const char *one, const tq_candidate a[TQ_CANDIDATES], const char *other,
                         const tq_candidate b[TQ_CANDIDATES]) {
    tq_token_text x, y;
    printf("            %-37.37s %s\n", one, other);
    for (size_t k = 0; k < TQ_CANDIDATES && a[k].id >= 0 && b[k].id >= 0; k++)
        printf("            %-24s %6.2f %%     %-24s %6.2f %%\n", tq_token_show(t, a[k].id, x), 100 * a[k].p,
               tq_token_show(t, b[k].id, y), 100 * b[k].p);
}

void tq_print_explanation(const tq_session *s, const tq_explanation *x, const char *one, const char *other) {
    const tq_model *m = tq_session_model(s);
    tq_token_text text;
    tq_verdict lines;
    int n = tq_explain_verdict(x, m, lines);
    for (int i = 0; i < n; i++)
        printf("%-11s %s\n", i ? "" : "explained", lines[i]);
    printf("margin      logit of %s's token less that of %s's: %s %+.3f, %s %+.3f\n", one, other, one, x->a.margin,
           other, x->b.margin);
    printf("            block      alone   KLD      with all before\n");
    for (size_t b = 0; b < x->blocks; b++)
        printf("            %5zu   %+8.3f %s %.5f  %+8.3f %s\n", b, x->alone[b].margin, x->alone[b].flips ? "*" : " ",
               x->alone[b].kld, x->prefix[b + 1].margin, x->prefix[b + 1].flips ? "*" : " ");
    for (size_t i = 0; i < x->n_matrices; i++) {
        const tq_matrix_hybrid *h = &x->matrices[i];
        printf("            %+8.3f %s %.5f  %s%s, %s\n", h->hybrid.margin, h->hybrid.flips ? "*" : " ", h->hybrid.kld,
               tq_model_matrix(m, h->matrix)->name, h->after_prefix ? " after the blocks before" : " alone",
               tq_token_show(tq_session_tokenizer(s), h->hybrid.choice, text));
    }
    printf("            * flips it;   %zu blocks run in %.2f s\n", x->blocks_run, x->seconds);
}

/* --- the command --- */

typedef struct comparing {
    const tq_options *o;
    tq_session *s;
    tq_plan *plan[2]; /* NULL: the model as stored */
    const char *name[2];
    tq_comparison *c;
    tq_explanation *x; /* NULL: not asked for, or nothing to explain */
} comparing;

static int read_sides(comparing *w, tq_err *err) {
    static const char *const usual[2] = {"base", "plan"};
    for (int k = 0; k < 2; k++) {
        w->name[k] = w->o->side[k] ? w->o->side[k] : usual[k];
        if (strcmp(w->name[k], "base") == 0) continue;
        if (strcmp(w->name[k], "plan") != 0) {
            if (tq_session_read_plan(w->s, w->name[k], &w->plan[k], err) != TQ_OK) return TQ_FAIL;
            continue;
        }
        w->plan[k] = tq_plan_copy(tq_session_plan(w->s));
        if (!w->plan[k]) return tq_fail(err, "out of memory for a plan");
    }
    return TQ_OK;
}

static int explain(comparing *w, tq_batch *b, tq_err *err) {
    tq_explain_at at = tq_comparison_at(w->c, (const tq_plan *const *)w->plan);
    tq_batch_step(b, "explaining");
    return tq_session_explain(w->s, &at, &b->progress, &w->x, err);
}

static bool side_json(cJSON *root, const comparing *w, int k) {
    const tq_told *t = &w->c->side[k];
    tq_token_text text;
    const tq_tokenizer *tok = tq_session_tokenizer(w->s);
    cJSON *o = cJSON_AddObjectToObject(root, k ? "b" : "a");
    if (!o || !cJSON_AddStringToObject(o, "side", w->name[k]) || !cJSON_AddStringToObject(o, "text", t->text) ||
        !tq_json_number(o, "tokens", (double)t->tokens) || !cJSON_AddBoolToObject(o, "ended", t->ended))
        return false;
    if (t->token < 0) return true;
    cJSON *at = cJSON_AddObjectToObject(o, "token");
    return at && tq_json_number(at, "id", t->token) &&
           cJSON_AddStringToObject(at, "text", tq_token_show(tok, t->token, text)) &&
           tq_json_number(at, "begin", (double)t->mark) && tq_json_number(at, "end", (double)t->mark_end) &&
           tq_json_candidates(at, "top", tok, t->top);
}

static cJSON *compare_json(const comparing *w) {
    cJSON *root = cJSON_CreateObject();
    bool ok = cJSON_AddStringToObject(root, "prompt", w->o->prompt) && side_json(root, w, 0) && side_json(root, w, 1) &&
              cJSON_AddBoolToObject(root, "diverged", w->c->diverged) &&
              tq_json_number(root, "tokens_in_common", (double)w->c->common) &&
              tq_json_number(root, "at", (double)w->c->at) && tq_json_number(root, "kld", w->c->kld) &&
              tq_json_number(root, "kld_in_common", w->c->kld_common) &&
              (!w->x || tq_json_explanation(root, w->s, w->x)) && tq_json_number(root, "seconds", w->c->seconds);
    return tq_json_done(root, ok);
}

/* The token in question in brackets. */
static void print_told(const char *name, const tq_told *t) {
    printf("%-11s ", name);
    for (size_t i = 0;; i++) {
        if (t->token >= 0 && i == t->mark) fputs("[[", stdout);
        if (t->token >= 0 && i == t->mark_end) fputs("]]", stdout);
        if (!t->text[i]) break;
        putchar(t->text[i]);
        if (t->text[i] == '\n') fputs("            ", stdout);
    }
    printf("%s\n", t->ended ? "" : "...");
}

static void print_compared(const comparing *w) {
    const tq_comparison *c = w->c;
    const tq_tokenizer *tok = tq_session_tokenizer(w->s);
    tq_token_text x, y;
    print_told(w->name[0], &c->side[0]);
    print_told(w->name[1], &c->side[1]);
    printf("in common   %zu tokens, mean KLD %.6f\n", c->common, c->kld_common);
    if (c->diverged)
        printf("then        %s against %s, KLD %.5f\n", tq_token_show(tok, c->side[0].token, x),
               tq_token_show(tok, c->side[1].token, y), c->kld);
    else if (c->side[0].token >= 0)
        printf("no token differs; furthest apart at %s, after %zu tokens, KLD %.5f\n",
               tq_token_show(tok, c->side[0].token, x), c->at, c->kld);
    else
        puts("no difference at all");
    if (c->side[0].token >= 0) tq_print_candidates(tok, w->name[0], c->side[0].top, w->name[1], c->side[1].top);
    if (w->x) tq_print_explanation(w->s, w->x, w->name[0], w->name[1]);
    printf("time        %.2f s\n", c->seconds);
}

int tq_run_compare(const tq_options *o) {
    tq_batch b;
    tq_err err = {{0}};
    comparing w = {.o = o};
    tq_message message = {"user", o->prompt};
    tq_batch_begin(&b);
    tq_batch_step(&b, "quantizing");
    int rc = tq_options_open(o, &w.s, &err);
    if (rc == TQ_OK) rc = read_sides(&w, &err);
    if (rc == TQ_OK) {
        tq_compare_job job = {.messages = &message,
                              .n = 1,
                              .plan = {w.plan[0], w.plan[1]},
                              .sampling = o->chat.sampling,
                              .max_tokens = o->chat.max_tokens,
                              .think = o->chat.think};
        rc = tq_session_compare(w.s, &job, &b.progress, NULL, NULL, &w.c, &err);
    }
    if (rc == TQ_OK && o->explain) rc = explain(&w, &b, &err);
    if (rc == TQ_OK) {
        tq_batch_end(&b);
        tq_batch_notes(w.s);
        if (o->json)
            rc = tq_batch_json(compare_json(&w), &err);
        else
            print_compared(&w);
    }
    if (rc == TQ_OK) rc = tq_batch_flush(&err);
    tq_explanation_free(w.x);
    tq_comparison_free(w.c);
    tq_plan_free(w.plan[0]);
    tq_plan_free(w.plan[1]);
    tq_session_close(w.s);
    return rc == TQ_OK ? EXIT_SUCCESS : tq_batch_fail(&b, &err);
}
