#!/bin/sh
# sh cmake/package.sh [CMAKE-ARGUMENT...]: installs what is missing, builds a Debian package in
# build/package and prints its path.
set -eu

# shellcheck source=cmake/common.sh
. "$(dirname -- "$0")/common.sh"

answer_help "$@"
have dpkg || die "Packages are made on Debian and its kin only. 'cmake --install' works everywhere."
need compiler make cmake pkg-config libuv libsystemd gettext dpkg-dev file

build package -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX=/usr -DBUILD_TESTING=OFF \
    -DUVECHOD_SYSTEMD=ON -DUVECHOD_GETTEXT=ON "$@"
cd "$root/build/package"
# Only what is made now is printed below.
rm -f -- uvechod_*.deb
quietly cpack -G DEB || die "Could not make the package."
printf '%s\n' "$PWD"/uvechod_*.deb
