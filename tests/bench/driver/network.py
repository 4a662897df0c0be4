"""
A network of the benchmark's own: a namespace with nothing but a loopback, and TCP as Linux brings
it, whatever the machine is set to. It matters most what congestion control that is. BBR, where an
administrator has chosen it, lets a timer pace each connection; over a loopback it is the timer
that is measured then. Reno does not, is part of every kernel, and may be chosen by anybody.
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
    """Root may; anybody else may where users can have namespaces, and stays who he is."""
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
    """Tried by a child first: there is no way back from a namespace with half of what it needs."""
    child = os.fork()
    if child == 0:
        failed = 1
        try:
            _enter()
            failed = 0
        finally:
            os._exit(failed)  # whatever went wrong: there is to be one driver only
    return os.waitpid(child, 0)[1] == 0


def enter():
    """Moves this process, and all that it starts, there if that is allowed. Says where it is."""
    own = _may_enter()
    if own:
        _enter()
    with open(CONGESTION_CONTROL, encoding="ascii") as file:
        control = file.read().strip()
    return f"{'a network namespace of its own' if own else 'the network of the machine'}, TCP {control}"
