"""A profile in Claude Code's own words: arguments, settings, plugins, a home of its own; and what of it is applied.

Seen on 2.1.197: `claudeMdExcludes` leaves instruction files out by their paths, `--setting-sources` whole settings
files, and `--strict-mcp-config` every MCP server that is not in `--mcp-config`.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from relay_runner.config import private_dir, write_private
from relay_runner.errors import ConfigError
from relay_runner.protocol.profiles import McpServer, Profile, Projected
from relay_runner.providers import projection
from relay_runner.providers.base import LaunchSpec
from relay_runner.providers.claude.home import KEY_TAIL, ClaudeHome
from relay_runner.providers.projection import APPLIED, Says, partly

HOME = "claude-home"
SKILLS = "claude-skills"
QUIET_PLUGIN = "claude-plugin"
SYSTEM_FILE = "claude-system-prompt.md"
APPEND_FILE = "claude-append-prompt.md"
MCP_FILE = "claude-mcp.json"
READ_ONLY = "read-only"
INSTRUCTION_FILES = ("CLAUDE.md", "CLAUDE.local.md", ".claude/CLAUDE.md", ".claude/rules/**")
SOURCES_FLAG = "--setting-sources"
NO_SOURCES = f"{SOURCES_FLAG}="

SAYS: Says = {
    "home": partly("it has settings and sessions of its own; a log-in stays behind, so it needs a key in ANTHROPIC_*"),
    "relay.context": partly("the relay's skills are left out; an envelope still says what it is"),
    "instructions.repo": APPLIED,
    "instructions.global": APPLIED,
    "instructions.system": APPLIED,
    "instructions.append": APPLIED,
    "skills": APPLIED,
    "plugins": APPLIED,
    "mcp.mode": APPLIED,
    "mcp.servers": APPLIED,
    "hooks.mode": partly("the user's and the project's settings files are left out whole, not only their hooks"),
    "permissions.allow": APPLIED,
    "permissions.deny": APPLIED,
}


def project(profile: Profile) -> tuple[Projected, ...]:
    """Return what becomes of a profile."""
    return projection.project(profile, SAYS, "Claude Code has nothing like it")


def placed(spec: LaunchSpec) -> LaunchSpec:
    """Return the spec with the home that its profile wants; one of its own is made where it is missing.

    The log-in of the user stays where it is: two homes that refresh one log-in would throw each other out.
    """
    if not spec.isolated_home:
        return spec
    folder = private_dir(spec.agent_dir / HOME)
    main = folder / ".claude.json"
    if not main.exists():
        key = spec.environ.get("ANTHROPIC_API_KEY", "")
        trusted = spec.trust_folder or ClaudeHome.of(spec.environ).trusts(spec.cwd)
        content = {
            "hasCompletedOnboarding": True,
            "customApiKeyResponses": {"approved": [key[-KEY_TAIL:]] if key else [], "rejected": []},
            "projects": {str(spec.cwd): {"hasTrustDialogAccepted": True}} if trusted else {},
        }
        write_private(main, msgspec.json.encode(content))
    return replace(spec, environ={**spec.environ, "CLAUDE_CONFIG_DIR": str(folder)})


def arguments(spec: LaunchSpec) -> list[str]:
    """Return the arguments, with every file that they name rendered into the agent's folder."""
    profile, words = spec.profile, list[str]()
    for folder in (*profile.plugins, *_skills(spec)):
        words += ["--plugin-dir", folder]
    if _strict(spec) or profile.mcp.servers:
        servers = {} if _without_servers(spec) else {n: _server(one) for n, one in profile.mcp.servers.items()}
        words += ["--mcp-config", _file(spec, MCP_FILE, msgspec.json.encode({"mcpServers": servers}).decode())]
    if _strict(spec):
        words.append("--strict-mcp-config")
    if profile.instructions.system is not None:
        words += ["--system-prompt-file", _file(spec, SYSTEM_FILE, profile.instructions.system)]
    if text := appended(spec):
        words += ["--append-system-prompt-file", _file(spec, APPEND_FILE, text)]
    if profile.hooks.mode == "none":
        words.append(NO_SOURCES)
    return words


def appended(spec: LaunchSpec) -> str:
    """Return what is put after the program's own system prompt."""
    return "\n\n".join(text for text in (*spec.profile.instructions.append, spec.system_prompt_append) if text)


def unread(spec: LaunchSpec) -> str | None:
    """Return the instruction file of the repository that a read-only agent was not given, where there is one."""
    if spec.approval_mode != READ_ONLY or not spec.profile.instructions.repo:
        return None
    return next((name for name in INSTRUCTION_FILES[:-1] if (spec.cwd / name).is_file()), None)


def extend(settings: dict[str, Any], spec: LaunchSpec) -> None:
    """Put what the profile says into the settings of one process."""
    permissions, profile = settings["permissions"], spec.profile
    permissions["allow"] += profile.permissions.allow
    if profile.permissions.deny:
        permissions["deny"] = [*permissions.get("deny", []), *profile.permissions.deny]
    if excluded := _excluded(spec):
        settings["claudeMdExcludes"] = excluded
    if _strict(spec):
        settings["enableAllProjectMcpServers"] = True  # none of them is started: only the question is left out


def relay_plugin(spec: LaunchSpec, plugin: Path) -> Path:
    """Return our plugin, without its skills where the model is not to be told of the relay."""
    if spec.profile.relay.context:
        return plugin
    copy = spec.agent_dir / QUIET_PLUGIN
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(plugin, copy, ignore=shutil.ignore_patterns("skills"))
    return copy


def _strict(spec: LaunchSpec) -> bool:
    """Whether only our own MCP servers count; a read-only agent has none, for nobody knows what they would write."""
    return spec.profile.mcp.mode != "host" or spec.approval_mode == READ_ONLY


def _without_servers(spec: LaunchSpec) -> bool:
    return spec.profile.mcp.mode == "none" or spec.approval_mode == READ_ONLY


def _server(server: McpServer) -> dict[str, Any]:
    if server.url is not None:
        return {"type": "http", "url": server.url}
    return {"type": "stdio", "command": server.command, "args": list(server.args), "env": dict(server.env)}


def _excluded(spec: LaunchSpec) -> list[str]:
    instructions, home = spec.profile.instructions, ClaudeHome.of(spec.environ).config_dir
    found: list[str] = []
    if not instructions.global_:
        found.append(f"{home}/**")
    if not instructions.repo:
        folders = (spec.cwd, *spec.cwd.parents)
        names = [folder / name for folder in folders for name in INSTRUCTION_FILES]
        found += [str(name) for name in names if not name.is_relative_to(home)]
        found.append(f"{spec.cwd}/**")
    return found


def _skills(spec: LaunchSpec) -> list[str]:
    """Render a plugin of the profile's skills, and return its folder; nothing where there are none."""
    if not spec.profile.skills:
        return []
    plugin = spec.agent_dir / SKILLS
    shutil.rmtree(plugin, ignore_errors=True)
    (plugin / ".claude-plugin").mkdir(parents=True)
    (plugin / "skills").mkdir()
    manifest = {"name": "profile", "version": "1.0.0", "description": "The skills of this agent's profile"}
    (plugin / ".claude-plugin" / "plugin.json").write_bytes(msgspec.json.encode(manifest))
    for folder in map(Path, spec.profile.skills):
        skills = [folder] if (folder / "SKILL.md").is_file() else [file.parent for file in folder.glob("*/SKILL.md")]
        if not skills:
            raise ConfigError(f"there is no skill in {folder}", hint="a skill is a folder with a SKILL.md")
        for skill in skills:
            (plugin / "skills" / skill.name).symlink_to(skill)
    return [str(plugin)]


def _file(spec: LaunchSpec, name: str, content: str) -> str:
    write_private(spec.agent_dir / name, content.encode())
    return str(spec.agent_dir / name)
