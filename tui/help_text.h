/* help_text.h - --help, made from the table of options. */
#ifndef TQ_HELP_TEXT_H
#define TQ_HELP_TEXT_H

#include <stdio.h>

#include "tui/options.h"

/* Of the whole program for TQ_CMD_EXPLORE, else of one command. */
void tq_print_help(FILE *f, tq_command command);

#endif
