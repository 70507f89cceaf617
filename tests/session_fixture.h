/* session_fixture.h - sessions for tests: what has to succeed before there is anything to test. */
#ifndef TQ_TESTS_SESSION_FIXTURE_H
#define TQ_TESTS_SESSION_FIXTURE_H

#include "model/session.h"

/* The caller closes it. */
tq_session *open_session(const char *path, int threads);

/* Puts the plan in force through the rules [n]; common: what is common to it, NULL: as it is. Nothing is packed yet. */
void set_rules(tq_session *s, const tq_common *common, const char *const *rules, size_t n);
void set_rule(tq_session *s, const char *rule);

/* Of 24 tokens at once, under the plan in force: [24, vocab], the caller's. */
enum { SESSION_TOKENS = 24 };
float *session_logits(tq_session *s);

#endif
