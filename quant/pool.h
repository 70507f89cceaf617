/* pool.h - the threads that live. One pool a session; the calling thread works too. */
#ifndef TQ_POOL_H
#define TQ_POOL_H

#include <stddef.h>

#include "quant/base.h"

typedef struct tq_pool tq_pool;

/* threads: 0 takes the number of physical cores this process may run on. The pool owns threads - 1 threads, which spin
 * for some microseconds and then sleep: an idle pool uses no CPU. NULL on failure. */
tq_pool *tq_pool_new(int threads, tq_err *err);
void tq_pool_free(tq_pool *pool);         /* NULL is fine */
int tq_pool_threads(const tq_pool *pool); /* 1 for NULL */

/* Calls fn(ctx, begin, end, thread) over [0, n) in chunks of `grain` (at least 1) handed out in order; thread is
 * 0 .. threads-1, for per-thread scratch. Returns when all chunks are done. pool may be NULL: runs here. Not
 * reentrant: fn may not call tq_pool_run on the same pool. What fn computes for an index may not depend on `thread`. */
void tq_pool_run(tq_pool *pool, size_t n, size_t grain, void (*fn)(void *ctx, size_t begin, size_t end, int thread),
                 void *ctx);

/* The same a few indexes at a time, for work that streams through memory: every thread starts at a place of its own and
 * goes on from there, so that what it reads lies together; at the end the threads help each other. */
void tq_pool_stream(tq_pool *pool, size_t n, void (*fn)(void *ctx, size_t begin, size_t end, int thread), void *ctx);
/* The first index of a stream of n that a thread takes; n when there is none for it. */
size_t tq_pool_stream_begin(const tq_pool *pool, size_t n, int thread);

/* Tells what a thread will read first in the next job, so that it can ask the memory for it while it has nothing else
 * to do: at most TQ_POOL_SPANS spans, of each the same share at a time until the job is there. A hint alone: nothing is
 * read, and what was told before is forgotten. Thread 0, the calling one, never waits for a job: it asks for half a
 * KiB whenever it calls tq_pool_ask. */
#define TQ_POOL_SPANS 3
typedef struct tq_ahead {
    const void *p;
    size_t bytes;
} tq_ahead;
void tq_pool_expect(tq_pool *pool, int thread, const tq_ahead *spans, size_t count);
void tq_pool_ask(tq_pool *pool);

#endif
