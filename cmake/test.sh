#!/bin/sh
# sh cmake/test.sh [plain|unit|asan|tsan|system|netem]...: installs what is missing and runs the tests:
#   plain    of build/test-plain
#   unit     of build/test-plain, only those of the modules
#   asan     of build/test-asan, with AddressSanitizer and UndefinedBehaviorSanitizer
#   tsan     of build/test-tsan, with ThreadSanitizer: only those with several threads
#   system   of the Debian package, on a booted Debian with systemd (tests/system/run.sh)
#   netem    bad networks, in a machine of their own (tests/system/netem.sh)
# Without a kind it runs plain and asan. In the environment, UVECHOD_TEST_ALL=1 adds system, and
# UVECHOD_COVERAGE=ON makes plain a build that records what its tests reach, in build/coverage.
# sh cmake/test.sh trees [SUITE...]: README's two commands on bare Debians (tests/trees/run.sh).
# sh cmake/test.sh fuzz [SECONDS [TARGET...]]: inputs that libFuzzer invents (tests/fuzz/run.sh).
# sh cmake/test.sh sim [--minutes N] [--from SEED]: the simulation, with new seeds (tests/sim/run.sh).
# sh cmake/test.sh handover [--long [MINUTES]] [--from SEED] [--build plain|asan|tsan]: random ends of
# the daemon under clients, for a minute or for hours (tests/handover/run.sh).
# sh cmake/test.sh mutations [NAME...]: whether the simulation finds planted bugs.
set -eu

# shellcheck source=cmake/common.sh
. "$(dirname -- "$0")/common.sh"

answer_help "$@"
case ${1:-} in
trees | fuzz | sim | handover)
    suite=$1
    shift
    exec sh "$root/tests/$suite/run.sh" "$@"
    ;;
mutations)
    shift
    need compiler make cmake pkg-config libuv cmocka
    build test-plain:sim_tests -DCMAKE_BUILD_TYPE=Debug
    exec sh "$root/tests/sim/mutations/run.sh" "$root/build/test-plain" "$@"
    ;;
esac
if [ $# -eq 0 ]; then
    set -- plain asan
    [ "${UVECHOD_TEST_ALL:-}" != 1 ] || set -- system "$@"
fi

builds=
sanitizers=
system=
netem=
for kind in "$@"; do
    case $kind in
    plain | unit) builds="$builds $kind" ;;
    asan) builds="$builds asan" sanitizers="$sanitizers sanitizers" ;;
    tsan) builds="$builds tsan" sanitizers="$sanitizers tsan" ;;
    system) system=yes ;;
    netem) netem=yes ;;
    *) wrong_usage ;;
    esac
done
failed=
plain=test-plain
[ "${UVECHOD_COVERAGE:=OFF}" != ON ] || plain=coverage

# First, so that the lines of ctest are the last ones.
if [ -n "$system" ]; then
    # The checks need echoload, of the benchmark.
    package=$(sh "$root/cmake/package.sh" -DUVECHOD_BENCH=ON) && sh "$root/tests/system/run.sh" "$package" ||
        failed=" system"
fi
[ -z "$netem" ] || sh "$root/tests/system/netem.sh" || failed="$failed netem"

if [ -n "$builds" ]; then
    # The list is to be split into words.
    # shellcheck disable=SC2086
    need compiler make cmake pkg-config libuv cmocka $sanitizers
    want gettext libsystemd libmicrohttpd
fi
for kind in $builds; do
    case $kind in
    plain) build "$plain" -DCMAKE_BUILD_TYPE=Debug -DUVECHOD_COVERAGE="$UVECHOD_COVERAGE" ;;
    unit) build test-plain:unit_tests -DCMAKE_BUILD_TYPE=Debug ;;
    asan) sanitized test-asan address,undefined ;;
    tsan) sanitized test-tsan:workers_tests thread ;;
    esac
done

sanitizer_options
for kind in $builds; do
    label=. without='^$' tree=test-$kind
    case $kind in
    plain) tree=$plain ;;
    asan) without=docs ;; # which look at texts
    tsan) label=workers ;;
    unit) label=unit tree=test-plain ;;
    esac
    ctest --test-dir "$root/build/$tree" -L "$label" -LE "$without" --output-on-failure --no-tests=error \
        -j "$tests_at_once" ||
        failed="$failed $kind"
done
[ -z "$failed" ] || die "Tests failed:$failed"
