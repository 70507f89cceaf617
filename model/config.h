/* config.h - config.json as numbers the forward pass can trust: ranges are checked here once. */
#ifndef TQ_CONFIG_H
#define TQ_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "model/tensor_source.h"

typedef enum tq_arch {
    TQ_ARCH_LLAMA,
    TQ_ARCH_QWEN3,
    TQ_ARCH_QWEN3_5,
    TQ_ARCH_QWEN2,
    TQ_ARCH_GEMMA3,
    TQ_ARCH_OLMO2,
    TQ_ARCH_PHI3,
    TQ_ARCH_QWEN3_MOE,
    TQ_ARCH_QWEN3_5_MOE,
    TQ_ARCH_GPT2,
    TQ_ARCH_COUNT
} tq_arch;
typedef enum tq_activation { TQ_ACT_SILU, TQ_ACT_GELU_TANH } tq_activation; /* of the MLP's gate */
typedef enum tq_mixer { TQ_MIXER_ATTENTION, TQ_MIXER_DELTANET } tq_mixer;
typedef enum tq_rope_type {
    TQ_ROPE_DEFAULT,
    TQ_ROPE_LINEAR,
    TQ_ROPE_LLAMA3,
    TQ_ROPE_YARN,
    TQ_ROPE_DYNAMIC
} tq_rope_type;

#define TQ_MAX_BLOCKS 512
#define TQ_MAX_EOS 8
#define TQ_MAX_EXPERTS 1024 /* of a block */

typedef struct tq_rope {
    tq_rope_type type;
    float theta;
    float factor;
    float low_freq_factor;      /* llama3 */
    float high_freq_factor;     /* llama3 */
    size_t original_context;    /* llama3, yarn, dynamic */
    float attention_factor;     /* yarn: the factor on cos and sin, resolved; else 1 */
    float beta_fast, beta_slow; /* yarn */
    size_t dims;                /* rotated dimensions of a head: head_dim * partial_rotary_factor */
    const float *divisors;      /* NULL, or what each of dims / 2 frequencies is divided by: [dims / 2], borrowed */
} tq_rope;

typedef struct tq_config {
    tq_arch arch;
    char model_type[64]; /* as the file says */
    size_t vocab;
    size_t hidden;
    size_t intermediate;
    size_t blocks;
    size_t heads;
    size_t kv_heads;
    size_t head_dim;
    size_t context;        /* max_position_embeddings */
    size_t sliding_window; /* of blocks that are local; 0: none are */
    float norm_eps;
    float embedding_scale; /* what embeddings are multiplied by: 1 but for Gemma */
    float query_scale;     /* what queries are multiplied by: 1 / sqrt(head_dim) but for Gemma */
    tq_activation activation;
    bool tied;           /* lm_head is the embedding */
    bool attention_bias; /* q, k, v and o have biases */
    bool qkv_bias;       /* Qwen2: q, k and v have, o has none */
    bool mlp_bias;
    bool output_gate;   /* Qwen3.5: q_proj is twice as tall, sigmoid gate on the attention output */
    bool norm_plus_one; /* Qwen3.5, Gemma: RMSNorm weights are stored minus 1 */
    bool layer_norm;    /* GPT-2: norms take the mean off and have a bias; positions are learned vectors, none rotate */
    bool wide_qk_norm;  /* OLMo 2: queries and keys are normalised over all heads together */
    tq_rope rope;
    tq_rope local_rope; /* of local blocks; the same as rope but for Gemma */
    tq_mixer mixer[TQ_MAX_BLOCKS];
    bool local[TQ_MAX_BLOCKS]; /* attends within the sliding window */
    /* DeltaNet */
    size_t linear_key_heads, linear_value_heads, linear_key_dim, linear_value_dim, linear_conv;
    /* Mixtures of experts */
    size_t experts;              /* of a block that is a mixture; 0: there is none */
    size_t experts_used;         /* of a token */
    size_t expert_width;         /* intermediate size of an expert */
    size_t shared_width;         /* of the expert that every token goes through; 0: none */
    bool norm_topk;              /* the weights of a token's experts are made to add up to one */
    bool mixture[TQ_MAX_BLOCKS]; /* the block's MLP is a mixture of experts */
    bool linear_converted; /* DeltaNet as GGUF files have it: rates as such, value heads in turn over the key heads, not
                            * those of one key head together */
    int eos[TQ_MAX_EOS];   /* from config.json and generation_config.json */
    size_t n_eos;
    int bos;         /* -1: none */
    char prefix[64]; /* of the text tensors, e.g. "model." or "model.language_model." is found at binding */
} tq_config;

/* Reads DIR/config.json (and generation_config.json when present). Understands text_config of multimodal checkpoints.
 * A setting that changes the arithmetic and that is not understood is an error. */
int tq_config_load(const char *dir, tq_config *out, tq_err *err);
/* The same for an opened model, whose file may say it itself. */
int tq_config_of(const tq_source *source, tq_config *out, tq_err *err);

const char *tq_arch_name(tq_arch a); /* "Llama", "Qwen3", "Gemma 3", ... */

#endif
