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
#define MAX_CPUS 4096

/* The state of the pool in one word: how many threads are inside the job, whether the job still takes threads, and the
 * number of the job. A thread that wakes too late finds the job closed and is not waited for, so that a short job does
 * not pay for a sleeper. */
#define INSIDE_MASK UINT64_C(0xffff)
#define OPEN_BIT UINT64_C(0x10000)
#define JOB_SHIFT 17

typedef struct worker {
    tq_pool *pool;
    pthread_t thread;
    int index;
} worker;

struct tq_pool {
    int threads;
    int started;
    worker *workers;

    /* Written by the caller while no thread is inside. */
    void (*fn)(void *ctx, size_t begin, size_t end, int thread);
    void *ctx;
    size_t n, grain, chunks;

    _Alignas(64) atomic_size_t next;
    _Alignas(64) atomic_uint_least64_t state;
    atomic_int sleepers;
    atomic_bool caller_sleeps;
    atomic_bool quit;
    pthread_mutex_t lock;
    pthread_cond_t wake; /* a new job, or quit */
    pthread_cond_t done; /* the last thread left a closed job */
};

static void work(tq_pool *pool, int thread) {
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

/* Not sched_yield: where another process waits for the core, that gives away a slice of milliseconds for a wait of
 * microseconds. */
static void wait_for_news(tq_pool *pool, uint64_t seen) {
    double until = tq_now() + SPIN_SECONDS;
    do {
        for (int i = 0; i < SPIN_HINTS; i++) {
            if (has_news(pool, seen)) return;
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
        wait_for_news(w->pool, seen);
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
    atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
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

/* A stretch of indexes, from which its thread and then the others take. */
enum { STRETCHES = 32 };
typedef struct stretch {
    _Alignas(64) atomic_size_t next;
    size_t end;
} stretch;

typedef struct stream_job {
    void (*fn)(void *ctx, size_t begin, size_t end, int thread);
    void *ctx;
    size_t count;
    stretch stretches[STRETCHES];
} stream_job;

static void run_stretch(void *ctx, size_t begin, size_t end, int thread) {
    stream_job *job = ctx;
    (void)end;
    for (size_t k = 0; k < job->count; k++) {
        stretch *s = &job->stretches[(begin + k) % job->count];
        for (size_t i; (i = atomic_fetch_add_explicit(&s->next, 1, memory_order_relaxed)) < s->end;)
            job->fn(job->ctx, i, i + 1, thread);
    }
}

void tq_pool_stream(tq_pool *pool, size_t n, void (*fn)(void *ctx, size_t begin, size_t end, int thread), void *ctx) {
    stream_job job = {.fn = fn, .ctx = ctx, .count = (size_t)tq_pool_threads(pool)};
    if (job.count > STRETCHES) job.count = STRETCHES;
    if (job.count > n) job.count = n;
    for (size_t i = 0; i < job.count; i++) {
        atomic_init(&job.stretches[i].next, n * i / job.count);
        job.stretches[i].end = n * (i + 1) / job.count;
    }
    tq_pool_run(pool, job.count, 1, run_stretch, &job);
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
    pool->workers = calloc((size_t)threads, sizeof *pool->workers);
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
