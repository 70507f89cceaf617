/* cache.c - what a sequence leaves behind in every block: keys and values, or convolution inputs and a state. */
#include <stdlib.h>
#include <string.h>

#include "model/forward_internal.h"

/* Floats of each part for one block at a context of ctx tokens. */
typedef struct state_sizes {
    size_t kv, conv, s, scale;
} state_sizes;

static bool sizes_of(const tq_config *c, size_t block, size_t ctx, state_sizes *out) {
    *out = (state_sizes){0};
    if (c->mixer[block] == TQ_MIXER_ATTENTION) return tq_mul_size(&out->kv, c->kv_heads * c->head_dim, ctx);
    out->conv = (c->linear_conv - 1) * tq_dim_of(c, TQ_DIM_CONV_CHANNELS);
    out->s = c->linear_value_heads * c->linear_value_dim * c->linear_key_dim;
    out->scale = c->linear_value_heads * ((c->linear_value_dim + TQ_STATE_ROWS - 1) / TQ_STATE_ROWS);
    return true;
}

size_t tq_model_state_bytes(const tq_model *m, size_t ctx) {
    const tq_config *c = tq_model_config(m);
    size_t floats = 0;
    for (size_t b = 0; b < c->blocks; b++) {
        state_sizes n;
        if (!sizes_of(c, b, ctx, &n)) return SIZE_MAX;
        floats += 2 * n.kv + n.conv + n.s + n.scale;
    }
    return floats * sizeof(float);
}

/* calloc rather than touched memory: a long context costs nothing until it is filled. */
static int state_new(tq_block_state *s, const state_sizes *n) {
    if (n->kv) {
        s->k = calloc(n->kv, sizeof(float));
        s->v = calloc(n->kv, sizeof(float));
        return s->k && s->v ? TQ_OK : TQ_FAIL;
    }
    s->conv = calloc(n->conv + 1, sizeof(float));
    s->s = tq_calloc_aligned(n->s, sizeof(float));
    s->scale = calloc(n->scale, sizeof(float));
    return s->conv && s->s && s->scale ? TQ_OK : TQ_FAIL;
}

tq_cache *tq_cache_new(const tq_model *m, size_t ctx, tq_err *err) {
    const tq_config *config = tq_model_config(m);
    tq_cache *c = calloc(1, sizeof *c);
    if (!c) goto fail;
    c->model = m;
    c->capacity = ctx;
    c->blocks = calloc(config->blocks, sizeof *c->blocks);
    if (!c->blocks) goto fail;
    for (size_t b = 0; b < config->blocks; b++) {
        state_sizes n;
        if (!sizes_of(config, b, ctx, &n) || state_new(&c->blocks[b], &n) != TQ_OK) goto fail;
    }
    tq_cache_reset(c);
    return c;
fail:
    tq_cache_free(c);
    (void)tq_fail(err, "out of memory for a context of %zu tokens", ctx);
    return NULL;
}

void tq_cache_free(tq_cache *c) {
    if (!c) return;
    for (size_t b = 0; c->blocks && b < tq_model_config(c->model)->blocks; b++) {
        free(c->blocks[b].k);
        free(c->blocks[b].v);
        free(c->blocks[b].conv);
        free(c->blocks[b].s);
        free(c->blocks[b].scale);
    }
    free(c->blocks);
    free(c);
}

void tq_cache_reset(tq_cache *c) {
    const tq_config *config = tq_model_config(c->model);
    c->length = 0;
    for (size_t b = 0; b < config->blocks; b++) {
        tq_block_state *s = &c->blocks[b];
        state_sizes n;
        if (!s->conv || !s->s || !sizes_of(config, b, c->capacity, &n)) continue;
        memset(s->conv, 0, n.conv * sizeof(float));
        memset(s->s, 0, n.s * sizeof(float));
        for (size_t i = 0; i < n.scale; i++)
            s->scale[i] = 1.0F;
    }
}

size_t tq_cache_length(const tq_cache *c) {
    return c->length;
}
size_t tq_cache_capacity(const tq_cache *c) {
    return c->capacity;
}

size_t tq_cache_token_bytes(const tq_cache *c) {
    const tq_config *config = tq_model_config(c->model);
    size_t floats = 0;
    for (size_t b = 0; b < config->blocks; b++) {
        state_sizes one;
        size_t seen = c->length + 1;
        if (config->local[b] && config->sliding_window && config->sliding_window < seen) seen = config->sliding_window;
        if (sizes_of(config, b, 1, &one)) floats += 2 * one.kv * seen + one.conv + one.s + one.scale;
    }
    return floats * sizeof(float);
}
