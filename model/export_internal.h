/* export_internal.h - the directory that an export is built in; private to model/. */
#ifndef TQ_EXPORT_INTERNAL_H
#define TQ_EXPORT_INTERNAL_H

#include "model/export.h"

/* A head that a file holds beside the embedding that it is tied to. Nobody reads it; where the embedding goes out as
 * something else, some readers would take it for a head of its own. */
bool tq_is_idle_head(const tq_model *m, const tq_tensor *t);

/* A directory under a temporary name that becomes `path`, or vanishes. */
typedef struct tq_outdir {
    char *path; /* as asked for, without slashes at its end */
    char *temp;
    bool force;
} tq_outdir;

/* Refuses a path that is taken (unless force and it is an export of ours), looks whether `bytes` are free, and makes
 * the temporary directory beside it. */
int tq_outdir_new(const char *path, bool force, size_t bytes, tq_outdir *out, tq_err *err);
/* Copies config, tokenizer and template files of a model's directory as far as they are there, or writes those that its
 * file stands for; foreign: as other programs read them. */
int tq_outdir_copy(const tq_outdir *d, const tq_source *source, bool foreign, tq_err *err);
/* Moves the directory into place. Frees d's members in every case; the temporary directory is gone when it fails. */
int tq_outdir_finish(tq_outdir *d, tq_err *err);
void tq_outdir_abort(tq_outdir *d);

#endif
