"""
A network namespace for the benchmark, with only a loopback interface and with Linux's default
settings of TCP, not those of the machine. The congestion control matters most. If the machine uses
BBR, a timer paces each connection, and over a loopback the benchmark would measure this timer. Reno
has no such timer, is part of every kernel, and any user may choose it.
"""

import ctypes
import fcntl
import os
import socket
import struct

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
CONGESTION_CONTROL = "/proc/sys/net/ipv4/tcp_congestion_control"

_libc = ctypes.CDLL(None, use_errno=True)


def _write(path, text):
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def _unshare(flags):
    if _libc.unshare(flags) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _separate():
    """Enters a new namespace. Without root, this needs a user namespace, which keeps the user."""
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        _unshare(CLONE_NEWNET)
        return
    _unshare(CLONE_NEWUSER | CLONE_NEWNET)
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{uid} {uid} 1")
    _write("/proc/self/gid_map", f"{gid} {gid} 1")


def _raise_loopback():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", IFF_UP))


def _enter():
    _separate()
    _raise_loopback()
    _write(CONGESTION_CONTROL, "reno")


def _may_enter():
    """A child tries first, because a process cannot leave a namespace that is only half set up."""
    child = os.fork()
    if child == 0:
        failed = 1
        try:
            _enter()
            failed = 0
        finally:
            os._exit(failed)  # in any case, because the child must not go on as a second driver
    return os.waitpid(child, 0)[1] == 0


def enter():
    """Enters the namespace, if allowed. Returns a text that names the network."""
    own = _may_enter()
    if own:
        _enter()
    with open(CONGESTION_CONTROL, encoding="ascii") as file:
        control = file.read().strip()
    return f"{'a network namespace of its own' if own else 'the network of the machine'}, TCP {control}"
