#!/bin/sh
# sh cmake/test.sh [plain|asan]...: installs what is missing, builds build/test-plain and
# build/test-asan (AddressSanitizer and UndefinedBehaviorSanitizer) and runs the tests of both, or
# of the one that is named.
set -eu

# shellcheck source=cmake/common.sh
. "$(dirname -- "$0")/common.sh"

[ $# -gt 0 ] || set -- plain asan
sanitizers=
for kind in "$@"; do
    case $kind in
    plain) ;;
    asan) sanitizers=sanitizers ;;
    *)
        say "usage: sh cmake/test.sh [plain|asan]..."
        exit 2
        ;;
    esac
done
need compiler make cmake pkg-config libuv cmocka $sanitizers

for kind in "$@"; do
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
    esac
done

# Leaks are looked for by default wherever LeakSanitizer works; asking for it elsewhere is an error.
: "${ASAN_OPTIONS:=abort_on_error=1:exitcode=99:detect_stack_use_after_return=1:strict_string_checks=1}"
: "${UBSAN_OPTIONS:=abort_on_error=1:print_stacktrace=1}"
export ASAN_OPTIONS UBSAN_OPTIONS

failed=
for kind in "$@"; do
    ctest --test-dir "$root/build/test-$kind" --output-on-failure --no-tests=error -j "$jobs" ||
        failed="$failed $kind"
done
[ -z "$failed" ] || die "Tests failed:$failed"
