#!/usr/bin/env python3
"""Runs what make_gguf_models.py wrote to DIR in llama.cpp, and holds its logits against transformers' in
tests/data/logits.

    python tests/make/check_gguf_models.py DIR      needs numpy and llama-cpp-python
"""

import ctypes
import json
import pathlib
import sys

import llama_cpp
import numpy as np

DATA = pathlib.Path(__file__).resolve().parent.parent / "data"
MODELS = {"qwen3_moe-sparse-small": "qwen3moe", "qwen3_5-small": "qwen35", "qwen3_5_moe-small": "qwen35moe"}


def logits_of(path, ids, vocab):
    """All positions', with an F32 cache."""
    llama_cpp.llama_backend_init()
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
    assert model, path
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = 128
    params.n_threads = params.n_threads_batch = 1
    params.type_k = params.type_v = 0
    context = llama_cpp.llama_init_from_model(model, params)
    assert context, path
    batch = llama_cpp.llama_batch_init(len(ids), 0, 1)
    batch.n_tokens = len(ids)
    for i, token in enumerate(ids):
        batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = token, i, 1, 1
        batch.seq_id[i][0] = 0
    assert llama_cpp.llama_decode(context, batch) == 0
    rows = [np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(context, i), (vocab,)).copy() for i in range(len(ids))]
    return np.stack(rows)


@llama_cpp.llama_log_callback
def quiet(level, text, data):
    if level >= 4:
        sys.stderr.write(text.decode())


def main():
    where = pathlib.Path(sys.argv[1])
    llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
    for fixture, arch in MODELS.items():
        reference = json.loads((DATA / "logits" / fixture / "reference.json").read_text())
        want = np.fromfile(DATA / "logits" / fixture / "logits.bin", "<f4").reshape(-1, reference["vocab"])
        have = logits_of(where / f"{arch}.gguf", reference["ids"], reference["vocab"])[reference["positions"]]
        print(f"{arch:12s} llama.cpp against transformers: largest difference {np.abs(have - want).max():.1e}")


main()
