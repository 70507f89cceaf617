/* arch.h - what tensors an architecture has: tables with a row for each tensor of a block. Binding, menus and the
 * forward pass iterate over them; a new architecture is rows here and, if it computes something new, a mixer. */
#ifndef TQ_ARCH_H
#define TQ_ARCH_H

#include <stdbool.h>
#include <stddef.h>

#include "model/config.h"

/* Matrices whose bits can be chosen, in the order in which the forward pass meets them. */
typedef enum tq_role {
    TQ_ROLE_Q,
    TQ_ROLE_K,
    TQ_ROLE_V,
    TQ_ROLE_ATTN_QKV, /* Phi-3, GPT-2: q, k and v in one, below each other */
    TQ_ROLE_O,
    TQ_ROLE_QKV,
    TQ_ROLE_Z,
    TQ_ROLE_OUT,
    TQ_ROLE_GATE,
    TQ_ROLE_UP,
    TQ_ROLE_GATE_UP, /* Phi-3: both in one */
    TQ_ROLE_DOWN,
    TQ_ROLE_SHARED_GATE, /* of the expert that every token goes through */
    TQ_ROLE_SHARED_UP,
    TQ_ROLE_SHARED_DOWN,
    TQ_ROLE_COUNT
} tq_role;

/* Matrices that each expert of a mixture has; a block has them after those above, all of a kind together. */
typedef enum tq_expert_role { TQ_EXPERT_GATE, TQ_EXPERT_UP, TQ_EXPERT_DOWN, TQ_EXPERT_ROLES } tq_expert_role;

/* Small matrices that always stay as stored. */
typedef enum tq_side {
    TQ_SIDE_A,
    TQ_SIDE_B,
    TQ_SIDE_ROUTER,      /* [experts, hidden] */
    TQ_SIDE_SHARED_GATE, /* [1, hidden]: how much of the shared expert a token takes */
    TQ_SIDE_COUNT
} tq_side;

/* Small tensors, converted to floats at binding. */
typedef enum tq_vector {
    TQ_VEC_INPUT_NORM,     /* [hidden], before the mixer; OLMo 2 has none */
    TQ_VEC_POST_NORM,      /* [hidden], before the MLP; OLMo 2 has none */
    TQ_VEC_MIXER_OUT_NORM, /* [hidden], of what the mixer gives, before it is added: Gemma 3, OLMo 2 */
    TQ_VEC_MLP_OUT_NORM,   /* [hidden], of what the MLP gives */
    TQ_VEC_Q_NORM,         /* [head_dim], or [heads * head_dim] with wide_qk_norm */
    TQ_VEC_K_NORM,         /* [head_dim], or [kv_heads * head_dim] */
    TQ_VEC_CONV,           /* [linear_conv, conv channels]: transposed from the file's [channels, 1, linear_conv] */
    TQ_VEC_RATE,           /* [linear_value_heads]: -exp(A_log) */
    TQ_VEC_DT_BIAS,        /* [linear_value_heads] */
    TQ_VEC_GATED_NORM,     /* [linear_value_dim] */
    TQ_VEC_INPUT_BIAS,     /* [hidden], of the norm before the mixer: GPT-2 */
    TQ_VEC_POST_BIAS,      /* [hidden], of the norm before the MLP */
    TQ_VEC_COUNT
} tq_vector;

/* Sizes by name, so that a table can hold them. */
typedef enum tq_dim {
    TQ_DIM_ONE,
    TQ_DIM_HIDDEN,
    TQ_DIM_INTERMEDIATE,
    TQ_DIM_QUERY,     /* heads * head_dim, twice that with an output gate */
    TQ_DIM_KV,        /* kv_heads * head_dim */
    TQ_DIM_QKV,       /* query + 2 * kv */
    TQ_DIM_GATE_UP,   /* 2 * intermediate */
    TQ_DIM_ATTENTION, /* heads * head_dim */
    TQ_DIM_HEAD,
    TQ_DIM_Q_NORM, /* what a query's norm goes over, and a key's */
    TQ_DIM_K_NORM,
    TQ_DIM_CONV_CHANNELS, /* 2 * key heads * key dim + value heads * value dim */
    TQ_DIM_CONV_KERNEL,
    TQ_DIM_VALUE, /* value heads * value dim */
    TQ_DIM_VALUE_HEADS,
    TQ_DIM_VALUE_HEAD,
    TQ_DIM_EXPERTS,
    TQ_DIM_EXPERT, /* an expert's intermediate size */
    TQ_DIM_SHARED  /* the shared expert's */
} tq_dim;
size_t tq_dim_of(const tq_config *c, tq_dim d);

/* How the numbers of a small tensor are taken over. */
typedef enum tq_take { TQ_TAKE_AS_IS, TQ_TAKE_NORM, TQ_TAKE_TRANSPOSED, TQ_TAKE_MINUS_EXP } tq_take;
/* Which setting of the config says that a matrix has a bias. */
typedef enum tq_bias_rule { TQ_BIAS_NEVER, TQ_BIAS_ALWAYS, TQ_BIAS_QKV, TQ_BIAS_ATTENTION, TQ_BIAS_MLP } tq_bias_rule;

/* Which kind of MLP a block must have to have a tensor. */
typedef enum tq_mlp { TQ_MLP_ANY, TQ_MLP_DENSE, TQ_MLP_MIXTURE } tq_mlp;

/* `mixers` and `archs` are bit sets: 1 << tq_mixer, 1 << tq_arch. Names are relative to "layers.N.", or what it is
 * called. */
typedef struct tq_matrix_rule {
    tq_role role;      /* what it is bound as; architectures may name it differently */
    const char *label; /* without ".weight" */
    unsigned mixers;
    unsigned archs;
    tq_dim rows, cols;
    tq_bias_rule bias;
    tq_mlp mlp;
} tq_matrix_rule;

/* An expert's matrix: "mlp.experts.N.LABEL.weight", or one part of a tensor of all experts: [experts, parts * rows,
 * cols], under one of two names. */
typedef struct tq_expert_rule {
    const char *label;
    const char *group; /* what all experts' matrices of this kind are called together */
    tq_dim rows, cols;
    struct {
        const char *name; /* NULL: none */
        size_t part, parts;
    } stacked[2];
} tq_expert_rule;

typedef struct tq_side_rule {
    const char *name;
    unsigned mixers;
    unsigned archs;
    tq_dim rows, cols;
    tq_mlp mlp;
} tq_side_rule;

typedef struct tq_vector_rule {
    tq_vector vec; /* what it is bound as; architectures may name it differently */
    const char *name;
    unsigned mixers;
    unsigned archs;
    size_t rank;
    tq_dim shape[3];
    tq_take take;
} tq_vector_rule;

extern const tq_matrix_rule tq_matrix_rules[];
extern const size_t tq_matrix_rules_count;
extern const tq_expert_rule tq_expert_rules[TQ_EXPERT_ROLES];
extern const tq_side_rule tq_side_rules[TQ_SIDE_COUNT];
extern const tq_vector_rule tq_vector_rules[];
extern const size_t tq_vector_rules_count;

/* Has block b an MLP of this kind? */
bool tq_mlp_is(const tq_config *c, size_t block, tq_mlp mlp);
bool tq_bias_present(const tq_config *c, tq_bias_rule rule);

/* What may stand before the name of the embedding, longest first, and what goes with it. */
typedef struct tq_prefix {
    const char *text;
    const char *head;                     /* the output head; without ".weight" from here on: */
    const char *embedding, *block, *norm; /* "embed_tokens", "layers" and "norm" */
    bool layer_norm;                      /* norms with biases, and learned positions: GPT-2 */
} tq_prefix;
extern const tq_prefix tq_prefixes[];
extern const size_t tq_prefixes_count;

/* Tensors that a text model does not use, by a part of their name. */
typedef struct tq_foreign {
    const char *part;
    const char *what; /* "vision", "MTP" */
} tq_foreign;
extern const tq_foreign tq_foreigns[];
extern const size_t tq_foreigns_count;

const char *tq_mixer_name(tq_mixer m); /* "attention", "DeltaNet" */

#endif
