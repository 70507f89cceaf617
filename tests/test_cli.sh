#!/bin/bash
# The command line: exit statuses, one line of error, JSON, exports opened again, hostile models.
# usage: test_cli.sh BUILD_DIR
set -u
cd "$(dirname "$0")/.." || exit 2
tq=$(realpath "${1:?build directory}")/tqexplore
model=samples/tiny-qwen3.5
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
limit=1
nm "$tq" 2>/dev/null | grep -q __asan_init && limit=10 # sanitizers are slow, the limit is for what users run
failures=0
checks=0

fail() {
    failures=$((failures + 1))
    echo "FAILED: $*"
}

# status STATUS TEXT ARG...: runs, expects the exit status; for 1 and 2 exactly one line on stderr that holds TEXT.
status() {
    local want=$1 text=$2 got lines
    shift 2
    checks=$((checks + 1))
    timeout 120 "$tq" "$@" >"$work/out" 2>"$work/err" </dev/null
    got=$?
    [ "$got" -eq "$want" ] || fail "tqexplore $*: status $got, expected $want: $(head -c 400 "$work/err")"
    [ "$want" -eq 0 ] && return
    lines=$(wc -l <"$work/err")
    [ "$lines" -eq 1 ] || fail "tqexplore $*: $lines lines on stderr, expected 1"
    grep -qF -- "$text" "$work/err" || fail "tqexplore $*: no '$text' in: $(cat "$work/err")"
    [ -s "$work/out" ] && fail "tqexplore $*: something on stdout"
}

# json EXPRESSION: the last stdout is JSON, of which (as j) the Python expression holds.
json() {
    checks=$((checks + 1))
    python3 -c 'import json, sys
j = json.load(open(sys.argv[1]))
sys.exit(not eval(sys.argv[2]))' "$work/out" "$1" 2>>"$work/python" || fail "not true: $1: $(head -c 600 "$work/out")"
}

# value EXPRESSION: prints it.
value() {
    python3 -c 'import json, sys
j = json.load(open(sys.argv[1]))
print(repr(eval(sys.argv[2])))' "$work/out" "$1" 2>>"$work/python"
}

# --- the command line itself ---
status 0 '' --help
grep -q 'tqexplore eval' "$work/out" || fail "--help does not name eval"
status 0 '' --version
for c in layers eval chat export sweep auto bench; do
    status 0 '' $c --help
    grep -q -- '--threads' "$work/out" || fail "$c --help does not name --threads"
done
status 2 'MODEL is missing' layers
status 2 'MODEL is missing' eval --json
status 2 'unknown option --bogus' eval $model --bogus
status 2 'unknown option -x' eval $model -x
status 2 '--temp is no option of eval' eval $model --temp 1
status 2 '--format is no option of layers' layers $model --format tq
status 2 '--json is no option of the explorer' $model --json
status 2 'one argument too many: b' layers $model b
status 2 'evel: no command and no model' evel $model
status 2 '--ctx: expected' eval $model --ctx
status 2 '--ctx 3: expected' eval $model --ctx 3
status 2 '--ctx -8: expected' eval $model --ctx -8
status 2 '--ctx 8x: expected' eval $model --ctx=8x
status 2 '--ctx is given twice' eval $model --ctx 8 --ctx 16
status 2 '--json takes no value' eval $model --json=1
status 2 '--temp nan: expected' chat $model --prompt x --temp nan
status 2 '--top-k and --top-p need --temp' chat $model --prompt x --top-k 5
status 2 '--json needs --prompt' chat $model --json
status 2 '--base takes no plan' chat $model --base --set '*=4' --prompt x
status 2 '--out PATH is missing' export $model --format tq
status 2 '--format is missing' export $model --out "$work/x"
status 2 'plan, tq, hf, gguf, turboquant-model, llama.cpp, exllamav3, gptqmodel or mlx-lm' export $model --format zip --out "$work/x"
status 2 'need --text' export $model --format plan --out "$work/x" --ctx 64
status 2 'no bit config' layers $model --set '*=5'
status 2 'no group size' layers $model --set '*=4:100'
status 2 'expected GLOB' layers $model --set '*'
status 2 'keep takes no group' layers $model --set '*=keep:64'
status 2 'nested or independent' layers $model --residual other
status 2 '--shape is for a bench without MODEL' bench $model --shape 64,128,1,2,2,256
status 2 '--shape 64,128,1,3,2,256: expected' bench --shape 64,128,1,3,2,256
status 1 'matches none' layers $model --set 'nothing.*=4'
status 1 '/nonexistent' layers /nonexistent
status 1 'cannot open' layers $model --plan "$work/none.json"
status 1 'no text to evaluate' eval tests/data/logits/qwen3_5-tied
status 1 'no chat' chat tests/data/logits/qwen3_5-tied --prompt x
status 1 'at least one window' eval $model --text LICENSE --ctx 4000
status 1 'takes at most' eval $model --ctx 100000

# --- layers ---
status 0 '' layers $model --json
json "len(j['layers']) == 50 and all(x['bits'] == 'keep' and x['rel_mse'] == 0 and x['bpw'] == 16 for x in j['layers'])"
json "j['total']['bytes'] == j['total']['baseline_bytes'] == sum(x['bytes'] for x in j['layers'])"
json "[(x['name'], x['use']) for x in j['ends']] == [('model.embed_tokens', 'embedding and head')]" # the screen's 51st row
status 0 '' layers $model --json --set '*=4' --set 'mlp.*=4+2:64' --set '3.*=4+4:row'
json "set(x['bits'] for x in j['layers']) == {'4', '4+2', '4+4'}"
json "[x['bits'] for x in j['layers'] if '.3.' in x['name']] == 7 * ['4+4']"
json "all(x['group'] == {'4': 128, '4+2': 64, '4+4': 'row'}[x['bits']] for x in j['layers'])"
json "all(x['rel_mse'] < {'4': 1.1e-2, '4+2': 9e-4, '4+4': 9e-5}[x['bits']] and x['cosine'] > .99 for x in j['layers'])"
json "j['total']['bytes'] < j['total']['baseline_bytes'] / 2 and abs(j['total']['bpw'] - 8 * j['total']['bytes'] / sum(x['rows'] * x['cols'] for x in j['layers'])) < 1e-9"
status 0 '' layers $model
[ "$(wc -l <"$work/out")" -eq 54 ] || fail "the table has $(wc -l <"$work/out") lines, expected 54"

# --- eval ---
status 0 '' eval $model --json --tokens 2048
json "j['kld']['mean'] == 0 and j['kld']['max'] == 0 and j['same_top'] == 1 and j['ppl'] == j['ppl_base']"
json "j['tokens'] == 4 * 511 and j['bytes']['total'] == j['bytes']['baseline'] and j['bpw']['linear'] == 16"
status 0 '' eval $model --json --tokens 2048 --score-half
json "j['tokens'] == 4 * 255"
export XDG_CACHE_HOME=$work/cache
status 0 '' eval $model --json --tokens 2048 --set '*=4t'
plain=$(value "j['kld']['mean']")
status 0 '' eval $model --json --tokens 2048 --set '*=4t' --calibrate ldlq --calib-tokens 8192
json "0 < j['kld']['mean'] < 0.9 * $plain"
calibrated=$(value "j['kld']['mean']")
ls "$work"/cache/tqexplore/*.index >/dev/null 2>&1 || fail "no second moments in the cache"
status 0 '' eval $model --json --tokens 2048 --set '*=4t' --calibrate ldlq --calib-tokens 8192 --threads 1
json "j['kld']['mean'] == $calibrated"
status 0 '' eval $model --json --tokens 2048 --set '*=4t' --calibrate ldlq --calib-tokens 8192 --calib samples/eval.txt
grep -q 'calibrated on the text that is evaluated' "$work/err" || fail "no warning that both texts are the same"
status 0 '' eval $model --json --tokens 2048 --against $model
json "j['kld']['mean'] == 0 and j['kld']['max'] == 0 and j['against'] == '$model'"
status 0 '' eval $model --json --tokens 2048 --set '*=4'
four=$(value "j['kld']['mean']")
status 0 '' export $model --set '*=4' --format tq --out "$work/four"
status 0 '' eval "$work/four" --json --tokens 2048 --text samples/eval.txt --against $model
json "abs(j['kld']['mean'] / $four - 1) < 1e-6"
grep -q 'against itself' "$work/err" && fail "--against: figures are said to be against the export itself"
grep -q 'open the original' "$work/err" || fail "--against: not said that a packed export's plan is fixed"
status 1 'expected 256, 8 and 4096' eval $model --against tests/data/logits/qwen3_5-tied
status 1 'cannot open' eval $model --against "$work/none"
status 2 '--calibrate needs --residual nested' eval $model --set '*=4' --calibrate ldlq --residual independent
status 2 '--states 17: expected 16 or 256' eval $model --states 17
status 2 '--calib-tokens 5: expected' eval $model --calib-tokens 5
status 1 'no text to calibrate on' layers tests/data/logits/qwen3_5-tied --set '*=4' --calibrate ldlq
status 1 'cannot open' eval $model --set '*=4' --calibrate ldlq --calib "$work/none.txt"
head -n 8 samples/questions.jsonl >"$work/questions.jsonl"
status 0 '' eval $model --json --tokens 512 --questions "$work/questions.jsonl"
json "j['questions']['of'] == 8 and 6 <= j['questions']['right'] <= 8"
echo '{"prompt": "x"}' >>"$work/questions.jsonl"
status 1 'line 9' eval $model --tokens 512 --questions "$work/questions.jsonl"
: >"$work/empty.jsonl"
status 1 'holds no questions' eval $model --tokens 512 --questions "$work/empty.jsonl"
last=1
for bits in 4 4+2 4+4; do
    status 0 '' eval $model --json --tokens 2048 --set "*=$bits"
    json "0 < j['kld']['mean'] < $last / 4 and j['bytes']['total'] < j['bytes']['baseline'] and j['same_top'] > .8"
    last=$(value "j['kld']['mean']")
done

# --- plans and exports ---
plan=(--set '*=4' --set 'mlp.down_proj=4+2' --set '3.*=4+4:64')
status 0 '' export $model "${plan[@]}" --format plan --out "$work/plan.json" --text samples/eval.txt --tokens 2048
cp "$work/plan.json" "$work/out"
json "j['rules'] == ['*=4:128', 'mlp.down_proj=4+2:128', '3.*=4+4:64'] and j['figures']['kld']['stderr'] > 0"
kld=$(value "j['figures']['kld']['mean']")
status 0 '' eval $model --json --tokens 2048 --plan "$work/plan.json"
json "j['kld']['mean'] == $kld"
status 1 'exists' export $model "${plan[@]}" --format plan --out "$work/plan.json"
status 0 '' export $model "${plan[@]}" --format plan --out "$work/plan.json" --force
status 1 'made for tiny-qwen3.5' layers tests/data/logits/qwen3-tied --plan "$work/plan.json"
status 0 '' eval $model --json --tokens 2048 "${plan[@]}"
ppl=$(value "j['ppl']")
bytes=$(value "j['bytes']['quantized']")
status 0 '' export $model "${plan[@]}" --format tq --out "$work/tq" --json
json "j['format'] == 'tq'"
status 1 'exists' export $model "${plan[@]}" --format tq --out "$work/tq"
status 0 '' export $model "${plan[@]}" --format tq --out "$work/tq" --force
status 0 '' eval "$work/tq" --json --tokens 2048 --text samples/eval.txt
json "j['ppl'] == $ppl and j['bytes']['quantized'] == $bytes and j['kld']['mean'] == 0"
grep -q 'against itself' "$work/err" || fail "a packed export does not say what its figures are against"
status 1 'open the original' eval "$work/tq" --set '*=4' --text samples/eval.txt
status 1 'open the original' eval "$work/tq" --set '*=keep' --text samples/eval.txt
status 0 '' chat $model "${plan[@]}" --json --prompt 'What can you do?'
said=$(value "j['text']")
status 0 '' chat "$work/tq" --json --prompt 'What can you do?'
json "j['text'] == $said and j['tokens'] > 4 and j['tok_per_s'] > 0"
status 0 '' export $model "${plan[@]}" --format hf --out "$work/hf" --json
json "'note' not in j"
grep -q 'nothing was quantized' "$work/err" && fail "said to be quantized nowhere: $(cat "$work/err")"
status 0 '' export $model --format hf --out "$work/hf-kept" --json
json "'nothing was quantized' in j['note']"
grep -q 'note: nothing was quantized' "$work/err" || fail "not said that nothing was quantized: $(cat "$work/err")"
status 0 '' export "$work/tq" --format hf --out "$work/hf-packed"
grep -q 'nothing was quantized' "$work/err" && fail "a packed export is quantized: $(cat "$work/err")"
status 0 '' eval "$work/hf" --json --tokens 2048 --text samples/eval.txt
json "abs(j['ppl'] / $ppl - 1) < 2e-3" # weights rounded to bf16: 8 bits of mantissa
[ -z "$(find "$work" -name '*.tmp-*')" ] || fail "temporary files stay: $(find "$work" -name '*.tmp-*')"

# --- embedding and head: named, never meant by a glob that means matrices of blocks ---
status 0 '' layers $model --json --set '*=4' --set 'model.*=4+2'
json "[(x['name'], x['bits'], x['use']) for x in j['ends']] == [('model.embed_tokens', 'keep', 'embedding and head')]"
status 0 '' layers $model --json --set '*embed*=4:64'
json "[(x['bits'], x['group']) for x in j['ends']] == [('4', 64)] and {x['bits'] for x in j['layers']} == {'keep'}"
json "j['total']['bytes'] == j['total']['baseline_bytes']"
status 1 'tied to the embedding: name embed_tokens' layers $model --set 'lm_head=4'
status 0 '' layers tests/data/logits/llama-untied --json --set 'lm_head=4'
json "[(x['bits'], x['use']) for x in j['ends']] == [('keep', 'embedding'), ('4', 'head')]"
status 0 '' eval $model --json --tokens 2048 --set embed_tokens=4+4
json "0 < j['kld']['mean'] < 1e-3 and j['bpw']['linear'] == 16 and j['bpw']['model'] < 15.5"
ends=("${plan[@]}" --set embed_tokens=4+2)
status 0 '' eval $model --json --tokens 2048 "${ends[@]}"
ppl=$(value "j['ppl']")
total=$(value "j['bytes']['total']")
status 0 '' export $model "${ends[@]}" --format tq --out "$work/tq-ends"
status 0 '' eval "$work/tq-ends" --json --tokens 2048 --text samples/eval.txt
json "j['ppl'] == $ppl and j['bytes']['total'] == $total and j['kld']['mean'] == 0"
status 1 'open the original' eval "$work/tq-ends" --set 'embed_tokens=4' --text samples/eval.txt
status 0 '' export $model "${ends[@]}" --format plan --out "$work/ends.json"
status 0 '' eval $model --json --tokens 2048 --plan "$work/ends.json"
json "j['ppl'] == $ppl"
status 0 '' export $model "${ends[@]}" --format hf --out "$work/hf-ends"
status 0 '' eval "$work/hf-ends" --json --tokens 2048 --text samples/eval.txt
json "abs(j['ppl'] / $ppl - 1) < 2e-3"

# --- chat ---
status 1 'does not offer to switch thinking' chat $model --prompt x --think off
status 2 '--think maybe: expected on or off' chat $model --prompt x --think maybe
printf '\n{%% if x %%}' >"$work/bad.jinja"
status 1 'bad.jinja, line 2: endif is missing' chat $model --prompt x --chat-template "$work/bad.jinja"
printf '{{ messages[0].content | upper }}{%% if enable_thinking %%} {%% endif %%}' >"$work/upper.jinja"
status 0 '' chat $model --prompt x --chat-template "$work/upper.jinja" --think on --max-tokens 2
status 0 '' chat $model --base --json --prompt 'What is 2 + 3?' --max-tokens 2
json "j['tokens'] <= 2"
for i in 1 2; do
    status 0 '' chat $model --json --prompt 'hello' --temp 2 --seed 5
    value "j['text']" >"$work/said$i"
done
cmp -s "$work/said1" "$work/said2" || fail "the same seed gives two answers"
checks=$((checks + 1))
[ "$(printf 'hello\nWhat is 2 + 3?\n' | "$tq" chat $model 2>"$work/err" | wc -l)" -ge 2 ] || fail "a conversation from a pipe"

# --- bench ---
status 2 '--head 5: expected' bench --head 5
status 0 '' bench --json --rounds 2 --shape 256,512,2,4,2,512
json "[x['head'] for x in j['decode']] == ['keep', '4+4', '4+4', '4+4', '4+4'] and j['rounds'] == 2"
json "{x.get('states') for x in j['encode'] if x['bits'] == '4t'} == {16, 256}"
json "all(abs(sum(x['shares'].values()) - 1) < 1e-9 and x['shares']['rest'] >= 0 for x in [*j['decode'], j['evaluation']])"
json "len(j['evaluation']['full_seconds_rounds']) == 2 and j['evaluation']['shares']['kld'] > 0"
json "j['read_gbps'] > 0 and len(j['encode']) >= 3 and len(j['decode']) == len(j['prefill']) == 5"
json "all(x['tok_per_s'] > 0 and x['gbps'] > 0 for x in j['decode']) and all(x['mweights_per_s'] > 0 for x in j['encode'])"
status 0 '' bench --json --shape 256,512,2,4,2,512 --set '*=keep'
json "[(x['bits'], x['head']) for x in j['decode']] == [('plan', 'keep')] and 'evaluation' not in j"
status 0 '' bench --json --shape 256,512,2,4,2,512 --set '*=4' --head keep
json "[(x['bits'], x['head']) for x in j['decode']] == [('plan', 'keep')] and j['evaluation']['tokens'] == 512"
[ -z "$(find /tmp -maxdepth 1 -name 'tqexplore-bench-*' -newer "$work")" ] || fail "bench leaves its model behind"

# --- hostile models: status 1, one line that names the file, in time ---
python3 tests/make/make_hostile.py "$work/hostile" >/dev/null || fail "make_hostile.py"
python3 - "$tq" "$work/hostile" "$limit" <<'PYTHON' || fail "hostile models"
import json, os, subprocess, sys, time
program, out, limit = sys.argv[1], sys.argv[2], float(sys.argv[3])
bad = 0
cases = json.load(open(os.path.join(out, "cases.json")))
for case in cases:
    where = os.path.join(out, case["dir"])
    args = [a.replace("DIR", where) for a in case["args"]]
    if "eval" in args and "--text" not in args:
        args += ["--text", "samples/eval.txt"]
    start = time.time()
    try:
        r = subprocess.run([program] + args, capture_output=True, timeout=4 * limit, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        print("%s: still runs after %g s" % (case["dir"], 4 * limit))
        bad += 1
        continue
    seconds = time.time() - start
    lines = r.stderr.decode(errors="replace").splitlines()
    good = case["must_mention"] is None
    if good:
        ok = r.returncode == 0
    else:
        ok = r.returncode == 1 and len(lines) == 1 and case["must_mention"] in lines[0]
    if not ok or seconds > limit:
        bad += 1
        print("%s: status %d in %.2f s, must mention %r: %s" % (case["dir"], r.returncode, seconds, case["must_mention"], lines[:6]))
print("%d hostile models, %d wrong" % (len(cases), bad))
sys.exit(bad > 0 or len(cases) < 25)
PYTHON

echo "$checks checks, $failures failed"
[ "$failures" -eq 0 ]
