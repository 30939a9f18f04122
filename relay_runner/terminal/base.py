"""What a provider draws on: a tmux session or a pty, behind one interface.

Text goes in by `paste` (as one bracketed paste, sanitised, never followed by a key of its own) and by named keys;
what is on the screen comes out by `capture`. Nothing here knows a provider.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntFlag, StrEnum
from pathlib import Path
from typing import Protocol

WIDTH = 200
HEIGHT = 50


class Key(StrEnum):
    """The keys that providers need, by their tmux names."""

    ENTER = "Enter"
    ESCAPE = "Escape"
    CTRL_C = "C-c"
    CTRL_D = "C-d"
    CTRL_G = "C-g"
    CTRL_S = "C-s"
    CTRL_U = "C-u"
    UP = "Up"
    DOWN = "Down"
    TAB = "Tab"
    BACKSPACE = "BSpace"


TAIL_CHARS = 4_000
"""How much of a screen goes into an error or an event."""


@dataclass(frozen=True, slots=True)
class TerminalSpec:
    """What to start: `env` is the program's whole environment, and reaches it by a 0600 file, never by argv or tmux."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    run_dir: Path
    """A 0700 folder of this one process: environment file, pid, exit code."""
    name: str
    """The tmux session's name."""
    title: str = ""
    width: int = WIDTH
    height: int = HEIGHT
    listener: socket.socket | None = None
    """A listening socket that is kept open for as long as the program lives, whatever becomes of the runner."""


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process that cannot be mistaken for another one that got its pid later."""

    pid: int
    started: int
    """Field 22 of /proc/PID/stat: clock ticks after boot."""


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """How the program ended: its exit code, or minus the signal's number, or None where nobody could know."""

    code: int | None

    def __str__(self) -> str:
        if self.code is None:
            return "ended, exit code unknown"
        return f"killed by signal {-self.code}" if self.code < 0 else f"exit code {self.code}"


class Style(IntFlag):
    """How a character is drawn, as far as that means something: a hint is dim, a program's own cursor reversed."""

    DIM = 1
    REVERSE = 2


@dataclass(frozen=True, slots=True)
class Screen:
    """What the terminal shows now."""

    lines: tuple[str, ...]
    """The visible rows, top first, without colours; trailing blanks are cut."""
    title: str = ""
    cursor: tuple[int, int] = (0, 0)
    """(column, row) from 0."""
    in_mode: bool = False
    """A person scrolls or selects (tmux copy mode)."""
    dead: bool = False
    styles: tuple[bytes, ...] = ()
    """For each row the `Style` of its characters, one byte each; a row may be shorter, what is beyond is plain."""

    @property
    def text(self) -> str:
        """All rows as one text."""
        return "\n".join(self.lines)

    def style(self, row: int) -> bytes:
        """Return the `Style` of every character of one row."""
        style = self.styles[row] if row < len(self.styles) else b""
        return style.ljust(len(self.lines[row]), b"\0")

    def tail(self, count: int = 15) -> str:
        """Return the last `count` rows that are not blank, at most the last 4 000 characters of them."""
        return "\n".join([line for line in self.lines if line.strip()][-count:])[-TAIL_CHARS:]


@dataclass(frozen=True, slots=True)
class SavedTerminal:
    """Enough to find a terminal again after the runner died; goes into `process.json` as plain values."""

    kind: str
    process: ProcessIdentity
    """The provider's own process."""
    run_dir: str
    socket: str | None = None
    session: str | None = None
    pane: str | None = None
    pane_process: ProcessIdentity | None = None
    server: ProcessIdentity | None = None
    """The terminal's own server, where it has one: found by this when its socket is gone."""
    keeper: str | None = None
    """The named pipe at which the kept socket can be asked for; None where none is kept (by an older version)."""


class Terminal(Protocol):
    """One open terminal with one program in it."""

    @property
    def saved(self) -> SavedTerminal:
        """What a later runner needs to adopt it."""
        ...

    @property
    def process(self) -> ProcessIdentity:
        """The provider's own process (not the shim's)."""
        ...

    async def paste(self, text: str, *, then: Key | None = None) -> None:
        """Put `text` in as one bracketed paste, after leaving copy mode; `then` is pressed in the same command line.

        Control characters are stripped. Raise `ProviderExited` when the pane is dead (nothing went in) and
        `TerminalError` when tmux failed.
        """
        ...

    async def press(self, *keys: Key) -> None:
        """Press keys, one after the other, after leaving copy mode."""
        ...

    async def type(self, text: str) -> None:
        """Send `text` as literal keys (one line, at most 1000 characters)."""
        ...

    async def capture(self) -> Screen:
        """Return what is on the screen."""
        ...

    async def wait_exit(self) -> ExitStatus:
        """Return when the program has ended; cancelling is safe."""
        ...

    def alive(self) -> bool:
        """Say whether the program's process still runs (a zombie does not)."""
        ...

    def attach_command(self, viewer: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Return the command line that shows the terminal to a person; empty where it cannot be shown.

        With `viewer`, a program that shows more than the terminal does: it is started for the first who looks, shared
        by whoever looks at the same time, and gone with the last of them.
        """
        ...

    async def repair(self) -> str | None:
        """Mend what keeps people and messages from reaching it (a socket that was removed); say what cannot be mended.

        Cheap while all is well: called every few seconds.
        """
        ...

    async def show(self, viewer: tuple[str, ...]) -> None:
        """Let those who look at a viewer see this one instead; nothing where nobody does."""
        ...

    async def attended(self) -> bool:
        """Say whether a person is looking at it now."""
        ...

    async def terminate(self, *, grace_s: float = 5.0) -> ExitStatus:
        """End the program's whole process group: TERM, after `grace_s` KILL; return how it ended."""
        ...

    async def close(self, *, keep_viewer: bool = False) -> None:
        """Take the terminal itself away (the tmux session and its server); the program is dead already.

        `keep_viewer` leaves a viewer that somebody looks at, where the next process of the same agent will be found by
        it. Closing again without it takes that away, too.
        """
        ...

    def detach(self) -> None:
        """Let go of the terminal without ending anything, so that a later runner can adopt it."""
        ...


class Terminals(Protocol):
    """How terminals come to be; one implementation for tmux, one for a pty."""

    async def open(self, spec: TerminalSpec) -> Terminal:
        """Start the program; raise `TerminalError` for the terminal, `ProviderExited` for a program that cannot run."""
        ...

    async def adopt(self, saved: SavedTerminal) -> Terminal | None:
        """Return the terminal of an earlier runner, or None when its program is proven dead.

        What the dead program left (its tmux server, its run folder) is cleaned away. Raise `TerminalError` when it
        lives but cannot be reached: then nobody may start another program on its session.
        """
        ...

    async def listener(self, saved: SavedTerminal) -> socket.socket | None:
        """Return the socket that is kept for a program of an earlier runner; None where it cannot be had."""
        ...
