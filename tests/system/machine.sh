# Sourced by the scripts that boot a machine under user-mode-linux. They must set name, of the test,
# before. The machine leaves its results in build/$name.
# shellcheck shell=sh

# shellcheck source=cmake/common.sh
. "$(dirname -- "$0")/../../cmake/common.sh"
# shellcheck disable=SC2154
machine_dir=$root/build/$name

skip() {
    echo "$name test skipped: $*"
    exit 77
}

# machine_tools TOOL...: installs what is missing of linux.uml and these, or skips the test.
machine_tools() {
    # The kernel is Debian's, which makes it for PCs only.
    { have apt-get && have dpkg; } || skip "this is no Debian"
    case $(dpkg --print-architecture) in
    amd64 | i386) ;;
    *) skip "Debian has no user-mode-linux for this processor" ;;
    esac
    as_root=
    if [ "$(id -u)" -ne 0 ]; then
        if have sudo && sudo -n true 2>/dev/null; then as_root=sudo; else as_root=none; fi
    fi
    PATH=$PATH:/usr/sbin:/sbin
    for tool in linux.uml "$@"; do
        have "$tool" || [ "$as_root" != none ] || skip "$tool is missing, and nobody here is root"
    done
    (need linux.uml "$@") || skip "could not install one of linux.uml $*"
}

# machine_room DIRECTORY: prints how many megabytes are free in its file system.
machine_room() { df -Pm "$1" 2>/dev/null | awk 'NR == 2 { room = $4 } END { print room + 0 }'; }

# The machine's memory is a file. Megabytes that other files need in its file system.
machine_spare=64

machine=
clean_up() {
    if [ -n "$machine" ]; then
        kill "$machine" 2>/dev/null || :
        wait "$machine" || :
    fi
    # What was only for the machine.
    (cd "$machine_dir" && rm -rf disk package.deb echoload checks.sh machine)
}

# machine_boot MEGABYTES SECONDS ARGUMENT...: runs the machine until it ends, with these arguments
# for its kernel. Sets status to its exit code.
machine_boot() {
    # Its memory is in /dev/shm by default, which is too small in some containers.
    if [ "$(machine_room /dev/shm)" -lt $(($1 + machine_spare)) ]; then
        TMPDIR=$machine_dir
        export TMPDIR
    fi
    memory=$1
    seconds=$2
    shift 2
    trap clean_up EXIT
    trap 'exit 1' HUP INT TERM
    # On one CPU, because its kernel and its processes take turns, which takes twice as long on two.
    # timeout makes a process group, because this kernel, when it panics, ends its whole group.
    # panic=-1 with noreboot makes it end then, not wait.
    cpu=$(awk '$1 == "Cpus_allowed_list:" { n = split($2, a, /[-,]/); print a[n] }' /proc/self/status)
    taskset -c "$cpu" timeout --kill-after=10 "$seconds" linux.uml "mem=${memory}M" \
        "uml_dir=$machine_dir" umid=machine con=none con0=null,fd:1 ssl=none noreboot panic=-1 \
        "$@" >"$machine_dir/console.log" 2>&1 </dev/null &
    machine=$!
    status=0
    wait "$machine" || status=$?
    machine=
}

# machine_results: prints the results, and ends, with 0 if all that were planned have passed.
machine_results() {
    results=$machine_dir/results
    [ -f "$results" ] || : >"$results"
    grep -v '^1\.\.' "$results" || :
    planned=$(sed -n 's/^1\.\.//p' "$results")
    passed=$(grep -c '^ok - ' "$results") || :
    failed=$(grep -c '^not ok - ' "$results") || :
    missing=$((${planned:-1} - passed - failed))
    if [ "$missing" -ne 0 ]; then
        echo "not ok - $missing more were to be checked (the machine ended with status $status)"
        failed=$((failed + missing))
        [ "$status" -eq 0 ] || tail -n 20 "$machine_dir/console.log" | sed 's/^/# /'
    fi
    echo "$name: $passed passed, $failed failed"
    [ "$failed" -ne 0 ] || exit 0
    say "The logs are in $machine_dir"
    exit 1
}
