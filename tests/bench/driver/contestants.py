"""The contestants: how to start each echo server, and which suites it skips."""

import os
import shutil
import subprocess
import sys
import tempfile

from suites import SUITES, UDP_SUITES

HERE = os.path.dirname(os.path.abspath(__file__))
BASELINE = os.path.join(os.path.dirname(HERE), "baseline")


class Contestant:
    """An echo server on 127.0.0.1. command(port) returns the command that starts the server."""

    def __init__(self, name, command, *, least=None, prefix=False, native=False, close=False, kept=False, most=1 << 20, skip=("workers", "handover", "latency"), udp=False):
        self.name = name
        self.command = command
        self.least = Contestant(name, least) if least else self  # without preallocated tables
        self.expect = [] if prefix else ["--rfc862"]  # options for echoload
        self.native = native  # a C program: callgrind can count it, and it starts quickly
        self.close = close  # needs all rounds, because its results are close to the baseline's
        self.kept = kept  # its child serves
        self.most = most  # connections; few for servers that fork for each
        self.skip = skip  # suites; by default those of uvechod's own options
        self.udp = udp  # answers datagrams, and takes part in the suites of datagrams only

    def takes_part(self, suite, connections):
        return self.udp == (suite in UDP_SUITES) and suite not in self.skip and connections <= self.most


def _python_with_uvloop():
    """Also tries /usr/bin/python3, because another Python lacks the distribution's modules."""
    for python in (sys.executable, "/usr/bin/python3"):
        if os.path.exists(python):
            probe = subprocess.run([python, "-c", "import uvloop"], stderr=subprocess.DEVNULL)
            if probe.returncode == 0:
                return python
    return None


def _which(name):
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


_temporary = tempfile.TemporaryDirectory(prefix="uvechod-bench-")  # removed at the end


def _xinetd(port, kind="stream"):
    with open(os.path.join(BASELINE, "xinetd.conf"), encoding="ascii") as template:
        text = template.read()
    if kind == "dgram":
        text = text.replace("stream", "dgram").replace("tcp", "udp").replace("= no", "= yes")
    path = os.path.join(_temporary.name, f"xinetd-{port}.conf")
    with open(path, "w", encoding="ascii") as conf:
        conf.write(text.replace("PORT", str(port)))
    files = ["-f", path, "-filelog", "/dev/null", "-pidfile", path + ".pid"]
    return [_which("xinetd"), "-dontfork", *files]


def _built(build):
    """uvechod, and the baselines that are built with it."""
    uvechod = os.path.join(build, "uvechod")

    def ours(*options):
        return lambda port: [uvechod, "--quiet", "--bind=127.0.0.1", f"--port={port}", *options]

    native = {"native": True, "close": True}
    least = ours("--max-connections=1")
    yield Contestant("epoll", _program(build, "bench_epoll"), **native, skip=("handover",))
    yield Contestant("uvechod-rfc862", ours("--rfc862"), least=least, **native, skip=("handover",))
    yield Contestant("uvechod", ours(), least=least, prefix=True, **native, skip=("workers", "latency"))
    but_workers = [suite for suite in SUITES if suite != "workers"]
    # Not native, because valgrind cannot make processes that share their descriptors.
    kept = ours("--rfc862", "--keep")
    but_pingpong = [suite for suite in SUITES if suite != "pingpong"]
    yield Contestant("uvechod-keep", kept, close=True, kept=True, skip=but_pingpong)
    two = ours("--rfc862", "--workers=2")
    yield Contestant("uvechod-2-workers", two, **native, skip=but_workers)
    threads = _program(build, "bench_epoll", "2")
    yield Contestant("epoll-2-threads", threads, **native, skip=but_workers)
    but_latency = [suite for suite in SUITES if suite != "latency"]
    bare = _program(build, "bench_epoll", "1", "50")
    yield Contestant("epoll-busy-50", bare, **native, skip=but_latency)
    for us in (20, 50, 200):
        busy = ours("--rfc862", f"--busy-poll={us}")
        yield Contestant(f"uvechod-busy-{us}", busy, **native, skip=but_latency)
    yield Contestant("libuv-guide", _program(build, "bench_uv_streams"), native=True)
    yield Contestant("libuv-best", _program(build, "bench_uv_streams_best"), **native)
    if os.path.exists(os.path.join(build, "tests/bench/bench_libev")):
        yield Contestant("libev", _program(build, "bench_libev"), **native)


def _built_for_udp(build):
    """The bare loops for datagrams, the first of which is the baseline, uvechod, and libuv."""
    uvechod = os.path.join(build, "uvechod")

    def ours(port):
        options = ["--quiet", "--rfc862", "--udp", "--udp-rate=0", "--bind=127.0.0.1"]
        return [uvechod, *options, f"--port={port}"]

    udp = {"native": True, "udp": True}
    beside = {**udp, "skip": ("udp-beside",)}  # the streams beside need a TCP echo on the same port
    yield Contestant("udp-batched", _program(build, "bench_udp_batched"), close=True, **beside)
    yield Contestant("uvechod-udp", ours, close=True, **udp)
    yield Contestant("udp-single", _program(build, "bench_udp_single"), close=True, **beside)
    yield Contestant("uv_udp-best", _program(build, "bench_uv_udp"), **beside)
    yield Contestant("uv_udp-guide", _program(build, "bench_uv_udp", "guide"), **beside)


def _peers_for_udp():
    beside = {"udp": True, "skip": ("udp-beside",)}
    node = _which("node") or _which("nodejs")
    uvloop = _python_with_uvloop()
    if node:
        script = os.path.join(BASELINE, "udp_echo.js")
        yield Contestant("node-dgram", lambda port: [node, script, str(port)], **beside)
    if uvloop:
        script = os.path.join(BASELINE, "uvloop_udp_echo.py")
        yield Contestant("uvloop-udp", lambda port: [uvloop, script, str(port)], **beside)
    if _which("socat"):
        listen = "UDP-RECVFROM:%d,bind=127.0.0.1,fork"
        few = {**beside, "most": 1}
        yield Contestant("socat-udp", lambda port: ["socat", listen % port, "PIPE"], **few)
    if _which("xinetd") and os.geteuid() == 0:
        yield Contestant("xinetd-udp", lambda port: _xinetd(port, "dgram"), **beside)


def _program(build, name, *arguments):
    return lambda port: [os.path.join(build, "tests/bench", name), str(port), *arguments]


def _peers():
    node = _which("node") or _which("nodejs")
    script = os.path.join(BASELINE, "asyncio_echo.py")
    uvloop = _python_with_uvloop()
    if node:
        yield Contestant("node", lambda port: [node, os.path.join(BASELINE, "echo.js"), str(port)])
    if uvloop:
        yield Contestant("uvloop", lambda port: [uvloop, script, "--uvloop", str(port)])
    python = uvloop or sys.executable  # the same Python for both: only the event loop differs
    yield Contestant("asyncio", lambda port: [python, script, str(port)])
    yield from _forkers()


def _forkers():
    """Servers with a process per connection: measured only in the cases that they can run."""
    limits = {"most": 50, "skip": ("fairness", "workers", "idle", "handover", "latency")}
    if _which("socat"):
        listen = "TCP-LISTEN:%d,bind=127.0.0.1,reuseaddr,fork,nodelay,backlog=4096"
        yield Contestant("socat", lambda port: ["socat", listen % port, "PIPE"], **limits)
    if _which("ncat"):
        # ncat reads only after it has written: if both directions are full, it waits for ever.
        limits_ncat = {"most": 50, "skip": ("pipelined", "bulk", "fairness", "workers", "idle", "handover")}
        options = ["ncat", "--listen", "--keep-open", "--max-conns=1000", "--exec=/bin/cat"]
        yield Contestant("ncat", lambda port: [*options, "127.0.0.1", str(port)], **limits_ncat)
    if _which("xinetd") and os.geteuid() == 0:
        yield Contestant("xinetd", _xinetd, **limits)


def available(build):
    """All contestants that are built or installed. The first is the baseline of all ratios."""
    return [*_built(build), *_peers(), *_built_for_udp(build), *_peers_for_udp()]
