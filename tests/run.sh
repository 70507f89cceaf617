#!/bin/bash
# Runs every test binary and test script; prints one closing line and exits 1 when any failed.
# usage: tests/run.sh BUILD_DIR [NAME ...]      NAME: test_quant, test_cli.sh, ... (default: all)
set -u
cd "$(dirname "$0")/.." || exit 2
build=${1:?build directory}
shift
passed=0
failed=0
bad=

run_one() { # name, command...
    local name=$1 log="$build/tests/$1.log" start=$SECONDS
    shift
    if "$@" >"$log" 2>&1; then
        passed=$((passed + 1))
        printf 'ok    %-24s %3d s  %s\n' "$name" $((SECONDS - start)) "$(grep -aE '\[  PASSED  \]' "$log" | tail -n 1)"
    else
        failed=$((failed + 1))
        bad="$bad $name"
        printf 'FAIL  %-24s %3d s  (%s)\n' "$name" $((SECONDS - start)) "$log"
        tail -n 60 "$log"
    fi
}

mkdir -p "$build/tests"
names=("$@")
if [ ${#names[@]} -eq 0 ]; then
    for t in tests/test_*.c; do names+=("$(basename "$t" .c)"); done
    for t in tests/test_*.sh; do names+=("$(basename "$t")"); done
fi
for name in "${names[@]}"; do
    case $name in
        *.sh) run_one "$name" bash "tests/$name" "$build" ;;
        *) run_one "$name" "$build/tests/$name" ;;
    esac
done
[ -z "$bad" ] || echo "failed:$bad"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
