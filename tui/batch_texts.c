/* batch_texts.c - several texts as columns of eval. */
#include "tui/batch_texts.h"

#include <stdio.h>

/* All texts under the session's plan. */
static int evaluate(const tq_options *o, tq_session *s, tq_batch *b, size_t n, tq_text_figures *out, tq_err *err) {
    int rc = TQ_OK;
    for (size_t i = n; rc == TQ_OK && i-- > 0;) { /* the first one last: what is asked of it afterwards is its own */
        tq_batch_step(b, "evaluating");
        rc = tq_session_eval_text(s, i, &o->eval, &b->progress, &out[i], err);
    }
    return rc;
}

int tq_batch_texts_find(const tq_options *o, tq_session *s, tq_batch *b, tq_batch_texts *out, tq_err *err) {
    tq_plan *now = NULL, *before = NULL;
    size_t n = tq_session_texts(s);
    *out = (tq_batch_texts){.compared = o->before != NULL};
    if (n < 2 && !o->before) return TQ_OK;
    out->n = n;
    for (size_t i = 0; i < n; i++)
        (void)tq_session_text_at(s, i, &out->role[i]);
    int rc = TQ_OK;
    if (o->before) {
        now = tq_plan_copy(tq_session_plan(s));
        rc = now ? tq_session_read_plan(s, o->before, &before, err) : tq_fail(err, "out of memory for a plan");
        if (rc == TQ_OK) rc = tq_session_set_plan(s, before, err);
        if (rc == TQ_OK) rc = evaluate(o, s, b, n, out->before, err);
        if (rc == TQ_OK) rc = tq_session_set_plan(s, now, err);
    }
    if (rc == TQ_OK) rc = evaluate(o, s, b, n, out->now, err);
    for (size_t i = 0; i < n; i++)
        out->change[i] = tq_text_compare(&out->before[i], &out->now[i]);
    tq_plan_free(now);
    tq_plan_free(before);
    return rc;
}

static bool change_json(cJSON *o, const tq_text_change *c) {
    cJSON *change = cJSON_AddObjectToObject(o, "change");
    if (!c->known) return change && cJSON_AddBoolToObject(change, "known", false);
    return change && cJSON_AddBoolToObject(change, "known", true) && tq_json_number(change, "kld", c->mean) &&
           tq_json_number(change, "stderr", c->error) && cJSON_AddBoolToObject(change, "improves", c->improves) &&
           cJSON_AddBoolToObject(change, "worsens", c->worsens);
}

bool tq_json_texts(cJSON *root, const tq_session *s, const tq_batch_texts *t) {
    if (!t->n) return true;
    cJSON *list = cJSON_AddArrayToObject(root, "texts");
    bool ok = list != NULL;
    for (size_t i = 0; ok && i < t->n; i++) {
        tq_text_role role;
        cJSON *o = cJSON_CreateObject();
        ok = o && cJSON_AddItemToArray(list, o) &&
             cJSON_AddStringToObject(o, "name", tq_session_text_at(s, i, &role)) &&
             cJSON_AddStringToObject(o, "role", tq_text_role_name(t->role[i])) &&
             tq_json_number(o, "tokens", (double)t->now[i].tokens) && tq_json_number(o, "kld", t->now[i].kld) &&
             tq_json_number(o, "stderr", t->now[i].error) && tq_json_number(o, "ppl_base", t->now[i].ppl_base) &&
             tq_json_number(o, "ppl", t->now[i].ppl) && (!t->compared || change_json(o, &t->change[i]));
    }
    return ok && (!t->compared || cJSON_AddBoolToObject(root, "only_tuning_improves",
                                                        tq_only_tuning_improves(t->role, t->change, t->n)));
}

void tq_print_texts(const tq_session *s, const tq_batch_texts *t) {
    for (size_t i = 0; i < t->n; i++) {
        tq_text_role role;
        const tq_text_change *c = &t->change[i];
        printf("%-11s %-16s %-8s %6zu tokens  KLD %.6f +- %.6f  ppl %.4f -> %.4f", i ? "" : "texts",
               tq_session_text_at(s, i, &role), tq_text_role_name(t->role[i]), t->now[i].tokens, t->now[i].kld,
               t->now[i].error, t->now[i].ppl_base, t->now[i].ppl);
        if (c->known)
            printf("  change %+.6f +- %.6f%s", c->mean, c->error,
                   c->improves  ? ", improves"
                   : c->worsens ? ", worsens"
                                : ", no difference that counts");
        putchar('\n');
    }
    if (t->compared && tq_only_tuning_improves(t->role, t->change, t->n))
        puts("warning     only the tuning text improves: no text that is held out does, by two standard errors");
}
