#!/bin/sh
# sh tests/system/million.sh [CONNECTIONS]: boots a machine under user-mode-linux, which has
# descriptors and ports of its own, however few this one allows; runs uvechod and echoload in it,
# holds that many connections (default: 50000) over its loopback, verifies an echo on each, and
# prints what they cost. Exits 0 if all went well, 1 if not, and 77 with a line that says why if
# this machine cannot run it.
#
# The machine uses this machine's files, read only, so that no image must be made, and anybody may
# run it. It is ended after UVECHOD_MILLION_TIMEOUT seconds (default: by the number of connections).
# It leaves results, all logs and console.log in build/million.
set -eu

name=million
# shellcheck source=tests/system/machine.sh
. "$(dirname -- "$0")/machine.sh"
here=$root/tests/system

answer_help "$@"
connections=${1-50000}
# At most as many digits as echoload takes.
case $#:$connections in
[01]: | [!01]:* | ?:0* | ?:*[!0-9]* | ?:????????*)
    say "usage: sh tests/system/million.sh [CONNECTIONS]"
    exit 2
    ;;
esac
machine_tools ip

# Megabytes for a system, and kilobytes per connection, nearly all of which the kernel needs for its
# two sockets.
base=192
each=10
memory=$((base + (connections * each + 1023) / 1024))

# How many megabytes fit: into memory, less a reserve, and into the file system of the memory file.
mkdir -p "$machine_dir"
fits=$(awk '$1 == "MemAvailable:" { printf "%d", $2 / 1024 - 256 }' /proc/meminfo)
if [ -r /sys/fs/cgroup/memory.max ] && [ "$(cat /sys/fs/cgroup/memory.max)" != max ]; then
    left=$(cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory.current |
        awk '{ sign = NR == 1 ? 1 : -1; left += sign * $1 } END { printf "%d", left / 1048576 }')
    [ "$left" -ge "$fits" ] || fits=$left
fi
room=$(machine_room /dev/shm)
if [ "$room" -lt $((memory + machine_spare)) ]; then
    disk=$(machine_room "$machine_dir")
    [ "$disk" -le "$room" ] || room=$disk
fi
room=$((room - machine_spare))
[ "$room" -ge "$fits" ] || fits=$room
if [ "$memory" -gt "$fits" ]; then
    most=$(((fits - base) * 1024 / each))
    skip "$connections connections take $memory MB, and there are $fits MB," \
        "enough for $((most > 0 ? most : 0))"
fi

need compiler make cmake pkg-config libuv
build bench-release -DCMAKE_BUILD_TYPE=Release -DBUILD_TESTING=OFF -DUVECHOD_BENCH=ON
binaries=$root/build/bench-release

rm -rf "$machine_dir"
mkdir -p "$machine_dir"
# By default the kernel makes its table of sockets for far fewer in so little memory.
hash=$((2 * connections))
# Enough for a tenth of the speed of two slow cores.
seconds=${UVECHOD_MILLION_TIMEOUT:-$((600 + connections / 100))}
say "Holding $connections connections in a machine with $memory MB, for $seconds s at most"
machine_boot "$memory" "$seconds" "thash_entries=$hash" root=/dev/root rootfstype=hostfs \
    rootflags=/ ro init=/bin/sh -- \
    "$here/million_checks.sh" "$machine_dir" "$binaries" "$connections"
machine_results
