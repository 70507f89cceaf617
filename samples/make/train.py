#!/usr/bin/env python3
"""Train the sample model with the transformers implementation of Qwen3.5.

Half of every batch is prose (all tokens count), half are dialogues made on the fly
(the answers count).  Hidden matrices are trained with Muon, the rest with AdamW.
The run is measured in time, not steps: the learning rate follows the clock.
"""
import argparse
import json
import math
import os
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch.utils.data import DataLoader, IterableDataset
from transformers import Qwen3_5ForCausalLM, Qwen3_5TextConfig
from transformers.models.qwen3_5 import modeling_qwen3_5

import dialogues

PROMPT_WEIGHT = 0.05    # of a token of a question, relative to one of an answer
ANSWER_WEIGHT = 2.0     # of a token of an answer, relative to one of prose
NAME_WEIGHT = 16.0      # of a name that begins an answer, where finetune.py asks for it


def make_config(vocab_size=4096, **kwargs):
    return Qwen3_5TextConfig(
        vocab_size=vocab_size, hidden_size=256, intermediate_size=768, num_hidden_layers=8,
        num_attention_heads=4, num_key_value_heads=2, head_dim=64,
        linear_num_key_heads=4, linear_num_value_heads=4, linear_key_head_dim=64, linear_value_head_dim=64,
        max_position_embeddings=4096, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25},
        **kwargs)


# ---- faster forms of two functions of transformers, equal in what they compute --------------------------------------

class UnitLowerInverse(torch.autograd.Function):
    """Inverse of I + L for the strictly lower triangle L of [..., n, n], n a power of two, by halves."""

    @staticmethod
    def forward(ctx, lower):
        n = lower.shape[-1]
        inverse = torch.ones(*lower.shape[:-2], n, 1, 1, device=lower.device, dtype=lower.dtype)
        size = 1
        while size < n:
            blocks = n // (2 * size)
            grid = lower.unflatten(-1, (blocks, 2 * size)).unflatten(-3, (blocks, 2 * size))
            diagonal = grid.diagonal(dim1=-4, dim2=-2).movedim(-1, -3)      # [..., blocks, 2 size, 2 size]
            corner = diagonal[..., size:, :size]
            first, second = inverse[..., 0::2, :, :], inverse[..., 1::2, :, :]
            merged = torch.zeros(*lower.shape[:-2], blocks, 2 * size, 2 * size, device=lower.device, dtype=lower.dtype)
            merged[..., :size, :size] = first
            merged[..., size:, size:] = second
            merged[..., size:, :size] = -second @ corner @ first
            inverse = merged
            size *= 2
        inverse = inverse.squeeze(-3)
        ctx.save_for_backward(inverse)
        return inverse

    @staticmethod
    def backward(ctx, grad):
        inverse, = ctx.saved_tensors
        transposed = inverse.transpose(-1, -2)
        return -(transposed @ grad @ transposed).tril(-1)


def chunk_gated_delta_rule(query, key, value, g, beta, chunk_size=64, initial_state=None, output_final_state=False,
                           use_qk_l2norm_in_kernel=False, **kwargs):
    """torch_chunk_gated_delta_rule of transformers for whole chunks, without an initial state."""
    assert initial_state is None and not output_final_state and use_qk_l2norm_in_kernel
    dtype = query.dtype
    batch, length, heads, _ = key.shape
    assert length % chunk_size == 0
    with torch.autocast(query.device.type, enabled=False):
        query, key, value = (x.float().transpose(1, 2).reshape(batch, heads, -1, chunk_size, x.shape[-1])
                             for x in (query, key, value))
        beta, decay = (x.float().transpose(1, 2).reshape(batch, heads, -1, chunk_size) for x in (beta, g))
        query = query * (torch.rsqrt((query * query).sum(-1, keepdim=True) + 1e-6) * query.shape[-1] ** -0.5)
        key = key * torch.rsqrt((key * key).sum(-1, keepdim=True) + 1e-6)
        k_beta = key * beta.unsqueeze(-1)
        cum = decay.cumsum(-1)
        upper = torch.ones(chunk_size, chunk_size, dtype=torch.bool, device=query.device).triu(1)
        pairwise = (cum.unsqueeze(-1) - cum.unsqueeze(-2)).masked_fill(upper, float("-inf")).exp()
        inside = (query @ key.transpose(-1, -2)) * pairwise
        system = (k_beta @ key.transpose(-1, -2)) * pairwise
        inverse = UnitLowerInverse.apply(system.tril(-1))
        grown = cum.exp().unsqueeze(-1)
        solved = inverse @ torch.cat((value * beta.unsqueeze(-1), k_beta * grown), -1)
        values, k_decayed = solved.split((value.shape[-1], key.shape[-1]), -1)
        query = query * grown
        key = (key * (cum[..., -1:] - cum).exp().unsqueeze(-1)).transpose(-1, -2)
        chunk_decay = cum[..., -1].exp()[..., None, None]
        state = torch.zeros(batch, heads, key.shape[-2], value.shape[-1], device=query.device)
        outputs = []
        for q, k, v, k_old, attention, shrink in zip(*(x.unbind(2) for x in (
                query, key, values, k_decayed, inside, chunk_decay))):
            new = v - k_old @ state
            outputs.append(q @ state + attention @ new)
            state = state * shrink + k @ new
        out = torch.stack(outputs, 2).reshape(batch, heads, length, -1)
        return out.transpose(1, 2).to(dtype), None


def rms_norm(self, x):
    weight = 1.0 + self.weight.float()
    out = F.rms_norm(x.float(), weight.shape, weight, self.eps)
    return out.to(torch.get_autocast_dtype(x.device.type)) if torch.is_autocast_enabled(x.device.type) \
        else out.type_as(x)


def use_fast_forms():
    modeling_qwen3_5.torch_chunk_gated_delta_rule = chunk_gated_delta_rule
    modeling_qwen3_5.Qwen3_5RMSNorm.forward = rms_norm


# ---- data -----------------------------------------------------------------------------------------------------------

class DialogueRows(IterableDataset):
    """Endless rows of whole dialogues: tokens [count, length + 1] and the weight of each as a target.

    `mixes` are weights of kinds, other than the usual ones, of which the shared integer `turn` picks one;
    with `names`, a name that begins an answer counts more.
    """

    def __init__(self, tokenizer_file, count, length, seed, mixes=(None,), turn=None, names=False):
        self.tokenizer_file, self.count, self.length, self.seed = tokenizer_file, count, length, seed
        self.mixes, self.turn, self.names = mixes, turn, names

    def __iter__(self):
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        torch.set_num_threads(1)
        info = torch.utils.data.get_worker_info()
        r = dialogues.random.Random(self.seed * 1000 + (info.id if info else 0))
        tokenizer = Tokenizer.from_file(str(self.tokenizer_file))
        eot = tokenizer.token_to_id("<|endoftext|>")
        width = self.length + 1
        while True:
            tokens = np.full((self.count, width), eot, dtype=np.int64)
            weights = np.zeros((self.count, width), dtype=np.float32)
            row, column = 0, 0
            while row < self.count:
                mix = self.mixes[self.turn.value if self.turn else 0]
                batch = [dialogues.dialogue(r, mix) for _ in range(256)]
                parts, scales, ends = [], [], []
                for messages in batch:
                    for m in messages:
                        if m["role"] == "assistant":
                            name, rest = "", m["content"] + "<|im_end|>"
                            if self.names and rest.split(" ")[0] in dialogues.NAMES:
                                name, rest = rest[:rest.index(" ")], rest[rest.index(" "):]
                            parts += ["<|im_start|>assistant\n", name, rest, "\n"]
                            scales += [PROMPT_WEIGHT, NAME_WEIGHT, ANSWER_WEIGHT, PROMPT_WEIGHT]
                        else:
                            parts.append(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n")
                            scales.append(PROMPT_WEIGHT)
                    ends.append(len(parts))
                encoded = [e.ids for e in tokenizer.encode_batch_fast(parts)]
                start = 0
                for end in ends:
                    ids = [t for p in encoded[start:end] for t in p] + [eot]
                    scale = [s for p, s in zip(encoded[start:end], scales[start:end]) for _ in p] + [PROMPT_WEIGHT]
                    start = end
                    if len(ids) > width:
                        continue
                    if column + len(ids) > width:
                        row, column = row + 1, 0
                        if row == self.count:
                            break
                    tokens[row, column:column + len(ids)] = ids
                    weights[row, column:column + len(ids)] = scale
                    column += len(ids)
            yield torch.from_numpy(tokens), torch.from_numpy(weights)


# ---- optimiser ------------------------------------------------------------------------------------------------------

class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised by Newton-Schulz steps; matrices of one shape are handled together."""

    def __init__(self, params, lr, momentum=0.95, weight_decay=0.1):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            shapes = {}
            for p in group["params"]:
                shapes.setdefault(tuple(p.shape), []).append(p)
            for (rows, columns), params in shapes.items():
                grads = torch.stack([p.grad for p in params])
                state = self.state[params[0]]
                if not state:
                    state["momentum"] = torch.zeros_like(grads)
                momentum = state["momentum"].lerp_(grads, 1 - group["momentum"])
                x = grads.lerp(momentum, group["momentum"])
                if rows > columns:
                    x = x.transpose(1, 2)
                x = (x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7))
                if x.is_cuda:
                    x = x.bfloat16()
                for _ in range(5):
                    gram = x @ x.transpose(1, 2)
                    x = 3.4445 * x + (-4.7750 * gram + 2.0315 * (gram @ gram)) @ x
                if rows > columns:
                    x = x.transpose(1, 2)
                update = x.float() * (0.2 * max(rows, columns) ** 0.5)      # as large as an AdamW update
                torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
                torch._foreach_add_(params, list(update.unbind()), alpha=-group["lr"])


def make_optimizers(model, lr):
    hidden, table, small = [], [], []
    for name, p in model.named_parameters():
        if p.ndim == 2 and "embed" not in name and min(p.shape) >= 64:
            hidden.append(p)
        elif p.ndim >= 2:
            table.append(p)
        else:
            small.append(p)
    adam = torch.optim.AdamW([{"params": table, "weight_decay": 0.01}, {"params": small, "weight_decay": 0.0}],
                             lr=lr, betas=(0.9, 0.95), fused=table[0].is_cuda)
    return [Muon(hidden, lr), adam]


def learning_rate(progress, peak, warm=0.01, floor=0.01):
    if progress < warm:
        return peak * (progress / warm + 1e-3)
    x = (progress - warm) / (1 - warm)
    return peak * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(x, 1.0))))


# ---- training -------------------------------------------------------------------------------------------------------

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder with config.json and tokenizer.json")
    parser.add_argument("--prose", type=Path, required=True, help="prose.npy of train_tokenizer.py")
    parser.add_argument("--out", type=Path, required=True, help="folder for model.safetensors and train.log")
    parser.add_argument("--seconds", type=float, default=1000)
    parser.add_argument("--rows", type=int, default=160, help="sequences a step")
    parser.add_argument("--dialogue-share", type=float, default=0.55)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--long-from", type=float, default=0.55, help="progress from which rows are twice as long")
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--workers", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--profile", action="store_true", help="profile steps 20 to 23")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(args.seed)
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    use_fast_forms()
    log = open(args.out / "train.log", "w", buffering=1)

    config = Qwen3_5TextConfig.from_pretrained(args.model)
    model = Qwen3_5ForCausalLM(config).float().to(args.device).train()
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.3f} M parameters", file=log)
    optimizers = make_optimizers(model, args.lr)

    prose = torch.from_numpy(np.load(args.prose).astype(np.int32)).to(args.device)
    talk_rows = int(args.rows * args.dialogue_share) // 2 * 2
    prose_rows = args.rows - talk_rows
    rows = DialogueRows(args.model / "tokenizer.json", talk_rows, args.length, args.seed)
    loader = iter(DataLoader(rows, batch_size=None, num_workers=args.workers, pin_memory=args.device == "cuda",
                             prefetch_factor=4 if args.workers else None))

    def batch(length):
        many = prose_rows * args.length // length
        starts = torch.randint(0, len(prose) - length - 1, (many, 1), device=args.device)
        text = prose[starts + torch.arange(length + 1, device=args.device)].long()
        tokens, weights = (x.to(args.device, non_blocking=True) for x in next(loader))
        inputs, targets, weights = tokens[:, :-1], tokens[:, 1:], weights[:, 1:]
        inputs, targets, weights = (x.reshape(-1, length) for x in (inputs, targets, weights))
        return (torch.cat((text[:, :-1], inputs)), torch.cat((text[:, 1:], targets)),
                torch.cat((torch.ones_like(text[:, 1:], dtype=torch.float32), weights)), many)

    next(loader)                                  # the workers have started
    start = time.time()
    step, tokens_seen, sums = 0, 0, None
    profiler = None
    last = start
    saved = 0.0
    while True:
        progress = (time.time() - start) / args.seconds
        if progress >= 1:
            break
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(progress, args.lr)
        if args.profile and step == 20:
            profiler = torch.profiler.profile()
            profiler.__enter__()
        length = args.length if progress < args.long_from else 2 * args.length
        inputs, targets, weights, many = batch(length)
        with torch.autocast(args.device, dtype=torch.bfloat16, enabled=args.device == "cuda"):
            hidden = model.model(input_ids=inputs, use_cache=False).last_hidden_state
            logits = model.lm_head(hidden)
        losses = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), reduction="none").view_as(weights)
        loss = (losses * weights).sum() / weights.sum()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        model.zero_grad(set_to_none=True)
        with torch.no_grad():
            answer = weights[many:] > 1
            now = torch.stack((losses[:many].mean(), (losses[many:] * answer).sum() / answer.sum(), norm))
            sums = now if sums is None else sums + now
        step += 1
        tokens_seen += inputs.numel()
        if profiler and step == 23:
            torch.cuda.synchronize()
            profiler.__exit__(None, None, None)
            print(profiler.key_averages().table(sort_by="cuda_time_total", row_limit=40, max_name_column_width=60),
                  file=log)
            profiler = None
        if progress > saved + 0.25:
            saved = progress
            model.save_pretrained(args.out / "part", max_shard_size="12MB")
        every = 50 if args.device == "cuda" else 5
        if step % every == 0:
            prose_loss, answer_loss, norm = (sums / every).tolist()
            sums = None
            t = time.time()
            print(f"step {step} at {t - start:.0f} s: prose {prose_loss:.4f} answers {answer_loss:.5f} "
                  f"norm {norm:.2f} {inputs.numel() * every / (t - last) / 1e3:.0f} k tokens/s", file=log)
            last = t

    print(json.dumps({"steps": step, "tokens": tokens_seen, "seconds": time.time() - start}), file=log)
    model.eval().to(torch.bfloat16).save_pretrained(args.out)
    print("saved", file=log)
    os._exit(0)                                   # the workers never end by themselves


if __name__ == "__main__":
    main()
