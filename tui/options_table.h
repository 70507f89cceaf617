/* options_table.h - the rows that the parser and the help go over. */
#ifndef TQ_OPTIONS_TABLE_H
#define TQ_OPTIONS_TABLE_H

#include "tui/options.h"

typedef struct tq_option {
    const char *name;  /* without "--" */
    const char *arg;   /* what help calls the value; NULL: a flag */
    unsigned commands; /* bit set: 1 << tq_command */
    bool repeatable;
    bool (*take)(tq_options *o, const char *v); /* NULL: help, man and version */
    const char *help;                           /* may have several lines */
    const char *expected;                       /* ends the error "--name value: expected ..." */
} tq_option;
extern const tq_option tq_option_table[]; /* ends with a row without a name */

/* The values of sweep and auto (options_tune.c), and what they cannot do without. */
bool tq_take_config(tq_options *o, const char *v);
bool tq_take_tune_text(tq_options *o, const char *v);
bool tq_take_tune_tokens(tq_options *o, const char *v);
bool tq_take_target_size(tq_options *o, const char *v);
bool tq_take_target_bpw(tq_options *o, const char *v);
bool tq_take_target_kld(tq_options *o, const char *v);
bool tq_take_pin(tq_options *o, const char *v);
bool tq_take_ends(tq_options *o, const char *v);
int tq_check_tuning(const tq_options *o, tq_err *err);

/* Those of compare (options_compare.c). */
bool tq_take_side_a(tq_options *o, const char *v);
bool tq_take_side_b(tq_options *o, const char *v);
bool tq_take_explain(tq_options *o, const char *v);
bool tq_take_worst(tq_options *o, const char *v);
bool tq_take_text(tq_options *o, const char *v);
bool tq_take_before(tq_options *o, const char *v);
int tq_check_compare(const tq_options *o, bool has_plan, tq_err *err);

/* The values of the explorer (options_explorer.c), and what excludes each other. */
bool tq_take_completion(tq_options *o, const char *v);
bool tq_take_scheme(tq_options *o, const char *v);
bool tq_take_no_mouse(tq_options *o, const char *v);
bool tq_take_ascii(tq_options *o, const char *v);
bool tq_take_memory(tq_options *o, const char *v);
bool tq_take_resume(tq_options *o, const char *v);
bool tq_take_no_resume(tq_options *o, const char *v);
bool tq_take_session(tq_options *o, const char *v);
int tq_check_explorer(const tq_options *o, tq_err *err);

typedef struct tq_command_row {
    const char *name;  /* "" for the explorer */
    const char *model; /* "MODEL" or "[MODEL]" */
    const char *what;
    bool needs_model;
} tq_command_row;
extern const tq_command_row tq_command_table[TQ_CMD_COUNT];

#define TQ_SAMPLE "tiny-qwen3.5" /* the sample model's directory; eval.txt lies beside it */
/* Its path, beside the build directory or where make install puts it; the caller's. NULL: it is not there. */
char *tq_find_sample(void);

#endif
