#!/bin/sh
# check_man.sh PAGE: mandoc finds no fault with the man page. That a page it refers to is not
# installed here is none. What mandoc thinks of this machine's index of pages is on standard error.
set -u

command -v mandoc >/dev/null || {
    echo "Skipped: there is no mandoc here."
    exit 77
}
[ -r "$1" ] || {
    echo "$1: cannot be read"
    exit 1
}
# Its exit status counts what is left out below, too.
faults=$(mandoc -Tlint -Wall "$1" 2>/dev/null | grep -v 'referenced manual not found')
[ -z "$faults" ] || {
    printf '%s\n' "$faults"
    exit 1
}
if grep -n '@[A-Z_]*@' "$1"; then
    echo "$1: not configured"
    exit 1
fi
