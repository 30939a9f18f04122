"""What this program's command line offers: read from its `--help`, never guessed from its version.

The help of one program file is read once for each agent, for it costs 0.3 s, and only where the answer matters.
"""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import msgspec

from relay_runner.config import write_private

log = logging.getLogger(__name__)

FILE = "claude-flags.json"
HELP_S = 20.0
_FLAG = re.compile(r"^ *(?:-\w, )?(--[A-Za-z][\w-]*)", re.MULTILINE)


class Flags(msgspec.Struct, frozen=True, rename="camel"):
    """The flags of one program file."""

    program: str
    stamp: tuple[int, int, int]
    """Inode, time of change in nanoseconds, size: of another version at least one is another."""
    names: frozenset[str]


def offers(program: str, flag: str, folder: Path, environ: Mapping[str, str]) -> bool:
    """Say whether the program knows a flag; what was found is kept in `folder`. One that cannot be asked knows none."""
    path = shutil.which(program, path=environ.get("PATH"))
    if path is None:
        return False
    real = Path(path).resolve()
    status = real.stat()
    stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
    known = _load(folder / FILE)
    if known is None or (known.program, known.stamp) != (str(real), stamp):
        names = _ask(path, environ)
        if names is None:
            return False
        known = Flags(str(real), stamp, names)
        write_private(folder / FILE, msgspec.json.encode(known))
    return flag in known.names


def _ask(program: str, environ: Mapping[str, str]) -> frozenset[str] | None:
    try:
        done = subprocess.run(
            [program, "--help"],
            env=dict(environ),
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=HELP_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("%s --help: %s", program, error)
        return None
    return frozenset(_FLAG.findall(done.stdout.decode(errors="replace")))


def _load(file: Path) -> Flags | None:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Flags)
    except (OSError, msgspec.MsgspecError):
        return None
