/* pages.c - first fit in regions of huge pages. Blocks are few (three a matrix) and live long. */
#include "quant/pages.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "quant/base.h"

#define HUGE_PAGE ((size_t)2 << 20)
#define REGION_BYTES (8 * HUGE_PAGE) /* a larger block has a region of its own */
#define ALIGN ((size_t)64)
#define SMALL ((size_t)64 << 10) /* smaller blocks come from malloc */

/* A free or taken stretch of a region; the list of a region is in the order of addresses and without gaps. */
typedef struct stretch {
    size_t begin, size;
    bool taken;
    struct stretch *next;
} stretch;

typedef struct region {
    char *base;
    size_t size, taken;
    stretch *first;
    struct region *next;
} region;

static struct {
    pthread_mutex_t lock;
    region *first;
} pages = {.lock = PTHREAD_MUTEX_INITIALIZER};

void tq_pages_advise(void *p, size_t n) {
    uintptr_t begin = ((uintptr_t)p + HUGE_PAGE - 1) & ~(uintptr_t)(HUGE_PAGE - 1);
    uintptr_t end = ((uintptr_t)p + n) & ~(uintptr_t)(HUGE_PAGE - 1);
    if (end > begin) (void)madvise((void *)begin, end - begin, MADV_HUGEPAGE); /* NOLINT(performance-no-int-to-ptr) */
}

/* size: a multiple of HUGE_PAGE. The mapping is larger by one page so that it can be cut to an aligned one. */
static char *map_aligned(size_t size) {
    size_t bytes = 0;
    if (!tq_add_size(&bytes, size, HUGE_PAGE)) return NULL;
    char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return NULL;
    size_t before = (HUGE_PAGE - (uintptr_t)p % HUGE_PAGE) % HUGE_PAGE;
    if (before) (void)munmap(p, before);
    (void)munmap(p + before + size, HUGE_PAGE - before);
    tq_pages_advise(p + before, size);
    return p + before;
}

static region *region_new(size_t at_least) {
    size_t size = REGION_BYTES;
    if (at_least > size) {
        if (!tq_add_size(&size, at_least, HUGE_PAGE - 1)) return NULL;
        size &= ~(HUGE_PAGE - 1);
    }
    region *r = calloc(1, sizeof *r);
    stretch *all = calloc(1, sizeof *all);
    char *base = r && all ? map_aligned(size) : NULL;
    if (!base) {
        free(r);
        free(all);
        return NULL;
    }
    *all = (stretch){.size = size};
    *r = (region){.base = base, .size = size, .first = all, .next = pages.first};
    pages.first = r;
    return r;
}

static void *take(region *r, size_t n) {
    stretch *s = r->first;
    while (s && (s->taken || s->size < n))
        s = s->next;
    if (!s) return NULL;
    if (s->size > n) {
        stretch *rest = calloc(1, sizeof *rest);
        if (!rest) return NULL;
        *rest = (stretch){.begin = s->begin + n, .size = s->size - n, .next = s->next};
        s->size = n;
        s->next = rest;
    }
    s->taken = true;
    r->taken += n;
    return r->base + s->begin;
}

void *tq_pages_alloc(size_t n) {
    size_t size = 0;
    void *p = NULL;
    if (!tq_add_size(&size, n, ALIGN - 1)) return NULL;
    size &= ~(ALIGN - 1);
    if (size < SMALL) return aligned_alloc(ALIGN, size ? size : ALIGN);
    pthread_mutex_lock(&pages.lock);
    for (region *r = pages.first; r && !p; r = r->next)
        if (r->size - r->taken >= size) p = take(r, size);
    if (!p) {
        region *r = region_new(size);
        p = r ? take(r, size) : NULL;
    }
    pthread_mutex_unlock(&pages.lock);
    return p;
}

static void join_free(region *r) {
    for (stretch *s = r->first; s;) {
        stretch *next = s->next;
        if (!next || s->taken || next->taken) {
            s = next;
            continue;
        }
        s->size += next->size;
        s->next = next->next;
        free(next);
    }
}

/* Unmaps the empty regions but one: a matrix that is quantized again finds its pages there. */
static void drop_empty(void) {
    bool one = false;
    for (region **at = &pages.first; *at;) {
        region *r = *at;
        if (r->taken > 0 || (!one && r->size == REGION_BYTES)) {
            one = one || r->taken == 0;
            at = &r->next;
            continue;
        }
        *at = r->next;
        (void)munmap(r->base, r->size);
        free(r->first);
        free(r);
    }
}

void tq_pages_free(void *p) {
    if (!p) return;
    pthread_mutex_lock(&pages.lock);
    region *r = pages.first;
    while (r && ((char *)p < r->base || (char *)p >= r->base + r->size))
        r = r->next;
    if (r) {
        stretch *s = r->first;
        while (r->base + s->begin != (char *)p)
            s = s->next;
        s->taken = false;
        r->taken -= s->size;
        join_free(r);
        if (r->taken == 0) drop_empty();
    } else {
        free(p);
    }
    pthread_mutex_unlock(&pages.lock);
}
