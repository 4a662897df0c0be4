#!/bin/sh
# sh tests/trees/run.sh [SUITE[:ARCHITECTURE]|musl|cross:ARCHITECTURE]...: runs README's two commands
# on Debians that have nothing installed but apt, each in a tree of its own, which debootstrap makes:
#   bookworm, trixie    Debian 12 and 13: both commands as root, which install what is missing, of the
#                       tests those of the modules; again as a user without sudo, with all tests; the
#                       package, built there and tested on a booted Debian of the same suite. Of the
#                       suite that this machine runs, no user runs the tests, and the package is only
#                       built: this machine's own sh cmake/test.sh is the rest
#   any other suite     both commands as root, of the tests those of the modules
#   musl                the build and the tests of the modules with musl in place of glibc, on
#                       Debian 13
#   cross:ARCHITECTURE  the build for i386, arm64 or s390x with Debian 13's cross compiler, and the
#                       tests of the modules under qemu-user
# The architecture of a suite is amd64 unless another one is given whose programs this machine runs.
# Without arguments it runs bookworm, trixie, sid, musl and the three cross builds.
#
# Needs root, and the mirror that this machine's apt uses. Suites that the mirror does not have are
# skipped, with a line. Trees are made once a fortnight and kept in UVECHOD_TREES_CACHE (default:
# ~/.cache/uvechod-trees); each run works in a copy. Exits 0 if nothing failed, and 77 if this
# machine cannot make a tree. Logs are left in build/trees.
set -eu

# shellcheck source=cmake/common.sh
. "$(dirname -- "$0")/../../cmake/common.sh"
# shellcheck source=cmake/debian.sh
. "$root/cmake/debian.sh"

skip() {
    echo "trees skipped: $*"
    exit 77
}

have apt-get || skip "this is no Debian"
[ "$(id -u)" -eq 0 ] || skip "only root can make a tree"
need debootstrap git ip
find_mirror
export_proxy

cache=${UVECHOD_TREES_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/uvechod-trees}
logs=$root/build/trees
mkdir -p "$cache" "$logs"
work=$(mktemp -d "$cache/work.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
trap 'exit 1' HUP INT TERM

# make_bare SUITE ARCHITECTURE: makes $cache/SUITE-ARCHITECTURE unless it is there. Fails if the
# mirror lacks something. Another run that makes the same tree meanwhile is waited for.
make_bare() {
    bare=$cache/$1-$2
    exec 9>"$cache/lock"
    flock 9
    result=0
    make_bare_locked "$@" || result=$?
    exec 9>&-
    return "$result"
}

make_bare_locked() {
    if [ -d "$bare" ] && [ -z "$(find "$bare" -maxdepth 0 -mtime +14)" ]; then
        return 0
    fi
    rm -rf "$bare"
    say "Making a bare $1 for $2 (once)"
    served "$1" "$2" || return 1
    make_tree "$1" "$2" "$work/bare" "$logs/debootstrap-$1-$2.log" || return 1
    # debootstrap leaves the date of a package; the age of the tree counts from now.
    touch "$work/bare"
    mv "$work/bare" "$bare"
}

# enter USER COMMAND [OPTION...]: runs a line of shell in the tree, as USER after a fresh login, in
# namespaces of mounts and processes that end with it, and in further namespaces by unshare's
# OPTIONs. Of the environment only the proxy and UVECHOD_WERROR are handed in.
enter() {
    user=$1 command=$2
    shift 2
    # shellcheck disable=SC2016 # the inner shell's
    unshare --mount --pid --fork --kill-child "$@" sh -eu -c '
        mount -t proc proc "$1/proc"
        mount -t tmpfs tmpfs "$1/dev/shm"
        ip link set lo up
        exec chroot "$1" su --whitelist-environment=http_proxy,https_proxy,no_proxy,UVECHOD_WERROR \
            --login "$2" --command "$3"' sh "$tree" "$user" "$command" </dev/null
}

passed=0 failed=0 skipped=0

# print_failure LOG: prints what the tests that failed have said, and the last lines.
print_failure() {
    failed_tests "$1" | sed 's/^/# /'
    tail -n 30 "$1" | sed 's/^/# /'
}

# step TITLE COMMAND...: runs the command and prints its result, and of a failure what is known.
# Fails if the command has failed or was skipped, so that no step follows which needs it.
step() {
    title=$1 start=$(date +%s)
    shift
    log=$logs/$(printf '%s' "$name-$title" | tr -c '[:alnum:].-' _).log
    result=0
    "$@" >"$log" 2>&1 || result=$?
    took="$(($(date +%s) - start)) s"
    case $result in
    0)
        passed=$((passed + 1))
        echo "ok - $name: $title, $took"
        ;;
    77)
        skipped=$((skipped + 1))
        echo "skipped - $name: $title: $(tail -n 1 "$log")"
        return 1
        ;;
    *)
        failed=$((failed + 1))
        echo "not ok - $name: $title, $took ($log)"
        print_failure "$log"
        return 1
        ;;
    esac
}

# plant: makes a fresh copy of the bare tree, with a clean clone in the homes of root and of a user.
plant() {
    tree=$work/tree
    rm -rf --one-file-system "$tree"
    cp -a "$bare" "$tree"
    cp -L /etc/resolv.conf "$tree/etc/resolv.conf"
    # Nobody keeps the tree, so dpkg need not wait for the disk.
    echo force-unsafe-io >"$tree/etc/dpkg/dpkg.cfg.d/unsafe-io"
    chroot "$tree" useradd --create-home --shell /bin/bash user
    for home in root home/user; do
        git clone --quiet --no-hardlinks "$root" "$tree/$home/uvechod"
    done
    chroot "$tree" chown -R user:user /home/user
}

# As root with a network, because both commands install what is missing. All else runs without.
first_command='bash uvechod/tests/trees/first_command.sh'

as_root() {
    step "run.sh installs and builds" enter root 'sh uvechod/cmake/run.sh --version' &&
        step "run.sh serves" enter root "$first_command" --net &&
        step "test.sh unit as root" enter root 'sh uvechod/cmake/test.sh unit'
}

as_user() {
    step "run.sh serves, started by a user" enter user "$first_command" --net &&
        step "test.sh plain as a user" enter user "sh uvechod/cmake/test.sh plain" --net
}

# On this machine sh cmake/test.sh system tests the package of the suite that it runs.
as_package() {
    step "package.sh" enter root 'sh uvechod/cmake/package.sh -DUVECHOD_BENCH=ON' ||
        return
    [ "$1" = "$suite_here" ] || step "the package on a booted $1" \
        sh "$root/tests/system/run.sh" "$tree"/root/uvechod/build/package/uvechod_*.deb "$1"
}

# Prints the versions of the libraries and the compiler.
print_versions() {
    # shellcheck disable=SC2016
    enter root "${1:+export $1;}"'for module in libuv cmocka libsystemd; do
            printf " %s %s," $module "$(pkg-config --modversion $module 2>/dev/null || echo missing)"
        done
        printf " gcc %s\n" "$(gcc -dumpfullversion)"' | sed "s/^/$name:/"
}

# bare_or_skip SUITE ARCHITECTURE: makes the bare tree, or counts the try as skipped and fails.
bare_or_skip() {
    make_bare "$@" && return
    skipped=$((skipped + 1))
    echo "skipped - $name: no $1 for $2 can be made here: the mirror lacks a part, or programs for" \
        "$2 do not run"
    return 1
}

try_suite() {
    suite=${1%%:*} architecture=amd64 name=$1
    [ "$suite" = "$1" ] || architecture=${1#*:}
    bare_or_skip "$suite" "$architecture" || return 0
    plant
    case $1 in
    bookworm | trixie)
        as_root && { [ "$suite" = "$suite_here" ] || as_user; } && as_package "$suite"
        ;;
    *) as_root ;;
    esac || return 0
    print_versions
}

try_musl() {
    name=musl
    bare_or_skip trixie amd64 || return 0
    plant
    step "libuv and cmocka with musl-gcc" enter root 'sh uvechod/tests/trees/musl.sh libraries' &&
        step "uvechod with musl-gcc" enter root 'sh uvechod/tests/trees/musl.sh daemon' ||
        return 0
    print_versions "PKG_CONFIG_LIBDIR=/opt/musl/lib/pkgconfig"
}

# The last line of the log has the versions.
try_cross() {
    name=$1
    bare_or_skip trixie amd64 || return 0
    plant
    step "build and unit tests" enter root "sh uvechod/tests/trees/cross.sh ${1#cross:}" || return 0
    echo "$name: $(tail -n 1 "$log")"
}

[ $# -gt 0 ] || set -- bookworm trixie sid musl cross:i386 cross:arm64 cross:s390x
for wanted in "$@"; do
    case $wanted in
    musl) try_musl ;;
    cross:*) try_cross "$wanted" ;;
    *) try_suite "$wanted" ;;
    esac
done
echo "trees: $passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
