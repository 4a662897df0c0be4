#!/bin/sh
# sh image.sh IMAGE SUITE: makes IMAGE, an ext4 file system with a small Debian of that SUITE in it,
# which boots under user-mode-linux and runs the unit checks.service. Needs root. The mirror is the
# one that this machine's apt uses.
# sh image.sh --key SUITE: prints a name for what it would make, which changes with this file, the
# mirror and the kernel.
set -eu

# shellcheck source=cmake/common.sh
. "$(dirname -- "$0")/../../cmake/common.sh"
# shellcheck source=cmake/debian.sh
. "$(dirname -- "$0")/../../cmake/debian.sh"

answer_help "$@"
[ $# -eq 2 ] || wrong_usage
image=$1 suite=$2

# With Debian's smallest base: systemd, what the checks use, and what makes locales of the daemon's
# languages. What the package needs and recommends, apt adds: its name differs between the suites.
packages=systemd,systemd-sysv,dbus,kmod,locales,netcat-openbsd,procps
libraries='libuv1 libsystemd0 libmicrohttpd12'

find_mirror
if [ "$image" = --key ]; then
    # What the image depends on, for run.sh to name it by.
    { cat "$0" && echo "$suite $mirror" && linux.uml --version; } | sha256sum | cut -c 1-16
    exit
fi
[ "$(id -u)" -eq 0 ] || die "Only root can make a Debian tree."

# The tree is no use to anybody but mkfs.
tree=$(mktemp -d "$image.XXXXXX")
trap 'rm -rf "$tree"' EXIT
trap 'exit 1' HUP INT TERM

log=$image.log
export_proxy
make_tree "$suite" "$(dpkg --print-architecture)" "$tree/root" "$log" --include="$packages"
root=$tree/root
# The list is meant to split.
# shellcheck disable=SC2086
chroot "$root" apt-get install -q -y --no-install-recommends $libraries >>"$log" 2>&1 </dev/null ||
    die "Could not install $libraries, as $log says: $(tail -n 3 "$log")"

for language in de_DE fr_FR; do
    chroot "$root" localedef -i "$language" -f UTF-8 "$language.UTF-8" >>"$log" 2>&1 ||
        die "Could not make the locale $language.UTF-8: $(tail -n 3 "$log")"
done

# IPv6 is a module of this kernel. systemd loads it before it does anything else.
release=$(linux.uml --version)
modules=/usr/lib/uml/modules/$release
if dependencies=$(grep '/ipv6\.ko:' "$modules/modules.dep"); then
    mkdir -p "$root/lib/modules/$release"
    (cd "$modules" && printf '%s\n' modules.* && echo "$dependencies" | tr -d : | tr ' ' '\n') |
        tar -c -C "$modules" -T - | tar -x -C "$root/lib/modules/$release"
fi

# What is on no server, and only costs time to start.
mask() {
    for unit in "$@"; do
        ln -sf /dev/null "$root/etc/systemd/system/$unit"
    done
}
mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
    e2scrub_reap.service fstrim.timer getty@tty1.service getty-static.service \
    ldconfig.service systemd-ask-password-console.path systemd-ask-password-wall.path \
    systemd-journal-catalog-update.service systemd-logind.service systemd-pstore.service \
    systemd-random-seed.service systemd-udevd.service systemd-udevd-control.socket \
    systemd-udevd-kernel.socket systemd-udev-trigger.service systemd-update-done.service \
    systemd-update-utmp.service systemd-update-utmp-runlevel.service

# Generators run at every daemon-reload, of which there are many; of theirs only fstab's is needed.
mkdir -p "$root/etc/systemd/system-generators"
for generator in "$root"/usr/lib/systemd/system-generators/*; do
    case ${generator##*/} in
    systemd-fstab-generator) ;;
    *) ln -s /dev/null "$root/etc/systemd/system-generators/${generator##*/}" ;;
    esac
done

# A machine that has booted before: the first boot would enable units by presets.
echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
echo system-test >"$root/etc/hostname"
echo '127.0.0.1 localhost system-test' >"$root/etc/hosts"

# /host is the directory that run.sh names on the kernel's command line.
mkdir "$root/host"
echo 'none /host hostfs defaults 0 0' >"$root/etc/fstab"
cat >"$root/etc/systemd/system/checks.service" <<'END'
[Unit]
Description=Checks
After=multi-user.target
# Nothing here outlives the run: no need to shut down in order.
SuccessAction=poweroff-immediate
FailureAction=poweroff-immediate

[Service]
Type=oneshot
ExecStart=/bin/sh /host/checks.sh
StandardOutput=journal+console
TimeoutStartSec=infinity

[Install]
WantedBy=graphical.target
END
chroot "$root" systemctl enable --quiet checks.service
chroot "$root" systemctl set-default --quiet graphical.target
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*

# Room for what the tests write, which costs nothing: the file is sparse.
mkfs.ext4 -q -L uvechod-system -d "$root" "$tree/image" 2G >>"$log" 2>&1 ||
    die "Could not make $image: $(tail -n 3 "$log")"
mv "$tree/image" "$image"
