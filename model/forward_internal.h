/* forward_internal.h - what the parts of the forward pass share; private to model/. */
#ifndef TQ_FORWARD_INTERNAL_H
#define TQ_FORWARD_INTERNAL_H

#include "model/forward.h"
#include "model/rope.h"
#include "model/weights_internal.h"

/* Memory that grows and is kept from call to call. */
typedef struct tq_buffer {
    float *data;
    size_t size; /* floats */
} tq_buffer;
/* At least n floats, contents undefined. */
int tq_buffer_need(tq_buffer *b, size_t n, tq_err *err);
void tq_buffer_free(tq_buffer *b);

/* An input rotated by one of the rotations of the matrices that it meets: as floats, as integers, or as bf16. */
#define TQ_ROTATED_SLOTS 8
typedef struct tq_rotated {
    const tq_rotation *rotation;
    tq_buffer x;        /* [n, ld] */
    tq_buffer half;     /* [n, ld], bf16 */
    tq_buffer integers; /* backs xq */
    tq_xq xq;
} tq_rotated;

/* Which experts the tokens of a block go to: n tokens with k of them each, and the same by expert. */
typedef struct tq_routes {
    tq_buffer probabilities; /* [n, experts] */
    tq_buffer weight;        /* [n, k] */
    uint32_t *expert;        /* [n, k] */
    uint32_t *order;         /* [n * k] places in the above, by expert, then by token */
    size_t room;             /* of the two */
    size_t *first;           /* [experts + 1] where an expert's begin in `order` */
} tq_routes;
void tq_routes_free(tq_routes *r);

struct tq_forward {
    const tq_model *model;
    const tq_config *config;
    tq_pool *pool;
    tq_buffer *work; /* [threads]: per-thread scratch */
    size_t threads;
    tq_rotated rotated[TQ_ROTATED_SLOTS];
    tq_arithmetic arithmetic;
    tq_qmatrix *head;          /* NULL: the variant's */
    tq_rope_table rope[2];     /* of config.rope and of config.local_rope */
    tq_input_observer observe; /* NULL: nobody looks */
    void *observe_ctx;
    double seconds[TQ_PART_COUNT];
    double reported;      /* when progress was last reported */
    tq_buffer h;          /* [n, hidden]: hidden states of tq_forward_append */
    tq_buffer x;          /* [n, hidden]: normalised input of a mixer or an MLP */
    tq_buffer mixed[5];   /* projections of a mixer's input, and its output before the last projection */
    tq_buffer gate, up;   /* [n, intermediate] */
    tq_buffer out;        /* [n, hidden]: what a mixer or an MLP gives, where it is normalised before it is added */
    tq_buffer final_norm; /* [n, hidden] */
    tq_routes routes;
    bool routes_held; /* tokens go where they went in the last mixture, whatever the router would say */
    tq_buffer part;   /* [n, hidden]: inputs of one expert, and after that what it gives */
    tq_buffer half;   /* [n, ld]: the input of stored matrices as bf16 */
};

/* The part of a block's work that is common to its steps. */
typedef struct tq_block_run {
    tq_forward *f;
    const struct tq_block_weights *w;
    tq_variant q;
    size_t block;
    float *h;        /* [seqs * len, hidden] */
    float *out;      /* where mixer and MLP give their result: h itself, or [seqs * len, hidden] of its own */
    size_t seqs;     /* 1 with a cache */
    size_t len;      /* tokens a sequence */
    tq_cache *cache; /* NULL: sequences start at position 0 and leave nothing behind */
    size_t position; /* of the first token: the cache's length, or 0 */
} tq_block_run;

/* h += mixer(x), x = f->x: [seqs * len, hidden]; or out = mixer(x) where out is not h. */
int tq_attention_run(const tq_block_run *r, tq_err *err);
int tq_deltanet_run(const tq_block_run *r, tq_err *err);
/* The same for a block whose MLP is a mixture of experts. */
int tq_experts_run(const tq_block_run *r, tq_err *err);

/* Calls fn over [0, n) in chunks of grain; work that is one chunk stays on this thread. */
void tq_forward_parallel(tq_forward *f, size_t n, size_t grain,
                         void (*fn)(void *ctx, size_t begin, size_t end, int thread), void *ctx);
/* Makes every thread's scratch hold n floats. */
int tq_forward_work(tq_forward *f, size_t n, tq_err *err);

/* The state of one block in a cache. */
typedef struct tq_block_state {
    float *k, *v; /* attention: [kv_heads, capacity, head_dim], keys rotated */
    float *conv;  /* DeltaNet: [linear_conv - 1, conv channels], the last inputs of the convolution */
    float *s;     /* DeltaNet: [value heads, value_dim, key_dim], the state divided by `scale` */
    float *scale; /* DeltaNet: [value heads, chunks of TQ_STATE_ROWS rows] */
} tq_block_state;

/* Rows of a DeltaNet state that are carried through the tokens together: they stay in the first-level cache. */
#define TQ_STATE_ROWS 32

struct tq_cache {
    const tq_model *model;
    size_t capacity, length;
    tq_block_state *blocks; /* [config.blocks] */
};

#endif
