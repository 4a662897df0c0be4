#!/bin/sh
# shrink.sh UVECHOD_SIM: a failure is shrunk to what it needs. The failure is planted: the fifth
# time that a client is told of by mistake. What it needs is that kind of fault, five times. The
# first history from seed 4 on that fails needs no other kind; that of seed 3 does.
set -eu

sim=$1
result=0
output=$("$sim" --from=4 --count=100 --plant=spurious) || result=$?

# expect WHAT PATTERN: the line of the shortest history, which is the last that begins so.
expect() {
    printf '%s\n' "$output" | grep '^  again: ' | tail -n 1 | grep -Eq -- "$2" || {
        printf '%s\n' "$output" | grep -v '^ *[0-9]'
        echo "Not shrunk: $1"
        exit 1
    }
}

[ "$result" -eq 1 ] || { echo "The planted failure has not been found: exit code $result" && exit 1; }
expect "the kinds of faults" 'without=short,pollerr,stall,reset,lack,skip,firewall,memory,splice'
expect "the clients" '--clients=([0-9]+(,[0-9]+)?)? '
expect "the faults" '--faults=5 '
printf '%s\n' "$output" | grep -q '^The shortest history .*found with' ||
    { echo "No word about the shortest history" && exit 1; }
# The command that is printed shows the same failure.
again=$(printf '%s\n' "$output" | sed -n 's/^  again: uvechod-sim//p' | tail -n 1)
# The options are to be split into words.
# shellcheck disable=SC2086
if "$sim" $again >/dev/null; then
    echo "The command that is printed shows no failure:$again"
    exit 1
fi
