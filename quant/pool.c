#include "quant/pool.h"

#include <cblas.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernels/kernels.h"

#define SPIN_SECONDS 60e-6
#define SPIN_HINTS 16 /* between two looks at the clock */
#define ASK_BYTES 512 /* between two looks for news */
#define MAX_CPUS 4096

/* The state of the pool in one word: how many threads are inside the job, whether the job still takes threads, and the
 * number of the job. A thread that wakes too late finds the job closed and is not waited for, so that a short job does
 * not pay for a sleeper. */
#define INSIDE_MASK UINT64_C(0xffff)
#define OPEN_BIT UINT64_C(0x10000)
#define JOB_SHIFT 17

/* How far a thread has come with what it was told. */
typedef struct asking {
    unsigned told;
    size_t steps; /* that are left */
    uintptr_t p[TQ_POOL_SPANS];
    size_t step[TQ_POOL_SPANS]; /* bytes of each span */
} asking;

/* One for every thread, the caller's (index 0) too. */
typedef struct worker {
    tq_pool *pool;
    pthread_t thread;
    int index;
    /* What it reads first in the next job, told by the caller at any moment: numbers may belong to two tellings, which
     * does no harm, as any address may be asked for. */
    _Alignas(64) atomic_uint told;
    atomic_uintptr_t span[TQ_POOL_SPANS];
    atomic_size_t span_bytes[TQ_POOL_SPANS];
    /* Its stretch of a stream, from which it and then the others take. */
    _Alignas(64) atomic_size_t next;
    size_t end;
    _Alignas(64) asking asking;
} worker;

struct tq_pool {
    int threads;
    int started;
    worker *workers; /* [threads] */

    /* What a thread needs to begin lies beside the word that it waits for: a line takes 0.2 us from core to core. All
     * but state are written by the caller while no thread is inside. */
    _Alignas(64) atomic_uint_least64_t state;
    void (*fn)(void *ctx, size_t begin, size_t end, int thread);
    void *ctx;
    size_t n, grain, chunks;
    size_t stretches; /* of a stream; 0: chunks are handed out in order */

    _Alignas(64) atomic_size_t next;
    _Alignas(64) atomic_int sleepers;
    atomic_bool caller_sleeps;
    atomic_bool quit;
    pthread_mutex_t lock;
    pthread_cond_t wake; /* a new job, or quit */
    pthread_cond_t done; /* the last thread left a closed job */
};

/* A quarter of what is left at a time: an atomic addition waits for the reads under way, so few are good, and the last
 * pieces must be small, as the others wait for them. */
static void work_stretches(tq_pool *pool, int thread) {
    for (size_t k = 0; k < pool->stretches; k++) {
        worker *w = &pool->workers[((size_t)thread + k) % pool->stretches];
        for (;;) {
            size_t next = atomic_load_explicit(&w->next, memory_order_relaxed);
            if (next >= w->end) break;
            size_t take = (w->end - next + 3) / 4;
            size_t begin = atomic_fetch_add_explicit(&w->next, take, memory_order_relaxed);
            if (begin >= w->end) break;
            pool->fn(pool->ctx, begin, w->end - begin < take ? w->end : begin + take, thread);
        }
    }
}

static void work(tq_pool *pool, int thread) {
    if (pool->stretches) {
        work_stretches(pool, thread);
        return;
    }
    for (;;) {
        size_t chunk = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed);
        if (chunk >= pool->chunks) return;
        size_t begin = chunk * pool->grain;
        size_t end = pool->n - begin < pool->grain ? pool->n : begin + pool->grain;
        pool->fn(pool->ctx, begin, end, thread);
    }
}

static bool has_news(tq_pool *pool, uint64_t seen) {
    return (atomic_load(&pool->state) >> JOB_SHIFT) != seen || atomic_load(&pool->quit);
}

/* Asks for a little more of what w reads next: of every span the same share, and of the largest ASK_BYTES. Only w's own
 * thread calls this. More at once would be dropped: a core keeps count of some twenty lines that are under way. */
static void ask(worker *w) {
    unsigned told = atomic_load_explicit(&w->told, memory_order_acquire);
    asking *a = &w->asking;
    if (told != a->told) {
        size_t most = 0;
        for (size_t i = 0; i < TQ_POOL_SPANS; i++) {
            a->p[i] = atomic_load_explicit(&w->span[i], memory_order_relaxed);
            a->step[i] = atomic_load_explicit(&w->span_bytes[i], memory_order_relaxed);
            most = a->step[i] > most ? a->step[i] : most;
        }
        a->told = told;
        a->steps = most / ASK_BYTES;
        for (size_t i = 0; i < TQ_POOL_SPANS && a->steps; i++)
            a->step[i] /= a->steps;
    }
    if (a->steps == 0) return;
    a->steps--;
    for (size_t i = 0; i < TQ_POOL_SPANS; i++) {
        tq_prefetch((const void *)a->p[i], a->step[i]); /* NOLINT(performance-no-int-to-ptr) */
        a->p[i] += a->step[i];
    }
}

void tq_pool_ask(tq_pool *pool) {
    if (pool) ask(&pool->workers[0]);
}

/* Not sched_yield: where another process waits for the core, that gives away a slice of milliseconds for a wait of
 * microseconds. */
static void wait_for_news(worker *w, uint64_t seen) {
    tq_pool *pool = w->pool;
    double until = tq_now() + SPIN_SECONDS;
    do {
        for (int i = 0; i < SPIN_HINTS; i++) {
            if (has_news(pool, seen)) return;
            ask(w);
            tq_spin_hint();
        }
    } while (tq_now() < until);
    pthread_mutex_lock(&pool->lock);
    /* The caller publishes the job first and then looks for sleepers; here it is the other way round, so that one of
     * the two sees the other. */
    atomic_fetch_add(&pool->sleepers, 1);
    while (!has_news(pool, seen))
        pthread_cond_wait(&pool->wake, &pool->lock);
    atomic_fetch_sub(&pool->sleepers, 1);
    pthread_mutex_unlock(&pool->lock);
}

static bool enter(tq_pool *pool, uint64_t *seen) {
    uint64_t state = atomic_load(&pool->state);
    for (;;) {
        *seen = state >> JOB_SHIFT;
        if (!(state & OPEN_BIT)) return false;
        if (atomic_compare_exchange_weak(&pool->state, &state, state + 1)) return true;
    }
}

static void leave(tq_pool *pool) {
    uint64_t state = atomic_fetch_sub(&pool->state, 1) - 1;
    if ((state & (INSIDE_MASK | OPEN_BIT)) != 0 || !atomic_load(&pool->caller_sleeps)) return;
    pthread_mutex_lock(&pool->lock);
    pthread_cond_signal(&pool->done);
    pthread_mutex_unlock(&pool->lock);
}

static void *worker_main(void *arg) {
    worker *w = arg;
    uint64_t seen = 0;
    while (!atomic_load(&w->pool->quit)) {
        wait_for_news(w, seen);
        if (!enter(w->pool, &seen)) continue;
        work(w->pool, w->index);
        leave(w->pool);
    }
    return NULL;
}

static bool is_busy(tq_pool *pool) {
    return (atomic_load(&pool->state) & INSIDE_MASK) != 0;
}

static void wait_until_done(tq_pool *pool) {
    double until = tq_now() + SPIN_SECONDS;
    do {
        for (int i = 0; i < SPIN_HINTS; i++) {
            if (!is_busy(pool)) return;
            tq_spin_hint();
        }
    } while (tq_now() < until);
    pthread_mutex_lock(&pool->lock);
    atomic_store(&pool->caller_sleeps, true);
    while (is_busy(pool))
        pthread_cond_wait(&pool->done, &pool->lock);
    atomic_store(&pool->caller_sleeps, false);
    pthread_mutex_unlock(&pool->lock);
}

static void run_here(size_t n, size_t grain, void (*fn)(void *, size_t, size_t, int), void *ctx) {
    for (size_t begin = 0; begin < n; begin += grain) {
        size_t left = n - begin;
        fn(ctx, begin, left <= grain ? n : begin + grain, 0);
        if (left <= grain) return;
    }
}

/* The job that pool's members describe. */
static void run_job(tq_pool *pool) {
    uint64_t job = (atomic_load_explicit(&pool->state, memory_order_relaxed) >> JOB_SHIFT) + 1;
    atomic_store(&pool->state, job << JOB_SHIFT | OPEN_BIT);
    if (atomic_load(&pool->sleepers) > 0) {
        pthread_mutex_lock(&pool->lock);
        pthread_cond_broadcast(&pool->wake);
        pthread_mutex_unlock(&pool->lock);
    }
    work(pool, 0);
    atomic_fetch_and(&pool->state, ~OPEN_BIT);
    wait_until_done(pool);
}

void tq_pool_run(tq_pool *pool, size_t n, size_t grain, void (*fn)(void *ctx, size_t begin, size_t end, int thread),
                 void *ctx) {
    if (n == 0) return;
    if (grain == 0) grain = 1;
    if (!pool || pool->threads == 1 || n <= grain) {
        run_here(n, grain, fn, ctx);
        return;
    }
    pool->fn = fn;
    pool->ctx = ctx;
    pool->n = n;
    pool->grain = grain;
    pool->chunks = (n - 1) / grain + 1;
    pool->stretches = 0;
    atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
    run_job(pool);
}

static size_t stretches_of(const tq_pool *pool, size_t n) {
    size_t threads = (size_t)tq_pool_threads(pool);
    return threads < n ? threads : n;
}

size_t tq_pool_stream_begin(const tq_pool *pool, size_t n, int thread) {
    size_t count = stretches_of(pool, n);
    return (size_t)thread < count ? n * (size_t)thread / count : n;
}

void tq_pool_stream(tq_pool *pool, size_t n, void (*fn)(void *ctx, size_t begin, size_t end, int thread), void *ctx) {
    size_t count = stretches_of(pool, n);
    if (count <= 1) {
        run_here(n, 1, fn, ctx);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        atomic_store_explicit(&pool->workers[i].next, n * i / count, memory_order_relaxed);
        pool->workers[i].end = n * (i + 1) / count;
    }
    pool->fn = fn;
    pool->ctx = ctx;
    pool->stretches = count;
    run_job(pool);
}

void tq_pool_expect(tq_pool *pool, int thread, const tq_ahead *spans, size_t count) {
    if (!pool || thread < 0 || thread >= pool->threads) return;
    worker *w = &pool->workers[thread];
    for (size_t i = 0; i < TQ_POOL_SPANS; i++) {
        atomic_store_explicit(&w->span[i], i < count ? (uintptr_t)spans[i].p : 0, memory_order_relaxed);
        atomic_store_explicit(&w->span_bytes[i], i < count ? spans[i].bytes : 0, memory_order_relaxed);
    }
    atomic_fetch_add_explicit(&w->told, 1, memory_order_release);
}

static long read_topology(int cpu, const char *name) {
    char path[128];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/%s", cpu, name);
    FILE *f = fopen(path, "re");
    if (!f) return -1;
    char line[32];
    char *end = line;
    long value = fgets(line, sizeof line, f) ? strtol(line, &end, 10) : -1;
    fclose(f);
    return end == line ? -1 : value;
}

/* Cores on which this process may run: two hyperthreads of a core share the units that the kernels keep busy. */
static int count_cores(void) {
    int count = 0;
    struct {
        long package, core;
    } *seen = calloc(MAX_CPUS, sizeof *seen);
    cpu_set_t *set = CPU_ALLOC(MAX_CPUS);
    size_t size = CPU_ALLOC_SIZE(MAX_CPUS);
    if (!seen || !set || sched_getaffinity(0, size, set) != 0) goto out;
    for (int cpu = 0; cpu < MAX_CPUS; cpu++) {
        if (!CPU_ISSET_S((size_t)cpu, size, set)) continue;
        long package = read_topology(cpu, "physical_package_id");
        long core = read_topology(cpu, "core_id");
        int i = 0;
        while (i < count && core >= 0 && (seen[i].package != package || seen[i].core != core))
            i++;
        if (core < 0) i = count; /* unknown: counts as a core of its own */
        if (i < count) continue;
        seen[count].package = package;
        seen[count++].core = core;
    }
out:
    if (set) CPU_FREE(set);
    free(seen);
    if (count > 0) return count;
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 && online <= MAX_CPUS ? (int)online : 1;
}

tq_pool *tq_pool_new(int threads, tq_err *err) {
    if (threads < 0 || threads > MAX_CPUS) {
        tq_fail(err, "threads: expected 0 to %d, not %d", MAX_CPUS, threads);
        return NULL;
    }
    if (threads == 0) threads = count_cores();
    openblas_set_num_threads(1); /* the pool's threads call it side by side, on work cut by shape */
    tq_pool *pool = tq_calloc_aligned(1, sizeof *pool);
    if (!pool) goto no_memory;
    pool->threads = threads;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pthread_cond_init(&pool->done, NULL);
    pool->workers = tq_calloc_aligned((size_t)threads, sizeof *pool->workers);
    if (!pool->workers) goto no_memory;
    for (int i = 1; i < threads; i++) {
        worker *w = &pool->workers[i];
        w->pool = pool;
        w->index = i;
        int rc = pthread_create(&w->thread, NULL, worker_main, w);
        if (rc != 0) {
            tq_fail(err, "cannot start thread %d of %d: %s", i + 1, threads, strerror(rc));
            tq_pool_free(pool);
            return NULL;
        }
        pool->started++;
    }
    return pool;
no_memory:
    tq_fail(err, "out of memory for %d threads", threads);
    tq_pool_free(pool);
    return NULL;
}

void tq_pool_free(tq_pool *pool) {
    if (!pool) return;
    pthread_mutex_lock(&pool->lock);
    atomic_store(&pool->quit, true);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (int i = 1; i <= pool->started; i++)
        pthread_join(pool->workers[i].thread, NULL);
    pthread_cond_destroy(&pool->done);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    free(pool->workers);
    free(pool);
}

int tq_pool_threads(const tq_pool *pool) {
    return pool ? pool->threads : 1;
}
