#!/bin/sh
# sh netem_checks.sh DIRECTORY BUILD: process 1 of the machine that netem.sh boots. Runs uvechod and
# echoload of this build at the two ends of a bad network, and leaves in DIRECTORY their logs, and
# results in the format of checks.sh, with the figures in lines that begin with "# ".
#
# The clients are in the first network namespace, and the daemons in another. Between the two is one
# virtual cable, with a netem queue at each end for what that end sends. To start a program takes
# long in this machine, so one program looks at all daemons at once.
set -u
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

dir=$1
build=$2

# The daemons of the first table: name, port and options.
daemons='chunks1|25001|--workers=1
chunks2|25002|--workers=2
verbatim1|25003|--workers=1 --rfc862
verbatim2|25004|--workers=2 --rfc862
'
# In each row of the first table each daemon has small clients, over IPv4, which send two messages
# each, and two bulk clients, over IPv6, and all daemons have theirs at the same time. A message is
# longer than a chunk.
message=1200
bulk=2
bulk_bytes=400000

# The first table: title; how many small clients each daemon has; what netem does with packets to
# the daemons, and with packets to the clients; what else happens meanwhile; the counters of TCP, at
# both ends, that prove the fault. Where something happens meanwhile, the bulk clients go on until it
# is over, instead of ending after so many bytes, so that it cannot happen too late.
rows='packets are late|50|delay 50ms 10ms|delay 50ms 10ms|nothing|InSegs
packets are lost|50|loss 5%|loss 5%|nothing|RetransSegs
packets are lost in bursts|50|loss gemodel 2% 20%|loss gemodel 2% 20%|nothing|RetransSegs
packets are doubled|50|duplicate 20%|duplicate 20%|nothing|TCPDSACKRecv
packets are reordered|50|delay 20ms reorder 25% 50%|delay 20ms reorder 25% 50%|nothing|TCPOFOQueue
packets are damaged|50|corrupt 2%|corrupt 2%|nothing|InCsumErrors RetransSegs
the network is slow|50|rate 8mbit|rate 8mbit|nothing|InSegs
the network is bad in all these ways|250|delay 20ms 10ms loss 2% duplicate 2% corrupt 1% rate 50mbit|delay 20ms loss 2% duplicate 2% corrupt 1% reorder 5%|nothing|RetransSegs TCPDSACKRecv InCsumErrors TCPOFOQueue
every packet is lost for 3 s|250|delay 20ms rate 8mbit|delay 20ms rate 8mbit|lose_all|TCPTimeouts
the interface is down for 3 s|250|delay 20ms rate 8mbit|delay 20ms rate 8mbit|take_down|TCPTimeouts
large packets are lost for 3 s|50|delay 20ms rate 8mbit|delay 20ms rate 8mbit|lose_large|TCPTimeouts
clients do not read, and every packet is lost, too|50|delay 20ms rate 8mbit|delay 20ms rate 8mbit|stop_reading|TCPToZeroWindowAdv TCPTimeouts
packets are lost, and the daemons are told to stop|50|delay 20ms rate 8mbit loss 5%|delay 20ms rate 8mbit loss 5%|stop_daemons|RetransSegs
'

# The daemons whose clients vanish: name, port and options; how many clients, and their options.
# The clients of the first two are silent. Those of the others have bytes under way, so that the
# kernel sends these again instead of probes. It does so for about 15 minutes by default
# (tcp_retries2), and here for about 6 seconds. The idle timeout is longer than a busy machine takes
# from one message of a client to the next.
vanishing='silent1|25011|--keepalive=1|250|--mode=idle --echo-first
silent2|25012|--keepalive=1 --workers=2 --rfc862|250|--mode=idle --echo-first --rfc862
sending|25013|--keepalive=1 --rfc862|20|--mode=bulk --rfc862 --duration=100000
timed|25014|--keepalive=0 --idle-timeout=10|20|--mode=bulk --duration=100000
'
retries=4
# Seconds in which --keepalive=1 ends a connection, as the manual says, and what is allowed here.
promised=5
allowed=10

# The second table: how the clients vanish.
ways='nothing arrives any more|go_dark
the interface is gone|go_with_interface
the clients are killed while every packet is lost for 2 s|go_unheard
the machine of the clients starts anew|go_and_return
'

# shellcheck source=tests/system/guest.sh
. "$(dirname -- "$0")/guest.sh"

count_rows() { printf '%s' "$1" | grep -c .; }
# And there are three checks without a table.
plan $(($(count_rows "$rows") + $(count_rows "$ways") + 3))

# now: prints the seconds since the start of the machine.
now() { read -r up _ </proc/uptime && echo "${up%.*}"; }

# until_true COMMAND...: tries again until COMMAND succeeds. Fails after five minutes. An until_true
# in COMMAND fails at the same time.
until_true() (
    [ -n "${give_up:-}" ] || give_up=$(($(now) + 300))
    until "$@"; do
        read -r up _ </proc/uptime
        [ "${up%.*}" -lt "$give_up" ] || exit 1
        sleep 0.2
    done
)

# connect_nets [NAMESPACE]: makes the cable, with its other end in the namespace, which is that of
# the clients by default. A packet holds one segment, so that netem treats each segment alone.
connect_nets() {
    ip link add client gso_max_segs 1 type veth peer name server netns daemons gso_max_segs 1
    [ $# -eq 0 ] || ip link set client netns "$1"
    # The options are to be split.
    # shellcheck disable=SC2086
    ip ${1:+-n $1} -batch - <<END
addr add 192.0.2.2/24 dev client
addr add 2001:db8::2/64 dev client nodad
link set client up
END
    ip -n daemons -batch - <<END
addr add 192.0.2.1/24 dev server
addr add 2001:db8::1/64 dev server nodad
link set server up
END
}
disconnect_nets() { ip -n daemons link del server; }

# shape TO_DAEMONS TO_CLIENTS: what netem does from now on, in words that are to be split.
# shellcheck disable=SC2086
shape() {
    tc qdisc replace dev client root netem limit 100000 $1 &&
        tc -n daemons qdisc replace dev server root netem limit 100000 $2
}
lose() { shape "loss 100%" "loss 100%"; }

# start_daemon NAME PORT OPTION...: its log is NAME.log, and its process is in NAME.pid.
start_daemon() {
    daemon=$1
    port=$2
    shift 2
    ip netns exec daemons "$build/uvechod" --port="$port" "$@" 2>"$daemon.log" &
    echo $! >"/run/$daemon.pid"
    until_true listens "$!" "$(printf '%04X' "$port")" || blame "$daemon does not listen"
}
listens() { grep -q ":$2 .* 0A " "/proc/$1/net/tcp6"; }

# start_client NAME OPTION...: its output is NAME.client.log, and its process is in NAME.client.pid.
# An idle client lives as long as its standard input, which is open for ever.
start_client() {
    client=$1.client
    shift
    "$build/tests/bench/echoload" --timeout=200 "$@" >"$client.log" 2>&1 </run/endless &
    echo $! >"/run/$client.pid"
}

# pid NAME: prints the process of a daemon, or of NAME.client.
pid() { read -r pid <"/run/$1.pid" && echo "$pid"; }

# In the network of the daemons, as one of them, $witness, sees it.
# counters NAME...: prints the values of these counters, at both ends together. The files have a line
# of names and a line of values for each protocol.
counters() {
    awk -v wanted="$*" '
        !/^Tcp/ { next }
        $1 != before { split($0, name); before = $1; next }
        { for (i = 2; i <= NF; i++) sum[name[i]] += $i; before = "" }
        END {
            n = split(wanted, want, " ")
            for (i = 1; i <= n; i++) printf "%d ", sum[want[i]]
        }' /proc/net/snmp /proc/net/netstat "/proc/$witness/net/snmp" "/proc/$witness/net/netstat"
}
# received: prints how many bytes the daemons' end of the cable has received.
received() { awk '$1 == "server:" { print $2 }' "/proc/$witness/net/dev"; }
has_received() { [ "$(received)" -ge "$1" ]; }

# ask_all NAME...: makes these daemons log their statistics.
ask_all() { for name in "$@"; do kill -USR1 "$(pid "$name")"; done; }

# stats_all NAME...: prints for each the last statistics that it has logged: its name, how many
# connections it has and has had, how many bytes it has received and sent, how many it has refused,
# and the time of the line.
stats_all() {
    for name in "$@"; do
        shift
        set -- "$@" "$name.log"
    done
    awk '/Statistics/ { line[FILENAME] = $0 }
        END {
            for (i = 1; i < ARGC; i++) {
                split(line[ARGV[i]], word)
                name = ARGV[i]
                sub(/\.log$/, "", name)
                print name, word[3] + 0, word[6] + 0, word[9] + 0, word[12] + 0, word[14] + 0, word[1]
            }
        }' "$@"
}

# have_open NUMBER NAME...: whether each of these has as many connections, as a new line says.
have_open() {
    wanted=$1
    shift
    stats_all "$@" >/run/before
    ask_all "$@"
    until_true all_new "$@" && awk -v n="$wanted" '$2 != n { exit 1 }' /run/after
}
all_new() {
    stats_all "$@" >/run/after
    awk 'NR == FNR { time[$1] = $7; next } time[$1] == $7 { exit 1 }' /run/before /run/after
}

# blame TEXT...: what is wrong with the present check, if the text is not empty.
blame() { [ -z "$*" ] || printf '%s\n' "$*" >>/run/wrong; }

# judge TITLE: the result of the present check.
judge() {
    if [ -s /run/wrong ]; then
        not_ok "$1" "$(cat /run/wrong)"
    else
        ok "$1"
    fi
    : >/run/wrong
}

# judge_end NAME: a process must end well.
judge_end() {
    wait "$(pid "$1")" || blame "$1 ended with $?: $(grep -v Statistics "$1.log" | tail -n 3)"
}

# judge_counters NAMES BEFORE: the counters must have grown. Leaves in $grown by how much each has.
judge_counters() {
    # The names are to be split.
    # shellcheck disable=SC2086
    grown=$(printf '%s\n' "$1" "$2" "$(counters $1)" | awk '
        { for (i = 1; i <= NF; i++) line[NR, i] = $i; n = NF }
        END {
            for (i = 1; i <= n; i++)
                printf "%s%s +%d", (i > 1 ? ", " : ""), line[1, i], line[3, i] - line[2, i]
        }')
    case "$grown," in *" +0,"*) blame "there was no such fault: $grown" ;; esac
}

# --- The first table ---

# start_clients END: END says when the bulk clients end.
start_clients() {
    while IFS='|' read -r name port options; do
        case $options in
        *--rfc862*) form=--rfc862 ;;
        *) form=--prefix=GOT: ;;
        esac
        start_client "$name-small" "$form" --connections="$small" --connecting="$small" \
            --count="$messages" --size="$message" "192.0.2.1:$port"
        start_client "$name-bulk" "$form" --mode=bulk --connections="$bulk" \
            "$1" "[2001:db8::1]:$port"
    done <<END
${daemons%?}
END
}

# for_bulk SIGNAL: sends it to the bulk clients.
for_bulk() { for name in $all; do kill "-$1" "$(pid "$name-bulk.client")"; done; }

# all_here: whether each daemon has had all its clients since the last row.
# shellcheck disable=SC2086
all_here() {
    have_open 0 $all
    awk -v n="$connections" 'NR == FNR { had[$1] = $3; next } $3 - had[$1] != n { exit 1 }' \
        /run/last /run/after
}
# under_way: waits until all clients are there and some bytes have come.
under_way() { until_true all_here && until_true has_received $((received_before + bulk_bytes)); }

# What happens meanwhile, with the arguments of shape for the network as it is before and after.
nothing() { :; }
lose_all() { under_way && lose && sleep 3 && shape "$@"; }
take_down() {
    under_way && ip -n daemons link set server down && sleep 3 &&
        ip -n daemons link set server up
}
# The cable loses the packets that are larger than the receiving end takes, and says so to nobody.
lose_large() {
    under_way && ip -n daemons link set server mtu 1300 && sleep 3 &&
        ip -n daemons link set server mtu 1500
}
windows_close() { [ "$(counters TCPToZeroWindowAdv)" -gt "$windows" ]; }
# The clients read again, which they tell the daemons' kernel by packets that are lost, too.
stop_reading() {
    windows=$(counters TCPToZeroWindowAdv)
    under_way && for_bulk STOP && until_true windows_close && lose && sleep 2 && for_bulk CONT &&
        sleep 1 && shape "$@"
}
stop_daemons() { under_way && for name in $all; do kill "$(pid "$name")"; done; }
# goes_on NAMES BEFORE: when it is over, the connections must have gone on; the same for the counters.
goes_on() {
    received_before=$(received)
    until_true has_received $((received_before + bulk_bytes)) || blame "nothing arrives any more"
    # Before the daemons end, which are looked at for it.
    judge_counters "$1" "$2"
    for_bulk TERM
}

# judge_daemons: what the daemons have counted since the last row must be exact.
# shellcheck disable=SC2086
judge_daemons() {
    until_true have_open 0 $all || blame "there are connections left"
    blame "$(awk -v n="$connections" -v bytes="$bytes" -v exactly="$exactly" '
        NR == FNR { had[$1] = $3; in_[$1] = $4; out[$1] = $5; next }
        {
            now = $4 - in_[$1]
            extra = $5 - out[$1] - now
            if ($3 - had[$1] != n) print $1 " had " $3 - had[$1] " connections, not " n
            if (exactly ? now != bytes : now < bytes) print $1 " received " now " bytes, not " bytes
            if ($1 ~ /verbatim/ ? extra != 0 : extra % 4 != 0 || extra < 4 * now / 1000)
                print $1 " sent " extra " bytes more than it received"
            if ($6 != 0) print $1 " refused " $6
        }' /run/last /run/after)"
    figures="$figures, $(awk 'NR == FNR { sum -= $4; next } { sum += $4 } END { print sum }' \
        /run/last /run/after) bytes each way"
}

# rough TITLE SMALL TO_DAEMONS TO_CLIENTS MEANWHILE COUNTERS: a row of the first table.
rough() {
    small=$2
    # Of each daemon.
    messages=$((2 * small))
    connections=$((small + bulk))
    bytes=$((messages * message))
    started=$(now)
    cat /run/after >/run/last
    received_before=$(received)
    figures="$((4 * connections)) connections, $((4 * messages)) messages"
    # The names are to be split.
    # shellcheck disable=SC2086
    counted=$(counters $6)
    blame "$(shape "$3" "$4" 2>&1)"
    if [ "$5" = nothing ]; then
        exactly=1
        bytes=$((bytes + bulk_bytes))
        start_clients --count="$bulk_bytes"
    else
        exactly=0
        start_clients --duration=100000
        "$5" "$3" "$4" || blame "$5 has failed"
        goes_on "$6" "$counted"
    fi
    for name in $all; do
        judge_end "$name-small.client"
        judge_end "$name-bulk.client"
    done
    [ "$5" != nothing ] || judge_counters "$6" "$counted"
    if [ "$5" = stop_daemons ]; then
        for name in $all; do judge_end "$name"; done
    else
        judge_daemons
    fi
    for name in $all; do blame "$(grep -v Statistics "$name.log")"; done
    judge "$1: every byte arrives"
    note "$figures; $grown; $(($(now) - started)) s"
}

# --- The second table ---

kill_clients() {
    for name in $all; do
        ! lives "$(pid "$name.client")" || kill -KILL "$(pid "$name.client")"
        wait "$(pid "$name.client")" || : # it was killed
    done
}

# From now on nothing comes from the clients.
note_time() { vanished=$(date -u +%T.%N); }
go_dark() { lose && note_time; }
go_with_interface() { disconnect_nets && note_time; }
go_unheard() { lose && note_time && kill_clients && sleep 2 && shape "" ""; }
go_and_return() { lose && note_time && kill_clients && disconnect_nets && connect_nets anew; }

# come KIND: starts the clients of the daemons whose names begin so, and waits until they are there.
come() {
    while IFS='|' read -r name port _ number options; do
        case $name in "$1"*) ;; *) continue ;; esac
        # The options are to be split.
        # shellcheck disable=SC2086
        start_client "$name" $options --connections="$number" "192.0.2.1:$port"
    done <<END
${vanishing%?}
END
}

hold() { grep -q holding "$@"; }
# all_acknowledged: whether nothing is under way to the clients.
all_acknowledged() {
    awk '$4 == "01" && $5 !~ /^00000000:/ { exit 1 }' "/proc/$witness/net/tcp" \
        "/proc/$witness/net/tcp6"
}

# all_come: the silent ones first, and these must have their answers before others are sent any.
all_come() {
    come silent
    for name in silent1 silent2; do
        until_true hold "$name.client.log" || blame "$name has not answered its clients"
    done
    until_true all_acknowledged || blame "the silent clients owe acknowledgements"
    come sending
    come timed
    until_true have_open 20 sending timed || blame "there are no bulk clients"
    received_before=$(received)
    until_true has_received $((received_before + 300000)) || blame "the bulk clients do not send"
}

# reasons NAME LINE: for which reasons the daemon has closed connections after this line of its log.
reasons() {
    awk -v line="$2" '
        NR > line && /Connection closed/ { sub(/.*Connection closed: [^ ]* ?/, ""); n[$0]++ }
        END { for (why in n) printf "%s%d %s", sep++ ? ", " : "", n[why], why == "" ? "(done)" : why }
    ' "$1.log"
}

# seconds_to_last NAME LINE: from $vanished to the last end of a connection that the daemon has
# logged after this line, by its own clock.
seconds_to_last() {
    awk -v line="$2" -v from="$vanished" '
        function seconds(time, part) { split(time, part, ":"); return part[1] * 3600 + part[2] * 60 + part[3] }
        NR > line && /Connection closed/ { last = substr($1, 12) }
        END {
            took = seconds(last) - seconds(from)
            printf "%.1f", took < -43200 ? took + 86400 : took
        }' "$1.log"
}

# judge_gone NAME OPTIONS NUMBER: how long the clients of this daemon have been in its table.
judge_gone() {
    line=$(cat "/run/$1.line")
    took=$(seconds_to_last "$1" "$line")
    figures="$figures
$1 ($2): $3 clients are gone after $took s: $(reasons "$1" "$line")"
    case $1 in
    silent*) [ "${took%.*}" -lt "$allowed" ] || blame "$1 took $took s, and $promised are promised" ;;
    esac
}

# vanish TITLE WAY: a row of the second table.
vanish() {
    blame "$(shape "delay 20ms" "delay 20ms" 2>&1)"
    for name in $all; do
        wc -l <"$name.log" >"/run/$name.line"
    done
    all_come
    "$2" || blame "$2 has failed"
    # shellcheck disable=SC2086
    until_true have_open 0 $all || blame "there are connections left"
    figures=
    while IFS='|' read -r name _ options number _; do
        judge_gone "$name" "$options" "$number"
    done <<END
${vanishing%?}
END
    judge "$1: the clients are gone from the table"
    note "${figures#?}"
    kill_clients
    disconnect_nets
    connect_nets
}

# --- How connections end ---

# start_holding NAME...: waits until all these clients have their answers.
start_holding() {
    for name in "$@"; do
        start_client "$name" --mode=idle --echo-first --server-ends --connections=250 \
            192.0.2.1:25021
    done
    for name in "$@"; do
        until_true hold "$name.client.log" || blame "$name: no connections"
    done
}

# judge_reasons NAME REASON NUMBER: the daemon must have closed so many connections, and all so.
judge_reasons() {
    closed=$(reasons "$1" 0)
    [ "$closed" = "$3 ($2)" ] || blame "connections were closed: $closed"
}

idle_ends() {
    shape "delay 50ms" "delay 50ms"
    start_daemon idle 25021 --idle-timeout=3 --workers=2
    witness=$(pid idle)
    counted=$(counters RetransSegs)
    start_holding idle
    shape "delay 50ms loss 20%" "delay 50ms loss 20%"
    judge_end idle.client
    judge_counters RetransSegs "$counted"
    until_true have_open 0 idle || blame "there are connections left"
    kill "$witness"
    judge_end idle
    judge_reasons idle "idle for too long" 250
    judge "the clients are silent, and packets are lost: all are ended in order"
    note "250 connections: $closed; $grown"
}

at_deadline() { grep -q "Drain deadline" drain.log; }
# closing: prints how many connections are of the daemon in the state CLOSING: both ends have ended,
# and neither knows of the other's end what has become of its own.
closing() { awk '$4 == "0B" { n++ } END { print n + 0 }' "/proc/$witness/net/tcp"; }
both_end() { closing >/run/both && ! grep -qx 0 /run/both || ! lives "$witness"; }

# The clients of drain2 end at the same time as the daemon ends them.
drain_ends() {
    shape "delay 20ms" "delay 20ms"
    start_daemon drain 25021 --drain-timeout=1 --workers=2
    witness=$(pid drain)
    counted=$(counters RetransSegs)
    start_holding drain drain2
    shape "delay 500ms loss 10%" "delay 500ms loss 10%"
    kill "$witness"
    until_true at_deadline || blame "there was no deadline"
    kill "$(pid drain2.client)" || : # the clients may have seen the daemon's end already
    until_true both_end
    judge_end drain
    judge_end drain.client
    judge_end drain2.client
    judge_reasons drain "the daemon stops" 500
    judge "the drain's deadline comes, and packets are lost: all are ended in order"
    note "500 connections: $closed, $(cat /run/both) of them seen while both ends ended at once"
}

vanishing_daemons_end() {
    for name in $all; do
        kill "$(pid "$name")"
        judge_end "$name"
    done
    judge "the daemons whose clients have vanished stop"
}

# --- The machine ---

: >/run/wrong
mkfifo /run/endless
exec 3<>/run/endless
# This kernel's modules are not where modprobe looks for them.
release=$(uname -r)
mkdir -p /run/modules/lib/modules
ln -s "/usr/lib/uml/modules/$release" "/run/modules/lib/modules/$release"
modprobe -d /run/modules -a veth sch_netem ipv6
ip netns add daemons
ip netns add anew
ip link set lo up
# ulimit -n is in POSIX since 2024, and in all shells that may be /bin/sh.
# shellcheck disable=SC3045
ulimit -n 4096
# So that the windows of clients that do not read close soon.
set_sysctl net/ipv4/tcp_rmem "4096 32768 262144"
# set_for_daemons SYSCTL VALUE: the network of the daemons has its own.
set_for_daemons() { ip netns exec daemons sh -c "echo $2 >/proc/sys/$1"; }
set_for_daemons net/ipv4/tcp_max_syn_backlog 4096
# Otherwise an interface that was down comes back without its addresses.
set_for_daemons net/ipv6/conf/all/keep_addr_on_down 1
connect_nets

# The tables are read from another descriptor, because what the rows start reads the standard input.
while IFS='|' read -r name port options; do
    # The options are to be split.
    # shellcheck disable=SC2086
    start_daemon "$name" "$port" $options --quiet --drain-timeout=1000
done <<END
${daemons%?}
END
all="chunks1 chunks2 verbatim1 verbatim2"
witness=$(pid chunks1)
# shellcheck disable=SC2086
have_open 0 $all
while IFS='|' read -r title number to_daemons to_clients meanwhile proof <&4; do
    rough "$title" "$number" "$to_daemons" "$to_clients" "$meanwhile" "$proof"
done 4<<END
${rows%?}
END

set_for_daemons net/ipv4/tcp_retries2 "$retries"
while IFS='|' read -r name port options _; do
    # shellcheck disable=SC2086
    start_daemon "$name" "$port" $options
done <<END
${vanishing%?}
END
all="silent1 silent2 sending timed"
witness=$(pid silent1)
while IFS='|' read -r title way <&4; do
    vanish "$title" "$way"
done 4<<END
${ways%?}
END

vanishing_daemons_end
idle_ends
drain_ends
