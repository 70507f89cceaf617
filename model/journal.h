/* journal.h - lines that survive: each is appended by one write and ends with its own hash, so that a process killed at
 * any moment loses no line that was added, and a torn or changed one is dropped when the file is opened again. */
#ifndef TQ_JOURNAL_H
#define TQ_JOURNAL_H

#include "quant/base.h"

typedef struct tq_journal tq_journal;

/* Opens DIR/NAME for adding, makes both when they are missing, and gives every line whose hash is right to take, in
 * order, without the hash. What take refuses is dropped like what is damaged, and the file is then written anew with
 * what is left. The key is part of every hash: lines of another key are refused. The file is locked until it is closed;
 * one that another process holds is waited for (p may be NULL), which cancelling ends. */
int tq_journal_open(const char *dir, const char *name, uint64_t key, bool (*take)(void *ctx, const char *line),
                    void *ctx, const tq_progress *p, tq_journal **out, tq_err *err);
/* Gives the lines to take as above, but changes nothing and needs no lock. A file that is missing has none. */
int tq_journal_read(const char *dir, const char *name, uint64_t key, bool (*take)(void *ctx, const char *line),
                    void *ctx, tq_err *err);
void tq_journal_close(tq_journal *j); /* NULL is fine */

/* Adds a line (no newline in it). On failure the file is as before. */
int tq_journal_add(tq_journal *j, const char *line, tq_err *err);

/* $XDG_STATE_HOME/tqexplore, or ~/.local/state/tqexplore; NULL when there is neither. The caller frees it. */
char *tq_state_dir(void);

#endif
