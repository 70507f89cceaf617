#!/bin/bash
# The explorer in a real terminal (tmux): keys go in, whole screens are compared with the recorded ones in screens/.
# usage: test_screen.sh BUILD_DIR [--record]
# --record writes the screens anew, to be looked at before they are committed.
set -u
cd "$(dirname "$0")/.." || exit 2
. tests/screens/lib.sh

# The tour of a user.
tour() { # COLS ROWS OPTIONS
    start "$1" "$2"
    typed "clear; $tq $model --no-resume --text $text $3" && keys Enter
    wait_for 'KLD     0 ± 0' && settled
    compare 1-open
    keys j j && settled
    compare 2-moved
    keys 4
    wait_for '*4 ' 'KLD     0.' && settled
    compare 3-one-matrix
    keys /
    wait_for 'filter /'
    typed mlp
    wait_for '24 of '
    compare 4-filter-typed
    keys Enter '*' 8
    wait_for '*4+4' && settled
    compare 5-filtered-set
    keys u && settled
    compare 6-undone
    keys C-r && settled
    keys Escape
    wait_for in_proj_qkv
    keys '-' j && settled
    keys Enter
    wait_for 'Enter choose   0' && settled
    compare 7-choose
    keys Escape
    keys c
    wait_for '[Chat]'
    typed 'What is 17 plus 25?' && keys Enter
    wait_for 'tok/s' && settled chat
    compare 8-chat
    keys Escape
    wait_for '[Layers]'
    keys '?'
    wait_for 'Change the plan' && settled
    compare 9-help
    keys q && settled
    keys s
    wait_for 'save plan as:'
    keys C-u
    typed tour.json && keys Enter
    wait_for 'saved: tour.json' && settled
    compare 10-saved
    keys q
    wait_for 'ready>'
    grep -q '4+4' "$work/$size/tour.json" || fail "$size: the saved plan says nothing of 4+4"
    stop
}

# Files, questions, resizing and the shell, once.
files() {
    start 120 40
    typed "stty -a >before; clear; $tq $model --no-resume --text $text --tokens 1024 --calib-tokens 8192 --plan ../80x24/tour.json; stty -a >after" && keys Enter
    wait_for 'plan ../80x24/tour.json' 'KLD     0.' && settled
    t resize-window -t 0 -x 100 -y 30 && settled
    compare resized-100x30
    t resize-window -t 0 -x 59 -y 19
    wait_for 'too small'
    t resize-window -t 0 -x 60 -y 20
    wait_for memory && settled
    compare resized-60x20
    t resize-window -t 0 -x 120 -y 40 && settled
    compare resized-back
    keys C
    wait_for '/weight ldlq' 'calibrate ldlq' && settled
    compare calibrated
    typed ":text $root/samples/calib.txt" && keys Enter
    wait_for 'flattered: calibrated on this very text' && settled
    typed ":text $text" && keys Enter
    wait_for 'text eval.txt' && settled
    keys u && settled
    keys 4
    wait_for '*4 ' && settled
    keys q
    wait_for 'not saved'
    compare asks
    keys n
    keys e
    wait_for 'opened again by tqexplore' && settled
    compare export
    keys t
    wait_for 'export to:'
    keys C-u
    typed packed && keys Enter
    wait_for 'exported: packed'
    typed ':export plan again.json' && keys Enter
    wait_for 'exported: again.json'
    keys e p
    wait_for 'export to:'
    keys C-u
    typed again.json && keys Enter
    wait_for 'exists. Overwrite?'
    keys n
    typed ':lo' && keys Tab
    wait_for ':load'
    typed '../80x24/to' && keys Tab
    wait_for ':load ../80x24/tour.json'
    keys Enter
    wait_for 'loaded: ../80x24/tour.json'
    typed ':set nothing.like.this=4' && keys Enter
    wait_for '! '
    keys '!'
    wait_for 'loaded: ../80x24/tour.json' 'exported: packed' 'nothing.like.this'
    keys q
    printf 'q\ny\n' | t load-buffer - # pasted text is no keys, even of a terminal that says where it ends
    t paste-buffer -p -t 0
    wait_for 'pasted text is not taken for keys'
    keys :
    printf 'set nothing=4\nq\ny\n' | t load-buffer -
    t paste-buffer -p -t 0
    wait_for ':set nothing=4 q y'
    keys C-c && settled
    keys C-z
    wait_for 'Stopped'
    typed 'clear; stty -a >stopped; fg' && keys Enter
    wait_for rel.MSE memory
    keys q
    wait_for 'ready>'
    local f
    for f in stopped after; do
        cmp -s "$work/$size/before" "$work/$size/$f" || fail "stty -a $f is not as before"
    done
    "$tq" layers "$work/$size/packed" >"$work/layers" 2>&1 || fail "the export does not open: $(cat "$work/layers")"
    stop
}

# A budget: what matrices cost is measured, a plan follows, two rows are pinned, the lever is moved. Few tokens: what is
# looked at is the way, not the figures.
tuning() { # COLS ROWS
    start "$1" "$2"
    typed "clear; $tq $model --no-resume --text $text --tokens 512 --ctx 64 --tune-tokens 64" && keys Enter
    wait_for 'KLD     0 ± 0' && settled
    keys b
    wait_for 'budget:' && typed 5.0 && keys Enter
    wait_for 'predicted' 'the uniform plan that fits' && settled
    compare tune-1-budget
    keys g j j p j p
    wait_for '■in_proj_z' && settled
    keys '>' '>'
    wait_for '5.20 b' && settled
    compare tune-2-lever
    keys S && settled
    compare tune-3-sorted
    keys S S u && settled
    typed ':snapshot first' && keys Enter
    wait_for 'snapshot: first'
    keys v && settled
    compare tune-4-plans
    keys End Enter && settled
    typed ':history tried.csv' && keys Enter
    wait_for 'plans written: tried.csv'
    typed ':history tried.csv' && keys Enter
    wait_for 'it is not overwritten'
    [ "$(wc -l <"$work/$size/tried.csv")" -ge 3 ] || fail "$size: the history has $(wc -l <"$work/$size/tried.csv") lines"
    keys b
    wait_for 'budget: 5.2 bits/weight'
    keys C-u && typed 3 && keys Enter
    wait_for 'the nearest possible is'
    keys q
    wait_for 'ready>'
    stop
}

tour 80 24 "--tokens 2048"
tour 120 40 "--tokens 1024"
tour 200 60 "--tokens 1024"
files
tuning 80 24
tuning 160 50
echo "$compared screens compared"
python3 "$screens/terminal.py" "$tq" "$model" "$text" $slowness || fail "terminal.py"
[ "$record" != --record ] || echo "recorded: look at them before they are committed (git diff tests/screens)"
echo "$failures failed"
[ "$failures" -eq 0 ]
