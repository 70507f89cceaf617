#!/bin/bash
# A whole session as a person has it: open, sweep, budget, pins, lever, snapshot, Pareto plot, restore, undo tree, A/B of one
# question, explain, export, quit, resume.
# At two sizes, in colour, in monochrome and in ASCII. Few tokens: what is looked at is the way, not the figures.
# usage: test_tour.sh BUILD_DIR [--record]
set -u
cd "$(dirname "$0")/.." || exit 2
. tests/screens/lib.sh

# The screen with its colours and attributes, as escape sequences that can be read and compared.
coloured() { t capture-pane -e -p -t 0 | sed -E '1d; s/\x1b/^/g; s/(\^\[[0-9;]*m| )+$//'; }

# Without the time of the session, which the question says.
undated() { screen | sed -E 's/of [ 0-9]+ [A-Z][a-z]+ [0-9:]+:/of DD Mon HH:MM:/'; }

tour() { # COLS ROWS LOOK OPTIONS SETTING
    local look=$3
    start "$1" "$2"
    typed "clear; $5 $tq $model --text $text --tokens 512 --ctx 64 --tune-tokens 64 $4 --no-resume" && keys Enter
    wait_for 'rel.MSE' 'KLD     0 ' && settled
    keys m S # sorted as soon as there is something to sort by
    wait_for 'sorted by own KLD; S again'
    keys S
    wait_for 'as the model has them'
    keys g && settled && keys j # seen from the first row on
    keys b
    wait_for 'budget:' && typed 5.0 && keys Enter
    wait_for 'the uniform plan that fits' && settled
    compare "tour-$look-1-budget"
    keys g j j p j p && settled
    keys '>' && settled # each is evaluated to its end: the curve of KLD shows how many were
    keys '>'
    wait_for '5.20 b' && settled
    compare "tour-$look-2-lever"
    [ "$look" = ascii ] || compare "tour-$look-2-lever-looks" coloured
    typed ':snapshot first' && keys Enter
    wait_for 'snapshot: first'
    keys v
    wait_for '4 plans tried' 'on the front' && sleep 0.5 # a text that is cut looks like one that is still computed
    compare "tour-$look-3-plans"
    keys Home Enter
    wait_for 'restored:' && settled
    keys u && settled
    keys u && settled
    keys '*' 4
    wait_for '4.13 b' && settled
    keys U
    wait_for 'go there' && settled
    compare "tour-$look-4-tree"
    keys Escape
    wait_for '[Layers]'
    keys A
    wait_for 'both answer:' && typed 'What is the difference between 786 and 777' && keys Enter
    wait_for '[9]' 'x finds the layers' && settled
    compare "tour-$look-5-answers"
    keys x
    wait_for 'margin:' && settled
    compare "tour-$look-6-explained"
    keys Escape
    wait_for '[Layers]'
    keys U Up Enter # what was restored
    wait_for 'gone to: restore' && settled
    keys -
    typed ":export plan $look.json" && keys Enter
    wait_for "exported: $look.json" && settled
    keys V j j && settled
    compare "tour-$look-7-restored"
    keys q
    wait_for 'not saved'
    keys y
    wait_for 'ready>'
    typed "clear; $5 $tq $model --text $text --tune-tokens 64 $4" && keys Enter
    wait_for 'A session of this model' 'KLD     0 ' && settled
    compare "tour-$look-8-asks" undated
    keys r
    wait_for 'is known' && settled
    compare "tour-$look-9-resumed"
    keys W # the figures are the session's: the worst tokens have to be found again
    wait_for 'worst tokens' 'KLD   base'
    keys Escape
    keys q
    wait_for 'not saved'
    keys y
    wait_for 'ready>'
    stop
}

tour 160 50 colour "" ""
tour 80 24 ascii "" "LC_ALL=C"
if [ $slowness = 1 ]; then # the sanitizers have seen all of the code by now
    tour 160 50 mono "--scheme mono" ""
    tour 160 50 ascii "" "LC_ALL=C"
    tour 80 24 colour "" ""
    tour 80 24 mono "--scheme mono" ""
fi
echo "$compared screens compared, $failures failed"
[ "$failures" -eq 0 ]
