/* gguf_names.c - what tensors of a GGUF file are called here, as tables: one that all architectures share, one more for
 * each that differs. Facts: the `gguf` package 0.19, constants.py and tensor_mapping.py. */
#include <stdio.h>
#include <string.h>

#include "model/gguf.h"

typedef struct name_row {
    const char *gguf, *ours; /* without ".weight" and ".bias"; of a block without "blk.N." and "model.layers.N." */
} name_row;

static const name_row ends[] = {
    {"token_embd", "model.embed_tokens"},
    {"output_norm", "model.norm"},
    {"output", "lm_head"},
    {NULL, NULL},
};

static const name_row common[] = {
    {"attn_norm", "input_layernorm"},    {"attn_q", "self_attn.q_proj"},
    {"attn_k", "self_attn.k_proj"},      {"attn_v", "self_attn.v_proj"},
    {"attn_output", "self_attn.o_proj"}, {"attn_q_norm", "self_attn.q_norm"},
    {"attn_k_norm", "self_attn.k_norm"}, {"ffn_norm", "post_attention_layernorm"},
    {"ffn_gate", "mlp.gate_proj"},       {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},       {NULL, NULL},
};

/* Norms after the mixer and after the MLP, besides those before them. */
static const name_row sandwich[] = {
    {"ffn_norm", "pre_feedforward_layernorm"},
    {"post_attention_norm", "post_attention_layernorm"},
    {"post_ffw_norm", "post_feedforward_layernorm"},
    {NULL, NULL},
};

/* Norms after the mixer and after the MLP alone. */
static const name_row after[] = {
    {"post_attention_norm", "post_attention_layernorm"},
    {"post_ffw_norm", "post_feedforward_layernorm"},
    {NULL, NULL},
};

/* Matrices in one: queries, keys and values; gate and up. */
static const name_row fused[] = {
    {"attn_qkv", "self_attn.qkv_proj"},
    {"ffn_up", "mlp.gate_up_proj"},
    {NULL, NULL},
};

/* Mixtures of experts. */
#define EXPERTS                                                                                                        \
    {"ffn_gate_inp", "mlp.gate"}, {"ffn_gate_exps", "mlp.experts.gate_proj"}, {"ffn_up_exps", "mlp.experts.up_proj"},  \
    {                                                                                                                  \
        "ffn_down_exps", "mlp.experts.down_proj"                                                                       \
    }

static const name_row experts[] = {
    EXPERTS,
    {NULL, NULL},
};

/* Qwen3.5: attention and DeltaNet in turn. Names with a suffix stand for those of another one here. */
static const name_row hybrid[] = {
    EXPERTS,
    {"post_attention_norm", "post_attention_layernorm"},
    {"attn_qkv", "linear_attn.in_proj_qkv"},
    {"attn_gate", "linear_attn.in_proj_z"},
    {"ssm_alpha", "linear_attn.in_proj_a"},
    {"ssm_beta", "linear_attn.in_proj_b"},
    {"ssm_conv1d", "linear_attn.conv1d"},
    {"ssm_dt.bias", "linear_attn.dt_bias"},
    {"ssm_a", "linear_attn.A_log"},
    {"ssm_norm", "linear_attn.norm"},
    {"ssm_out", "linear_attn.out_proj"},
    {"ffn_gate_shexp", "mlp.shared_expert.gate_proj"},
    {"ffn_up_shexp", "mlp.shared_expert.up_proj"},
    {"ffn_down_shexp", "mlp.shared_expert.down_proj"},
    {"ffn_gate_inp_shexp", "mlp.shared_expert_gate"},
    {NULL, NULL},
};

struct tq_gguf_arch {
    tq_arch arch;
    const char *name;       /* general.architecture */
    const char *model_type; /* of config.json */
    const name_row *own;    /* looked at before the common ones; NULL: none */
    bool paired;            /* rows of q and k lie so that neighbours are rotated together */
    bool written;           /* exported, too */
};

static const tq_gguf_arch archs[] = {
    {TQ_ARCH_LLAMA, "llama", "llama", NULL, true, true},
    {TQ_ARCH_QWEN2, "qwen2", "qwen2", NULL, false, true},
    {TQ_ARCH_QWEN3, "qwen3", "qwen3", NULL, false, true},
    {TQ_ARCH_GEMMA3, "gemma3", "gemma3_text", sandwich, false, true},
    {TQ_ARCH_OLMO2, "olmo2", "olmo2", after, false, true},
    {TQ_ARCH_PHI3, "phi3", "phi3", fused, false, true},
    {TQ_ARCH_QWEN3_MOE, "qwen3moe", "qwen3_moe", experts, false, false},
    {TQ_ARCH_QWEN3_5, "qwen35", "qwen3_5_text", hybrid, false, false},
    {TQ_ARCH_QWEN3_5_MOE, "qwen35moe", "qwen3_5_moe_text", hybrid, false, false},
};

const tq_gguf_arch *tq_gguf_arch_find(tq_gguf_text name) {
    for (size_t i = 0; i < sizeof archs / sizeof *archs; i++)
        if (strlen(archs[i].name) == name.n && memcmp(archs[i].name, name.p, name.n) == 0) return &archs[i];
    return NULL;
}

const char *tq_gguf_arch_names(void) {
    return "llama, qwen2, qwen3, qwen3moe, qwen35, qwen35moe, gemma3, olmo2 or phi3";
}

const tq_gguf_arch *tq_gguf_arch_of(const tq_config *c) {
    for (size_t i = 0; i < sizeof archs / sizeof *archs; i++)
        if (archs[i].arch == c->arch && archs[i].written) return &archs[i];
    return NULL;
}

const char *tq_gguf_arch_name(const tq_gguf_arch *a) {
    return a->name;
}

const char *tq_gguf_model_type(const tq_gguf_arch *a) {
    return a->model_type;
}

static const char *look_up(const name_row *rows, const char *part, size_t n) {
    for (; rows && rows->gguf; rows++)
        if (strlen(rows->gguf) == n && memcmp(rows->gguf, part, n) == 0) return rows->ours;
    return NULL;
}

/* Cuts "blk.12.attn_q.weight" into its block, "attn_q" (n bytes) and ".weight"; block is empty for other names. */
static void cut(const char *name, char block[16], const char **part, size_t *n, const char **suffix) {
    size_t digits = strncmp(name, "blk.", 4) == 0 ? strspn(name + 4, "0123456789") : 0;
    block[0] = '\0';
    *part = name;
    if (digits > 0 && digits < 16 && name[4 + digits] == '.') {
        memcpy(block, name + 4, digits);
        block[digits] = '\0';
        *part = name + 4 + digits + 1;
    }
    *suffix = strrchr(*part, '.');
    if (!*suffix) *suffix = *part + strlen(*part);
    *n = (size_t)(*suffix - *part);
}

void tq_gguf_rename(const tq_gguf_arch *a, const char *name, char *out, size_t size) {
    char block[16];
    const char *part, *suffix;
    size_t n;
    cut(name, block, &part, &n, &suffix);
    const char *ours = block[0] ? look_up(a->own, part, strlen(part)) : NULL;
    if (ours && *suffix) suffix = "";
    if (!ours) ours = block[0] ? look_up(a->own, part, n) : look_up(ends, part, n);
    if (!ours && block[0]) ours = look_up(common, part, n);
    if (!ours)
        (void)snprintf(out, size, "%s", name);
    else if (block[0])
        (void)snprintf(out, size, "model.layers.%s.%s%s", block, ours, suffix);
    else
        (void)snprintf(out, size, "%s%s", ours, suffix);
}

static const char *look_back(const name_row *rows, const char *ours, size_t n) {
    for (; rows && rows->gguf; rows++)
        if (strlen(rows->ours) == n && memcmp(rows->ours, ours, n) == 0) return rows->gguf;
    return NULL;
}

bool tq_gguf_name_of(const tq_gguf_arch *a, const char *ours, char *out, size_t size) {
    static const char layers[] = "model.layers.", freqs[] = "rope_freqs.weight";
    size_t digits = strncmp(ours, layers, sizeof layers - 1) == 0 ? strspn(ours + sizeof layers - 1, "0123456789") : 0;
    const char *block = ours + sizeof layers - 1, *part = digits ? block + digits + 1 : ours;
    const char *suffix = strrchr(part, '.');
    if (strcmp(ours, freqs) == 0) {
        (void)snprintf(out, size, "%s", freqs);
        return true;
    }
    if (!suffix || (digits && block[digits] != '.')) return false;
    size_t n = (size_t)(suffix - part);
    const char *name = digits ? look_back(a->own, part, n) : look_back(ends, part, n);
    if (!name && digits) name = look_back(common, part, n);
    if (!name) return false;
    if (digits)
        (void)snprintf(out, size, "blk.%.*s.%s%s", (int)digits, block, name, suffix);
    else
        (void)snprintf(out, size, "%s%s", name, suffix);
    return true;
}

const char *tq_gguf_paired(const tq_gguf_arch *a, const char *name) {
    char block[16];
    const char *part, *suffix;
    size_t n;
    cut(name, block, &part, &n, &suffix);
    if (!a->paired || !block[0] || n != 6) return NULL;
    if (memcmp(part, "attn_q", n) == 0) return "attention.head_count";
    return memcmp(part, "attn_k", n) == 0 ? "attention.head_count_kv" : NULL;
}
