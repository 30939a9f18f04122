"""What a program's model may ask of the runner while it works: the relay's verbs, and what is still owed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Tool:
    """One of the relay's verbs, as a model is offered it."""

    name: str
    description: str
    schema: Mapping[str, Any]
    """The JSON schema of its arguments: an object."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model calls a tool."""

    key: str
    """Unique over all sessions; the same key again is the same call, and is done once."""
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What the model is told of its call."""

    text: str
    success: bool = True


class Tools(Protocol):
    """The agent's own verbs on its relay, for a provider that can offer tools to its model."""

    @property
    def offered(self) -> tuple[Tool, ...]:
        """What there is."""
        ...

    async def call(self, call: ToolCall) -> ToolResult:
        """Do one, at most once whatever is killed meanwhile; never raises for what the model or the relay did wrong.

        May be cancelled; the same call then comes again.
        """
        ...


Owed = Callable[[Sequence[str]], Awaitable[str | None]]
"""Takes the nonces of the turn that is about to end; returns what is to be put to the model before it may end, or None.

Asked at most once for a turn, and only by a provider that can add to a turn which is about to end; others leave it.
"""


async def nothing_owed(nonces: Sequence[str]) -> None:
    """Say that nothing is owed."""
