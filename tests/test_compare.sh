#!/bin/bash
# A/B, the worst tokens, several texts and questions in a real terminal (tmux), beside recorded screens; compare and eval
# from the command line: what they say of a plan that equals the base, and what they refuse.
# usage: test_compare.sh BUILD_DIR [--record]
set -u
cd "$(dirname "$0")/.." || exit 2
. tests/screens/lib.sh
export XDG_CACHE_HOME=$work/cache
parts='What is the difference between 786 and 777' # 4 bits answer it otherwise

differences() { # COLS ROWS
    start "$1" "$2"
    head -n 40 samples/questions.jsonl >"$work/questions.jsonl"
    typed "clear; $tq $model --no-resume --text $text --text $root/samples/calib.txt --calib $root/samples/calib.txt --tokens 1024 --ctx 128 --questions $work/questions.jsonl" && keys Enter
    wait_for 'KLD     0 ± 0' && settled
    keys '*' 4
    wait_for '50 matrices: ' 'KLD     0.' 'exact 9' && settled
    compare compare-1-cost
    typed ':snapshot four' && keys Enter
    wait_for 'snapshot: four'
    keys A
    wait_for 'both answer:' && typed "$parts" && keys Enter
    wait_for '[9]' 'x finds the layers' && settled
    compare compare-2-answers
    keys x
    wait_for 'margin:' && settled
    compare compare-3-explained
    keys g
    wait_for 'marked: the digits' && settled
    compare compare-4-rows
    keys 8 && settled
    keys A a a r
    wait_for 'a "four"' && settled
    compare compare-5-snapshot
    keys Escape
    wait_for '[Layers]'
    keys W
    wait_for 'base → plan' '%' && settled
    keys j x
    wait_for 'margin:' && settled
    compare compare-6-worst
    keys Escape T
    wait_for 'held out' 'tuning' && settled
    compare compare-7-texts
    keys Escape v && settled
    compare compare-8-plans
    keys Escape '*' 0
    wait_for '50 matrices: ' 'KLD     0 ± 0' && settled
    keys W
    wait_for 'none: the plan predicts every token' && settled
    keys Escape A a a r # base again
    wait_for 'no difference at all' && settled
    compare compare-9-control
    keys Escape
    wait_for '[Layers]'
    head -c 300 LICENSE >"$work/short.txt" # less than a window: one window of its own
    typed ":text +$work/short.txt" && keys Enter
    settled && keys T && settled
    screen | grep -qE 'short.txt +held out +[0-9]+ +0 ± 0' || fail "$size: a short text is not evaluated: $(screen)"
    keys Escape
    wait_for '[Layers]'
    keys q # the plan is what was opened
    wait_for 'ready>'
    stop
}

# status STATUS TEXT ARGUMENTS ...: the program ends so, and says TEXT on stderr.
status() {
    local want=$1 says=$2
    shift 2
    "$tq" "$@" >"$work/out" 2>"$work/err"
    local got=$?
    { [ $got -eq "$want" ] && { [ -z "$says" ] || grep -qF -- "$says" "$work/err"; }; } || fail "status $got, not $want, of $*: $(head -n 3 "$work/err")"
}

json() { python3 -c "import json, sys; j = json.load(open('$work/out')); sys.exit(0 if ($1) else 1)" || fail "not so: $1"; }

commands() {
    status 0 '' compare "$model" --b base --prompt "$parts" --explain --json
    json "not j['diverged'] and j['kld'] == 0 == j['kld_in_common'] and j['a']['text'] == j['b']['text']"
    json "j['explain']['flips_alone'] == 0 and j['explain']['shortest_prefix'] is None and j['explain']['matrices'] == []"
    status 0 '' compare "$model" --set '*=keep' --prompt "$parts" --temp 1 --seed 3 --explain --json
    json "not j['diverged'] and j['kld'] == 0 and 'nothing flips' in j['explain']['verdict'][0]"
    status 0 '' export "$model" --set '*=4' --format plan --out "$work/four.json"
    status 0 '' compare "$model" --a "$work/four.json" --set '*=4' --prompt "$parts" --explain --json
    json "not j['diverged'] and j['kld'] == 0 and j['explain']['flips_alone'] == 0"
    status 0 '' compare "$model" --b "$work/four.json" --prompt "$parts" --explain --json
    json "j['diverged'] and j['kld'] > 0 and j['a']['token']['id'] != j['b']['token']['id']"
    json "j['a']['text'][:j['a']['token']['begin']] == j['b']['text'][:j['b']['token']['begin']]"
    json "len(j['a']['token']['top']) == 5 and j['explain']['bisection_tips_at'] is not None"
    json "len(j['explain']['alone']) == 8 and len(j['explain']['prefix']) == 9 and j['explain']['prefix'][8]['flips']"
    status 2 'neither side is the plan' compare "$model" --b base --set '*=4' --prompt x
    status 2 '--prompt TEXT is missing' compare "$model"
    status 1 'cannot open' compare "$model" --b "$work/none.json" --prompt x
    status 1 'tokens, the model takes at most' compare "$model" --prompt "$(head -c 400000 samples/calib.txt | tr -d '\000' | head -c 120000)"

    # The control: a plan equal to the base is 0 in every figure.
    head -n 20 samples/questions.jsonl >"$work/questions.jsonl"
    status 0 '' export "$model" --set '*=keep' --format plan --out "$work/base.json"
    status 0 '' eval "$model" --plan "$work/base.json" --before "$work/base.json" --text samples/eval.txt --text samples/README.md --tokens 1024 --ctx 128 --worst 5 --questions "$work/questions.jsonl" --json
    json "j['kld']['mean'] == 0 == j['kld']['max'] and j['worst'] == [] and j['questions']['difference'] == 0"
    json "all(t['kld'] == 0 == t['stderr'] and t['change']['kld'] == 0 == t['change']['stderr'] for t in j['texts'])"
    json "[t['role'] for t in j['texts']] == ['held out', 'held out', 'tuning'] and j['only_tuning_improves'] is False"
    # What is predicted and measured without any loss, and own KLD: test_tune.sh, test_tune.c.

    status 0 '' eval "$model" --set '*=4' --tokens 1024 --ctx 128 --worst 3 --json
    json "len(j['worst']) == 3 and j['worst'][0]['kld'] == j['kld']['max'] >= j['worst'][1]['kld'] >= j['worst'][2]['kld']"
    json "all(len(w['base']) == 5 == len(w['plan']) and w['window'] <= w['position'] for w in j['worst'])"
    status 0 '' eval "$model" --set '*=4' --tokens 1024 --ctx 128 --worst 1 --explain
    grep -qE '^ +base +plan$' "$work/out" || fail "not said which column is whose: $(cat "$work/out")"
    grep -qE "^margin .*base's .*plan's: base \+[0-9.]+, plan -[0-9.]+$" "$work/out" || fail "margins are not those of base and plan: $(cat "$work/out")"
    status 2 'needs --worst' eval "$model" --explain
    status 2 'whole number from 1 to 64' eval "$model" --worst 65
    status 1 'expected at least one window' eval "$model" --text samples/eval.txt --text LICENSE --ctx 4096 --tokens 0
}

commands
differences 80 24
[ $slowness != 1 ] || differences 160 50 # not under sanitizers again
echo "$compared screens compared"
[ "$record" != --record ] || echo "recorded: look at them before they are committed (git diff tests/screens)"
echo "$failures failed"
[ "$failures" -eq 0 ]
