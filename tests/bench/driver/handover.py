"""
The longest gap that clients see when the daemon is replaced: by an upgrade (SIGUSR2), by the keeper
after a kill (--keep), or by a plain restart, which ends the process and starts another one. Clients
in the driver play ping-pong meanwhile; those of a plain restart connect again as soon as they can.
Other connections are idle.
"""

import contextlib
import os
import resource
import select
import signal
import socket
import struct
import subprocess
import tempfile
import time

import processes

IDLE = (0, 2000, 10000)
CLIENTS = (1, 50)
PATIENCE = 30  # seconds for everything that is waited for
MESSAGE = b"x" * 64
STEADY = 0.1  # seconds of ping-pong before the daemon is replaced
_RESET = struct.pack("ii", 1, 0)  # a close that keeps no port for a minute (SO_LINGER)


def counts(smoke):
    """Pairs of idle connections, as many as both sides have descriptors for, and clients."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most = limit - 400 if limit != resource.RLIM_INFINITY else max(IDLE)
    return [(0, 1), (300, 50)] if smoke else [(min(i, most), c) for i in IDLE for c in CLIENTS]


def _connect(port):
    sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


class _Client:
    """One ping-pong. gap is the longest time between two answers, in seconds."""

    def __init__(self):
        self.sock = None
        self.missing = 0  # bytes of the answer
        self.answered = time.monotonic()
        self.gap = 0

    def send(self, answer):
        self.sock.sendall(MESSAGE)
        self.missing = len(answer)

    def receive(self, answer):
        data = self.sock.recv(self.missing)
        if not data:
            raise ConnectionResetError
        at = len(answer) - self.missing
        if data != answer[at : at + len(data)]:
            raise processes.LoadFailed(f"a wrong answer: {data!r}")
        self.missing -= len(data)
        if self.missing == 0:
            now = time.monotonic()
            self.gap = max(self.gap, now - self.answered)
            self.answered = now
            self.send(answer)


class _Clients:
    """All of them, in one loop. The answer is what the daemon makes of MESSAGE."""

    def __init__(self, port, count, answer, may_lose):
        self.port = port
        self.answer = answer
        self.may_lose = may_lose  # connections: they are made again
        self.epoll = select.epoll()
        self.by_fd = {}
        self.all = [_Client() for _ in range(count)]
        self.lost = list(self.all)

    def close(self):
        for client in self.all:
            if client.sock:
                client.sock.close()
        self.epoll.close()

    def _lose(self, client):
        del self.by_fd[client.sock.fileno()]
        client.sock.close()
        client.sock = None
        if not self.may_lose:
            raise processes.LoadFailed("a connection has ended")
        self.lost.append(client)

    def _connect_again(self):
        """A loopback refuses or accepts at once."""
        for client in list(self.lost):
            try:
                client.sock = _connect(self.port)
            except ConnectionError:
                return
            self.lost.remove(client)
            self.by_fd[client.sock.fileno()] = client
            self.epoll.register(client.sock, select.EPOLLIN)
            with contextlib.suppress(ConnectionError):  # the next receive finds the same
                client.send(self.answer)

    def turn(self):
        if self.lost:
            self._connect_again()
        for fd, _ in self.epoll.poll(0.001):
            client = self.by_fd[fd]
            try:
                client.receive(self.answer)
            except ConnectionError:
                self._lose(client)

    def turn_until(self, condition, what):
        end = time.monotonic() + PATIENCE
        while not condition():
            self.turn()
            if time.monotonic() > end:
                raise processes.LoadFailed(f"waited {PATIENCE} s for {what}")

    def turn_for(self, seconds):
        end = time.monotonic() + seconds
        self.turn_until(lambda: time.monotonic() >= end, "nothing")

    def wait_for_answers(self):
        """Until each has got an answer to what was sent after this call, or later."""
        start = time.monotonic()
        for _ in range(2):
            self.turn_until(lambda: all(c.answered > start for c in self.all), "answers")
            start = time.monotonic()


class _Log:
    """What the daemon has written, as a file that is read again and again."""

    def __init__(self):
        self.file = tempfile.TemporaryFile()
        self.text = b""
        self.looked = 0

    def close(self):
        self.file.close()

    def has(self, words):
        """Looks once in a millisecond at most, because each look delays the clients."""
        now = time.monotonic()
        if now - self.looked >= 0.001:
            self.looked = now
            self.text += os.pread(self.file.fileno(), 1 << 20, len(self.text))
        return words in self.text


def _start(command, port, log):
    nothing = subprocess.DEVNULL
    process = processes.spawn(
        command, processes.SERVER_CPU, stdin=nothing, stdout=nothing, stderr=log.file
    )
    processes.wait_for(process, port, PATIENCE)
    return process


def _upgrade(server, command, port, log, clients):
    server.send_signal(signal.SIGUSR2)
    clients.turn_until(lambda: log.has(b"Took over "), "the upgrade")
    return server


def _crash(server, command, port, log, clients):
    os.kill(processes.child(server.pid), signal.SIGKILL)
    clients.turn_until(lambda: log.has(b"Took over "), "the successor")
    return server


def _restart(server, command, port, log, clients):
    """The second signal ends all connections at once: no stop could be quicker."""
    server.send_signal(signal.SIGTERM)
    server.send_signal(signal.SIGINT)
    clients.turn_until(lambda: server.poll() is not None, "the end of the daemon")
    processes.stop(server)
    nothing = subprocess.DEVNULL
    return processes.spawn(
        command, processes.SERVER_CPU, stdin=nothing, stdout=nothing, stderr=log.file
    )


WAYS = {"upgrade": _upgrade, "crash": _crash, "restart": _restart}


def _check(idle, answer):
    """Whether those that were idle have a connection still."""
    for sock in idle:
        sock.sendall(MESSAGE)
    for sock in idle:
        got = b""
        while len(got) < len(answer):
            data = sock.recv(len(answer) - len(got))
            if not data:
                raise processes.LoadFailed("an idle connection has ended")
            got += data
        if got != answer:
            raise processes.LoadFailed(f"a wrong answer: {got!r}")


@contextlib.contextmanager
def _on_cpus_of_the_load():
    """The clients are in this process."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, processes.LOAD_CPU)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _gap(way, command, port, idle_count, client_count, answer):
    """Replaces the daemon once. Returns the longest gap of all clients, in seconds."""
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(contextlib.closing(_Log()))
        server = _start(command, port, log)
        stack.callback(lambda: processes.stop(server))
        idle = [stack.enter_context(_connect(port)) for _ in range(idle_count)]
        clients = _Clients(port, client_count, answer, may_lose=way == "restart")
        stack.enter_context(contextlib.closing(clients))
        clients.turn_for(STEADY)
        clients.wait_for_answers()
        for client in clients.all:
            client.gap = 0
        server = WAYS[way](server, command, port, log, clients)
        clients.wait_for_answers()
        if way != "restart":
            _check(idle, answer)
        return max(client.gap for client in clients.all)


def measure(run, contestant, case):
    way, idle_count, client_count = case.options
    port = processes.free_port()
    command = [word for word in contestant.command(port) if word != "--quiet"]
    if way == "crash":
        command.append("--keep")
    answer = MESSAGE if contestant.expect else b"GOT:" + MESSAGE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with _on_cpus_of_the_load():
            return {"gap_ms": 1000 * _gap(way, command, port, idle_count, client_count, answer)}
    except OSError as failure:
        raise processes.LoadFailed(str(failure)) from failure
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
