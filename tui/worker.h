/* worker.h - the one thread that owns the session. The screen posts what it wants and takes a snapshot by value.
 *
 * Two kinds of work. What is wanted: the newest plan, text and evaluation, and the matrix to inspect; a newer wish
 * replaces the older one and cancels it. What is asked: chat, save, load, export, in order; these come first, and
 * the evaluation that they interrupted goes on afterwards. */
#ifndef TQ_WORKER_H
#define TQ_WORKER_H

#include "model/compare.h"
#include "model/questions.h"
#include "tui/options.h"

typedef struct tq_worker tq_worker;

typedef enum tq_job {
    TQ_JOB_NONE,
    TQ_JOB_OPEN,
    TQ_JOB_TEXT,
    TQ_JOB_APPLY, /* quantizing */
    TQ_JOB_EVAL,
    TQ_JOB_INSPECT,
    TQ_JOB_CHAT,
    TQ_JOB_SAVE,
    TQ_JOB_LOAD,
    TQ_JOB_EXPORT,
    TQ_JOB_SWEEP,   /* measuring what matrices cost alone */
    TQ_JOB_COMPARE, /* measuring the uniform plan of a budget */
    TQ_JOB_ANSWERS, /* two sides, one prompt */
    TQ_JOB_EXPLAIN, /* which layers make them differ */
    TQ_JOB_ASK,     /* the questions, of the plan and once of the model as stored */
    TQ_JOB_READ_QUESTIONS,
    TQ_JOB_TEXTS,    /* evaluating on the texts beside the main one */
    TQ_JOB_ADD_TEXT, /* one more of them */
    TQ_JOB_COUNT
} tq_job;
const char *tq_job_name(tq_job job); /* "evaluating", ... */
/* Is it work that nobody asked for, and that goes on by itself after an interruption? */
bool tq_job_background(tq_job job);

/* What a matrix costs, and the spec for which that was measured. */
typedef struct tq_measured {
    bool known;
    tq_qspec spec;
    tq_matrix_figures figures;
} tq_measured;

/* What a matrix costs alone in 4 bits, while the sweep goes on; rel_mse 0: not measured yet. */
typedef struct tq_felt {
    double kld, rel_mse;
} tq_felt;

/* The serial of the plan that the session opens with; later ones come with tq_worker_want_plan. */
enum { TQ_SERIAL_FIRST = 1 };

/* One of the texts, the main one first. */
typedef struct tq_text_status {
    char name[64];
    char path[512]; /* real path; "" when it is too long */
    tq_text_role role;
    uint64_t serial; /* of the plan that the figures are of */
    tq_text_figures figures;
} tq_text_status;

typedef struct tq_status {
    const char *kernels; /* the instruction set in use */
    int threads;
    tq_job job;
    tq_job asked;                /* what was asked and waits for the job to end; TQ_JOB_NONE: nothing */
    double done, total, started; /* of the job; started: tq_now() */
    bool cancelling;
    tq_eval_result eval;  /* the newest figures; tokens 0: none yet */
    uint64_t eval_serial; /* of the plan that they are for */
    bool eval_running;    /* eval will be refined */
    size_t eval_goal;     /* scored tokens that it will rest on */
    size_t text_tokens;   /* 0: no text */
    size_t n_texts;       /* texts to evaluate */
    tq_text_status texts[TQ_TEXTS_MAX];
    size_t questions;         /* 0: none */
    bool questions_read;      /* those of the beginning are, or there are none */
    char questions_path[512]; /* "": none */
    char questions_hash[17];
    tq_score score; /* of the plan with serial score_serial, so far */
    uint64_t score_serial;
    tq_score base_score; /* of the model as stored, so far */
    bool flattered;      /* the plan is calibrated on that very text */
    bool text_read;      /* the text of the beginning is, or there is none */
    char text_name[128];
    char text_hash[17]; /* "": no text yet */
} tq_status;

/* What the inspect panel shows of a matrix at a group size; filled from top to bottom. */
typedef struct tq_inspected {
    size_t matrix, group;
    uint64_t common; /* residual, rotation and seed when it was asked for, see tq_worker_inspect */
    bool has_histogram;
    tq_inspection histogram;
    bool known[TQ_BITS_COUNT];
    tq_matrix_figures figures[TQ_BITS_COUNT];
} tq_inspected;

/* The positions of an evaluation with the highest KLD, with the text around each. */
typedef struct tq_worst_item {
    tq_worst where;
    const int *ids; /* [before + 1 + after]: the window up to the token, the token, and what follows */
    size_t before, after;
} tq_worst_item;
typedef struct tq_worst_list {
    uint64_t serial; /* of the plan */
    tq_worst_item items[TQ_WORST_MAX];
    size_t n;
    int *ids; /* what the items point into */
} tq_worst_list;
void tq_worst_list_free(tq_worst_list *l); /* NULL is fine */

/* Something that the screen has to do or say, in order. */
typedef struct tq_event {
    struct tq_event *next;
    tq_job job;
    int rc;                      /* TQ_OK, TQ_FAIL, TQ_CANCELLED */
    bool exists;                 /* failed because the file exists: may be asked again with force */
    tq_err err;                  /* why not */
    char path[512];              /* of the file read or written */
    const char *note;            /* on what was exported; NULL: none */
    uint64_t serial;             /* of the plan saved */
    tq_plan *plan;               /* loaded: the screen's now */
    char *text;                  /* chat: a piece of the answer */
    bool ended;                  /* chat: it was the last */
    tq_chat_stats stats;         /* chat, when ended */
    tq_inspected *inspected;     /* inspect: the screen's now */
    tq_costs *costs;             /* sweep: the screen's now */
    tq_common common;            /* sweep: what all of its plans have in common */
    bool tunes_on_text;          /* sweep: on the text that is evaluated */
    uint64_t tag;                /* answers, explain: what was given with the request */
    int side;                    /* answers: whose piece text is */
    tq_comparison *comparison;   /* answers, when ended: the screen's now */
    tq_worst_list *worst;        /* eval, when it is through: the screen's now */
    tq_explanation *explanation; /* explain: the screen's now */
    tq_eval_result eval;         /* compare: of plan, which is the screen's now; serial is that of the budget's plan */
} tq_event;
void tq_event_free(tq_event *e);

/* Starts the thread, which opens the session, quantizes and evaluates it as o says (o must outlive it). */
tq_worker *tq_worker_start(const tq_options *o, tq_err *err);
/* Cancels what runs, joins the thread and closes the session. */
void tq_worker_stop(tq_worker *w);

/* Becomes readable when there is something new; tq_worker_snapshot empties it. */
int tq_worker_fd(const tq_worker *w);
/* Waits until the model is open. model is borrowed and does not change afterwards; plan is the caller's. */
int tq_worker_wait_open(tq_worker *w, const tq_model **model, const tq_tokenizer **tok, tq_plan **plan, char **note,
                        tq_err *err);
bool tq_worker_can_think(tq_worker *w); /* of the opened model: tq_chat_can_think */
/* Copies the status, measured and felt ([matrices]), and takes the events (NULL: none). */
tq_event *tq_worker_snapshot(tq_worker *w, tq_status *status, tq_measured *measured, tq_felt *felt);

/* Takes plan over. */
void tq_worker_want_plan(tq_worker *w, tq_plan *plan, uint64_t serial);
void tq_worker_want_eval(tq_worker *w, size_t ctx, size_t tokens, bool score_half);
/* Sweeps when there is nothing better to do, until it is done or cancelled. */
void tq_worker_want_sweep(tq_worker *w);
/* Takes plan over: it is measured beside the wanted plan of this serial, after its evaluation. */
void tq_worker_want_compare(tq_worker *w, tq_plan *plan, uint64_t serial);
/* SIZE_MAX: nothing. common comes back with the result. */
void tq_worker_inspect(tq_worker *w, size_t matrix, size_t group, uint64_t common);
/* Asks; the strings are copied. */
void tq_worker_text(tq_worker *w, const char *path);
void tq_worker_add_text(tq_worker *w, const char *path); /* held out, beside the others */
/* Questions from a file; "" or "none": none any more. */
void tq_worker_questions(tq_worker *w, const char *path);
void tq_worker_chat(tq_worker *w, const tq_message *messages, size_t n, const tq_chat_options *o);
void tq_worker_save(tq_worker *w, const char *path, bool force);
void tq_worker_load(tq_worker *w, const char *path);
void tq_worker_export(tq_worker *w, tq_export_format f, const char *path, bool force);
/* Both sides answer the prompt (plan NULL: the model as stored), and why they differ; events have the tag. All is
 * copied. */
void tq_worker_compare(tq_worker *w, const char *prompt, const tq_plan *const plan[2], const tq_chat_options *o,
                       uint64_t tag);
void tq_worker_explain(tq_worker *w, const tq_explain_at *at, uint64_t tag);
/* Stops and forgets what was asked; when nothing was, stops what runs in the background, which then starts again with
 * the next change. */
void tq_worker_cancel(tq_worker *w);

#endif
