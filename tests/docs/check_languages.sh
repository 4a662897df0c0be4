#!/bin/sh
# check_languages.sh UVECHOD BUILD CMAKE: the daemon speaks German and French, both from the build
# tree and when it is installed under a prefix that the build did not know.
set -eu

uvechod=$1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
bad=0

[ -d "$2/locale" ] || {
    echo "Skipped: built without gettext."
    exit 77
}
# Those that the build has made, because a machine need not have them. A C library without localedef
# has no locales.
for locale in de_DE fr_FR; do
    [ -d "$2/tests/locales/$locale.UTF-8" ] || {
        echo "Skipped: localedef makes no $locale here (package locales, or glibc-locale-source)."
        exit 77
    }
done
export LOCPATH="$2/tests/locales"
unset LANGUAGE

# says LOCALE TEXT UVECHOD: in LOCALE, the help begins with TEXT.
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
