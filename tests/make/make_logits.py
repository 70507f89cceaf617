#!/usr/bin/env python3
"""Makes tests/data/logits: small random models of each architecture and what transformers computes with them.

    python tests/make/make_logits.py                   every random model
    python tests/make/make_logits.py NAME ...          some of them
    python tests/make/make_logits.py --sample samples/tiny-qwen3.5

Each directory holds a model as Hugging Face lays it out (config.json, model.safetensors) and the reference: ids of a
prompt, logits of some of its positions (logits.bin, float32, [positions, vocab]) and the 64 tokens that greedy decoding
appends. The sample model's own directory is not copied: only the reference is written.

The reference is fp32 arithmetic on the weights as stored (torch on a CPU, eager attention). Seeds are fixed. A greedy
path with two tokens closer than MARGIN somewhere would decide nothing within the tolerance, so such a seed is passed
over; of the sample model's prompts the one with the richest answer is taken. Needs torch, transformers and safetensors.
"""

import argparse
import json
import pathlib
import re
import shutil

import torch
import transformers
from safetensors.torch import load_file, save_file

OUT = pathlib.Path(__file__).resolve().parent.parent / "data" / "logits"
PROMPT = 70
GREEDY = 64
MARGIN = 0.02
VOCAB = 320

COMMON = dict(vocab_size=VOCAB, hidden_size=64, intermediate_size=136, num_attention_heads=4, num_key_value_heads=2,
              max_position_embeddings=512, rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2, pad_token_id=0)
LINEAR = dict(COMMON, num_hidden_layers=3, head_dim=32, rms_norm_eps=1e-6,
              layer_types=["linear_attention", "linear_attention", "full_attention"],
              linear_num_key_heads=2, linear_num_value_heads=4, linear_key_head_dim=16, linear_value_head_dim=24,
              rope_parameters=dict(rope_type="default", rope_theta=10000.0, partial_rotary_factor=0.25,
                                   mrope_section=[2, 1, 1], mrope_interleaved=True))
VISION = dict(depth=1, hidden_size=16, intermediate_size=24, num_heads=2, out_hidden_size=64, patch_size=4,
              num_position_embeddings=16, spatial_merge_size=1, temporal_patch_size=1)


def rope(**kw):
    return dict(rope_theta=10000.0, **kw)


# name: (config class, settings, dtype of the file)
MODELS = {
    "qwen3_5-tied": ("Qwen3_5TextConfig", dict(LINEAR, tie_word_embeddings=True), torch.bfloat16),
    "qwen3_5-untied": ("Qwen3_5TextConfig", dict(LINEAR, tie_word_embeddings=False, attention_bias=True),
                       torch.bfloat16),
    "qwen3_5-multimodal": ("Qwen3_5Config", dict(text_config=dict(LINEAR, tie_word_embeddings=True),
                                                 vision_config=VISION, tie_word_embeddings=True), torch.bfloat16),
    "qwen3-tied": ("Qwen3Config", dict(COMMON, num_hidden_layers=2, head_dim=24, tie_word_embeddings=True,
                                       rope_parameters=rope(rope_type="default")), torch.bfloat16),
    "qwen3-untied": ("Qwen3Config", dict(COMMON, num_hidden_layers=2, head_dim=32, tie_word_embeddings=False,
                                         attention_bias=True, rope_parameters=rope(rope_type="default")),
                     torch.bfloat16),
    "llama-untied": ("LlamaConfig", dict(COMMON, num_hidden_layers=2, tie_word_embeddings=False, num_key_value_heads=1,
                                         rope_parameters=rope(rope_type="default")), torch.bfloat16),
    "llama-rope-llama3": ("LlamaConfig", dict(COMMON, num_hidden_layers=2, tie_word_embeddings=True,
                                              rope_parameters=rope(rope_type="llama3", factor=8.0, low_freq_factor=1.0,
                                                                   high_freq_factor=4.0,
                                                                   original_max_position_embeddings=64)),
                          torch.bfloat16),
    "llama-rope-linear": ("LlamaConfig", dict(COMMON, num_hidden_layers=2, tie_word_embeddings=False, mlp_bias=True,
                                              attention_bias=True,
                                              rope_parameters=rope(rope_type="linear", factor=3.0)), torch.bfloat16),
    "llama-rope-yarn": ("LlamaConfig", dict(COMMON, num_hidden_layers=2, tie_word_embeddings=True,
                                            rope_parameters=rope(rope_type="yarn", factor=4.0,
                                                                 original_max_position_embeddings=128)),
                        torch.bfloat16),
    "llama-rope-dynamic": ("LlamaConfig", dict(COMMON, num_hidden_layers=2, tie_word_embeddings=True,
                                               max_position_embeddings=48,
                                               rope_parameters=rope(rope_type="dynamic", factor=2.0)), torch.bfloat16),
    "smollm2-f16": ("LlamaConfig", dict(COMMON, num_hidden_layers=3, hidden_size=48, num_attention_heads=3,
                                        num_key_value_heads=3, intermediate_size=128, tie_word_embeddings=True,
                                        rope_parameters=rope(rope_type="default")), torch.float16),
    "mistral-window-f32": ("MistralConfig", dict(COMMON, num_hidden_layers=2, hidden_size=48, intermediate_size=96,
                                                 head_dim=16, num_attention_heads=4, sliding_window=16,
                                                 tie_word_embeddings=False,
                                                 rope_parameters=rope(rope_type="default")), torch.float32),
}
# Small ones: a few positions, a small vocabulary.
SMALL = dict(COMMON, vocab_size=128, hidden_size=32, intermediate_size=48, num_attention_heads=2)
GEMMA3 = dict(SMALL, num_hidden_layers=4, num_key_value_heads=1, head_dim=16, rms_norm_eps=1e-6, sliding_window=8,
              query_pre_attn_scalar=24,
              layer_types=["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
              rope_parameters=dict(full_attention=dict(rope_type="linear", factor=4.0, rope_theta=100000.0),
                                   sliding_attention=dict(rope_type="default", rope_theta=5000.0)))
MODELS |= {
    "gemma3-small": ("Gemma3TextConfig", GEMMA3, torch.bfloat16),
    "qwen2-small": ("Qwen2Config", dict(SMALL, num_hidden_layers=3, num_key_value_heads=1, tie_word_embeddings=True,
                                        use_sliding_window=True, sliding_window=12, max_window_layers=2,
                                        rope_parameters=rope(rope_type="default")), torch.bfloat16),
    "olmo2-small": ("Olmo2Config", dict(SMALL, num_hidden_layers=2, num_key_value_heads=1, tie_word_embeddings=False,
                                        rope_parameters=rope(rope_type="default")), torch.bfloat16),
    "phi3-small": ("Phi3Config", dict(SMALL, num_hidden_layers=2, num_key_value_heads=1, tie_word_embeddings=False,
                                      sliding_window=20, rope_parameters=rope(rope_type="default")), torch.bfloat16),
}
# Mixtures of experts. FUSED: as published checkpoints of Qwen3.5 hold them, all experts in one tensor.
MOE = dict(SMALL, num_hidden_layers=3, num_key_value_heads=1, head_dim=16, moe_intermediate_size=24, num_experts=6,
           num_experts_per_tok=2, rope_parameters=rope(rope_type="default"))
LINEAR_MOE = dict(MOE, layer_types=["linear_attention", "full_attention", "linear_attention"],
                  linear_num_key_heads=1, linear_num_value_heads=2, linear_key_head_dim=16, linear_value_head_dim=16,
                  shared_expert_intermediate_size=40, rope_parameters=dict(rope_type="default", rope_theta=10000.0,
                                                                           partial_rotary_factor=0.5,
                                                                           mrope_section=[2, 1, 1],
                                                                           mrope_interleaved=True))
LINEAR_MOE.pop("intermediate_size")
LINEAR_DENSE = {k: v for k, v in LINEAR_MOE.items() if "expert" not in k and "moe" not in k}
MODELS |= {
    "qwen3_5-small": ("Qwen3_5TextConfig", dict(LINEAR_DENSE, intermediate_size=48, linear_num_value_heads=6,
                                                linear_num_key_heads=2, tie_word_embeddings=False), torch.bfloat16),
    "qwen3_moe-small": ("Qwen3MoeConfig", dict(MOE, norm_topk_prob=True, mlp_only_layers=[1],
                                               tie_word_embeddings=False), torch.bfloat16),
    "qwen3_moe-fused-small": ("Qwen3MoeConfig", dict(MOE, norm_topk_prob=False, decoder_sparse_step=2,
                                                     num_experts_per_tok=3, use_sliding_window=True, sliding_window=24,
                                                     tie_word_embeddings=True), torch.bfloat16),
    "qwen3_moe-sparse-small": ("Qwen3MoeConfig", dict(MOE, num_hidden_layers=2, norm_topk_prob=True, num_experts=8,
                                                      num_experts_per_tok=3, tie_word_embeddings=False),
                               torch.bfloat16),
    "qwen3_5_moe-small": ("Qwen3_5MoeTextConfig", dict(LINEAR_MOE, tie_word_embeddings=True), torch.bfloat16),
    "qwen3_5_moe-fused-multimodal-small": ("Qwen3_5MoeConfig", dict(text_config=dict(LINEAR_MOE, num_experts_per_tok=4,
                                                                                     tie_word_embeddings=False),
                                                                    vision_config=dict(VISION, out_hidden_size=32),
                                                                    tie_word_embeddings=False), torch.bfloat16),
}
MODELS |= {
    "gpt2-small": ("GPT2Config", dict(vocab_size=128, n_embd=32, n_layer=3, n_head=2, n_positions=160, n_inner=None,
                                      bos_token_id=1, eos_token_id=2, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0),
                   torch.bfloat16),
}
OLD_CONFIG = ("llama-rope-llama3", "llama-untied", "smollm2-f16", "qwen3-tied")
CLASSES = {"Qwen3_5TextConfig": "Qwen3_5ForCausalLM", "Qwen3_5Config": "Qwen3_5ForConditionalGeneration",
           "Qwen3Config": "Qwen3ForCausalLM", "Qwen2Config": "Qwen2ForCausalLM", "Olmo2Config": "Olmo2ForCausalLM", "Phi3Config": "Phi3ForCausalLM",
           "Qwen3MoeConfig": "Qwen3MoeForCausalLM", "Qwen3_5MoeTextConfig": "Qwen3_5MoeForCausalLM",
           "Qwen3_5MoeConfig": "Qwen3_5MoeForConditionalGeneration",
           "GPT2Config": "GPT2LMHeadModel", "Gemma3TextConfig": "Gemma3ForCausalLM", "LlamaConfig": "LlamaForCausalLM", "MistralConfig": "MistralForCausalLM"}


def fill(model, seed):
    """Random weights: products keep their size, norms differ from one, logits have a spread of about 3."""
    g = torch.Generator().manual_seed(seed)

    def normal(p, std, mean=0.0):
        p.copy_(torch.randn(p.shape, generator=g) * std + mean)

    with torch.no_grad():
        for name, p in model.named_parameters():
            kind = str(type(model.get_submodule(name.rsplit(".", 1)[0])))
            gemma = "Gemma3RMSNorm'" in kind
            plus_one = gemma or "Qwen3_5RMSNorm'" in kind or "Qwen3_5MoeRMSNorm'" in kind
            if name.endswith("A_log"):
                p.copy_(torch.log(torch.rand(p.shape, generator=g) * 4 + 0.01))
            elif name.endswith("dt_bias"):
                normal(p, 1.0)
            elif (".ln_" in name and name.endswith("bias")) or "wpe" in name:
                normal(p, 0.3)
            elif ("norm" in name or ".ln_" in name) and p.dim() == 1:
                # Gemma's embeddings are scaled up: what blocks add must not be lost beside them.
                normal(p, 0.2, 4.0 if gemma and "post_" in name else 0.0 if plus_one else 1.0)
            elif p.dim() == 1:
                normal(p, 0.3)
            elif "conv1d" in name:
                normal(p, 0.5)
            elif "embed_tokens" in name or "lm_head" in name or "wte" in name:
                normal(p, 3.0 / p.shape[1] ** 0.5)
            elif ".c_" in name:
                normal(p, 1.2 / p.shape[0] ** 0.5)  # [in, out]
            elif ".experts." in name:
                normal(p, 1.2 / p.shape[-1] ** 0.5)
            else:
                normal(p, 1.2 / p[0].numel() ** 0.5)


@torch.no_grad()
def logits_of(model, ids):
    return model(torch.tensor([ids]), use_cache=False).logits[0].float()


@torch.no_grad()
def greedy_of(model, ids):
    """64 tokens with the cache, and the smallest distance between the two best tokens on the way."""
    out, margin, cache = [], float("inf"), None
    feed = list(ids)
    for _ in range(GREEDY):
        r = model(torch.tensor([feed]), past_key_values=cache, use_cache=True)
        cache = r.past_key_values
        top = torch.topk(r.logits[0, -1].float(), 2)
        margin = min(margin, float(top.values[0] - top.values[1]))
        feed = [int(top.indices[0])]
        out += feed
    return out, margin


def write_reference(out, logits, ids, positions, greedy, margin, seed, note):
    logits[positions].numpy().astype("<f4").tofile(out / "logits.bin")
    reference = dict(ids=ids, positions=positions, vocab=logits.shape[1], greedy=greedy, smallest_margin=round(margin, 4),
                     seed=seed, made_with=note)
    (out / "reference.json").write_text(json.dumps(reference) + "\n")
    print(f"{out.name:22s} seed {seed} margin {margin:.3f} spread {logits.std():.2f} largest {logits.abs().max():.2f} "
          f"distinct greedy {len(set(greedy))} bytes {sum(f.stat().st_size for f in out.iterdir())}")


def note():
    return f"transformers {transformers.__version__}, torch {torch.__version__}, fp32"


def add_foreign(path):
    """A multimodal checkpoint also holds a multi-token-prediction head, which transformers does not load."""
    tensors = load_file(path)
    for name in ("mtp.fc.weight", "mtp.norm.weight", "mtp.layers.0.mlp.up_proj.weight"):
        tensors[name] = torch.zeros(4, 4, dtype=torch.bfloat16)
    save_file(tensors, path, metadata={"format": "pt"})


def fuse_experts(path):
    """One tensor of all experts: [experts, gate above up, hidden] and [experts, hidden, intermediate]."""
    tensors = load_file(path)
    found = {re.sub(r"experts\.\d+\..*", "experts.", name) for name in tensors if ".experts." in name}
    for stem in found:
        count = sum(name.startswith(stem) and name.endswith("down_proj.weight") for name in tensors)
        part = {kind: [tensors.pop(f"{stem}{e}.{kind}_proj.weight") for e in range(count)]
                for kind in ("gate", "up", "down")}
        tensors[stem + "gate_up_proj"] = torch.stack([torch.cat(pair) for pair in zip(part["gate"], part["up"])])
        tensors[stem + "down_proj"] = torch.stack(part["down"])
    save_file(tensors, path, metadata={"format": "pt"})


def as_written_before_5(path):
    """Checkpoints older than transformers 5 keep rope_theta and rope_scaling apart, and say torch_dtype."""
    config = json.loads(path.read_text())
    parameters = config.pop("rope_parameters")
    config["rope_theta"] = parameters.pop("rope_theta")
    config["rope_scaling"] = None if parameters["rope_type"] == "default" else parameters
    config["torch_dtype"] = config.pop("dtype")
    path.write_text(json.dumps(config, indent=2) + "\n")


def make(name):
    config_class, settings, dtype = MODELS[name]
    out = OUT / name
    cls = getattr(transformers, CLASSES[config_class])
    for seed in range(1, 100):
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        config = getattr(transformers, config_class)(**settings)
        config._attn_implementation = "eager"
        model = cls(config)
        fill(model, seed)
        model.to(dtype).save_pretrained(out)
        (out / "generation_config.json").unlink(missing_ok=True)
        (out / "model.safetensors").chmod(0o644)
        if name in OLD_CONFIG:
            as_written_before_5(out / "config.json")
        if "multimodal" in name:
            add_foreign(out / "model.safetensors")
        if "fused" in name:
            fuse_experts(out / "model.safetensors")
        model = cls.from_pretrained(out, dtype=torch.float32, attn_implementation="eager").eval()
        vocab = config.get_text_config().vocab_size
        ids = torch.randint(3, vocab, (PROMPT,), generator=torch.Generator().manual_seed(seed)).tolist()
        logits = logits_of(model, ids)  # first: dynamic rope keeps the frequencies of the longest sequence it saw
        greedy, margin = greedy_of(model, ids)
        if margin > MARGIN:
            break
    else:
        raise SystemExit(f"{name}: no seed gives a decided greedy path")
    step = 10 if "small" in name else 2
    write_reference(out, logits, ids, list(range(0, PROMPT, step)) + [PROMPT - 1], greedy, margin, seed, note())


def make_sample(directory):
    out = OUT / "sample"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    model = transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32,
                                                              attn_implementation="eager").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    prompts = [
        "<|im_start|>user\nWhat is 7 plus 5?<|im_end|>\n<|im_start|>assistant\n12<|im_end|>\n"
        "<|im_start|>user\nSort these words: pear, apple, fig.<|im_end|>\n<|im_start|>assistant\n",
        "The command reads its configuration from a file in the home directory. When the file does not exist, the "
        "defaults are used. Each line of the file holds",
        "A process that has been stopped by a signal can be continued by another signal. The parent is told about it "
        "and may wait for",
        "The function returns a pointer to the first element, or a null pointer when the list is empty. It is an error "
        "to call it",
    ]
    best = None
    for i, text in enumerate(prompts):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        greedy, margin = greedy_of(model, ids)
        print(f"prompt {i}: margin {margin:.4f}: {tokenizer.decode(greedy)!r}")
        if margin > MARGIN and (best is None or len(set(greedy)) > len(set(best[0]))):
            best = (greedy, margin, ids, i)
    if best is None:
        raise SystemExit("no prompt gives a decided greedy path")
    greedy, margin, ids, i = best
    positions = sorted({0, 1, 7, len(ids) // 2, len(ids) - 2, len(ids) - 1})
    write_reference(out, logits_of(model, ids), ids, positions, greedy, margin, i, note())


def main():
    parser = argparse.ArgumentParser(description="makes tests/data/logits")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--sample", help="directory of the sample model")
    args = parser.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    if args.sample:
        make_sample(args.sample)
    for name in args.names or ([] if args.sample else MODELS):
        make(name)


main()
