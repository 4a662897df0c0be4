#!/bin/sh
# Runs as root inside the machine that run.sh boots, as the unit checks.service, and writes its
# results to /host/results: a line "1..N", a line "ok - TITLE" or "not ok - TITLE" for each of the N
# checks, and after a failed one its output in lines that begin with "# ".
set -u
export LC_ALL=C.UTF-8 SYSTEMD_PAGER='' SYSTEMD_COLORS=0 DEBIAN_FRONTEND=noninteractive

service=uvechod.service
socket=uvechod.socket
# Of a check only: the package has no such unit.
metrics=uvechod-metrics.socket
# The daemon's user can read it: check_sandbox runs a program from here in the daemon's place.
work=/run/checks
mkdir -p "$work"

fail() {
    echo "$*"
    exit 1
}

# same WHAT GOT WANTED: fails unless both are the same.
same() { [ "$2" = "$3" ] || fail "$1: got '$2', wanted '$3'"; }

# unit_is UNIT ACTIVE [ENABLED]: fails unless systemctl says so of the unit.
unit_is() {
    same "$1 active" "$(systemctl is-active "$1")" "$2"
    [ $# -eq 2 ] || same "$1 enabled" "$(systemctl is-enabled "$1")" "$3"
}

# soon COMMAND...: tries again until COMMAND succeeds. Fails after a time that no machine takes,
# however busy it is.
soon() {
    deadline=$(($(date +%s) + 120))
    until "$@" >/dev/null 2>&1; do
        [ "$(date +%s)" -lt "$deadline" ] || fail "Did not happen: $*"
        sleep 0.1
    done
}

property() { systemctl show --property="$1" --value "${2:-$service}"; }

property_is() { [ "$(property "$1")" = "$2" ]; }

apt_get() { apt-get --quiet --yes -o Dpkg::Use-Pty=0 "$@"; }

# drop_in UNIT: adds standard input to the unit's settings, until the next check.
drop_in() {
    mkdir -p "/run/systemd/system/$1.d"
    cat >"/run/systemd/system/$1.d/check.conf"
    systemctl daemon-reload
}

# options OPTIONS: the service runs with these, until the next check.
options() { printf '[Service]\nEnvironment="UVECHOD_OPTIONS=%s"\n' "$1" | drop_in "$service"; }

# The service runs without a drop-in of the check again.
drop_out() {
    rm -r "/run/systemd/system/$service.d"
    systemctl daemon-reload
}

# fresh: what each check begins with. The package is as installed, its socket is enabled and
# listens, and the service does not run.
fresh() {
    systemctl stop "$socket" "$service"
    if [ -f "/run/systemd/system/$metrics" ]; then
        systemctl stop "$metrics"
        rm -r "/run/systemd/system/$metrics"*
        systemctl daemon-reload
    fi
    if [ -n "$(find /run/systemd/system /etc/systemd/system -name 'uvechod.*.d')" ]; then
        rm -rf /run/systemd/system/uvechod.* /etc/systemd/system/uvechod.*
        systemctl daemon-reload
    fi
    systemctl reset-failed
    [ "$(systemctl is-enabled "$socket")" = enabled ] || systemctl enable "$socket"
    systemctl start "$socket"
}

# said [FORMAT]: prints what the daemon has logged since the check began.
said() {
    journalctl --quiet --sync
    journalctl --quiet --since="$since" --output="${1:-cat}" \
        _TRANSPORT=stdout "_SYSTEMD_UNIT=$service"
}

says() { said | grep -q "$@"; }

# ask TEXT NC-ARGUMENT...: sends a line, ends the sending side, prints the answer.
ask() {
    text=$1
    shift
    printf '%s\n' "$text" | timeout 120 nc -N "$@"
}

echoes() { same "answer from $*" "$(ask Hello "$@")" GOT:Hello; }

# answers_datagram ADDRESS PORT: sends one, and fails unless its answer comes from there.
answers_datagram() {
    same "datagram from $*" "$(printf Hello | timeout 120 nc -u -W 1 "$@")" GOT:Hello
}

# refuses ADDRESS PORT: fails if something listens there.
refuses() { ! ask Hello "$@" || fail "Something listens on $*."; }

# A connection that stays: session_send writes to it, session_got waits for an answer.
session_open() {
    rm -f "$work/in" "$work/out"
    mkfifo "$work/in"
    nc -N "$@" <"$work/in" >"$work/out" &
    session=$!
    exec 3>"$work/in"
}
session_send() { printf '%s\n' "$1" >&3; }
session_got() { soon grep -qx "GOT:$1" "$work/out"; }
session_close() {
    exec 3>&-
    wait "$session"
}

# load_begin: from now on, clients send all the time, and 50 are idle, until load_end.
load_begin() {
    rm -f "$work/idle" "$work"/load.*
    mkfifo "$work/idle"
    echoload idle --mode=idle --connections=50 --echo-first --echo-last <"$work/idle" &
    loads=$!
    # Its end makes the idle clients send once more, and end.
    exec 4>"$work/idle"
    soon grep -q holding "$work/load.idle"
    # These send at their rates even if nobody answers, and leave some time to other processes.
    echoload short --rate=40 --connections=8 --duration=3600 4>&- &
    senders=$!
    echoload long --rate=5 --connections=2 --size=100000 --duration=3600 4>&- &
    senders="$senders $!"
    loads="$loads $senders"
    soon has_connections 60
}

has_connections() {
    case $(property StatusText) in
    "$1 "*) ;;
    *) return 1 ;;
    esac
}

# echoload NAME OPTION...: runs in the place of the shell. Its output is load.NAME.
echoload() {
    output=$work/load.$1
    shift
    exec nice /host/echoload --timeout=100 "$@" >"$output" 2>&1
}

# load_end: fails unless every client has got every byte, and none was cut.
load_end() {
    exec 4>&-
    # The names are to be split.
    # shellcheck disable=SC2086
    kill $senders
    failed=
    for load in $loads; do
        wait "$load" || failed=yes
    done
    cat "$work"/load.*
    [ -z "$failed" ] || fail "A client was cut, or has lost something."
}

# upgraded N: whether the daemon that runs now says that it is the N-th upgrade.
upgraded() {
    case $(property StatusText) in
    *"; $1 upgrade" | *"; $1 upgrades") ;;
    *) return 1 ;;
    esac
}

program=/usr/libexec/uvechod/uvechod

# runs_on PID: fails unless the service is the same process, was never restarted, and runs the file
# that is installed.
runs_on() {
    soon property_is SubState running
    same "process" "$(property MainPID)" "$1"
    same "restarts" "$(property NRestarts)" 0
    same "program" "$(readlink "/proc/$1/exe")" "$program"
}

# ---------------------------------------------------------------------------------------------

# As README has it.
check_install() {
    cp /host/package.deb "$work/uvechod.deb"
    apt_get install "$work/uvechod.deb"
    unit_is "$socket" inactive disabled
    unit_is "$service" inactive disabled
}

# security TENTHS UNIT-FILE: fails if its exposure is greater.
security() {
    table=$(systemd-analyze security --offline=true --threshold="$1" "$2") ||
        fail "Above $1 tenths: $(echo "$table" | grep -v '✓')"
    echo "$table" | tail -n 1
}

check_units() {
    units=$(dirname "$(property FragmentPath)")
    said=$(systemd-analyze verify --man=no "$units/$service" "$units/$socket" 2>&1) ||
        fail "systemd-analyze verify: $said"
    same "systemd-analyze verify" "$said" ''
    security 2 "$units/$service"
    mkdir -p "$work/own/$service.d"
    cp "$units/$service" "$work/own"
    cp "$(own_port_conf)" "$work/own/$service.d"
    security 11 "$work/own/$service"
}

check_activation() {
    systemctl enable --now "$socket"
    unit_is "$socket" active
    unit_is "$service" inactive
    echoes 127.0.0.1 25000
    unit_is "$service" active
}

check_echo() {
    drop_in "$socket" <<'END'
[Socket]
ListenStream=/run/uvechod.sock
END
    systemctl restart "$socket"
    echoes 127.0.0.1 25000
    echoes ::1 25000
    echoes -U /run/uvechod.sock
    same "sockets" "$(said | grep -c 'Listening')" 3
    systemctl stop "$socket" "$service"
    [ ! -e /run/uvechod.sock ] || fail "The socket file is still there."
}

check_large() {
    # Without any G in the data, every GOT: that comes back is a prefix.
    head -c 3000000 /dev/urandom | tr -d G >"$work/sent"
    timeout 120 nc -N 127.0.0.1 25000 <"$work/sent" >"$work/received" || fail "nc: $?"
    sed 's/GOT://g' "$work/received" | cmp - "$work/sent"
}

check_process() {
    echoes 127.0.0.1 25000
    pid=$(property MainPID)
    status() { sed -n "s/^$1:[[:space:]]*\([^[:space:]]*\).*/\1/p" "/proc/$pid/status"; }
    uid=$(status Uid)
    if [ "$uid" -lt 61184 ] || [ "$uid" -gt 65519 ]; then
        fail "User $uid is not a dynamic one."
    fi
    same Seccomp "$(status Seccomp)" 2
    same NoNewPrivs "$(status NoNewPrivs)" 1
    for set in CapInh CapPrm CapEff CapBnd CapAmb; do
        same "$set" "$(status "$set")" 0000000000000000
    done
    same "open files" "$(awk '/^Max open files/ { print $5 }' "/proc/$pid/limits")" \
        "$(property LimitNOFILE)"
    [ "$(readlink "/proc/$pid/ns/net")" != "$(readlink /proc/1/ns/net)" ] ||
        fail "It shares the machine's network."
    same "network interfaces" "$(sed -n 's/^ *\([^ ]*\):.*/\1/p' "/proc/$pid/net/dev")" lo
}

# What systemd shows for each line of the unit's sandbox. SystemCallFilter, whose groups become a
# long list, is tested by check_process and check_sandbox.
sandbox_lines() {
    cat <<'END'
DynamicUser yes
PrivateUsers yes
CapabilityBoundingSet
AmbientCapabilities
NoNewPrivileges yes
RestrictSUIDSGID yes
UMask 0077
PrivateNetwork yes
RestrictAddressFamilies AF_UNIX
IPAddressDeny 0.0.0.0/0 ::/0
ProtectSystem strict
ProtectHome yes
PrivateTmp yes
NoExecPaths /
ExecPaths /usr/libexec/uvechod /usr/lib -/usr/lib64 -/usr/local/lib -/usr/local/lib64 -/lib -/lib64
PrivateMounts yes
PrivateDevices yes
DevicePolicy closed
ProtectProc invisible
ProcSubset pid
PrivateIPC yes
RemoveIPC yes
KeyringMode private
ProtectKernelTunables yes
ProtectKernelModules yes
ProtectKernelLogs yes
ProtectClock yes
ProtectHostname yes
ProtectControlGroups yes
RestrictNamespaces yes
RestrictRealtime yes
LockPersonality yes
SystemCallArchitectures native
MemoryDenyWriteExecute yes
SystemCallErrorNumber 1
END
}

# words LIST: prints its words in order, because the order differs between versions of systemd.
words() { printf '%s' "$1" | tr ' ' '\n' | sort | tr '\n' ' '; }

check_sandbox_lines() {
    unit=$(property FragmentPath)
    # A line that is removed or added must be noticed, even if another line implies the same.
    sed -n '/^# The sandbox/,/^\[Install/s/^\([A-Za-z]*\)=.*/\1/p' "$unit" | sort -u >"$work/in_unit"
    { sandbox_lines | cut -d ' ' -f 1 && echo SystemCallFilter; } | sort >"$work/in_table"
    diff "$work/in_unit" "$work/in_table" || fail "The unit (<) has other lines than this table (>)."
    bad=
    sandbox_lines >"$work/table"
    while read -r name wanted; do
        got=$(property "$name")
        [ "$(words "$got")" = "$(words "$wanted")" ] || bad="$bad $name='$got'"
    done <"$work/table"
    [ -z "$bad" ] || fail "Not as in the table:$bad"
}

# The daemon never does what the sandbox forbids, so a program in its place tries, in the same
# sandbox. The drop-in only allows that program to run, and to end at once.
check_sandbox() {
    cat >"$work/probe.pl" <<'END'
use Errno;
use Socket;
my $bad = 0;
sub refused {
    my ($what, $ok, @errors) = @_;
    my $error = $ok ? "" : (grep { $!{$_} } keys %!)[0];
    my $expected = grep { $_ eq $error } @errors;
    print $expected ? "refused" : "NOT REFUSED", ": $what ", $ok ? "" : $!, "\n";
    $bad = 1 unless $expected;
}
for (["TCP", AF_INET, SOCK_STREAM], ["UDP", AF_INET, SOCK_DGRAM], ["raw IP", AF_INET, SOCK_RAW],
     ["TCP over IPv6", AF_INET6, SOCK_STREAM], ["netlink", 16, SOCK_RAW],
     ["packet", 17, SOCK_RAW]) {
    my ($what, $family, $type) = @$_;
    refused("a $what socket", socket(my $s, $family, $type, 0), "EAFNOSUPPORT");
}
socket(my $unix, AF_UNIX, SOCK_DGRAM, 0) or do { print "No Unix socket: $!\n"; $bad = 1 };
for my $file ("/etc/uvechod", "/var/lib/uvechod", "/run/uvechod", "/root/uvechod") {
    refused("writing to $file", open(my $f, ">", $file), "EROFS", "EACCES");
}
refused("reading the shadow file", open(my $f, "<", "/etc/shadow"), "EACCES");
refused("root's home", opendir(my $d, "/root"), "EACCES");
refused("a signal to process 1", kill(0, 1), "EPERM", "ESRCH");
refused("sight of process 1", -e "/proc/1", "ENOENT");
refused("becoming root", do { $! = 0; $> = 0; !$! }, "EPERM", "EINVAL");
refused("a shell", do { no warnings; exec { "/bin/sh" } "sh", "-c", "exit 0" }, "EACCES");
exit $bad;
END
    drop_in "$service" <<END
[Service]
Type=oneshot
Restart=no
WatchdogSec=0
ExecPaths=/usr/bin/perl
ExecStart=
ExecStart=/usr/bin/perl $work/probe.pl
END
    systemctl start "$service" || { said && fail "The sandbox has a hole."; }
    said
    same "probes refused" "$(said | grep -c '^refused')" 16
}

# The text may change between the two commands.
status_shown() {
    systemctl status "$service" | grep -qF "Status: \"$(property StatusText)\""
}

status_changed() {
    text=$(property StatusText)
    [ -n "$text" ] && [ "$text" != "$1" ]
}

check_status() {
    echoes 127.0.0.1 25000
    soon status_changed ''
    soon status_shown
    # The status follows the connections.
    before=$(property StatusText)
    session_open 127.0.0.1 25000
    session_send one
    session_got one
    soon status_changed "$before"
    echo "'$before' became '$text'"
    session_close
}

# As the manual has it.
check_stats() {
    echoes 127.0.0.1 25000
    systemctl kill --signal=SIGUSR1 "$service"
    journalctl --unit="$service" --follow >"$work/follow" &
    follow=$!
    soon grep -q 'Statistics: 0 connections now, 1 in total' "$work/follow"
    kill "$follow"
}

check_watchdog() {
    drop_in "$service" <<'END'
[Service]
WatchdogSec=2
RestartSec=0
LimitCORE=0
END
    echoes 127.0.0.1 25000
    pid=$(property MainPID)
    # A daemon that feeds the watchdog is not killed.
    sleep 3
    same "process after the watchdog's time" "$(property MainPID)" "$pid"
    kill -STOP "$pid"
    soon property_is NRestarts 1
    soon property_is ActiveState active
    [ "$(property MainPID)" != "$pid" ] || fail "It is still the same process."
    journalctl --quiet --sync
    journalctl --quiet --since="$since" --unit="$service" --grep='Watchdog timeout' ||
        fail "It was not the watchdog."
    echoes 127.0.0.1 25000
}

check_stop() {
    session_open 127.0.0.1 25000
    session_send before
    session_got before
    # Otherwise systemd would start the service again at the next connection.
    systemctl stop "$socket"
    systemctl stop --no-block "$service"
    soon property_is ActiveState deactivating
    session_send during
    session_got during
    same "state" "$(property ActiveState)" deactivating
    session_close
    soon property_is ActiveState inactive
    same "result" "$(property Result)" success
    same "exit code" "$(property ExecMainStatus)" 0
    same "answers" "$(cat "$work/out")" "$(printf 'GOT:before\nGOT:during')"
}

check_restart() {
    cat >"$work/load.pl" <<'END'
use IO::Socket::INET;
my ($n, $bad) = (0, 0);
until (-e $ARGV[0]) {
    my $answer = "";
    if (my $s = IO::Socket::INET->new(PeerAddr => "127.0.0.1:25000")) {
        syswrite $s, "ping\n";
        shutdown $s, 1;
        while (sysread $s, my $more, 100) { $answer .= $more }
    }
    ++$n;
    $answer eq "GOT:ping\n" or ++$bad, print "Connection $n: '$answer' $@ $!\n";
}
print "connections: $n, failed: $bad\n";
exit($bad || $n < 50);
END
    rm -f "$work/enough"
    loads=
    for i in 1 2 3; do
        perl "$work/load.pl" "$work/enough" >"$work/load.$i" 2>&1 &
        loads="$loads $!"
    done
    for i in 1 2 3; do
        pid=$(property MainPID)
        systemctl restart "$service"
        [ "$(property MainPID)" != "$pid" ] || fail "It was not restarted."
        sleep 0.5
    done
    touch "$work/enough"
    failed=
    for load in $loads; do
        wait "$load" || failed=yes
    done
    cat "$work"/load.[123]
    [ -z "$failed" ] || fail "Connections failed, or there were too few to prove anything."
}

# Sessions that stay: each sends a line, and waits for its answer before the next one. Half of them
# only do so again when all restarts are over.
check_restart_sessions() {
    cat >"$work/sessions.pl" <<'END'
use IO::Socket::INET;
my ($enough, $count) = @ARGV;
$| = 1;
my ($lines, @sessions) = (0);
sub ask {
    my ($number) = @_;
    my ($line, $answer) = ("line " . ++$lines . "\n", "");
    my $session = $sessions[$number];
    defined syswrite $session, $line or die "Session $number: $!\n";
    while (length $answer < 4 + length $line) {
        sysread $session, $answer, 1000, length $answer or die "Session $number ends: '$answer' $!\n";
    }
    $answer eq "GOT:$line" or die "Session $number: '$answer' instead of '$line'\n";
}
for my $number (0 .. $count - 1) {
    $sessions[$number] = IO::Socket::INET->new(PeerAddr => "127.0.0.1:25000") or die "$!\n";
    ask($number);
}
print "ready\n";
until (-e $enough) { ask($_) for 0 .. $count / 2; select undef, undef, undef, 0.01 }
ask($_) for 0 .. $count - 1;
for my $session (@sessions) {
    shutdown $session, 1;
    sysread $session, my $more, 1 and die "More than was sent: '$more'\n";
}
print "$count sessions, $lines lines\n";
END
    rm -f "$work/enough"
    perl "$work/sessions.pl" "$work/enough" 100 >"$work/sessions" 2>&1 &
    sessions=$!
    soon [ -s "$work/sessions" ]
    same "sessions" "$(cat "$work/sessions")" ready
    for i in 1 2 3; do
        pid=$(property MainPID)
        systemctl restart "$service"
        [ "$(property MainPID)" != "$pid" ] || fail "It was not restarted."
        same "restarts with all sessions" "$(said | grep -c 'Took over 100 connections')" "$i"
    done
    touch "$work/enough"
    wait "$sessions" || fail "$(cat "$work/sessions")"
    said | grep 'Took over'
    cat "$work/sessions"
    same "restarts that nobody asked for" "$(property NRestarts)" 0
    same "failures" "$(said | grep -c 'Cannot')" 0
    unit_is "$socket" active
}

# As the manual has it. The sockets are opened, and the service does not run.
datagrams_on() {
    drop_in "$socket" <<'END'
[Socket]
ListenDatagram=0.0.0.0:25000
ListenDatagram=[::]:25000
PassPacketInfo=yes
ReceiveBuffer=4M
END
    systemctl stop "$socket" "$service"
    systemctl start "$socket"
    unit_is "$service" inactive
}

# The first datagram starts the service, which must read it: otherwise systemd would start it again.
check_datagrams() {
    datagrams_on
    answers_datagram 127.0.0.1 25000
    unit_is "$service" active
    pid=$(property MainPID)
    answers_datagram 127.0.0.5 25000
    answers_datagram ::1 25000
    echoes 127.0.0.1 25000
    same "sockets" "$(said | grep -c 'Answering datagrams on')" 2
    systemctl kill --signal=SIGUSR1 "$service"
    soon says 'Datagrams: 3 answered; dropped: 0 '
    # A socket of a service that has ended wakes it again.
    systemctl stop "$service"
    answers_datagram ::1 25000
    [ "$(property MainPID)" != "$pid" ] || fail "It was not stopped."
    same "restarts that nobody asked for" "$(property NRestarts)" 0
}

# A client that sends one datagram after the other, and waits for each answer. None is lost: what the
# only thread of a daemon has received is answered before it ends, and what comes later waits. With a
# limit, those that come faster than is usual here would be dropped.
check_restart_datagrams() {
    cat >"$work/datagrams.pl" <<'END'
use IO::Socket::IP;
my ($enough) = @ARGV;
my $socket = IO::Socket::IP->new(PeerAddr => "127.0.0.1", PeerPort => 25000, Proto => "udp") or die;
my $sent = 0;
until (-e $enough) {
    my $question = "datagram " . ++$sent;
    defined $socket->send($question) or die "$question: $!\n";
    vec(my $ready = "", fileno $socket, 1) = 1;
    select $ready, undef, undef, 60 or die "No answer to $question\n";
    defined $socket->recv(my $answer, 1000) or die "After $question: $!\n";
    $answer eq "GOT:$question" or die "'$answer' instead of that to $question\n";
}
print "datagrams: $sent\n";
exit($sent < 50);
END
    rm -f "$work/enough"
    options --udp-rate=0
    datagrams_on
    load_begin
    perl "$work/datagrams.pl" "$work/enough" >"$work/datagrams" 2>&1 4>&- &
    datagrams=$!
    systemctl restart "$service"
    soon took_over 1
    systemctl reload "$service"
    soon took_over 2
    systemctl restart "$service"
    soon took_over 3
    answers_datagram ::1 25000
    load_end
    touch "$work/enough"
    wait "$datagrams" || fail "$(cat "$work/datagrams")"
    cat "$work/datagrams"
    same "restarts that nobody asked for" "$(property NRestarts)" 0
}

# scrape PATH NC-ARGUMENT...: prints the answer.
scrape() {
    path=$1
    shift
    printf 'GET %s HTTP/1.0\r\n\r\n' "$path" | timeout 120 nc "$@" | tr -d '\r'
}

# healthy NC-ARGUMENT...: fails unless the probes there are answered by 200.
healthy() {
    for path in /livez /readyz; do
        same "$path from $*" "$(scrape "$path" "$@" | sed -n '1p;$p')" "$(printf 'HTTP/1.1 200 OK\nok')"
    done
}

# metered NAME NC-ARGUMENT...: prints this figure.
metered() {
    name=$1
    shift
    scrape /metrics "$@" | sed -n "s/^$name //p"
}

# As the manual has it, and then by a Unix socket. The figures go on where the process ends.
check_metrics() {
    cat >"/run/systemd/system/$metrics" <<'END'
[Socket]
ListenStream=127.0.0.1:9862
FileDescriptorName=metrics
Service=uvechod.service
END
    printf '[Service]\nSockets=%s %s\n' "$socket" "$metrics" | drop_in "$service"
    systemctl stop "$service"
    systemctl start "$metrics"
    unit_is "$service" inactive
    healthy 127.0.0.1 9862
    unit_is "$service" active
    echoes 127.0.0.1 25000
    accepted=uvechod_connections_accepted_total
    same "connections" "$(metered "$accepted" 127.0.0.1 9862)" 1
    for verb in reload restart; do
        systemctl "$verb" "$service"
        soon property_is SubState running
        echoes 127.0.0.1 25000
        healthy 127.0.0.1 9862
    done
    same "connections" "$(metered "$accepted" 127.0.0.1 9862)" 3
    same "ends of processes" "$(metered uvechod_generations_total 127.0.0.1 9862)" 2
    drop_in "$metrics" <<'END'
[Socket]
ListenStream=
ListenStream=/run/uvechod-metrics.sock
RemoveOnStop=yes
END
    systemctl stop "$socket" "$metrics" "$service"
    systemctl start "$socket" "$metrics"
    healthy -U /run/uvechod-metrics.sock
    same "connections" "$(metered "$accepted" -U /run/uvechod-metrics.sock)" 0
}

# A header that names the client, and one of which a restart comes in the middle.
check_proxy() {
    options '--proxy-from=127.0.0.1 --verbose'
    systemctl restart "$service"
    answer=$(ask "$(printf 'PROXY TCP4 192.0.2.1 192.0.2.2 1234 25000\r\nHello')" 127.0.0.1 25000)
    same "answer" "$answer" GOT:Hello
    soon says -F 'Connection from 192.0.2.1:1234 via 127.0.0.1:'
    echoes ::1 25000
    session_open 127.0.0.1 25000
    printf 'PROXY TCP4 192.0.2.3 192.0.2.2' >&3
    soon has_connections 1
    systemctl restart "$service"
    soon says 'Took over 1 connection '
    printf ' 1234 25000\r\n' >&3
    session_send after
    session_got after
    says -F 'Connection from 192.0.2.3:1234 via 127.0.0.1:'
    session_close
}

check_languages() {
    for words in 'de_DE:Verbindung von' 'fr_FR:Connexion de'; do
        systemctl stop "$service"
        drop_in "$service" <<END
[Service]
Environment=LC_ALL=${words%%:*}.UTF-8
END
        echoes 127.0.0.1 25000
        soon says -F "${words#*:}"
        said
    done
}

check_priorities() {
    options --verbose
    echoes 127.0.0.1 25000
    soon says 'Connection from'
    # The text must contain neither a priority nor a time.
    if said | grep -E '^<[0-7]>|^[^ ]*[0-9][0-9]:[0-9][0-9]:[0-9][0-9]|^[0-9]{4}-[0-9]{2}'; then
        fail "A line has a prefix of its own."
    fi
    same "lines with a priority" "$(said json | grep -c '"PRIORITY":"[0-7]"')" "$(said | wc -l)"
    priorities=$(said json | sed 's/.*"PRIORITY":"\(.\)".*/\1/' | sort -u | tr -d '\n')
    echo "Priorities: $priorities"
    case $priorities in
    *67) ;; # info and debug
    *) fail "Info or debug is missing." ;;
    esac
}

own_port_conf() { dpkg --listfiles uvechod | grep '/own-port\.conf$'; }

check_alone() {
    systemctl stop "$socket"
    systemctl start "$service"
    unit_is "$socket" active
    echoes 127.0.0.1 25000
    echoes ::1 25000
}

check_own_port() {
    mkdir -p "/etc/systemd/system/$service.d"
    cp "$(own_port_conf)" "/etc/systemd/system/$service.d/own-port.conf"
    systemctl daemon-reload
    systemctl disable --now "$socket"
    systemctl enable --now "$service"
    unit_is "$socket" inactive
    unit_is "$service" active enabled
    echoes 127.0.0.1 25000
    echoes ::1 25000
    options '--port=25001 --udp --metrics=127.0.0.1:9862'
    systemctl restart "$service"
    echoes 127.0.0.1 25001
    answers_datagram 127.0.0.1 25001
    answers_datagram ::1 25001
    healthy 127.0.0.1 9862
    refuses 127.0.0.1 25000
    # Sockets that listen all the same must give up the port.
    systemctl stop "$service"
    drop_out
    systemctl start "$socket"
    systemctl start "$service"
    unit_is "$socket" inactive
    echoes 127.0.0.1 25000
    systemctl --quiet disable --now "$service"
}

check_rfc862() {
    drop_in "$socket" <<'END'
[Socket]
ListenStream=0.0.0.0:7
ListenStream=[::]:7
END
    options --rfc862
    systemctl restart "$socket"
    for address in 127.0.0.1 ::1; do
        for port in 7 25000; do
            same "answer from $address $port" "$(ask Hello "$address" "$port")" Hello
        done
    done
}

# As the manual has it.
check_another_port() {
    drop_in "$socket" <<'END'
[Socket]
ListenStream=
ListenStream=0.0.0.0:7777
ListenStream=[::]:7777
END
    systemctl stop "$socket" "$service"
    systemctl start "$socket"
    echoes 127.0.0.1 7777
    echoes ::1 7777
    refuses 127.0.0.1 25000
}

restarted_often() { [ "$(property NRestarts)" -ge 2 ]; }

# wrong_options OPTIONS TEXT: the log must contain TEXT, the socket stays, and a client that waits is
# served once the options are right.
wrong_options() {
    systemctl stop "$service"
    options "$1"
    session_open 127.0.0.1 25000
    session_send waits
    soon restarted_often
    unit_is "$socket" active
    says -F "$2" || fail "The log does not contain: $2"
    drop_out
    soon grep -qx GOT:waits "$work/out"
    session_close
}

check_wrong_options() {
    wrong_options --port=7777 'systemctl edit uvechod.socket'
    wrong_options --prot=1 "unknown or ambiguous option '--prot=1'"
}

# package VERSION: makes $work/VERSION.deb of the package and, if there is a file $work/program, with
# this as the daemon.
package() {
    rm -rf "$work/package"
    dpkg-deb --raw-extract "$work/uvechod.deb" "$work/package"
    sed -i "s/^Version: .*/Version: $1/" "$work/package/DEBIAN/control"
    [ ! -f "$work/program" ] || cp "$work/program" "$work/package$program"
    dpkg-deb --uniform-compression -Znone --build "$work/package" "$work/$1.deb"
}

# Reloads the service, upgrades the package to a newer version and goes back, while clients send.
# All are served by the same process.
check_reload() {
    echoes 127.0.0.1 25000
    pid=$(property MainPID)
    package 99.0
    load_begin
    systemctl reload "$service"
    soon upgraded 1
    runs_on "$pid"
    for deb in "$work/99.0.deb" "$work/uvechod.deb"; do
        dpkg --install "$deb"
        runs_on "$pid"
    done
    soon upgraded 3
    echoes 127.0.0.1 25000
    load_end
    same "upgrades in the log" "$(said | grep -c 'Took over 6[0-9] connections in')" 3
}

# The new version cannot be executed.
check_broken() {
    session_open 127.0.0.1 25000
    session_send before
    session_got before
    pid=$(property MainPID)
    echo "no program" >"$work/program"
    package 99.1
    rm "$work/program"
    dpkg --install "$work/99.1.deb" >"$work/dpkg" || fail "dpkg: $(cat "$work/dpkg")"
    grep 'still runs as before' "$work/dpkg" || fail "$(cat "$work/dpkg")"
    says 'Cannot upgrade: .*: Exec format error'
    property_is SubState running
    same "program" "$(readlink "/proc/$pid/exe")" "$program (deleted)"
    session_send meanwhile
    session_got meanwhile
    dpkg --install "$work/uvechod.deb"
    runs_on "$pid"
    session_send after
    session_got after
    session_close
}

# took_over N: whether all clients of load_begin have been taken over N times.
took_over() { [ "$(said | grep -c 'Took over 6[0-9] connections in')" -eq "$1" ]; }

# Kills the daemon, and lets it hang, while clients send. The main process stays the same.
check_keep() {
    conf=$(dpkg --listfiles uvechod | grep '/keep\.conf$')
    mkdir -p "/etc/systemd/system/$service.d"
    cp "$conf" "/etc/systemd/system/$service.d/keep.conf"
    printf '[Service]\nWatchdogSec=60\nLimitCORE=0\n' | drop_in "$service"
    echoes 127.0.0.1 25000
    keeper=$(property MainPID)
    load_begin
    pkill -KILL -P "$keeper"
    soon took_over 1
    pkill -STOP -P "$keeper"
    soon took_over 2
    load_end
    says 'The daemon was ended by signal 9; starting a successor'
    says 'The daemon has not moved for 40000 ms and was ended; starting a successor'
    same "main process" "$(property MainPID)" "$keeper"
    same "restarts" "$(property NRestarts)" 0
    echoes 127.0.0.1 25000
    systemctl stop "$service"
    same "result" "$(property Result)" success
    same "processes left" "$(pgrep -x uvechod)" ''
}

# A version that would be killed by a reload, and by what a restart sends.
check_upgrade() {
    echoes 127.0.0.1 25000
    package 0.1.0
    apt_get --allow-downgrades install "$work/0.1.0.deb"
    echoes 127.0.0.1 25000
    pid=$(property MainPID)
    apt_get install "$work/uvechod.deb"
    [ "$(dpkg-query --show --showformat='${Version}' uvechod)" != 0.1.0 ] || fail "Not upgraded."
    unit_is "$socket" active enabled
    unit_is "$service" active
    [ "$(property MainPID)" != "$pid" ] || fail "The old version still runs."
    same "old versions that were told of a restart" "$(said | grep -c 'Restarting')" 0
    echoes 127.0.0.1 25000
}

check_reinstall() {
    echoes 127.0.0.1 25000
    pid=$(property MainPID)
    apt_get --reinstall install "$work/uvechod.deb"
    runs_on "$pid"
    unit_is "$socket" active enabled
    echoes 127.0.0.1 25000
}

check_purge() {
    echoes 127.0.0.1 25000
    dpkg --listfiles uvechod >"$work/files"
    apt_get purge uvechod
    while read -r file; do
        # A directory may belong to other packages, too.
        [ -d "$file" ] || [ ! -e "$file" ] || fail "$file is still there."
    done <"$work/files"
    left=$(find / -xdev -name '*uvechod*' ! -path '/host/*' ! -path "$work/*" ! -path '/proc/*')
    left=$left$(find /run /tmp /var/tmp -name '*uvechod*' ! -path "$work/*")
    same "files left" "$left" ''
    same "units left" "$(systemctl list-units --all --plain --no-legend 'uvechod*')" ''
    same "unit files left" "$(systemctl list-unit-files --no-legend 'uvechod*')" ''
    same "processes left" "$(pgrep -x uvechod)" ''
    same "users left" "$(getent passwd uvechod)" ''
    refuses 127.0.0.1 25000
}

# ---------------------------------------------------------------------------------------------

# check FUNCTION TITLE: runs check_FUNCTION and writes its result.
check() {
    start=$(date +%s)
    since=@$(date +%s.%6N)
    # Not in a condition, because set -e does not work there.
    (
        set -e
        "check_$1"
    ) >"$work/log" 2>&1 </dev/null
    failed=$?
    if [ "$failed" -eq 0 ]; then
        echo "ok - $2"
    else
        echo "not ok - $2"
        {
            tail -n 30 "$work/log"
            echo "The journal:"
            journalctl --quiet --since="$since" --unit="$service" --unit="$socket" |
                tail -n 20
        } | sed 's/^/# /'
    fi >>/host/results
    {
        echo "== $2, $(($(date +%s) - start)) s"
        cat "$work/log"
    } >>/host/checks.log
    # No client of this check lives on.
    pkill -x nc
    pkill -x echoload
}

list='install|The package installs, and enables nothing
units|The installed units verify, and are as safe as promised
activation|The first connection starts the service
echo|The echo is right over IPv4, IPv6 and a Unix socket
large|Three megabytes come back whole
process|The process runs as a dynamic user, with seccomp, no privileges and no network
sandbox_lines|Each line of the sandbox is in force
sandbox|The sandbox refuses sockets, files, processes and programs
status|systemctl status shows what the daemon does
stats|SIGUSR1 brings the statistics to the journal
watchdog|A daemon that hangs is killed by the watchdog and restarted
stop|systemctl stop lets an open connection finish
restart|systemctl restart under load fails no connection
restart_sessions|systemctl restart ends no session, and no byte is lost
datagrams|The first datagram starts the service, and is answered from the address that was asked
restart_datagrams|Restarts and a reload under a stream of datagrams and TCP double no answer and cut nobody
metrics|A second socket unit serves metrics and health out of the full sandbox, also after a restart
proxy|Headers of proxies name the client, also one in the middle of which a restart comes
languages|German and French reach the journal
priorities|Journal entries have priorities and no prefixes
alone|The service, started by itself, fetches its sockets
own_port|With the drop-in the service binds its own port, also for datagrams and metrics
rfc862|A drop-in adds port 7
another_port|A drop-in changes the port
wrong_options|Wrong options leave the socket there, and clients that wait are served once they are right
reload|A reload, an upgrade and a downgrade under load cut nobody, and the process is the same
broken|An upgrade to a program that cannot run keeps the one that does, and says so
keep|With the drop-in keep.conf a kill and a hang of the daemon end no connection
upgrade|An upgrade of a version that cannot reload restarts the service, and leaves the socket there
reinstall|Reinstalling leaves it enabled and answering, in the same process
purge|Purging the package leaves nothing'
read -r wanted </host/wanted
[ -z "$wanted" ] ||
    list=$(echo "$list" | grep -E "^($(echo "$wanted" | tr -s ' ' '|'))[|]")

echo "1..$(echo "$list" | wc -l)" >/host/results
echo "$list" | while IFS='|' read -r name title; do
    case $name in
    install | units | activation) ;;
    *) fresh >>/host/checks.log 2>&1 ;;
    esac
    check "$name" "$title"
    # All other checks need the package.
    [ "$name" != install ] || dpkg --status uvechod >/dev/null || break
done
journalctl --quiet --boot >/host/journal.log
