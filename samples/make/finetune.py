#!/usr/bin/env python3
"""Train a finished model further on what it is weak at, without forgetting the rest.

As train.py, in ROUNDS: each warms up, follows a cosine down to a hundredth of its peak rate and
writes its weights to round1.safetensors, round2.safetensors, ...  In the dialogues, questions answered by a
name found by its value (dialogues.lookup_by_value) are much more frequent, first the most, and such a
name counts more than other answers.  The seconds are counted from the start of the program.
"""
import time

BEGIN = time.time()

import argparse
import multiprocessing
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch.utils.data import DataLoader
from transformers import Qwen3_5ForCausalLM, Qwen3_5TextConfig

from train import ANSWER_WEIGHT, DialogueRows, learning_rate, make_optimizers, use_fast_forms

WEAK = {"lookup_age": 36, "subtraction": 17, "sort_words": 16, "count_words": 7, "count_occurrences": 13, "copy": 13}
ROUNDS = [  # share of the time, peak rate, weights of kinds that differ from those of dialogues.py
    (0.52, 1.6e-3, {**WEAK, "lookup_by_value": 150}),
    (0.28, 8e-4, {**WEAK, "lookup_by_value": 85}),
    (0.20, 4e-4, {**WEAK, "lookup_by_value": 70}),
]


def say(text):
    print(f"{time.time() - BEGIN:6.1f} s  {text}", flush=True)


def write(model, like, path):
    """The weights in bf16, named and ordered as in the file `like`; complete from the moment they appear."""
    state = model.state_dict()
    with safe_open(like, "pt") as file:
        metadata, names = file.metadata(), list(file.keys())
    with tempfile.TemporaryDirectory(dir=path.parent.resolve().parent) as folder:
        part = Path(folder) / "part"
        save_file({n: state[n].detach().to(torch.bfloat16).cpu().contiguous() for n in names}, part, metadata)
        shutil.move(part, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="model folder to start from")
    parser.add_argument("--prose", type=Path, required=True, help="prose.npy of train_tokenizer.py")
    parser.add_argument("--out", type=Path, required=True, help="folder for round1.safetensors and so on")
    parser.add_argument("--seconds", type=float, default=160, help="of all, loading included")
    parser.add_argument("--rows", type=int, default=96, help="sequences a step")
    parser.add_argument("--dialogue-share", type=float, default=0.6)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--workers", type=int, default=14)
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    say("imported")
    gpu = args.device == "cuda"
    talk_rows = int(args.rows * args.dialogue_share) // 2 * 2
    prose_rows = args.rows - talk_rows
    turn = multiprocessing.Value("i", 0)
    rows = DialogueRows(args.model / "tokenizer.json", talk_rows, args.length, args.seed, [r[2] for r in ROUNDS], turn,
                        names=True)
    loader = iter(DataLoader(rows, batch_size=None, num_workers=args.workers, pin_memory=gpu,
                             prefetch_factor=3 if args.workers else None))

    torch.manual_seed(args.seed)
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    use_fast_forms()
    like = args.model / "model.safetensors"
    model = Qwen3_5ForCausalLM(Qwen3_5TextConfig.from_pretrained(args.model)).float()
    with safe_open(like, "pt") as file:
        missing, unexpected = model.load_state_dict({n: file.get_tensor(n).float() for n in file.keys()}, strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}, (missing, unexpected)
    model.tie_weights()
    model.to(args.device).train()
    optimizers = make_optimizers(model, ROUNDS[0][1])
    prose = torch.from_numpy(np.load(args.prose).astype(np.int32)).to(args.device)
    say(f"loaded {len(prose) / 1e6:.1f} M tokens of prose")

    def losses_of_batch():
        starts = torch.randint(0, len(prose) - args.length - 1, (prose_rows, 1), device=args.device)
        text = prose[starts + torch.arange(args.length + 1, device=args.device)].long()
        tokens, weights = (x.to(args.device, non_blocking=True) for x in next(loader))
        tokens = torch.cat((text, tokens))
        weights = torch.cat((torch.ones_like(text[:, 1:], dtype=torch.float32), weights[:, 1:]))
        with torch.autocast(args.device, dtype=torch.bfloat16, enabled=gpu):
            hidden = model.model(input_ids=tokens[:, :-1], use_cache=False).last_hidden_state
            logits = model.lm_head(hidden)
        losses = F.cross_entropy(logits.flatten(0, 1).float(), tokens[:, 1:].flatten(), reduction="none")
        return losses.view_as(weights), weights

    @torch.no_grad()
    def summary(losses, weights):
        """Mean losses of prose, of answers and of the names that begin some of them."""
        losses, weights = losses.detach(), weights.detach()
        talk, scale = losses[prose_rows:], weights[prose_rows:]
        answer, name = scale == ANSWER_WEIGHT, scale > ANSWER_WEIGHT
        return torch.stack((losses[:prose_rows].mean(), (talk * answer).sum() / answer.sum(),
                            (talk * name).sum() / name.sum().clamp(min=1)))

    with torch.no_grad():
        before = summary(*losses_of_batch())
    say("before: prose {:.4f} answers {:.5f} names {:.5f}".format(*before.tolist()))

    every = 25 if gpu else 1
    step, sums = 0, None
    begin = time.time()
    left = args.seconds - (begin - BEGIN)
    for number, (share, peak, _) in enumerate(ROUNDS):
        turn.value = number
        start, seconds, moved = time.time(), left * share, 0
        last = start
        while (progress := (time.time() - start) / seconds) < 1:
            for optimizer in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate(progress, peak, warm=0.05)
            losses, weights = losses_of_batch()
            ((losses * weights).sum() / weights.sum()).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimizer in optimizers:
                optimizer.step()
            model.zero_grad(set_to_none=True)
            sums = summary(losses, weights) + (0 if sums is None else sums)
            step += 1
            if step % every == 0:
                means, sums = (sums / every).tolist(), None
                t = time.time()
                say("round {} step {}: prose {:.4f} answers {:.5f} names {:.5f} {:.0f} k tokens/s".format(
                    number + 1, step, *means, losses.numel() * every / (t - last) / 1e3))
                last = t
        write(model, like, args.out / f"round{number + 1}.safetensors")
        say(f"round {number + 1} written: {step} steps, {step * args.rows * args.length} tokens in all")
    say(f"trained {time.time() - begin:.1f} s")
    os._exit(0)                                   # the workers never end by themselves


if __name__ == "__main__":
    main()
