"""Ask a program what it is, and never wait for what it leaves behind."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from contextlib import suppress
from dataclasses import dataclass

from relay_runner.cli import output

MAX_BYTES = 4096
"""What a version is read from, at most."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a program answered: its first words, or else why there are none."""

    text: str = ""
    trouble: str = ""


async def ask(*command: str, timeout_s: float) -> Said:
    """Run a command that says one line and ends; it may do anything else, and nothing of that is an error here."""
    # A file and not a pipe: a child of the program that keeps its stdout open would keep a pipe open for ever.
    with tempfile.TemporaryFile() as out:
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            return Said(trouble=f"could not be run ({error.strerror or error})")
        try:
            async with asyncio.timeout(timeout_s):
                code = await process.wait()
        except TimeoutError:
            return Said(trouble=f"did not answer within {timeout_s:g} s")
        finally:
            if process.returncode is None:
                # Its whole group: what it waits for would go on without it.
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        out.seek(0)
        text = output.line(out.read(MAX_BYTES).decode("utf-8", "replace"))
    if code < 0:
        return Said(trouble=f"was killed ({_signal(-code)})")
    if code > 0:
        return Said(trouble=f"failed with exit code {code}")
    return Said(text) if text else Said(trouble="printed nothing")


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
