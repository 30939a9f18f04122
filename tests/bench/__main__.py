"""All figures, or those named: `python -m tests.bench [startup] [idle] [delivery] [codex] [crowd] [relay] [--json]`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from tests.bench import codex, crowd, delivery, idle, relay, startup

WHAT: dict[str, Callable[[], Any]] = {
    "startup": startup.measure,
    "idle": idle.measure,
    "delivery": delivery.measure,
    "codex": codex.measure,
    "crowd": crowd.measure,
    "relay": lambda: relay.measure(5.0, 32, 50),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", choices=[*WHAT, []], help="default: everything")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = {}
    for name in options.what or WHAT:
        sys.stderr.write(f"measuring {name}\n")
        measured = WHAT[name]()
        figures[name] = [asdict(row) for row in (measured if isinstance(measured, list) else [measured])]
        if not options.json:
            for row in figures[name]:
                sys.stdout.write(f"{name}\n" + "".join(f"  {key:26} {value}\n" for key, value in row.items()))
    if options.json:
        sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
