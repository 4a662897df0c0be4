#!/bin/sh
# run.sh [--minutes N] [--from SEED]: simulates histories of seeds that nobody has tried yet, on all
# processors, for N minutes (2). The first seed is printed: with --from SEED the same seeds run again.
set -eu

# shellcheck source=cmake/common.sh
. "$(dirname -- "$0")/../../cmake/common.sh"
answer_help "$@"

minutes=2
from=$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')
while [ $# -gt 0 ]; do
    [ $# -gt 1 ] || wrong_usage
    case $1 in
    --minutes) minutes=$2 ;;
    --from) from=$2 ;;
    *) wrong_usage ;;
    esac
    shift 2
done

need compiler make cmake pkg-config libuv cmocka
build test-plain:sim_tests -DCMAKE_BUILD_TYPE=Debug
sim=$root/build/test-plain/tests/sim/uvechod-sim
[ -x "$sim" ] || {
    echo "Skipped: the C library lacks makecontext(), so the simulation is not built."
    exit 77
}

# simulate FIRST: a sixth of the time with crowds, because they are dear.
simulate() {
    "$sim" --from="$1" --seconds=$((minutes * 10)) --crowd &&
        "$sim" --from="$1" --seconds=$((minutes * 50))
}

echo "First seed: $from"
output=$(mktemp -d)
trap 'rm -rf "$output"' EXIT
processes=
for number in $(seq "$jobs"); do
    # Far enough from each other that no seed runs twice.
    simulate $((from + (number - 1) * 1000000000)) >"$output/$number" 2>&1 &
    processes="$processes $!"
done
result=0
for process in $processes; do
    wait "$process" || result=1
done
cat "$output"/*
exit "$result"
