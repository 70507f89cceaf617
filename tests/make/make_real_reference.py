#!/usr/bin/env python3
"""Makes tests/real/NAME.json: what llama.cpp makes of a real model, for `make check-real`.

    python tests/make/make_real_reference.py NAME MODEL.gguf     NAME: smollm2-135m, gemma3-270m

llama.cpp multiplies quantized weights by activations that it rounds to 8 bits; the program does not. So the weights are
written as F32 first (by the `gguf` package's dequantizers), and llama.cpp computes in F32. Kept are: a hash of the ids of
all lines of samples/eval.txt and tests/real/odd.txt, 48 greedy tokens for each line of tests/real/prompts.txt with the
distance of the two best logits, and the perplexity of windows of samples/eval.txt whose second half is scored. Needs
numpy, gguf and llama-cpp-python.
"""

import hashlib
import json
import pathlib
import sys
import tempfile

import gguf
import llama_cpp
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
GREEDY, CTX, WINDOWS = 48, 512, 8


def as_f32(source, target):
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, reader.fields["general.architecture"].contents())
    for key, field in reader.fields.items():
        if key.startswith("GGUF.") or key in ("general.architecture", "general.file_type"):
            continue
        kind = field.types[0]
        sub = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(key, field.contents(), kind, sub)
    for t in reader.tensors:
        f32 = t.tensor_type == gguf.GGMLQuantizationType.F32
        values = t.data if f32 else gguf.quants.dequantize(t.data, t.tensor_type)
        writer.add_tensor(t.name, np.ascontiguousarray(values.astype(np.float32)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def lines_of(name):
    return (ROOT / name).read_bytes().split(b"\n")[:-1]


def tokens(llama):
    digest, count = hashlib.sha256(), 0
    for line in lines_of("samples/eval.txt") + lines_of("tests/real/odd.txt"):
        ids = llama.tokenize(line, add_bos=False, special=False)
        digest.update((" ".join(map(str, ids)) + "\n").encode())
        count += 1
    return {"lines": count, "sha256": digest.hexdigest()}


def greedy(llama, prompt):
    llama.reset()
    llama.eval(llama.tokenize(prompt, add_bos=True, special=False))
    out = []
    for _ in range(GREEDY):
        logits = np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(llama._ctx.ctx, -1), shape=(llama.n_vocab(),))
        second, best = np.argpartition(logits, -2)[-2:][np.argsort(logits[np.argpartition(logits, -2)[-2:]])]
        out.append([int(best), round(float(logits[best] - logits[second]), 6)])
        llama.eval([int(best)])
    return out


def perplexity(path):
    llama = llama_cpp.Llama(path, n_ctx=CTX, n_batch=CTX, n_ubatch=CTX, logits_all=True, verbose=False, n_threads=2)
    ids = llama.tokenize((ROOT / "samples/eval.txt").read_bytes(), add_bos=False, special=False)
    total, scored = 0.0, 0
    for w in range(WINDOWS):
        window = ids[w * CTX:(w + 1) * CTX]
        llama.reset()
        llama.eval(window)
        logits = np.array(llama.scores[CTX // 2:CTX - 1], dtype=np.float64)
        targets = np.array(window[CTX // 2 + 1:])
        top = logits.max(1)
        total += (top + np.log(np.exp(logits - top[:, None]).sum(1)) - logits[np.arange(len(targets)), targets]).sum()
        scored += len(targets)
    return {"ctx": CTX, "tokens": CTX * WINDOWS, "scored": scored, "ppl": float(np.exp(total / scored))}


def main():
    name, model = sys.argv[1:]
    with tempfile.TemporaryDirectory() as temp:
        path = str(pathlib.Path(temp) / "f32.gguf")
        as_f32(model, path)
        llama = llama_cpp.Llama(path, n_ctx=512, n_batch=512, verbose=False, n_threads=2)
        reference = {"made_with": f"llama-cpp-python {llama_cpp.__version__}, weights as F32",
                     "sha256": hashlib.sha256(pathlib.Path(model).read_bytes()).hexdigest(),
                     "tokens": tokens(llama), "greedy": [greedy(llama, p) for p in lines_of("tests/real/prompts.txt")]}
        del llama
        reference["perplexity"] = perplexity(path)
    (ROOT / "tests" / "real" / f"{name}.json").write_text(json.dumps(reference) + "\n")
    print(name, reference["tokens"], reference["perplexity"])


if __name__ == "__main__":
    main()
