#!/bin/sh
# check_languages.sh UVECHOD BUILD CMAKE: the daemon speaks German and French from the build tree,
# and installed, under a prefix that the build did not know of.
set -eu

uvechod=$1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
bad=0

[ -d "$2/locale" ] || {
    echo "Skipped: built without gettext."
    exit 77
}
# Locales of our own: a machine need not have these, and a C library without localedef has none.
for locale in de_DE fr_FR; do
    localedef -i "$locale" -f UTF-8 "$scratch/$locale.UTF-8" >/dev/null 2>&1 || {
        echo "Skipped: localedef makes no $locale here (package locales, or glibc-locale-source)."
        exit 77
    }
done
export LOCPATH="$scratch"
unset LANGUAGE

# says LOCALE TEXT UVECHOD
says() {
    text=$(LC_ALL=$1 "$3" --help | head -n 1)
    case $text in
    "$2"*) ;;
    *)
        echo "LC_ALL=$1 $3 --help does not say '$2' but: $text"
        bad=1
        ;;
    esac
}

DESTDIR='' "$3" --install "$2" --prefix "$scratch/prefix" >"$scratch/log" || {
    cat "$scratch/log"
    exit 1
}
for program in "$uvechod" "$scratch/prefix/bin/uvechod"; do
    says de_DE.UTF-8 Aufruf: "$program"
    says fr_FR.UTF-8 Utilisation "$program"
    says C.UTF-8 Usage: "$program"
done
exit $bad
