#!/bin/sh
# sh cmake/run.sh [options of uvechod]: installs what is missing, builds a release in build/release
# and runs it in the foreground.
set -eu

# shellcheck source=cmake/common.sh
. "$(dirname -- "$0")/common.sh"

need compiler make cmake pkg-config libuv
build release -DCMAKE_BUILD_TYPE=Release -DBUILD_TESTING=OFF
exec "$root/build/release/uvechod" "$@"
