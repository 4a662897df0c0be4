#!/bin/sh
# check_man.sh PAGE: mandoc finds no fault with the man page. PAGE may refer to pages that are not
# installed here. On standard error mandoc complains of this machine's index of pages only.
set -u

command -v mandoc >/dev/null || {
    echo "Skipped: there is no mandoc here."
    exit 77
}
[ -r "$1" ] || {
    echo "$1: cannot be read"
    exit 1
}
# The exit status of mandoc is of no use, because it counts the messages that grep leaves out.
faults=$(mandoc -Tlint -Wall "$1" 2>/dev/null | grep -v 'referenced manual not found')
[ -z "$faults" ] || {
    printf '%s\n' "$faults"
    exit 1
}
if grep -n '@[A-Z_]*@' "$1"; then
    echo "$1: not configured"
    exit 1
fi
