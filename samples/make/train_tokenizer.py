#!/usr/bin/env python3
"""Train the byte-level BPE tokenizer and write everything of the model folder but the weights.

Also writes, into --work, prose.npy: the training prose as uint16 tokens, documents
separated by <|endoftext|>.
"""
import argparse
import json
import random
from pathlib import Path

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

import dialogues

# The expression of the Qwen3.5 tokenizer: digits one by one.
PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"
           r"|\s*[\r\n]+|\s+(?!\S)|\s+")
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CHAT_TEMPLATE = """{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""


def prose_documents(path):
    with open(path) as lines:
        for line in lines:
            yield "\n\n".join(json.loads(line)["paragraphs"])


def chatml(messages):
    return "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in messages)


def train(texts, vocab_size):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PATTERN), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=vocab_size - len(SPECIAL), show_progress=False,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens(SPECIAL)      # they come last, as in Qwen's vocabulary
    assert tokenizer.get_vocab_size() == vocab_size
    return tokenizer


def write_model_folder(tokenizer, folder):
    from transformers import GenerationConfig, PreTrainedTokenizerFast

    from train import make_config

    eot, im_end = (tokenizer.token_to_id(t) for t in ("<|endoftext|>", "<|im_end|>"))
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>",
                                   model_max_length=4096, clean_up_tokenization_spaces=False)
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    path.write_text(json.dumps(settings, indent=2) + "\n")
    config = make_config(tokenizer.get_vocab_size(), eos_token_id=im_end, pad_token_id=eot)
    config.architectures = ["Qwen3_5ForCausalLM"]
    config.dtype = "bfloat16"
    config.save_pretrained(folder)
    GenerationConfig(eos_token_id=[im_end, eot], pad_token_id=eot, do_sample=False,
                     max_new_tokens=256).save_pretrained(folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prose", type=Path, required=True, help="train.jsonl of gather_prose.py")
    parser.add_argument("--model", type=Path, required=True, help="model folder to write")
    parser.add_argument("--work", type=Path, required=True, help="folder for prose.npy")
    parser.add_argument("--vocab-size", type=int, default=4096)
    args = parser.parse_args()
    args.model.mkdir(parents=True, exist_ok=True)
    args.work.mkdir(parents=True, exist_ok=True)

    r = random.Random(5)
    documents = list(prose_documents(args.prose))
    r.shuffle(documents)
    limit = sum(map(len, documents)) // 6
    sample, total = [], 0
    for document in documents:
        sample.append(document)
        total += len(document)
        if total > limit:
            break
    talk = [m["content"] for d in dialogues.training_dialogues(40_000, seed=2) for m in d]
    talk += ["user\n", "assistant\n", "system\n"] * 1000
    tokenizer = train(sample + talk, args.vocab_size)
    write_model_folder(tokenizer, args.model)

    eot = tokenizer.token_to_id("<|endoftext|>")
    pieces, characters = [], 0
    for start in range(0, len(documents), 2000):
        batch = documents[start:start + 2000]
        characters += sum(map(len, batch))
        for encoding in tokenizer.encode_batch_fast(batch):
            pieces.append(np.array(encoding.ids + [eot], dtype=np.uint16))
    tokens = np.concatenate(pieces)
    np.save(args.work / "prose.npy", tokens)
    print(f"{len(documents)} documents, {characters / 1e6:.1f} MB, {len(tokens) / 1e6:.1f} M tokens, "
          f"{characters / len(tokens):.2f} characters a token")


if __name__ == "__main__":
    main()
