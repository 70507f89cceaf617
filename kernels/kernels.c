/* kernels.c - the table of kernels and which of them is in use. */
#include <pthread.h>
#include <stdatomic.h>

#include "kernels/internal.h"

enum { TABLES_MAX = 5 };

static tq_kernels tables[TABLES_MAX]; /* worst first; each starts as a copy of the one before it */
static size_t tables_count;
static pthread_once_t tables_made = PTHREAD_ONCE_INIT; /* the first to ask may be several threads of a pool */
static const tq_kernels *_Atomic in_use;

static void add_table(const char *name, void (*fill)(tq_kernels *)) {
    tq_kernels *t = &tables[tables_count];
    if (tables_count > 0) *t = tables[tables_count - 1];
    fill(t);
    t->name = name;
    tables_count++;
}

static void make_tables(void) {
    unsigned bundles = tq_cpu_bundles();
    (void)bundles;
    add_table("scalar", tq_kernels_fill_scalar);
#if defined(__x86_64__)
    if (bundles & TQ_CPU_AVX2) add_table("avx2", tq_kernels_fill_avx2);
    if (bundles & TQ_CPU_AVX_VNNI) add_table("avx-vnni", tq_kernels_fill_avx_vnni);
    if (bundles & TQ_CPU_AVX512) add_table("avx512", tq_kernels_fill_avx512);
    if (bundles & TQ_CPU_AMX) add_table("amx", tq_kernels_fill_amx);
#elif defined(__aarch64__)
    if (bundles & TQ_CPU_NEON) add_table("neon", tq_kernels_fill_neon);
    if (bundles & TQ_CPU_NEON_DOTPROD) add_table("neon-dotprod", tq_kernels_fill_neon_dotprod);
    if (bundles & TQ_CPU_NEON_I8MM) add_table("neon-i8mm", tq_kernels_fill_neon_i8mm);
#endif
    atomic_store(&in_use, &tables[tables_count - 1]);
}

static void init_tables(void) {
    (void)pthread_once(&tables_made, make_tables);
}

const tq_kernels *tq_k(void) {
    const tq_kernels *k = atomic_load_explicit(&in_use, memory_order_acquire);
    if (k) return k;
    init_tables();
    return atomic_load_explicit(&in_use, memory_order_acquire);
}

const tq_kernels *tq_kernels_find(const char *name) {
    init_tables();
    if (!strcmp(name, "auto")) return &tables[tables_count - 1];
    for (size_t i = 0; i < tables_count; i++) {
        if (!strcmp(name, tables[i].name)) return &tables[i];
    }
    return NULL;
}

int tq_kernels_use(const char *name) {
    const tq_kernels *t = tq_kernels_find(name);
    if (!t) return -1;
    atomic_store(&in_use, t);
    return 0;
}

const char *tq_kernels_name(size_t n) {
    init_tables();
    return n < tables_count ? tables[tables_count - 1 - n].name : NULL;
}
