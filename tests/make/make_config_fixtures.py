#!/usr/bin/env python3
"""Makes tests/data/configs.json: config.json files of each family, and how transformers understands them.

usage: make_config_fixtures.py      needs transformers and torch (made with transformers 5.17)
"""
import copy
import json
import os

from transformers import AutoConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")

SMALL = {"vocab_size": 1000, "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 8,
         "num_attention_heads": 8}
LLAMA3_ROPE = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
               "original_max_position_embeddings": 8192, "rope_type": "llama3"}

CASES = {
    "llama, defaults": {"model_type": "llama", **SMALL},
    "llama 2 7B": {"model_type": "llama", "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008,
                   "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32, "rms_norm_eps": 1e-5,
                   "max_position_embeddings": 4096, "rope_scaling": None, "pretraining_tp": 1, "hidden_act": "silu",
                   "bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": False, "torch_dtype": "float16"},
    "llama 3.1 8B": {"model_type": "llama", "vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336,
                     "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
                     "max_position_embeddings": 131072, "rope_theta": 500000.0, "rope_scaling": LLAMA3_ROPE,
                     "bos_token_id": 128000, "eos_token_id": [128001, 128008, 128009], "attention_bias": False,
                     "mlp_bias": False},
    "llama 3, new keys": {"model_type": "llama", **SMALL, "max_position_embeddings": 131072,
                          "rope_parameters": {**LLAMA3_ROPE, "rope_theta": 500000.0}},
    "smollm2 135M": {"model_type": "llama", "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536,
                     "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3,
                     "max_position_embeddings": 8192, "rope_theta": 100000, "rope_scaling": None,
                     "tie_word_embeddings": True, "rope_interleaved": False, "bos_token_id": 1, "eos_token_id": 2,
                     "transformers.js_config": {"kv_cache_dtype": {"q4f16": "float16"}}},
    "llama, biases": {"model_type": "llama", **SMALL, "attention_bias": True, "mlp_bias": True, "head_dim": 64},
    "llama, linear, old type key": {"model_type": "llama", **SMALL, "rope_scaling": {"type": "linear", "factor": 2.0}},
    "llama, dynamic": {"model_type": "llama", **SMALL, "rope_scaling": {"rope_type": "dynamic", "factor": 4.0}},
    "llama, yarn": {"model_type": "llama", **SMALL, "max_position_embeddings": 8192,
                    "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 2048}},
    "llama, yarn with mscale": {"model_type": "llama", **SMALL, "max_position_embeddings": 8192, "rope_parameters": {
        "rope_type": "yarn", "rope_theta": 50000.0, "factor": 8.0, "original_max_position_embeddings": 1024,
        "mscale": 0.7, "mscale_all_dim": 1.1, "beta_fast": 24, "beta_slow": 2}},
    "llama, yarn with a factor of its own": {"model_type": "llama", **SMALL, "rope_scaling": {
        "rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 1024, "attention_factor": 1.5}},
    "llama, null kv heads and head_dim": {"model_type": "llama", **SMALL, "num_key_value_heads": None, "head_dim": None,
                                          "bos_token_id": None, "eos_token_id": None},
    "mistral, defaults": {"model_type": "mistral", **SMALL},
    "mistral 7B v0.3": {"model_type": "mistral", "vocab_size": 32768, "hidden_size": 4096, "intermediate_size": 14336,
                        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
                        "max_position_embeddings": 32768, "rope_theta": 1000000.0, "sliding_window": None,
                        "rms_norm_eps": 1e-5, "bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": False},
    "mistral, window": {"model_type": "mistral", **SMALL, "sliding_window": 1024},
    "qwen3, defaults": {"model_type": "qwen3", **SMALL, "num_attention_heads": 32},
    "qwen3 0.6B": {"model_type": "qwen3", "vocab_size": 151936, "hidden_size": 1024, "intermediate_size": 3072,
                   "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128,
                   "max_position_embeddings": 40960, "rope_theta": 1000000, "rope_scaling": None,
                   "sliding_window": None, "use_sliding_window": False, "max_window_layers": 28,
                   "tie_word_embeddings": True, "bos_token_id": 151643, "eos_token_id": 151645},
    "qwen3, window everywhere": {"model_type": "qwen3", **SMALL, "num_key_value_heads": 4, "use_sliding_window": True,
                                 "sliding_window": 512, "max_window_layers": 0},
    "qwen3, window from past the end": {"model_type": "qwen3", **SMALL, "num_key_value_heads": 4,
                                        "use_sliding_window": True, "sliding_window": 512, "max_window_layers": 8},
    "qwen3_5_text, defaults": {"model_type": "qwen3_5_text", **SMALL},
    "qwen3_5_text, interval": {"model_type": "qwen3_5_text", **SMALL, "num_attention_heads": 8,
                               "full_attention_interval": 3, "linear_num_key_heads": 2, "linear_num_value_heads": 4},
    "qwen3_5, multimodal": {"model_type": "qwen3_5", "tie_word_embeddings": True, "vision_config": {"depth": 2},
                            "text_config": {
                                "model_type": "qwen3_5_text", **SMALL, "num_key_value_heads": 2, "head_dim": 64,
                                "attn_output_gate": True, "eos_token_id": 7, "mtp_num_hidden_layers": 1,
                                "layer_types": ["linear_attention", "full_attention"] * 4, "tie_word_embeddings": True,
                                "rope_parameters": {"mrope_interleaved": True, "mrope_section": [3, 3, 2],
                                                    "rope_type": "default", "rope_theta": 10000000,
                                                    "partial_rotary_factor": 0.25}}},
    "qwen3_moe, defaults": {"model_type": "qwen3_moe", **SMALL},
    "qwen3 30B-A3B": {"model_type": "qwen3_moe", "vocab_size": 151936, "hidden_size": 2048, "intermediate_size": 6144,
                      "num_hidden_layers": 48, "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 128,
                      "max_position_embeddings": 40960, "rope_theta": 1000000.0, "rope_scaling": None,
                      "decoder_sparse_step": 1, "mlp_only_layers": [], "moe_intermediate_size": 768,
                      "num_experts": 128, "num_experts_per_tok": 8, "norm_topk_prob": True,
                      "router_aux_loss_coef": 0.001, "use_sliding_window": False, "max_window_layers": 48,
                      "sliding_window": None, "tie_word_embeddings": False, "bos_token_id": 151643,
                      "eos_token_id": 151645},
    "qwen3_moe, some dense": {"model_type": "qwen3_moe", **SMALL, "num_local_experts": 16, "decoder_sparse_step": 2,
                              "mlp_only_layers": [1, 6], "use_sliding_window": True, "sliding_window": 64},
    "qwen3_5_moe_text, defaults": {"model_type": "qwen3_5_moe_text", **SMALL},
    "qwen3_5_moe, multimodal": {"model_type": "qwen3_5_moe", "tie_word_embeddings": False, "vision_config": {"depth": 2},
                                "text_config": {
                                    "model_type": "qwen3_5_moe_text", **SMALL, "num_key_value_heads": 2,
                                    "head_dim": 64, "num_experts": 64, "num_experts_per_tok": 4,
                                    "moe_intermediate_size": 96, "shared_expert_intermediate_size": 128,
                                    "full_attention_interval": 4}},
}


def mixtures(config):
    """Which blocks are mixtures of experts, as Qwen3MoeDecoderLayer and its like decide it."""
    if not getattr(config, "num_experts", None):
        return ""
    step, dense = getattr(config, "decoder_sparse_step", 1), getattr(config, "mlp_only_layers", None) or []
    return "".join("m" if (b + 1) % step == 0 and b not in dense else "d" for b in range(config.num_hidden_layers))


def understood(given):
    given = copy.deepcopy(given)
    config = AutoConfig.for_model(given.pop("model_type"), **given)
    tied = config.tie_word_embeddings
    config = config.get_text_config()
    rope = dict(config.rope_parameters)
    kind = rope["rope_type"]
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    attention_factor = 1.0
    dims = int(head_dim * rope.get("partial_rotary_factor", 1.0))
    if kind != "default":
        inv_freq, attention_factor = ROPE_INIT_FUNCTIONS[kind](config, "cpu")
        dims = 2 * len(inv_freq)
    layers = getattr(config, "layer_types", None)
    window = getattr(config, "sliding_window", None) or 0
    if layers and "sliding_attention" not in layers:
        window = 0
    if config.model_type == "llama":
        window = 0
    eos = config.eos_token_id
    return {
        "vocab": config.vocab_size, "hidden": config.hidden_size, "intermediate": config.intermediate_size,
        "blocks": config.num_hidden_layers, "heads": config.num_attention_heads,
        "kv_heads": config.num_key_value_heads, "head_dim": head_dim, "context": config.max_position_embeddings,
        "window": window, "eps": config.rms_norm_eps, "tied": tied,
        "attention_bias": bool(getattr(config, "attention_bias", False)),
        "mlp_bias": bool(getattr(config, "mlp_bias", False)),
        "rope": kind, "theta": rope["rope_theta"], "factor": rope.get("factor", 1.0), "dims": dims,
        "attention_factor": attention_factor,
        "original": rope.get("original_max_position_embeddings",
                             config.max_position_embeddings if kind in ("linear", "dynamic") else 0),
        "low": rope.get("low_freq_factor", 0), "high": rope.get("high_freq_factor", 0),
        "fast": (rope.get("beta_fast") or 32) if kind == "yarn" else 0,
        "slow": (rope.get("beta_slow") or 1) if kind == "yarn" else 0,
        "linear": "".join("l" if t == "linear_attention" else "a" for t in layers or []),
        "delta": [getattr(config, k, 0) for k in ("linear_num_key_heads", "linear_num_value_heads",
                                                  "linear_key_head_dim", "linear_value_head_dim",
                                                  "linear_conv_kernel_dim")],
        "moe": [getattr(config, k, None) or 0 for k in ("num_experts", "num_experts_per_tok", "moe_intermediate_size",
                                                        "shared_expert_intermediate_size")],
        "mixtures": mixtures(config),
        "bos": -1 if config.bos_token_id is None else config.bos_token_id,
        "eos": [] if eos is None else eos if isinstance(eos, list) else [eos],
    }


def main():
    out = [{"name": name, "config": config, "want": understood(config)} for name, config in CASES.items()]
    with open(os.path.join(ROOT, "tests", "data", "configs.json"), "w", encoding="utf-8") as f:
        json.dump(out, f, indent=0)
    print(len(out), "configs")


if __name__ == "__main__":
    main()
