"""The versions of Codex that the tests drive."""

from __future__ import annotations

from relay_runner.providers.base.versions import Tried, Versions

VERSIONS = Versions(
    command="codex",
    package="@openai/codex",
    tried=(
        Tried("0.169.0", "the first tested version"),
        Tried("0.171.0", "a change of model may compact the conversation before the message's turn begins"),
    ),
)
