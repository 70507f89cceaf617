/* manual.h - the manual page, made from the lists of options, actions and commands. */
#ifndef TQ_MANUAL_H
#define TQ_MANUAL_H

#include <stdio.h>

/* tqexplore(1), in the man macros, UTF-8. */
void tq_print_man(FILE *f);

#endif
