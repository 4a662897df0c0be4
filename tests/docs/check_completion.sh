#!/bin/sh
# check_completion.sh FILE: bash completes options and their values as the completion in FILE says.
set -u

command -v bash >/dev/null || {
    echo "Skipped: there is no bash here."
    exit 77
}
# bash completes host names after @; with an empty list, those of this machine play no part.
exec env HOSTFILE=/dev/null bash --norc --noprofile -u /dev/stdin "$1" <<'EOF_BASH'
shopt -u hostcomplete
HOSTFILE=/dev/null
COMP_WORDBREAKS=$' \t\n"\'@><=;|&(:'
source "$1" || exit 1
bad=0

# expect LINE [WORD...]: the completion offers these words after LINE.
expect() {
    COMP_LINE=$1 COMP_POINT=${#1} COMPREPLY=()
    shift
    _uvechod uvechod x y
    [[ "${COMPREPLY[*]}" == "$*" ]] && return
    printf "'%s' is completed with '%s', not '%s'\n" "$COMP_LINE" "${COMPREPLY[*]}" "$*"
    bad=1
}

expect 'uvechod --po' --port=
expect 'uvechod --r' --rfc862
expect 'uvechod --max' --max-connections= --max-per-source= --max-rate=
expect 'uvechod --k' --keepalive= --keep
expect 'uvechod --nonsense'
expect 'uvechod nonsense'
# bash cuts words at = and :, and replaces only what follows.
expect 'uvechod --port=250' 25000
expect 'uvechod --port=' 0 7 25000
expect 'uvechod -p 250' 25000
expect 'uvechod -q --port 7' 7
expect 'uvechod --quiet --po' --port=
expect 'uvechod --bind=127' 127.0.0.1
expect 'uvechod --bind=uni' unix:/ unix:@
expect 'uvechod --bind=unix:' / @
expect 'uvechod -b ::' '' 1
expect 'uvechod --bind=unix:/run/echo'
expect 'uvechod --prefix=G' GOT:
expect 'uvechod --bind=::1 --so' --socket-mode=
expect 'uvechod --socket-mode=06' 0600 0660 0666
expect 'uvechod --keepalive=6' 60s
expect 'uvechod --rfc862='
expect 'uvechod --udp' --udp --udp-any-source --udp-rate=
expect 'uvechod --udp=' only
# The cursor is in the middle of the line.
COMP_LINE='uvechod --chu --quiet' COMP_POINT=13 COMPREPLY=()
_uvechod uvechod x y
[[ ${COMPREPLY[*]} == --chunk= ]] || { echo "In the middle: '${COMPREPLY[*]}'"; bad=1; }

# For every option that takes a value, the completion offers at least one.
COMP_LINE='uvechod -' COMP_POINT=9
_uvechod uvechod x y
for option in "${COMPREPLY[@]}"; do
    [[ $option == *= ]] || continue
    COMP_LINE="uvechod $option" COMP_POINT=$((8 + ${#option}))
    _uvechod uvechod x y
    [[ -n ${COMPREPLY[0]-} ]] || { echo "$option is offered no values"; bad=1; }
done
exit $bad
EOF_BASH
