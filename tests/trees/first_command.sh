#!/bin/bash
# bash first_command.sh: runs README's first command, word for word, at the top of the clone that
# this file is in; sends Hello through bash's own /dev/tcp, because no other client is installed; and
# stops the daemon, which must exit with 0.
set -eu
cd "$(dirname -- "$0")/../.."

coproc daemon { exec sh cmake/run.sh --port 25000 2>&1; }
# shellcheck disable=SC2154 # set by coproc
pid=$daemon_PID
exec {said}<&"${daemon[0]}" # bash closes its own copy when the daemon ends
# The build comes first. If it hangs, the script that runs this one ends it.
while IFS= read -r line <&"$said"; do
    printf '%s\n' "$line"
    case $line in *'Listening on 0.0.0.0:25000') break ;; esac
done
exec {client}<>/dev/tcp/127.0.0.1/25000
printf 'Hello\n' >&"$client"
IFS= read -r answer <&"$client"
[ "$answer" = GOT:Hello ] || {
    printf 'answer: %s\n' "$answer"
    exit 1
}
exec {client}>&-
kill -TERM "$pid"
cat <&"$said"
wait "$pid"
