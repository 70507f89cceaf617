# lib.sh - the explorer in a real terminal (tmux): keys go in, whole screens are compared with the recorded ones. Sourced
# by the tests with BUILD_DIR [--record] as their arguments.
root=$PWD
tq=$(realpath "${1:?build directory}")/tqexplore
record=${2:-}
model=$root/samples/tiny-qwen3.5
text=$root/samples/eval.txt
screens=$root/tests/screens
work=$(mktemp -d)
terminals=0
socket=tqexplore-test-$$
slowness=1
nm "$tq" 2>/dev/null | grep -q __asan_init && slowness=15
patience=$((60 * slowness)) # seconds after which a text will not come any more
failures=0
compared=0
for tool in tmux python3 tput; do
    command -v $tool >/dev/null || { echo "FAILED: $tool is needed"; exit 1; }
done
export LANG=C.UTF-8 XDG_STATE_HOME=$work/state
unset LC_ALL LC_CTYPE NO_COLOR TMUX

t() { tmux -L "$socket" -f /dev/null "$@"; }
trap 't kill-server 2>/dev/null; rm -rf "$work"' EXIT

fail() {
    failures=$((failures + 1))
    echo "FAILED: $*"
}

keys() { t send-keys -t 0 "$@"; }
typed() { t send-keys -t 0 -l "$1"; }
screen() { t capture-pane -p -t 0; }

# wait_for TEXT ...: until all stand on the screen; ends the test when they never do.
wait_for() {
    local end=$((SECONDS + patience)) text missing
    while :; do
        screen >"$work/now"
        missing=
        for text in "$@"; do grep -qF -- "$text" "$work/now" || missing=$text; done
        [ -z "$missing" ] && return
        [ $SECONDS -lt $end ] || break
        sleep 0.05
    done
    fail "'$missing' does not come:"
    cat "$work/now"
    exit 1
}

# Until nothing is computed any more and the screen stays as it is. Ctrl-L takes messages away, which go by themselves.
settled() {
    local end=$((SECONDS + patience)) same=0
    [ "${1:-}" = chat ] || keys C-l
    : >"$work/before"
    while [ $same -lt 4 ] && [ $SECONDS -lt $end ]; do
        sleep 0.05
        screen >"$work/now"
        # A worst token stands in brackets, behind what may begin with the sign that a figure is still to come.
        if cmp -s "$work/now" "$work/before" &&
            ! grep -vE '…[^│]*\[' "$work/now" | grep -qE '(quantizing|evaluating|exporting|sweeping|comparing) [━╸─]|measuring|[ ~]…'
        then same=$((same + 1)); else same=0; fi
        cp "$work/now" "$work/before"
    done
    [ $same -ge 4 ] || fail "the screen never rests: $(cat "$work/now")"
}

# What legitimately varies: the kernels and threads of the header, rates, times.
masked() {
    sed -E -e '1s/ +plan ([^ ]+) .*text / plan \1 text /' \
        -e 's/[0-9.]+ MiB, (< 1|in all [0-9]+) % of memory +/N /' -e 's/ +[0-9]+ tok +[0-9,]+ tok\/s/ N tok  N tok\/s/' -e 's/ [0-9]+:[0-9][0-9]  / M:SS  /' -e 's/ +$//'
}

# compare NAME [COMMAND]: the screen now (or what the command prints of it) against screens/SIZE-NAME.txt.
compare() {
    local file=$screens/$size-$1.txt
    compared=$((compared + 1))
    ${2:-screen} | masked >"$work/screen"
    if [ "$record" = --record ]; then
        cp "$work/screen" "$file"
    elif ! python3 "$screens/compare.py" "$file" "$work/screen"; then
        fail "$size: $1 differs from $file"
    fi
}

# start COLS ROWS: a shell in a new terminal, in a directory of its own.
start() {
    size=$1x$2
    socket=tqexplore-test-$$-$((++terminals)) # a server that ends may still hold its own
    mkdir -p "$work/$size"
    t new-session -d -x "$1" -y "$2" -c "$work/$size" "PS1='ready> ' exec bash --norc --noprofile --noediting -i"
    t set-option -g status off >/dev/null
    t resize-window -t 0 -x "$1" -y "$2"
    wait_for 'ready>'
}

stop() { t kill-server; while t list-sessions >/dev/null 2>&1; do sleep 0.05; done; }
