#!/usr/bin/env python3
"""Writes hostile model directories under OUT, and OUT/cases.json: [{dir, args, must_mention}].

usage: make_hostile.py OUT      needs Python's standard library only

Each is a tiny valid Llama model (2 blocks, hidden 64, vocabulary of the 256 bytes and three special tokens) with one
thing wrong. `dir` is relative to OUT; "DIR" in `args` stands for it. The program must print one line that holds
must_mention, exit with 1, and take less than a second. The first case, "good", has must_mention null: it must work.
"""
import json
import math
import os
import random
import struct
import sys

VOCAB, HIDDEN, FFN, BLOCKS, HEADS, KV = 259, 64, 128, 2, 4, 2
LAYERS = ["layers", "DIR"]
EVAL = ["eval", "DIR", "--set", "*=4", "--tokens", "64", "--ctx", "64"]
CHAT = ["chat", "DIR", "--prompt", "Hello", "--max-tokens", "4"]


def f32(values):
    return struct.pack("<%df" % len(values), *values)


def bf16(values):
    return b"".join(struct.pack("<f", v)[2:] for v in values)


def tensors():
    r = random.Random(7)
    kv = HIDDEN // HEADS * KV
    shapes = {"model.embed_tokens.weight": (VOCAB, HIDDEN)}
    for b in range(BLOCKS):
        p = "model.layers.%d." % b
        for name, shape in (("self_attn.q_proj", (HIDDEN, HIDDEN)), ("self_attn.k_proj", (kv, HIDDEN)),
                            ("self_attn.v_proj", (kv, HIDDEN)), ("self_attn.o_proj", (HIDDEN, HIDDEN)),
                            ("mlp.gate_proj", (FFN, HIDDEN)), ("mlp.up_proj", (FFN, HIDDEN)),
                            ("mlp.down_proj", (HIDDEN, FFN)), ("input_layernorm", (HIDDEN,)),
                            ("post_attention_layernorm", (HIDDEN,))):
            shapes[p + name + ".weight"] = shape
    shapes["model.norm.weight"] = (HIDDEN,)
    out = {}
    for name, shape in shapes.items():
        n = math.prod(shape)
        values = [1.0] * n if len(shape) == 1 else [r.gauss(0, 0.05) for _ in range(n)]
        out[name] = ["BF16", list(shape), bf16(values)]
    return out


def pack(model, edit=None):
    """A safetensors file; edit changes the header's object before it is written."""
    header, data = {}, b""
    for name, (dtype, shape, values) in model.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    if edit:
        edit(header)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def config(**more):
    c = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": VOCAB, "hidden_size": HIDDEN,
         "intermediate_size": FFN, "num_hidden_layers": BLOCKS, "num_attention_heads": HEADS,
         "num_key_value_heads": KV, "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
         "tie_word_embeddings": True, "hidden_act": "silu", "bos_token_id": 256, "eos_token_id": 257}
    c.update(more)
    return {k: v for k, v in c.items() if v != "ABSENT"}


def byte_symbols():
    own = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    others = [b for b in range(256) if b not in own]
    return [chr(b) if b in own else chr(256 + others.index(b)) for b in range(256)]


def tokenizer():
    return {
        "version": "1.0",
        "added_tokens": [{"id": 256 + i, "content": t, "single_word": False, "lstrip": False, "rstrip": False,
                          "normalized": False, "special": True}
                         for i, t in enumerate(("<s>", "<|im_end|>", "<|im_start|>"))],
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
        "post_processor": None,
        "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "vocab": {s: b for b, s in enumerate(byte_symbols())}, "merges": []},
    }


class Cases:
    def __init__(self, out):
        self.out = out
        self.list = []

    def add(self, name, mention, args=LAYERS, weights=None, cfg=None, tok=None, files=None):
        """weights, cfg, tok: bytes or objects in place of the good ones; files: more files, None removes one."""
        folder = os.path.join(self.out, name)
        os.makedirs(folder, exist_ok=True)
        content = {
            "model.safetensors": pack(tensors()) if weights is None else weights,
            "config.json": config() if cfg is None else cfg,
            "tokenizer.json": tokenizer() if tok is None else tok,
        }
        content.update(files or {})
        for file, data in content.items():
            if data is None:
                continue
            with open(os.path.join(folder, file), "wb") as f:
                f.write(data if isinstance(data, bytes) else json.dumps(data).encode())
        self.list.append({"dir": name, "args": args, "must_mention": mention})


def with_header(edit):
    return pack(tensors(), edit)


def changed(name, entry):
    model = tensors()
    if entry is None:
        del model[name]
    else:
        model[name] = entry
    return pack(model)


def set_offsets(name, begin, end):
    def edit(header):
        header[name]["data_offsets"] = [begin, end]
    return with_header(edit)


def set_field(name, field, value):
    def edit(header):
        header[name][field] = value
    return with_header(edit)


def duplicated():
    good = pack(tensors())
    n = struct.unpack("<Q", good[:8])[0]
    text = good[8:8 + n].rstrip()
    first = text[1:text.index(b"}") + 1]
    text = b"{" + first + b"," + text[1:]
    return struct.pack("<Q", len(text)) + text + good[8 + n:]


def nan_weight(name):
    model = tensors()
    values = model[name][2]
    model[name][2] = values[:20] + b"\xc0\x7f" + values[22:]
    return pack(model)


def source_cases(c):
    good = pack(tensors())
    n = struct.unpack("<Q", good[:8])[0]
    q = "model.layers.0.self_attn.q_proj.weight"
    file = "model.safetensors"
    c.add("truncated-data", file, weights=good[:-1000])
    c.add("truncated-header", file, weights=good[:100])
    c.add("empty-file", file, weights=b"")
    c.add("trailing-bytes", file, weights=good + b"more")
    c.add("header-length-2-63", file, weights=struct.pack("<Q", 2**63) + good[8:])
    c.add("header-length-past-end", file, weights=struct.pack("<Q", len(good)) + good[8:])
    c.add("header-broken-json", file, weights=good[:8] + b"{" * n + good[8 + n:])
    c.add("header-deep-json", file, weights=struct.pack("<Q", 100000) + b'{"a":' + b"[" * 99995)
    c.add("offsets-overlap", "overlap", weights=set_offsets(q, 0, 2 * HIDDEN * HIDDEN))
    c.add("offsets-out-of-range", q, weights=set_offsets(q, 2**40, 2**40 + 2 * HIDDEN * HIDDEN))
    c.add("offsets-backwards", q, weights=set_offsets(q, 8192, 0))
    c.add("shape-overflow", q, weights=set_field(q, "shape", [2**50, 2**50]))
    c.add("shape-negative", q, weights=set_field(q, "shape", [-64, 64]))
    c.add("dtype-unknown", q, weights=set_field(q, "dtype", "Q4_K"))
    c.add("duplicate-name", "twice", weights=duplicated())
    c.add("tensor-missing", q, weights=changed(q, None))
    c.add("tensor-wrong-shape", q, weights=changed(q, ["BF16", [32, 128], bf16([0.1] * 4096)]))
    c.add("tensor-wrong-rank", q, weights=changed(q, ["BF16", [4096], bf16([0.1] * 4096)]))
    c.add("tensor-wrong-dtype", q, weights=changed(q, ["I32", [64, 64], b"\0" * 16384]))
    c.add("norm-wrong-shape", "model.norm.weight", weights=changed("model.norm.weight", ["F32", [63], f32([1.0] * 63)]))
    c.add("nan-weights", "q_proj", EVAL, weights=nan_weight(q))
    index = "model.safetensors.index.json"
    c.add("index-outside", index, files={file: None, index: {"weight_map": {q: "../good/model.safetensors"}}})
    c.add("index-missing-shard", "gone.safetensors", files={file: None, index: {"weight_map": {q: "gone.safetensors"}}})
    c.add("index-broken", index, files={index: b'{"weight_map":'})
    c.add("index-wrong-shard", "not.there", files={index: {"weight_map": {"not.there": file}}})


def config_cases(c):
    file = "config.json"
    c.add("config-absent", file, files={file: None})
    c.add("config-broken", file, cfg=b'{"model_type": "llama", ')
    c.add("config-not-object", file, cfg=b"[]")
    c.add("config-no-hidden", "hidden_size", cfg=config(hidden_size="ABSENT"))
    c.add("config-hidden-2-40", "hidden_size", cfg=config(hidden_size=2**40))
    c.add("config-hidden-string", "hidden_size", cfg=config(hidden_size="64"))
    c.add("config-heads-0", "num_attention_heads", cfg=config(num_attention_heads=0))
    c.add("config-heads-negative", "num_attention_heads", cfg=config(num_attention_heads=-4))
    c.add("config-kv-3", "num_key_value_heads", cfg=config(num_key_value_heads=3))
    c.add("config-blocks-1e9", "num_hidden_layers", cfg=config(num_hidden_layers=10**9))
    c.add("config-blocks-3", "model.layers.2", cfg=config(num_hidden_layers=3))
    c.add("config-nan", file, cfg=config(rms_norm_eps=float("nan")))
    c.add("config-vocab-small", "embed_tokens", cfg=config(vocab_size=258))
    c.add("config-unknown-arch", "rwkv", cfg=config(model_type="rwkv"))
    c.add("config-quantized", "quantization_config", cfg=config(quantization_config={"quant_method": "gptq", "bits": 4}))
    c.add("config-activation", "gelu", cfg=config(hidden_act="gelu"))
    c.add("config-rope-unknown", "longrope", cfg=config(rope_scaling={"rope_type": "longrope", "factor": 4.0}))
    c.add("config-untied", "lm_head", cfg=config(tie_word_embeddings=False))
    c.add("config-experts", "num_local_experts", cfg=config(num_local_experts=8))


def tokenizer_cases(c):
    def edit(change):
        t = tokenizer()
        change(t)
        return t

    file = "tokenizer.json"
    c.add("tokenizer-broken", file, CHAT, tok=b'{"model":')
    c.add("tokenizer-deep", file, CHAT, tok=b"[" * 100000)
    c.add("tokenizer-same-id", file, CHAT, tok=edit(lambda t: t["model"]["vocab"].update({"ab": 97})))
    c.add("tokenizer-cycle", file, CHAT, tok=edit(lambda t: t["model"].update(merges=[["", "a"], ["a", ""]])))
    c.add("tokenizer-missing-merge", file, CHAT, tok=edit(lambda t: t["model"].update(merges=["q z"])))
    c.add("tokenizer-id-negative", file, CHAT, tok=edit(lambda t: t["model"]["vocab"].update({"ab": -1})))
    c.add("tokenizer-id-huge", file, CHAT, tok=edit(lambda t: t["model"]["vocab"].update({"ab": 2**40})))
    c.add("tokenizer-unigram", "Unigram", CHAT, tok=edit(lambda t: t["model"].update(type="Unigram")))
    c.add("tokenizer-normalizer", "Lowercase", CHAT, tok=edit(lambda t: t.update(normalizer={"type": "Lowercase"})))

    def bomb(pattern):
        return edit(lambda t: t.update(pre_tokenizer={"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False},
            {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}]}))

    long_prompt = ["chat", "DIR", "--prompt", "a" * 5000, "--max-tokens", "4"]
    c.add("tokenizer-bad-regex", "pattern", CHAT, tok=bomb("(((("))
    c.add("tokenizer-regex-bomb", "pattern", long_prompt, tok=bomb("(a|aa)+[b-z]"))
    c.add("tokenizer-regex-slow", "pattern", long_prompt, tok=bomb("(?:(?=(a+))a)*[b-z]"))
    c.add("template-config-broken", "tokenizer_config.json", CHAT, files={"tokenizer_config.json": b"{"})


# --- GGUF: the same model as such a file ---

U32, F32, STRING, ARRAY = 4, 6, 8, 9
NAMES = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
         "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}


def text(t):
    data = t if isinstance(t, bytes) else t.encode()
    return struct.pack("<Q", len(data)) + data


def texts(list_of):
    return struct.pack("<IQ", STRING, len(list_of)) + b"".join(map(text, list_of))


def gguf_values():
    byte = [chr(b) if 33 <= b < 127 or 161 <= b < 173 or b > 173 else chr(256 + b) for b in range(256)]
    kinds = struct.pack("<IQ", U32, VOCAB) + struct.pack("<%dI" % VOCAB, *([1] * 256 + [3] * 3))
    sizes = {"embedding_length": HIDDEN, "block_count": BLOCKS, "feed_forward_length": FFN, "context_length": 256,
             "attention.head_count": HEADS, "attention.head_count_kv": KV}
    values = {"general.architecture": (STRING, text("llama"))}
    values.update({"llama." + k: (U32, struct.pack("<I", v)) for k, v in sizes.items()})
    values.update({"tokenizer.ggml.model": (STRING, text("gpt2")), "tokenizer.ggml.pre": (STRING, text("gpt-2")),
                   "tokenizer.ggml.tokens": (ARRAY, texts(byte + ["<a>", "<b>", "<c>"])),
                   "tokenizer.ggml.token_type": (ARRAY, kinds), "tokenizer.ggml.merges": (ARRAY, texts([]))})
    return values


def gguf(values=None, tensor=None, counts=None, version=3):
    """values: in place of some, None removes one; tensor: {name: (shape, type, offset)} in place of what is so."""
    kept = {k: v for k, v in {**gguf_values(), **(values or {})}.items() if v is not None}
    infos, data = b"", b""
    for name, (_, shape, half) in tensors().items():
        part = name.replace("model.embed_tokens", "token_embd").replace("model.norm", "output_norm")
        for ours, theirs in NAMES.items():
            part = part.replace(ours, theirs)
        part = part.replace("model.layers.", "blk.")
        floats = b"".join(b"\0\0" + half[i:i + 2] for i in range(0, len(half), 2))
        shape, kind, offset = (tensor or {}).get(part, (shape, 0, len(data)))
        infos += text(part) + struct.pack("<I", len(shape)) + struct.pack("<%dQ" % len(shape), *reversed(shape))
        infos += struct.pack("<IQ", kind, offset)
        data += floats + b"\0" * (-len(floats) % 32)
    body = b"".join(text(k) + struct.pack("<I", kind) + v for k, (kind, v) in kept.items())
    n_tensors, n_values = counts or (len(tensors()), len(kept))
    head = b"GGUF" + struct.pack("<IQQ", version, n_tensors, n_values) + body + infos
    return head + b"\0" * (-len(head) % 32) + data


def gguf_cases(c):
    layers, chat = ["layers", "DIR/x.gguf"], ["chat", "DIR/x.gguf", "--prompt", "Hello", "--max-tokens", "4"]

    def add(name, mention, args=layers, file="x.gguf", **how):
        data = how.pop("data", None)
        c.add("gguf-" + name, mention, args, files={"model.safetensors": None, "config.json": None,
                                                     "tokenizer.json": None, file: data if data is not None else gguf(**how)})

    huge = struct.pack("<Q", 2**60)
    q = "blk.0.attn_q.weight"
    add("good", None, ["eval", "DIR/x.gguf", "--set", "*=4", "--tokens", "64", "--ctx", "64"])
    add("good-chat", None, chat)
    add("empty", "x.gguf", data=b"")
    add("truncated", "x.gguf", data=gguf()[:-1000])
    add("truncated-values", "x.gguf", data=gguf()[:300])
    add("version-1", "version 1", version=1)
    add("big-endian", "big-endian", version=3 << 24)
    add("counts-2-60", "values", counts=(2**60, 2**60))
    add("tensors-2-60", "tensors", counts=(2**60, len(gguf_values())))
    add("string-2-60", "past the end", values={"general.name": (STRING, huge)})
    add("array-2-60", "more than", values={"general.name": (ARRAY, struct.pack("<I", U32) + huge)})
    add("nested", "arrays of arrays", values={"general.name": (ARRAY, struct.pack("<IQ", ARRAY, 1))})
    add("kind-99", "unknown type 99", values={"general.name": (99, b"")})
    add("alignment-0", "general.alignment", values={"general.alignment": (U32, struct.pack("<I", 0))})
    add("type-unknown", q, tensor={q: ([HIDDEN, HIDDEN], 77, 0)})
    add("type-no-weights", "I8", tensor={q: ([HIDDEN, HIDDEN], 24, 4 * VOCAB * HIDDEN)})
    add("shape-overflow", q, tensor={q: ([2**40, 2**40], 0, 0)})
    add("offset-past-end", q, tensor={q: ([HIDDEN, HIDDEN], 0, 2**60)})
    add("offset-overlap", "overlap", tensor={q: ([HIDDEN, HIDDEN], 0, 0)})
    add("no-hidden", "embedding_length", values={"llama.embedding_length": None})
    add("heads-0", "x.gguf", values={"llama.attention.head_count": (U32, struct.pack("<I", 0))})
    add("blocks-1e9", "num_hidden_layers", values={"llama.block_count": (U32, struct.pack("<I", 10**9))})
    add("blocks-3", "model.layers.2", values={"llama.block_count": (U32, struct.pack("<I", 3))})
    add("unknown-arch", "rwkv", values={"general.architecture": (STRING, text("rwkv"))})
    add("unknown-pre", "no-such", chat, values={"tokenizer.ggml.pre": (STRING, text("no-such"))})
    add("unknown-tokenizer", "bert", chat, values={"tokenizer.ggml.model": (STRING, text("bert"))})
    add("bad-merge", "merge", chat, values={"tokenizer.ggml.merges": (ARRAY, texts(["q", "a b c"]))})
    add("part-missing", "00002-of-00003", ["layers", "DIR/x-00001-of-00003.gguf"], file="x-00001-of-00003.gguf",
        values={"split.no": (U32, struct.pack("<I", 0)), "split.count": (U32, struct.pack("<I", 3))})


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    c = Cases(sys.argv[1])
    c.add("good", None, EVAL)
    source_cases(c)
    config_cases(c)
    tokenizer_cases(c)
    gguf_cases(c)
    with open(os.path.join(sys.argv[1], "cases.json"), "w") as f:
        json.dump(c.list, f, indent=1)
    print(len(c.list), "cases")


if __name__ == "__main__":
    main()
