#!/usr/bin/env python3
"""Makes tests/data/gguf: files written by the `gguf` package, and what its numpy dequantizers make of their blocks.

    python tests/make/make_gguf_fixtures.py

types.gguf holds a tensor of random blocks for each type that is decoded, types.bin the floats of all of them in the same
order. parts-0000N-of-00003.gguf is one model in three parts. spm.gguf is a vocabulary that sentencepiece trained on
samples/eval.txt, spm.ids.bin what it makes of the first lines of tests/data/tokenizers/lines.bin: for each a u16 count
and u16 ids. Seeds are fixed. Needs numpy, gguf and sentencepiece.
"""

import io
import pathlib
import struct

import gguf
import numpy as np
import sentencepiece
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType as T

OUT = pathlib.Path(__file__).resolve().parent.parent / "data" / "gguf"
# Where the fp16 numbers of a block lie; all other bytes may be anything.
HALVES = {T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0], T.Q2_K: [80, 82], T.Q3_K: [108],
          T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208], T.IQ4_NL: [0], T.IQ4_XS: [0]}
ROWS = 3


def blocks(kind, rng):
    """ROWS rows of random blocks: scales of all sizes, among them zero, negative, subnormal and the largest."""
    size, width = GGML_QUANT_SIZES[kind]
    per_row = max(1, 128 // size)
    data = rng.integers(0, 256, (ROWS * per_row, width), dtype=np.uint8)
    special = np.array([0.0, -0.0, 6e-8, -3e-5, 65504.0, 1.0], dtype=np.float16)
    for at in HALVES[kind]:
        scale = (rng.standard_normal(len(data)) * 2.0 ** rng.integers(-14, 4, len(data))).astype(np.float16)
        scale[-1] = special[rng.integers(len(special))]
        data[:, at:at + 2] = scale.view(np.uint8).reshape(-1, 2)
    return data.reshape(ROWS, per_row * width)


def write_types():
    rng = np.random.default_rng(5)
    writer = gguf.GGUFWriter(OUT / "types.gguf", "llama")
    writer.add_custom_alignment(64)
    floats = b""
    for kind in HALVES:
        data = blocks(kind, rng)
        with np.errstate(all="ignore"):
            values = gguf.quants.dequantize(data, kind)
        writer.add_tensor(kind.name, data, raw_dtype=kind)
        floats += values.astype("<f4").tobytes()
    for kind, dtype in ((T.F32, np.float32), (T.F16, np.float16)):
        values = rng.standard_normal((ROWS, 5)).astype(dtype)
        writer.add_tensor(kind.name, values)
        floats += values.astype("<f4").tobytes()
    values = rng.standard_normal((ROWS, 6)).astype(np.float32).view(np.uint32) >> 16
    writer.add_tensor("BF16", values.astype("<u2").view(np.uint8), raw_dtype=T.BF16)
    floats += (values.astype("<u4") << 16).tobytes()
    finish(writer)
    (OUT / "types.bin").write_bytes(floats)


def write_parts():
    """Three parts, two tensors each; a value of every type."""
    writer = gguf.GGUFWriter(OUT / "parts.gguf", "llama", split_max_tensors=2)
    writer.add_key_value("t.u8", 200, gguf.GGUFValueType.UINT8)
    writer.add_key_value("t.i8", -100, gguf.GGUFValueType.INT8)
    writer.add_key_value("t.u16", 60000, gguf.GGUFValueType.UINT16)
    writer.add_key_value("t.i16", -30000, gguf.GGUFValueType.INT16)
    writer.add_key_value("t.u32", 4000000000, gguf.GGUFValueType.UINT32)
    writer.add_key_value("t.i32", -2000000000, gguf.GGUFValueType.INT32)
    writer.add_key_value("t.u64", 1 << 40, gguf.GGUFValueType.UINT64)
    writer.add_key_value("t.i64", -(1 << 40), gguf.GGUFValueType.INT64)
    writer.add_key_value("t.f32", 0.5, gguf.GGUFValueType.FLOAT32)
    writer.add_key_value("t.f64", 1e-300, gguf.GGUFValueType.FLOAT64)
    writer.add_key_value("t.bool", True, gguf.GGUFValueType.BOOL)
    writer.add_string("t.string", "two words")
    writer.add_array("t.strings", ["a", "", "\u00e9"])
    writer.add_array("t.numbers", [1, -2, 3])
    for i in range(5):
        writer.add_tensor(f"blk.{i}.ffn_up.weight", np.full((2, 3), i, dtype=np.float32))
    finish(writer)


def read_lines(count):
    data, at, lines = (OUT.parent / "tokenizers" / "lines.bin").read_bytes(), 0, []
    while len(lines) < count:
        n, = struct.unpack_from("<I", data, at)
        lines.append(data[at + 4:at + 4 + n].decode("utf-8", errors="replace"))
        at += 4 + n
    return lines


def write_spm():
    """Byte fallback, and tokens that are found before the text is cut, as Gemma has them."""
    model = io.BytesIO()
    user = ["\n", "\n\n", "<b>", "</b>", "\u2581\u2581"]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter((OUT.parent.parent.parent / "samples" / "eval.txt").read_text().split("\n")),
        model_writer=model, model_type="bpe", vocab_size=560, byte_fallback=True, normalization_rule_name="identity",
        add_dummy_prefix=False, remove_extra_whitespaces=False, user_defined_symbols=user, character_coverage=0.995,
        num_threads=1)
    sp = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    kinds, tokens = [], []
    for i in range(sp.vocab_size()):
        piece = sp.id_to_piece(i)
        kinds.append(3 if sp.is_control(i) else 2 if sp.is_unknown(i) else 6 if sp.is_byte(i) else
                     4 if piece in user else 5 if sp.is_unused(i) else 1)
        tokens.append(piece.replace("\u2581", " ") if piece in user else piece)
    writer = gguf.GGUFWriter(OUT / "spm.gguf", "llama")
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores([sp.get_score(i) for i in range(sp.vocab_size())])
    writer.add_token_types(kinds)
    writer.add_unk_token_id(sp.unk_id())
    writer.add_bos_token_id(sp.bos_id())
    writer.add_eos_token_id(sp.eos_id())
    writer.add_add_space_prefix(False)
    finish(writer)
    out = b""
    for line in read_lines(200):
        ids = sp.encode(line)
        out += struct.pack(f"<{len(ids) + 1}H", len(ids), *ids)
    (OUT / "spm.ids.bin").write_bytes(out)


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    write_types()
    write_parts()
    write_spm()
    for path in sorted(OUT.iterdir()):
        print(f"{path.name:28s} {path.stat().st_size}")
