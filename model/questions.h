/* questions.h - questions whose answers are known, and how many of them the model answers exactly. */
#ifndef TQ_QUESTIONS_H
#define TQ_QUESTIONS_H

#include "model/session.h"

typedef struct tq_questions tq_questions;

/* Reads JSON lines: {"prompt": TEXT, "answer": TEXT} or {"messages": [{"role", "content"}, ...], "answer": TEXT}, other
 * members ignored. Errors name the file and the line. *out is owned by the caller. */
int tq_questions_load(const char *path, tq_questions **out, tq_err *err);
void tq_questions_free(tq_questions *q);
size_t tq_questions_count(const tq_questions *q);
const char *tq_questions_hash(const tq_questions *q); /* of the bytes of the file, 16 digits */

/* Asks one, greedily, of the session's plan (or of the model as stored). An answer is right when it is the expected
 * text, white space at both ends aside. The session's plan is applied first. */
int tq_questions_ask_one(const tq_questions *q, tq_session *s, bool base, size_t i, const tq_progress *p, bool *right,
                         tq_err *err);
/* Asks all of them. */
int tq_questions_ask(const tq_questions *q, tq_session *s, bool base, const tq_progress *p, size_t *right, tq_err *err);

/* The share of right answers, of `of` (0: none yet), with Wilson's interval of 95 % (E. B. Wilson, JASA 22, 1927). */
typedef struct tq_score {
    size_t right, of;
} tq_score;
double tq_score_share(tq_score s); /* 0..1 */
void tq_score_interval(tq_score s, double *low, double *high);

#endif
