/* scratch.h - what tests in C share: a directory of their own, and calls that have to succeed. */
#ifndef TQ_TESTS_SCRATCH_H
#define TQ_TESTS_SCRATCH_H

#include "quant/base.h"

/* Made and removed, with all that is in it, by the group's set-up and tear-down. */
extern char scratch_dir[64];
int scratch_make(void **state);
int scratch_remove(void **state);

/* Prints the message and fails unless rc is TQ_OK. */
void check(int rc, const tq_err *err);

#endif
