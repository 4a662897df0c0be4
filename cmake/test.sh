#!/bin/sh
# sh cmake/test.sh [plain|asan|tsan|system]...: installs what is missing and runs the tests:
#   plain    of build/test-plain
#   asan     of build/test-asan, with AddressSanitizer and UndefinedBehaviorSanitizer
#   tsan     of build/test-tsan, with ThreadSanitizer: those in which several threads are at work
#   system   of the Debian package, on a booted Debian with systemd (tests/system/run.sh)
# Without a kind it runs all of them but tsan, and the last one only where it can: as root, with
# user-mode-linux and debootstrap there already, which are much to install for who just wants to
# know whether the tests pass. With UVECHOD_TEST_ALL=1 it is not skipped either.
set -eu

# shellcheck source=cmake/common.sh
. "$(dirname -- "$0")/common.sh"

can_boot() { [ "$(id -u)" -eq 0 ] && have linux.uml && have debootstrap && have mkfs.ext4; }

if [ $# -eq 0 ]; then
    set -- plain asan
    if [ "${UVECHOD_TEST_ALL:-}" = 1 ] || can_boot; then
        set -- system "$@"
    else
        say "Skipped: the system test, which needs root, user-mode-linux and debootstrap." \
            "'sh cmake/test.sh system' installs them."
    fi
fi

builds=
sanitizers=
system=
for kind in "$@"; do
    case $kind in
    plain) builds="$builds plain" ;;
    asan) builds="$builds asan" sanitizers="$sanitizers sanitizers" ;;
    tsan) builds="$builds tsan" sanitizers="$sanitizers tsan" ;;
    system) system=yes ;;
    *)
        say "usage: sh cmake/test.sh [plain|asan|tsan|system]..."
        exit 2
        ;;
    esac
done
failed=

# First, so that a run closes with ctest's lines.
if [ -n "$system" ]; then
    package=$(sh "$root/cmake/package.sh") && sh "$root/tests/system/run.sh" "$package" ||
        failed=" system"
fi

# The list is meant to split.
# shellcheck disable=SC2086
[ -z "$builds" ] || need compiler make cmake pkg-config libuv cmocka $sanitizers
for kind in $builds; do
    set_up() { build "test-$kind" -DCMAKE_BUILD_TYPE=Debug -DUVECHOD_WERROR=ON "$@"; }
    case $kind in
    plain) set_up ;;
    asan)
        (
            CC=$(sanitizing_cc) || die "No compiler here knows -fsanitize=address,undefined."
            export CC
            set_up -DUVECHOD_SANITIZE=address,undefined
        )
        ;;
    tsan)
        (
            CC=$(sanitizing_cc thread) || die "No compiler here knows -fsanitize=thread."
            export CC
            set_up -DUVECHOD_SANITIZE=thread
        )
        ;;
    esac
done

# Leaks are looked for by default wherever LeakSanitizer works; asking for it elsewhere is an error.
: "${ASAN_OPTIONS:=abort_on_error=1:exitcode=99:detect_stack_use_after_return=1:strict_string_checks=1}"
: "${UBSAN_OPTIONS:=abort_on_error=1:print_stacktrace=1}"
# A finding is no reason to go on.
: "${TSAN_OPTIONS:=halt_on_error=1:exitcode=99}"
export ASAN_OPTIONS UBSAN_OPTIONS TSAN_OPTIONS

for kind in $builds; do
    label=.
    [ "$kind" != tsan ] || label=workers
    ctest --test-dir "$root/build/test-$kind" -L "$label" --output-on-failure --no-tests=error \
        -j "$jobs" ||
        failed="$failed $kind"
done
[ -z "$failed" ] || die "Tests failed:$failed"
