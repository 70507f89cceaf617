#!/usr/bin/env python3
"""Budgets on a model: what is predicted against what is measured, and the solver's plans against random ones of the same
bits. Prints the tables of model/README.md.

usage: budgets.py TQEXPLORE MODEL [--tokens N] [--plans N] [--seed N] [-- OPTIONS OF tqexplore auto AND eval]
"""
import argparse
import json
import random
import statistics
import subprocess
import sys

AGAINST_RANDOM = (4.5, 5.0, 5.5, 6.56)
BUDGETS = (4.2, 4.35, 4.5, 4.75, 5.0, 5.25, 5.5, 6.0, 6.56, 7.0, 7.5, 8.5, 10.0)
CONFIGS = ("4t", "4+2", "4+4", "keep")


def run(program, *args):
    r = subprocess.run([program, *args, "--json"], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, check=False)
    if r.returncode:
        sys.exit("%s %s: status %d" % (program, " ".join(args), r.returncode))
    return json.loads(r.stdout)


def sizes(program, model):
    """Bytes of every matrix at every config of CONFIGS, and the weights of all."""
    table = []
    weights = 0
    for config in CONFIGS:
        layers = run(program, "layers", model, "--set", "*=" + config)["layers"]
        table.append([x["bytes"] for x in layers])
        weights = sum(x["rows"] * x["cols"] for x in layers)
        names = [x["name"] for x in layers]
    return names, list(zip(*table)), weights


def random_plan(table, budget, rng):
    """Every matrix gets a random config that still leaves room for the least of the others; then what is left is spent
    on random steps up, until nothing fits."""
    left = budget - sum(x[0] for x in table)
    plan = [0] * len(table)
    for i in rng.sample(range(len(table)), len(table)):
        fitting = [c for c in range(len(CONFIGS)) if table[i][c] - table[i][0] <= left]
        plan[i] = rng.choice(fitting)
        left -= table[i][plan[i]] - table[i][0]
    while True:
        steps = [i for i in range(len(table)) if plan[i] + 1 < len(CONFIGS)
                 and table[i][plan[i] + 1] - table[i][plan[i]] <= left]
        if not steps:
            return plan
        i = rng.choice(steps)
        left -= table[i][plan[i] + 1] - table[i][plan[i]]
        plan[i] += 1


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program")
    parser.add_argument("model")
    parser.add_argument("--tokens", default="32768")
    parser.add_argument("--plans", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("options", nargs="*")
    a = parser.parse_args()
    rng = random.Random(a.seed)
    auto = {}
    print("| bits/weight | predicted KLD | measured KLD | off by | uniform plan that fits, bits/weight | its KLD |")
    print("|---|---|---|---|---|---|")
    for bpw in BUDGETS:
        j = auto[bpw] = run(a.program, "auto", a.model, "--bpw", str(bpw), "--tokens", a.tokens, *a.options)
        s, u = j["solved"], j["uniform"]
        print("| %.3f | %.5f | %.5f ± %.5f | %+.1f %% | %.3f | %.5f |" % (
            s["bpw"], s["predicted"], s["measured"], s["stderr"], 100 * (s["predicted"] / s["measured"] - 1), u["bpw"],
            u["measured"]), flush=True)
    names, table, weights = sizes(a.program, a.model)
    print("\n| bits/weight | `auto` | mean of %d random plans | least of them | `auto` below the mean by |" % a.plans)
    print("|---|---|---|---|---|")
    for bpw in AGAINST_RANDOM:
        klds = []
        for _ in range(a.plans):
            plan = random_plan(table, bpw * weights / 8, rng)
            rules = [w for n, c in zip(names, plan) for w in ("--set", "%s=%s" % (n, CONFIGS[c]))]
            klds.append(run(a.program, "eval", a.model, "--tokens", a.tokens, *a.options, *rules)["kld"]["mean"])
        measured, mean = auto[bpw]["measured"], statistics.mean(klds)
        print("| %.2f | %.5f | %.5f | %.5f | %.0f %% |" % (
            bpw, measured, mean, min(klds), 100 * (1 - measured / mean)), flush=True)


main()
