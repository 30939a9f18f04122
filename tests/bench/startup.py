"""How long the command line takes to start, beside a bare `import typer`; and an agent, beside its program alone."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.harness import home, kill

ROUNDS = 11
STARTS = 5


@dataclass(frozen=True)
class Figures:
    """Medians."""

    help_ms: float
    import_typer_ms: float
    help_ratio: float
    agent_ready_ms: float
    """From `start demo --headless` to an agent that takes messages, the relay running."""


def measure() -> Figures:
    """Take turns, so that a noisy machine disturbs both alike."""
    help_s, typer_s = [], []
    for _ in range(ROUNDS):
        help_s.append(_run_s("-m", "relay_runner", "--help"))
        typer_s.append(_run_s("-c", "import typer"))
    return Figures(
        help_ms=_ms(help_s),
        import_typer_ms=_ms(typer_s),
        help_ratio=round(statistics.median(help_s) / statistics.median(typer_s), 2),
        agent_ready_ms=_ms(_ready_s()),
    )


def _run_s(*words: str) -> float:
    begin = time.perf_counter()
    subprocess.run([sys.executable, *words], stdout=subprocess.DEVNULL, check=True, timeout=60)
    return time.perf_counter() - begin


def _ready_s() -> list[float]:
    with tempfile.TemporaryDirectory(prefix="rrb") as folder, home(Path(folder)) as place:
        place.start("first", "demo")  # starts the relay
        took = []
        for number in range(STARTS):
            begin = time.perf_counter()
            runner = place.start(f"bench-{number}", "demo")
            took.append(time.perf_counter() - begin)
            kill(place.provider_pid(f"bench-{number}"), 15)
            runner.terminate()
            runner.wait(30)
        return took


def _ms(seconds: list[float]) -> float:
    return round(statistics.median(seconds) * 1000, 1)
