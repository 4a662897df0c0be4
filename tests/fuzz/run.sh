#!/bin/sh
# sh cmake/test.sh fuzz [SECONDS [TARGET...]]: lets libFuzzer invent inputs for so many seconds (60)
# for each target, two targets at a time. It prints the seeds, and of each finding the input and how
# to try it again. New inputs are added to build/fuzz/corpus. Without clang and its libFuzzer it is
# skipped (77).
# sh cmake/test.sh fuzz keep [TARGET...]: brings tests/fuzz/corpus up to date: keeps the fewest of
# the old and new inputs that reach all that is reached. Inputs that have been given names stay.
set -eu

# shellcheck source=cmake/common.sh
. "$(dirname -- "$0")/../../cmake/common.sh"

answer_help "$@"
action=fuzz seconds=60
case ${1:-} in
keep) action=keep && shift ;;
[0-9]*) seconds=$1 && shift ;;
esac
[ $# -gt 0 ] || set -- options environment chunks text ledger proxy
for target in "$@"; do
    [ -f "$root/tests/fuzz/fuzz_$target.c" ] || wrong_usage
done
kept=$root/tests/fuzz/corpus
work=$root/build/fuzz

sanitizers=fuzzer-no-link,address,undefined
want fuzzer libsystemd
CC=$(sanitizing_cc "$sanitizers") || {
    say "Fuzzing is SKIPPED: no compiler here knows -fsanitize=fuzzer."
    exit 77
}
export CC
need make cmake pkg-config libuv cmocka
build fuzz -DCMAKE_BUILD_TYPE=RelWithDebInfo -DUVECHOD_FUZZ=ON -DUVECHOD_SANITIZE=address,undefined

# A small quarantine, because the inputs of chunks free much memory in a second.
: "${ASAN_OPTIONS:=quarantine_size_mb=16:detect_stack_use_after_return=1:strict_string_checks=1}"
: "${UBSAN_OPTIONS:=print_stacktrace=1}"
export ASAN_OPTIONS UBSAN_OPTIONS

# report_finding TARGET: shows the log of a run that has failed, and the input.
report_finding() {
    say "fuzz.$1 has FAILED:"
    grep -v -e '# Uses:' -e '^#[0-9]' "$work/$1.log" | tail -n 60 >&2
    for finding in "$work/finding-$1"-*; do
        [ -f "$finding" ] || continue
        say "To try this input again, and to keep it under a NAME that says what it shows:"
        say "    echo $(base64 -w 0 "$finding") | base64 -d >tests/fuzz/corpus/$1/NAME"
        say "    build/fuzz/tests/fuzz/fuzz_$1 tests/fuzz/corpus/$1/NAME"
    done
}

# fuzz TARGET: prints one line about the run. At a low priority, because nobody waits for it.
fuzz() {
    seed=$(od -An -N3 -tu4 /dev/urandom | tr -d ' ')
    mkdir -p "$work/corpus/$1"
    rm -f "$work/finding-$1"-*
    result=0
    nice -n 10 "$work/tests/fuzz/fuzz_$1" -seed="$seed" -max_total_time="$seconds" -timeout=20 \
        -rss_limit_mb=1024 -artifact_prefix="$work/finding-$1-" \
        "$work/corpus/$1" "$kept/$1" >"$work/$1.log" 2>&1 || result=$?
    say "fuzz.$1: seed $seed, $(grep -E '^#[0-9]+' "$work/$1.log" | tail -n 1 | tr -s '\t ' ' ')"
    [ "$result" -eq 0 ] || report_finding "$1"
    return "$result"
}

# keep TARGET: libFuzzer names the inputs by their checksums.
keep() {
    out=$(mktemp -d)
    named=$(find "$kept/$1" -type f | grep -vE '/[0-9a-f]{40}$' || true)
    for input in $named; do
        cp "$input" "$out"
    done
    mkdir -p "$work/corpus/$1"
    "$work/tests/fuzz/fuzz_$1" -merge=1 "$out" "$kept/$1" "$work/corpus/$1" >"$work/$1.log" 2>&1 || {
        report_finding "$1"
        return 1
    }
    find "$kept/$1" -type f -delete
    find "$out" -type f -exec mv {} "$kept/$1" \;
    rm -rf "$out"
    say "fuzz.$1: $(find "$kept/$1" -type f | wc -l) inputs"
}

act() {
    case $action in
    keep) keep "$1" ;;
    *) fuzz "$1" ;;
    esac
}

failed=0
while [ $# -gt 0 ]; do
    act "$1" &
    first=$!
    [ $# -eq 1 ] || act "$2" || failed=1
    wait "$first" || failed=1
    shift
    [ $# -eq 0 ] || shift
done
exit "$failed"
