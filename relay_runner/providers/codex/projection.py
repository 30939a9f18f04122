"""An isolated Codex home: a folder of the agent's own, with copies of the two files that a log-in consists of.

The copies come from a folder of secrets, or from the user's own Codex home; both are only read. A file is copied again
only when its source changed: Codex renews a log-in by writing `auth.json`, and an older one would be refused then.
Nothing here ever shows a value: a path is told as its last name, its depth and a digest, a variable by its presence.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from relay_runner.config import private_dir, write_private
from relay_runner.errors import ProviderNotReady
from relay_runner.providers.base import LaunchSpec
from relay_runner.providers.codex.home import CodexHome

log = logging.getLogger(__name__)

HOME = "codex-home"
AUTH, CONFIG = "auth.json", "config.toml"
FILES = (AUTH, CONFIG)
COPIED = ".copied.json"
"""Which version of each file was copied: its digest."""
KEYS = ("OPENAI_API_KEY", "CODEX_API_KEY")
MAX_BYTES = 1024 * 1024


def isolated(spec: LaunchSpec) -> LaunchSpec:
    """Return the spec with the agent's own home in its environment, where it is to have one."""
    if not spec.isolated_home:
        return spec
    return replace(spec, environ={**spec.environ, "CODEX_HOME": str(spec.agent_dir / HOME)})


def source(spec: LaunchSpec) -> CodexHome:
    """Return where the log-in and the settings come from; for `spec` as it is asked for, not yet isolated."""
    return CodexHome(spec.secrets) if spec.secrets is not None else CodexHome.of(spec.environ)


def check(spec: LaunchSpec) -> None:
    """Raise `ProviderNotReady` where a folder of secrets does not hold what is needed."""
    if not spec.isolated_home or spec.secrets is None:
        return
    where, hint = redacted(spec.secrets), "put the missing file there; it is only read"
    if not spec.secrets.is_dir():
        raise ProviderNotReady(f"blocked: the folder of secrets {where} is not there", hint="check where it is mounted")
    if _read(spec.secrets / CONFIG) is None:
        raise ProviderNotReady(f"blocked: {CONFIG} is missing in the folder of secrets {where}", hint=hint)
    if missing := source(spec).missing_login(spec.environ):
        if (spec.secrets / AUTH).exists() and _read(spec.secrets / AUTH) is None:
            missing = f"{AUTH} cannot be read"
        elif "variable" not in missing:
            missing = f"{AUTH} is missing"
        raise ProviderNotReady(f"blocked: {missing} (folder of secrets {where})", hint=hint)


def project(spec: LaunchSpec) -> None:
    """Make the agent's own home, and copy into it what changed at its source; for `spec` not yet isolated."""
    if not spec.isolated_home:
        return
    home = private_dir(spec.agent_dir / HOME)
    copied = _copied(home)
    for name in FILES:
        data = _read(source(spec).folder / name)
        if data is None:
            if copied.pop(name, None) is not None:  # it was taken away: whoever did that meant it
                (home / name).unlink(missing_ok=True)
            continue
        digest = hashlib.sha256(data).hexdigest()
        if copied.get(name) != digest or not (home / name).exists():
            write_private(home / name, data)
            copied[name] = digest
    write_private(home / COPIED, msgspec.json.encode(copied))


def describe(spec: LaunchSpec) -> dict[str, Any]:
    """Return what others may know of the home of a spec that is isolated, or is not to be."""
    home = CodexHome.of(spec.environ)
    told: dict[str, Any] = {
        "kind": "isolated" if spec.isolated_home else "host",
        "folder": redacted(home.folder),
        "files": {name: (home.folder / name).is_file() for name in FILES},
        "environment": {name: bool(spec.environ.get(name)) for name in (*KEYS, *home.env_keys())},
    }
    if spec.isolated_home and spec.secrets is not None:
        told["secrets"] = redacted(spec.secrets)
    return told


def redacted(path: Path) -> str:
    """Return a path without its folders: its last name, how deep it lies, and 12 digits of its digest."""
    whole = path.absolute()
    digest = hashlib.sha256(str(whole).encode()).hexdigest()[:12]
    return f"{whole.name or '/'} (depth {len(whole.parts) - 1}, sha256 {digest})"


def _copied(home: Path) -> dict[str, str]:
    try:
        return msgspec.json.decode((home / COPIED).read_bytes(), type=dict[str, str])
    except (OSError, msgspec.DecodeError):
        return {}


def _read(file: Path) -> bytes | None:
    """Return a file's content, or None where there is none that can be read."""
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        log.info("%s cannot be read: %s", redacted(file), error.strerror)
        return None
    return data if len(data) <= MAX_BYTES else None
