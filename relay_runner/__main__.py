"""`relay-runner` and `python -m relay_runner`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and leave with its exit code."""
    from relay_runner.cli import init

    sys.exit(init.run(_run) if init.needed() else _run())


def _run() -> int:
    from relay_runner.cli.app import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    main()
