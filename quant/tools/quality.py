#!/usr/bin/env python3
"""The table of quant/README.md: what each way of coding costs, on a text that no code was fitted to.

    quant/tools/quality.py PROGRAM MODEL [--text FILE] [--questions FILE] [--calib FILE] [--tokens N]

Every row is one `tqexplore eval` of all matrices at one config; the table comes out as Markdown. Bits are the true
ones over the quantized matrices. The published method keeps its norms in 32 bits: ours count 16, and the difference is
added to its rows.
"""
import argparse
import json
import subprocess
import sys
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
]


def run(program, *words):
    done = subprocess.run([program, *words, "--json"], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(words)}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("model")
    parser.add_argument("--text")
    parser.add_argument("--questions")
    parser.add_argument("--calib")
    parser.add_argument("--tokens", default="32768")
    args = parser.parse_args()
    common = ["--tokens", args.tokens]
    for name in ("text", "questions"):
        if getattr(args, name):
            common += [f"--{name}", getattr(args, name)]
    calib = ["--calib", args.calib] if args.calib else []
    print("| config | bits/weight | rel. MSE | KLD | p99 | PPL | same top | questions | encode |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, config, options, norms in ROWS:
        plan = ["--set", f"*={config}", *options, *calib]
        begin = time.time()
        layers = run(args.program, "layers", args.model, *plan)
        seconds = time.time() - begin
        r = run(args.program, "eval", args.model, *plan, *common)
        mse = sum(x["rel_mse"] * x["rows"] * x["cols"] for x in layers["layers"])
        mse /= sum(x["rows"] * x["cols"] for x in layers["layers"])
        questions = f"{r['questions']['right']} of {r['questions']['of']}" if "questions" in r else ""
        print(f"| {name} | {r['bpw']['linear'] + norms * NORM_BITS:.3f} | {mse:.2e} | "
              f"{r['kld']['mean']:.5f} ± {r['kld']['stderr']:.5f} | {r['kld']['p99']:.4f} | {r['ppl']:.3f} | "
              f"{100 * r['same_top']:.2f} % | {questions} | {seconds:.1f} s |", flush=True)
    print(f"\nThe model as stored: PPL {r['ppl_base']:.3f}; {r['tokens']} tokens scored.")


if __name__ == "__main__":
    main()
