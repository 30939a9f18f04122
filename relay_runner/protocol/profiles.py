"""Profiles: how an agent is to be set up, in words that every provider understands as far as it can.

A profile is a TOML file. Whatever is not said is left as the provider has it. A profile may stand on a `base`: tables
are merged, lists are put together (the base's first), everything else is replaced.

    name = "reviewer"                     provider = "claude"          home = "host" | "isolated"
    base = "careful"                      skills = ["skills"]          plugins = ["plugins/mine"]
    [relay]         context = true        broad = true
    [instructions]  repo = true           global = true                system = "..."        append = ["..."]
    [mcp]           mode = "host" | "only" | "none"                    servers.NAME = { command = "...", args = [] }
    [hooks]         mode = "host" | "none"
    [permissions]   mode = "read-only"    allow = ["..."]              deny = ["..."]
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Literal

import msgspec

from relay_runner.errors import ConfigError
from relay_runner.protocol.wire import Wire


class RelayPart(Wire, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the agent has of the relay."""

    context: bool = True
    """The model is told of the relay and how to use it."""
    broad: bool = True
    """Messages to a tag, a capability or everybody reach it."""


class Instructions(Wire, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the model is told before anything else."""

    repo: bool = True
    """The project's own: CLAUDE.md, AGENTS.md."""
    global_: bool = msgspec.field(default=True, name="global")
    """The user's own, for all projects."""
    system: str | None = None
    """Instead of the program's system prompt. In a file, `@NAME` stands for the text in that file."""
    append: tuple[str, ...] = ()
    """Added to it."""


class McpServer(Wire, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One MCP server: a program or a URL."""

    command: str | None = None
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    url: str | None = None


class Mcp(Wire, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which MCP servers the program has: the host's and these, these only, or none."""

    mode: Literal["host", "only", "none"] = "host"
    servers: dict[str, McpServer] = {}


class Hooks(Wire, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether the user's and the project's own hooks run; the runner's always do."""

    mode: Literal["host", "none"] = "host"


class Permissions(Wire, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What it may do."""

    mode: str | None = None
    """An approval mode; the command line goes before it."""
    allow: tuple[str, ...] = ()
    """Rules in the provider's own words."""
    deny: tuple[str, ...] = ()


class Profile(Wire, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How an agent is to be set up."""

    name: str = ""
    base: str | None = None
    provider: str | None = None
    home: Literal["host", "isolated"] = "host"
    relay: RelayPart = RelayPart()
    instructions: Instructions = Instructions()
    skills: tuple[str, ...] = ()
    """Folders with skills, or of one skill."""
    plugins: tuple[str, ...] = ()
    mcp: Mcp = Mcp()
    hooks: Hooks = Hooks()
    permissions: Permissions = Permissions()

    @property
    def isolated(self) -> bool:
        """Whether the program gets a home of its own."""
        return self.home == "isolated"


class Fate(StrEnum):
    """What became of one thing that a profile asks for."""

    APPLIED = "applied"
    PARTLY = "partly"
    IGNORED = "ignored"


class Projected(Wire, frozen=True, kw_only=True):
    """One thing that a profile asks for, and what a provider makes of it."""

    key: str
    """Where it stands in the profile: `instructions.system`."""
    fate: Fate
    why: str | None = None


NO_PROFILE = Profile()
LISTS = ("skills", "plugins", "instructions.append", "permissions.allow", "permissions.deny")
"""What is put together with the base's; any other list replaces it."""


def merged(base: Mapping[str, Any], own: Mapping[str, Any], at: str = "") -> dict[str, Any]:
    """Return the tables of a profile on those of its base."""
    result = dict(base)
    for key, value in own.items():
        path, before = f"{at}{key}", result.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            value = merged(before, value, f"{path}.")
        elif path in LISTS and isinstance(before, list) and isinstance(value, list):
            value = [*before, *value]
        result[key] = value
    return result


def profile_of(table: Mapping[str, Any], source: str) -> Profile:
    """Return a profile's tables as a profile; raise `ConfigError` with one line that says where it is wrong."""
    try:
        profile = msgspec.convert(table, Profile)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        place = f" in {where.strip('`.')}" if where.strip("`.") else ""
        raise ConfigError(
            f"{source}: {what[:1].lower()}{what[1:]}{place}", hint="README lists what a profile may say"
        ) from error
    for name, server in profile.mcp.servers.items():
        if (server.command is None) == (server.url is None):
            raise ConfigError(f"{source}: the MCP server {name} needs a command or a url, and not both")
    return profile


def asked(profile: Profile) -> tuple[str, ...]:
    """Return what a profile asks for, by the keys it would stand under; what is as it would be without is left out."""
    told: dict[str, Any] = msgspec.to_builtins(profile)
    usual: dict[str, Any] = msgspec.to_builtins(NO_PROFILE)
    for name in ("name", "base"):
        del told[name]
    found = []
    for key, value in told.items():
        if isinstance(value, dict):
            found += [f"{key}.{inner}" for inner, one in value.items() if one != usual[key][inner]]
        elif value != usual[key]:
            found.append(key)
    return tuple(found)
