"""A profile in Codex's own words: settings of a thread, roots of skills; and what of it is applied.

Seen on 0.169.0: `project_doc_max_bytes = 0` leaves the project's AGENTS.md out, nothing leaves out that of its home,
and a server of the user's config is switched off by its name.
"""

from __future__ import annotations

import tomllib
from typing import Any

from relay_runner.protocol.profiles import McpServer, Profile, Projected
from relay_runner.providers import projection
from relay_runner.providers.base import LaunchSpec
from relay_runner.providers.codex.home import CodexHome
from relay_runner.providers.projection import APPLIED, Says, ignored, partly

READ_ONLY = "read-only"

SAYS: Says = {
    "home": APPLIED,
    "relay.context": APPLIED,
    "instructions.repo": APPLIED,
    "instructions.global": partly("developer_instructions are left out; AGENTS.md of a host home stays"),
    "instructions.system": APPLIED,
    "instructions.append": APPLIED,
    "skills": APPLIED,
    "plugins": ignored("Codex takes plugins from its marketplaces only: give their skills and MCP servers"),
    "mcp.mode": APPLIED,
    "mcp.servers": APPLIED,
    "hooks.mode": APPLIED,
    "permissions.allow": ignored("Codex keeps such rules in its home only"),
    "permissions.deny": ignored("Codex keeps such rules in its home only"),
}


def project(profile: Profile) -> tuple[Projected, ...]:
    """Return what becomes of a profile."""
    says = {**SAYS, "instructions.global": APPLIED} if profile.isolated else SAYS
    return projection.project(profile, says, "Codex has nothing like it")


def settings(spec: LaunchSpec) -> dict[str, Any]:
    """Return what goes into a thread's `config`."""
    profile, found = spec.profile, dict[str, Any]()
    if not profile.instructions.repo:
        found["project_doc_max_bytes"] = 0
    if profile.hooks.mode == "none":
        found["features.hooks"] = False
    servers: dict[str, Any] = {}
    read_only = spec.approval_mode == READ_ONLY  # no sandbox is around a server: nobody knows what it would write
    if profile.mcp.mode != "host" or read_only:
        servers.update({name: {"enabled": False} for name in _servers_of_host(spec)})
    if profile.mcp.mode != "none" and not read_only:
        servers.update({name: _server(one) for name, one in profile.mcp.servers.items()})
    if servers:
        found["mcp_servers"] = servers
    return found


def instructions(spec: LaunchSpec, of_user: str | None, introduction: str) -> str:
    """Return what the developer says: the user's own words, ours, and what was given to add."""
    own = spec.profile.instructions
    words = (
        of_user if own.global_ else None,
        introduction if spec.profile.relay.context else None,
        *own.append,
        spec.system_prompt_append,
    )
    return "\n\n".join(word for word in words if word)


def _servers_of_host(spec: LaunchSpec) -> list[str]:
    """Return the names of the MCP servers that the user, and a project that is trusted, have set up."""
    tables = [CodexHome.of(spec.environ).config()]
    for folder in (spec.cwd, *spec.cwd.parents):
        try:
            tables.append(tomllib.loads((folder / ".codex" / "config.toml").read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
            continue  # the program says what is wrong in it
    return sorted({str(name) for table in tables for name in _names(table.get("mcp_servers"))})


def _names(servers: object) -> list[str]:
    return list(servers) if isinstance(servers, dict) else []


def _server(server: McpServer) -> dict[str, Any]:
    if server.url is not None:
        return {"url": server.url}
    return {"command": server.command, "args": list(server.args), "env": dict(server.env)}
