"""The goals of uvechod, and which of them a run has reached."""

from figures import cpu_figure, median, ratio_text, ratios

TWO = "uvechod-2-workers"
PEERS = ("libuv-guide", "libuv-best", "libev", "node", "uvloop", "asyncio")
UDP_PEERS = ("udp-single", "uv_udp-best", "uv_udp-guide", "node-dgram", "uvloop-udp", "socat-udp", "xinetd-udp")


class Goal:
    """A bound for the ratio of medians, in the worst case of a suite, against the best rival."""

    def __init__(self, title, suite, subject, rivals, figure, bound, most=False, above=0, below=1 << 20, only=""):
        self.title = title
        self.suite = suite
        self.subject = subject
        self.rivals = rivals
        self.figure = figure
        self.bound = bound
        self.most = most  # the bound is an upper bound
        self.above = above  # only cases with at least this number of connections,
        self.below = below  # and at most this,
        self.only = only  # whose label has this in it

    def ratios(self, cases, figure):
        """Yields (ratio, ratio with its spread, case, rival) for each case and rival."""
        for case in cases:
            rounds = case["rounds"]
            within = self.above <= case["connections"] <= self.below
            if case["suite"] != self.suite or not within or self.only not in case["label"]:
                continue
            for rival in self.rivals:
                if self.subject in rounds and rival in rounds:
                    ratio = ratios(rounds[self.subject], rounds[rival], figure)
                    if ratio:
                        yield ratio["median"], ratio_text(ratio), case["label"], rival

    def row(self, cases):
        found = list(self.ratios(cases, self.figure))
        if not found:
            return None
        worst = max(found) if self.most else min(found)
        reached = worst[0] <= self.bound if self.most else worst[0] >= self.bound
        wanted = f"{'at most' if self.most else 'at least'} {self.bound:.2f}"
        measured = f"{worst[1]}, {worst[2]}, {worst[3]}"
        return [self.title, wanted, measured, "yes" if reached else "no", self._by_cpu(cases)]

    def _by_cpu(self, cases):
        """For rates, the worst ratio by CPU time, which other load on the machine disturbs less."""
        if not self.figure.endswith("per_s") or self.suite == "latency":  # there, CPU is the price
            return ""
        found = [(1 / r[0], *r[2:]) for r in self.ratios(cases, cpu_figure(self.suite))]
        return "{:.2f}, {}, {}".format(*min(found)) if found else ""


GOALS = (
    Goal("ping-pong, --rfc862", "pingpong", "uvechod-rfc862", ["epoll"], "messages_per_s", 0.98),
    Goal("ping-pong, prefix", "pingpong", "uvechod", ["epoll"], "messages_per_s", 0.97),
    Goal("ping-pong, 50 and more", "pingpong", "uvechod-rfc862", PEERS, "messages_per_s", 1, above=50),
    Goal("bulk, --rfc862, CPU", "bulk", "uvechod-rfc862", ["epoll"], "cpu_s_per_gb", 0.35, most=True),
    Goal("bulk, prefix", "bulk", "uvechod", ["epoll"], "gb_per_s", 0.80),
    Goal("churn, --rfc862", "churn", "uvechod-rfc862", ["epoll"], "messages_per_s", 0.95),
    Goal("churn, prefix", "churn", "uvechod", ["epoll"], "messages_per_s", 0.95),
    Goal("fairness, p99", "fairness", "uvechod-rfc862", ["epoll"], "p99_us", 1, most=True),
    Goal("fairness, p99, prefix", "fairness", "uvechod", ["epoll"], "p99_us", 1, most=True),
    Goal("busy polling, 1 connection", "latency", "uvechod-busy-50", ["epoll"], "messages_per_s", 2.2, below=1),
    Goal("busy polling, more", "latency", "uvechod-busy-50", ["epoll"], "messages_per_s", 0.98, above=2),
    Goal("datagrams, CPU", "udp", "uvechod-udp", ["udp-batched"], "cpu_us_per_message", 1.05, most=True),
    Goal("datagrams of 1 client, CPU", "udp", "uvechod-udp", ["udp-batched"], "cpu_us_per_message", 0.90, most=True, below=1),
    Goal("datagrams by GSO, CPU", "udp", "uvechod-udp", ["udp-batched"], "cpu_us_per_message", 0.40, most=True, only="GSO"),
    Goal("datagrams, p99", "udp", "uvechod-udp", ["udp-batched"], "p99_us", 1.10, most=True),
    Goal("datagrams, CPU, peers", "udp", "uvechod-udp", UDP_PEERS, "cpu_us_per_message", 1, most=True),
    # The CPU time per message must not rise with a second worker. 5 % is the noise between equal
    # servers. If the load generator needs one of two CPUs, the CPU time rises for every server, so
    # the second goal compares with two threads that share nothing.
    Goal("2 workers, CPU", "workers", TWO, ["uvechod-rfc862"], "cpu_us_per_message", 1.05, most=True),
    Goal("2 workers beside 2 bare loops, CPU", "workers", TWO, ["epoll-2-threads"], "cpu_us_per_message", 1.05, most=True),
)

# Upper bounds for idle connections. These are figures, not ratios.
LIMITS = (
    ("bytes_per_connection", "resident bytes per idle connection", 320),
    ("idle_cpu_s", "CPU seconds of idle connections", 0.01),
)


# An upper bound for the gap of an upgrade, in milliseconds, with this number of connections or more.
GAP_MS, GAP_CONNECTIONS = 40, 10000


def _gap_rows(cases):
    found = [
        (median(rounds, "gap_ms"), case["label"])
        for case in cases
        if case["suite"] == "handover" and case["label"].startswith("upgrade")
        for rounds in case["rounds"].values()
        if case["connections"] > GAP_CONNECTIONS
    ]
    if found:
        ms, label = max(found)
        reached = "yes" if ms <= GAP_MS else "no"
        yield ["gap of an upgrade, ms", f"at most {GAP_MS}", f"{ms:.1f}, {label}", reached, ""]


# Upper bounds for the loss beside bulk streams, in percent, by the size in the label.
LOSSES = ((" 64 B", 0), (" 1200 B", 5))


def _loss_rows(cases):
    for size, bound in LOSSES:
        for case in cases:
            value = median(case["rounds"].get("uvechod-udp", []), "loss_percent")
            if case["suite"] == "udp-beside" and size in case["label"] and value is not None:
                reached = "yes" if value <= bound else "no"
                yield ["lost datagrams, %", f"at most {bound}", f"{value:.3f}, {case['label']}", reached, ""]


def _limit_rows(cases):
    for case in cases:
        if case["suite"] != "idle":
            continue
        for name in ("uvechod-rfc862", "uvechod"):
            for figure, title, bound in LIMITS:
                value = median(case["rounds"].get(name, []), figure)
                if value is not None:
                    reached = "yes" if value <= bound else "no"
                    yield [f"{title}, {name}", f"at most {bound}", f"{value:.6g}", reached, ""]


def table(cases):
    heading = ["goal", "wanted", "measured: the worst", "reached", "the worst by CPU time"]
    rows = [goal.row(cases) for goal in GOALS]
    return [heading, *[row for row in rows if row], *_limit_rows(cases), *_gap_rows(cases), *_loss_rows(cases)]
