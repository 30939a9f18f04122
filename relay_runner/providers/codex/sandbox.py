"""The sandboxes that an agent's commands run in: permission profiles of Codex, in which the relay's own is hidden.

Codex's sandbox lets a command read the whole disk, and connect to every unix socket where it has a network: by a
plain `workspace-write` an agent could read the operator's token, or order itself a shell from the tmux that it runs
in. So the profiles deny what the runner names (`LaunchSpec.hidden`), a folder at a time: a mask over a single file is
gone when that file is replaced. What the agent needs of its own folder lies in `inside`, which is opened again. Only a
place that can be written is (0.169.0, 0.171.0), so `inside` itself is a scratch folder, and what is in it is read only.
Denials hold for links and hard links, and under /proc: the sandbox has processes of its own.

`danger-full-access` is named by the older word: a profile would keep what was denied before, and fail at it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from relay_runner.config import AgentPaths, private_dir
from relay_runner.providers.base import LaunchSpec
from relay_runner.providers.codex.home import CodexHome

WORKSPACE = "workspace-write"
READ_ONLY = "read-only"
FULL_ACCESS = "danger-full-access"
PROFILES = {WORKSPACE: "relay-runner-workspace", READ_ONLY: "relay-runner-read-only"}
SANDBOXES = (READ_ONLY, WORKSPACE, FULL_ACCESS)
OWN_SETTINGS = "sandbox_workspace_write"
"""What a user's own settings say of `workspace-write`; a profile does not look at it."""
_NAMES = {profile: name for name, profile in PROFILES.items()}
_UNSANDBOXED = {"dangerFullAccess": FULL_ACCESS}


def prepare(spec: LaunchSpec) -> None:
    """Make the folders that the sandbox opens: what is not there when a command starts could be made by it."""
    for folder in _opened(spec):
        private_dir(folder)


def definitions(spec: LaunchSpec) -> list[tuple[str, object]]:
    """Return the settings that define the profiles, for the start of an app-server."""
    denied = {str(path): "deny" for path in spec.hidden}
    inside, *within = _opened(spec)
    opened = {str(inside): "write", **{str(folder): "read" for folder in within}}
    workspace = {
        "extends": ":workspace",
        "filesystem": {**_own(spec), **denied, **opened},
        "network": {"enabled": True},  # else its commands could not reach the relay
    }
    read_only = {"extends": ":read-only", "filesystem": {**denied, **opened}}
    return [
        ("default_permissions", PROFILES[WORKSPACE]),  # without one, no profile may be defined
        (f"permissions.{PROFILES[WORKSPACE]}", workspace),
        (f"permissions.{PROFILES[READ_ONLY]}", read_only),
    ]


def of_start(name: str) -> dict[str, Any]:
    """Return what thread/start, resume and fork are given for a sandbox."""
    return {"permissions": PROFILES[name]} if name in PROFILES else {"sandbox": name}


def of_settings(name: str) -> dict[str, Any]:
    """Return what a thread's settings are given for a sandbox."""
    return {"permissions": PROFILES[name]} if name in PROFILES else {"sandboxPolicy": {"type": "dangerFullAccess"}}


def without(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings that name no sandbox: they take it by one word, and refuse two."""
    return {name: value for name, value in settings.items() if name not in ("permissions", "sandboxPolicy")}


def told(policy: Any, profile: Any) -> str | None:
    """Return the name of the sandbox that a thread has, in Codex's words where it is none of ours."""
    id = profile.get("id") if isinstance(profile, Mapping) else None
    if id is not None:
        return _NAMES.get(str(id), str(id))
    kind = policy.get("type") if isinstance(policy, Mapping) else policy
    return None if kind is None else _UNSANDBOXED.get(str(kind), str(kind))


def _opened(spec: LaunchSpec) -> tuple[Path, ...]:
    """Return what the agent may see of its folder; the first one is the scratch folder that holds the others."""
    paths = AgentPaths(spec.agent_dir.resolve())
    return paths.inside, paths.bin, paths.attachments, paths.injected


def _own(spec: LaunchSpec) -> dict[str, str]:
    """Return what the user's own settings let `workspace-write` write beside the agent's folder, or not."""
    tables = [CodexHome.of(spec.environ).config(), *map(_given, pairwise(spec.args))]
    own: dict[str, Any] = {}
    for table in tables:
        found = table.get(OWN_SETTINGS)
        own.update(found if isinstance(found, dict) else {})
    roots = own.get("writable_roots")
    home = spec.environ.get("HOME", "")
    allowed = {
        (f"{home}/{root[2:]}" if root.startswith("~/") else root): "write"
        for root in (roots if isinstance(roots, list) else ())
        if isinstance(root, str) and root.startswith(("/", "~/"))
    }
    if own.get("exclude_slash_tmp") is True:
        allowed[":slash_tmp"] = "read"
    if own.get("exclude_tmpdir_env_var") is True:
        allowed[":tmpdir"] = "read"
    return allowed


def _given(words: tuple[str, str]) -> dict[str, Any]:
    """Return what a person gave as `-c key=value`, which counts more than a file."""
    try:
        return tomllib.loads(words[1]) if words[0] in ("-c", "--config") else {}
    except tomllib.TOMLDecodeError:
        return {}  # the program says what is wrong in it
