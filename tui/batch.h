/* batch.h - what the commands without a screen share. */
#ifndef TQ_BATCH_H
#define TQ_BATCH_H

#include <cjson/cJSON.h>

#include "tui/json_out.h"
#include "tui/options.h"

/* Progress on stderr when that is a terminal, and cancelling by SIGINT and SIGTERM. */
typedef struct tq_batch {
    tq_progress progress;
    const char *what; /* is being done, shown before the per cent */
    bool shows;       /* stderr is a terminal */
    bool shown;       /* something stands on the line */
    double start;
} tq_batch;

/* Signals go to this batch until tq_batch_end. */
void tq_batch_begin(tq_batch *b);
void tq_batch_end(tq_batch *b);
/* From here on it is `what` that progresses; clears the line. */
void tq_batch_step(tq_batch *b, const char *what);

/* "tqexplore: MESSAGE" on stderr. Returns the exit status 1. */
int tq_batch_fail(tq_batch *b, const tq_err *err);
/* Writes the session's notes to stderr, a line each. */
void tq_batch_notes(const tq_session *s);
/* Prints root on stdout and frees it. Fails when memory is short. */
int tq_batch_json(cJSON *root, tq_err *err);
/* Did everything reach stdout? */
int tq_batch_flush(tq_err *err);

/* Adds "bits" and "group" (a number, "row", or null for keep). */
bool tq_json_choice(cJSON *object, tq_choice c);
/* Adds "bytes" and "bpw" of the whole model. */
bool tq_json_baseline(cJSON *object, const tq_session *s); /* "baseline": "Q4_1 GGUF", or null for floats */
bool tq_json_memory(cJSON *root, const tq_memory *m);
/* Loads the text to evaluate; that there is none is an error. */
int tq_batch_text(const tq_options *o, tq_session *s, tq_err *err);
/* Bytes as MiB. */
double tq_mib(size_t bytes);

#endif
