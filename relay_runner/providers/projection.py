"""What a provider makes of a profile, key by key, so that nothing of it is dropped without a word."""

from __future__ import annotations

from collections.abc import Mapping

from relay_runner.protocol.profiles import Fate, Profile, Projected, asked

OF_THE_RUNNER = ("provider", "relay.broad", "permissions.mode")
"""What the runner does by itself, for every provider."""
READ_ONLY = "read-only"
SERVERS = "mcp.servers"
Says = Mapping[str, tuple[Fate, str | None]]
"""By key of a profile: what becomes of it, and why, where that is not all."""

APPLIED: tuple[Fate, None] = (Fate.APPLIED, None)


def partly(why: str) -> tuple[Fate, str]:
    """Say that only a part is applied, and which."""
    return Fate.PARTLY, why


def ignored(why: str) -> tuple[Fate, str]:
    """Say that nothing is made of it, and why."""
    return Fate.IGNORED, why


def project(profile: Profile, says: Says, otherwise: str) -> tuple[Projected, ...]:
    """Return what becomes of everything that a profile asks for; `otherwise` is why the rest is ignored."""
    known = {**dict.fromkeys(OF_THE_RUNNER, APPLIED), **says}
    if profile.permissions.mode == READ_ONLY and known.get(SERVERS) == APPLIED:
        known[SERVERS] = ignored("a read-only agent has no MCP servers: nobody knows what they would write")
    found = []
    for key in asked(profile):
        fate, why = known.get(key, (Fate.IGNORED, otherwise))
        found.append(Projected(key=key, fate=fate, why=why))
    return tuple(found)
