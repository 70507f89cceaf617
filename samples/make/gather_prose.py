#!/usr/bin/env python3
"""Collect English technical prose from unpacked Debian documentation packages.

Every package is expected unpacked in a folder of its own below --root, e.g.

    apt-get download python3.11-doc && dpkg -x python3.11-doc_*.deb ROOT/python3.11-doc

HTML, roff (manual pages), POD and reStructuredText are reduced to plain
paragraphs.  A paragraph is kept when it is long enough, is mostly letters, ends
like a sentence, looks English and has not been seen before.  Whole documents of a
few permissively licensed packages are held out by a hash of their path; they
become the evaluation text and never reach the training side.

Output: one JSON object a line, {"package", "paragraphs"}, in train.jsonl and
heldout.jsonl.
"""
import argparse
import gzip
import hashlib
import html
import json
import multiprocessing
import re
from pathlib import Path

# Packages whose documents may be held out (and so shipped): licence in README.md.
HELD_OUT_PACKAGES = {
    "python3.11-doc", "postgresql-doc-15", "python-django-doc",
    "python-sqlalchemy-doc", "sqlite3-doc", "cmake-data",
}
HELD_OUT_ONE_IN = 45

# Only these paths are read in packages that hold other languages or copies too.
ONLY = {
    "debian-handbook": r"/en-US/",
    "apache2-doc": r"/en/",
    "linux-doc-6.1": r"\.html$",
    "rust-doc": r"/html/(book|std|reference|nomicon|cargo|rustc|edition-guide|embedded-book"
                r"|rust-by-example|unstable-book|rustdoc|error_codes|clippy|style-guide)/",
    "cmake-data": r"\.rst$",
    "perl-doc": r"(\.pod|\.gz)$",
    "debian-reference-en": r"\.html$",
}
SKIP = re.compile(r"changelog\.Debian|/NEWS|copyright|/genindex|/search\.html|/_modules/|/_static/|licen[cs]e"
                  r"|/translations/|/zh_CN/|/it_IT/|/ja_JP/|/ko_KR/|/es_ES/", re.I)

WS = re.compile(r"\s+")
DROP = re.compile(r"<(script|style|pre|nav|footer|svg|math|textarea|select|button)\b.*?</\1\s*>", re.S | re.I)
COMMENT = re.compile(r"<!--.*?-->", re.S)
BLOCK = re.compile(r"</?(p|div|li|ul|ol|dl|dt|dd|h[1-6]|table|tr|td|th|tbody|thead|br|hr|section|article"
                   r"|blockquote|main|aside|header|body|html|head|title|summary|details|figure|figcaption)\b[^>]*>",
                   re.I)
TAG = re.compile(r"<[^>]*>")
SENTENCE_END = re.compile(r"[.!?][)\"'\u201d]?$")
STOPWORDS = {"the", "a", "an", "of", "to", "is", "in", "and", "for", "that", "this", "be", "it", "are", "with",
             "as", "you", "or", "not", "can", "will", "by", "on", "if", "from", "when"}
TYPOGRAPHY = str.maketrans({"\u2019": "'", "\u2018": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-",
                            "\u2014": "-", "\u00a0": " ", "\u2026": "...", "\u00b6": "", "\u2010": "-",
                            "\u2011": "-", "\u2212": "-", "\uf0c1": "", "\u200b": ""})


def from_html(text):
    start = text.lower().find("<body")
    text = COMMENT.sub(" ", text[max(start, 0):])
    text = DROP.sub("\n\n", text)
    text = BLOCK.sub("\n\n", text)
    text = html.unescape(TAG.sub("", text))
    return text.split("\n\n")


ROFF_ESCAPE = [(re.compile(p), r) for p, r in (
    (r"\\f\(..|\\f\[[^\]]*\]|\\f.", ""), (r"\\s[-+]?\d+", ""), (r"\\\(aq", "'"), (r"\\\(dq", '"'),
    (r"\\\(em|\\\(en|\\\(hy", "-"), (r"\\\(bu", "*"), (r"\\\((?:lq|rq)", '"'), (r"\\\((?:oq|cq)", "'"),
    (r"\\\*\(..|\\\*\[[^\]]*\]|\\\*.", ""), (r"\\[-]", "-"), (r"\\e", r"\\"), (r"\\[&%/,:|^)]", ""),
    (r"\\[ ~0]", " "), (r"\\\[u?[^\]]*\]", ""), (r"\\\(..", ""), (r"\\h'[^']*'", " "))]
ROFF_FONT = re.compile(r"^\.(?:B|I|BR|BI|IR|IB|RB|RI|SM|SB)\s+(.*)")


def from_roff(text):
    blocks, current, verbatim = [], [], False
    for line in text.split("\n"):
        if verbatim:
            verbatim = not re.match(r"\.(fi|EE|RE\b|Ve)", line)
            continue
        if line.startswith(('."', ".\\\"", "'\\\"")):
            continue
        if re.match(r"\.(nf|EX|Vb|TS)", line):
            verbatim = True
            line = ""
        font = ROFF_FONT.match(line)
        if font:
            alternate = not re.match(r"\.(B|I|SM|SB)\s", line)
            words = re.findall(r'"[^"]*"|\S+', font.group(1))
            line = ("" if alternate else " ").join(w.strip('"') for w in words)
        elif line.startswith((".", "'")) or not line.strip():
            blocks.append(" ".join(current))
            current = []
            continue
        for pattern, replacement in ROFF_ESCAPE:
            line = pattern.sub(replacement, line)
        current.append(line)
    blocks.append(" ".join(current))
    return blocks


def from_pod(text):
    blocks = []
    for block in re.split(r"\n\s*\n", text):
        if block.startswith(("=", " ", "\t")):
            continue
        block = re.sub(r"[BICFSX]<<+ (.*?) >>+", r"\1", block)
        block = re.sub(r"L<(?:[^<>|]*\|)?([^<>]*)>", r"\1", block)
        for _ in range(2):
            block = re.sub(r"[BICFS]<([^<>]*)>", r"\1", block)
        block = re.sub(r"[XZ]<[^<>]*>", "", block)
        block = block.replace("E<lt>", "<").replace("E<gt>", ">")
        blocks.append(block)
    return blocks


def from_rst(text):
    blocks = []
    for block in re.split(r"\n\s*\n", text):
        if block.lstrip().startswith((".. ", "|", "+--", "::")) or re.search(r"^\s*[-=^~\"#*]{4,}$", block, re.M):
            continue
        block = re.sub(r":[\w:+-]+:`([^`<]*?)\s*(?:<[^`>]*>)?`", r"\1", block)
        block = re.sub(r"`([^`<]*?)\s*<[^`>]*>`_+", r"\1", block)
        block = block.replace("``", "").replace("`", "").replace("**", "").replace("::", ":")
        blocks.append(block)
    return blocks


def good(paragraph):
    length = len(paragraph)
    if length < 80 or length > 4000 or not SENTENCE_END.search(paragraph):
        return False
    if not (paragraph[0].isalpha() or paragraph[0] in "\"'("):
        return False
    if sum(c.isalpha() and c.isascii() or c == " " for c in paragraph) < 0.85 * length:
        return False
    words = paragraph.lower().split()
    return sum(w in STOPWORDS for w in words) >= max(2, len(words) // 10)


def paragraphs(path):
    name = path.name
    data = path.read_bytes()
    if name.endswith(".gz"):
        data = gzip.decompress(data)
        name = name[:-3]
    text = data.decode("utf-8", "replace")
    if re.search(r"\.html?(\.en)?$", name):
        blocks = from_html(text)
    elif name.endswith(".pod"):
        blocks = from_pod(text)
    elif name.endswith(".rst"):
        blocks = from_rst(text)
    elif re.search(r"\.[1-9][a-z]*$", name) and re.search(r"^\.(SH|Sh|TH)", text, re.M):
        blocks = from_roff(text)
    else:
        return []
    blocks = (WS.sub(" ", b.translate(TYPOGRAPHY)).strip() for b in blocks)
    return [b for b in blocks if "\ufffd" not in b and good(b)]


def read(job):
    package, path = job
    try:
        return package, str(path), paragraphs(path)
    except (OSError, EOFError):
        return package, str(path), []


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="folder of unpacked packages")
    parser.add_argument("--out", type=Path, required=True, help="folder for train.jsonl and heldout.jsonl")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    jobs = []
    for folder in sorted(args.root.iterdir()):
        only = re.compile(ONLY.get(folder.name, "."))
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink() and only.search(str(path)) \
                    and not SKIP.search(str(path.relative_to(args.root))):
                jobs.append((folder.name, path))

    documents = []
    with multiprocessing.Pool() as pool:
        for package, path, found in pool.imap(read, jobs, chunksize=64):
            if found:
                relative = str(Path(path).relative_to(args.root))
                digest = int(hashlib.sha256(relative.encode()).hexdigest(), 16)
                held_out = package in HELD_OUT_PACKAGES and digest % HELD_OUT_ONE_IN == 0
                documents.append((not held_out, package, relative, found))

    # Held-out documents go first, so that a paragraph shared with the training side stays held out only.
    documents.sort(key=lambda d: d[0])
    seen, sizes = set(), {}
    with open(args.out / "train.jsonl", "w") as train, open(args.out / "heldout.jsonl", "w") as heldout:
        for training_side, package, relative, found in documents:
            fresh = []
            for paragraph in found:
                key = hashlib.sha1(re.sub(r"[\W\d_]+", " ", paragraph.lower()).encode()).digest()[:10]
                if key not in seen:
                    seen.add(key)
                    fresh.append(paragraph)
            if fresh:
                record = {"package": package, "paragraphs": fresh}
                (train if training_side else heldout).write(json.dumps(record) + "\n")
                where = (training_side, package)
                sizes[where] = sizes.get(where, 0) + sum(map(len, fresh))
    for (training_side, package), size in sorted(sizes.items(), key=lambda item: -item[1]):
        print(f"{'train' if training_side else 'heldout':8} {package:24} {size / 1e6:8.2f} MB")
    print(f"total {sum(sizes.values()) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
