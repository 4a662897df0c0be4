#!/bin/sh
# sh tests/system/netem.sh: boots a machine under user-mode-linux, in whose kernel a network can be
# made bad (tc-netem(8)), and runs uvechod and echoload at the two ends of a virtual cable in it:
# packets that are late, lost, doubled, reordered or damaged, a cable that is cut, clients that
# vanish. The tables in netem_checks.sh say what is tried. Every byte is verified. Exits 0 if all
# went well, 1 if not, and 77 with a line that says why if this machine cannot run it.
#
# The machine uses this machine's files, read only, so that no image must be made, and anybody may
# run it. It is ended after UVECHOD_NETEM_TIMEOUT seconds (default: 1500). It leaves results, all
# logs and console.log in build/netem.
set -eu

name=netem
# shellcheck source=tests/system/machine.sh
. "$(dirname -- "$0")/machine.sh"
here=$root/tests/system

answer_help "$@"
[ $# -eq 0 ] || wrong_usage
machine_tools ip tc ss modprobe

# Megabytes, most of them for packets that are under way.
memory=384
[ "$(machine_room /dev/shm)" -ge $((memory + machine_spare)) ] ||
    [ "$(machine_room "$root")" -ge $((memory + machine_spare)) ] ||
    skip "there is no room for the $memory MB of the machine's memory"

need compiler make cmake pkg-config libuv
build bench-release -DCMAKE_BUILD_TYPE=Release -DBUILD_TESTING=OFF -DUVECHOD_BENCH=ON

rm -rf "$machine_dir"
mkdir -p "$machine_dir"
say "Trying bad networks in a machine with $memory MB"
machine_boot "$memory" "${UVECHOD_NETEM_TIMEOUT:-1500}" root=/dev/root rootfstype=hostfs rootflags=/ \
    ro init=/bin/sh -- "$here/netem_checks.sh" "$machine_dir" "$root/build/bench-release"
machine_results
