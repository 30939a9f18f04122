"""What one idle runner costs: memory and processor time, beside what its provider costs."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.harness import Home, home, until

IDLE_S = 20.0


@dataclass(frozen=True)
class Figures:
    """One idle agent."""

    provider: str
    runner_rss_mib: float
    runner_pss_mib: float
    runner_cpu_percent: float
    provider_rss_mib: float
    provider_cpu_percent: float


def measure(seconds: float = IDLE_S) -> list[Figures]:
    """Start a demo agent, let it work once, and watch it doing nothing."""
    with tempfile.TemporaryDirectory(prefix="rrb") as folder, home(Path(folder)) as place:
        place.start("bench", "demo")
        place.settled(place.send("bench", "echo hello"))
        return [_watch("demo", place, seconds)]


def _watch(provider: str, place: Home, seconds: float) -> Figures:
    until("it is idle", lambda: place.status("bench") == "idle")
    time.sleep(3)  # what the last message left behind is over
    runner, program = place.runner_pid("bench"), place.provider_pid("bench")
    before = (_cpu_s(runner), _cpu_s(program))
    time.sleep(seconds)
    after = (_cpu_s(runner), _cpu_s(program))
    return Figures(
        provider=provider,
        runner_rss_mib=memory_mib(runner, "Rss"),
        runner_pss_mib=memory_mib(runner, "Pss"),
        runner_cpu_percent=round(100 * (after[0] - before[0]) / seconds, 2),
        provider_rss_mib=memory_mib(program, "Rss"),
        provider_cpu_percent=round(100 * (after[1] - before[1]) / seconds, 2),
    )


def memory_mib(pid: int, kind: str) -> float:
    """Return what the kernel's roll-up says; Pss shares common pages out among their users."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return round(next(int(line.split()[1]) for line in lines if line.startswith(f"{kind}:")) / 1024, 1)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
