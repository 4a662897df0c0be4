#!/bin/sh
# sh cross.sh i386|arm64|s390x: runs as root in a bare Debian tree. Builds uvechod for another
# processor with Debian's cross compiler, with warnings as errors, and runs the tests of its modules
# under qemu-user. Exits 77 if the mirror lacks what that needs.
set -eu

# shellcheck source=cmake/common.sh
. "$(dirname -- "$0")/../../cmake/common.sh"

answer_help "$@"
case ${1:-} in
i386) triple=i686-linux-gnu multiarch=i386-linux-gnu emulator=qemu-i386 ;;
arm64) triple=aarch64-linux-gnu multiarch=$triple emulator=qemu-aarch64 ;;
s390x) triple=s390x-linux-gnu multiarch=$triple emulator=qemu-s390x ;;
*) wrong_usage ;;
esac

# First, because a mirror may lack some of them.
dpkg --add-architecture "$1"
apt-get update -q
DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
    "gcc-$triple" "libc6-dev:$1" "libuv1-dev:$1" "libcmocka-dev:$1" qemu-user || {
    echo "the mirror lacks a compiler or libraries for $1"
    exit 77
}
need compiler make cmake pkg-config

cd "$root"
export PKG_CONFIG_LIBDIR="/usr/lib/$multiarch/pkgconfig"
UVECHOD_WERROR=ON
build "$1:unit_tests" -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR="$1" \
    -DCMAKE_C_COMPILER="$triple-gcc" -DCMAKE_CROSSCOMPILING_EMULATOR="/usr/bin/$emulator"
ctest --test-dir "build/$1" -L unit --output-on-failure --no-tests=error -j "$jobs"
echo "libuv $(pkg-config --modversion libuv), cmocka $(pkg-config --modversion cmocka)," \
    "gcc $("$triple-gcc" -dumpfullversion), $("$emulator" --version | head -n 1)"
