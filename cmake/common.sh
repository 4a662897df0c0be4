# Sourced by the scripts here and .ci/run, whose directory is one below the top.
# shellcheck shell=sh

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
jobs=$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
# Tests spend most of their time waiting.
# shellcheck disable=SC2034
tests_at_once=$((2 * jobs))

say() { printf '%s\n' "$*" >&2; }

die() {
    say "$@"
    exit 1
}

# usage: the comment at the head of the script that is run.
usage() { sed -n -e '1d' -e '/^#/!q' -e 's/^# \{0,1\}//p' "$0"; }

# wrong_usage: of the script that is run.
wrong_usage() {
    usage >&2
    exit 2
}

# answer_help "$@": if one of the script's arguments asks for help, that is all it does.
answer_help() {
    for argument in "$@"; do
        case $argument in
        -h | --help) usage && exit 0 ;;
        esac
    done
}

# quietly COMMAND...: shows what the command says only if it fails.
quietly() {
    output=$("$@" 2>&1 </dev/null) || {
        say "$output"
        return 1
    }
}

have() { command -v "$1" >/dev/null 2>&1; }

# links COMPILER [FLAG...]: does it make a program?
links() (
    probe=$(mktemp)
    trap 'rm -f "$probe"' EXIT
    # CC may carry flags of its own.
    # shellcheck disable=SC2086
    printf '#include <stdio.h>\nint main(void) { return puts("") < 0; }\n' |
        { cc=$1 && shift && $cc -x c "$@" -o "$probe" -; } 2>/dev/null
)

# sanitizing_cc [SANITIZERS]: prints the compiler for a build with them; address,undefined if none
# are given. Alpine's gcc has no sanitizers, its clang has.
sanitizing_cc() {
    for cc in "${CC:-cc}" clang; do
        if links "$cc" "-fsanitize=${1:-address,undefined}"; then
            echo "$cc"
            return
        fi
    done
    return 1
}

# Whether a need is met. Asking the tools, not the package manager, makes a second run quick and
# lets those who installed the tools some other way, or are not root, go on.
met() {
    case $1 in
    compiler) links "${CC:-cc}" ;;
    make) have ninja || have make ;;
    libuv) pkg-config --exists 'libuv >= 1.44' 2>/dev/null ;;
    libsystemd) pkg-config --exists libsystemd 2>/dev/null ;;
    cmocka) pkg-config --exists cmocka 2>/dev/null ;;
    gettext) have msgfmt && have xgettext ;;
    locales) [ -f /usr/share/i18n/locales/de_DE ] ;;
    dpkg-dev) have dpkg-shlibdeps ;;
    sanitizers) sanitizing_cc >/dev/null ;;
    tsan) sanitizing_cc thread >/dev/null ;;
    libev) links "${CC:-cc}" -lev ;;
    # The distribution's Python may not be the first in PATH.
    uvloop) python3 -c 'import uvloop' 2>/dev/null || /usr/bin/python3 -c 'import uvloop' 2>/dev/null ;;
    nc) nc -h 2>&1 | grep -q OpenBSD ;; # others know no -N
    ip) have ip || [ -x /sbin/ip ] ;;
    xinetd) have xinetd || [ -x /usr/sbin/xinetd ] ;;
    *) have "$1" ;;
    esac
}

# Prints the packages that meet a need; a tool's package bears its name unless listed.
packages() {
    case $manager:$1 in
    apt-get:compiler) echo gcc libc6-dev ;;
    dnf:compiler) echo gcc glibc-devel ;;
    apk:compiler) echo gcc musl-dev linux-headers ;;
    brew:compiler) echo gcc ;;
    dnf:pkg-config) echo pkgconf-pkg-config ;;
    apk:pkg-config | brew:pkg-config) echo pkgconf ;;
    apt-get:libuv) echo libuv1-dev ;;
    dnf:libuv) echo libuv-devel ;;
    apk:libuv) echo libuv-dev ;;
    apt-get:libsystemd) echo libsystemd-dev ;;
    dnf:libsystemd) echo systemd-devel ;;
    brew:libsystemd) echo systemd ;;
    dnf:locales) echo glibc-locale-source ;;
    apt-get:cmocka) echo libcmocka-dev ;;
    apt-get:linux.uml) echo user-mode-linux ;;
    apt-get:ip) echo iproute2 ;;
    apt-get:nc) echo netcat-openbsd ;;
    apt-get:mkfs.ext4) echo e2fsprogs ;;
    dnf:cmocka) echo libcmocka-devel ;;
    apk:cmocka) echo cmocka-dev ;;
    apt-get:sanitizers | apt-get:tsan) echo gcc ;;
    dnf:sanitizers) echo libasan libubsan ;;
    dnf:tsan) echo libtsan ;;
    apk:sanitizers | apk:tsan) echo clang compiler-rt ;;
    brew:sanitizers | brew:tsan) echo llvm ;;
    apt-get:libev | apk:libev) echo libev-dev ;;
    dnf:libev) echo libev-devel ;;
    apt-get:gnuplot) echo gnuplot-nox ;;
    *:node) echo nodejs ;;
    apk:uvloop) echo py3-uvloop ;;
    *:uvloop) echo python3-uvloop ;;
    dnf:ncat | apk:ncat) echo nmap-ncat ;;
    *) echo "$1" ;;
    esac
}

# Sets manager, or fails.
find_manager() {
    for manager in apt-get dnf apk brew; do
        ! have "$manager" || return 0
    done
    return 1
}

# The packages that meet these needs, each once.
packages_of() {
    for need in "$@"; do
        packages "$need"
    done | tr ' ' '\n' | awk '!seen[$0]++' | tr '\n' ' ' | sed 's/ $//'
}

# The command that installs packages, as root but for brew's.
install_command() {
    case $manager in
    apt-get) echo "apt-get install -y --no-install-recommends" ;;
    dnf) echo "dnf install -y --setopt=install_weak_deps=False" ;;
    apk) echo "apk add" ;;
    brew) echo "brew install" ;;
    esac
}

# as_root COMMAND...: fails, and says nothing, where nobody could type a password that sudo wants.
as_root() {
    if [ "$manager" = brew ] || [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif have sudo && { sudo -n true || { : </dev/tty && sudo -v; }; } 2>/dev/null; then
        sudo "$@"
    else
        return 126
    fi
}

# install_needs NEED...: fails with 126 where only somebody else can install.
install_needs() {
    list=$(packages_of "$@")
    as_root true || return
    say "Installing: $list"
    # One broken source of many fails the update, and need not concern us.
    [ "$manager" != apt-get ] || quietly as_root apt-get update -q ||
        say "Going on with the package lists as they are."
    # The list and the command are meant to split.
    # shellcheck disable=SC2046,SC2086
    quietly as_root env DEBIAN_FRONTEND=noninteractive $(install_command) $list
}

# unmet NEED...: prints those that are.
unmet() {
    for need in "$@"; do
        met "$need" || printf '%s ' "$need"
    done
}

# need NEED...: installs what is missing, or says what to install and ends.
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
        "$(install_command) $(packages_of $missing)" ;;
    *) die "Could not install: $(packages_of $missing)" ;;
    esac
}

# want NEED...: installs what is missing where that takes no password; goes on without it elsewhere.
want() {
    for need in $(unmet "$@"); do
        if ! find_manager || ! { [ "$(id -u)" -eq 0 ] || sudo -n true; } 2>/dev/null ||
            ! (install_needs "$need") 2>/dev/null; then
            say "Going on without $need, which is optional."
        fi
    done
}

# build NAME [CMAKE-ARGUMENT...]: configures and builds build/NAME; speaks up only when it fails.
# Warnings are errors only with UVECHOD_WERROR=ON in the environment, as .ci/run has it: those of a
# compiler that is newer than this code are to stop nobody else.
build() {
    dir=$root/build/$1
    shift
    # A tree that was moved or copied along with its build directories starts anew.
    if [ -f "$dir/CMakeCache.txt" ] &&
        ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$root" "$dir/CMakeCache.txt"; then
        rm -rf "$dir"
    fi
    # Once made, a build directory keeps its generator.
    if [ ! -f "$dir/CMakeCache.txt" ] && [ -z "${CMAKE_GENERATOR:-}" ] && have ninja; then
        set -- -G Ninja "$@"
    fi
    say "Building ${dir#"$root"/}"
    { quietly cmake -S "$root" -B "$dir" -DUVECHOD_WERROR="${UVECHOD_WERROR:-OFF}" "$@" &&
        quietly cmake --build "$dir" --parallel "$jobs"; } ||
        die "Could not build $dir"
}
