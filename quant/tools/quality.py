#!/usr/bin/env python3
"""The table of quant/README.md: what each way of coding costs, on a text that no code was fitted to.

    quant/tools/quality.py PROGRAM MODEL [--text FILE] [--questions FILE] [--calib FILE] [--tokens N]

Every row is one `tqexplore eval`; the table comes out as Markdown, and below it what the rows are to each other. Bits
are the true ones over the quantized matrices. The published method keeps its norms in 32 bits: ours count 16, and the
difference is added to its rows. Mixed plans are those of `tqexplore auto`.

--peers DIR: models that other programs quantized, each a directory with the dequantized weights of MODEL's matrices
and a peer.json of "name", "of" (program and version), "bits_per_weight", "rel_mse", "encode_seconds". They are
evaluated by the same forward pass, against MODEL.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

NORM_BITS = 16 / 128  # what a 32-bit norm costs more than a 16-bit one, a weight, in groups of 128

ROWS = [
    # name, config, options, 32-bit norms
    ("published 4", "4", ["--residual", "independent"], 1),
    ("published 4+2", "4+2", ["--residual", "independent"], 2),
    ("published 4+4", "4+4", ["--residual", "independent"], 2),
    ("4", "4", [], 0),
    ("4t", "4t", [], 0),
    ("4t, 256 states", "4t", ["--states", "256"], 0),
    ("4+2", "4+2", [], 0),
    ("4+4", "4+4", [], 0),
    ("4, ldlq", "4", ["--calibrate", "ldlq"], 0),
    ("4t, ldlq", "4t", ["--calibrate", "ldlq"], 0),
    ("4t, 256 states, ldlq", "4t", ["--calibrate", "ldlq", "--states", "256"], 0),
    ("4+2, ldlq", "4+2", ["--calibrate", "ldlq"], 0),
    ("4+4, ldlq", "4+4", ["--calibrate", "ldlq"], 0),
    ("4t, ldlq-asym", "4t", ["--calibrate", "ldlq-asym"], 0),
    ("4t, 256 states, ldlq-asym", "4t", ["--calibrate", "ldlq-asym", "--states", "256"], 0),
    ("4t, groups of 64, ldlq", "4t:64", ["--calibrate", "ldlq"], 0),
    ("4t, groups of 256, ldlq", "4t:256", ["--calibrate", "ldlq"], 0),
    ("4t, one group a row, ldlq", "4t:row", ["--calibrate", "ldlq"], 0),
    ("4+2, one group a row, ldlq", "4+2:row", ["--calibrate", "ldlq"], 0),
    ("4+4, one group a row, ldlq", "4+4:row", ["--calibrate", "ldlq"], 0),
]

SOLVED = [
    # name, bits a weight, options
    ("solved for 4.5, ldlq", "4.5", ["--calibrate", "ldlq"]),
    ("solved for 6.56, ldlq", "6.56", ["--calibrate", "ldlq"]),
    ("solved for 8.5, ldlq", "8.5", ["--calibrate", "ldlq"]),
    ("solved for 4.5, 256 states, ldlq-asym", "4.5", ["--calibrate", "ldlq-asym", "--states", "256"]),
]

RATIOS = [
    # what, against what, at most
    ("4t, ldlq", "published 4", 0.47),
    ("4t, ldlq", "llama.cpp Q4_K", 1),
    ("4t, 256 states, ldlq", "published 4", 0.38),
    ("4t, 256 states, ldlq-asym", "published 4", 0.38),
    ("4+2, ldlq", "published 4+2", 0.48),
    ("4+4, ldlq", "published 4+4", 0.42),
    ("solved for 4.5, ldlq", "llama.cpp Q4_K", 0.6),
    ("solved for 6.56, ldlq", "llama.cpp Q6_K", 1),
    ("solved for 8.5, ldlq", "llama.cpp Q8_0", 1),
]


class Table:
    def __init__(self, args):
        self.program, self.model = args.program, args.model
        self.common = ["--tokens", args.tokens]
        for name in ("text", "questions"):
            if getattr(args, name):
                self.common += [f"--{name}", getattr(args, name)]
        self.calib = ["--calib", args.calib] if args.calib else []
        self.text = ["--text", args.text] if args.text else []
        self.kld = {}
        print("| config | bits/weight | rel. MSE | KLD | p99 | PPL | same top | questions | encode |")
        print("|---|---|---|---|---|---|---|---|---|")

    def row(self, name, bits, mse, r, seconds):
        self.kld[name] = r["kld"]["mean"]
        questions = f"{r['questions']['right']} of {r['questions']['of']}" if "questions" in r else ""
        print(f"| {name} | {bits:.3f} | {mse:.2e} | {r['kld']['mean']:.5f} ± {r['kld']['stderr']:.5f} | "
              f"{r['kld']['p99']:.4f} | {r['ppl']:.3f} | {100 * r['same_top']:.2f} % | {questions} | {seconds:.1f} s |",
              flush=True)
        self.last = r

    def plan(self, name, plan, norms=0):
        plan = [*plan, *self.calib]
        begin = time.time()
        layers = run(self.program, "layers", self.model, *plan)["layers"]
        seconds = time.time() - begin
        r = run(self.program, "eval", self.model, *plan, *self.common)
        mse = sum(x["rel_mse"] * x["rows"] * x["cols"] for x in layers) / sum(x["rows"] * x["cols"] for x in layers)
        self.row(name, r["bpw"]["linear"] + norms * NORM_BITS, mse, r, seconds)

    def solved(self, name, bits, options):
        with tempfile.TemporaryDirectory() as place:
            out = os.path.join(place, "plan.json")
            run(self.program, "auto", self.model, "--bpw", bits, *options, *self.calib, *self.text, "--out", out)
            self.plan(name, ["--plan", out])

    def peer(self, path):
        with open(os.path.join(path, "peer.json"), encoding="utf-8") as f:
            about = json.load(f)
        r = run(self.program, "eval", path, "--against", self.model, *self.common)
        self.row(about["name"], about["bits_per_weight"], about["rel_mse"], r, about["encode_seconds"])
        return about["of"]


def run(program, *words):
    done = subprocess.run([program, *words, "--json"], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(words)}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def ratios(kld):
    print("\n| KLD of | against | ratio | at most |\n|---|---|---|---|")
    for what, against, bar in RATIOS:
        if what in kld and against in kld:
            ratio = kld[what] / kld[against]
            print(f"| {what} | {against} | {ratio:.3f} | {bar}{'' if ratio <= bar else ', missed'} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("model")
    parser.add_argument("--text")
    parser.add_argument("--questions")
    parser.add_argument("--calib")
    parser.add_argument("--peers")
    parser.add_argument("--tokens", default="32768")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:  # so that every run calibrates and sweeps by itself
        os.environ["XDG_CACHE_HOME"] = os.environ["XDG_STATE_HOME"] = cache
        table = Table(args)
        for name, config, options, norms in ROWS:
            table.plan(name, ["--set", f"*={config}", *options], norms)
        stored = table.last
        for name, bits, options in SOLVED:
            table.solved(name, bits, options)
        peers = sorted(os.listdir(args.peers)) if args.peers else []
        of = {table.peer(os.path.join(args.peers, name)) for name in peers}
    ratios(table.kld)
    print(f"\nThe model as stored: PPL {stored['ppl_base']:.3f}; {stored['tokens']} tokens scored. "
          f"{'Others: ' + ', '.join(sorted(of)) + '.' if of else ''}")


if __name__ == "__main__":
    main()
