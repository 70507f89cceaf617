#!/bin/bash
# Machines that are not this one, emulated by qemu: AArch64 of three ages, where the kernels are held against the scalar
# ones, and x86-64 without AVX2 and without AVX-512, which must not be given what they do not have.
# usage: tests/cross.sh BUILD_DIR      (make check-cross builds what it runs)
set -u
cd "$(dirname "$0")/.." || exit 2
build=${1:?build directory}
logs=$build/tests
model=samples/tiny-qwen3.5
unset OPENBLAS_CORETYPE # would make OpenBLAS take this machine's kernels there

arm() { qemu-aarch64-static -cpu "$1" "$build/aarch64/test_kernels_alone" "${@:2}"; }
x86() { qemu-x86_64-static -cpu "$1" "${@:2}"; }

# The kernels of one table, on a CPU of which it is the best one; `refused` is a table that is not to be had there.
kernels() { # command that runs the tests there, table, refused
    local output
    output=$($1 --isa "$2")
    local status=$?
    printf '%s\n' "$output"
    [ $status -eq 0 ] && grep -q "best here: $2\$" <<<"$output" || return 1
    ! $1 --isa "$3"
}
arm_kernels() { kernels "arm $1" "$2" "$3"; } # cpu, table, refused
x86_kernels() { kernels "x86 $1 $build/tests/test_kernels" "$2" "$3"; }

# What the CPU is asked and says, without running it: this emulator faults on the masked loads of AVX2 at a page's end.
x86_best() { # cpu, table, refused
    x86 "$1" "$build/tests/test_kernels" --isa "$3" 2>&1 | grep "best here: $2\$"
}

# The program there, and its figures beside those of the same kernels here.
old_program() { # cpu, table, refused
    local args=(eval "$model" --set '*=4' --set '*.down_proj=4t' --tokens 64 --ctx 64 --json)
    x86 "$1" "$build/tqexplore" --version && x86 "$1" "$build/tqexplore" layers "$model" --set '*=4+4' || return 1
    x86 "$1" "$build/tqexplore" layers "$model" --cpu "$3" && return 1
    x86 "$1" "$build/tqexplore" "${args[@]}" >"$logs/cross-old.json" || return 1
    "$build/tqexplore" "${args[@]}" --cpu "$2" >"$logs/cross-new.json" || return 1
    python3 - "$logs/cross-old.json" "$logs/cross-new.json" <<'END'
import json, sys
old, new = (json.load(open(name)) for name in sys.argv[1:])
there, here = old["kld"]["mean"], new["kld"]["mean"]
print("KLD there", there, "here", here)
sys.exit(abs(there - here) > 1e-4 * here)  # OpenBLAS adds up in another order
END
}

cases=(
    "arm_kernels cortex-a53 neon neon-dotprod"
    "arm_kernels cortex-a76 neon-dotprod neon-i8mm"
    "arm_kernels max neon-i8mm avx2"
    "x86_kernels Nehalem scalar avx2"
    "x86_best Haswell avx2 avx-vnni"
    "x86_best Haswell avx2 avx512"
    "x86_best Haswell avx2 amx"
    "old_program Nehalem scalar avx2"
)
mkdir -p "$logs"
pids=()
for i in "${!cases[@]}"; do
    ${cases[$i]} >"$logs/cross-$i.log" 2>&1 &
    pids+=($!)
done
failed=0
for i in "${!cases[@]}"; do
    if wait "${pids[$i]}"; then
        printf 'ok    %s\n' "${cases[$i]}"
    else
        failed=$((failed + 1))
        printf 'FAIL  %s  (%s)\n' "${cases[$i]}" "$logs/cross-$i.log"
        tail -n 40 "$logs/cross-$i.log"
    fi
done
echo "$((${#cases[@]} - failed)) emulated machines passed, $failed failed"
[ "$failed" -eq 0 ]
