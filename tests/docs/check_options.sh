#!/bin/sh
# check_options.sh UVECHOD SOURCE: the man page and the completion list exactly the options that
# UVECHOD --help lists from the table in the code. README and the text of the man page name no other
# options.
set -eu

uvechod=$1
source=$2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
bad=0

# Each of these prints one option per line, as "-p --port=PORT", "--chunk=BYTES" or "-q --quiet".
in_help() {
    LC_ALL=C "$uvechod" --help >"$scratch/text"
    sed -n -e 's/^  \(-[[:alnum:]]\), \(--[^ ]*\).*/\1 \2/p' \
        -e 's/^      \(--[^ ]*\).*/\1/p' "$scratch/text"
}

# .It Fl p Ar PORT , Fl -port Ns = Ns Ar PORT
in_man() {
    sed -n '/^\.Sh OPTIONS/,/^\.Sh SIGNALS/s/^\.It Fl //p' "$source/src/share/man/uvechod.8.in" |
        sed -e 's/ Ns = Ns Ar /=/' -e 's/ Ns Op = Ns Cm \(.*\)/[=\1]/' \
            -e 's/^\([[:alnum:]]\) Ar \([^ ]*\) , Fl \(.*=\2\)$/\1 -\3/' \
            -e 's/^\([[:alnum:]]\) , Fl \([^=]*\)$/\1 -\2/' -e 's/^/-/'
}

# Without the names of values: "-p --port=".
in_completion() {
    sed -n '/ options=(/,/^ *)/p' "$source/src/share/completion/uvechod.bash" |
        sed -n 's/^ *\(-.*\)/\1/p'
}

# README lists some of them in a table: | `-p`, `--port=PORT` | meaning | default |
# shellcheck disable=SC2016 # the backticks are Markdown's
in_readme() {
    sed -n 's/^| *\(`-[^|]*`\) *|.*/\1/p' "$source/README.md" | tr -d '`,'
}

# The options in README's text, such as `--bind=localhost`, and those that it gives to run.sh.
# shellcheck disable=SC2016 # the backticks are Markdown's
named_in_readme() {
    grep -oE '(`|run\.sh )--?[a-z0-9-]+' "$source/README.md" | sed 's/.*[` ]//'
}

# compare WHAT FILE EXPECTED: both have the same lines, in any order.
compare() {
    sort "$2" >"$2.sorted"
    sort "$3" | diff - "$2.sorted" >"$scratch/diff" && return
    echo "$1 (>) and --help (<) differ:"
    cat "$scratch/diff"
    bad=1
}

in_help >"$scratch/help"
sed 's/\[=.*//; s/=.*/=/' "$scratch/help" >"$scratch/names"
in_man >"$scratch/man"
in_completion >"$scratch/completion"
in_readme >"$scratch/readme"
: >"$scratch/unknown"

# If --help changed its shape, this would compare nothing with nothing.
grep -qx -e '-h --help' "$scratch/help" || {
    echo "No options in --help:"
    cat "$scratch/text"
    exit 1
}
compare "The man page" "$scratch/man" "$scratch/help"
compare "The completion" "$scratch/completion" "$scratch/names"

# README's table has fewer options, but writes them in the same way.
[ -s "$scratch/readme" ] || echo "README has no table of options" >"$scratch/unknown"
grep -vxF -f "$scratch/help" "$scratch/readme" |
    sed 's/^/README lists what --help does not: /' >>"$scratch/unknown" || :

# unknown PAGE: prints a complaint for each option on standard input that does not exist.
unknown() {
    sort -u | while read -r name; do
        grep -qE -e "(^| )$name(\[?=.*| |\$)" "$scratch/help" ||
            echo "$1 names $name, which is no option"
    done
}
named_in_readme | unknown README >>"$scratch/unknown"
grep -o 'Fl -[a-z0-9-]*' "$source/src/share/man/uvechod.8.in" | sed 's/^Fl /-/' |
    unknown "The man page" >>"$scratch/unknown"
if [ -s "$scratch/unknown" ]; then
    cat "$scratch/unknown"
    bad=1
fi
exit $bad
