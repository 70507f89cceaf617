/* session.h - the façade: one opened model, its plan, its quantized matrices, its evaluation, its chats. Knows no
 * screen. All functions are called by one thread (the worker), except where noted. */
#ifndef TQ_SESSION_H
#define TQ_SESSION_H

#include "model/budget.h"
#include "model/calibration.h"
#include "model/chat.h"
#include "model/divergence.h"
#include "model/export.h"
#include "model/memory_plan.h"
#include "model/plan.h"
#include "model/sampler.h"
#include "model/texts.h"

typedef struct tq_session tq_session;

typedef struct tq_session_options {
    int threads;               /* 0: physical cores */
    const char *cpu;           /* NULL, "auto", or the name of a table of kernels */
    bool exact;                /* answers in fp32 arithmetic; else packed codes meet integers and bf16 */
    size_t memory;             /* bytes that the machine has for this; 0: what it has */
    const char *chat_template; /* a file to take the chat template from; NULL: the model's */
} tq_session_options;

/* Opens a model: a .safetensors file, a directory, or a tq export (which comes with its plan and packed matrices).
 * Reads no weights: a table can be drawn at once. A missing tokenizer is not fatal (tq_session_tokenizer gives NULL and
 * tq_session_note says so). */
int tq_session_open(const char *path, const tq_session_options *options, tq_session **out, tq_err *err);
void tq_session_close(tq_session *s);

const tq_model *tq_session_model(const tq_session *s);
const tq_tokenizer *tq_session_tokenizer(const tq_session *s);
const tq_chat *tq_session_chat(const tq_session *s);
tq_pool *tq_session_pool(tq_session *s);
tq_arithmetic tq_session_arithmetic(const tq_session *s); /* of answers */
const char *tq_session_note(const tq_session *s);         /* "" or lines for the user, separated by '\n' */
/* The model is a tq export: its quantized matrices are there as packed only, cannot be changed, and what is measured is
 * measured against themselves. */
bool tq_session_is_packed(const tq_session *s);

/* The plan in force. Setting a choice or loading a plan marks matrices stale; tq_session_apply quantizes them. */
const tq_plan *tq_session_plan(const tq_session *s);
/* Copies the plan and marks what differs. Fails, and changes nothing, when a matrix cannot take its choice
 * (tq_choice_blocked). */
int tq_session_set_plan(tq_session *s, const tq_plan *plan, tq_err *err);
size_t tq_session_stale(const tq_session *s); /* matrices whose packed form is not the plan's */

/* The packed matrices, for the forward pass: [tq_model_matrices], changed by tq_session_apply. */
tq_variant tq_session_variant(const tq_session *s);

typedef struct tq_matrix_figures {
    bool ready;               /* packed as the plan says (a kept matrix is always ready) */
    tq_distortion distortion; /* 0 and 1 for keep; NaN when an export does not say it */
    size_t bytes;
    double bpw;
    bool calibrated;        /* the codes were found under the second moment of the input, and this is what it says: */
    bool fell_back;         /* its plain codes were better, or the moment could not be factored */
    bool unseen;            /* of an expert that saw too few tokens: its codes are plain, the next two NaN */
    double weighted, plain; /* tr(E H E^T) / tr(W H W^T), of the codes and of plain ones */
} tq_matrix_figures;
tq_matrix_figures tq_session_figures(const tq_session *s, size_t matrix);

/* Quantizes every stale matrix (progress in weights). after (may be NULL) is called when a
 * matrix is done. Cancel leaves the rest stale. */
int tq_session_apply(tq_session *s, const tq_progress *p, void (*after)(void *ctx, size_t matrix), void *ctx,
                     tq_err *err);

/* Distortion, cosine and bytes of matrix i at a choice that is not necessarily the plan's, with plain codes (the
 * inspect pane). */
int tq_session_try(tq_session *s, size_t matrix, tq_choice c, tq_matrix_figures *out, tq_err *err);

typedef struct tq_memory {
    size_t quantized; /* bytes of the packed matrices (matrices that are kept as stored are not in it) */
    size_t kept;      /* norms, and matrices kept as stored, embedding and head among them */
    size_t total;
    size_t baseline;   /* the model as stored */
    double bpw_linear; /* over the blocks' matrices */
    double bpw_model;  /* over all weights */
} tq_memory;
tq_memory tq_session_memory(const tq_session *s); /* by the plan (tq_qspec_bytes), also before it is applied */
/* What answering at a context of ctx tokens takes under the plan, beside the machine's memory. */
tq_memory_plan tq_session_memory_plan(const tq_session *s, size_t ctx);
size_t tq_session_machine(const tq_session *s); /* that memory; 0: not known */

/* The text that is evaluated: tokenized here, as plain text without a begin token; windows are pieces of those ids, as
 * they come. name is shown; text need not stay. */
int tq_session_set_text(tq_session *s, const char *name, const char *text, size_t bytes, tq_err *err);
int tq_session_load_text(tq_session *s, const char *path, tq_err *err);
const char *tq_session_text_name(const tq_session *s); /* NULL: none */
size_t tq_session_text_tokens(const tq_session *s);
const char *tq_session_text_hash(const tq_session *s); /* of its bytes; "": no text */

/* The text that plans with calibration gather second moments from; read when it is first needed. Moments are cached in
 * cache_dir (NULL: in memory). */
int tq_session_set_calibration(tq_session *s, const char *path, const tq_calib_options *o, const char *cache_dir,
                               tq_err *err);
/* The plan in force is calibrated on the text that is evaluated: figures then flatter it. False while none is read. */
bool tq_session_calibrates_on_text(const tq_session *s);

/* What the model is measured against from now on, instead of itself as stored: another model of the same sizes and
 * tokens, as a checkpoint that another program quantized is against the original. NULL: itself again. */
int tq_session_set_reference(tq_session *s, const char *path, tq_err *err);

/* The text by which matrices are compared, read when it is first needed; path NULL: the calibration text when there is
 * one, else the one that is evaluated. Measurements are kept in state_dir (NULL: in memory). */
int tq_session_set_tuning(tq_session *s, const char *path, const char *state_dir, tq_err *err);
/* Matrices are compared on the text that is evaluated: figures then flatter. False while none is read. */
bool tq_session_tunes_on_text(const tq_session *s);
const char *tq_session_tuning_name(const tq_session *s); /* NULL: none is read */

/* Measures what each matrix costs alone, or what is missing of that; see sensitivity.h. base NULL: all kept as stored,
 * with the residual, rotation and seed of the plan in force. */
int tq_session_sweep(tq_session *s, const tq_plan *base, const tq_sweep_options *o, const tq_progress *p,
                     void (*after)(void *ctx, size_t matrix), void *ctx, tq_err *err);
const tq_sensitivity *tq_session_sensitivity(const tq_session *s); /* NULL: no sweep was begun */
/* The table for budgets: sweeps what is missing with all matrices kept, codes the other choices, and measures the
 * uniform plans of the sweep's configs with options o. Borrowed, until the next sweep, text or change of residual,
 * rotation or seed. only: see tq_costs_new; such a table is made anew by the next call. */
int tq_session_costs(tq_session *s, const tq_sweep_options *sweep, const tq_eval_options *o, const tq_costs_scope *only,
                     const tq_progress *p, const tq_costs **out, tq_err *err);

/* Evaluates a plan that is not put in force: what is packed for the plan in force stays, too. */
int tq_session_measure(tq_session *s, const tq_plan *plan, const tq_eval_options *o, const tq_progress *p,
                       tq_eval_result *out, tq_err *err);

/* A plan within a target, beside the uniform one; see tq_session_auto. */
typedef struct tq_tried {
    tq_plan *plan; /* NULL: there is none */
    tq_budget budget;
    double foretold; /* KLD, with the plan's own calibration in mind */
    tq_eval_result eval;
} tq_tried;
typedef struct tq_auto_result {
    tq_tried solved, uniform;
    bool kept_uniform; /* which is better, and in force */
    bool in_reach;     /* false: no plan that was tried measured a KLD within the target */
} tq_auto_result;
void tq_auto_result_free(tq_auto_result *r);

/* Solves for the target (plan: the choices of the pinned matrices, and what all have in common), measures that plan and
 * the best uniform one within the target, and puts the better in force, applied and evaluated. For a KLD, the target is
 * tightened or eased until what is measured meets it. Calibration and states are those of plan; costs were measured
 * with plain codes, and what is foretold is scaled by the uniform plan. step (may be NULL) is told what begins. */
int tq_session_auto(tq_session *s, const tq_costs *costs, const tq_target *t, const bool *pinned, const tq_plan *plan,
                    const tq_eval_options *o, const tq_progress *p, void (*step)(void *ctx, const char *what),
                    void *ctx, tq_auto_result *out, tq_err *err);

/* Applies what is stale, then evaluates. Evaluators are kept per options (two at most), so that a coarse and a fine
 * evaluation are both incremental. */
int tq_session_eval(tq_session *s, const tq_eval_options *o, const tq_progress *p,
                    void (*partial)(void *ctx, const tq_eval_result *so_far), void *ctx, tq_eval_result *out,
                    tq_err *err);

/* Texts beside that one, as columns: plain text without a begin token. One that is there already (by its bytes) is not
 * added again, but becomes a tuning text when it is one. */
int tq_session_add_text(tq_session *s, const char *path, tq_text_role role, tq_err *err);
/* The text by which matrices are compared, or the one to calibrate on, when there is one. */
int tq_session_add_tuning_text(tq_session *s, tq_err *err);
void tq_session_drop_texts(tq_session *s);
size_t tq_session_texts(const tq_session *s); /* how many, 0 when there is none to evaluate; the first is that one */
const char *tq_session_text_at(const tq_session *s, size_t i, tq_text_role *role); /* its name, borrowed */
const char *tq_session_text_path(const tq_session *s, size_t i);                   /* real path, borrowed; "" of none */
size_t tq_session_text_length(const tq_session *s, size_t i);                      /* in tokens */
/* Applies what is stale and evaluates on text i. */
int tq_session_eval_text(tq_session *s, size_t i, const tq_eval_options *o, const tq_progress *p, tq_text_figures *out,
                         tq_err *err);
tq_text_figures
tq_session_last_figures(const tq_session *s); /* of the last tq_session_eval; not known: there is none */

/* The positions of the last evaluation with the highest KLD, falling: [*n], at most TQ_WORST_MAX; borrowed until the
 * next one. None when there is no evaluation of the plan in force. Positions are into tq_session_text_ids. */
#define TQ_WORST_MAX 64
const tq_worst *tq_session_worst(const tq_session *s, size_t *n);
const int *tq_session_text_ids(const tq_session *s); /* [tq_session_text_tokens] */

typedef struct tq_chat_options {
    tq_sampling sampling;
    size_t max_tokens; /* default 256 */
    bool base;         /* the model as stored instead of the plan */
    tq_think think;
} tq_chat_options;
typedef struct tq_chat_stats {
    size_t prompt_tokens, tokens;
    double prompt_seconds, seconds;
    bool ended; /* by an end token, not by a limit */
} tq_chat_stats;
/* Answers a conversation; piece is called with complete UTF-8 text as it comes and returns false to stop. *text (may be
 * NULL) is owned by the caller. The cache is reused when the conversation continues the one before with the same
 * variant. When cancelled, *text and *stats hold what came until then. */
int tq_session_answer(tq_session *s, const tq_message *messages, size_t n, const tq_chat_options *o,
                      const tq_progress *p, bool (*piece)(void *ctx, const char *text, size_t bytes), void *ctx,
                      char **text, tq_chat_stats *stats, tq_err *err);

/* Figures of the last evaluation and of all matrices, for a saved plan; valid until the next change. */
tq_plan_figures tq_session_plan_figures(tq_session *s);
int tq_session_save_plan(tq_session *s, const char *path, bool force, tq_err *err);
int tq_session_load_plan(tq_session *s, const char *path, tq_err *err);
/* A saved plan, not put in force; the caller's. */
int tq_session_read_plan(const tq_session *s, const char *path, tq_plan **out, tq_err *err);
/* Applies what is stale, but for a recipe. A plan that the format cannot say is refused before that. */
int tq_session_export(tq_session *s, tq_export_format f, const char *path, bool force, const tq_progress *p,
                      tq_err *err);

/* Histograms for the inspect pane: `bins` counts over [-range, range] of the weights divided by their RMS, as stored
 * and after rotation (per group normalised to z), kurtosis of both, and min / median / max row norm. */
#define TQ_HIST_BINS 64
typedef struct tq_inspection {
    double stored[TQ_HIST_BINS], rotated[TQ_HIST_BINS]; /* densities: sum * bin width = 1 */
    double range;                                       /* both are over [-range, range], in standard deviations */
    double kurtosis_stored, kurtosis_rotated;           /* 3 for a Gaussian */
    double rms, absmax;
    double norm_min, norm_median, norm_max; /* row norms */
} tq_inspection;
int tq_session_inspect(tq_session *s, size_t matrix, tq_inspection *out, tq_err *err);

#endif
