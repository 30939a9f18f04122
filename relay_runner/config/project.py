"""What a project's file may ask for: less than the person allows, never more.

It lies in a folder that somebody else may have written (a clone, a shared temporary folder), so it must not choose what
runs, with which secrets, without asking, for whom, or where messages go.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from relay_runner.errors import ConfigError
from relay_runner.protocol.permissions import PERMISSION_DEADLINE_S

PROJECT_FILE = ".relay-runner.toml"
NARROW_APPROVAL_MODES = ("ask", "read-only")
"""The modes that it may ask for."""
LEAST_DEADLINE_S = 60.0
"""A shorter deadline would answer for the person: nobody reads and answers faster."""
_REFUSED = (
    "relay_url",
    "relay_token",
    "relay_token_file",
    "max_attachment_mib",
    "lease_s",
    "limits",
    "budget",
    "providers",
)
_THE_PERSONS = ("provider", "model", "effort", "tags")


def find(cwd: Path) -> tuple[Path | None, tuple[str, ...]]:
    """Return the file of the folder or its nearest parent; strangers' are passed over, with a note for each."""
    notes: list[str] = []
    for folder in (cwd, *cwd.parents):
        file = folder / PROJECT_FILE
        try:
            if not file.is_file():
                continue
            owners = _owners(file)
        except OSError:
            continue  # gone, or in a folder that is not ours to enter
        if owners <= {0, os.getuid()}:
            return file, tuple(notes)
        notes.append(f"ignored {file}: it belongs to another user")
    return None, tuple(notes)


def _owners(file: Path) -> set[int]:
    """Return who made the file, and who made its name where that is a link."""
    return {file.lstat().st_uid, file.stat().st_uid}


def narrowed(table: Mapping[str, Any], file: Path, user: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return what of a project's settings is taken over the user's, and a note of what is not."""
    for key in _REFUSED:
        if key in table:
            raise ConfigError(f"{key} is not allowed in {file}", hint="set it in your own config.toml")
    taken = {key: value for key, value in table.items() if key not in _THE_PERSONS}
    mode = taken.get("approval_mode")
    if mode is not None and mode not in NARROW_APPROVAL_MODES:
        raise ConfigError(
            f"approval_mode {mode!r} is not allowed in {file}",
            hint=f"use {' or '.join(NARROW_APPROVAL_MODES)} there, or --approval-mode",
        )
    if user.get("approval_mode") == "read-only":
        taken.pop("approval_mode", None)  # `ask` would be more than the person allows
    if not LEAST_DEADLINE_S <= taken.get("permission_deadline_s", LEAST_DEADLINE_S) <= _deadline(user):
        del taken["permission_deadline_s"]
    ignored = [key for key in table if key not in taken and key != "approval_mode"]
    if not ignored:
        return taken, ()
    return taken, (f"{file}: ignored {', '.join(ignored)}; a project can only narrow what you allow",)


def _deadline(user: Mapping[str, Any]) -> float:
    asked = user.get("permission_deadline_s", PERMISSION_DEADLINE_S)
    # One that is wrong is told of where all settings are judged; a project's own is none the less bounded by it.
    return max(float(asked), LEAST_DEADLINE_S) if isinstance(asked, int | float) else PERMISSION_DEADLINE_S
