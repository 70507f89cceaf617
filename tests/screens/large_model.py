"""A model as large as people have, of which the disk holds the header only: a Llama of 8 B zeros, 16 GB."""
import json
import os
import struct

HIDDEN, FEED_FORWARD, BLOCKS, HEADS, KV_HEADS, VOCABULARY = 4096, 14336, 32, 32, 8, 128256


def shapes():
    kv = HIDDEN // HEADS * KV_HEADS
    yield "model.embed_tokens.weight", (VOCABULARY, HIDDEN)
    for block in range(BLOCKS):
        prefix = f"model.layers.{block}."
        for name, shape in (
            ("input_layernorm", (HIDDEN,)),
            ("self_attn.q_proj", (HIDDEN, HIDDEN)),
            ("self_attn.k_proj", (kv, HIDDEN)),
            ("self_attn.v_proj", (kv, HIDDEN)),
            ("self_attn.o_proj", (HIDDEN, HIDDEN)),
            ("post_attention_layernorm", (HIDDEN,)),
            ("mlp.gate_proj", (FEED_FORWARD, HIDDEN)),
            ("mlp.up_proj", (FEED_FORWARD, HIDDEN)),
            ("mlp.down_proj", (HIDDEN, FEED_FORWARD)),
        ):
            yield prefix + name + ".weight", shape
    yield "model.norm.weight", (HIDDEN,)
    yield "lm_head.weight", (VOCABULARY, HIDDEN)


def write(directory):
    """Makes DIRECTORY/config.json and model.safetensors anew, so that no page of them is cached; returns the bytes."""
    config = {
        "model_type": "llama",
        "hidden_size": HIDDEN,
        "intermediate_size": FEED_FORWARD,
        "num_hidden_layers": BLOCKS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "vocab_size": VOCABULARY,
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 8192,
    }
    header, end = {}, 0
    for name, shape in shapes():
        begin, end = end, end + 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path = os.path.join(directory, "model.safetensors")
    if os.path.exists(path):
        os.unlink(path)
    with open(os.path.join(directory, "config.json"), "w") as f:
        json.dump(config, f)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        f.truncate(8 + len(text) + end)
    return 8 + len(text) + end
