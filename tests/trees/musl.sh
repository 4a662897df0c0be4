#!/bin/sh
# sh musl.sh libraries|daemon: runs as root in a bare Debian tree.
#   libraries   builds libuv and cmocka, of the versions that this Debian has, with musl-gcc into
#               /opt/musl; exits 77 if the mirror lacks their sources
#   daemon      builds uvechod with them, with warnings as errors, and runs the tests of its modules
set -eu

# shellcheck source=cmake/common.sh
. "$(dirname -- "$0")/../../cmake/common.sh"
cd "$(dirname -- "$0")/../.."
need compiler make cmake pkg-config

prefix=/opt/musl
# shellcheck disable=SC2031 # what a subshell of common.sh sets is another CC
export CC=musl-gcc
# musl comes without the kernel's headers, and musl-gcc hides those that are installed.
export CFLAGS="-idirafter $prefix/include"

libraries() {
    sed -n 's/^deb /deb-src /p' /etc/apt/sources.list >/etc/apt/sources.list.d/src.list
    apt-get update -q
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
        musl-tools dpkg-dev xz-utils
    mkdir -p "$prefix/include" build/musl-libraries
    ln -sfn /usr/include/linux "$prefix/include/linux"
    ln -sfn /usr/include/asm-generic "$prefix/include/asm-generic"
    ln -sfn "/usr/include/$(gcc -print-multiarch)/asm" "$prefix/include/asm"
    cd build/musl-libraries
    # Only upstream's archives: a mirror may lack what Debian adds to them.
    apt-get source -q --download-only --tar-only libuv1 cmocka || {
        echo "the mirror lacks the source of libuv or cmocka"
        exit 77
    }
    for archive in libuv1_*.orig.tar.[gx]z cmocka_*.orig.tar.[gx]z; do
        mkdir "${archive%%_*}"
        tar -x -f "$archive" -C "${archive%%_*}" --strip-components=1
        cmake -S "${archive%%_*}" -B "${archive%%_*}/build" -DCMAKE_BUILD_TYPE=Release \
            -DCMAKE_INSTALL_PREFIX="$prefix" -DCMAKE_INSTALL_LIBDIR=lib -DBUILD_TESTING=OFF \
            -DLIBUV_BUILD_TESTS=OFF -DUNIT_TESTING=OFF -DWITH_EXAMPLES=OFF
        cmake --build "${archive%%_*}/build" --parallel "$jobs"
        cmake --install "${archive%%_*}/build"
    done
}

daemon() {
    export PKG_CONFIG_LIBDIR="$prefix/lib/pkgconfig"
    # With make, as cmake does it by itself: build() takes ninja, which all others here use.
    cmake -S . -B build/musl -DCMAKE_BUILD_TYPE=Release -DUVECHOD_WERROR=ON
    cmake --build build/musl --parallel "$jobs" --target unit_tests
    ctest --test-dir build/musl -L unit --output-on-failure --no-tests=error -j "$jobs"
}

"$1"
