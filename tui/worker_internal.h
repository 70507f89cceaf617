/* worker_internal.h - the worker's state, shared by the thread and its lifecycle (worker.c) and by the work itself
 * (worker_jobs.c). */
#ifndef TQ_WORKER_INTERNAL_H
#define TQ_WORKER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "tui/worker.h"

/* Something that was asked for. */
typedef struct tq_request {
    struct tq_request *next;
    tq_job job;
    char path[512];
    tq_export_format format;
    bool force;
    tq_message *messages; /* [n], strings owned */
    size_t n;
    tq_chat_options chat;
    uint64_t tag; /* answers and explain, from here on */
    tq_plan *plan[2];
    int *ids; /* [n_ids] */
    size_t n_ids;
    bool draws, ends_only;
    tq_sampler sampler;
    int token[2];
} tq_request;
tq_request *tq_request_new(tq_job job, const char *path); /* NULL when memory is short */
void tq_request_free(tq_request *r);

/* How far a plan has come with the questions; kept for the last ones, so that undo finds its score again. */
enum { TQ_TALLIES = 32 };
typedef struct tq_tally {
    uint64_t serial; /* 0: free */
    tq_score score;
} tq_tally;

struct tq_worker {
    const tq_options *options;
    tq_session *session; /* the thread's alone */
    uint64_t session_serial;
    tq_questions *questions; /* NULL: none; the thread's alone, as the next two */
    tq_tally tallies[TQ_TALLIES];
    size_t next_tally;
    tq_eval_options eval_now; /* the options of the evaluation that runs: the thread's alone */

    pthread_t thread;
    pthread_mutex_t mutex; /* guards everything below but cancel and wake */
    pthread_cond_t changed;
    int wake[2];
    atomic_bool cancel;
    bool quit;

    bool opened, failed;
    tq_err open_err;
    const tq_model *model;
    const tq_tokenizer *tokenizer;
    bool can_think;
    tq_plan *first_plan;
    char *note;

    tq_status status;
    tq_measured *measured; /* [matrices] */
    tq_felt *felt;         /* [matrices] */
    tq_event *events, **events_end;

    tq_plan *plan; /* wanted, NULL once the session has it */
    uint64_t plan_serial;
    bool to_apply, to_coarse, to_fine, to_texts, to_sweep, to_ask;
    tq_plan *uniform; /* to compare with the plan of this serial; NULL: nothing */
    uint64_t uniform_serial;
    tq_eval_options eval;
    size_t inspect; /* SIZE_MAX: none */
    size_t inspect_group;
    uint64_t inspect_common;
    tq_request *requests, **requests_end;
};

/* A request while it is worked on. */
typedef struct tq_request_run {
    tq_worker *worker;
    const tq_request *request;
} tq_request_run;

/* Takes the request over. */
void tq_worker_ask(tq_worker *w, tq_request *r);
/* Wakes the screen: there is something new. */
void tq_worker_wake(tq_worker *w);

/* A new event, NULL when memory is short; err is copied unless rc is TQ_OK, and may be NULL. */
tq_event *tq_worker_event(tq_job job, int rc, const tq_err *err);
/* Gives it to the screen; e may be NULL. */
void tq_worker_post(tq_worker *w, tq_event *e);

/* The work, called by the thread without the mutex. */
bool tq_work_open(tq_worker *w); /* false: failed, and said so in open_err */
void tq_work_apply(tq_worker *w);
void tq_work_eval(tq_worker *w, bool coarse);
void tq_work_inspect(tq_worker *w);
void tq_work_sweep(tq_worker *w);
void tq_work_compare(tq_worker *w);
void tq_work_ask(tq_worker *w);
void tq_work_texts(tq_worker *w);
int tq_work_add_text(tq_worker *w, const char *path, tq_err *err);
/* The texts beside the main one, as the options have them. */
void tq_work_first_texts(tq_worker *w);
/* What texts there are, after a change of them; with the mutex held. */
void tq_work_list_texts(tq_worker *w);
/* The main text's figures of the evaluation that has come to its end. */
void tq_work_note_main_text(tq_worker *w);
/* The questions of the options, or the sample's; called when the session is open. */
void tq_work_first_questions(tq_worker *w);
int tq_work_read_questions(tq_worker *w, const char *path, tq_err *err);
int tq_work_sync_plan(tq_worker *w, tq_err *err); /* the session gets the newest plan */
tq_progress tq_work_progress(tq_worker *w);
void tq_work_request(tq_worker *w, const tq_request *r);
/* What is asked for in worker_compare.c: the result goes into e. */
void tq_work_answers(tq_worker *w, const tq_request *r, tq_event *e);
void tq_work_explain(tq_worker *w, const tq_request *r, tq_event *e);
/* Tells the screen the worst tokens of the evaluation that has come to its end. */
void tq_work_tell_worst(tq_worker *w);

#endif
