"""What a provider's own operations are called, do and take; the same words for what several providers have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from relay_runner.errors import ProviderRefused


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation, for whoever orders it."""

    summary: str
    takes: Mapping[str, str] = field(default_factory=dict)
    """Its arguments, and what each means."""

    def check(self, name: str, args: Mapping[str, object]) -> None:
        """Raise `ProviderRefused` for an argument that it does not have; None is the same as none."""
        for given, value in args.items():
            if value is not None and given not in self.takes:
                hint = f"it takes {', '.join(self.takes)}" if self.takes else "it takes no arguments"
                raise ProviderRefused(f"{name} has no argument {given!r}", hint=hint)


CLEAR = Operation("begin a new session")
COMPACT = Operation("shorten what it remembers")
INJECT = Operation(
    "give it context without a turn",
    {"content": "a text, or a list of them", "reason": "why", "memoryIds": "which memories it is made of"},
)
