/* options.h - the command line as a struct. One table of options says which command takes which; help is made from it.
 *
 * What a command does not use is an error there, never ignored. */
#ifndef TQ_OPTIONS_H
#define TQ_OPTIONS_H

#include "model/session.h"
#include "tui/scheme.h"

typedef enum tq_command {
    TQ_CMD_EXPLORE,
    TQ_CMD_LAYERS,
    TQ_CMD_EVAL,
    TQ_CMD_CHAT,
    TQ_CMD_EXPORT,
    TQ_CMD_SWEEP,
    TQ_CMD_AUTO,
    TQ_CMD_BENCH,
    TQ_CMD_COMPARE,
    TQ_CMD_COUNT
} tq_command;

/* What becomes of the session that was kept of this model. */
typedef enum tq_resume { TQ_RESUME_ASK, TQ_RESUME_YES, TQ_RESUME_NO } tq_resume;

/* Sizes of a model made for bench: a Llama of random weights. */
typedef struct tq_shape {
    size_t hidden, intermediate, blocks, heads, kv_heads, vocab;
} tq_shape;

/* Strings are borrowed from argv, but for sample_dir and the lists, which tq_options_free releases. */
typedef struct tq_options {
    tq_command command;
    const char *model; /* never NULL after parsing, but for bench without MODEL */
    bool sample;       /* no MODEL was given: model is the sample model */

    /* The plan; see tq_options_plan. */
    const char *plan;   /* --plan FILE or NULL */
    const char **rules; /* [n_rules] --set, in the order given */
    size_t n_rules;
    bool residual_given, rotation_given, rotation_seed_given;
    tq_residual residual;
    tq_rotation_kind rotation;
    uint64_t rotation_seed;
    int states; /* 0: not given */
    bool calibrate_given;
    tq_calibrate calibrate;
    const char *calib; /* --calib FILE or NULL */
    tq_calib_options calib_options;

    const char *text;                     /* --text FILE or NULL */
    const char *more_texts[TQ_TEXTS_MAX]; /* [n_more_texts] --text again, and again */
    size_t n_more_texts;
    const char *before;  /* eval: --before PLAN or NULL */
    const char *against; /* --against MODEL or NULL */
    tq_eval_options eval;
    bool eval_given;       /* any of --ctx, --tokens, --score-half */
    const char *questions; /* --questions FILE or NULL */
    size_t worst;          /* --worst: how many; 0: none */

    /* sweep and auto */
    const char *tune_text; /* --tune-text FILE or NULL */
    size_t tune_tokens;    /* 0: the default */
    tq_choice *configs;    /* [n_configs] --config */
    size_t n_configs;
    unsigned targets; /* how many of --size, --bpw, --kld were given */
    tq_target target;
    const char **pins; /* [n_pins] --pin */
    size_t n_pins;
    size_t memory; /* --memory; 0: the machine's */
    bool ends;     /* budgets choose for embedding and head too */

    /* compare: "base", "plan" or a file; NULL: base and plan */
    const char *side[2];
    bool explain;

    const char *prompt;        /* --prompt TEXT or NULL */
    const char *chat_template; /* --chat-template FILE or NULL */
    tq_chat_options chat;

    tq_export_format format;
    const char *out;
    bool force;

    tq_shape shape; /* bench; hidden 0 when a model was given */
    bool head_given;
    tq_bits head; /* bench: of the output head */
    size_t rounds;

    const char *completion; /* --completion SHELL or NULL */
    bool no_mouse, ascii, scheme_given;
    tq_scheme scheme;
    tq_resume resume;
    unsigned resumes;    /* how many of --resume, --no-resume, --session were given */
    const char *session; /* --session FILE or NULL */

    bool json;
    bool exact;      /* --exact */
    int threads;     /* 0: physical cores */
    const char *cpu; /* NULL: the best that the machine has */

    char *sample_dir; /* where the sample model lies, or NULL */
} tq_options;

/* What main does after parsing. */
typedef enum tq_parsed {
    TQ_PARSED_RUN,   /* run o->command */
    TQ_PARSED_DONE,  /* --help, --version, --man or --completion was printed to stdout: exit 0 */
    TQ_PARSED_USAGE, /* the command line is wrong, err says how: exit 2 */
} tq_parsed;

tq_parsed tq_options_parse(int argc, char **argv, tq_options *o, tq_err *err);
void tq_options_free(tq_options *o);

/* Gives an opened session the plan that the options describe: --plan, then --residual, --rotation and the rotation
 * seed, then every --set in order. Without any of them the session's plan stays. */
int tq_options_plan(const tq_options *o, tq_session *s, tq_err *err);

bool tq_options_has_plan(const tq_options *o); /* do they say anything of a plan? */

/* The text to evaluate: --text, or eval.txt beside the model when that is the sample model. Returns TQ_OK with
 * no text loaded when there is neither (tq_session_text_name is then NULL). */
int tq_options_text(const tq_options *o, tq_session *s, tq_err *err);

/* The text that comes with the sample model, for any other; NULL: it is not installed. The caller frees it. */
char *tq_find_sample_text(void);

/* The file of questions that the explorer asks: --questions, or the sample model's when it is open with its own text;
 * NULL: none. The caller frees it. */
char *tq_options_questions(const tq_options *o, const tq_session *s);

/* The texts beside it: --text again, and the tuning text. Without any --text, the sample model's tuning text. */
int tq_options_more_texts(const tq_options *o, tq_session *s, tq_err *err);

/* Tells the session what matrices are compared on, and where measurements are kept. */
int tq_options_tuning(const tq_options *o, tq_session *s, tq_err *err);
tq_sweep_options tq_options_sweep(const tq_options *o);

/* Opens the session that the options describe, plan included, text not. */
int tq_options_open(const tq_options *o, tq_session **out, tq_err *err);

/* The commands without a screen (batch*.c); each returns the exit status and has said what went wrong on stderr. */
int tq_run_layers(const tq_options *o);
int tq_run_eval(const tq_options *o);
int tq_run_chat(const tq_options *o);
int tq_run_export(const tq_options *o);
int tq_run_sweep(const tq_options *o);
int tq_run_auto(const tq_options *o);
int tq_run_bench(const tq_options *o);
int tq_run_compare(const tq_options *o);

#endif
