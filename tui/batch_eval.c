/* batch_eval.c - eval: perplexity, KL divergence and answers to questions, without a screen. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "model/questions.h"
#include "tui/batch_worst.h"

/* What one evaluation found. */
typedef struct evaluation {
    tq_eval_result r;
    tq_score plan, base; /* of the questions; of: 0 without any */
    double seconds;
    tq_batch_worst worst;
} evaluation;

static bool kld_json(cJSON *root, const tq_eval_result *r) {
    cJSON *kld = cJSON_AddObjectToObject(root, "kld");
    return kld && tq_json_number(kld, "mean", r->kld_mean) && tq_json_number(kld, "stderr", r->kld_stderr) &&
           tq_json_number(kld, "median", r->kld_median) && tq_json_number(kld, "p90", r->kld_p90) &&
           tq_json_number(kld, "p99", r->kld_p99) && tq_json_number(kld, "p999", r->kld_p999) &&
           tq_json_number(kld, "max", r->kld_max);
}

static bool score_json(cJSON *o, tq_score s) {
    double low, high;
    tq_score_interval(s, &low, &high);
    return tq_json_number(o, "right", (double)s.right) && tq_json_number(o, "of", (double)s.of) &&
           tq_json_number(o, "share", tq_score_share(s)) && tq_json_number(o, "low", low) &&
           tq_json_number(o, "high", high);
}

static bool questions_json(cJSON *root, const evaluation *e) {
    if (e->plan.of == 0) return true;
    cJSON *questions = cJSON_AddObjectToObject(root, "questions");
    if (!questions || !score_json(questions, e->plan)) return false;
    cJSON *base = cJSON_AddObjectToObject(questions, "base");
    return base && score_json(base, e->base) &&
           tq_json_number(questions, "difference", tq_score_share(e->plan) - tq_score_share(e->base));
}

static bool memory_json(cJSON *root, const tq_memory_plan *p) {
    cJSON *o = cJSON_AddObjectToObject(root, "memory");
    return o && tq_json_number(o, "ctx", (double)p->ctx) && tq_json_number(o, "packed", (double)p->packed) &&
           tq_json_number(o, "mapped", (double)p->mapped) && tq_json_number(o, "state", (double)p->state) &&
           tq_json_number(o, "activations", (double)p->activations) && tq_json_number(o, "total", (double)p->total) &&
           tq_json_number(o, "machine", p->machine ? (double)p->machine : NAN) &&
           cJSON_AddBoolToObject(o, "streams", p->streams);
}

static void print_memory(const tq_memory_plan *p) {
    printf("to answer   %.3f MiB: weights %.3f, cache at %zu tokens %.3f, activations %.3f", tq_mib(p->total),
           tq_mib(p->packed + p->mapped), p->ctx, tq_mib(p->state), tq_mib(p->activations));
    if (p->machine) printf("; the machine has %.0f MiB", tq_mib(p->machine));
    puts(p->streams ? ", the model is streamed" : "");
}

static void print_score(const char *who, tq_score s) {
    double low, high;
    tq_score_interval(s, &low, &high);
    printf("%-11s %zu of %zu answered exactly: %.1f %%, between %.1f and %.1f at 95 %%\n", who, s.right, s.of,
           100 * tq_score_share(s), 100 * low, 100 * high);
}

static cJSON *eval_json(const tq_options *o, const tq_session *s, const evaluation *e) {
    const tq_eval_result *r = &e->r;
    tq_memory memory = tq_session_memory(s);
    tq_memory_plan plan = tq_session_memory_plan(s, o->eval.ctx);
    cJSON *root = cJSON_CreateObject();
    bool ok = tq_json_number(root, "tokens", (double)r->tokens) && tq_json_number(root, "ppl_base", r->ppl_base) &&
              tq_json_number(root, "ppl", r->ppl) && tq_json_number(root, "ppl_ratio", r->ppl_ratio) &&
              tq_json_number(root, "ppl_ratio_stderr", r->ppl_ratio_stderr) && kld_json(root, r) &&
              tq_json_number(root, "same_top", r->same_top);
    cJSON *dp = ok ? cJSON_AddObjectToObject(root, "dp") : NULL;
    ok = dp && tq_json_number(dp, "mean", r->dp_mean) && tq_json_number(dp, "rms", r->dp_rms) &&
         tq_json_memory(root, &memory) && memory_json(root, &plan) && tq_json_baseline(root, s) &&
         questions_json(root, e) && (!o->worst || tq_json_worst(root, s, &e->worst)) &&
         tq_json_number(root, "seconds", e->seconds) &&
         cJSON_AddStringToObject(root, "text", tq_session_text_name(s)) &&
         (!o->against || cJSON_AddStringToObject(root, "against", o->against)) &&
         tq_json_number(root, "ctx", (double)o->eval.ctx) &&
         cJSON_AddBoolToObject(root, "score_half", o->eval.score_half);
    return tq_json_done(root, ok);
}

static void print_eval(const tq_options *o, const tq_session *s, const evaluation *e) {
    const tq_eval_result *r = &e->r;
    tq_memory m = tq_session_memory(s);
    printf("text        %s, %zu tokens scored in %zu windows\n", tq_session_text_name(s), r->tokens, r->windows);
    if (o->against) printf("against     %s\n", o->against);
    printf("perplexity  %.4f -> %.4f   x %.5f +- %.5f\n", r->ppl_base, r->ppl, r->ppl_ratio, r->ppl_ratio_stderr);
    if (!o->against && tq_model_baseline(tq_session_model(s))[0])
        printf("baseline    %s, already quantized: what follows is against that\n",
               tq_model_baseline(tq_session_model(s)));
    printf("KLD         %.6f +- %.6f nats   median %.6f   p90 %.5f   p99 %.5f   p99.9 %.4f   max %.4f\n", r->kld_mean,
           r->kld_stderr, r->kld_median, r->kld_p90, r->kld_p99, r->kld_p999, r->kld_max);
    printf("same top    %.3f %%   change of the right token's probability %+.3f %%, RMS %.3f %%\n", 100 * r->same_top,
           100 * r->dp_mean, 100 * r->dp_rms);
    printf("memory      %.3f MiB quantized, %.3f kept, %.3f of %.3f MiB in all (%.1f %%)\n", tq_mib(m.quantized),
           tq_mib(m.kept), tq_mib(m.total), tq_mib(m.baseline), 100 * (double)m.total / (double)m.baseline);
    tq_memory_plan plan = tq_session_memory_plan(s, o->eval.ctx);
    print_memory(&plan);
    printf("bits/weight %.4f of the blocks' matrices, %.4f of the model\n", m.bpw_linear, m.bpw_model);
    if (e->plan.of) print_score("questions", e->plan);
    if (e->plan.of) print_score("by the base", e->base);
    if (o->worst) tq_print_worst(s, &e->worst);
    printf("time        %.2f s\n", e->seconds);
}

static int ask(tq_batch *b, const tq_questions *q, tq_session *s, evaluation *e, tq_err *err) {
    tq_batch_step(b, "asking");
    e->plan.of = e->base.of = tq_questions_count(q);
    int rc = tq_questions_ask(q, s, false, &b->progress, &e->plan.right, err);
    return rc == TQ_OK ? tq_questions_ask(q, s, true, &b->progress, &e->base.right, err) : rc;
}

int tq_run_eval(const tq_options *o) {
    tq_batch b;
    tq_err err = {{0}};
    tq_session *s = NULL;
    evaluation e = {0};
    tq_questions *questions = NULL;
    double start = tq_now();
    tq_batch_begin(&b);
    tq_batch_step(&b, "quantizing");
    int rc = tq_options_open(o, &s, &err);
    if (rc == TQ_OK && o->against) rc = tq_session_set_reference(s, o->against, &err);
    if (rc == TQ_OK) rc = tq_batch_text(o, s, &err);
    if (rc == TQ_OK && o->questions) rc = tq_questions_load(o->questions, &questions, &err);
    if (rc == TQ_OK) rc = tq_session_apply(s, &b.progress, NULL, NULL, &err);
    tq_batch_step(&b, "evaluating");
    if (rc == TQ_OK) rc = tq_session_eval(s, &o->eval, &b.progress, NULL, NULL, &e.r, &err);
    if (rc == TQ_OK && o->worst) {
        tq_batch_step(&b, "looking at the worst");
        rc = tq_batch_worst_find(s, o->worst, o->explain, &b.progress, &e.worst, &err);
    }
    if (rc == TQ_OK && questions) rc = ask(&b, questions, s, &e, &err);
    if (rc == TQ_OK) {
        tq_batch_end(&b);
        tq_batch_notes(s);
        if (tq_session_calibrates_on_text(s))
            fputs("tqexplore: note: the plan is calibrated on the text that is evaluated: its figures are flattered\n",
                  stderr);
        e.seconds = tq_now() - start;
        if (o->json)
            rc = tq_batch_json(eval_json(o, s, &e), &err);
        else
            print_eval(o, s, &e);
    }
    if (rc == TQ_OK) rc = tq_batch_flush(&err);
    tq_questions_free(questions);
    tq_batch_worst_free(&e.worst);
    tq_session_close(s);
    return rc == TQ_OK ? EXIT_SUCCESS : tq_batch_fail(&b, &err);
}
