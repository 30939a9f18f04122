"""Numbers of one relay process, in the text format of Prometheus."""

from __future__ import annotations

from collections import Counter

from relay_runner.server.store.base import Counts

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_HELP = {
    "relay_requests_total": "HTTP calls answered, by status",
    "relay_messages_total": "messages accepted",
    "relay_pushed_total": "frames put on buses",
    "relay_unknown_frames_total": "frames of a type that is not known here",
    "relay_buses_dropped_total": "buses closed because their reader was too slow",
}


class Metrics:
    """Counts what one process did since it started."""

    def __init__(self) -> None:
        self.requests: Counter[int] = Counter()
        self.messages = 0
        self.pushed = 0
        self.unknown_frames = 0
        self.dropped = 0

    def text(self, counts: Counts) -> str:
        """Return everything as one page."""
        totals = {
            "relay_messages_total": self.messages,
            "relay_pushed_total": self.pushed,
            "relay_unknown_frames_total": self.unknown_frames,
            "relay_buses_dropped_total": self.dropped,
        }
        lines = [f"# HELP relay_requests_total {_HELP['relay_requests_total']}", "# TYPE relay_requests_total counter"]
        lines += [f'relay_requests_total{{status="{code}"}} {count}' for code, count in sorted(self.requests.items())]
        for name, value in totals.items():
            lines += [f"# HELP {name} {_HELP[name]}", f"# TYPE {name} counter", f"{name} {value}"]
        gauges = {"relay_agents": counts.agents, "relay_connected": counts.connected, "relay_queued": counts.queued}
        for name, value in gauges.items():
            lines += [f"# TYPE {name} gauge", f"{name} {value}"]
        return "\n".join(lines) + "\n"
