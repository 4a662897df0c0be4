#!/bin/sh
# sh cmake/test.sh [plain|unit|asan|tsan|system]...: installs what is missing and runs the tests:
#   plain    of build/test-plain
#   unit     of build/test-plain, only those of the modules
#   asan     of build/test-asan, with AddressSanitizer and UndefinedBehaviorSanitizer
#   tsan     of build/test-tsan, with ThreadSanitizer: only those with several threads
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

# First, so that the lines of ctest are the last ones.
if [ -n "$system" ]; then
    package=$(sh "$root/cmake/package.sh") && sh "$root/tests/system/run.sh" "$package" ||
        failed=" system"
fi

# sanitized NAME SANITIZERS: builds with them.
sanitized() (
    CC=$(sanitizing_cc "$2") || die "No compiler here knows -fsanitize=$2."
    export CC
    build "$1" -DCMAKE_BUILD_TYPE=Debug -DUVECHOD_SANITIZE="$2"
)

if [ -n "$builds" ]; then
    # The list is to be split into words.
    # shellcheck disable=SC2086
    need compiler make cmake pkg-config libuv cmocka $sanitizers
    want gettext libsystemd
fi
for kind in $builds; do
    case $kind in
    plain | unit) build test-plain -DCMAKE_BUILD_TYPE=Debug ;;
    asan) sanitized test-asan address,undefined ;;
    tsan) sanitized test-tsan thread ;;
    esac
done

# Where LeakSanitizer works, it is on by default; where not, asking for it is an error.
: "${ASAN_OPTIONS:=abort_on_error=1:exitcode=99:detect_stack_use_after_return=1:strict_string_checks=1}"
: "${UBSAN_OPTIONS:=abort_on_error=1:print_stacktrace=1}"
# The first finding ends the test.
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
