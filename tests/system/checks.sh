#!/bin/sh
# Runs as root inside the machine that run.sh boots, as the unit checks.service, and writes its
# results to /host/results: a line "1..N", a line "ok - TITLE" or "not ok - TITLE" for each of the N
# checks, and after a failed one its output in lines that begin with "# ".
set -u
export LC_ALL=C.UTF-8 SYSTEMD_PAGER='' SYSTEMD_COLORS=0 DEBIAN_FRONTEND=noninteractive

service=uvechod.service
socket=uvechod.socket
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

# soon SECONDS COMMAND...: tries again until COMMAND succeeds, and fails after this time.
soon() {
    deadline=$(($(date +%s) + $1))
    shift
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
    printf '%s\n' "$text" | timeout 20 nc -N "$@"
}

echoes() { same "answer from $*" "$(ask Hello "$@")" GOT:Hello; }

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
session_got() { soon 10 grep -qx "GOT:$1" "$work/out"; }
session_close() {
    exec 3>&-
    wait "$session"
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
    timeout 60 nc -N 127.0.0.1 25000 <"$work/sent" >"$work/received" || fail "nc: $?"
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
ExecPaths /usr/bin/uvechod /usr/lib -/usr/lib64 -/usr/local/lib -/usr/local/lib64 -/lib -/lib64
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
    soon 10 status_changed ''
    soon 10 status_shown
    # The status follows the connections.
    before=$(property StatusText)
    session_open 127.0.0.1 25000
    session_send one
    session_got one
    soon 20 status_changed "$before"
    echo "'$before' became '$text'"
    session_close
}

# As the manual has it.
check_stats() {
    echoes 127.0.0.1 25000
    systemctl kill --signal=SIGUSR1 "$service"
    journalctl --unit="$service" --follow >"$work/follow" &
    follow=$!
    soon 20 grep -q 'Statistics: 0 connections now, 1 in total' "$work/follow"
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
    soon 30 property_is NRestarts 1
    soon 10 property_is ActiveState active
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
    soon 10 property_is ActiveState deactivating
    session_send during
    session_got during
    same "state" "$(property ActiveState)" deactivating
    session_close
    soon 5 property_is ActiveState inactive
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

check_languages() {
    for words in 'de_DE:Verbindung von' 'fr_FR:Connexion de'; do
        systemctl stop "$service"
        drop_in "$service" <<END
[Service]
Environment=LC_ALL=${words%%:*}.UTF-8
END
        echoes 127.0.0.1 25000
        soon 10 says -F "${words#*:}"
        said
    done
}

check_priorities() {
    options --verbose
    echoes 127.0.0.1 25000
    soon 10 says 'Connection from'
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
    options --port=25001
    systemctl restart "$service"
    echoes 127.0.0.1 25001
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
    soon 60 restarted_often
    unit_is "$socket" active
    says -F "$2" || fail "The log does not contain: $2"
    drop_out
    soon 60 grep -qx GOT:waits "$work/out"
    session_close
}

check_wrong_options() {
    wrong_options --port=7777 'systemctl edit uvechod.socket'
    wrong_options --prot=1 "unknown or ambiguous option '--prot=1'"
}

# Upgrades from a package of an older version with the same files.
check_upgrade() {
    echoes 127.0.0.1 25000
    dpkg-deb --raw-extract "$work/uvechod.deb" "$work/older"
    sed -i 's/^Version: .*/Version: 0.0.1/' "$work/older/DEBIAN/control"
    dpkg-deb --build "$work/older" "$work/older.deb"
    apt_get --allow-downgrades install "$work/older.deb"
    echoes 127.0.0.1 25000
    pid=$(property MainPID)
    apt_get install "$work/uvechod.deb"
    [ "$(dpkg-query --show --showformat='${Version}' uvechod)" != 0.0.1 ] || fail "Not upgraded."
    unit_is "$socket" active enabled
    unit_is "$service" active
    [ "$(property MainPID)" != "$pid" ] || fail "The old version still runs."
    echoes 127.0.0.1 25000
}

check_reinstall() {
    echoes 127.0.0.1 25000
    pid=$(property MainPID)
    apt_get --reinstall install "$work/uvechod.deb"
    [ "$(property MainPID)" != "$pid" ] || fail "It was not restarted."
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
languages|German and French reach the journal
priorities|Journal entries have priorities and no prefixes
alone|The service, started by itself, fetches its sockets
own_port|With the drop-in the service binds its own port
rfc862|A drop-in adds port 7
another_port|A drop-in changes the port
wrong_options|Wrong options leave the socket there, and clients that wait are served once they are right
upgrade|An upgrade restarts the service, and leaves the socket there
reinstall|Reinstalling leaves it enabled and answering
purge|Purging the package leaves nothing'

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
