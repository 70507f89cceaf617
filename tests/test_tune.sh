#!/bin/bash
# sweep and auto from the command line: killed at random moments and gone on with, budgets kept, pins honoured.
# usage: test_tune.sh BUILD_DIR [SEED]
set -u
cd "$(dirname "$0")/.." || exit 2
tq=$(realpath "${1:?build directory}")/tqexplore
exec python3 - "$tq" "${2:-$RANDOM}" <<'PYTHON'
import json, os, random, shutil, signal, subprocess, sys, tempfile, time

sys.path.insert(0, "tests")
import checks
from checks import check

program, seed = sys.argv[1], int(sys.argv[2])
model = "samples/tiny-qwen3.5"
quick = ["--ctx", "64", "--tune-tokens", "64"]
work = tempfile.mkdtemp()
rng = random.Random(seed)


def environment(state):
    return dict(os.environ, XDG_STATE_HOME=os.path.join(work, state), XDG_CACHE_HOME=os.path.join(work, "cache"))


def run(state, *args):
    return subprocess.run([program, *args], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          env=environment(state))


def json_of(state, *args):
    r = run(state, *args, "--json")
    check(r.returncode == 0, "%s: status %d: %s" % (" ".join(args), r.returncode, r.stderr[:300]))
    return json.loads(r.stdout) if r.returncode == 0 else None


def refused(status, text, *args):
    r = run("a", *args)
    lines = r.stderr.splitlines()
    check(r.returncode == status and len(lines) == 1 and text in lines[0] and not r.stdout,
          "%s: status %d, expected %d and '%s': %s" % (" ".join(args), r.returncode, status, text, lines[:3]))
    return lines[0] if lines else ""


def journal(state):
    """The lines of the one journal there is, without the torn rest."""
    folder = os.path.join(work, state, "tqexplore")
    names = [n for n in os.listdir(folder) if not n.endswith(".lock")] if os.path.isdir(folder) else []
    if not names:
        return []
    check(len(names) == 1, "journals: %s" % names)
    return open(os.path.join(folder, names[0])).read().split("\n")[:-1]


# --- ten times killed, then finished: nothing lost, nothing taken twice, the same found ---
start = time.time()
whole = json_of("whole", "sweep", model, *quick)
seconds = time.time() - start
check(whole["measurements"] == 153 and whole["found"] == 0, "a whole sweep takes 153 measurements")
startup = time.time()
run("whole", "sweep", model, *quick)
startup = time.time() - startup
before, stops = [], 0
for i in range(10):
    p = subprocess.Popen([program, "sweep", model, *quick], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                         env=environment("killed"))
    time.sleep(startup + (seconds - startup) * rng.uniform(0, 0.16))
    p.send_signal(signal.SIGKILL)
    stops += p.wait() == -signal.SIGKILL
    after = journal("killed")
    check(after[:len(before)] == before, "kill %d: what was measured is still there" % i)
    before = after
check(stops >= 6, "only %d of 10 runs were killed at work" % stops)
folder = os.path.join(work, "killed", "tqexplore")
finished = json_of("killed", "sweep", model, *quick)
lines = journal("killed")
measured = [tuple(l.split()[1:4]) for l in lines if l.startswith("kld ")]
check(finished["found"] == sum(l.startswith("kld ") for l in before), "all that was kept was found")
check(len(measured) == 153 and len(set(measured)) == 153, "%d measurements, %d different" % (len(measured), len(set(measured))))
check(finished["matrices"] == whole["matrices"], "the same is found as without kills")
check(json_of("killed", "sweep", model, *quick)["found"] == 153, "a finished sweep is not taken again")

# --- what is damaged is dropped, not trusted ---
path = [os.path.join(folder, n) for n in os.listdir(folder) if not n.endswith(".lock")][0]
text = open(path).read().replace("4+4", "4+2", 1)[:-7]
open(path, "w").write(text)
again = json_of("killed", "sweep", model, *quick)
check(again["found"] == 151 and again["matrices"] == whole["matrices"], "found %d of 151" % again["found"])

# --- auto ---
common = ["auto", model, *quick, "--tokens", "128"]
os.rename(os.path.join(work, "whole"), os.path.join(work, "a"))
plan = os.path.join(work, "plan.json")
j = json_of("a", *common, "--bpw", "5", "--out", plan, "--pin", "3.*=4+4:64", "--pin", "*.k_proj=keep")
check(j["bpw"]["linear"] <= 5 and j["bpw"]["linear"] > 4.95, "5 bits/weight: %s" % j["bpw"])
check(j["kept"] == "solved" and j["measured"] == j["solved"]["measured"] <= j["uniform"]["measured"], "the better is kept")
check(j["uniform"]["bpw"] <= 5 and j["solved"]["gap"] < 1e-12, "uniform within the budget, solved exactly")
for m in j["matrices"]:
    if m["name"].endswith("k_proj"):
        check(m["bits"] == "keep", "pin of " + m["name"])
    elif ".3." in m["name"]:
        check(m["bits"] == "4+4" and m["group"] == 64, "pin of " + m["name"])
e = json_of("a", "eval", model, "--plan", plan, "--ctx", "64", "--tokens", "128")
check(e["kld"]["mean"] == j["measured"] and e["bytes"] == j["bytes"], "the plan that is saved is the one that was measured")
layers = {m["name"]: m for m in json_of("a", "layers", model, "--plan", plan)["layers"]}
check(sum(m["bytes"] for m in layers.values()) == j["solved"]["linear_bytes"], "bytes of the plan")
refused(1, "exists", *common, "--bpw", "5", "--out", plan)
refused(1, "matches none", *common, "--bpw", "5", "--pin", "nothing=4")
refused(2, "no bit config", *common, "--bpw", "5", "--pin", "*=9")
refused(2, "the target is missing", *common)
refused(2, "exclude each other", *common, "--bpw", "5", "--kld", "0.01")
refused(2, "--size 5MB: expected", *common, "--size", "5MB")
refused(2, "--plan is no option of auto", *common, "--bpw", "5", "--plan", plan)
for option, target in (("--bpw", "3"), ("--size", "4MiB"), ("--kld", "1e-9")):
    pins = ["--pin", "*=4"] if option == "--kld" else []
    line = refused(1, "the nearest possible is ", *common, option, target, *pins)
    nearest = line.split("nearest possible is ")[1].split()[0] + ("MiB" if option == "--size" else "")
    j = json_of("a", *common, option, nearest) if option != "--kld" else None
    check(j is None or j["measured"] > 0, "the nearest possible %s %s" % (option, nearest))
j = json_of("a", *common, "--size", "7.5MiB")
check(7.45 < j["bytes"]["total"] / 2**20 <= 7.5, "7.5 MiB of the whole model: %d bytes" % j["bytes"]["total"])
check(all(m["bits"] == "keep" for m in j["matrices"] if "embed" in m["name"]), "an embedding stays unless --ends or a pin says so")
ends = json_of("a", *common, "--size", "7.5MiB", "--ends")
check([m["bits"] for m in ends["matrices"] if "embed" in m["name"]] != ["keep"] and 7.45 < ends["bytes"]["total"] / 2**20 <= 7.5,
      "7.5 MiB with the embedding chosen")
check(ends["measured"] < j["measured"], "an embedding that is chosen too leaves more to the others")
pinned = json_of("a", *common, "--size", "7.5MiB", "--pin", "embed_tokens=4+4")
check([(m["bits"], m["group"]) for m in pinned["matrices"] if "embed" in m["name"]] == [("4+4", 128)] and
      7.45 < pinned["bytes"]["total"] / 2**20 <= 7.5, "an embedding that is pinned")
loose = json_of("a", *common, "--kld", "0.05")
tight = json_of("a", *common, "--kld", "0.01")
check(loose["measured"] <= 0.05 and tight["measured"] <= 0.01, "a KLD that is asked for is met")
check(tight["bytes"]["total"] > loose["bytes"]["total"], "less KLD takes more bytes")
j = json_of("a", *common, "--kld", "0")
check(j["measured"] == 0 and j["predicted"] == 0 and j["bpw"]["linear"] == 16, "no KLD at all is the model as stored")
j = json_of("a", *common, "--bpw", "4.5", "--calibrate", "ldlq", "--calib-tokens", "4096", "--force", "--out", plan)
saved = json.load(open(plan))
check(saved["calibrate"] == "ldlq" if "calibrate" in saved else "ldlq" in json.dumps(saved), "the plan says how it was calibrated")
check(j["measured"] <= j["uniform"]["measured"], "calibrated")

packed = os.path.join(work, "packed")
run("a", "export", model, "--set", "*=4", "--format", "tq", "--out", packed)
refused(1, "open the original model", "sweep", packed, *quick, "--tune-text", "samples/calib.txt")

# --- two at once share one sweep: each finds what the other took ---
pair = [subprocess.Popen([program, "sweep", model, *quick, "--json"], stdout=subprocess.PIPE, text=True,
                         env=environment("pair")) for _ in range(2)]
found = [json.loads(p.communicate()[0]) for p in pair]
check(sorted(f["found"] for f in found) == [0, 153], "two at once: found %s" % [f["found"] for f in found])
check(found[0]["matrices"] == found[1]["matrices"] == whole["matrices"], "two at once find the same")

shutil.rmtree(work)
print("--seed %d: %d checks, %d failed; a sweep took %.1f s" % (seed, checks.done, checks.failed, seconds))
sys.exit(checks.failed > 0)
PYTHON
