#!/usr/bin/env python3
"""Reconstructs the weights of a turboquant-model directory, from nothing but what its format says.

    tests/reconstruct.py DIR OURS.safetensors [--torch]

OURS holds the same matrices as F32, as the program decodes them; they must agree within 1e-6 of a matrix's largest weight.
Python's standard library only; --torch draws the signs, and undoes the rotation, with torch instead.
"""

import array
import json
import math
import pathlib
import random
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import checks
from checks import check

TOLERANCE = 1e-6
KINDS = {"U8": "B", "F32": "f"}


def read_safetensors(path):
    """name: (dtype, shape, values or bytes)"""
    data = path.read_bytes()
    size, = struct.unpack("<Q", data[:8])
    tensors = {}
    for name, t in json.loads(data[8:8 + size]).items():
        if name == "__metadata__":
            continue
        begin, end = (8 + size + o for o in t["data_offsets"])
        values = data[begin:end]
        if t["dtype"] in KINDS:
            values = array.array(KINDS[t["dtype"]], values)
        tensors[name] = (t["dtype"], t["shape"], values)
    return tensors


def signs_of(seed, n):
    state = [seed & 0xffffffff]
    for i in range(1, 624):
        state.append((1812433253 * (state[-1] ^ (state[-1] >> 30)) + i) & 0xffffffff)
    generator = random.Random()
    generator.setstate((3, (*state, 624), None))
    return [1 if generator.getrandbits(32) & 1 else -1 for _ in range(n)]


def hadamard(x):
    half = 1
    while half < len(x):
        for i in range(0, len(x), 2 * half):
            for k in range(i, i + half):
                x[k], x[k + half] = x[k] + x[k + half], x[k] - x[k + half]
        half *= 2
    return x


def group_by_hand(levels, norm, seed):
    d = len(levels)
    y = hadamard([level / math.sqrt(d) for level in levels])
    return [v / math.sqrt(d) * s * norm for v, s in zip(y, signs(seed, d))]


def group_by_torch(levels, norm, seed):
    import torch
    d = len(levels)
    generator = torch.Generator().manual_seed(seed)
    s = torch.randint(0, 2, (d,), generator=generator).to(torch.float64) * 2 - 1
    h = torch.ones(1, 1, dtype=torch.float64)
    while len(h) < d:
        h = torch.cat([torch.cat([h, h], 1), torch.cat([h, -h], 1)])
    return ((h @ torch.tensor(levels, dtype=torch.float64)) / d * s * norm).tolist()


cache = {}


def signs(seed, n):
    return cache.setdefault((seed, n), signs_of(seed, n))


def stage(tensors, module, prefix, codebook, group_size, seed, group):
    """One pass as rows of weights."""
    dtype, (rows, half), codes = tensors[f"{module}.{prefix}indices"]
    norm_type, norm_shape, norms = tensors[f"{module}.{prefix}norms"]
    cols = 2 * half
    size = min(group_size or cols, cols)
    groups = -(-cols // size)
    check((dtype, norm_type) == ("U8", "F32"), f"{module}: dtypes {dtype} and {norm_type}")
    check(norm_shape == ([rows] if groups == 1 else [rows, groups]), f"{module}: norms are {norm_shape}")
    out = []
    for r in range(rows):
        line = []
        for byte in codes[r * half:(r + 1) * half]:
            line += [codebook[byte & 15], codebook[byte >> 4]]
        out.append([])
        for g in range(groups):
            begin = g * size
            out[-1] += group(line[begin:begin + size], norms[r * groups + g], seed + begin)
    return out


def main():
    where, ours = pathlib.Path(sys.argv[1]), read_safetensors(pathlib.Path(sys.argv[2]))
    group = group_by_torch if "--torch" in sys.argv else group_by_hand
    config = json.loads((where / "turboquant_config.json").read_text())
    tensors = read_safetensors(where / "model.safetensors")
    kept = read_safetensors(where / "non_quantized.safetensors")
    expected = {"bit_width": 4, "rotation": "hadamard", "rotation_strategy": "different", "norm_codec": "fp32",
                "entropy_coding": False, "cpu_offload_pass2": False, "embedding_quant": "none"}
    check({k: config[k] for k in expected} == expected, f"turboquant_config.json: {config}")
    codebook = tensors["codebook"][2]
    check(len(codebook) == 16 and list(codebook) == sorted(codebook), "16 ascending levels")
    modules = [name[:-len(".indices")] for name in tensors if name.endswith(".indices")]
    check(sorted(modules) == sorted(name.replace(".", "_") for name in ours), "the matrices that are quantized")
    worst = 0
    for name, (_, (rows, cols), weights) in ours.items():
        module = name.replace(".", "_")
        check(f"{name}.weight" not in kept, f"{name} stands in both files")
        got = stage(tensors, module, "", codebook, config["group_size"], config["seed"], group)
        if f"{module}.pass2_indices" in tensors:
            levels = tensors[f"{module}.pass2_codebook"][2]
            check(len(levels) == 1 << config["residual_bit_width"], f"{name}: {len(levels)} levels of the residual")
            rest = stage(tensors, module, "pass2_", levels, config["group_size"], config["residual_seed"], group)
            got = [[a + b for a, b in zip(x, y)] for x, y in zip(got, rest)]
        check(len(got) == rows and len(got[0]) == cols, f"{name}: {len(got)} x {len(got[0])}, expected {rows} x {cols}")
        largest = max(abs(w) for w in weights)
        difference = max(abs(a - b) for a, b in zip((w for row in got for w in row), weights)) / largest
        check(difference <= TOLERANCE, f"{name}: {difference:.2e} of the largest weight apart")
        worst = max(worst, difference)
    print(f"{where}: {len(ours)} matrices, at most {worst:.1e} of the largest weight apart; "
          f"{checks.done} checks, {checks.failed} failed")
    return 1 if checks.failed or not ours else 0


if __name__ == "__main__":
    sys.exit(main())
