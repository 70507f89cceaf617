#!/usr/bin/env python3
"""The measured tables of kernels/README.md: `tqexplore bench` on a model of random weights, written between two markers.
There is a section for each machine that was measured; the one of this machine is written anew, or added.

    tests/make/make_bench.py PROGRAM README [--rounds N] [--shape H,F,B,A,K,V] [--cpu NAME ...]

Each table of kernels is one run, in which everything is measured in turn N times; what is printed are medians, and
medians of the ratios of a round. The machine should do nothing else meanwhile.
"""
import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import textwrap

BEGIN, END = "<!-- make bench -->\n", "<!-- end of make bench -->\n"
X86 = ["amx", "avx512", "avx-vnni", "avx2"]  # best first
LLAMA_418M = "1024,3072,28,16,8,32000"


def run(program, shape, rounds, cpu):
    words = [program, "bench", "--json", "--shape", shape, "--rounds", str(rounds)] + (["--cpu", cpu] if cpu else [])
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(words)}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def ratio(above, below, field):
    rounds = f"{field}_rounds"
    return statistics.median(a / b for a, b in zip(above[rounds], below[rounds]))


def encode_rate(r, bits, states=None):
    rates = [e["mweights_per_s"] for e in r["encode"]
             if e["bits"] == bits and e["group"] == 128 and (states is None or e["states"] == states)]
    return f"{rates[0]:,.0f}" if rates and rates[0] >= 10 else f"{rates[0]:.1f}" if rates else ""


def steady(d):
    """What was read and what was decoded, GB/s, of the slices that the machine read alike before and after."""
    return [(x["read_gbps"], x["gbps"]) for x in d["slices"] if x["steady"]]


def memory_states(r):
    """The machine's memory is one thing, or, where the host moves its guests about, slow at times and fast at others:
    [(least, most, median)] of what was read."""
    reads = sorted(read for d in r["decode"] for read, _ in steady(d))
    low, high = reads[len(reads) // 10], reads[-1 - len(reads) // 10]
    if high < 1.3 * low:
        return [(0, float("inf"), statistics.median(reads))]
    middle = (low + high) / 2
    return [(0, middle, statistics.median(x for x in reads if x < middle)),
            (middle, float("inf"), statistics.median(x for x in reads if x >= middle))]


def share(d, state):
    shares = [gbps / read for read, gbps in steady(d) if state[0] <= read < state[1]]
    return f"{100 * statistics.median(shares):.0f} % ({len(shares)})" if shares else ""


def speed_table(r):
    four = next(d for d in r["decode"] if d["bits"] == "4")
    states = memory_states(r)
    lines = [f"`{r['cpu']}`; memory is read at {r['read_gbps']:.1f} GB/s from ordinary pages, at "
             f"{r['read_huge_gbps']:.1f} GB/s from huge ones.", "",
             "| config | head | encode Mweights/s | decode tok/s | "
             + " | ".join(f"of {x[2]:.0f} GB/s" for x in states) + " | of that of `4` | prefill tok/s |",
             "|---" * (6 + len(states)) + "|"]
    for d, p in zip(r["decode"], r["prefill"]):
        trellis = d["bits"] == "4t"
        encode = encode_rate(r, d["bits"], 16 if trellis else None)
        if trellis:
            encode += f"; 256 states {encode_rate(r, '4t', 256)}"
        lines.append(f"| {d['bits']} | {d['head']} | {encode} | {d['tok_per_s']:.1f} | "
                     f"{' | '.join(share(d, x) for x in states)} | {100 * ratio(d, four, 'tok_per_s'):.0f} % | "
                     f"{p['tok_per_s']:.0f} |")
    return lines


def share_table(r):
    parts = list(r["decode"][0]["shares"])
    if not any(d["shares"]["deltanet"] for d in r["decode"]):
        parts.remove("deltanet")  # a Llama has none
    rows = [(f"decode {d['bits']}", d["shares"]) for d in r["decode"]]
    rows.append(("evaluation", r["evaluation"]["shares"]))
    lines = ["Where the time goes, in per cent:", "", f"| | {' | '.join(parts)} |", "|---" * (len(parts) + 1) + "|"]
    for name, shares in rows:
        lines.append(f"| {name} | " + " | ".join(f"{100 * shares[p]:.1f}" for p in parts) + " |")
    return lines


def evaluation_line(r):
    e = r["evaluation"]
    full, last = (statistics.median(a / b for a, b in zip(e[f"{x}_rounds"], e[f"{y}_rounds"]))
                  for x, y in (("full_seconds", "prefill_seconds"), ("last_block_seconds", "full_seconds")))
    return (f"KL divergence of {e['tokens']:.0f} tokens at `{e['bits']}` with the base model cached takes "
            f"{e['full_seconds']:.2f} s, {full:.2f} times a prompt of as many tokens in fp32; after a change in the last "
            f"block {last:.2f} of that.")


def with_section(measured, heading, text):
    """The sections of all machines, of which one is new."""
    sections = [("### " + s).split("\n", 1) for s in ("\n" + measured).split("\n### ")[1:]]
    bodies = {name: body.strip("\n") for name, body in sections}
    bodies[heading] = text.strip("\n")
    return "\n".join(f"{name}\n\n{body}\n" for name, body in bodies.items())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("readme")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shape", default=LLAMA_418M)
    parser.add_argument("--cpu", action="append", help="a table of kernels, repeatable (default: the best, and on x86-64 those below it)")
    args = parser.parse_args()
    load = os.getloadavg()[0]
    runs = [run(args.program, args.shape, args.rounds, cpu) for cpu in args.cpu or [None]]
    if not args.cpu and runs[0]["cpu"] in X86:
        runs += [run(args.program, args.shape, args.rounds, cpu) for cpu in X86[X86.index(runs[0]["cpu"]) + 1:]]
    first = runs[0]
    heading = f"### {first['machine']}, {first['threads']:.0f} threads"
    text = [f"Measured on {datetime.date.today().isoformat()}: a Llama of {first['model']['weights'] / 1e6:.0f} M random "
            f"weights (`--shape {args.shape}`); encoding with groups of 128. "
            f"Medians of {first['rounds']:.0f} rounds, in each of which everything is measured in turn; when it began the "
            f"load average was {load:.1f}. Shares of what memory gives are of the readings before and after some 40 ms of "
            f"decoding, medians of as many stretches as stand beside them; those are left out whose two readings differ "
            f"by more than a tenth.", ""]
    for r in runs:
        text += speed_table(r) + [""]
    text += share_table(first) + ["", evaluation_line(first)]
    text = [line if line.startswith("|") else textwrap.fill(line, 118) for line in text]
    readme = open(args.readme, encoding="utf-8").read()
    if BEGIN not in readme or END not in readme:
        sys.exit(f"{args.readme}: the markers {BEGIN.strip()} and {END.strip()} are missing")
    head, rest = readme.split(BEGIN, 1)
    measured, tail = rest.split(END, 1)
    with open(args.readme, "w", encoding="utf-8") as out:
        out.write(head + BEGIN + with_section(measured, heading, "\n".join(text)) + END + tail)


if __name__ == "__main__":
    main()
