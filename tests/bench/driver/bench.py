"""
The driver of the benchmark. `sh cmake/bench.sh` builds what the driver needs and runs it.

All contestants run each case in turn, A B C A B C, so that a disturbance of the machine concerns
all of them. The server has one CPU, and the load generator has another.
"""

import argparse
import atexit
import os
import platform
import shutil
import signal
import sys
import time

import contestants
import goals
import network
import processes
import publish
import report
import suites


def parse_args():
    parser = argparse.ArgumentParser(prog="sh cmake/bench.sh", description="Benchmark uvechod.")
    names = ", ".join(suites.SUITES)
    parser.add_argument("suite", nargs="*", help=f"{names} (all of them)")
    parser.add_argument("--rounds", type=int, default=25, metavar="N", help="of each case (25)")
    parser.add_argument("--seconds", type=float, default=0.3, metavar="S", help="per run (0.3)")
    parser.add_argument("--contestants", metavar="A,B", help="only these; the first is the baseline")
    parser.add_argument("--case", metavar="TEXT", help="only cases whose name contains TEXT")
    parser.add_argument(
        "--handicap",
        action="store_true",
        help="give the server half of its CPU, so that the load generator is never the limit",
    )
    parser.add_argument(
        "--publish",
        action="store_true",
        help="run nothing; write the results of the last whole run into the READMEs",
    )
    parser.add_argument("--list", action="store_true", help="show the contestants and exit")
    parser.add_argument("--no-counts", action="store_true", help="without strace and callgrind")
    parser.add_argument(
        "--smoke", action="store_true", help="take only seconds, and look only for wrong bytes"
    )
    parser.add_argument(
        "--peers", action="store_true", help="install node, uvloop, socat, ncat and xinetd first"
    )
    parser.add_argument("--build", default="build/bench-release", help=argparse.SUPPRESS)
    parser.add_argument("--out", help=argparse.SUPPRESS)
    args = parser.parse_args()
    for suite in args.suite:
        if suite not in suites.SUITES:
            parser.error(f"'{suite}' is no suite: {names}")
    if not args.out:
        args.out = "build/bench-smoke" if args.smoke else "build/bench"
    if args.rounds < 1 or args.seconds <= 0:
        parser.error("--rounds and --seconds must be positive")
    return parser, args


def choose(parser, args):
    everyone = contestants.available(args.build)
    if args.smoke:
        everyone = [c for c in everyone if c.native or c.kept or c.name == "asyncio"]
    if not args.contestants:
        return everyone
    by_name = {c.name: c for c in everyone}
    chosen = args.contestants.split(",")
    for name in chosen:
        if name not in by_name:
            parser.error(f"'{name}' is not here; there are {', '.join(by_name)}")
    return [by_name[name] for name in chosen]


class Progress:
    """Shows in a line of the terminal what runs and for how long. Silent without a terminal."""

    def __init__(self, total):
        self.total = total
        self.done = 0
        self.start = time.monotonic()
        self.tty = sys.stderr.isatty()

    def show(self, text):
        self.done += 1
        if not self.tty:
            return
        spent = time.monotonic() - self.start
        left = "" if self.done < 3 else f", {self.clock(spent / (self.done - 1) * self.left())} left"
        print(f"\r\033[K[{self.done}/{self.total}{left}] {text}", end="", file=sys.stderr)
        sys.stderr.flush()

    def left(self):
        return self.total - self.done + 1

    def clear(self):
        if self.tty:
            print("\r\033[K", end="", file=sys.stderr)

    @staticmethod
    def clock(seconds):
        return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def note(progress, text):
    progress.clear()
    print(text, flush=True)


def turns(case, field, wanted):
    """
    The order of the runs, as (round, contestant). Round 0 warms up and does not count. For
    contestants that are far behind, five rounds are enough.
    """
    rounds = case.rounds(wanted)
    for number in range(0 if rounds > 2 else 1, rounds + 1):
        for contestant in field:
            if contestant.close or number % max(1, rounds // 5) == 0:
                yield number, contestant


def run_case(run, case, field, rounds, progress):
    result = {
        "suite": case.suite,
        "name": case.name,
        "label": case.label,
        "connections": case.connections,
        "rounds": {c.name: [] for c in field},
        "failed": {},
    }
    for number, contestant in turns(case, field, rounds):
        progress.show(f"{case.name}, round {number}: {contestant.name}")
        if contestant.name in result["failed"]:
            continue
        try:
            figures = case.measure(run, contestant, case)
        except processes.LoadFailed as failure:
            result["failed"][contestant.name] = str(failure)
            del result["rounds"][contestant.name]
            continue
        if number > 0:
            result["rounds"][contestant.name].append({"round": number, **figures})
    return result


def run_counts(run, field, progress):
    counts = {}
    for contestant in field:
        counts[contestant.name] = {}
        for tool, few, many in (("strace", 1000, 11000), ("callgrind", 1000, 11000)):
            command = {"strace": "strace", "callgrind": "valgrind"}[tool]
            progress.show(f"{tool}: {contestant.name}")
            if not shutil.which(command) or (tool == "callgrind" and not contestant.native):
                continue
            try:
                count = suites.count_per_message(run, contestant, tool, few, many)
                counts[contestant.name][tool] = count
            except (processes.LoadFailed, OSError, IndexError) as failure:
                note(progress, f"{tool}, {contestant.name}: {failure}")
    return counts


def plan(args, field):
    for suite in args.suite or suites.SUITES:
        for case in suites.cases(suite, args.smoke):
            if args.case and args.case not in case.name:
                continue
            takers = [c for c in field if c.takes_part(suite, case.connections)]
            if takers:
                yield case, takers


def conditions(args, where):
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as cpuinfo:
        models = [line.split(":")[1].strip() for line in cpuinfo if line.startswith("model name")]
    model = models[0] if models else platform.machine()
    server, load = processes.SERVER_CPU[0], processes.LOAD_CPU[0]
    notes = [
        f"{args.rounds} rounds of {args.seconds:g} s after one to warm up, interleaved (fewer for "
        "contestants that are far behind and for cases that take long; for idle, 2 rounds of 10 s)",
        f"server on CPU {server}, load on CPU {load} of {os.cpu_count()} (workers: both on all; "
        f"{model}), Linux {platform.release()}, loopback of {where}",
        "medians, ratios to the first line with the least and the most of all rounds",
    ]
    if args.handicap:
        notes.append("the server has half of its CPU")
    if not processes.MAY_BE_URGENT:
        notes.append("not run by root: the prober of fairness may have waited for its own CPU")
    return "; ".join(notes)


def is_whole(args):
    """Whether the run has everything that the READMEs publish."""
    reduced = args.suite or args.contestants or args.case or args.handicap
    return not (reduced or args.smoke or args.no_counts) and args.rounds >= 5


def run_all(args, run, field, where):
    planned = list(plan(args, field))
    streams = [contestant for contestant in field if not contestant.udp]
    counting = streams if not (args.smoke or args.no_counts) else []
    each = [
        run.expected(case, contestant)
        for case, takers in planned
        for _, contestant in turns(case, takers, args.rounds)
    ]
    progress = Progress(len(each) + 2 * len(counting))
    note(progress, f"{len(each)} runs, which take about {Progress.clock(sum(each))} minutes\n")
    results = {
        "conditions": conditions(args, where),
        "smoke": args.smoke,
        "whole": is_whole(args),
        "cases": [],
        "counts": {},
    }
    for case, takers in planned:
        result = run_case(run, case, takers, args.rounds, progress)
        results["cases"].append(result)
        if result["rounds"]:
            note(progress, report.plain(report.table(result)) + "\n")
        for name, why in result["failed"].items():
            note(progress, f"FAILED {case.name}, {name}: {why}")
        report.write(results, args.out)
    results["counts"] = run_counts(run, counting, progress)
    if counting:
        note(progress, report.plain(report.counts_table(results["counts"])) + "\n")
    if not args.smoke:
        note(progress, report.plain(goals.table(results["cases"])) + "\n")
    report.write(results, args.out)
    return results


def main():
    parser, args = parse_args()
    field = choose(parser, args)
    if args.publish:
        return publish.publish(args.out, ".")
    if args.list:
        print("\n".join(c.name for c in field))
        return 0
    if args.smoke:
        args.rounds, args.seconds = 1, 0.15
    atexit.register(processes.stop_all)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    program = os.path.join(args.build, "tests/bench/echoload")
    run = suites.Run(program, args.seconds, args.smoke)
    if args.handicap:
        processes.spawn(["sh", "-c", "while :; do :; done"], processes.SERVER_CPU)
    try:
        results = run_all(args, run, field, network.enter())
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130
    print(f"Written: {args.out}/results.json, results.md, and a plot per suite")
    return 1 if any(case["failed"] for case in results["cases"]) else 0


if __name__ == "__main__":
    sys.exit(main())
