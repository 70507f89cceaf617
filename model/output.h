/* output.h - a file that appears whole under its name, or not at all. Private to model/. */
#ifndef TQ_OUTPUT_H
#define TQ_OUTPUT_H

#include "quant/base.h"

/* A new file beside path; *temp is its name, owned by the caller. Links and files that are there are never followed. */
int tq_output_open(const char *path, char **temp, int *fd, tq_err *err);
int tq_output_write(int fd, const void *data, size_t bytes, const char *path, tq_err *err);
/* Syncs, closes and renames temp to path. Closes fd in every case; temp is removed when something fails. */
int tq_output_commit(int fd, const char *temp, const char *path, tq_err *err);

#endif
