#!/bin/sh
# sh cmake/test.sh [plain|unit|asan|tsan|system]...: installs what is missing and runs the tests:
#   plain    of build/test-plain
#   unit     of build/test-plain, those of the modules alone
#   asan     of build/test-asan, with AddressSanitizer and UndefinedBehaviorSanitizer
#   tsan     of build/test-tsan, with ThreadSanitizer: those in which several threads are at work
#   system   of the Debian package, on a booted Debian with systemd (tests/system/run.sh)
# Without a kind it runs plain and asan, and with UVECHOD_TEST_ALL=1 in the environment system, too.
# sh cmake/test.sh trees [SUITE...]: README's two commands on bare Debians (tests/trees/run.sh).
set -eu

# shellcheck source=cmake/common.sh
. "$(dirname -- "$0")/common.sh"

answer_help "$@"
if [ "${1:-}" = trees ]; then
    shift
    exec sh "$root/tests/trees/run.sh" "$@"
fi
if [ $# -eq 0 ]; then
    set -- plain asan
    [ "${UVECHOD_TEST_ALL:-}" != 1 ] || set -- system "$@"
fi

builds=
sanitizers=
system=
for kind in "$@"; do
    case $kind in
    plain | unit) builds="$builds $kind" ;;
    asan) builds="$builds asan" sanitizers="$sanitizers sanitizers" ;;
    tsan) builds="$builds tsan" sanitizers="$sanitizers tsan" ;;
    system) system=yes ;;
    *) wrong_usage ;;
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
[ -z "$builds" ] || {
    need compiler make cmake pkg-config libuv cmocka $sanitizers
    want gettext libsystemd
}
for kind in $builds; do
    set_up() { build "test-$kind" -DCMAKE_BUILD_TYPE=Debug "$@"; }
    case $kind in
    plain | unit) build test-plain -DCMAKE_BUILD_TYPE=Debug ;;
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
    label=. tree=test-$kind
    case $kind in
    tsan) label=workers ;;
    unit) label=unit tree=test-plain ;;
    esac
    ctest --test-dir "$root/build/$tree" -L "$label" --output-on-failure --no-tests=error \
        -j "$tests_at_once" ||
        failed="$failed $kind"
done
[ -z "$failed" ] || die "Tests failed:$failed"
