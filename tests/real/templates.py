#!/usr/bin/env python3
"""Renders chat templates through the program and through transformers' apply_chat_template, and compares byte for byte.

usage: templates.py BUILD FILE_OR_DIRECTORY... [--table] [--verbose]      needs transformers and tokenizers

Takes *.jinja, tokenizer_config.json (chat_template), and chat_template.json; of a directory all that it holds. Prints a
line for each: SHA-256, conversations that render the same, and those where both refuse. Templates are other people's
work and stay where they are: nothing of them is kept.
"""
import argparse
import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile

from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

U, A, S = "user", "assistant", "system"
CONVERSATIONS = [
    [(U, "Hello")],
    [(S, "Be brief."), (U, "What is 2 + 2?")],
    [(U, "What is the memory?"), (A, "It's 4 GB."), (U, "And\nthe rest?\n\nSay it.")],
    [(S, "Answer in German."), (U, "Grüße, \U0001F600 — ﬁn\u00a0\u2028!"), (A, "Hallo"), (U, "  two  spaces  ")],
    [(U, "think"), (A, "<think>\nHm, well.\n</think>\n\nDone."), (U, "\n\nnew line first\n")],
    [(U, "")],
    [(U, " \t "), (A, ""), (U, "x")],
    [(S, ""), (U, "An empty system message.")],
    [(U, "a"), (A, "b"), (U, "c"), (A, "d"), (U, "e"), (A, "f")],
    [(U, "a"), (A, "the last word")],
    [(U, "a"), (U, "twice")],
    [(A, "I begin."), (U, "So?")],
    [(S, "one"), (S, "two"), (U, "Two systems.")],
    [(U, "x"), (S, "late"), (U, "y")],
    [(S, "alone")],
    [(U, "{{ 1 + 1 }} {% if x %} <|im_end|> [INST] </s> 'quoted' \"double\" back\\slash")],
    [(U, "a"), (A, "</think>b</think>c"), (U, "d"), (A, "<think></think>e"), (U, "f")],
    [(U, "x" * 5000), (A, "y\n" * 300), (U, "z")],
]
VARIANTS = [
    {"add_generation_prompt": True},
    {"add_generation_prompt": False},
    {"add_generation_prompt": True, "enable_thinking": True},
    {"add_generation_prompt": True, "enable_thinking": False},
    {"add_generation_prompt": True, "thinking": True},
]
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}


def cases():
    for conversation in CONVERSATIONS:
        for variant in VARIANTS:
            yield [{"role": r, "content": t} for r, t in conversation], variant


def reference(tokenizer, template):
    out = []
    for messages, variant in cases():
        try:
            out.append(tokenizer.apply_chat_template(messages, chat_template=template, tokenize=False, **variant))
        except Exception as e:  # what a template does wrong comes out as any of Python's errors
            out.append(e)
    return out


def ours(build, template):
    with tempfile.TemporaryDirectory() as temp:
        path, variables = pathlib.Path(temp) / "template", pathlib.Path(temp) / "variables"
        path.write_bytes(template.encode())
        lines = [json.dumps({"messages": m, "tools": None, "documents": None, **TOKENS, **v}) for m, v in cases()]
        variables.write_text("\n".join(lines) + "\n")
        run = subprocess.run([build / "tests/real/render", path, variables], capture_output=True, text=True, timeout=120)
        got = [json.loads(line) for line in run.stdout.split("\n") if line]
        return got if len(got) == len(lines) else [got[0] if got else {"error": run.stderr}] * len(lines)


def compare(build, tokenizer, template, verbose):
    """Renderings that are the same, refused by both, and different."""
    same = refused = different = 0
    first = ""
    for want, got, (messages, variant) in zip(reference(tokenizer, template), ours(build, template), cases(), strict=True):
        if isinstance(want, Exception):
            good = "error" in got
            refused += good
        else:
            good = got.get("text") == want
            same += good
        different += not good
        if not good and (verbose or not first):
            first = f"{json.dumps(messages)[:200]} {variant}\n  want {str(want)!r}\n  got  {got!r}"
            if verbose:
                print(first)
    return same, refused, different, first


def templates(path):
    if path.is_dir():
        for p in sorted(path.rglob("*")):
            if p.suffix == ".jinja" or p.name in ("tokenizer_config.json", "chat_template.json"):
                yield from templates(p)
    elif path.suffix == ".json":
        found = json.loads(path.read_text(encoding="utf-8")).get("chat_template")
        for t in found if isinstance(found, list) else [{"name": "", "template": found}] if found else []:
            yield f"{path.parent.name} {t['name']}".strip(), t["template"]
    else:
        yield path.stem, path.read_bytes().decode()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("paths", type=pathlib.Path, nargs="+")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--table", action="store_true", help="rows for a README")
    args = parser.parse_args()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"<unk>": 0}, "<unk>")), **TOKENS)
    bad = n = 0
    for path in args.paths:
        for name, template in templates(path):
            same, refused, different, first = compare(args.build, tokenizer, template, args.verbose)
            digest = hashlib.sha256(template.encode()).hexdigest()[:16]
            n += 1
            bad += different > 0
            if args.table:
                print(f"| {name} | `{digest}` | {same} | {refused} | {different} |")
            else:
                print(f"{'ok   ' if not different else 'FAIL '} {digest} {name}: {same} same, {refused} refused by both, "
                      f"{different} different", flush=True)
            if different and not args.verbose and not args.table:
                print("  " + first)
    print(f"{n} templates, {bad} with a difference")
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
