/* export_internal.h - the directory that an export is built in, and the files of tensors in it; private to model/. */
#ifndef TQ_EXPORT_INTERNAL_H
#define TQ_EXPORT_INTERNAL_H

#include "model/export.h"
#include "model/json.h"
#include "model/tensor_writer.h"

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

typedef enum tq_export_kind { TQ_KIND_TQ, TQ_KIND_HF, TQ_KIND_TURBOQUANT } tq_export_kind;

/* The two passes over the tensors of a file. */
typedef enum tq_export_pass { TQ_PASS_DECLARE, TQ_PASS_WRITE } tq_export_pass;

typedef struct tq_export_run {
    const tq_export_job *job;
    tq_export_kind kind;
    const tq_progress *progress;
    const tq_source *source;
    size_t *owner; /* [tensors of the source]: the matrix whose weights a tensor holds, SIZE_MAX: none */
    tq_outdir dir;
    cJSON *weight_map; /* of the index; NULL with a single shard */
    size_t shard_index;
    const char *shard; /* name of the one being written */
    char shard_name[64];
    tq_writer *writer;
    double done, total;
    size_t bytes; /* declared so far */
} tq_export_run;

/* Makes the directory for about `bytes` of tensors. On failure there is nothing to end. */
int tq_export_begin(tq_export_run *r, const tq_export_job *job, tq_export_kind kind, size_t bytes, const tq_progress *p,
                    tq_err *err);
/* Moves the directory into place when rc is TQ_OK, else removes it; returns rc, or what went wrong. */
int tq_export_end(tq_export_run *r, int rc, tq_err *err);

/* A file of tensors: put is called for each pass, and does the same tensors in the same order. */
int tq_export_file(tq_export_run *r, const char *name, int (*put)(tq_export_run *r, tq_export_pass pass, tq_err *err),
                   tq_err *err);
int tq_export_declare(tq_export_run *r, const char *name, const char *dtype, const size_t *shape, size_t rank,
                      size_t bytes, tq_err *err);
int tq_export_data(tq_export_run *r, const void *data, size_t bytes, tq_err *err);
/* A tensor that stays, under `name`: its bytes, or floats where it is not stored as others read it. */
int tq_export_tensor(tq_export_run *r, const char *name, const tq_tensor *t, tq_export_pass pass, tq_err *err);
int tq_export_text(const tq_export_run *r, const char *name, const char *text, tq_err *err);
int tq_export_plan(const tq_export_run *r, tq_err *err);

/* Is it a part of a packed matrix in a source that is a tq export? */
bool tq_export_is_packed_part(const char *name);
/* Matrix i as the export has it, packed; NULL: as stored. */
const tq_qmatrix *tq_export_packed(const tq_model *m, tq_variant q, size_t i);

#endif
