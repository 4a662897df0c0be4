"""Makes medians, ratios and their spread from the rounds; writes JSON, Markdown and plots."""

import json
import os
import shutil
import statistics
import subprocess

import goals
from figures import PRIMARY, cpu_figure, median, most, ratio_text, ratios

# The columns of each suite's table: figure, heading, format.
_RATE = [
    ("messages_per_s", "per s", "{:,.0f}"),
    ("ratio", "ratio (min-max)", None),
    ("cpu_us_per_message", "CPU s per million", "{:.2f}"),
    ("cpu_ratio", "ratio (min-max)", None),
    ("server_busy", "server busy", "{:.0%}"),
    ("load_busy", "load busy", "{:.0%}"),
    ("p50_us", "p50 us", "{:,.0f}"),
    ("p90_us", "p90", "{:,.0f}"),
    ("p99_us", "p99", "{:,.0f}"),
    ("p99.9_us", "p99.9", "{:,.0f}"),
    ("max_us", "max", "{:,.0f}"),
]
_BULK = [
    ("gb_per_s", "GB/s", "{:.2f}"),
    ("ratio", "ratio (min-max)", None),
    ("cpu_s_per_gb", "CPU s per GB", "{:.3f}"),
    ("cpu_ratio", "ratio (min-max)", None),
    ("server_busy", "server busy", "{:.0%}"),
    ("load_busy", "load busy", "{:.0%}"),
]
_FAIRNESS = [
    ("p99_us", "p99 us", "{:,.0f}"),
    ("ratio", "ratio (min-max)", None),
    ("p50_us", "p50", "{:,.0f}"),
    ("p99.9_us", "p99.9", "{:,.0f}"),
    ("max_us", "max", "{:,.0f}"),
    ("gb_per_s", "bulk GB/s", "{:.2f}"),
    ("server_busy", "server busy", "{:.0%}"),
]
_IDLE = [
    ("bytes_per_connection", "resident bytes per connection", "{:,.0f}"),
    ("idle_cpu_s", "CPU s while held", "{:.4f}"),
    ("connects_per_s", "connects per s", "{:,.0f}"),
]
_HANDOVER = [
    ("gap_ms", "longest gap, ms: median", "{:,.1f}"),
    ("most", "the longest of all rounds", "{:,.1f}"),
]
_UDP = [
    ("cpu_us_per_message", "CPU s per million", "{:.2f}"),
    ("ratio", "ratio (min-max)", None),
    ("messages_per_s", "per s", "{:,.0f}"),
    ("server_busy", "server busy", "{:.0%}"),
    ("load_busy", "load busy", "{:.0%}"),
    ("p50_us", "p50 us", "{:,.0f}"),
    ("p99_us", "p99", "{:,.0f}"),
    ("p99.9_us", "p99.9", "{:,.0f}"),
    ("loss_percent", "lost, %", "{:.3f}"),
]
_UDP_BESIDE = [
    ("loss_percent", "lost, %", "{:.3f}"),
    ("most", "the most of all rounds", "{:.3f}"),
    ("messages_per_s", "per s", "{:,.0f}"),
    ("p50_us", "p50 us", "{:,.0f}"),
    ("p99_us", "p99", "{:,.0f}"),
    ("gb_per_s", "bulk GB/s", "{:.2f}"),
]
_LATENCY = [
    ("p50_us", "p50 us", "{:,.0f}"),
    ("ratio", "ratio (min-max)", None),
    ("p99_us", "p99", "{:,.0f}"),
    ("p99.9_us", "p99.9", "{:,.0f}"),
    ("max_us", "max", "{:,.0f}"),
    ("messages_per_s", "per s", "{:,.0f}"),
    ("cpu_us_per_message", "CPU s per million", "{:.2f}"),
    ("server_busy", "server busy", "{:.0%}"),
    ("load_busy", "load busy", "{:.0%}"),
]
COLUMNS = {
    "pingpong": _RATE,
    "pipelined": _RATE,
    "bulk": _BULK,
    "churn": _RATE,
    "fairness": _FAIRNESS,
    "workers": _RATE,
    "idle": _IDLE,
    "handover": _HANDOVER,
    "latency": _LATENCY,
    "udp": _UDP,
    "udp-beside": _UDP_BESIDE,
}


def _cell(case, rounds, baseline, figure, form):
    suite = case["suite"]
    if figure == "ratio":
        return ratio_text(ratios(rounds, baseline, PRIMARY[suite]))
    if figure == "cpu_ratio":
        return ratio_text(ratios(rounds, baseline, cpu_figure(suite)))
    value = most(rounds, PRIMARY[suite]) if figure == "most" else median(rounds, figure)
    return "" if value is None else form.format(value)


def table(case):
    """Returns rows of cells, with the heading first, for a case of results.json."""
    columns = COLUMNS[case["suite"]]
    rows = [[case["name"], *(heading for _, heading, _ in columns)]]
    baseline = next(iter(case["rounds"].values()))
    for name, rounds in case["rounds"].items():
        cells = [_cell(case, rounds, baseline, figure, form) for figure, _, form in columns]
        rows.append([name, *cells])
    for name, why in case["failed"].items():
        rows.append([name, why, *[""] * (len(columns) - 1)])
    return rows


def plain(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        lines.append("  ".join([row[0].ljust(widths[0]), *cells]).rstrip())
    return "\n".join(lines)


def markdown(rows):
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|---" + "|--:" * (len(rows[0]) - 1) + "|")
    return "\n".join(lines)


def counts_table(counts):
    rows = [["per message of 64 bytes, 50 connections", "system calls", "user instructions"]]
    for name, count in counts.items():
        calls, instructions = count.get("strace"), count.get("callgrind")
        rows.append(
            [
                name,
                "" if calls is None else f"{calls:.2f}",
                "" if instructions is None else f"{instructions:,.0f}",
            ]
        )
    return rows


def write(results, directory):
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, "results.json"), "w", encoding="utf-8") as out:
        json.dump(results, out, indent=1)
    tables = [markdown(table(case)) for case in results["cases"] if case["rounds"]]
    if results["counts"]:
        tables.append(markdown(counts_table(results["counts"])))
    reached = goals.table(results["cases"])
    if len(reached) > 1 and not results["smoke"]:
        tables.insert(0, markdown(reached))
    with open(os.path.join(directory, "results.md"), "w", encoding="utf-8") as out:
        out.write(results["conditions"] + "\n\n" + "\n\n".join(tables) + "\n")
    if shutil.which("gnuplot"):
        for suite in {case["suite"]: None for case in results["cases"]}:
            _plot(results, suite, directory)


def _plot_data(cases, names, figure):
    """A line for each case: its label, and the median, least and most of each contestant."""
    lines = []
    for case in cases:
        cells = ['"%s"' % case["label"]]
        for name in names:
            values = [f[figure] for f in case["rounds"].get(name, []) if figure in f]
            cells += (
                [str(statistics.median(values)), str(min(values)), str(max(values))]
                if values
                else ["NaN"] * 3
            )
        lines.append(" ".join(cells))
    return "\n".join(lines)


# Further colours, because gnuplot has only eight, and there are more contestants.
MORE_COLOURS = ("#8c564b", "#17a005", "#f78fb3", "#b0b0b0", "#0b3d2e")


def _plot(results, suite, directory):
    cases = [case for case in results["cases"] if case["suite"] == suite and case["rounds"]]
    if not cases:
        return
    names = list({name: None for case in cases for name in case["rounds"]})
    figure = PRIMARY[suite]
    heading = next(h for f, h, _ in COLUMNS[suite] if f == figure)
    series = ", ".join(
        f"$data using {3 * i + 2}:{3 * i + 3}:{3 * i + 4}:xtic(1) title '{name}'"
        for i, name in enumerate(names)
    )
    colours = "\n".join(f"set linetype {i} lc rgb '{c}'" for i, c in enumerate(MORE_COLOURS, 9))
    script = f"""
{colours}
set terminal svg size 1200,520 font 'sans-serif,12' background 'white'
set output '{os.path.join(directory, suite)}.svg'
set title '{suite}: medians, and the least and the most of all rounds'
set style data histogram
set style histogram errorbars gap 2 lw 1
set style fill solid 0.7 border -1
set key outside right top noenhanced
set ylabel '{heading}'
set yrange [0:*]
set format y '{'%.0s%c' if figure.endswith('messages_per_s') else '%g'}'
set xtics rotate by -25
set grid ytics
$data << EOD
{_plot_data(cases, names, figure)}
EOD
plot {series}
"""
    subprocess.run(["gnuplot"], input=script, text=True, check=False)
