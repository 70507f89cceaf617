#!/usr/bin/env python3
"""Makes tests/data/gguf/qwen*.gguf: random models of tests/data/logits as llama.cpp's converter lays them out.

    python tests/make/make_gguf_models.py             bf16 matrices, in tests/data/gguf
    python tests/make/make_gguf_models.py OUT         F32 ones in OUT, for check_gguf_models.py: with bf16 matrices
                                                      llama.cpp rounds activations to bf16 as well

What the converter does to them: norms with one added (not DeltaNet's own), rates as -exp(A_log), convolutions without
their middle dimension, value heads in turn over the key heads instead of those of one key head together, each kind of
experts in one tensor. Needs numpy, torch, gguf and safetensors.
"""

import json
import pathlib
import sys

import gguf
import torch
from safetensors.torch import load_file

DATA = pathlib.Path(__file__).resolve().parent.parent / "data"
F32 = len(sys.argv) > 1
MODELS = {"qwen3_moe-sparse-small": "qwen3moe", "qwen3_5-small": "qwen35", "qwen3_5_moe-small": "qwen35moe"}
NAMES = {"input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
         "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
         "self_attn.k_norm": "attn_k_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
         "mlp.down_proj": "ffn_down", "mlp.gate": "ffn_gate_inp", "mlp.shared_expert.gate_proj": "ffn_gate_shexp",
         "mlp.shared_expert.up_proj": "ffn_up_shexp", "mlp.shared_expert.down_proj": "ffn_down_shexp",
         "mlp.shared_expert_gate": "ffn_gate_inp_shexp", "linear_attn.in_proj_qkv": "attn_qkv",
         "linear_attn.in_proj_z": "attn_gate", "linear_attn.in_proj_a": "ssm_alpha", "linear_attn.in_proj_b": "ssm_beta",
         "linear_attn.conv1d": "ssm_conv1d", "linear_attn.norm": "ssm_norm", "linear_attn.out_proj": "ssm_out"}


def in_turn(x, dim, c, width):
    """Value heads along `dim`, each `width` long: from those of one key head together to one of each in turn."""
    keys, values = c["linear_num_key_heads"], c["linear_num_value_heads"]
    x = x.movedim(dim, 0)
    rest = x.shape[1:]
    x = x.reshape(keys, values // keys, width, *rest).transpose(0, 1).reshape(-1, *rest)
    return x.movedim(0, dim)


def convert(name, x, c):
    """What becomes of a tensor of a DeltaNet block."""
    part = name.split("linear_attn.")[-1]
    value, keys = c["linear_value_head_dim"], 2 * c["linear_num_key_heads"] * c["linear_key_head_dim"]
    if part == "conv1d.weight":
        x = x.squeeze(1)
    if part in ("in_proj_qkv.weight", "conv1d.weight"):
        return torch.cat([x[:keys], in_turn(x[keys:], 0, c, value)])
    if part == "in_proj_z.weight":
        return in_turn(x, 0, c, value)
    if part in ("in_proj_a.weight", "in_proj_b.weight", "dt_bias"):
        return in_turn(x, 0, c, 1)
    if part == "A_log":
        return in_turn(-torch.exp(x.float()), 0, c, 1)
    return in_turn(x, 1, c, value) if part == "out_proj.weight" else x


def put(writer, name, x):
    if F32 or x.dim() == 1 or "conv1d" in name or "ffn_gate_inp" in name:
        writer.add_tensor(name, x.float().numpy())
    else:
        raw = x.to(torch.bfloat16).contiguous().view(torch.uint16).numpy()
        writer.add_tensor(name, raw.view("uint8"), raw_dtype=gguf.GGMLQuantizationType.BF16)


def settings(writer, arch, c):
    writer.add_uint32(f"{arch}.vocab_size", c["vocab_size"])
    writer.add_block_count(c["num_hidden_layers"])
    writer.add_context_length(c["max_position_embeddings"])
    writer.add_embedding_length(c["hidden_size"])
    if "intermediate_size" in c:
        writer.add_feed_forward_length(c["intermediate_size"])
    writer.add_head_count(c["num_attention_heads"])
    writer.add_head_count_kv(c["num_key_value_heads"])
    writer.add_key_length(c["head_dim"])
    writer.add_value_length(c["head_dim"])
    writer.add_layer_norm_rms_eps(c["rms_norm_eps"])
    writer.add_rope_freq_base(c["rope_parameters"]["rope_theta"])
    if arch != "qwen3":
        experts = c.get("num_experts", c.get("num_local_experts"))
        if experts:
            writer.add_expert_count(experts)
            writer.add_expert_used_count(c["num_experts_per_tok"])
            writer.add_expert_feed_forward_length(c["moe_intermediate_size"])
    if "shared_expert_intermediate_size" in c:
        writer.add_expert_shared_feed_forward_length(c["shared_expert_intermediate_size"])
    if arch.startswith("qwen35"):
        writer.add_rope_dimension_count(int(c["head_dim"] * c["rope_parameters"]["partial_rotary_factor"]))
        writer.add_rope_dimension_sections(c["rope_parameters"]["mrope_section"] + [0])
        writer.add_ssm_conv_kernel(c["linear_conv_kernel_dim"])
        writer.add_ssm_state_size(c["linear_key_head_dim"])
        writer.add_ssm_group_count(c["linear_num_key_heads"])
        writer.add_ssm_time_step_rank(c["linear_num_value_heads"])
        writer.add_ssm_inner_size(c["linear_num_value_heads"] * c["linear_value_head_dim"])
        writer.add_uint32(f"{arch}.full_attention_interval", 1 + c["layer_types"].index("full_attention"))


def make(fixture, arch, out):
    c = json.loads((DATA / "logits" / fixture / "config.json").read_text())
    tensors = load_file(DATA / "logits" / fixture / "model.safetensors")
    writer = gguf.GGUFWriter(out / f"{arch}.gguf", arch)
    settings(writer, arch, c)
    writer.add_tokenizer_model("none")
    linear = arch.startswith("qwen35")
    stacks = {}
    for name, x in sorted(tensors.items()):
        if linear and name.endswith("norm.weight") and "linear_attn" not in name:
            x = x.float() + 1
        if "linear_attn" in name:
            x = convert(name, x, c)
        if not name.startswith("model.layers."):
            put(writer, {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
                         "lm_head.weight": "output.weight"}[name], x)
            continue
        block, part = name.removeprefix("model.layers.").split(".", 1)
        if part.startswith("mlp.experts."):
            _, _, expert, kind, _ = part.split(".")
            stacks.setdefault((block, kind.removesuffix("_proj")), {})[int(expert)] = x
            continue
        stem, _, suffix = part.rpartition(".")
        if part == "linear_attn.A_log":
            put(writer, f"blk.{block}.ssm_a", x)
        elif part == "linear_attn.dt_bias":
            put(writer, f"blk.{block}.ssm_dt.bias", x)
        elif stem == "post_attention_layernorm":
            put(writer, f"blk.{block}.{'post_attention_norm' if linear else 'ffn_norm'}.weight", x)
        else:
            put(writer, f"blk.{block}.{NAMES[stem]}.{suffix}", x.squeeze(0) if "shared_expert_gate" in stem else x)
    for (block, kind), parts in stacks.items():
        put(writer, f"blk.{block}.ffn_{kind}_exps.weight", torch.stack([parts[e] for e in range(len(parts))]))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else DATA / "gguf"
    for fixture, arch in MODELS.items():
        make(fixture, arch, out)
        print(f"{arch}.gguf {(out / f'{arch}.gguf').stat().st_size}")
