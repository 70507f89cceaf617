/* bench_read.c - how fast this machine reads memory: what decoding is held against. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "quant/pages.h"
#include "tui/bench.h"

#define READ_BYTES ((size_t)512 << 20) /* more than the caches of a large machine */
#define READ_CHUNK ((size_t)1 << 20)
enum { READ_TIMES = 3 };

struct tq_bench_reader {
    tq_pool *pool;
    unsigned char *page, *huge; /* [READ_BYTES] in ordinary pages, and in huge ones */
    unsigned char *data;        /* the one that is being read */
    _Atomic uint64_t sum;       /* so that reading cannot be left out */
};

tq_bench_reader *tq_bench_reader_new(tq_pool *pool, tq_err *err) {
    tq_bench_reader *r = calloc(1, sizeof *r);
    if (r) r->page = tq_calloc_aligned(READ_BYTES, 1);
    if (r) r->huge = tq_pages_alloc(READ_BYTES);
    if (!r || !r->page || !r->huge) {
        (void)tq_fail(err, "out of memory: %zu MiB to read", READ_BYTES >> 20);
        tq_bench_reader_free(r);
        return NULL;
    }
    r->pool = pool;
    memset(r->page, 1, READ_BYTES); /* pages never written are all one page of zeros */
    memset(r->huge, 1, READ_BYTES);
    return r;
}

void tq_bench_reader_free(tq_bench_reader *r) {
    if (!r) return;
    free(r->page);
    tq_pages_free(r->huge);
    free(r);
}

static void read_some(void *ctx, size_t begin, size_t end, int thread) {
    tq_bench_reader *r = ctx;
    (void)thread;
    r->sum += tq_k()->read_sum(r->data + begin * READ_CHUNK, (end - begin) * READ_CHUNK);
}

/* The best of some passes, GB/s. */
static double best_of(tq_bench_reader *r, unsigned char *data, int times) {
    double best = INFINITY;
    r->data = data;
    for (int i = 0; i < times; i++) {
        double start = tq_now();
        tq_pool_run(r->pool, READ_BYTES / READ_CHUNK, 4, read_some, r);
        best = fmin(best, tq_now() - start);
    }
    return (double)READ_BYTES / best * 1e-9;
}

double tq_bench_read(tq_bench_reader *r) {
    return best_of(r, r->page, READ_TIMES);
}

double tq_bench_read_huge(tq_bench_reader *r) {
    return best_of(r, r->huge, READ_TIMES);
}

double tq_bench_read_once(tq_bench_reader *r) {
    return best_of(r, r->page, 1);
}
