#!/usr/bin/env python3
"""Score a model folder: perplexity and bits per byte of a text, exact answers to questions.

The bf16 weights are evaluated in fp32 arithmetic, answers are greedy.  The text is cut
into consecutive windows of --context tokens; every token of a window but its first is
predicted from those before it in the window.
"""
import argparse
import json
import math
from collections import defaultdict
from pathlib import Path

import torch
import torch.nn.functional as F
from transformers import AutoTokenizer, Qwen3_5ForCausalLM


@torch.no_grad()
def perplexity(model, tokenizer, text, context, batch=8):
    ids = torch.tensor(tokenizer(text)["input_ids"])
    windows = ids[:len(ids) // context * context].view(-1, context)
    total = 0.0
    for chunk in windows.split(batch):
        chunk = chunk.to(model.device)
        logits = model(input_ids=chunk, use_cache=False).logits[:, :-1]
        total += F.cross_entropy(logits.flatten(0, 1), chunk[:, 1:].flatten(), reduction="sum").item()
    mean = total / (windows.shape[0] * (context - 1))
    return math.exp(mean), mean / math.log(2) * len(ids) / len(text.encode()), len(ids)


@torch.no_grad()
def answers(model, tokenizer, conversations, batch=64, limit=120):
    """Greedy replies; conversations of equal length go together, so nothing is padded."""
    groups = defaultdict(list)
    for i, messages in enumerate(conversations):
        ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        groups[len(ids)].append((i, ids))
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    replies = [None] * len(conversations)
    for members in groups.values():
        for start in range(0, len(members), batch):
            part = members[start:start + batch]
            ids = torch.tensor([m[1] for m in part], device=model.device)
            out = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=limit,
                                 do_sample=False)[:, ids.shape[1]:].tolist()
            for (i, _), tokens in zip(part, out):
                tokens = tokens[:tokens.index(end)] if end in tokens else tokens
                replies[i] = tokenizer.decode(tokens, skip_special_tokens=True)
    return replies


def load_questions(path):
    with open(path) as lines:
        return [json.loads(line) for line in lines]


def messages_of(question):
    return question.get("messages") or [{"role": "user", "content": question["prompt"]}]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--weights", type=Path, help="folder of model.safetensors, when not --model")
    parser.add_argument("--text", type=Path)
    parser.add_argument("--questions", type=Path)
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--say", action="append", default=[], help="print the reply to this; may be repeated")
    parser.add_argument("--wrong", action="store_true", help="print the wrong answers")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    torch.set_flush_denormal(True)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = Qwen3_5ForCausalLM.from_pretrained(args.weights or args.model, dtype=torch.bfloat16)
    model = model.float().to(args.device).eval()

    if args.text:
        ppl, bits, count = perplexity(model, tokenizer, args.text.read_text(), args.context)
        print(f"perplexity {ppl:.3f}, {bits:.4f} bits per byte ({count} tokens, context {args.context})")
    if args.questions:
        questions = load_questions(args.questions)
        replies = answers(model, tokenizer, [messages_of(q) for q in questions])
        right, total = defaultdict(int), defaultdict(int)
        for question, reply in zip(questions, replies):
            exact = reply.strip() == question["answer"]
            right[question["kind"]] += exact
            total[question["kind"]] += 1
            if args.wrong and not exact:
                print(json.dumps({**question, "reply": reply}))
        for name in total:
            print(f"{name:20} {right[name]:4} / {total[name]}")
        print(f"{'all':20} {sum(right.values()):4} / {sum(total.values())}"
              f"  {100 * sum(right.values()) / sum(total.values()):.1f} %")
    for text in args.say:
        reply = answers(model, tokenizer, [[{"role": "user", "content": text}]])[0]
        print(f"> {text}\n{reply}")


if __name__ == "__main__":
    main()
