#!/bin/bash
# check_examples.sh UVECHOD SOURCE MANUAL [TIMES]: runs the examples of SOURCE/README.md and of the
# page MANUAL as they stand, each 5 times or TIMES, and compares what they print with what the page
# shows. An example is a block with lines that begin with "$ "; what a command prints follows the
# command. The examples share the daemon on port 25000 that README's first command starts. README's
# sketch in Python is started, too, and must answer.
#
# All this happens in a network of its own, where every port is free, and with a /tmp of its own.
# Blocks for root ("# ") and those of other_blocks show no commands, or tests/system and tests/trees
# run these commands.
set -eu

skip() {
    echo "Skipped: $*"
    exit 77
}

for tool in nc ip unshare timeout; do
    command -v "$tool" >/dev/null || PATH=$PATH:/usr/sbin:/sbin command -v "$tool" >/dev/null ||
        skip "there is no $tool here."
done
PATH=$PATH:/usr/sbin:/sbin
nc -h 2>&1 | grep -q OpenBSD || skip "this nc is not OpenBSD's."
getent hosts localhost >/dev/null || skip "localhost does not resolve (no /etc/hosts?)."

if [ $# -ne 1 ]; then
    options=(--net --mount)
    [ "$(id -u)" -eq 0 ] || options+=(--user --map-root-user)
    unshare "${options[@]}" ip link set lo up 2>/dev/null || skip "no network can be made here."
    # A directory like the one that README's first command leaves, with all that the examples need.
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    mkdir -p "$scratch/build/run" "$scratch/tmp"
    cp "$1" "$scratch/build/run/uvechod"
    cp "$2/README.md" "$scratch/readme"
    cp "$3" "$scratch/manual"
    cp "$0" "$scratch/check"
    cd "$scratch"
    timeout --kill-after=5 240 unshare "${options[@]}" bash check "${4:-5}"
    exit
fi
ip link set lo up
# The scratch directory may be in /tmp, which is covered below, so it gets another name.
mount --bind . /mnt
cd /mnt
mount --bind tmp /tmp
times=$1
PATH=/mnt/build/run:$PATH
daemon=
trap '[ -z "$daemon" ] || kill "$daemon"; wait' EXIT

# The beginnings of blocks that are no examples for a user's shell.
other_blocks() {
    cat <<'END'
sh cmake/
2026-
deb=$(sh cmake/package.sh)
cmake -B build/
[Service]
[Socket]
Connection from
Statistics:
PROXY headers:
END
}

# blocks_of_readme PREFIX: writes each block, indented or fenced, to a file of its own, and the
# sketch in Python to PREFIX.python. A fence may say that its block is C or text, which nobody runs.
blocks_of_readme() {
    awk -v prefix="$1" '
        function number() { return sprintf("%s.%02d", prefix, ++n) }
        /^```/ { fence = !fence; inside = 0 }
        /^```(c|text)$/ { file = "/dev/null"; next }
        /^```python$/ { file = prefix ".python"; next }
        /^```/ { if (fence) file = number(); next }
        fence { print >file; next }
        /^    / { if (!inside) { file = number(); inside = 1 }
                  print substr($0, 5) >file; next }
        { inside = 0 }' readme
}

# The same of the manual: a literal display, or lines of .Dl that follow one another.
blocks_of_manual() {
    sed 's/\\e/\\/g; s/\\&//g' manual |
        awk -v prefix="$1" '
        function put(line) { if (!inside) { file = sprintf("%s.%02d", prefix, ++n); inside = 1 }
                             print line >file }
        /^\.Bd/ { literal = 1; next }
        /^\.Ed/ { literal = 0; inside = 0; next }
        literal { put($0); next }
        /^\.Dl / { put(substr($0, 5)); next }
        { inside = 0 }'
}

# A daemon in the foreground runs until it listens; any other block runs to its end.
run_block() {
    if [ "$(wc -l <"$1")" -eq 1 ] && grep -q '^\$ uvechod ' "$1"; then
        sed 's/^\$ /exec /' "$1" >"$1.sh"
        local pid said
        bash "$1.sh" >foreground 2>&1 &
        pid=$!
        said=$(head -n 1 foreground)
        kill "$pid"
        wait "$pid" && [[ $said == Listening\ on\ * ]]
        return
    fi
    sed -n 's/^\$ //p' "$1" >"$1.sh"
    # The daemons that the block has stopped must end before the next run begins.
    echo wait >>"$1.sh"
    grep -v '^\$ ' "$1" >"$1.expected" || :
    timeout 30 bash "$1.sh" >"$1.got" 2>&1 || :
    diff "$1.expected" "$1.got"
}

bad=0
check_block() {
    if ! grep -q '^\$ ' "$1"; then
        first=$(head -n 1 "$1")
        case $first in '# '*) return ;; esac
        other_blocks | while IFS= read -r known; do
            [ "${first#"$known"}" = "$first" ] || echo known
        done | grep -q known && return
        echo "A block that nothing runs: $first"
        bad=1
        return
    fi
    for ((i = 1; i <= times; i++)); do
        run_block "$1" && continue
        echo "In run $i (<: the page, >: what happened) of:"
        cat "$1"
        bad=1
        return
    done
    checked=$((checked + 1))
}

# The sketch serves, on its own port, until it is killed.
check_sketch() {
    command -v python3 >/dev/null || { echo "There is no python3 for the sketch." && return; }
    python3 readme.python >/dev/null &
    local sketch=$!
    until nc -z localhost 25001 || ! kill -0 "$sketch"; do :; done 2>/dev/null
    local said
    said=$(printf 'Hello\n' | timeout 30 nc -N localhost 25001) || :
    [ "$said" = GOT:Hello ] || { echo "README's sketch in Python answers '$said'." && bad=1; }
    kill "$sketch" || bad=1
}

# README's first command must print what README shows, without the time stamps: a pipe gets none.
mkfifo log foreground
uvechod --port 25000 >log 2>&1 &
daemon=$!
exec 3<log
sed -n 's/^    [0-9TZ:.-]* \(Listening .*\)/\1/p' readme >listening
[ -s listening ]
while IFS= read -r expected; do
    IFS= read -r line <&3
    [ "$line" = "$expected" ] || { echo "got '$line', README has '$expected'" && bad=1; }
done <listening
cat <&3 >/dev/null &

checked=0
blocks_of_readme readme
blocks_of_manual manual
for block in readme.?? manual.??; do
    check_block "$block"
done
check_sketch
[ "$checked" -gt 0 ] || { echo "No examples were found." && bad=1; }
echo "$checked examples, $times times each"
exit "$bad"
