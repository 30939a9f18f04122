"""`relay-runner` and `python -m relay_runner`."""

from __future__ import annotations

import os
import sys

_OUTPUT = "relay_runner_output"


def main() -> None:
    """Run the command line and leave with its exit code."""
    _in_utf8()
    from relay_runner.cli import init

    sys.exit(init.run(_run) if init.needed() else _run())


def _run() -> int:
    from relay_runner.cli.app import run

    return run(sys.argv[1:])


def _in_utf8() -> None:
    """Begin again where the locale would have words read and names written in another encoding than UTF-8.

    What goes between processes is UTF-8, and so are folders and what is typed, whatever an old LANG says; only what is
    shown keeps the encoding of the terminal, as far as it can.
    """
    if sys.getfilesystemencoding() != "utf-8":
        shown = f"{_OUTPUT}={sys.stdout.encoding if sys.stdout is not None else 'ascii'}"
        os.execv(sys.executable, [sys.executable, "-X", "utf8", "-X", shown, *sys.orig_argv[1:]])
    if isinstance(encoding := sys._xoptions.get(_OUTPUT), str):
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(encoding=encoding, errors="backslashreplace")  # type: ignore[union-attr]


if __name__ == "__main__":
    main()
