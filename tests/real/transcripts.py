#!/usr/bin/env python3
"""Writes transcripts.md beside itself: what the real models of check.py answer at each bit config, for a person to judge.

usage: transcripts.py BUILD      the models must lie in the cache: make check-real fetches them
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import check

HERE = pathlib.Path(__file__).resolve().parent
CONFIGS = ["keep", "4", "4+2", "4+4"]
SMOL = ["What is the capital of France?", "Write two sentences about a fox who finds a letter.",
        "Name three things that float on water.", "Why is the sky blue? Answer in one sentence."]
# This model was not tuned to chat and has no template: it continues text.
GEMMA = ["The capital of France is", "Once upon a time, a fox found a letter. It said:", "Three things that float on water are",
         "The sky is blue because"]
MODELS = [("smollm2-135m", "SmolLM2 135M Instruct, its own chat template", SMOL, 64),
          ("gemma3-270m", "Gemma 3 270M, not tuned to chat, without a template: the text is continued", GEMMA, 40)]


def answer(program, model, bits, prompt, tokens):
    plan = ["--base"] if bits == "keep" else ["--set", f"*={bits}"]
    got = json.loads(check.run(program, "chat", model, *plan, "--prompt", prompt, "--max-tokens", tokens, "--json"))
    return got["text"] + ("" if got["ended"] else " …")


def main():
    program = pathlib.Path(sys.argv[1]) / "tqexplore"
    out = ["# What the real models answer", "",
           "Made by `transcripts.py`: greedy, groups of 128, no calibration. `keep` is the model as stored. An answer that a",
           "limit ended has … behind it. The first word of the first answer is a near tie (`compare` shows The at 15.2 %, L at",
           "14.0 % of the model as stored; at 4+4 it is the other way round), which is why answers part there.", ""]
    for name, title, prompts, tokens in MODELS:
        out += [f"## {title}", ""]
        for prompt in prompts:
            out += [f"**{prompt}**", ""]
            for bits in CONFIGS:
                text = answer(program, check.CACHE / f"{name}.gguf", bits, prompt, tokens)
                out += [f"- `{bits}`: " + text.strip().replace("\n", "\n  ")]
            out += [""]
    with tempfile.NamedTemporaryFile("w", dir=HERE, delete=False, encoding="utf-8") as f:
        f.write("\n".join(out).rstrip() + "\n")
    pathlib.Path(f.name).chmod(0o644)
    pathlib.Path(f.name).replace(HERE / "transcripts.md")


if __name__ == "__main__":
    main()
