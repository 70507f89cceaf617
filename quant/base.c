#include "quant/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Names in messages come from files: what could move the cursor or end the line must not reach a terminal. The second
 * byte of the C1 controls in UTF-8 (U+0080 .. U+009F, C2 80 .. C2 9F) goes as well. */
static void sanitize(char *s) {
    for (unsigned char *c = (unsigned char *)s; *c; c++) {
        if (*c < 0x20 || *c == 0x7f) *c = '?';
        if (c[0] == 0xc2 && c[1] >= 0x80 && c[1] <= 0x9f) c[0] = c[1] = '?';
    }
}

int(tq_fail)(tq_err *err, const char *fmt, ...) {
    if (!err) return TQ_FAIL;
    va_list args;
    va_start(args, fmt);
    if (vsnprintf(err->msg, sizeof err->msg, fmt, args) < 0) memcpy(err->msg, "error", sizeof "error");
    va_end(args);
    sanitize(err->msg);
    return TQ_FAIL;
}

int tq_cancelled(tq_err *err) {
    tq_fail(err, "cancelled");
    return TQ_CANCELLED;
}

bool tq_progress_cancelled(const tq_progress *p) {
    return p && p->cancel && atomic_load_explicit(p->cancel, memory_order_relaxed);
}

void tq_progress_report(const tq_progress *p, double done, double total) {
    if (p && p->report) p->report(p->ctx, done, total);
}

bool tq_mul_size(size_t *out, size_t a, size_t b) {
    return !__builtin_mul_overflow(a, b, out);
}

bool tq_add_size(size_t *out, size_t a, size_t b) {
    return !__builtin_add_overflow(a, b, out);
}

void *tq_calloc_aligned(size_t n, size_t size) {
    size_t bytes, padded;
    if (!tq_mul_size(&bytes, n, size) || !tq_add_size(&padded, bytes, 63)) return NULL;
    padded &= ~(size_t)63;
    if (padded == 0) padded = 64;
    void *p = aligned_alloc(64, padded);
    if (p) memset(p, 0, padded);
    return p;
}

double tq_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
