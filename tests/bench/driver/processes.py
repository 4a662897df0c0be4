"""Servers and load generators as processes: pinned to CPUs, and killed when the driver ends."""

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import time

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)
_running = set()


class LoadFailed(Exception):
    """echoload has found a wrong byte, or has failed in another way."""


ALL_CPUS = sorted(os.sched_getaffinity(0))
# One CPU for the server, and another for the load. Both use the same if there is only one.
SERVER_CPU, LOAD_CPU = ALL_CPUS[:1], ALL_CPUS[1:2] or ALL_CPUS


MAY_BE_URGENT = os.geteuid() == 0


def _child(on, urgent):
    def prepare():
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # if the driver is killed
        os.sched_setaffinity(0, on)
        if urgent and MAY_BE_URGENT:
            with contextlib.suppress(PermissionError):
                os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))

    return prepare


def spawn(command, on, urgent=False, **streams):
    """Starts a command on these CPUs. If urgent, it runs before all other processes, if allowed."""
    process = subprocess.Popen(
        command, preexec_fn=_child(on, urgent), start_new_session=True, **streams
    )
    _running.add(process)
    return process


def stop(process, patience=3):
    """Ends the process and its children."""
    for signum in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signum)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
            if signum == signal.SIGTERM:
                continue  # SIGKILL next, because children may still run
        patience = 5
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream:
            stream.close()
    _running.discard(process)


def stop_all():
    for process in list(_running):
        stop(process, patience=0.2)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(process, port, seconds):
    """Tries to connect until the server listens, because not every server says when it does."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.02)
    raise LoadFailed(f"{process.args[0]} does not answer on port {port}")


def wait_for_answer(process, port, seconds):
    """Sends datagrams until one is answered, because nothing else says that a server is there."""
    end = time.monotonic() + seconds
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("127.0.0.1", port))
        probe.settimeout(0.05)
        while time.monotonic() < end and process.poll() is None:
            with contextlib.suppress(OSError):
                probe.send(b"?")
                probe.recv(64)
                return
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.02)
    raise LoadFailed(f"{process.args[0]} does not answer datagrams on port {port}")


@contextlib.contextmanager
def server(contestant, wrapper=(), seconds=10, on=SERVER_CPU):
    """Runs the contestant, in a wrapper such as strace. Yields its process and its port."""
    port = free_port()
    command = [*wrapper, *contestant.command(port)]
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = spawn(command, on, **quiet)
    try:
        (wait_for_answer if contestant.udp else wait_for)(process, port, seconds)
        yield process, port
    finally:
        stop(process)


def echoload(program, options, port, pid, on=LOAD_CPU, urgent=False):
    """Starts echoload. load_result() waits for its end."""
    command = [program, "--json", f"--pid={pid}", *options, f"127.0.0.1:{port}"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return spawn(command, on, urgent, text=True, **pipes)


def load_result(process, seconds):
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        stop(process)
        raise LoadFailed(f"echoload has not ended after {seconds:.0f} s") from None
    _running.discard(process)
    if process.returncode != 0:
        raise LoadFailed(err.strip() or f"echoload: exit code {process.returncode}")
    return json.loads(out)


def child(pid):
    """The number of its only child."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as children:
        return int(children.read().split()[0])


def resident(pid):
    """The anonymous resident memory of the process, in bytes."""
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
        for line in status:
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    return 0
