#!/bin/sh
# sh cmake/package.sh [CMAKE-ARGUMENT...]: installs what is missing, builds a Debian package in
# build/package and prints its path. Beside it is uvechod-dbgsym, with the symbols for a debugger.
set -eu

# shellcheck source=cmake/common.sh
. "$(dirname -- "$0")/common.sh"

answer_help "$@"
have dpkg || die "Packages can be made only on Debian and systems like it. 'cmake --install' works everywhere."
need compiler make cmake pkg-config libuv libsystemd libmicrohttpd gettext dpkg-dev file

build package -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_INSTALL_PREFIX=/usr -DBUILD_TESTING=OFF \
    -DUVECHOD_SYSTEMD=ON -DUVECHOD_GETTEXT=ON "$@"
cd "$root/build/package"
# So that only what is made now is printed below.
rm -f -- uvechod*.deb uvechod*.ddeb
# cpack writes paths of this machine into the checksums of the symbols, and adds no documentation.
mend_symbols() {
    rm -rf symbols
    dpkg-deb --raw-extract uvechod-dbgsym_*.ddeb symbols
    mkdir -p symbols/usr/share/doc
    ln -s uvechod symbols/usr/share/doc/uvechod-dbgsym
    (cd symbols && find usr -type f -exec md5sum {} +) >symbols/DEBIAN/md5sums
    dpkg-deb --root-owner-group --build symbols .
    rm uvechod-dbgsym_*.ddeb
}
{ quietly cpack -G DEB && quietly mend_symbols; } || die "Could not make the package."
printf '%s\n' "$PWD"/uvechod_*.deb
