#!/bin/sh
# sh cmake/bench.sh [--peers] [--smoke] [option]... [suite]...: installs what is missing, builds a
# release with the benchmark in build/bench-release and runs it; --help shows the options.
#
# node, uvloop, socat, ncat and xinetd are compared if they are installed; --peers installs all of
# them. (xinetd's package starts a daemon, with no services.) --smoke needs only the tools of the
# build, and Python.
set -eu

# shellcheck source=cmake/common.sh
. "$(dirname -- "$0")/common.sh"

export PYTHONDONTWRITEBYTECODE=1
tools='libev gnuplot strace valgrind'
peers=
for argument in "$@"; do
    case $argument in
    --smoke) tools= ;;
    --peers) peers='node uvloop socat ncat xinetd' ;;
    -h | --help | --publish)
        have python3 || answer_help "$@"
        need python3
        cd "$root"
        exec python3 tests/bench/driver/bench.py "$argument"
        ;;
    esac
done
# The lists are to be split into words.
# shellcheck disable=SC2086
need compiler make cmake pkg-config libuv python3 $tools $peers
build bench-release -DCMAKE_BUILD_TYPE=Release -DBUILD_TESTING=OFF -DUVECHOD_BENCH=ON

cd "$root"
exec python3 tests/bench/driver/bench.py "$@"
