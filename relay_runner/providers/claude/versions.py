"""The versions of Claude Code that the tests drive."""

from __future__ import annotations

from relay_runner.providers.base.versions import Tried, Versions

VERSIONS = Versions(
    command="claude",
    package="@anthropic-ai/claude-code",
    tried=(
        Tried("2.1.197", "the first one; a paste arrives as the user's own words"),
        Tried(
            "2.1.332",
            "a paste of more than two newlines is marked as pasted; messages of other sessions are held; "
            "dialogs have another layout; its own permission mode is auto where none is given",
        ),
    ),
)
