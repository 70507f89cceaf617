/* options_table.h - the rows that the parser and the help go over. */
#ifndef TQ_OPTIONS_TABLE_H
#define TQ_OPTIONS_TABLE_H

#include "tui/options.h"

typedef struct tq_option {
    const char *name;  /* without "--" */
    const char *arg;   /* what help calls the value; NULL: a flag */
    unsigned commands; /* bit set: 1 << tq_command */
    bool repeatable;
    bool (*take)(tq_options *o, const char *v); /* NULL: help and version */
    const char *help;                           /* may have several lines */
    const char *expected;                       /* ends the error "--name value: expected ..." */
} tq_option;
extern const tq_option tq_option_table[]; /* ends with a row without a name */

typedef struct tq_command_row {
    const char *name;  /* "" for the explorer */
    const char *model; /* "MODEL" or "[MODEL]" */
    const char *what;
    bool needs_model;
} tq_command_row;
extern const tq_command_row tq_command_table[TQ_CMD_COUNT];

#endif
