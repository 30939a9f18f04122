"""The versions of Codex that the tests drive."""

from __future__ import annotations

from relay_runner.providers.base.versions import Tried, Versions

VERSIONS = Versions(
    command="codex",
    package="@openai/codex",
    tried=(
        Tried("0.169.0", "the first one"),
        Tried("0.171.0", "a model that changes may compact the conversation before the message's turn begins"),
    ),
)
