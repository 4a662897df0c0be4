#!/bin/sh
# determinism.sh UVECHOD_SIM COUNT: so many seeds are the same histories when they run again, to the
# last line of the trace, although the second process has another environment, and its memory other
# addresses.
set -eu

sim=$1
count=$2

# hash_of FIRST COMMAND...: a hash of all lines of the histories from that seed on.
hash_of() {
    from=$1
    shift
    output=$("$@" --from="$from" --count="$count" --no-shrink --hash) || {
        printf '%s\n' "$output" >&2
        exit 1
    }
    printf '%s\n' "$output" | grep '^hash '
}

# The stack of the second process begins elsewhere, by the size of its environment.
padding=$(head -c 20000 /dev/zero | tr '\0' x)
first=$(hash_of 1 "$sim")
second=$(hash_of 1 env -i PADDING="$padding" "$sim")
other=$(hash_of 2 "$sim")

if [ "$first" != "$second" ]; then
    echo "The same seeds have been two histories: $first, $second"
    exit 1
fi
if [ "$first" = "$other" ]; then
    echo "Other seeds have the same hash, so that it says nothing: $first"
    exit 1
fi
echo "$count seeds twice: $first"
