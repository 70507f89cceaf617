/* records.h - what a program remembers while it runs: a file of lines "KEY JSON HASH", of which the last of a key
 * counts. A change is one append, so that a process killed at any moment loses nothing that was put; syncing to the
 * disk and writing the file anew (temporary name, fsync, rename) is a thread's, so that nobody waits for the disk. */
#ifndef TQ_RECORDS_H
#define TQ_RECORDS_H

#include <stdbool.h>
#include <stddef.h>

#include "quant/base.h"

struct cJSON;

enum { TQ_RECORD_KEY = 32 };

typedef struct tq_record {
    char key[TQ_RECORD_KEY]; /* letters, digits, '-' and '_' */
    char *text;              /* the value, JSON in one line; owned */
    struct cJSON *value;     /* of records that were read, owned; else NULL */
} tq_record;

typedef struct tq_records {
    tq_record *items; /* [count], in the order in which their keys came first */
    size_t count, capacity;
    size_t bytes; /* of the file, without a torn last line */
} tq_records;

/* Reads the file. A last line that is torn is left out, as a kill leaves it; any other damage, a value that is no JSON,
 * too many of them, or a first record whose key is not `first` fails: then *out is empty. */
int tq_records_read(const char *path, const char *first, tq_records *out, tq_err *err);
void tq_records_free(tq_records *r);
const struct cJSON *tq_records_get(const tq_records *r, const char *key); /* NULL: absent */

typedef struct tq_keeper tq_keeper;

/* Claims the file for this process until it is closed (a lock on PATH.lock, which the system lets go when the process
 * ends, however it does). *busy: another process has it. Makes the directory; reads and writes nothing yet. */
int tq_keeper_claim(const char *path, bool *busy, tq_keeper **out, tq_err *err);
const char *tq_keeper_path(const tq_keeper *k);
/* Begins a file that must not exist yet, or goes on with what was read from it (taken over). */
int tq_keeper_begin(tq_keeper *k, tq_err *err);
int tq_keeper_continue(tq_keeper *k, tq_records *read, tq_err *err);
/* Keeps a value (JSON in one line), or forgets the key with NULL; what is there already costs nothing. On failure the
 * file is as before. Never waits for the disk. */
int tq_keeper_put(tq_keeper *k, const char *key, const char *text, tq_err *err);
size_t tq_keeper_bytes(tq_keeper *k);
/* Syncs and lets go; NULL is fine. */
void tq_keeper_close(tq_keeper *k);

#endif
