#!/usr/bin/env python3
"""Makes tests/real/NAME.json: what llama.cpp makes of a real model, for `make check-real`.

    python tests/make/make_real_reference.py NAME MODEL.gguf [TEXT]     NAME: smollm2-135m, gemma3-270m

llama.cpp multiplies quantized weights by activations that it rounds to 8 bits; the program does not. So the weights are
written as F32 first (by the `gguf` package's dequantizers), and llama.cpp computes in F32. Kept are: a hash of the ids of
all lines of samples/eval.txt and tests/real/odd.txt, 48 greedy tokens for each line of tests/real/prompts.txt with the
distance of the two best logits, and the perplexity of windows of samples/eval.txt whose second half is scored. With TEXT,
the perplexity of all windows of that file is made instead and put beside the rest. Needs numpy, gguf and llama-cpp-python.
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
GREEDY, CTX, WINDOWS, THREADS = 48, 512, 8, 2


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


def perplexity(path, text, most=None):
    llama = llama_cpp.Llama(path, n_ctx=CTX, n_batch=CTX, n_ubatch=CTX, logits_all=True, verbose=False, n_threads=THREADS)
    ids = llama.tokenize(text, add_bos=False, special=False)
    windows = min(len(ids) // CTX, most or len(ids))
    total, scored = 0.0, 0
    for w in range(windows):
        window = ids[w * CTX:(w + 1) * CTX]
        llama.reset()
        llama._logits_all = False  # of what is not scored
        llama.eval(window[:CTX // 2])
        llama._logits_all = True
        llama.eval(window[CTX // 2:])
        for i in range(CTX // 2, CTX - 1):
            logits = llama.scores[i].astype(np.float64)
            top = logits.max()
            total += top + np.log(np.exp(logits - top).sum()) - logits[window[i + 1]]
            scored += 1
        print(f"{w + 1} of {windows} windows: {np.exp(total / scored):.4f}", file=sys.stderr)
    return {"ctx": CTX, "tokens": CTX * windows, "scored": scored, "ppl": float(np.exp(total / scored))}


def main():
    name, model, *texts = sys.argv[1:]
    kept = ROOT / "tests" / "real" / f"{name}.json"
    with tempfile.TemporaryDirectory() as temp:
        path = str(pathlib.Path(temp) / "f32.gguf")
        as_f32(model, path)
        if texts:
            reference = json.loads(kept.read_text())
            text = pathlib.Path(texts[0]).read_bytes()
            reference["text"] = {"sha256": hashlib.sha256(text).hexdigest(), **perplexity(path, text)}
        else:
            llama = llama_cpp.Llama(path, n_ctx=512, n_batch=512, verbose=False, n_threads=THREADS)
            reference = {"made_with": f"llama-cpp-python {llama_cpp.__version__}, weights as F32",
                         "sha256": hashlib.sha256(pathlib.Path(model).read_bytes()).hexdigest(),
                         "tokens": tokens(llama), "greedy": [greedy(llama, p) for p in lines_of("tests/real/prompts.txt")]}
            del llama
            reference["perplexity"] = perplexity(path, (ROOT / "samples/eval.txt").read_bytes(), WINDOWS)
    kept.write_text(json.dumps(reference) + "\n")
    print(name, reference["tokens"], reference["perplexity"], reference.get("text", ""))


if __name__ == "__main__":
    main()
