"""What a runner leaves to the next one about permissions: the questions that are open, and what was allowed.

The hook that asks dies with the runner; the file holds what it asked (0600, as everything in the agent's folder), so
that the next runner can tell whether the dialog on the screen is that question's.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import msgspec

from relay_runner.config import write_private
from relay_runner.errors import ProtocolError
from relay_runner.protocol.wire import decode, encode
from relay_runner.providers.claude.asks import Ask

log = logging.getLogger(__name__)

FILE = "claude-permissions.json"
KEPT_GRANTS = 500


class Kept(msgspec.Struct, frozen=True):
    """A question that is open."""

    id: str
    tool: str
    input: dict[str, Any]
    session_id: str
    agent_id: str
    agent_type: str

    @classmethod
    def of(cls, id: str, ask: Ask) -> Kept:
        """Return what is kept of a question."""
        return cls(id, ask.tool, dict(ask.input), ask.session_id, ask.agent_id, ask.agent_type)

    @property
    def ask(self) -> Ask:
        """What was asked."""
        return Ask(self.tool, self.input, self.session_id, self.agent_id, self.agent_type)


class Memory(msgspec.Struct, frozen=True):
    """What the next runner has to know."""

    process_id: str
    """The provider process that asked; another one's questions are over."""
    open: tuple[Kept, ...] = ()
    granted: tuple[str, ...] = ()
    """The keys of what was allowed for its session, the newest last."""


def read(file: Path) -> Memory:
    """Return what the file says; nothing where there is none, or none that can be read."""
    try:
        return decode(file.read_bytes(), Memory)
    except FileNotFoundError:
        return Memory("")
    except ProtocolError as error:
        log.warning("%s is forgotten: %s", file, error)
        return Memory("")


def write(file: Path, memory: Memory) -> None:
    """Replace the file; of what was allowed only the newest is kept."""
    try:
        write_private(file, encode(msgspec.structs.replace(memory, granted=memory.granted[-KEPT_GRANTS:])))
    except OSError as error:  # this life of the runner knows it all the same
        log.warning("%s cannot be written: %s", file, error)
