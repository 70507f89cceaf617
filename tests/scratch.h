/* scratch.h - what tests in C share: a directory of their own, and calls that have to succeed. */
#ifndef TQ_TESTS_SCRATCH_H
#define TQ_TESTS_SCRATCH_H

#include "quant/base.h"

/* Made and removed, with all that is in it, by the group's set-up and tear-down. Whoever writes a file and then renames
 * it must have left none under its first name (.tmp-...): the program ends with status 1. */
extern char scratch_dir[64];
int scratch_make(void **state);
int scratch_remove(void **state);

/* DIR/NAME; good for the next three calls. */
const char *scratch_path(const char *name);
/* A file in it, of n bytes or of a text. */
void scratch_write(const char *name, const char *bytes, size_t n);
void scratch_text(const char *name, const char *text);
void scratch_delete(const char *name);

/* Prints the message and fails unless rc is TQ_OK. */
void check(int rc, const tq_err *err);

#endif
