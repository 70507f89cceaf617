#!/usr/bin/env python3
"""Average the weights of several model files: average.py OUT FILE=SHARE ...

Names, order and metadata are those of the first file; the sum is made in fp32 and rounded to bf16.
"""
import sys

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    parts = [part.rpartition("=") for part in sys.argv[2:]]
    weights = [(load_file(path), float(share)) for path, _, share in parts]
    with safe_open(parts[0][0], "pt") as first:
        names, metadata = list(first.keys()), first.metadata()
    average = {n: sum(share * w[n].float() for w, share in weights).to(torch.bfloat16).contiguous() for n in names}
    save_file(average, sys.argv[1], metadata)


if __name__ == "__main__":
    main()
