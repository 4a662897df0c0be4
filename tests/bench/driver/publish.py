"""Writes the results and the plots of a whole run into the two READMEs."""

import glob
import json
import os
import shutil
import textwrap

import goals
from figures import PRIMARY, median, ratios
from report import COLUMNS, counts_table, markdown
from suites import SUITES, UDP_SUITES

BENCH = "tests/bench"
BEGIN = "<!-- what follows is written by sh cmake/bench.sh --publish -->\n"
END = "<!-- end of what is written -->\n"


def _cell(rounds, baseline, figure):
    ratio = ratios(rounds, baseline, figure)
    return f"{ratio['median']:.2f}" if ratio else ""


def _comparison(cases):
    """A row for each case: the figure of the baseline, and the ratios of the others to it."""
    names = list({name: None for case in cases for name in case["rounds"]})
    rows = [["", *names]]
    for case in cases:
        figure = PRIMARY[case["suite"]]
        heading, form = next((h, form) for f, h, form in COLUMNS[case["suite"]] if f == figure)
        first = next(iter(case["rounds"]))
        cells = {}
        for name, rounds in case["rounds"].items():
            if name == first or case["suite"] in ("idle", "udp-beside"):  # may be 0
                cells[name] = form.format(median(rounds, figure))
            else:
                cells[name] = _cell(rounds, case["rounds"][first], figure)
        rows.append([f"{case['name']}: {heading}", *(cells.get(name, "") for name in names)])
    return rows


def _tables(results):
    """The text for tests/bench/README.md, with all figures and plots."""
    plots = " ".join(f"![{suite}](plots/{suite}.svg)" for suite in ("pingpong", "bulk"))
    streams = [case for case in results["cases"] if case["suite"] not in UDP_SUITES]
    datagrams = [case for case in results["cases"] if case["suite"] in UDP_SUITES]
    more = ", ".join(f"[{suite}](plots/{suite}.svg)" for suite in SUITES)
    return "\n\n".join(
        [
            results["conditions"] + ".",
            markdown(goals.table(results["cases"])),
            "The first contestant has the figure itself, the others have their ratio to it. Of idle "
            "connections, each contestant has the figure:",
            markdown(_comparison(streams)),
            markdown(_comparison(datagrams)),
            markdown(counts_table(results["counts"])),
            plots,
            f"All plots: {more}.",
        ]
    )


def _cost(counts):
    return f"{counts['strace']:.2f} system calls and {counts['callgrind']:,.0f} user instructions"


def _summary(results):
    """The text for README.md: four sentences with figures of the tables, and one plot."""
    cases = {case["name"]: case["rounds"] for case in results["cases"]}
    busy = cases["pingpong 50 x 64 B"]
    bare = median(busy["epoll"], "messages_per_s")
    prefixed, verbatim = (
        _cell(busy[name], busy["epoll"], "messages_per_s") for name in ("uvechod", "uvechod-rfc862")
    )
    bulk = max(
        ratios(rounds["uvechod-rfc862"], rounds["epoll"], "cpu_s_per_gb")["median"]
        for name, rounds in cases.items()
        if name.startswith("bulk")
    )
    idle = next(case for case in results["cases"] if case["suite"] == "idle")
    held = idle["rounds"]["uvechod"]
    sentences = [
        "On one CPU, a bare epoll loop, which does one `recv` and one `send` per message and nothing "
        f"else, answers {bare:,.0f} messages of 64 bytes per second from 50 connections; uvechod "
        f"answers {prefixed} times as many, and {verbatim} times as many with `--rfc862`.",
        f"A message costs uvechod {_cost(results['counts']['uvechod'])}, and the bare loop "
        f"{_cost(results['counts']['epoll'])}.",
        f"A verbatim echo of bulk data takes at most {bulk:.2f} times the CPU time of the bare loop, because "
        "the bytes stay in the kernel.",
        f"An idle connection takes {median(held, 'bytes_per_connection'):,.0f} bytes of memory in the daemon, and "
        f"{idle['connections']:,} of them together take {median(held, 'idle_cpu_s'):.2f} s of CPU "
        "time in ten seconds.",
    ]
    text = textwrap.fill(" ".join(sentences), 120, break_long_words=False, break_on_hyphens=False)
    return f"{text}\n\n![messages per second, of each server]({BENCH}/plots/pingpong.svg)"


def _put(text, path):
    """Replaces the text between the marks of the page."""
    with open(path, encoding="utf-8") as file:
        before, rest = file.read().split(BEGIN)
    with open(path, "w", encoding="utf-8") as file:
        file.write(before + BEGIN + "\n" + text + "\n\n" + END + rest.split(END)[1])


def publish(found, root):
    """Writes the results in the directory found into the READMEs of root. Returns an exit code."""
    with open(os.path.join(found, "results.json"), encoding="utf-8") as file:
        results = json.load(file)
    if not results["whole"]:
        print("The last run was not one of all suites and contestants; nothing is published.")
        return 1
    _put(_summary(results), os.path.join(root, "README.md"))
    _put(_tables(results), os.path.join(root, BENCH, "README.md"))
    plots = os.path.join(root, BENCH, "plots")
    os.makedirs(plots, exist_ok=True)
    for plot in glob.glob(os.path.join(found, "*.svg")):
        shutil.copy(plot, plots)
    print(f"Written: README.md, {BENCH}/README.md, and a plot per suite in {BENCH}/plots")
    return 0
