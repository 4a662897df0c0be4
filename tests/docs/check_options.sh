#!/bin/sh
# check_options.sh UVECHOD SOURCE: the man page, the completion and README's table list exactly the
# options that UVECHOD --help lists, which it does from the table in the code.
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
        sed -e 's/ Ns = Ns Ar /=/' \
            -e 's/^\([[:alnum:]]\) Ar \([^ ]*\) , Fl \(.*=\2\)$/\1 -\3/' \
            -e 's/^\([[:alnum:]]\) , Fl \([^=]*\)$/\1 -\2/' -e 's/^/-/'
}

# Without the names of values: "-p --port=".
in_completion() {
    sed -n '/ options=(/,/^ *)/p' "$source/src/share/completion/uvechod.bash" |
        sed -n 's/^ *\(-.*\)/\1/p'
}

# | `-p`, `--port=PORT` | meaning | default |
# shellcheck disable=SC2016 # no command in that: Markdown
in_readme() {
    sed -n '/^## Options/,/^## [^O]/p' "$source/README.md" |
        sed -n 's/^| *\(`-[^|]*`\) *|.*/\1/p' | tr -d '`,'
}

# compare WHAT FILE EXPECTED
compare() {
    sort "$2" >"$2.sorted"
    sort "$3" | diff - "$2.sorted" >"$scratch/diff" && return
    echo "$1 (>) and --help (<) differ:"
    cat "$scratch/diff"
    bad=1
}

in_help >"$scratch/help"
sed 's/=.*/=/' "$scratch/help" >"$scratch/names"
in_man >"$scratch/man"
in_completion >"$scratch/completion"
in_readme >"$scratch/readme"

# A --help in another shape must not make this a comparison of nothing with nothing.
grep -qx -e '-h --help' "$scratch/help" || {
    echo "No options in --help:"
    cat "$scratch/text"
    exit 1
}
compare "The man page" "$scratch/man" "$scratch/help"
compare "The completion" "$scratch/completion" "$scratch/names"
compare "README's table" "$scratch/readme" "$scratch/help"

# All the page's text: an option that it names in passing exists, too.
grep -o 'Fl -[a-z0-9-]*' "$source/src/share/man/uvechod.8.in" | sort -u | while read -r _ name; do
    grep -qE -e "-$name(=.*)?\$" "$scratch/help" ||
        echo "The man page names -$name, which is no option"
done >"$scratch/unknown"
if [ -s "$scratch/unknown" ]; then
    cat "$scratch/unknown"
    bad=1
fi
exit $bad
