#!/bin/sh
# sh cmake/po.sh update            brings src/share/po/*.po in step with the messages in src
# sh cmake/po.sh check LANGUAGE    fails if a translation is missing, fuzzy, obsolete or wrong
set -eu

# shellcheck source=cmake/common.sh
. "$(dirname -- "$0")/common.sh"

# Paths in the catalogues are relative to the top.
cd "$root"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
pot=$scratch/uvechod.pot

# pass-c-format: a text in _() that is given to our own functions like printf is a format, too. The
# catalogues contain no line numbers, because these change with every edit, and no header of the
# template, which has a date.
extract() {
    find src -name '*.[ch]' | LC_ALL=C sort >"$scratch/sources"
    xgettext --from-code=UTF-8 --language=C --files-from="$scratch/sources" --output="$pot" \
        --keyword --keyword=_ --keyword=N_ --keyword=P_:1,2 \
        --flag=_:1:pass-c-format --flag=N_:1:pass-c-format \
        --flag=P_:1:pass-c-format --flag=P_:2:pass-c-format \
        --omit-header --add-location=file --add-comments=TRANSLATORS:
    # Without messages there is no file.
    [ -s "$pot" ] || die "There are no messages in src."
}

# merge PO FILE: writes PO with the messages of src to FILE. Messages that src no longer has are
# marked obsolete.
merge() {
    msgmerge --quiet --no-fuzzy-matching --add-location=file --output-file="$2" "$1" "$pot"
}

# none WHAT CATALOGUE [OPTION...]: prints the entries that msgattrib's options select, as errors.
none() {
    what=$1
    shift
    # The header, which comes first, is always among them.
    entries=$(msgattrib --no-location "$@" | sed '1,/^$/d' | sed -n '/msgid/,/msgstr/{/msgstr/!p;}')
    [ -n "$entries" ] || return 0
    say "$po: $what:"
    say "$entries"
    bad=1
}

# Options, signals, constants and the daemon's name must not be translated. msgexec runs this with a
# translation on standard input and the original in MSGEXEC_MSGID.
# shellcheck disable=SC2016
names='
    translation=$(cat)
    [ -n "$translation" ] || exit 0
    for name in $(printf "%s\n" "$MSGEXEC_MSGID" |
        grep -oE -e "--[a-z][a-z0-9-]+|[A-Z]+_?[A-Z0-9]{2,}[A-Z0-9_]*|uvechod"); do
        case $translation in
        *"$name"*) ;;
        *) printf "%s is not in: %s\n" "$name" "$translation" ;;
        esac
    done'

check() {
    po=src/share/po/$1.po
    bad=0
    [ -f "$po" ] || die "$po: there is no such catalogue"
    # Merged, because only the sources say which entries are formats.
    merge "$po" "$scratch/merged"
    msgfmt --check --output-file=/dev/null "$scratch/merged" || bad=1
    none "not translated" "$scratch/merged" --untranslated --no-obsolete
    none "fuzzy, or of another format" "$scratch/merged" --only-fuzzy --no-obsolete
    none "no longer in src" "$scratch/merged" --only-obsolete
    wrong=$(msgexec --input="$po" sh -c "$names")
    [ -z "$wrong" ] || { say "$po: names that were translated:" "$wrong" && bad=1; }
    [ "$bad" -eq 0 ] || die "$po is wrong. 'sh cmake/po.sh update' adds and drops entries."
}

answer_help "$@"
[ $# -gt 0 ] || wrong_usage
case $1:$# in
check:2)
    for tool in xgettext msgmerge msgattrib msgexec msgfmt; do
        have "$tool" || {
            say "Skipped: there is no $tool here."
            exit 77
        }
    done
    extract
    check "$2"
    ;;
update:1)
    need gettext
    extract
    for po in src/share/po/*.po; do
        merge "$po" "$scratch/merged"
        msgattrib --no-obsolete --output-file="$po" "$scratch/merged"
    done
    ;;
*) wrong_usage ;;
esac
