"""What a Claude Code is kept from reading: the relay's credentials, by its own tools and by its sandbox.

Its tools are kept out by rules in every mode, bypass included. Its shell is only where the user's own settings turn a
sandbox on, which needs bubblewrap and socat: these paths are then hidden in it, but for what the agent needs. Of a
rule there is no exception, so that the rules name files, and the sandbox whole folders (2.1.197, 2.1.332).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from relay_runner.config import AgentPaths
from relay_runner.providers.base import LaunchSpec

OF_AGENT = ("*.json", "journal.db*", "*.log", "codex-home/**", "run/**")
OF_STATE = ("relay.*", "config.toml", "sockets/**")


def hide(settings: dict[str, Any], spec: LaunchSpec) -> None:
    """Add to the settings of a process what it must not read."""
    if not spec.hidden:
        return
    paths = AgentPaths(spec.agent_dir.resolve())
    rules = [rule for place in spec.hidden for rule in _rules(place, paths)]
    settings.setdefault("permissions", {}).setdefault("deny", []).extend(rules)
    settings["sandbox"] = {
        # Its own hooks go by the sandbox's network, too: without this each of them would ask a person (2.1.197).
        "network": {"allowedDomains": ["127.0.0.1"]},
        "filesystem": {
            "denyRead": [str(place) for place in spec.hidden],
            "allowRead": [str(paths.bin), str(paths.attachments)],
        },
    }


def _rules(place: Path, paths: AgentPaths) -> list[str]:
    """Return the rules for one place; `//` begins a path from the root."""
    agents = paths.root.parent
    if place in agents.parents:
        found = [f"{place}/{name}" for name in OF_STATE] + [f"{agents}/*/{name}" for name in OF_AGENT]
    else:
        found = [f"{place}/**" if place.is_dir() else str(place)]
    return [f"Read(/{path})" for path in found]
