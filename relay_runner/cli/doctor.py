"""doctor and version: what this installation is, and whether everything it needs is there."""

from __future__ import annotations

from typing import Annotated

import typer

from relay_runner.cli import loop, output
from relay_runner.cli.exits import Exit

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("doctor")(doctor)
    app.command("version")(version)


def doctor(as_json: JsonFlag = False) -> int:
    """Check this machine, and say what to do.

    Exit code 1 where something that is needed is missing."""
    from relay_runner.cli import checks

    found = loop.run(checks.run())
    if as_json:
        output.say_json(
            [{"check": one.what, "state": one.state, "detail": one.detail, "fix": one.fix} for one in found]
        )
    else:
        rows = [(one.state, one.what, one.detail, one.fix or "") for one in found]
        output.table(("state", "check", "found", "what to do"), rows, empty="nothing to check")
    return Exit.FAILED if any(one.state == "fail" for one in found) else Exit.OK


def version(as_json: JsonFlag = False) -> None:
    """Show the version."""
    import platform

    from relay_runner import __version__
    from relay_runner.protocol.wire import PROTOCOL_VERSION

    if as_json:
        output.say_json({"version": __version__, "protocol": PROTOCOL_VERSION, "python": platform.python_version()})
    else:
        output.say(f"relay-runner {__version__} (protocol {PROTOCOL_VERSION}, Python {platform.python_version()})")
