#!/usr/bin/env python3
"""Makes tests/data/tokenizers: small tokenizers in the style of those in use, lines of text, and the reference's ids.

usage: make_tokenizer_fixtures.py            needs the `tokenizers` package (made with 0.23.3)

  lines.bin                 the lines: for each, a u32 length and its bytes (not always valid UTF-8)
  STYLE/tokenizer.json      byte-level BPE as Qwen3.5, Qwen2, Llama 3, GPT-2 and SmolLM2 have it, BPE with byte fallback
                            as Llama 2 (normalizer) and Mistral (Metaspace) have it, and one with odd added tokens
  STYLE/ids.bin             for each line two lists of ids: added tokens recognised, and taken as plain text;
                            a list is a u16 count and u16 ids. STYLE may also be a tokenizer that lies elsewhere.

All numbers are little endian. The reference sees bytes.decode("utf-8", errors="replace"). The training text is
samples/eval.txt and lines of another seed.
"""
import json
import os
import random
import struct

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
OUT = os.path.join(ROOT, "tests", "data", "tokenizers")
N_LINES = 2400

QWEN35 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
         r"|\s*[\r\n]+|\s+(?!\S)|\s+")
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")

# Letters of scripts, all assigned long before the Unicode versions of the libraries that are compared.
SCRIPTS = [
    (0x61, 0x7A), (0x41, 0x5A), (0xC0, 0xD6), (0x100, 0x17F), (0x386, 0x386), (0x3B1, 0x3C9), (0x410, 0x44F),
    (0x531, 0x556), (0x5D0, 0x5EA), (0x620, 0x64A), (0x905, 0x939), (0x985, 0x98C), (0xA05, 0xA0A), (0xB85, 0xB8A),
    (0xC05, 0xC0C), (0xD05, 0xD0C), (0xE01, 0xE30), (0xE81, 0xE82), (0xF40, 0xF47), (0x1000, 0x1021), (0x10D0, 0x10F0),
    (0x1100, 0x1112), (0x1200, 0x1206), (0x13A0, 0x13F4), (0x1401, 0x1405), (0x1780, 0x17A2), (0x1820, 0x1842),
    (0x1E00, 0x1EFF), (0x1F00, 0x1F07), (0x3041, 0x3096), (0x30A1, 0x30FA), (0x4E00, 0x9FA5), (0xAC00, 0xD7A3),
    (0xFF21, 0xFF3A), (0x10330, 0x1034A), (0x1D400, 0x1D454), (0x20000, 0x2A6D6),
]
MARKS = list(range(0x300, 0x36F)) + [0x5B0, 0x64E, 0x93E, 0x94D, 0xE31, 0xE38, 0x20E3, 0x3099, 0x302A, 0xFE0F]
SPACES = [" ", " ", "  ", "    ", "\t", "\n", "\r\n", "\r", "\n\n", "\u00a0", "\u3000", "\u2009", "\u2028", "\u0085",
          "\u200b", "\u180e", "\u202f", "\v", "\f", " \n ", "\t\t", "        "]
EMOJI = ["\U0001F600", "\u2764\uFE0F", "\U0001F44D\U0001F3FD", "\U0001F468\u200D\U0001F469\u200D\U0001F467\u200D\U0001F466",
         "\U0001F3F3\uFE0F\u200D\U0001F308", "\U0001F1E9\U0001F1EA", "1\uFE0F\u20E3", "\U0001F9D1\U0001F3FF\u200D\U0001F680",
         "\u2615", "\U0001F600\U0001F601\U0001F602", "\u00a9\u00ae\u2122", "\u2660\u2665"]
DIGITS = ["0", "7", "42", "365", "1234", "3.14159", "1,000,000", "0x7fff", "2^53", "\u0661\u0662\u0663", "\u0967\u0968",
          "\uff11\uff12", "\u2160\u2167", "\u00b2\u00b3", "\u00bd", "\u2460", "\u3007", "10000000000000000000000"]
CONTRACTIONS = ["it's", "IT'S", "we're", "WE'RE", "I'll", "don't", "DON'T", "they've", "I'm", "he'd", "'\u017f", "'S",
                "rock'n'roll", "o'clock", "\u2019s", "''t", "x'RE", "'vE", "\u212a'll"]
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>", "<|begin_of_text|>", "<|eot_id|>",
            "<|start_header_id|>", "<|end_header_id|>", "<s>", "</s>", "<unk>", "[INST]", "[/INST]", "<mask>", "<end>",
            "token", "cafe\u0301", "caf\u00e9", "<|im_start", "<|im_start|", "|im_end|>", "<<|im_end|>>", "<0x41>"]
CODE = ["for (int i = 0; i < n; i++) {", "\treturn x ? y : z;", "}\n\n", "def f(x):\n    return x**2\n", "#include <stdio.h>",
        "SELECT * FROM t WHERE a='b';", "\\n\\t\\\"", "a->b[i] += c & 0xFF;", "https://example.org/a?b=c&d=%20#e", "$x = @{$y};",
        "/* ---- */", "-----", "=====>", "...", "!?", "\"\"\"", "{{ x }}", "<a href=\"#\">", "~/.config/x.toml", "a_b_c", "CamelCase"]
WORDS = ("the of and a to in is it that was for on are as with his they at be this from have or by one had not but what "
         "all were when we there can an your which their said if do will each about how up out them then she many some "
         "so these would other into has more her two like him see time could no make than first been its who now people "
         "memory tensor quantize kernel window buffer matrix rotation entropy language model layer weight token").split()
INVALID = [b"\xff", b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"\xc0\xaf", b"\xe0\x80\xaf", b"\xed\xa0\x80", b"\xed\xb0\x80",
           b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"\x80", b"\xbf\xbf", b"\xf0\x80\x80\x80", b"\xf0\x9f", b"\xe2(\xa1",
           b"\xf0(\x8c\xbc", b"\xfe\xfe\xff\xff", b"\xc3\xc3\xa9", b"\xe1\x80\xe2\xf0\x91\x92\xf1\xbf"]


def word(r):
    lo, hi = r.choice(SCRIPTS)
    text = "".join(chr(r.randint(lo, hi)) for _ in range(r.randint(1, 8)))
    if r.random() < 0.2:
        text = "".join(c + "".join(chr(r.choice(MARKS)) for _ in range(r.randint(0, 3))) for c in text)
    return text


def piece(r):
    kind = r.randrange(10)
    if kind < 3:
        return r.choice(WORDS) if r.random() < 0.8 else r.choice(WORDS).capitalize() + r.choice(",.;:!?")
    if kind == 3:
        return word(r)
    if kind == 9:
        return r.choice(WORDS) + "".join(chr(r.choice(MARKS[:0x6F])) for _ in range(r.randint(1, 2)))
    return r.choice([EMOJI, DIGITS, CONTRACTIONS, SPECIALS, CODE][kind - 4])


def line(r, i):
    parts = []
    for _ in range(r.randint(1, 9)):
        parts.append(piece(r).encode())
        if i % 8 == 0 and r.random() < 0.4:
            parts.append(r.choice(INVALID))
        if i % 32 == 1:
            parts.append(bytes(r.randrange(256) for _ in range(r.randint(1, 6))))
        if r.random() < 0.75:
            parts.append((" " if r.random() < 0.6 else r.choice(SPACES)).encode())
    if r.random() < 0.1:
        parts.append(b" " * r.randint(1, 40))
    if r.random() < 0.05:
        parts.insert(0, r.choice(SPACES).encode() * r.randint(1, 6))
    return b"".join(parts)


def lines(seed, n):
    r = random.Random(seed)
    fixed = [b"", b" ", b"\n", b"a", b"\x00", b"\x00\x01\x02\x1f\x7f", b"a" * 3000, b" " * 2000, b"\n" * 500,
             "\u1100\u1161\u11a8".encode(), "e\u0301".encode() * 50, "\u0344\u1fee\u212b".encode(), b"\xff" * 64]
    return fixed + [line(r, i) for i in range(n - len(fixed))]


def train(pre, vocab, specials, normalizer=None, alphabet=True, byte_tokens=False):
    t = Tokenizer(models.BPE(unk_token="<unk>" if byte_tokens else None, fuse_unk=byte_tokens))
    t.pre_tokenizer = pre
    if normalizer:
        t.normalizer = normalizer
    first = (["<unk>", "<s>", "</s>"] + ["<0x%02X>" % b for b in range(256)]) if byte_tokens else []
    trainer = trainers.BpeTrainer(vocab_size=vocab, special_tokens=first, show_progress=False, limit_alphabet=600,
                                  max_token_length=16,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet() if alphabet else [])
    with open(os.path.join(ROOT, "samples", "eval.txt"), encoding="utf-8") as f:
        text = [x for x in f.read().split("\n")]
    # No NUL: where characters are tokens it would become one, and JSON readers in C cannot hold it.
    text += [x.decode("utf-8", errors="replace").replace("\0", "") for x in lines(1, 4000) if len(x) < 1000]
    t.train_from_iterator(text, trainer)
    if not byte_tokens:
        t.add_special_tokens(specials)
    return t


def byte_level(pattern=None, normalizer=None, digits=False, specials=(), vocab=2000):
    steps = []
    if digits:
        steps.append(pre_tokenizers.Digits(individual_digits=True))
    if pattern:
        steps.append(pre_tokenizers.Split(Regex(pattern), "isolated"))
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pattern is None))
    t = train(pre_tokenizers.Sequence(steps) if len(steps) > 1 else steps[0], vocab, list(specials), normalizer)
    t.decoder = decoders.ByteLevel()
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    return t


def qwen35():
    t = byte_level(QWEN35, normalizers.NFC(), specials=["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    t.add_tokens([AddedToken("<think>", normalized=False), AddedToken("</think>", normalized=False)])
    return t


def qwen2():
    return byte_level(QWEN2, normalizers.NFC(), specials=["<|endoftext|>", "<|im_start|>", "<|im_end|>"], vocab=1500)


def llama3():
    t = byte_level(LLAMA3, specials=["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
                                     "<|eot_id|>"])
    t.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single="<|begin_of_text|> $A",
                                      special_tokens=[("<|begin_of_text|>", t.token_to_id("<|begin_of_text|>"))])])
    j = json.loads(t.to_str())
    j["model"]["ignore_merges"] = True
    # Tokens that merges do not reach: ignore_merges finds them all the same.
    for extra in ("\u0120zyzzyva", "xqxqx", "\u010a\u010a\u010a\u010a\u010a\u010a"):
        j["model"]["vocab"][extra] = 0
    vocab = sorted((k for k in j["model"]["vocab"]), key=lambda k: (j["model"]["vocab"][k], k))
    base = {k: i for i, k in enumerate(vocab)}
    j["model"]["vocab"] = base
    for i, a in enumerate(j["added_tokens"]):
        a["id"] = len(base) + i
    special = j["post_processor"]["processors"][1]["special_tokens"]["<|begin_of_text|>"]
    special["ids"] = [j["added_tokens"][0]["id"]]
    return Tokenizer.from_str(json.dumps(j))


def gpt2():
    return byte_level(specials=["<|endoftext|>"], vocab=1500)


def smollm2():
    return byte_level(digits=True, specials=["<|endoftext|>", "<|im_start|>", "<|im_end|>"], vocab=1500)


def odd():
    """Added tokens that take space, stand alone, or are looked for after normalization; a prefix space."""
    t = train(pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=True), 1200, ["<|endoftext|>"],
              normalizers.Sequence([normalizers.NFD(), normalizers.NFC()]))
    t.add_tokens([AddedToken("<mask>", lstrip=True, normalized=False), AddedToken("<end>", rstrip=True, normalized=False),
                  AddedToken("token", single_word=True, normalized=True), AddedToken("caf\u00e9", normalized=True),
                  AddedToken("cafe\u0301s", normalized=True)])
    t.decoder = decoders.ByteLevel()
    return t


def fallback(metaspace):
    pre = pre_tokenizers.Metaspace(prepend_scheme="first", split=True)
    t = train(pre, 1800, [], alphabet=False, byte_tokens=True)
    j = json.loads(t.to_str())
    j["model"]["byte_fallback"] = True
    j["added_tokens"] = []  # training added the bytes' tokens
    t = Tokenizer.from_str(json.dumps(j))
    if metaspace:
        t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    else:
        t.pre_tokenizer = None
        t.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    t.add_special_tokens(["<unk>", "<s>", "</s>"] + (["[INST]", "[/INST]"] if metaspace else []))
    t.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(),
                                   decoders.Strip(" ", 1, 0)])
    t.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", t.token_to_id("<s>"))])
    return t


def pack(ids):
    return struct.pack("<H%dH" % len(ids), len(ids), *ids)


def reference(t, text):
    j = json.loads(t.to_str())
    j["added_tokens"] = []
    j["post_processor"] = None
    plain = Tokenizer.from_str(json.dumps(j))
    out = []
    for data in text:
        s = data.decode("utf-8", errors="replace")
        out.append(pack(t.encode(s, add_special_tokens=False).ids))
        out.append(pack(plain.encode(s, add_special_tokens=False).ids))
    return b"".join(out)


def write(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data)


def compact(t):
    j = json.loads(t.to_str())
    if "merges" in j["model"] and len(j["model"]["vocab"]) % 2:  # the older form of merges too
        if not any(" " in a or " " in b for a, b in j["model"]["merges"]):
            j["model"]["merges"] = ["%s %s" % (a, b) for a, b in j["model"]["merges"]]
    return json.dumps(j, ensure_ascii=False, separators=(",", ":")).encode()


def main():
    text = lines(0, N_LINES)
    write(os.path.join(OUT, "lines.bin"), b"".join(struct.pack("<I", len(x)) + x for x in text))
    styles = {"qwen3.5": qwen35, "qwen2": qwen2, "llama3": llama3, "gpt2": gpt2, "smollm2": smollm2, "odd": odd,
              "llama2": lambda: fallback(False), "mistral": lambda: fallback(True)}
    for name, make in styles.items():
        data = compact(make())
        t = Tokenizer.from_str(data.decode())
        write(os.path.join(OUT, name, "tokenizer.json"), data)
        write(os.path.join(OUT, name, "ids.bin"), reference(t, text))
        print(name, t.get_vocab_size(), len(data), type(json.loads(data)["model"]["merges"][0]).__name__)
    sample = Tokenizer.from_file(os.path.join(ROOT, "samples", "tiny-qwen3.5", "tokenizer.json"))
    write(os.path.join(OUT, "sample", "ids.bin"), reference(sample, text))


if __name__ == "__main__":
    main()
