#!/bin/sh
# sh tests/system/run.sh PACKAGE.deb: boots a small Debian under user-mode-linux, with systemd as
# process 1 and no network but its own loopback, installs the package in it, and runs checks.sh
# there. Exits 0 if all checks passed, 1 if not, and 77 with a line that says why if this machine
# cannot run them.
#
# The Debian is made once, as root, from this machine's apt sources, and kept in
# UVECHOD_SYSTEM_CACHE (default: ~/.cache/uvechod-system). The machine gets UVECHOD_SYSTEM_TIMEOUT
# seconds (default: 300). It leaves results, checks.log, journal.log and console.log in
# build/system.
set -eu

# shellcheck source=cmake/common.sh
. "$(dirname -- "$0")/../../cmake/common.sh"
# That knows scripts one directory up.
root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd -P)
here=$root/tests/system

skip() {
    echo "system test skipped: $*"
    exit 77
}

[ $# -eq 1 ] || {
    say "usage: sh tests/system/run.sh PACKAGE.deb"
    exit 2
}
[ -f "$1" ] || die "There is no package $1."
# The kernel and the suite are Debian's, and this kernel is made for PCs alone.
{ have apt-get && have dpkg; } || skip "this is no Debian"
case $(dpkg --print-architecture) in
amd64 | i386) ;;
*) skip "Debian has no user-mode-linux for this processor" ;;
esac

as_root=
if [ "$(id -u)" -ne 0 ]; then
    if have sudo && sudo -n true 2>/dev/null; then as_root=sudo; else as_root=none; fi
fi
PATH=$PATH:/usr/sbin:/sbin
for tool in linux.uml debootstrap mkfs.ext4; do
    have "$tool" || [ "$as_root" != none ] || skip "$tool is missing, and nobody here is root"
done
(need linux.uml debootstrap mkfs.ext4) || skip "user-mode-linux or debootstrap is not to be had"

# One image for each recipe; the others are of no use any more.
cache=${UVECHOD_SYSTEM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/uvechod-system}
mkdir -p "$cache"
cache=$(CDPATH='' cd -- "$cache" && pwd -P)
key=$(sh "$here/image.sh" --key) || die "Could not tell which Debian to make."
image=$cache/debian-$key.ext4
if [ ! -f "$image" ]; then
    [ "$as_root" != none ] || skip "making the Debian takes root"
    say "Making a Debian to boot, in $cache (once)"
    rm -f "$cache"/debian-*
    $as_root sh "$here/image.sh" "$image" || die "Could not make it."
fi

# The machine sees this directory as /host, and leaves its results there.
dir=$root/build/system
rm -rf "$dir"
mkdir -p "$dir"
cp "$1" "$dir/package.deb"
cp "$here/checks.sh" "$dir/checks.sh"

# Its memory is a file, by default in /dev/shm, which containers may have too little of.
memory=512
shm=$(df -Pm /dev/shm 2>/dev/null | awk 'NR == 2 { print $4 }')
if [ "${shm:-0}" -lt $((memory + 64)) ]; then
    TMPDIR=$dir
    export TMPDIR
fi

# In a process group of its own, which timeout makes: this kernel, when it panics, ends all of its
# group.
machine=
clean_up() {
    if [ -n "$machine" ]; then
        kill "$machine" 2>/dev/null || :
        wait "$machine" || :
    fi
    rm -rf "$dir/disk" "$dir/package.deb" "$dir/checks.sh" "$dir/uvechod"
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM

# What it writes to the image goes to a file beside. panic=-1 with noreboot ends it, not waits.
say "Booting it"
timeout --kill-after=10 "${UVECHOD_SYSTEM_TIMEOUT:-300}" \
    linux.uml "mem=${memory}M" "ubd0=$dir/disk,$image" root=/dev/ubda rw "hostfs=$dir" \
    "uml_dir=$dir" umid=uvechod con=none con0=null,fd:1 ssl=none noreboot panic=-1 \
    systemd.show_status=0 >"$dir/console.log" 2>&1 </dev/null &
machine=$!
status=0
wait "$machine" || status=$?
machine=

results=$dir/results
[ -f "$results" ] || : >"$results"
grep -v '^1\.\.' "$results" || :
planned=$(sed -n 's/^1\.\.//p' "$results")
passed=$(grep -c '^ok - ' "$results") || :
failed=$(grep -c '^not ok - ' "$results") || :
missing=$((${planned:-1} - passed - failed))
if [ "$missing" -ne 0 ]; then
    echo "not ok - $missing more were to be checked (the machine ended with status $status)"
    failed=$((failed + missing))
    [ "$status" -eq 0 ] || tail -n 20 "$dir/console.log" | sed 's/^/# /'
fi
echo "system: $passed passed, $failed failed"
if [ "$failed" -ne 0 ]; then
    say "The logs are in $dir"
    exit 1
fi
