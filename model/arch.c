/* arch.c - the tables of arch.h. Names are those of the transformers implementations. */
#include "model/arch.h"

#define ATTENTION (1U << TQ_MIXER_ATTENTION)
#define DELTANET (1U << TQ_MIXER_DELTANET)
#define ANY_MIXER (ATTENTION | DELTANET)
#define ANY_ARCH ((1U << TQ_ARCH_COUNT) - 1U)
#define GEMMA3 (1U << TQ_ARCH_GEMMA3)
#define OLMO2 (1U << TQ_ARCH_OLMO2)
#define PHI3 (1U << TQ_ARCH_PHI3)
#define QWEN3_5_MOE (1U << TQ_ARCH_QWEN3_5_MOE)
#define QWEN3 ((1U << TQ_ARCH_QWEN3) | (1U << TQ_ARCH_QWEN3_5) | (1U << TQ_ARCH_QWEN3_MOE) | QWEN3_5_MOE)
#define QK_NORM (QWEN3 | GEMMA3 | OLMO2)
#define GPT2 (1U << TQ_ARCH_GPT2)
#define PRE_NORM (ANY_ARCH & ~(OLMO2 | GPT2)) /* norms before mixer and MLP */
#define OUT_NORM (GEMMA3 | OLMO2)             /* and after them */

const tq_matrix_rule tq_matrix_rules[] = {
    {TQ_ROLE_Q, "self_attn.q_proj", ATTENTION, ~(PHI3 | GPT2), TQ_DIM_QUERY, TQ_DIM_HIDDEN, TQ_BIAS_QKV, TQ_MLP_ANY},
    {TQ_ROLE_K, "self_attn.k_proj", ATTENTION, ~(PHI3 | GPT2), TQ_DIM_KV, TQ_DIM_HIDDEN, TQ_BIAS_QKV, TQ_MLP_ANY},
    {TQ_ROLE_V, "self_attn.v_proj", ATTENTION, ~(PHI3 | GPT2), TQ_DIM_KV, TQ_DIM_HIDDEN, TQ_BIAS_QKV, TQ_MLP_ANY},
    {TQ_ROLE_ATTN_QKV, "self_attn.qkv_proj", ATTENTION, PHI3, TQ_DIM_QKV, TQ_DIM_HIDDEN, TQ_BIAS_NEVER, TQ_MLP_ANY},
    {TQ_ROLE_O, "self_attn.o_proj", ATTENTION, ~GPT2, TQ_DIM_HIDDEN, TQ_DIM_ATTENTION, TQ_BIAS_ATTENTION, TQ_MLP_ANY},
    {TQ_ROLE_QKV, "linear_attn.in_proj_qkv", DELTANET, ANY_ARCH, TQ_DIM_CONV_CHANNELS, TQ_DIM_HIDDEN, TQ_BIAS_NEVER,
     TQ_MLP_ANY},
    {TQ_ROLE_Z, "linear_attn.in_proj_z", DELTANET, ANY_ARCH, TQ_DIM_VALUE, TQ_DIM_HIDDEN, TQ_BIAS_NEVER, TQ_MLP_ANY},
    {TQ_ROLE_OUT, "linear_attn.out_proj", DELTANET, ANY_ARCH, TQ_DIM_HIDDEN, TQ_DIM_VALUE, TQ_BIAS_NEVER, TQ_MLP_ANY},
    {TQ_ROLE_GATE, "mlp.gate_proj", ANY_MIXER, ~(PHI3 | GPT2), TQ_DIM_INTERMEDIATE, TQ_DIM_HIDDEN, TQ_BIAS_MLP,
     TQ_MLP_DENSE},
    {TQ_ROLE_UP, "mlp.up_proj", ANY_MIXER, ~(PHI3 | GPT2), TQ_DIM_INTERMEDIATE, TQ_DIM_HIDDEN, TQ_BIAS_MLP,
     TQ_MLP_DENSE},
    {TQ_ROLE_GATE_UP, "mlp.gate_up_proj", ANY_MIXER, PHI3, TQ_DIM_GATE_UP, TQ_DIM_HIDDEN, TQ_BIAS_NEVER, TQ_MLP_DENSE},
    {TQ_ROLE_DOWN, "mlp.down_proj", ANY_MIXER, ~GPT2, TQ_DIM_HIDDEN, TQ_DIM_INTERMEDIATE, TQ_BIAS_MLP, TQ_MLP_DENSE},
    {TQ_ROLE_SHARED_GATE, "mlp.shared_expert.gate_proj", ANY_MIXER, QWEN3_5_MOE, TQ_DIM_SHARED, TQ_DIM_HIDDEN,
     TQ_BIAS_NEVER, TQ_MLP_MIXTURE},
    {TQ_ROLE_SHARED_UP, "mlp.shared_expert.up_proj", ANY_MIXER, QWEN3_5_MOE, TQ_DIM_SHARED, TQ_DIM_HIDDEN,
     TQ_BIAS_NEVER, TQ_MLP_MIXTURE},
    {TQ_ROLE_SHARED_DOWN, "mlp.shared_expert.down_proj", ANY_MIXER, QWEN3_5_MOE, TQ_DIM_HIDDEN, TQ_DIM_SHARED,
     TQ_BIAS_NEVER, TQ_MLP_MIXTURE},
    {TQ_ROLE_ATTN_QKV, "attn.c_attn", ATTENTION, GPT2, TQ_DIM_QKV, TQ_DIM_HIDDEN, TQ_BIAS_ALWAYS, TQ_MLP_ANY},
    {TQ_ROLE_O, "attn.c_proj", ATTENTION, GPT2, TQ_DIM_HIDDEN, TQ_DIM_ATTENTION, TQ_BIAS_ALWAYS, TQ_MLP_ANY},
    {TQ_ROLE_UP, "mlp.c_fc", ATTENTION, GPT2, TQ_DIM_INTERMEDIATE, TQ_DIM_HIDDEN, TQ_BIAS_ALWAYS, TQ_MLP_ANY},
    {TQ_ROLE_DOWN, "mlp.c_proj", ATTENTION, GPT2, TQ_DIM_HIDDEN, TQ_DIM_INTERMEDIATE, TQ_BIAS_ALWAYS, TQ_MLP_ANY},
};
const size_t tq_matrix_rules_count = sizeof tq_matrix_rules / sizeof tq_matrix_rules[0];

/* transformers writes one tensor an expert; Qwen3.5's published checkpoints have them stacked, gate above up; GGUF
 * files each kind by itself. */
const tq_expert_rule tq_expert_rules[TQ_EXPERT_ROLES] = {
    [TQ_EXPERT_GATE] = {"gate_proj",
                        "mlp.experts.*.gate_proj",
                        TQ_DIM_EXPERT,
                        TQ_DIM_HIDDEN,
                        {{"mlp.experts.gate_up_proj", 0, 2}, {"mlp.experts.gate_proj.weight", 0, 1}}},
    [TQ_EXPERT_UP] = {"up_proj",
                      "mlp.experts.*.up_proj",
                      TQ_DIM_EXPERT,
                      TQ_DIM_HIDDEN,
                      {{"mlp.experts.gate_up_proj", 1, 2}, {"mlp.experts.up_proj.weight", 0, 1}}},
    [TQ_EXPERT_DOWN] = {"down_proj",
                        "mlp.experts.*.down_proj",
                        TQ_DIM_HIDDEN,
                        TQ_DIM_EXPERT,
                        {{"mlp.experts.down_proj", 0, 1}, {"mlp.experts.down_proj.weight", 0, 1}}},
};

const tq_side_rule tq_side_rules[TQ_SIDE_COUNT] = {
    [TQ_SIDE_A] = {"linear_attn.in_proj_a.weight", DELTANET, ANY_ARCH, TQ_DIM_VALUE_HEADS, TQ_DIM_HIDDEN, TQ_MLP_ANY},
    [TQ_SIDE_B] = {"linear_attn.in_proj_b.weight", DELTANET, ANY_ARCH, TQ_DIM_VALUE_HEADS, TQ_DIM_HIDDEN, TQ_MLP_ANY},
    [TQ_SIDE_ROUTER] = {"mlp.gate.weight", ANY_MIXER, ANY_ARCH, TQ_DIM_EXPERTS, TQ_DIM_HIDDEN, TQ_MLP_MIXTURE},
    [TQ_SIDE_SHARED_GATE] = {"mlp.shared_expert_gate.weight", ANY_MIXER, QWEN3_5_MOE, TQ_DIM_ONE, TQ_DIM_HIDDEN,
                             TQ_MLP_MIXTURE},
};

const tq_vector_rule tq_vector_rules[] = {
    {TQ_VEC_INPUT_NORM, "input_layernorm.weight", ANY_MIXER, PRE_NORM, 1, {TQ_DIM_HIDDEN}, TQ_TAKE_NORM},
    {TQ_VEC_POST_NORM,
     "post_attention_layernorm.weight",
     ANY_MIXER,
     PRE_NORM & ~GEMMA3,
     1,
     {TQ_DIM_HIDDEN},
     TQ_TAKE_NORM},
    {TQ_VEC_POST_NORM, "pre_feedforward_layernorm.weight", ANY_MIXER, GEMMA3, 1, {TQ_DIM_HIDDEN}, TQ_TAKE_NORM},
    {TQ_VEC_MIXER_OUT_NORM, "post_attention_layernorm.weight", ANY_MIXER, OUT_NORM, 1, {TQ_DIM_HIDDEN}, TQ_TAKE_NORM},
    {TQ_VEC_MLP_OUT_NORM, "post_feedforward_layernorm.weight", ANY_MIXER, OUT_NORM, 1, {TQ_DIM_HIDDEN}, TQ_TAKE_NORM},
    {TQ_VEC_Q_NORM, "self_attn.q_norm.weight", ATTENTION, QK_NORM, 1, {TQ_DIM_Q_NORM}, TQ_TAKE_NORM},
    {TQ_VEC_K_NORM, "self_attn.k_norm.weight", ATTENTION, QK_NORM, 1, {TQ_DIM_K_NORM}, TQ_TAKE_NORM},
    {TQ_VEC_CONV,
     "linear_attn.conv1d.weight",
     DELTANET,
     ANY_ARCH,
     3,
     {TQ_DIM_CONV_CHANNELS, TQ_DIM_ONE, TQ_DIM_CONV_KERNEL},
     TQ_TAKE_TRANSPOSED},
    {TQ_VEC_RATE, "linear_attn.A_log", DELTANET, ANY_ARCH, 1, {TQ_DIM_VALUE_HEADS}, TQ_TAKE_MINUS_EXP},
    {TQ_VEC_DT_BIAS, "linear_attn.dt_bias", DELTANET, ANY_ARCH, 1, {TQ_DIM_VALUE_HEADS}, TQ_TAKE_AS_IS},
    /* Unlike the other norms of Qwen3.5, this one is stored as it is. */
    {TQ_VEC_GATED_NORM, "linear_attn.norm.weight", DELTANET, ANY_ARCH, 1, {TQ_DIM_VALUE_HEAD}, TQ_TAKE_AS_IS},
    {TQ_VEC_INPUT_NORM, "ln_1.weight", ATTENTION, GPT2, 1, {TQ_DIM_HIDDEN}, TQ_TAKE_AS_IS},
    {TQ_VEC_INPUT_BIAS, "ln_1.bias", ATTENTION, GPT2, 1, {TQ_DIM_HIDDEN}, TQ_TAKE_AS_IS},
    {TQ_VEC_POST_NORM, "ln_2.weight", ATTENTION, GPT2, 1, {TQ_DIM_HIDDEN}, TQ_TAKE_AS_IS},
    {TQ_VEC_POST_BIAS, "ln_2.bias", ATTENTION, GPT2, 1, {TQ_DIM_HIDDEN}, TQ_TAKE_AS_IS},
};
const size_t tq_vector_rules_count = sizeof tq_vector_rules / sizeof tq_vector_rules[0];

const tq_prefix tq_prefixes[] = {
    {"model.language_model.", "lm_head.weight", "embed_tokens", "layers", "norm", false},
    {"language_model.model.", "language_model.lm_head.weight", "embed_tokens", "layers", "norm", false},
    {"model.", "lm_head.weight", "embed_tokens", "layers", "norm", false},
    {"", "lm_head.weight", "embed_tokens", "layers", "norm", false},
    {"transformer.", "lm_head.weight", "wte", "h", "ln_f", true}, /* GPT-2 */
    {"", "lm_head.weight", "wte", "h", "ln_f", true},
};
const size_t tq_prefixes_count = sizeof tq_prefixes / sizeof tq_prefixes[0];

const tq_foreign tq_foreigns[] = {
    {"visual.", "vision"},         {"vision_tower.", "vision"}, {"multi_modal_projector.", "vision"}, {"mtp.", "MTP"},
    {".attn.bias", "mask"}, /* GPT-2: which position sees which, as numbers */
    {".attn.masked_bias", "mask"},
};
const size_t tq_foreigns_count = sizeof tq_foreigns / sizeof tq_foreigns[0];

size_t tq_dim_of(const tq_config *c, tq_dim d) {
    size_t value = c->linear_value_heads * c->linear_value_dim;
    switch (d) {
    case TQ_DIM_ONE:
        return 1;
    case TQ_DIM_HIDDEN:
        return c->hidden;
    case TQ_DIM_INTERMEDIATE:
        return c->intermediate;
    case TQ_DIM_QUERY:
        return c->heads * c->head_dim * (c->output_gate ? 2 : 1);
    case TQ_DIM_KV:
        return c->kv_heads * c->head_dim;
    case TQ_DIM_QKV:
        return (c->heads + 2 * c->kv_heads) * c->head_dim;
    case TQ_DIM_GATE_UP:
        return 2 * c->intermediate;
    case TQ_DIM_ATTENTION:
        return c->heads * c->head_dim;
    case TQ_DIM_HEAD:
        return c->head_dim;
    case TQ_DIM_Q_NORM:
        return c->wide_qk_norm ? c->heads * c->head_dim : c->head_dim;
    case TQ_DIM_K_NORM:
        return c->wide_qk_norm ? c->kv_heads * c->head_dim : c->head_dim;
    case TQ_DIM_CONV_CHANNELS:
        return 2 * c->linear_key_heads * c->linear_key_dim + value;
    case TQ_DIM_CONV_KERNEL:
        return c->linear_conv;
    case TQ_DIM_VALUE:
        return value;
    case TQ_DIM_VALUE_HEADS:
        return c->linear_value_heads;
    case TQ_DIM_VALUE_HEAD:
        return c->linear_value_dim;
    case TQ_DIM_EXPERTS:
        return c->experts;
    case TQ_DIM_EXPERT:
        return c->expert_width;
    case TQ_DIM_SHARED:
        return c->shared_width;
    }
    return 0;
}

bool tq_mlp_is(const tq_config *c, size_t block, tq_mlp mlp) {
    return mlp == TQ_MLP_ANY || (mlp == TQ_MLP_MIXTURE) == c->mixture[block];
}

bool tq_bias_present(const tq_config *c, tq_bias_rule rule) {
    return rule == TQ_BIAS_ALWAYS || (rule == TQ_BIAS_QKV && (c->attention_bias || c->qkv_bias)) ||
           (rule == TQ_BIAS_ATTENTION && c->attention_bias) || (rule == TQ_BIAS_MLP && c->mlp_bias);
}

const char *tq_mixer_name(tq_mixer m) {
    return m == TQ_MIXER_DELTANET ? "DeltaNet" : "attention";
}
