"""What the provider's program finds around it: its environment and a private folder of commands.

Nothing of an enclosing agent or tmux gets through, and the relay's own token is never in it: the program talks to the
control server with a secret of its own.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

from relay_runner.config import CREDENTIALS, AgentPaths, private_dir, scrub, unproxied, write_private
from relay_runner.protocol.agents import Auth
from relay_runner.protocol.control import ControlEndpoint
from relay_runner.runner.options import RunnerOptions


def of_provider(
    base: Mapping[str, str],
    options: RunnerOptions,
    runner_id: str,
    control: ControlEndpoint,
    paths: AgentPaths,
    auth: Auth | None = None,
) -> dict[str, str]:
    """Return the environment that the program inherits; of the relay's token only what is no secret, as it is now."""
    environ = scrub(base)
    environ.update(options.env)
    environ.update(unproxied(environ))
    environ.update(
        {
            "PATH": f"{paths.bin}:{environ.get('PATH', '/usr/local/bin:/usr/bin:/bin')}",
            "AGENT_RELAY_URL": control.url,
            "AGENT_RELAY_SOCKET": control.socket or "",
            "AGENT_RELAY_TOKEN": control.secret,
            "AGENT_RELAY_ID": options.agent_id,
            "AGENT_RELAY_RUNNER_ID": runner_id,
            "AGENT_RELAY_RUNNER_PORT": str(control.port),
            "AGENT_RELAY_PROVIDER_SESSION_ID": control.provider_session_id,
            "AGENT_RELAY_APPROVAL": options.approval_mode,
            "AGENT_RELAY_CONTEXT_STATE_DIR": str(paths.root),
            "AGENT_RELAY_WORKSPACE_MODE": str(options.workspace.get("mode", "")),
        }
    )
    if auth is not None:
        environ.update(
            {
                "AGENT_RELAY_TOKEN_JTI": auth.jti,
                "AGENT_RELAY_TOKEN_PROFILE": auth.profile_id,
                "AGENT_RELAY_TOKEN_EXPIRES_AT": f"{auth.expires_at:.0f}",
            }
        )
    for name in ("RELAY_RUNNER_TOKEN", "RELAY_RUNNER_TOKEN_FILE"):
        environ.pop(name, None)
    return environ


def without_foreign(environ: Mapping[str, str], own: Collection[str]) -> dict[str, str]:
    """Return an environment without the keys of models that are not the program's own."""
    return {name: value for name, value in environ.items() if name in own or name not in CREDENTIALS}


def unrunnable(folder: Path) -> str | None:
    """Say why the programs in the folder cannot be run, or None: its file system may be mounted `noexec`."""
    if all(os.access(script, os.X_OK) for script in folder.iterdir() if not script.name.startswith(".")):
        return None
    return f"cannot run programs in {folder} (is it mounted noexec?): no hooks, no relay-runner inside"


def write_inside(paths: AgentPaths, programs: Mapping[str, tuple[str, ...]], cwd: Path) -> None:
    """Put what the program's commands need of ours where a sandboxed one can read it."""
    write_programs(paths.bin, programs)
    write_private(paths.folder, os.fsencode(cwd))


def write_programs(folder: Path, programs: Mapping[str, tuple[str, ...]]) -> None:
    """Put `relay-runner` and `programs` as small scripts into the folder that is first on the program's PATH."""
    private_dir(folder)
    ours = {"relay-runner": (sys.executable, "-X", "utf8", "-I", "-m", "relay_runner")}
    for name, argv in {**ours, **programs}.items():
        script = folder / name
        temporary = folder / f".{name}.tmp"
        # As bytes: a folder on the way may have a name that is no text.
        temporary.write_bytes(os.fsencode(f'#!/bin/sh\nexec {shlex.join(argv)} "$@"\n'))
        temporary.chmod(0o700)
        temporary.replace(script)
