/* base.h - errors, cancellation and checked sizes, shared by everything above the kernels. */
#ifndef TQ_BASE_H
#define TQ_BASE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A message for a person: one line, no newline, names the file or tensor and what was expected. The caller owns it. */
typedef struct tq_err {
    char msg[512];
} tq_err;

/* Results of functions that can fail. */
enum { TQ_OK = 0, TQ_FAIL = -1, TQ_CANCELLED = -2 };

/* Writes the message (err may be NULL) and returns TQ_FAIL, so that `return tq_fail(err, ...)` reads well. Control
 * characters that come from files are replaced by '?'. */
int tq_fail(tq_err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
#ifdef __clang_analyzer__ /* which sees one file at a time, and would think that it may return TQ_OK */
#define tq_fail(...) ((void)(tq_fail)(__VA_ARGS__), TQ_FAIL)
#endif

/* Says "cancelled" and returns TQ_CANCELLED. */
int tq_cancelled(tq_err *err);

/* Progress and cancellation of long work. Both members may be zero. `report` is called from the thread that called the
 * long function, at most some tens of times a second; done and total are in units of the work (tokens, weights). */
typedef struct tq_progress {
    void (*report)(void *ctx, double done, double total);
    void *ctx;
    atomic_bool *cancel; /* set by another thread */
} tq_progress;

bool tq_progress_cancelled(const tq_progress *p); /* p may be NULL */
void tq_progress_report(const tq_progress *p, double done, double total);

/* *out = a * b (a + b), or false on overflow. */
bool tq_mul_size(size_t *out, size_t a, size_t b);
bool tq_add_size(size_t *out, size_t a, size_t b);

/* 64-byte aligned memory, zeroed; NULL on overflow of n * size or when memory is short. Freed with free(). */
void *tq_calloc_aligned(size_t n, size_t size);

/* Seconds on a monotonic clock. */
double tq_now(void);

#endif
