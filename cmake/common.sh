# Sourced by .ci/run and the scripts of this directory and of those below tests/.
# shellcheck shell=sh

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
# Scripts below tests/ are one level deeper.
[ "${root##*/}" != tests ] || root=${root%/*}
jobs=$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
# Tests spend most of their time waiting.
# shellcheck disable=SC2034
tests_at_once=$((3 * jobs))

say() { printf '%s\n' "$*" >&2; }

die() {
    say "$@"
    exit 1
}

# usage: prints the comment at the head of the script that is run.
usage() { sed -n -e '1d' -e '/^#/!q' -e 's/^# \{0,1\}//p' "$0"; }

# wrong_usage: prints the usage as an error, and ends.
wrong_usage() {
    usage >&2
    exit 2
}

# answer_help "$@": if one of the arguments asks for help, prints the usage and ends.
answer_help() {
    for argument in "$@"; do
        case $argument in
        -h | --help) usage && exit 0 ;;
        esac
    done
}

# quietly COMMAND...: shows the output of the command only if it fails.
quietly() {
    output=$("$@" 2>&1 </dev/null) || {
        say "$output"
        return 1
    }
}

have() { command -v "$1" >/dev/null 2>&1; }

# links COMPILER [FLAG...]: whether it makes a program.
links() (
    probe=$(mktemp)
    trap 'rm -f "$probe"' EXIT
    # CC may carry flags of its own.
    # shellcheck disable=SC2086
    printf '#include <stdio.h>\nint main(void) { return puts("") < 0; }\n' |
        { cc=$1 && shift && $cc -x c "$@" -o "$probe" -; } 2>/dev/null
)

# sanitizing_cc [SANITIZERS]: prints the compiler for a build with them (address,undefined unless
# given), or fails. Alpine's gcc has no sanitizers, and its clang has.
sanitizing_cc() {
    for cc in "${CC:-cc}" clang; do
        if links "$cc" "-fsanitize=${1:-address,undefined}"; then
            echo "$cc"
            return
        fi
    done
    return 1
}

# met NEED: whether it is there. This asks the tools, not the package manager, so that a second run
# is quick, and tools may be installed some other way, or without being root.
met() {
    case $1 in
    compiler) links "${CC:-cc}" ;;
    make) have ninja || have make ;;
    libuv) pkg-config --exists 'libuv >= 1.44' 2>/dev/null ;;
    libsystemd) pkg-config --exists libsystemd 2>/dev/null ;;
    libmicrohttpd) pkg-config --exists libmicrohttpd 2>/dev/null ;;
    cmocka) pkg-config --exists cmocka 2>/dev/null ;;
    gettext) have msgfmt && have xgettext ;;
    locales) [ -f /usr/share/i18n/locales/de_DE ] ;;
    dpkg-dev) have dpkg-shlibdeps ;;
    sanitizers) sanitizing_cc >/dev/null ;;
    tsan) sanitizing_cc thread >/dev/null ;;
    fuzzer) sanitizing_cc fuzzer-no-link,address,undefined >/dev/null ;;
    libev) links "${CC:-cc}" -lev ;;
    # The distribution's Python may not be the first in PATH.
    uvloop) python3 -c 'import uvloop' 2>/dev/null || /usr/bin/python3 -c 'import uvloop' 2>/dev/null ;;
    nc) nc -h 2>&1 | grep -q OpenBSD ;; # others know no -N
    ip) have ip || [ -x /sbin/ip ] ;;
    haproxy) have haproxy || [ -x /usr/sbin/haproxy ] ;;
    nginx-stream) [ -e /usr/lib/nginx/modules/ngx_stream_module.so ] ||
        [ -e /usr/lib64/nginx/modules/ngx_stream_module.so ] ;;
    xinetd) have xinetd || [ -x /usr/sbin/xinetd ] ;;
    *) have "$1" ;;
    esac
}

# packages NEED...: prints the packages that meet the needs, each once, in one line. A package has
# the name of the need unless the table has another; a comma separates several packages.
packages() {
    awk -v needs="$*" -v manager="$manager" '
        NR == 1 { for (i = 2; i <= NF; i++) if ($i == manager) column = i }
        { package[$1] = $column }
        END {
            n = split(needs, need, " ")
            for (i = 1; i <= n; i++)
                list = list "," (package[need[i]] ~ /[^-]/ ? package[need[i]] : need[i])
            n = split(substr(list, 2), name, ",")
            for (i = 1; i <= n; i++)
                if (!seen[name[i]]++) printf "%s%s", (i == 1 ? "" : " "), name[i]
        }' <<'END'
need        apt-get          dnf                  apk                         brew
compiler    gcc,libc6-dev    gcc,glibc-devel      gcc,musl-dev,linux-headers  gcc
make        make,ninja-build -                    -                           -
pkg-config  -                pkgconf-pkg-config   pkgconf                     pkgconf
libuv       libuv1-dev       libuv-devel          libuv-dev                   -
libsystemd  libsystemd-dev   systemd-devel        -                           systemd
libmicrohttpd libmicrohttpd-dev libmicrohttpd-devel libmicrohttpd-dev     -
cmocka      libcmocka-dev    libcmocka-devel      cmocka-dev                  -
locales     -                glibc-locale-source  -                           -
sanitizers  gcc              libasan,libubsan     clang,compiler-rt           llvm
tsan        gcc              libtsan              clang,compiler-rt           llvm
fuzzer      clang,libclang-rt-dev  clang,compiler-rt  clang,compiler-rt    llvm
libev       libev-dev        libev-devel          libev-dev                   -
gnuplot     gnuplot-nox      -                    -                           -
node        nodejs           nodejs               nodejs                      nodejs
uvloop      python3-uvloop   python3-uvloop       py3-uvloop                  python3-uvloop
ncat        -                nmap-ncat            nmap-ncat                   -
nc          netcat-openbsd   -                    -                           -
ip          iproute2         -                    -                           -
tc          iproute2         -                    -                           -
ss          iproute2         -                    -                           -
modprobe    kmod             -                    -                           -
linux.uml   user-mode-linux  -                    -                           -
mkfs.ext4   e2fsprogs        -                    -                           -
nginx-stream nginx,libnginx-mod-stream nginx,nginx-mod-stream nginx,nginx-mod-stream -
END
}

# find_manager: sets manager to the package manager of this machine, or fails.
find_manager() {
    for manager in apt-get dnf apk brew; do
        ! have "$manager" || return 0
    done
    return 1
}

# install_command: prints the command that installs packages. It must be run as root, but for brew.
install_command() {
    case $manager in
    apt-get) echo "apt-get install -y --no-install-recommends" ;;
    dnf) echo "dnf install -y --setopt=install_weak_deps=False" ;;
    apk) echo "apk add" ;;
    brew) echo "brew install" ;;
    esac
}

# as_root COMMAND...: fails silently where sudo wants a password and there is no terminal for it.
as_root() {
    if [ "$manager" = brew ] || [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif have sudo && { sudo -n true || { : </dev/tty && sudo -v; }; } 2>/dev/null; then
        sudo "$@"
    else
        return 126
    fi
}

# install_needs NEED...: fails with 126 if the user may not install.
install_needs() {
    list=$(packages "$@")
    as_root true || return
    say "Installing: $list"
    # One broken source of many fails the update, and may be one that is not needed.
    [ "$manager" != apt-get ] || quietly as_root apt-get update -q ||
        say "Going on with the package lists as they are."
    # The list and the command are to be split into words.
    # shellcheck disable=SC2046,SC2086
    quietly as_root env DEBIAN_FRONTEND=noninteractive $(install_command) $list
}

# unmet NEED...: prints those that are not met.
unmet() {
    for need in "$@"; do
        met "$need" || printf '%s ' "$need"
    done
}

# need NEED...: installs what is missing, or prints what must be installed, and ends.
need() {
    missing=$(unmet "$@")
    [ -n "$missing" ] || return 0
    find_manager || die "Missing: $missing. Please install them and run this again."
    result=0
    # shellcheck disable=SC2086
    install_needs $missing || result=$?
    # shellcheck disable=SC2086
    case $result in
    0) ;;
    126) die "Packages are missing, and neither root nor sudo is here to install them. As root:" \
        "$(install_command) $(packages $missing)" ;;
    *) die "Could not install: $(packages $missing)" ;;
    esac
}

# want NEED...: installs what is missing if that takes no password; otherwise goes on without it.
want() {
    for need in $(unmet "$@"); do
        if ! find_manager || ! { [ "$(id -u)" -eq 0 ] || sudo -n true; } 2>/dev/null ||
            ! (install_needs "$need") 2>/dev/null; then
            say "Going on without $need, which is optional."
        fi
    done
}

# build NAME[:TARGET] [CMAKE-ARGUMENT...]: configures build/NAME and builds all of it, or TARGET only;
# prints the output only if it fails. Warnings are errors only with UVECHOD_WERROR=ON in the
# environment, which .ci/run sets: the warnings of a compiler that is newer than this code must not
# stop users.
build() {
    dir=$root/build/${1%%:*} target=all
    case $1 in *:*) target=${1#*:} ;; esac
    shift
    # The build directory of a tree that was moved or copied is of no use.
    if [ -f "$dir/CMakeCache.txt" ] &&
        ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$root" "$dir/CMakeCache.txt"; then
        rm -rf "$dir"
    fi
    # A build directory that exists keeps its generator.
    if [ ! -f "$dir/CMakeCache.txt" ] && [ -z "${CMAKE_GENERATOR:-}" ] && have ninja; then
        set -- -G Ninja "$@"
    fi
    # Another script may be building it.
    mkdir -p "$dir"
    exec 8<"$dir"
    ! have flock || flock 8
    say "Building ${dir#"$root"/}"
    { quietly cmake -S "$root" -B "$dir" -DUVECHOD_WERROR="${UVECHOD_WERROR:-OFF}" "$@" &&
        quietly cmake --build "$dir" --parallel "$jobs" --target "$target"; } ||
        die "Could not build $dir"
    exec 8<&-
}

# sanitized NAME[:TARGET] SANITIZERS: builds with them.
sanitized() (
    CC=$(sanitizing_cc "$2") || die "No compiler here knows -fsanitize=$2."
    export CC
    build "$1" -DCMAKE_BUILD_TYPE=Debug -DUVECHOD_SANITIZE="$2"
)

# sanitizer_options: sets what programs with sanitizers are told, unless the user has.
sanitizer_options() {
    # Where LeakSanitizer works, it is on by default; where not, asking for it is an error.
    : "${ASAN_OPTIONS:=abort_on_error=1:exitcode=99:detect_stack_use_after_return=1:strict_string_checks=1}"
    : "${UBSAN_OPTIONS:=abort_on_error=1:print_stacktrace=1}"
    # The first finding ends the test.
    : "${TSAN_OPTIONS:=halt_on_error=1:exitcode=99}"
    export ASAN_OPTIONS UBSAN_OPTIONS TSAN_OPTIONS
}

# failed_tests LOG: prints what the tests that have failed said to ctest, without their cases that
# passed or were skipped, and of any other case the first 60 lines. The lines may be comments of TAP.
failed_tests() {
    awk 'function say() { printf "%s", said; said = ""; lines = 0 }
        /^== |^(# )? *(Start +[0-9]+|[0-9]+\/[0-9]+ Test)/ { say(); failed = 0 }
        /^(# )? *[0-9]+\/[0-9]+ Test .*[*][*][*][^S]/ { failed = 1; print; next }
        !failed { next }
        /^(# )?\[ +(OK|SKIPPED) +\]/ { said = ""; lines = 0; next }
        ++lines <= 60 { said = said $0 "\n" }
        /^(# )?\[ +FAILED +\]/ { say() }
        END { say() }' "$1"
}
