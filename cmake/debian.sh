# Sourced after cmake/common.sh by the scripts that make a Debian tree with debootstrap, from the
# mirror that this machine's apt is configured to use.
# shellcheck shell=sh

suite_here=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)

# repository FIELD: prints this field of the repository that this machine's own packages come from.
# The sources name its suite by the code name or, for example, as stable. apt then knows the code
# name if it has the lists of the repository.
repository() {
    for field in Release Codename; do
        value=$(apt-get indextargets --format "\$($1)" 'Created-By: Packages' \
            'Component: main' "$field: $suite_here" | head -n 1)
        [ -z "$value" ] || break
    done
    echo "$value"
}

# find_mirror: sets mirror, or ends.
find_mirror() {
    mirror=$(repository REPO_URI)
    [ -n "$mirror" ] || die "The apt sources have no section main of '$suite_here'."
}

# export_proxy: sets apt's proxy, which may be for one host only, in the environment for debootstrap.
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

# served SUITE ARCHITECTURE: whether the mirror has this suite.
served() (
    probe=$(mktemp)
    trap 'rm -f "$probe"' EXIT
    /usr/lib/apt/apt-helper download-file "${mirror%/}/dists/$1/Release" "$probe" >/dev/null 2>&1 &&
        grep -q "^Architectures:.* $2\( \|\$\)" "$probe"
)

# make_tree SUITE ARCHITECTURE DIRECTORY LOG [OPTION...]: makes the smallest Debian that has apt. The
# keys are those that the source of this machine's own packages names, or else debootstrap's own.
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
