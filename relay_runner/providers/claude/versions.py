"""The versions of Claude Code that the tests drive."""

from __future__ import annotations

from relay_runner.providers.base.versions import Tried, Versions

VERSIONS = Versions(
    command="claude",
    package="@anthropic-ai/claude-code",
    tried=(
        Tried("2.1.197", "the first tested version; a paste arrives as the user's own words"),
        Tried(
            "2.1.332",
            "a paste with more than two newlines is marked as pasted; messages from other sessions are held; "
            "dialogs have a different layout; the permission mode defaults to auto",
        ),
    ),
)
