#!/bin/sh
# check_readme.sh SOURCE: README is short. Its links and those of the benchmark's page lead to files.
# The C names that it sets beside its Python exist: those of the sketch somewhere in src/, those of
# the table in the file that the table gives. The lines of the sketch are lines of echo.c.
set -eu
cd "$1"

bad=0
lines=$(mktemp)
trap 'rm -f "$lines"' EXIT
complain() {
    echo "$*"
    bad=1
}

# The names on standard input that have an underscore, which ordinary words have not.
names() { grep -oE '\b[a-z]+_[a-z_]+' | sort -u; }

words=$(wc -w <README.md)
[ "$words" -lt 2200 ] || complain "README.md has $words words; it must have fewer than 2200."

for page in README.md tests/bench/README.md; do
    links=$(sed 's/](/\n](/g' "$page" | sed -n 's/^](\([^):# ]*\)[#)].*/\1/p' | sort -u)
    [ -n "$links" ] || complain "There are no links in $page."
    for link in $links; do
        [ -e "$(dirname "$page")/$link" ] || complain "$page: there is no $link."
    done
done

# shellcheck disable=SC2016 # the backticks are Markdown's
sketch=$(sed -n '/^```c$/,/^```$/p' README.md | names)
# | `Python` | `C` and words | [file](path) |
table=$(sed -n 's/^|[^|]*|\([^|]*\)| *\[[^|]*](\(src[^)]*\)) *|$/\2 \1/p' README.md |
    while read -r path text; do
        printf '%s\n' "$text" | names | sed "s|^|$path:|"
    done)
# The sketch leaves lines out, and braces with them, but changes none.
# shellcheck disable=SC2016 # the backticks are Markdown's
sed -n '/^```c$/,/^```$/p' README.md | sed -e '/^```/d' -e 's|/[*].*||' -e 's/^ *//' -e 's/ *$//' |
    while IFS= read -r line; do
        grep -qF -- "$line" src/service/echo.c || echo "README.md: echo.c has no line $line"
    done >"$lines"
[ ! -s "$lines" ] || complain "$(cat "$lines")"
[ -n "$sketch" ] || complain "README.md has no sketch in C."
[ -n "$table" ] || complain "README.md has no table from Python to C."
for name in $sketch; do
    grep -rqw "$name" src || complain "README.md: there is no $name in src/."
done
for row in $table; do
    grep -qw "${row#*:}" "${row%:*}" || complain "README.md: there is no ${row#*:} in ${row%:*}."
done
exit "$bad"
