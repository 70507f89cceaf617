/* experts.c - an MLP that is a mixture of experts: a router says which of them a token goes through, and how much each
 * counts; only those that some token goes to are read. Facts: transformers 5.17, Qwen3MoeSparseMoeBlock and
 * Qwen3_5MoeSparseMoeBlock.
 *
 * Tokens are sorted by expert, so that each expert's matrices meet all of its tokens at once. What experts give is
 * added in the order of the experts, so that the sum does not depend on how many tokens go together. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "model/linear.h"
#include "model/memory_plan.h"

/* Tokens that one task routes, and rows that one task copies or adds. */
#define ROUTE_TOKENS 16
#define MOVE_ROWS 8

void tq_routes_free(tq_routes *r) {
    tq_buffer_free(&r->probabilities);
    tq_buffer_free(&r->weight);
    free(r->expert);
    free(r->order);
    free(r->first);
    *r = (tq_routes){0};
}

static int routes_need(tq_routes *r, size_t n, size_t experts, size_t used, tq_err *err) {
    size_t places = 0;
    int rc = tq_buffer_need(&r->probabilities, n * experts, err);
    if (rc == TQ_OK) rc = tq_buffer_need(&r->weight, n * used, err);
    if (rc != TQ_OK) return rc;
    if (!r->first) r->first = calloc(experts + 1, sizeof *r->first);
    if (!r->first || !tq_mul_size(&places, n, used)) return tq_fail(err, "out of memory");
    if (places <= r->room) return TQ_OK;
    free(r->expert);
    free(r->order);
    r->expert = calloc(places, sizeof *r->expert);
    r->order = calloc(places, sizeof *r->order);
    r->room = r->expert && r->order ? places : 0;
    return r->room ? TQ_OK : tq_fail(err, "out of memory for the routes of %zu tokens", n);
}

/* exp(x - max) over their sum, in place. */
static void softmax(float *x, size_t n) {
    float most = x[0], sum = 0.0F;
    for (size_t i = 1; i < n; i++)
        if (x[i] > most) most = x[i];
    for (size_t i = 0; i < n; i++)
        sum += x[i] = expf(x[i] - most);
    for (size_t i = 0; i < n; i++)
        x[i] /= sum;
}

/* The `used` largest of p, the first of equal ones; p is used up. What is not a number is taken when nothing else is
 * left, and then the block's result says so. */
static void choose(float *p, size_t n, size_t used, bool normalize, uint32_t *expert, float *weight) {
    static const float taken = -1.0F;
    float sum = 0.0F;
    for (size_t k = 0; k < used; k++) {
        size_t best = SIZE_MAX;
        for (size_t i = 0; i < n; i++)
            if (p[i] != taken && (best == SIZE_MAX || p[i] > p[best])) best = i;
        expert[k] = (uint32_t)best;
        sum += weight[k] = p[best];
        p[best] = taken;
    }
    for (size_t k = 0; normalize && k < used; k++)
        weight[k] /= sum;
}

static void route_some(void *ctx, size_t begin, size_t end, int thread) {
    tq_forward *f = ctx;
    size_t experts = f->config->experts, used = f->config->experts_used;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        float *p = f->routes.probabilities.data + i * experts;
        softmax(p, experts);
        choose(p, experts, used, f->config->norm_topk, f->routes.expert + i * used, f->routes.weight.data + i * used);
    }
}

/* The places of each expert's tokens, by counting. */
static void sort_routes(tq_routes *r, size_t places, size_t experts) {
    memset(r->first, 0, (experts + 1) * sizeof *r->first);
    for (size_t i = 0; i < places; i++)
        r->first[r->expert[i] + 1]++;
    for (size_t e = 0; e < experts; e++)
        r->first[e + 1] += r->first[e];
    for (size_t i = 0; i < places; i++)
        r->order[r->first[r->expert[i]]++] = (uint32_t)i;
    memmove(r->first + 1, r->first, experts * sizeof *r->first);
    r->first[0] = 0;
}

/* The router never rounds to bf16: near two equal experts that would choose another. */
static int route(const tq_block_run *r, size_t n, tq_err *err) {
    tq_forward *f = r->f;
    size_t experts = f->config->experts, used = f->config->experts_used;
    tq_arithmetic arithmetic = f->arithmetic;
    int rc = routes_need(&f->routes, n, experts, used, err);
    if (rc != TQ_OK || f->routes_held) return rc;
    tq_linear_job router = tq_linear_plain(&r->w->side[TQ_SIDE_ROUTER], f->routes.probabilities.data);
    if (arithmetic == TQ_ARITHMETIC_FAST) f->arithmetic = TQ_ARITHMETIC_USUAL;
    rc = tq_linear_run(f, &router, 1, f->x.data, n, err);
    f->arithmetic = arithmetic;
    if (rc != TQ_OK) return rc;
    tq_forward_parallel(f, n, ROUTE_TOKENS, route_some, f);
    sort_routes(&f->routes, n * used, experts);
    return TQ_OK;
}

/* Tokens that go through one expert: where they stand in the routes, and what the expert gave. */
typedef struct group {
    const tq_forward *f;
    const uint32_t *order;
    float *part; /* [count, hidden] */
    float *out;  /* [n, hidden] */
} group;

static void take_some(void *ctx, size_t begin, size_t end, int thread) {
    const group *g = ctx;
    size_t hidden = g->f->config->hidden, used = g->f->config->experts_used;
    (void)thread;
    for (size_t i = begin; i < end; i++)
        memcpy(g->part + i * hidden, g->f->x.data + g->order[i] / used * hidden, hidden * sizeof *g->part);
}

static void add_some(void *ctx, size_t begin, size_t end, int thread) {
    const group *g = ctx;
    size_t hidden = g->f->config->hidden, used = g->f->config->experts_used;
    (void)thread;
    for (size_t i = begin; i < end; i++)
        tq_k()->axpy(g->out + g->order[i] / used * hidden, g->f->routes.weight.data[g->order[i]], g->part + i * hidden,
                     hidden);
}

/* out = down(silu(gate x) * (up x)) for n inputs; out may be x. */
static int run_one(tq_forward *f, const tq_linear_job job[3], const float *x, size_t n, size_t width, tq_err *err) {
    int rc = tq_linear_run(f, job, 2, x, n, err);
    if (rc != TQ_OK) return rc;
    tq_k()->silu_mul(f->gate.data, f->gate.data, f->up.data, n * width);
    return tq_linear_run(f, &job[2], 1, f->gate.data, n, err);
}

static int run_expert(const tq_block_run *r, size_t e, tq_err *err) {
    tq_forward *f = r->f;
    const tq_routes *t = &f->routes;
    size_t n = t->first[e + 1] - t->first[e], width = f->config->expert_width, hidden = f->config->hidden;
    group g = {.f = f, .order = t->order + t->first[e], .part = f->part.data, .out = r->out};
    tq_linear_job job[3] = {tq_linear_matrix(f, r->q, r->w->expert[TQ_EXPERT_GATE] + e, f->gate.data, width, false),
                            tq_linear_matrix(f, r->q, r->w->expert[TQ_EXPERT_UP] + e, f->up.data, width, false),
                            tq_linear_matrix(f, r->q, r->w->expert[TQ_EXPERT_DOWN] + e, f->part.data, hidden, false)};
    tq_forward_parallel(f, n, MOVE_ROWS, take_some, &g);
    int rc = run_one(f, job, f->part.data, n, width, err);
    if (rc == TQ_OK) tq_forward_parallel(f, n, MOVE_ROWS, add_some, &g);
    return rc;
}

/* out += sigmoid(gate x) * shared(x). */
static int run_shared(const tq_block_run *r, size_t n, tq_err *err) {
    tq_forward *f = r->f;
    size_t width = f->config->shared_width, hidden = f->config->hidden;
    tq_linear_job job[3] = {tq_linear_role(f, r->q, r->w, TQ_ROLE_SHARED_GATE, f->gate.data, width, false),
                            tq_linear_role(f, r->q, r->w, TQ_ROLE_SHARED_UP, f->up.data, width, false),
                            tq_linear_role(f, r->q, r->w, TQ_ROLE_SHARED_DOWN, f->part.data, hidden, false)};
    tq_linear_job gate = tq_linear_plain(&r->w->side[TQ_SIDE_SHARED_GATE], f->routes.probabilities.data);
    int rc = run_one(f, job, f->x.data, n, width, err);
    if (rc == TQ_OK) rc = tq_linear_run(f, &gate, 1, f->x.data, n, err);
    for (size_t i = 0; rc == TQ_OK && i < n; i++)
        tq_k()->axpy(r->out + i * hidden, 1.0F / (1.0F + expf(-gate.y[i])), f->part.data + i * hidden, hidden);
    return rc;
}

static int mixture_need(tq_forward *f, size_t n, tq_err *err) {
    const tq_config *c = f->config;
    size_t width = c->expert_width > c->shared_width ? c->expert_width : c->shared_width;
    int rc = tq_buffer_need(&f->gate, n * width, err);
    if (rc == TQ_OK) rc = tq_buffer_need(&f->up, n * width, err);
    return rc == TQ_OK ? tq_buffer_need(&f->part, n * c->hidden, err) : rc;
}

/* An expert's matrices as stored, when the model streams: read them, or let go of them. */
static void pages(const tq_block_run *r, size_t e, void (*advise)(const tq_model *m, size_t i)) {
    for (size_t k = 0; k < TQ_EXPERT_ROLES; k++) {
        size_t i = r->w->expert[k] + e;
        if (!r->q || !r->q[i]) advise(r->f->model, i);
    }
}

/* The first expert from e on that some token goes to; their number when there is none. */
static size_t next_expert(const tq_routes *t, size_t e, size_t experts) {
    while (e < experts && t->first[e + 1] == t->first[e])
        e++;
    return e;
}

/* One after another; while one works the next one is read. Of many tokens each expert has its own part, and is let go,
 * so that a model larger than memory holds two at a time; one token's are likely to be wanted again. */
static int run_routed(const tq_block_run *r, size_t n, tq_err *err) {
    tq_forward *f = r->f;
    const tq_routes *t = &f->routes;
    tq_arithmetic arithmetic = f->arithmetic;
    size_t experts = f->config->experts;
    int rc = TQ_OK;
    for (size_t e = next_expert(t, 0, experts), next; e < experts && rc == TQ_OK; e = next) {
        next = next_expert(t, e + 1, experts);
        if (next < experts) pages(r, next, tq_model_matrix_ahead);
        /* A token that comes alone here, but not in its block, is calculated as the others are. */
        if (t->first[e + 1] - t->first[e] == 1 && n > 1) f->arithmetic = TQ_ARITHMETIC_EXACT;
        rc = run_expert(r, e, err);
        f->arithmetic = arithmetic;
        if (n > 1) pages(r, e, tq_model_matrix_done);
    }
    return rc;
}

int tq_experts_run(const tq_block_run *r, tq_err *err) {
    tq_forward *f = r->f;
    size_t n = r->seqs * r->len;
    int rc = mixture_need(f, n, err);
    if (rc == TQ_OK) rc = route(r, n, err);
    if (rc != TQ_OK) return rc;
    if (r->out != r->h) memset(r->out, 0, n * f->config->hidden * sizeof *r->out);
    if (f->config->shared_width) rc = run_shared(r, n, err);
    return rc == TQ_OK ? run_routed(r, n, err) : rc;
}
