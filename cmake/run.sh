#!/bin/sh
# sh cmake/run.sh [option of uvechod]...: installs what is missing, builds a release in build/run and
# runs it in the foreground. The options are those that build/run/uvechod --help shows then, and
# that the manual explains.
set -eu

# shellcheck source=cmake/common.sh
. "$(dirname -- "$0")/common.sh"

answer_help "$@"
need compiler make cmake pkg-config libuv
want gettext libsystemd libmicrohttpd
build run -DCMAKE_BUILD_TYPE=Release -DBUILD_TESTING=OFF
exec "$root/build/run/uvechod" "$@"
