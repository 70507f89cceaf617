#!/usr/bin/env python3
"""Makes tests/data/source: files written by the reference implementation of safetensors, and what is in them.

usage: make_source_fixtures.py      needs torch and safetensors

  all/model.safetensors   one tensor of each dtype and of several ranks
  all.txt                 a line a tensor: name, dtype, FNV-1a of its bytes, shape; sorted by name
  shards/                 two files and their index; the second one holds a tensor that the index does not name
"""
import json
import os

import torch
from safetensors.torch import save_file

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "source")
DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
          "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8,
          "BOOL": torch.bool, "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2}


def fnv(data):
    h = 0xcbf29ce484222325
    for b in data:
        h = ((h ^ b) * 0x100000001b3) % 2**64
    return h


def main():
    torch.manual_seed(1)
    os.makedirs(os.path.join(OUT, "all"), exist_ok=True)
    os.makedirs(os.path.join(OUT, "shards"), exist_ok=True)
    tensors, names = {}, {}
    for name, dtype in DTYPES.items():
        tensors["t." + name] = (torch.randn(3, 5) * 10).to(dtype)
        names["t." + name] = name
    for shape in [(), (0,), (4, 0, 2), (7,), (2, 3, 4), (1, 2, 1, 3, 1, 2, 1, 2)]:
        key = "shape.%d.é" % len(shape) + (".empty" if 0 in shape else "")
        tensors[key] = torch.randn(shape)
        names[key] = "F32"
    save_file(tensors, os.path.join(OUT, "all", "model.safetensors"), metadata={"format": "pt", "note": "a \"b\" \u00e9"})
    with open(os.path.join(OUT, "all.txt"), "w", encoding="utf-8") as f:
        for key in sorted(tensors, key=lambda k: k.encode()):
            t = tensors[key].contiguous()
            data = bytes(t.reshape(-1).view(torch.uint8).tolist()) if t.numel() else b""
            f.write("%s %s %016x %s\n" % (key, names[key], fnv(data), ",".join(map(str, t.shape)) or "-"))
    save_file({"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(4, dtype=torch.bfloat16)},
              os.path.join(OUT, "shards", "model-00001-of-00002.safetensors"))
    save_file({"c": torch.arange(3, dtype=torch.float16), "unnamed": torch.zeros(2)},
              os.path.join(OUT, "shards", "model-00002-of-00002.safetensors"))
    first, second = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
    with open(os.path.join(OUT, "shards", "model.safetensors.index.json"), "w") as f:
        json.dump({"metadata": {"total_size": 38}, "weight_map": {"c": second, "a": first, "b": first}}, f)


if __name__ == "__main__":
    main()
