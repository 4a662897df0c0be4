#!/bin/sh
# sh million_checks.sh DIRECTORY BUILD CONNECTIONS: process 1 of the machine that million.sh boots.
# Runs uvechod and echoload of this build, and leaves in DIRECTORY their logs, and results in the
# format of checks.sh, with the figures in lines that begin with "# ".
set -u
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

dir=$1
build=$2
connections=$3
# With so few connections from each address the search for a free port is short.
sources=$((connections / 1000 + 1))
# With a reserve for what else each process opens.
descriptors=$((connections + 1000))
# Bytes of a message and of the prefix before it, and seconds.
message=64
prefix=4
idle=10

# shellcheck source=tests/system/guest.sh
. "$(dirname -- "$0")/guest.sh"

plan 5

# quotient A B [DIGITS]: prints A / B.
quotient() { awk -v a="$1" -v b="$2" -v d="${3:-0}" 'BEGIN { printf "%.*f", d, b ? a / b : 0 }'; }

# In KiB: what a process has in memory, and what the kernel has for itself, which is all that is not
# free, not of files and not of processes.
resident() { awk '$1 == "Rss:" { print $2 }' "/proc/$1/smaps_rollup"; }
kernel() {
    awk '{ kib[$1] = $2 }
        END { print kib["MemTotal:"] - kib["MemFree:"] - kib["Buffers:"] - kib["Cached:"] \
                    - kib["AnonPages:"] }' /proc/meminfo
}
slab() { awk '$1 == "Slab:" { print $2 }' /proc/meminfo; }

# The CPU time of a process in hundredths of a second, which is counted in ticks, and how often it
# was woken, which is exact.
cpu() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }
wakes() { awk '/ctxt_switches/ { sum += $2 } END { print sum }' "/proc/$1/status"; }

# soon SECONDS COMMAND...: tries again until COMMAND succeeds. Fails after this time, or when one of
# the two processes has ended.
load=
soon() {
    deadline=$(($(date +%s) + $1))
    shift
    until "$@"; do
        [ "$(date +%s)" -lt "$deadline" ] || return 1
        lives "$daemon" && { [ -z "$load" ] || lives "$load"; } || return 1
        sleep 1
    done
}

listening() { grep -q ': 0100007F:61A8 00000000:0000 0A ' /proc/net/tcp; }
all_connected() { grep -q holding echoload.log; }

stats_of_daemon() { stats_line "$daemon" uvechod.log; }
counted() { stats_of_daemon | sed -n 's/.*Statistics: \([0-9]*\) connections now.*/\1/p'; }
all_accepted() { [ "$(counted)" = "$connections" ]; }
one_speaks() { [ "$(counted)" = $((connections + 1)) ]; }
upgraded() { stats_of_daemon | grep -q '; 1 upgrades$'; }
moved() { stats_of_daemon | sed -n "s/.*; \\([0-9]*\\) bytes in, \\([0-9]*\\) out;.*/\\$1/p"; }

ip link set lo up
set_sysctl fs/nr_open $((descriptors > 1048576 ? descriptors : 1048576))
set_sysctl fs/file-max $((2 * descriptors))
# ulimit -n is in POSIX since 2024, and in all shells that may be /bin/sh.
# shellcheck disable=SC3045
ulimit -n "$descriptors"
set_sysctl net/core/somaxconn 4096
set_sysctl net/ipv4/tcp_max_syn_backlog 4096
set_sysctl net/ipv4/ip_local_port_range '1024 65535'
# All messages may be sent at once. Idle sockets have no buffers, whatever tcp_rmem says.
set_sysctl net/ipv4/tcp_mem "$connections $connections $connections"
set_sysctl net/ipv4/tcp_max_orphans "$connections"
# With the default of 1000, most connections ended two minutes later when this machine was slow. The
# likely cause: keepalive probes that are due within seconds leave at once, and the loopback drops
# what its backlog has no room for, for the same connections each time.
set_sysctl net/core/netdev_max_backlog "$connections"
# Closed connections need not be remembered, because no client connects again.
set_sysctl net/ipv4/tcp_max_tw_buckets 0

: >uvechod.log
: >echoload.log

title="$connections connections are open at once"

# start_daemon LIMIT: starts it in the background, or ends with a result that says why not.
start_daemon() {
    "$build/uvechod" --quiet --bind=127.0.0.1 --max-connections="$1" 2>uvechod.log &
    daemon=$!
    soon 30 listening && return
    not_ok "$title" "uvechod does not listen: $(cat uvechod.log)"
    exit
}

# First, what the daemon takes without connections, and without room for any in its tables.
start_daemon 1
resident_before=$(resident "$daemon")
kill "$daemon"
wait "$daemon"

start_daemon $((connections + 1)) # one for a client that speaks
kernel_before=$(kernel)
slab_before=$(slab)

# echoload holds the connections until its standard input ends.
mkfifo /run/input
exec 3<>/run/input
"$build/tests/bench/echoload" --mode=idle --connections="$connections" --size="$message" \
    --sources="$sources" --echo-last --timeout=300 127.0.0.1:25000 \
    </run/input >echoload.out 2>echoload.log 3>&- &
load=$!

if ! { soon 1000000 all_connected && soon 60 all_accepted; }; then
    not_ok "$title" "uvechod has $(counted) connections
$(cat echoload.log uvechod.log | grep -v Statistics | tail -n 20)"
    exit
fi
ok "$title"

resident_grown=$((($(resident "$daemon") - resident_before) * 1024))
kernel_grown=$((($(kernel) - kernel_before) * 1024))
slab_grown=$((($(slab) - slab_before) * 1024))
sockets=$((2 * connections))
note "uvechod: $(quotient "$resident_grown" "$connections") bytes resident per connection"
note "kernel: $(quotient "$kernel_grown" "$sockets") bytes per socket," \
    "$(quotient "$slab_grown" "$sockets") of them in slabs; as both ends are here," \
    "$(quotient "$kernel_grown" "$connections") per connection"

cpu_before=$(cpu "$daemon")
wakes_before=$(wakes "$daemon")
sleep "$idle"
cpu=$(($(cpu "$daemon") - cpu_before))
wakes=$(($(wakes "$daemon") - wakes_before))
title="the daemon uses no CPU time while all are idle"
used="$(quotient "$cpu" 100 2) CPU seconds in $idle s, woken $wakes times"
if [ "$cpu" -le 1 ] && [ "$wakes" -le 10 ]; then
    ok "$title"
    note "$used"
else
    not_ok "$title" "$used"
fi

title="an upgrade beside a client that speaks ends no connection"
"$build/tests/bench/echoload" --duration=3600 --timeout=300 127.0.0.1:25000 >speaker.out \
    2>speaker.log 3>&- &
speaker=$!
soon 60 one_speaks
kill -USR2 "$daemon"
soon 120 upgraded
kill -INT "$speaker"
status=0
wait "$speaker" || status=$?
if [ "$status" -eq 0 ] && soon 60 all_accepted && upgraded; then
    ok "$title"
    note "its longest wait for an answer: $(sed -n 's/^latency.* max //p' speaker.out)"
else
    not_ok "$title" "echoload ended with $status, uvechod has $(counted) connections
$(cat speaker.log)
$(stats_of_daemon)"
fi
in=$(($(moved 1) + connections * message))
out=$(($(moved 2) + connections * (message + prefix)))

title="each connection answers at the end, every byte"
started=$(date +%s.%N)
exec 3>&-
status=0
wait "$load" || status=$?
load=
ended=$(date +%s.%N)
counts=$(stats_of_daemon)
echo "$counts"
case $status:$counts in
0:*"$((connections + 1)) in total; $in bytes in, $out out;"*) ok "$title" ;;
*)
    not_ok "$title" "echoload ended with $status
$(cat echoload.log)
$counts"
    ;;
esac
# echoload prints this when it ends.
note "connecting: $(sed -n 's/^connected *//p' echoload.out), from $sources addresses"
note "echo on all, and their end: $(awk -v a="$started" -v b="$ended" \
    'BEGIN { printf "%.3f s", b - a }')"

title="the daemon stops, and has logged no problem"
kill "$daemon"
status=0
wait "$daemon" || status=$?
complaints=$(grep -v Statistics uvechod.log)
if [ "$status" -eq 0 ] && [ -z "$complaints" ]; then
    ok "$title"
else
    not_ok "$title" "uvechod ended with $status
$complaints"
fi
