#!/usr/bin/env python3
"""Write eval.txt (held-out prose) and calib.txt (training prose and dialogues) beside the model.

Only packages under permissive licences are used.  No document gives more than
--per-document characters, so that no single one sets the score.
"""
import argparse
import json
import random
from pathlib import Path

import dialogues
from gather_prose import HELD_OUT_PACKAGES
from train_tokenizer import chatml


def take(path, limit, per_document, seed):
    r = random.Random(seed)
    documents = [d for d in map(json.loads, open(path)) if d["package"] in HELD_OUT_PACKAGES]
    r.shuffle(documents)
    paragraphs, total = [], 0
    for document in documents:
        size = 0
        for paragraph in document["paragraphs"]:
            if size + len(paragraph) > per_document or total > limit:
                break
            paragraphs.append(paragraph)
            size += len(paragraph) + 2
            total += len(paragraph) + 2
    return "\n\n".join(paragraphs) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prose", type=Path, required=True, help="folder with train.jsonl and heldout.jsonl")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=200_000)
    parser.add_argument("--per-document", type=int, default=12_000)
    args = parser.parse_args()
    held_out = take(args.prose / "heldout.jsonl", args.limit, args.per_document, 1)
    (args.out / "eval.txt").write_text(held_out)
    talk = "".join(map(chatml, dialogues.training_dialogues(500, seed=3)))
    training = take(args.prose / "train.jsonl", args.limit, 4_000, 2)
    (args.out / "calib.txt").write_text(training + "\n" + talk)


if __name__ == "__main__":
    main()
