#!/bin/sh
# run.sh BUILD [NAME]...: plants the bugs of mutations.txt in the daemon, one after the other, and
# lets the simulation look for each. BUILD is a build directory with uvechod-sim in it. Only the file
# with the bug is compiled; all others are those of the build. Prints for each bug the seed that
# finds it. Fails if one is not found, unless mutations.txt says why ("~ reason" below its name):
# such a bug is looked for only if it is named.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
list=$here/mutations.txt
src=$(CDPATH='' cd -- "$here/../../../src" && pwd -P)
seeds=4000 # each history takes some milliseconds
crowds=12

compiler='' compile_flags='' link_flags='' objects='' libraries=''
# shellcheck source=/dev/null # because CMakeLists.txt writes it
. "${MUTATIONS_BUILD:-$1/tests/sim}/mutations.env"

# block NAME: what mutations.txt says of the bug.
block() { awk -v name="$1" '/^== / { here = index($0, "== " name ":") == 1 } here' "$list"; }

# build NAME DIRECTORY: makes the mutant there.
build() {
    file=$(block "$1" | sed -n '/^[a-z_]*\/[a-z_]*\.c$/{p;q}')
    awk -v name="$1" -f "$here/mutate.awk" "$list" "$src/$file" >"$2/mutant.c" || return
    # The flags are to be split into words. A planted bug may leave something unused.
    # shellcheck disable=SC2086
    $compiler $compile_flags -w -c "$2/mutant.c" -o "$2/mutant.o" &&
        $compiler $link_flags -Wl,--allow-multiple-definition "$2/mutant.o" $objects $libraries \
            -o "$2/mutant" # the first of several definitions counts: the mutant's
}

# look MUTANT OPTION...: prints the seed that fails, and why; or nothing.
look() {
    timeout 900 "$@" --no-shrink --patience=10 2>/dev/null |
        sed -n 's/^FAILED: seed \([0-9]*\): \(.*\)$/seed \1: \2/p'
}

# one NAME: plants the bug, and prints one line about it.
one() {
    directory=$(mktemp -d)
    trap 'rm -rf "$directory"' EXIT
    build "$1" "$directory" || {
        echo "BROKEN    $1"
        return
    }
    reason=$(block "$1" | sed -n 's/^~ //p')
    if [ -n "$reason" ] && [ -z "$MUTATIONS_NAMED" ]; then
        printf 'excused   %s: %s\n' "$1" "$reason"
        return
    fi
    found=$(look "$directory/mutant" --seeds="$here/../seeds.txt" --count="$seeds")
    [ -n "$found" ] || found=$(look "$directory/mutant" --crowd --count="$crowds" | sed 's/^/crowd, /')
    if [ -n "$found" ]; then
        printf 'found     %s: %s\n' "$1" "$found" | cut -c 1-200
    elif [ -n "$reason" ]; then
        printf 'excused   %s: %s\n' "$1" "$reason"
    else
        echo "SURVIVED  $1"
    fi
}

if [ "${1:-}" = --one ]; then
    one "$2"
    exit
fi

MUTATIONS_BUILD=$(CDPATH='' cd -- "$1/tests/sim" && pwd -P)
MUTATIONS_NAMED=${2:-}
export MUTATIONS_BUILD MUTATIONS_NAMED
shift
[ $# -gt 0 ] || {
    # Names are single words.
    # shellcheck disable=SC2046
    set -- $(sed -n 's/^== \([^:]*\):.*/\1/p' "$list")
}
# Otherwise a failure of the daemon as it is would look like a bug that was found.
sim=$MUTATIONS_BUILD/uvechod-sim
failure=$(look "$sim" --count="$seeds" && look "$sim" --crowd --count="$crowds")
[ -z "$failure" ] || { echo "Without a planted bug: $failure" && exit 1; }
table=$(mktemp)
trap 'rm -f "$table"' EXIT
printf '%s\n' "$@" | xargs -n 1 -P "$(nproc)" sh "$0" --one | tee "$table"
count() { grep -c "^$1" "$table" || true; }
echo "$# planted bugs: $(count found) found, $(count excused) excused, $(count SURVIVED) survived," \
    "$(count BROKEN) do not apply"
! grep -Eq '^(SURVIVED|BROKEN)' "$table"
