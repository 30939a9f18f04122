"""Which terminals this machine has a description of: tmux opens on no other."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

_FOLDERS = ("/etc/terminfo", "/lib/terminfo", "/usr/share/terminfo", "/usr/lib/terminfo", "/usr/share/lib/terminfo")
_FALLBACKS = ("xterm-256color", "xterm", "screen-256color", "screen", "vt100")
_TOO_DUMB = frozenset({"", "dumb", "unknown", "network", "dialup"})
"""They have a description, but can neither clear the screen nor move the cursor."""


def known(name: str, environ: Mapping[str, str] | None = None) -> bool:
    """Say whether this machine has a description of a terminal, where ncurses looks for one."""
    if not name or "/" in name or "\0" in name:
        return False
    # By the first letter, and by its number in hexadecimal where a file system does not tell capitals apart.
    places = (f"{name[0]}/{name}", f"{ord(name[0]):x}/{name}")
    return any((folder / place).exists() for folder in _folders(environ) for place in places)


def usable(environ: Mapping[str, str]) -> str:
    """Return the TERM that tmux can be shown with: the environment's own, or the nearest that is described here."""
    term = environ.get("TERM", "")
    if term not in _TOO_DUMB and known(term, environ):
        return term
    return next((name for name in _FALLBACKS if known(name, environ)), term or _FALLBACKS[0])


def _folders(environ: Mapping[str, str] | None) -> Iterator[Path]:
    environ = os.environ if environ is None else environ
    listed = environ.get("TERMINFO_DIRS", "").split(os.pathsep)
    for folder in (environ.get("TERMINFO"), *listed, *_FOLDERS):
        if folder:
            yield Path(folder)
    if home := environ.get("HOME"):
        yield Path(home) / ".terminfo"
