#!/bin/sh
# sh tests/system/run.sh PACKAGE.deb [SUITE]: boots a small Debian under user-mode-linux, with
# systemd as process 1 and no network but its own loopback, installs the package in it, and runs
# checks.sh there. Exits 0 if all checks passed, 1 if not, and 77 with a line that says why if this
# machine cannot run them. PACKAGE.deb must stand where cmake/package.sh -DUVECHOD_BENCH=ON has made
# it: the checks use the echoload of the same build.
#
# The Debian is of SUITE, or of this machine's own; it is made once, as root, from the mirror that
# this machine's apt uses, and kept in UVECHOD_SYSTEM_CACHE (default: ~/.cache/uvechod-system). The
# machine is ended after UVECHOD_SYSTEM_TIMEOUT seconds (default: 1800). It leaves results,
# checks.log, journal.log and console.log in build/system, or build/system-SUITE. With names in
# UVECHOD_SYSTEM_CHECKS only these checks run, which are in the list at the end of checks.sh: install
# must be among them.
set -eu

# Two suites may be tested at a time.
name=system${2:+-$2}
# shellcheck source=tests/system/machine.sh
. "$(dirname -- "$0")/machine.sh"
here=$root/tests/system

answer_help "$@"
[ $# -eq 1 ] || [ $# -eq 2 ] || wrong_usage
[ -f "$1" ] || die "There is no package $1."
echoload=$(dirname -- "$1")/tests/bench/echoload
[ -f "$echoload" ] || die "There is no $echoload."
machine_tools debootstrap mkfs.ext4

suite=${2:-$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)}

# One image for each suite. Its name has a key of the recipe; images of older recipes are removed.
cache=${UVECHOD_SYSTEM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/uvechod-system}
mkdir -p "$cache"
cache=$(CDPATH='' cd -- "$cache" && pwd -P)
key=$(sh "$here/image.sh" --key "$suite") || die "Could not find out which Debian to make."
image=$cache/$suite-$key.ext4
if [ ! -f "$image" ]; then
    [ "$as_root" != none ] || skip "making the Debian takes root"
    say "Making a Debian $suite to boot, in $cache (once)"
    rm -f "$cache/$suite"-*
    $as_root sh "$here/image.sh" "$image" "$suite" || die "Could not make it."
fi

# The machine mounts this directory as /host, and leaves its results there.
rm -rf "$machine_dir"
mkdir -p "$machine_dir"
cp "$1" "$machine_dir/package.deb"
cp "$echoload" "$machine_dir/echoload"
cp "$here/checks.sh" "$machine_dir/checks.sh"
echo "${UVECHOD_SYSTEM_CHECKS:-}" | tr -s '\n ' ' ' >"$machine_dir/wanted"
echo >>"$machine_dir/wanted"

# What the machine writes to its disk goes to another file, so that the image stays as it is.
say "Booting it"
machine_boot 512 "${UVECHOD_SYSTEM_TIMEOUT:-1800}" "ubd0=$machine_dir/disk,$image" root=/dev/ubda rw \
    "hostfs=$machine_dir" systemd.show_status=0
machine_results
