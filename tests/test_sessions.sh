#!/bin/bash
# The session that is never lost, in a real terminal (tmux): killed at random moments after keys and resumed, beside a twin
# that nobody kills; two at once; other, changed and hostile files; set aside and opened again.
# usage: test_sessions.sh BUILD_DIR [SEED]
set -u
cd "$(dirname "$0")/.." || exit 2
tq=$(realpath "${1:?build directory}")/tqexplore
exec python3 - "$tq" "${2:-$RANDOM}" <<'PYTHON'
import glob, os, random, re, shutil, signal, subprocess, sys, tempfile, time

sys.path.insert(0, "tests")
import checks
from checks import check

program, seed = sys.argv[1], int(sys.argv[2])
model = os.path.realpath("samples/tiny-qwen3.5")
work = tempfile.mkdtemp()
rng = random.Random(seed)
slow = b"__asan_init" in open(program, "rb").read()
PATIENCE = 300 if slow else 60
ROUNDS = 4 if slow else 10


class Program:
    """The explorer in a tmux of its own, with a state directory of its own unless one is given."""

    count = 0

    def __init__(self, *args, state=None, **how):
        self.state = state or os.path.join(work, "state-%d" % (Program.count + 1))
        self.start(*args, **how)

    def tmux(self, *args):
        return subprocess.run(["tmux", "-L", self.socket, "-f", "/dev/null", *args], capture_output=True, text=True).stdout

    def start(self, *args, where=model, text="samples/eval.txt", cols=99, rows=40):
        Program.count += 1  # a server that ends may still hold its socket
        self.socket = "tqexplore-sessions-%d-%d" % (os.getpid(), Program.count)
        environment = {k: v for k, v in os.environ.items() if k not in ("TMUX", "LC_ALL", "LC_CTYPE", "NO_COLOR")}
        environment.update(LANG="C.UTF-8", XDG_STATE_HOME=self.state)
        command = [program, where, *(["--text", text] if text else []), "--ctx", "64", "--tokens", "64", *args]
        for attempt in range(20):  # the server of before may be just going
            started = subprocess.run(["tmux", "-L", self.socket, "-f", "/dev/null", "new-session", "-d", "-x", str(cols),
                                      "-y", str(rows), *command], env=environment, capture_output=True)
            if started.returncode == 0:
                break
            time.sleep(0.1)
        else:
            raise RuntimeError("tmux does not start: %s" % started.stderr)
        self.tmux("set-option", "-g", "status", "off")
        self.tmux("set-option", "-g", "remain-on-exit", "on")
        self.tmux("resize-window", "-t", "0", "-x", str(cols), "-y", str(rows))

    def pid(self):
        return int(self.tmux("display-message", "-p", "-t", "0", "#{pane_pid}"))

    def screen(self):
        return self.tmux("capture-pane", "-p", "-t", "0").rstrip("\n").split("\n")

    def key(self, *keys):
        """Keys, or tuples of keys."""
        for k in (k for part in keys for k in (part if isinstance(part, tuple) else (part,))):
            self.tmux("send-keys", "-t", "0", *(["-l", k] if len(k) == 1 else [k]))

    def type(self, text):
        self.tmux("send-keys", "-t", "0", "-l", text)

    def wait(self, *texts, gone=()):
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            screen = "\n".join(self.screen())
            if all(t in screen for t in texts) and not any(t in screen for t in gone):
                return screen
            time.sleep(0.03)
        print("FAILED: %s does not come (seed %d):\n%s" % (texts, seed, "\n".join(self.screen())))
        sys.exit(1)

    def kill(self):
        os.kill(self.pid(), signal.SIGKILL)
        self.end()

    def end(self):
        end = time.monotonic() + PATIENCE
        while self.tmux("display-message", "-p", "-t", "0", "#{pane_dead}").strip() == "0" and time.monotonic() < end:
            time.sleep(0.01)
        self.tmux("kill-server")

    def files(self):
        return [f for f in glob.glob(os.path.join(self.state, "tqexplore", "sessions", "*")) if not f.endswith(".lock")]


def what_counts(screen):
    """Without what time decides: messages, KLD and perplexity and how they came, and figures that are still computed."""
    lines = [l for l in screen[:-1] if not re.match("│ (KLD|PPL) ", l)]
    return [re.sub(r"~?\d\.\de-\d *.? *│$", "│", l) for l in lines]


def settled(p, like=None):
    """The screen once it rests, or once it is that of `like`."""
    end = time.monotonic() + (PATIENCE if like is None else 5 + PATIENCE / 10)
    before, same = None, 0
    while time.monotonic() < end:
        screen = p.screen()
        now = what_counts(screen)
        if now == like:
            return now
        busy = re.search("(quantizing|evaluating) [━╸─]|[ ~]…", "\n".join(screen))
        same = same + 1 if now == before and not busy and "rel.MSE" in "\n".join(screen) else 0
        if same >= 4:
            return now
        before = now
        time.sleep(0.03)
    return before


# --- killed after random keys ---
steps = [["j"], ["j", "j"], ["k"], ["Down", "Down", "Down"], ["4"], ["8"], ["6"], ["0"], ["["], ["]"], ["Space"], ["p"],
         ["-"], ["z"], ["Z"], ["u"], ["C-r"], ["*"], ["G"], ["g"], ["/", "m", "l", "p", "Enter"], ["/", "C-u", "Enter"],
         ["Escape"], ["c", "h", "e", "y", "Escape"], ["c", "BSpace", "Escape"], ["B"], [("U", "k", "k", "Enter")], ["u", "5"],
         [":", "s", "e", "t", " ", "3", ".", "*", "=", "4", "Enter"]]
# U and what follows is one: a list that is open is closed after a resume.
started = time.monotonic()
main, twin = Program("--no-resume"), Program("--no-resume")
for p in (main, twin):
    p.wait("rel.MSE", "KLD     0 ± 0")
lost = 0
for i in range(ROUNDS):
    keys = [k for _ in range(rng.randint(2, 5)) for k in rng.choice(steps)]
    cut = rng.randrange(len(keys))
    for p in (main, twin):
        for k in keys[:cut]:
            p.key(k)
            time.sleep(0.04)  # Escape and a key in one go are Meta
    before = settled(twin)
    check(settled(main, before) == before, "round %d: the twin shows the same" % i)
    main.key(keys[cut])
    time.sleep(rng.uniform(0, 0.05))
    main.kill()
    twin.key(keys[cut])
    time.sleep(0.1)
    after = settled(twin)
    main.start("--resume")
    main.wait("rel.MSE")
    now = settled(main, after)
    if now != after:
        lost += 1
        check(now == before, "round %d of seed %d: more than %s is lost after %s\n%s\n--- expected\n%s" %
              (i, seed, keys[cut], keys[:cut], "\n".join(now), "\n".join(after)))
        main.key(keys[cut])
        settled(main, after)
    for p in (main, twin):  # the same place to begin the next round from
        p.key("Escape")
        time.sleep(0.05)
        p.key("Escape")
        time.sleep(0.05)
killed_in = time.monotonic() - started
print("killed %d times: the last key was lost %d times; %.0f s" % (ROUNDS, lost, killed_in), flush=True)
twin.kill()

# --- the question; new keeps the former one; it is opened again by name ---
main.key("4", "6")  # random keys may have left nothing that is worth a question
changed = settled(main)
main.kill()
main.start()
main.wait("A session of this model", "r  resume it")
main.key("x", "4")
main.key("n")
main.wait("rel.MSE", "the former session is kept", gone=["A session of this model"])
main.key("g", "j", "8")
main.wait("*4+4")
main.key("q")
main.wait("not saved")
main.key("y")
main.end()
aside = [f for f in main.files() if not f.endswith(".session")]
check(len(aside) == 1 and len(main.files()) == 2, "set aside: %s" % main.files())
main.start()
main.wait("A session of this model")
main.key("q")
main.end()
main.start()
main.wait("A session of this model")  # quitting decided nothing
main.key("r")
main.wait("*4+4", "resumed: 1 change")
other = Program(state=main.state)  # two at once
other.wait("kept apart from its", gone=["A session of this model"])
other.key("G", "4")
other.wait("*4 ")
other.kill()
main.kill()
main.start("--session", aside[0])
main.wait("resumed:")
now = settled(main, changed)
check(now == changed, "the session that was set aside is as it was left:\n%s\n--- expected\n%s" % ("\n".join(now), "\n".join(changed)))
main.kill()

# --- branches, other texts and questions come back; questions that have changed since take their scores with them ---
few = os.path.join(work, "few.jsonl")
questions = open("samples/questions.jsonl").read().split("\n")[:20]
open(few, "w").write("\n".join(questions))
p = Program("--no-resume")
p.wait("KLD     0 ± 0")
p.key(*list(":questions " + few), "Enter")
p.wait("of 20")
p.key(*list(":text +samples/README.md".replace("samples", os.path.dirname(model))), "Enter")
p.key("T")
p.wait("README.md", "held out", gone=["…"])
p.key("Escape")
time.sleep(0.1)
p.key("*", "4")
p.wait("50 matrices: 4", "of 20")
p.key("u", "6")
p.wait("6.13 b", "of 20")
settled(p)  # the figures of all three are known
p.key("U")
tree = p.wait("├─○ 50 matrices → 4", "● 50 matrices → 4+2").split("\n")[1:7] # not what goes on below it
p.kill()
p.start("--resume")
p.wait("resumed: 2 changes", "of 20")
settled(p)
p.key("U")
check(p.wait("├─○ 50 matrices → 4", "● 50 matrices → 4+2").split("\n")[1:7] == tree, "the tree is as it was:\n%s\n--- now\n%s" % ("\n".join(tree), "\n".join(p.screen()[1:7])))
p.key("Escape")
time.sleep(0.1)
p.key("T")
p.wait("README.md", "held out", gone=["…"])
p.key("Escape")
time.sleep(0.1)
p.key("v")
p.wait("3 plans tried", "exact")
p.key("Escape")
p.kill()
open(few, "w").write("\n".join(questions[:19]))
p.start("--resume")
p.wait("the scores of the session are forgotten", "of 19")
p.kill()

# --- files of others, changed models, and hostile files: one line says why, and the model opens ---
def fnv(data):
    h = 0xCBF29CE484222325
    for b in data:
        h = (h ^ b) * 0x100000001B3 % 2**64
    return h


def line(key, value):
    data = ("%s %s" % (key, value)).encode()
    return data + b" %016x\n" % fnv(data)


good = open(aside[0], "rb").read()
header = good.split(b"\n")[0] + b"\n"
last = {l.split(b" ")[0].decode(): l.split(b" ", 1)[1].rsplit(b" ", 1)[0].decode() for l in good.split(b"\n")[:-1]}
whole = lambda **other: b"".join(line(k, v) for k, v in {**last, **other}.items())
hostile = {
    "empty": b"", "cut": header[:40], "binary": bytes(range(256)) * 40, "zeros": bytes(4096),
    "a damaged line": good.replace(b"marked", b"narked", 1),
    "no plan": header, "types": whole(view="[]"), "marks": whole(view=last["view"].replace('"marked":[', '"marked":[99999,')),
    "a pin of -1": whole(tune=last["tune"].replace('"pinned":[', '"pinned":[-1,')),
    "a plan of 10^9 matrices": whole(s1=re.sub('"choices":"[^"]*"', '"choices":"4:128*999999999"', last["s1"])),
    "its own parent": whole(s1=last["s1"].replace('"parent":0', '"parent":1')),
    "texts": whole(texts='[{"path":7}]'), "9 texts": whole(texts="[" + ",".join(['{"path":"x"}'] * 9) + "]"),
    "questions": whole(questions='{"path":"x","hash":"short"}'),
    "more right than asked": whole(s1=last["s1"].replace('"parent":0', '"parent":0,"score":{"right":3,"of":2}')),
    "deep": whole(talk="[" * 20000), "UTF-8": header + line("talk", "X").replace(b"X", b"\xff"),
    "format 3": line("tqexplore-session", last["tqexplore-session"].replace('"format":2', '"format":3')),
    "another model": line("tqexplore-session", re.sub('"model":"[^"]*"', '"model":"/somewhere/else"',
                          re.sub('"hash":"[^"]*"', '"hash":"0123456789abcdef"', last["tqexplore-session"]))),
}
for name, data in hostile.items():
    path = os.path.join(work, "hostile.session")
    open(path, "wb").write(data)
    p = Program("--session", path, cols=230, rows=24)
    screen = p.wait("rel.MSE", "the session is not resumed: ")
    wanted = {"another model": "it is of another model, /somewhere/else", "a damaged line": "is damaged",
              "format 3": "format 3, expected 2"}.get(name, "")
    said = [l for l in screen.split("\n") if "not resumed" in l]
    check(len(said) == 1 and wanted in said[0], "%s: %s" % (name, said))
    check(open(path, "rb").read() == data, "%s: a file that is refused stays as it is" % name)
    p.key("j", "4")
    p.wait("*4 ")
    p.key("q")
    p.wait("not saved")
    p.key("y")
    p.end()
copy = os.path.join(work, "copy")
shutil.copytree(model, copy)
# --- a model that has no text of its own: that of the session comes back, from wherever it was ---
p = Program(where=copy, text="samples/calib.txt")
p.wait("text calib.txt", "KLD     0 ± 0")
p.key("j", "4")
p.wait("*4 ", "KLD     0.")
p.kill()
p.start(where=copy, text=None)
p.wait("A session of this model")
time.sleep(0.5)  # what the worker had to say is heard before the answer
p.key("r")
p.wait("*4 ", "text calib.txt", "KLD     0.")
p.key("W")
p.wait("KLD   base → plan")
p.kill()
p = Program(where=copy, cols=230, rows=24)
p.wait("rel.MSE")
p.key("j", "4")
p.wait("*4 ")
p.kill()
weights = os.path.join(copy, "model.safetensors")
with open(weights, "r+b") as f:
    f.seek(-64, 2)
    f.write(b"changed!")
p.start(where=copy, cols=230, rows=24)
p.wait("rel.MSE", "it is kept: --session")
p.key("!")
said = p.wait("Messages", "not resumed")
check("the model has" in said and "changed since (it was" in said, "the reason is said: " + said)
check(len(p.files()) == 2, "the session of the changed model is kept aside: %s" % p.files())
p.kill()
shutil.rmtree(work)
print("--seed %d: %d checks, %d failed" % (seed, checks.done, checks.failed))
sys.exit(checks.failed > 0)
PYTHON
