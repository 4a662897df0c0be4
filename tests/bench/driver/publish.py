"""The figures of a whole run, as README has them, and its plots."""

import glob
import json
import os
import shutil

import goals
from figures import PRIMARY, median, ratios
from report import COLUMNS, counts_table, markdown
from suites import SUITES

PLOTS = "tests/bench/plots"
BEGIN = "<!-- what follows is written by sh cmake/bench.sh --publish -->\n"
END = "<!-- end of what is written -->\n"


def _cell(rounds, baseline, figure):
    ratio = ratios(rounds, baseline, figure)
    return f"{ratio['median']:.2f}" if ratio else ""


def _comparison(cases):
    """A row per case: of the baseline the figure itself, of the others its ratio to that."""
    names = list({name: None for case in cases for name in case["rounds"]})
    rows = [["", *names]]
    for case in cases:
        figure = PRIMARY[case["suite"]]
        heading, form = next((h, form) for f, h, form in COLUMNS[case["suite"]] if f == figure)
        first = next(iter(case["rounds"]))
        cells = {}
        for name, rounds in case["rounds"].items():
            if name == first or case["suite"] == "idle":  # some have nothing to compare with
                cells[name] = form.format(median(rounds, figure))
            else:
                cells[name] = _cell(rounds, case["rounds"][first], figure)
        rows.append([f"{case['name']}: {heading}", *(cells.get(name, "") for name in names)])
    return rows


def _text(results):
    plots = " ".join(f"![{suite}]({PLOTS}/{suite}.svg)" for suite in ("pingpong", "bulk"))
    more = ", ".join(f"[{suite}]({PLOTS}/{suite}.svg)" for suite in SUITES)
    return "\n\n".join(
        [
            results["conditions"] + ".",
            markdown(goals.table(results["cases"])),
            "Of the first contestant the figure itself, of the others its ratio to that; of idle ones "
            "the figure of each:",
            markdown(_comparison(results["cases"])),
            markdown(counts_table(results["counts"])),
            plots,
            f"All plots: {more}.",
        ]
    )


def publish(found, root):
    """From the directory found into README and the plots of root. Returns an exit code."""
    with open(os.path.join(found, "results.json"), encoding="utf-8") as file:
        results = json.load(file)
    if not results["whole"]:
        print("The last run was not one of all suites and contestants; nothing is published.")
        return 1
    path = os.path.join(root, "README.md")
    with open(path, encoding="utf-8") as file:
        before, rest = file.read().split(BEGIN)
    with open(path, "w", encoding="utf-8") as file:
        file.write(before + BEGIN + "\n" + _text(results) + "\n\n" + END + rest.split(END)[1])
    os.makedirs(os.path.join(root, PLOTS), exist_ok=True)
    for plot in glob.glob(os.path.join(found, "*.svg")):
        shutil.copy(plot, os.path.join(root, PLOTS))
    print(f"Written: README.md, and a plot per suite in {PLOTS}")
    return 0
