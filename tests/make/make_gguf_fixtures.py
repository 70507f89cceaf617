#!/usr/bin/env python3
"""Makes tests/data/gguf: files written by the `gguf` package, and what its numpy dequantizers make of their blocks.

    python tests/make/make_gguf_fixtures.py

types.gguf holds a tensor of random blocks for each type that is decoded, types.bin the floats of all of them in the same
order. parts-0000N-of-00003.gguf is one model in three parts. Seeds are fixed. Needs numpy and gguf.
"""

import pathlib

import gguf
import numpy as np
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


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    write_types()
    write_parts()
    for path in sorted(OUT.iterdir()):
        print(f"{path.name:28s} {path.stat().st_size}")
