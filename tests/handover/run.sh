#!/bin/sh
# run.sh [--long [MINUTES]] [--from SEED] [--build plain|asan|tsan]: ends daemons by kills, crashes,
# upgrades and restarts, at random moments and under clients that check every byte: on all processors,
# for a minute; with --long for so many minutes (240). The first seed is printed: with --from SEED the
# same rounds are played again. The daemon is that of build/test-plain, or one with AddressSanitizer
# and UndefinedBehaviorSanitizer, or with ThreadSanitizer.
set -eu

# shellcheck source=cmake/common.sh
. "$(dirname -- "$0")/../../cmake/common.sh"
answer_help "$@"

minutes=1
kind=plain
from=$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')
while [ $# -gt 0 ]; do
    case $1,${2:-} in
    --long,[0-9]*) minutes=$2 && shift ;;
    --long,*) minutes=240 ;;
    --from,[0-9]*) from=$2 && shift ;;
    --build,plain | --build,asan | --build,tsan) kind=$2 && shift ;;
    *) wrong_usage ;;
    esac
    shift
done

need compiler make cmake pkg-config libuv cmocka
want libsystemd
sanitizer_options
case $kind in
plain) build test-plain:handover -DCMAKE_BUILD_TYPE=Debug ;;
asan) need sanitizers && sanitized test-asan:handover address,undefined ;;
tsan) need tsan && sanitized test-tsan:handover thread ;;
esac

echo "First seed: $from"
output=$(mktemp -d)
trap 'rm -rf "$output"' EXIT
processes=
for number in $(seq "$jobs"); do
    # Far enough from each other that no seed is played twice.
    "$root/build/test-$kind/tests/handover" --seconds=$((minutes * 60)) \
        --seed=$((from + (number - 1) * 1000000000)) >"$output/$number" 2>&1 &
    processes="$processes $!"
done
result=0
for process in $processes; do
    wait "$process" || result=1
done
[ "$result" -eq 0 ] || cat "$output"/*
grep -h '^handover: ' "$output"/* || true
exit "$result"
