/* session_fixture.c - see session_fixture.h. */
#include "tests/session_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/logits_fixture.h"
#include "tests/scratch.h"

tq_session *open_session(const char *path, int threads) {
    tq_session *s = NULL;
    tq_err err = {{0}};
    check(tq_session_open(path, &(tq_session_options){.threads = threads}, &s, &err), &err);
    return s;
}

void set_rules(tq_session *s, const tq_common *common, const char *const *rules, size_t n) {
    tq_err err = {{0}};
    tq_plan *p = tq_plan_copy(tq_session_plan(s));
    assert_non_null(p);
    if (common) tq_plan_set_common(p, common);
    for (size_t i = 0; i < n; i++)
        check(tq_plan_rule(p, rules[i], NULL, &err), &err);
    check(tq_session_set_plan(s, p, &err), &err);
    tq_plan_free(p);
}

void set_rule(tq_session *s, const char *rule) {
    set_rules(s, NULL, &rule, 1);
}

float *session_logits(tq_session *s) {
    logits_fixture f = {.config = *tq_model_config(tq_session_model(s)), .model = (tq_model *)tq_session_model(s)};
    tq_err err = {{0}};
    int ids[SESSION_TOKENS];
    for (size_t i = 0; i < SESSION_TOKENS; i++)
        ids[i] = (int)((i * 31 + 5) % f.config.vocab);
    f.forward = tq_forward_new(f.model, tq_session_pool(s), &err);
    assert_non_null(f.forward);
    float *logits = logits_blocked(&f, tq_session_variant(s), ids, 1, SESSION_TOKENS);
    tq_forward_free(f.forward);
    return logits;
}
