"""The cases of each suite, and how a case is measured with a contestant."""

import os
import re
import resource
import tempfile

import handover
import processes

SUITES = ("pingpong", "pipelined", "bulk", "churn", "fairness", "workers", "idle", "handover", "latency", "udp", "udp-beside")
UDP_SUITES = ("udp", "udp-beside")  # of datagrams: they have contestants of their own


class Case:
    def __init__(self, suite, label, connections, options, measure):
        self.suite = suite
        self.label = label
        self.connections = connections
        self.options = options
        self.measure = measure  # (run, contestant, case) -> figures

    @property
    def name(self):
        return f"{self.suite} {self.label}".strip()

    def rounds(self, wanted):
        """Fewer rounds if the case takes long, and two for idle, because memory hardly varies."""
        if self.suite == "idle":
            return min(wanted, 2)
        if self.suite == "handover":
            wanted = min(wanted, 15)
        takes_long = self.suite in ("fairness", "udp-beside") or self.connections >= 10000
        return max(min(wanted, 5), wanted // 2) if takes_long else wanted


class Run:
    """The settings of a run: the program of the load, and times in seconds."""

    def __init__(self, program, seconds, smoke):
        self.program = program
        self.seconds = seconds
        self.smoke = smoke
        self.hold = 0.3 if smoke else 10
        self.patience = 60

    def warmup(self, contestant):
        """Seconds to warm up: longer if the contestant may compile while it runs."""
        return 0.05 if self.smoke else 0.1 if contestant.native else 0.3

    def duration(self, case):
        """Seconds to measure: longer for fairness, which has only 1000 messages per second."""
        if case.suite == "idle":
            return self.hold
        if case.suite == "handover":
            return 2 * handover.STEADY
        return 4 * self.seconds if case.suite in ("fairness", "udp-beside") else self.seconds

    def expected(self, case, contestant):
        """Estimated seconds of the case, with the start of the server and all connections."""
        return 0.2 + case.connections / 7000 + self.duration(case) + self.warmup(contestant)

    def times(self, case, contestant):
        return [f"--duration={self.duration(case)}", f"--warmup={self.warmup(contestant)}"]

    def end(self, case):
        """Seconds after which the case has failed."""
        return self.duration(case) + self.patience


def _figures(result):
    """The figures that all suites have, from the result of echoload."""
    latency = {f"{name}_us": us for name, us in result["latency_us"].items()}
    cpu = result["server_cpu_s"]
    figures = {
        "messages_per_s": result["messages_per_s"],
        "gb_per_s": result["gb_per_s"],
        "server_busy": cpu / result["seconds"],
        "load_busy": result["cpu_s"] / result["seconds"],
        **latency,
    }
    if "datagrams" in result:
        figures["loss_percent"] = result["datagrams"]["loss_percent"]
    if result["messages"]:
        figures["cpu_us_per_message"] = 1e6 * cpu / result["messages"]
    if result["bytes"]:
        figures["cpu_s_per_gb"] = 1e9 * cpu / result["bytes"]
    return figures


def _measure(run, contestant, case, on=processes.SERVER_CPU, load_on=processes.LOAD_CPU):
    with processes.server(contestant, on=on) as (server, port):
        options = [*contestant.expect, *run.times(case, contestant), *case.options]
        serving = processes.child(server.pid) if contestant.kept else server.pid
        load = processes.echoload(run.program, options, port, serving, on=load_on)
        return _figures(processes.load_result(load, run.end(case)))


def _measure_workers(run, contestant, case):
    """Server and load run on all CPUs, because only the CPU time counts here."""
    return _measure(run, contestant, case, processes.ALL_CPUS, processes.ALL_CPUS)


def _measure_fairness(run, contestant, case):
    """
    The prober shares a CPU with the bulk load. It is urgent, so that it does not wait for the bulk
    load there: only the delay in the server is measured.
    """
    with processes.server(contestant) as (server, port):
        bulk = [*contestant.expect, "--mode=bulk", "--connections=8"]
        longer = [f"--duration={run.duration(case) + 2 * run.warmup(contestant) + 0.5}"]
        load = processes.echoload(run.program, bulk + longer, port, server.pid)
        probe = [*contestant.expect, *run.times(case, contestant), *case.options]
        prober = processes.echoload(run.program, probe, port, server.pid, urgent=True)
        try:
            figures = _figures(processes.load_result(prober, run.end(case)))
            figures["gb_per_s"] = processes.load_result(load, run.end(case))["gb_per_s"]
        finally:
            processes.stop(load, patience=0.2)
        figures.pop("cpu_us_per_message", None)  # most of the CPU time is for the bulk streams
        return figures


def _wait_until_held(load):
    line = load.stderr.readline()
    if "holding" not in line:
        raise processes.LoadFailed(line.strip() or "echoload has ended before it held them all")


def _measure_idle(run, contestant, case):
    with processes.server(contestant.least) as (server, port):
        before = processes.resident(server.pid)
    with processes.server(contestant) as (server, port):
        options = [*contestant.expect, f"--duration={run.duration(case)}", *case.options]
        load = processes.echoload(run.program, options, port, server.pid)
        _wait_until_held(load)
        held = processes.resident(server.pid)
        result = processes.load_result(load, run.end(case))
        return {
            "bytes_per_connection": (held - before) / case.connections,
            "idle_cpu_s": result["server_cpu_s"],
            "connects_per_s": case.connections / result["connect_seconds"],
        }


def _pingpong(smoke):
    counts = (1, 50, 500) if smoke else (1, 50, 500, 10000)
    for size in (64, 1000):
        for count in counts:
            options = [f"--connections={count}", f"--size={size}"]
            yield Case("pingpong", f"{count} x {size} B", count, options, _measure)


def _idle_connections(smoke):
    """As many connections as both sides have descriptors for, up to 15,000."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if limit == resource.RLIM_INFINITY:
        limit = 1 << 20
    return max(100, min(500 if smoke else 15000, limit - 200))


def cases(suite, smoke):
    if suite == "pingpong":
        yield from _pingpong(smoke)
    elif suite == "pipelined":
        options = ["--connections=50", "--depth=32"]
        yield Case(suite, "50 x 64 B x 32", 50, options, _measure)
    elif suite == "bulk":
        for count in (1, 8):
            options = ["--mode=bulk", f"--connections={count}"]
            plural = "s" if count > 1 else ""
            yield Case(suite, f"{count} stream{plural}", count, options, _measure)
    elif suite == "churn":
        options = ["--mode=churn", "--connections=20", "--sources=64"]
        yield Case(suite, "20 at once", 20, options, _measure)
    elif suite == "fairness":
        options = ["--rate=1000"]
        yield Case(suite, "1 x 64 B beside 8 streams", 9, options, _measure_fairness)
    elif suite == "workers":
        for count in (50, 500):
            options = [f"--connections={count}"]
            yield Case(suite, f"{count} x 64 B, all CPUs", count, options, _measure_workers)
    elif suite == "idle":
        count = _idle_connections(smoke)
        options = ["--mode=idle", f"--connections={count}", "--echo-first", "--echo-last"]
        yield Case(suite, f"{count} held", count, options, _measure_idle)
    elif suite == "latency":
        for count in (1, 50) if smoke else (1, 2, 8, 50):
            yield Case(suite, f"{count} x 64 B", count, [f"--connections={count}"], _measure)
    elif suite == "udp":
        yield from _udp(smoke)
    elif suite == "udp-beside":
        yield from _udp_beside()
    elif suite == "handover":
        for way in handover.WAYS:
            for idle, clients in handover.counts(smoke):
                label = f"{way}, {clients} x 64 B beside {idle} idle"
                yield Case(suite, label, idle + clients, (way, idle, clients), handover.measure)


def _udp(smoke):
    """
    As many datagrams are under way as keep the server busy. A lost one must not stop a run, but a
    busy machine, as that of a smoke test may be, must not lose all.
    """
    timeout = f"--timeout={1 if smoke else 0.2}"
    for count, size, depth in ((1, 64, 64), (50, 64, 4), (500, 64, 1), (50, 1200, 4), (50, 9000, 2)):
        if smoke and count == 500:
            continue
        options = ["--udp", f"--connections={count}", f"--size={size}", f"--depth={depth}"]
        yield Case("udp", f"{count} x {size} B", count, [*options, timeout], _measure)
    options = ["--udp", "--gso", "--connections=4", "--depth=64", timeout]
    yield Case("udp", "GSO, 4 x 64 B", 4, options, _measure)


def _udp_beside():
    for rate, size in ((20000, 64), (50000, 1200)):
        options = ["--udp", f"--rate={rate}", f"--size={size}"]
        label = f"{rate:,} x {size} B per s beside 8 streams"
        yield Case("udp-beside", label, 9, options, _measure_fairness)


def _strace(run, contestant, options, count, path):
    with processes.server(contestant, ["strace", "-f", "-c", "-o", path]) as (server, port):
        load = processes.echoload(run.program, [*options, f"--count={count}"], port, server.pid)
        processes.load_result(load, run.patience)
    with open(path, encoding="utf-8") as table:
        rows = [line.split() for line in table if re.match(r"\s*\d", line)]
    # Columns: share, seconds, microseconds per call, calls, errors (not in all rows), name.
    return sum(int(row[3]) for row in rows if row[-1] != "total")


def _callgrind(run, contestant, options, count, path):
    wrapper = ["valgrind", "--tool=callgrind", "-q", f"--callgrind-out-file={path}"]
    with processes.server(contestant, wrapper, 30) as (server, port):
        load = processes.echoload(run.program, [*options, f"--count={count}"], port, server.pid)
        processes.load_result(load, run.patience)
    with open(path, encoding="utf-8") as profile:
        return sum(int(line.split()[1]) for line in profile if line.startswith("totals:"))


def count_per_message(run, contestant, tool, few, many):
    """
    The system calls (strace) or user instructions (callgrind) per message of 64 bytes on 50
    connections. This is the difference of two runs, because both include the same start and end.
    """
    method = {"strace": _strace, "callgrind": _callgrind}[tool]
    options = [*contestant.expect, "--connections=50", "--timeout=30"]
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "out")
        low = method(run, contestant, options, few, path)
        high = method(run, contestant, options, many, path)
    return (high - low) / (many - few)
