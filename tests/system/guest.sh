# Sourced by the scripts that are process 1 of a machine of machine.sh. They must set dir, the
# directory for their logs and results, before.
# shellcheck shell=sh

mount -t proc proc /proc
# When process 1 ends, the kernel panics. So the last thing that it does is to power off.
trap 'echo o >/proc/sysrq-trigger; sleep 60' EXIT
mount -t tmpfs tmpfs /run
# The root file system is a hostfs, too, but read only.
# shellcheck disable=SC2154
mount -t hostfs -o "$dir" hostfs "$dir"
cd "$dir" || exit 1
exec >checks.log 2>&1

# sync after each line, because the machine may be ended at any time.
plan() { echo "1..$1" >results; }
note() { printf '%s\n' "$*" | sed 's/^/# /' >>results && sync; }
ok() { echo "ok - $1" >>results && sync; }
# not_ok TITLE WHY: WHY may have many lines.
not_ok() {
    echo "not ok - $1" >>results
    note "$2"
}

set_sysctl() { echo "$2" >"/proc/sys/$1" || echo "$1 stays $(cat "/proc/sys/$1")"; }

# lives PID: whether it runs. A child that has ended is a zombie, or nothing if the shell has looked.
lives() { grep -q '^State:.[^Z]' "/proc/$1/status" 2>/dev/null; }

# stats_line PID LOG: makes this daemon log its statistics, and prints them.
stats_line() {
    lines=$(grep -c Statistics "$2")
    kill -USR1 "$1"
    tries=100
    while [ "$(grep -c Statistics "$2")" -eq "$lines" ] && [ "$tries" -gt 0 ]; do
        tries=$((tries - 1))
        sleep 0.1
    done
    grep Statistics "$2" | tail -n 1
}
