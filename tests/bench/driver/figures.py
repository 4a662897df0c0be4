"""The main figure of each suite, and the medians and ratios of its rounds."""

import statistics

# The main figure of each suite.
PRIMARY = {
    "pingpong": "messages_per_s",
    "pipelined": "messages_per_s",
    "bulk": "gb_per_s",
    "churn": "messages_per_s",
    "fairness": "p99_us",
    "workers": "cpu_us_per_message",
    "idle": "bytes_per_connection",
    "handover": "gap_ms",
    "latency": "p50_us",
    "udp": "cpu_us_per_message",
    "udp-beside": "loss_percent",
}


def cpu_figure(suite):
    return "cpu_s_per_gb" if suite == "bulk" else "cpu_us_per_message"


def median(rounds, figure):
    values = [figures[figure] for figures in rounds if figure in figures]
    return statistics.median(values) if values else None


def most(rounds, figure):
    values = [figures[figure] for figures in rounds if figure in figures]
    return max(values) if values else None


def ratios(rounds, baseline, figure):
    """The ratio of the medians; and the least and the most ratio of runs in the same round."""
    there = {figures["round"]: figures.get(figure) for figures in baseline}
    pairs = [(a.get(figure), there.get(a["round"])) for a in rounds]  # some contestants skip rounds
    values = [a / b for a, b in pairs if a is not None and b]
    if not values or not median(baseline, figure):
        return None
    ratio = median(rounds, figure) / median(baseline, figure)
    return {"median": ratio, "min": min(values), "max": max(values)}


def ratio_text(ratio):
    return "" if ratio is None else f"{ratio['median']:.2f} ({ratio['min']:.2f}-{ratio['max']:.2f})"
