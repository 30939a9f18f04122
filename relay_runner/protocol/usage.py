"""What turns cost: a value that a provider tells, a receipt carries and budgets count."""

from __future__ import annotations

from typing import TypeVar

from relay_runner.protocol.wire import Wire

N = TypeVar("N", int, float)


class Usage(Wire, frozen=True, kw_only=True):
    """What one turn, or several, cost; None is what the provider did not tell."""

    input_tokens: int | None = None
    """All of them, also those from a cache."""
    cached_tokens: int | None = None
    """Of the input, read from a cache."""
    output_tokens: int | None = None
    cost_usd: float | None = None

    @property
    def tokens(self) -> int | None:
        """Input and output together, as far as they were told."""
        return _sum(self.input_tokens, self.output_tokens)


def total(one: Usage | None, other: Usage | None) -> Usage | None:
    """Return what two turns cost together; what only one of them told counts alone."""
    if one is None or other is None:
        return one or other
    return Usage(
        input_tokens=_sum(one.input_tokens, other.input_tokens),
        cached_tokens=_sum(one.cached_tokens, other.cached_tokens),
        output_tokens=_sum(one.output_tokens, other.output_tokens),
        cost_usd=_sum(one.cost_usd, other.cost_usd),
    )


def _sum(one: N | None, other: N | None) -> N | None:
    if one is None or other is None:
        return other if one is None else one
    return one + other
