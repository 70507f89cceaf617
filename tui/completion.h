/* completion.h - completion of the command line for shells, made from the table of options. */
#ifndef TQ_COMPLETION_H
#define TQ_COMPLETION_H

#include <stdbool.h>
#include <stdio.h>

bool tq_completion_known(const char *shell); /* bash, zsh, fish */
void tq_print_completion(FILE *f, const char *shell);

#endif
