/* memory_plan.c - see memory_plan.h. */
#include "model/memory_plan.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "model/arch.h"

/* A panel of decoded rows of linear.c, for each thread: at most so many floats, and rows. */
#define PANEL_FLOATS ((size_t)1 << 20)
#define PANEL_ROWS 256
/* Tokens of a prompt that go through the blocks together, as in forward.c. */
#define PIECE 512
/* Limits of control groups from here on mean that there is none. */
#define NO_LIMIT (UINT64_MAX >> 2)

/* --- the machine --- */

/* A number in a file; 0: there is none ("max"). */
static size_t read_number(const char *path) {
    unsigned long long n = 0;
    FILE *f = fopen(path, "r");
    if (!f) return 0;
    if (fscanf(f, "%llu", &n) != 1) n = 0;
    fclose(f);
    return n < NO_LIMIT ? (size_t)n : 0;
}

static void take_least(size_t *least, size_t n) {
    if (n && (!*least || n < *least)) *least = n;
}

/* The limits along a group's path, up to the root: each of them holds. group is cut short. */
static void take_limits(size_t *least, const char *root, char *group, const char *name) {
    char path[4300];
    for (;;) {
        (void)snprintf(path, sizeof path, "%s%s/%s", root, group, name);
        take_least(least, read_number(path));
        char *slash = strrchr(group, '/');
        if (!slash || !*group) return;
        *slash = '\0';
    }
}

/* Lines of /proc/self/cgroup: "0::/path", and of the older kind "9:memory:/path". */
static void take_groups(size_t *least) {
    char line[4200];
    FILE *f = fopen("/proc/self/cgroup", "r");
    while (f && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        char *kind = strchr(line, ':'), *group = kind ? strchr(kind + 1, ':') : NULL;
        if (!group) continue;
        *group++ = '\0';
        if (!kind[1])
            take_limits(least, "/sys/fs/cgroup", group, "memory.max");
        else if (strcmp(kind + 1, "memory") == 0)
            take_limits(least, "/sys/fs/cgroup/memory", group, "memory.limit_in_bytes");
    }
    if (f) fclose(f);
}

size_t tq_machine_memory(void) {
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    size_t least = 0;
    if (pages > 0 && page > 0) least = (size_t)pages * (size_t)page;
    take_groups(&least);
    return least;
}

bool tq_needs_streaming(const tq_model *m, size_t machine) {
    return machine && tq_model_stored_bytes(m) > machine / 2;
}

/* --- the plan --- */

static size_t most(size_t a, size_t b) {
    return a > b ? a : b;
}

/* Floats a token of what mixers, MLP and norms hold, and the widest input of a matrix. */
static size_t floats_a_token(const tq_config *c, size_t *widest) {
    size_t attention = 0, deltanet = 0, attended = tq_dim_of(c, TQ_DIM_ATTENTION), mlp = 0, routes = 0;
    for (size_t b = 0; b < c->blocks; b++) {
        if (c->mixer[b] == TQ_MIXER_ATTENTION)
            attention = tq_dim_of(c, TQ_DIM_QUERY) + 2 * tq_dim_of(c, TQ_DIM_KV) + attended;
        else
            deltanet = tq_dim_of(c, TQ_DIM_CONV_CHANNELS) + 2 * tq_dim_of(c, TQ_DIM_VALUE) + 2 * c->linear_value_heads;
    }
    for (size_t b = 0; b < c->blocks; b++)
        if (!c->mixture[b])
            mlp = most(mlp, c->intermediate);
        else { /* one expert may get all tokens: copies of their states, what it gives, who goes where */
            mlp = most(mlp, most(c->expert_width, c->shared_width));
            routes = 2 * c->hidden + c->experts + 4 * c->experts_used;
        }
    *widest = most(most(c->hidden, mlp), most(attended, tq_dim_of(c, TQ_DIM_VALUE)));
    return 4 * c->hidden + most(attention, deltanet) + 3 * mlp + routes;
}

size_t tq_activation_bytes(const tq_model *m, size_t n, size_t total, size_t threads) {
    const tq_config *c = tq_model_config(m);
    size_t widest = 0, floats = n * floats_a_token(c, &widest);
    floats += n * (widest + c->hidden); /* inputs rotated, of two lengths */
    size_t panel = PANEL_ROWS * widest < PANEL_FLOATS ? PANEL_ROWS * widest : PANEL_FLOATS;
    floats += c->vocab + threads * most(panel, total);
    return floats * sizeof(float);
}

tq_memory_plan tq_memory_plan_of(const tq_model *m, size_t packed, size_t kept, size_t ctx, size_t threads,
                                 size_t machine) {
    tq_memory_plan p = {.ctx = ctx, .packed = packed, .mapped = kept, .machine = machine};
    p.state = tq_model_state_bytes(m, ctx);
    p.activations = tq_activation_bytes(m, ctx < PIECE ? ctx : PIECE, ctx, threads);
    p.total = p.packed + p.mapped + p.state + p.activations;
    p.streams = tq_needs_streaming(m, machine);
    return p;
}

/* --- streaming --- */

/* A neighbour's rows on the pages at its ends are let go too: that costs it a fault, keeping them would leave two pages
 * of every expert. */
static void advise(const tq_matrix *x, int advice) {
    if (x->w.data) tq_advise_pages(x->w.data, tq_matrix_bytes(&x->w), advice);
}

/* Cold first: else a page that was used counts as one that is used often, and pushes out what is read next. */
static void let_go(const tq_matrix *x) {
    advise(x, MADV_COLD);
    advise(x, MADV_DONTNEED);
}

void tq_model_block_ahead(const tq_model *m, size_t block) {
    if (!tq_model_streams(m) || block >= tq_model_config(m)->blocks) return;
    for (size_t i = 0; i < tq_model_block_matrices(m); i++) {
        const tq_matrix *x = tq_model_matrix(m, i);
        if (x->block == block && x->expert == SIZE_MAX) advise(x, MADV_WILLNEED);
    }
}

/* Experts too, though each was let go after its tokens: the next one's faults have mapped pages around them, the end of
 * the one before among these, and over many blocks that becomes much. */
void tq_model_block_done(const tq_model *m, size_t block) {
    if (!tq_model_streams(m)) return;
    for (size_t i = 0; i < tq_model_block_matrices(m); i++)
        if (tq_model_matrix(m, i)->block == block) let_go(tq_model_matrix(m, i));
}

void tq_model_matrix_ahead(const tq_model *m, size_t i) {
    if (tq_model_streams(m)) advise(tq_model_matrix(m, i), MADV_WILLNEED);
}

void tq_model_matrix_done(const tq_model *m, size_t i) {
    if (tq_model_streams(m)) let_go(tq_model_matrix(m, i));
}
