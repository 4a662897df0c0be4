# Sourced, behind cmake/common.sh, by the scripts that make a Debian tree with debootstrap. They
# name this machine's own suite and mirror by what its apt is configured to use.
# shellcheck shell=sh

suite_here=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)

# repository FIELD: prints it, of the repository that this machine's own packages come from. The
# sources name it (Release) by its code name, or as stable and the like; then apt knows the code
# name if it has the repository's lists.
repository() {
    for field in Release Codename; do
        value=$(apt-get indextargets --format "\$($1)" 'Created-By: Packages' \
            'Component: main' "$field: $suite_here" | head -n 1)
        [ -z "$value" ] || break
    done
    echo "$value"
}

# Sets mirror, or ends.
find_mirror() {
    mirror=$(repository REPO_URI)
    [ -n "$mirror" ] || die "The apt sources have no section main of '$suite_here'."
}

# apt's proxy, which may be set for one host alone, for debootstrap, which reads the environment.
export_proxy() {
    host=${mirror#*://}
    host=${host%%[:/]*}
    for scheme in http https; do
        proxy=
        eval "$(apt-config shell proxy "Acquire::$scheme::Proxy" \
            proxy "Acquire::$scheme::Proxy::$host")"
        case $proxy in
        '') ;;
        DIRECT) no_proxy="${no_proxy:+$no_proxy,}$host" && export no_proxy ;;
        *) eval "${scheme}_proxy=\$proxy && export ${scheme}_proxy" ;;
        esac
    done
}

# served SUITE ARCHITECTURE: whether the mirror has it.
served() (
    probe=$(mktemp)
    trap 'rm -f "$probe"' EXIT
    /usr/lib/apt/apt-helper download-file "${mirror%/}/dists/$1/Release" "$probe" >/dev/null 2>&1 &&
        grep -q "^Architectures:.* $2\( \|\$\)" "$probe"
)

# make_tree SUITE ARCHITECTURE DIRECTORY LOG [OPTION...]: the smallest Debian that has apt. The keys
# are those that the source of this machine's own packages names, if it does; otherwise debootstrap
# has Debian's.
make_tree() (
    export_proxy
    source=$(repository SOURCESENTRY)
    keyring=$(sed -n 's/.*[Ss]igned-[Bb]y[:=] *\(\/[^] ]*\).*/\1/p' "${source%:*}" | head -n 1)
    suite=$1 architecture=$2 directory=$3 log=$4
    shift 4
    debootstrap --variant=minbase --arch="$architecture" ${keyring:+--keyring="$keyring"} "$@" \
        "$suite" "$directory" "$mirror" >"$log" 2>&1 </dev/null ||
        die "debootstrap failed, as $log says: $(tail -n 5 "$log")"
)
