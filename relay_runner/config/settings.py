"""What a person configured: flag > environment > project file > user file > default.

Every value is frozen, every default stands here, and the environment is read only when `load` is called.

    user file     <config folder>/config.toml      (~/.config/relay-runner, or $RELAY_RUNNER_HOME)
    project file  .relay-runner.toml, in the working folder or the nearest parent that has one
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import msgspec

from relay_runner.config import project
from relay_runner.config.places import Paths
from relay_runner.errors import ConfigError
from relay_runner.protocol.attachments import MAX_ATTACHMENT_BYTES
from relay_runner.protocol.budgets import Budgets
from relay_runner.protocol.deliveries import MAX_LEASE_S
from relay_runner.protocol.messages import LEASE_S
from relay_runner.protocol.permissions import PERMISSION_DEADLINE_S

MIB = 1024 * 1024
MAX_ATTACHMENT_MIB = 1024
"""What `max_attachment_mib` may be at most."""
APPROVAL_MODES = ("ask", "accept-edits", "auto", "read-only", "bypass")
MAX_DEADLINE_S = 24 * 3600.0
MIN_LEASE_S = 1.0


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """`[providers.NAME]` of a settings file."""

    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    shutdown_timeout_s: float | None = None
    """How long its program gets from TERM to KILL; None is what suits the provider."""
    isolated_home: bool = False
    secrets: str | None = None
    """A folder; with it the home is isolated."""


class LimitSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[limits]` of a settings file."""

    least_s: Annotated[float, msgspec.Meta(gt=0)] = 60.0
    """How long a rate limit holds the queue at least, and at first where its end is not told."""
    unreachable_s: Annotated[float, msgspec.Meta(gt=0)] = 120.0
    """How long a turn may do nothing but try to reach its model, where its program would try for ever."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What is configured, before flags."""

    relay_url: str | None = None
    relay_token: str | None = None
    relay_token_file: str | None = None
    """Holds the token instead; a runner that lost its token reads it again."""
    provider: str | None = None
    approval_mode: str = "ask"
    model: str | None = None
    effort: str | None = None
    tags: tuple[str, ...] = ()
    permission_deadline_s: float = PERMISSION_DEADLINE_S
    """How long an answer from elsewhere to a permission is waited for."""
    max_attachment_mib: float = MAX_ATTACHMENT_BYTES / MIB
    """The largest file that this machine's own relay takes."""
    lease_s: float = LEASE_S
    """How long this machine's own relay waits for a sign of a runner that holds a message and is gone."""
    limits: LimitSettings = field(default_factory=LimitSettings)
    budget: Budgets = field(default_factory=Budgets)
    providers: Mapping[str, ProviderSettings] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """What a person should know of the files: no setting."""

    def of(self, provider: str) -> ProviderSettings:
        """Return the settings of one provider."""
        return self.providers.get(provider, ProviderSettings())

    @property
    def max_attachment_bytes(self) -> int:
        """The same in bytes."""
        return int(self.max_attachment_mib * MIB)


def load(where: Paths, cwd: Path | None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read both files and the environment; raise `ConfigError` naming the file and the key that is wrong.

    Without a `cwd` there is no project, as for the relay, which serves all of them.
    """
    environ = os.environ if environ is None else environ
    table: dict[str, Any] = {}
    if where.config_file.is_file():
        table = _read(where.config_file)
    found, notes = project.find(cwd) if cwd is not None else (None, ())
    if found is not None:
        narrowed, more = project.narrowed(_read(found, frozenset({0, os.getuid()})), found, table)
        table, notes = _merge(table, narrowed), (*notes, *more)
    from_environment = {
        "relay_url": environ.get("RELAY_RUNNER_URL"),
        "relay_token": environ.get("RELAY_RUNNER_TOKEN"),
        "relay_token_file": environ.get("RELAY_RUNNER_TOKEN_FILE"),
        "provider": environ.get("RELAY_RUNNER_PROVIDER"),
    }
    if from_environment["relay_token_file"]:
        table.pop("relay_token", None)
    table.update({key: value for key, value in from_environment.items() if value})
    settings = replace(_with_token(_convert(table, "settings")), notes=notes)
    if not 0 < settings.max_attachment_mib <= MAX_ATTACHMENT_MIB:
        raise ConfigError(f"max_attachment_mib is above 0 and at most {MAX_ATTACHMENT_MIB}")
    check_lease(settings.lease_s)
    if not 0 < settings.permission_deadline_s <= MAX_DEADLINE_S:
        raise ConfigError(f"permission_deadline_s must be above 0 and at most {MAX_DEADLINE_S:g}", hint="540 is usual")
    if settings.approval_mode not in APPROVAL_MODES:
        raise ConfigError(
            f"approval_mode {settings.approval_mode!r} is unknown", hint=f"use {', '.join(APPROVAL_MODES)}"
        )
    return settings


def check_lease(lease_s: float) -> float:
    """Return a length of leases; raise `ConfigError` where a relay cannot go by it."""
    if not MIN_LEASE_S <= lease_s <= MAX_LEASE_S:
        raise ConfigError(
            f"lease_s must be from {MIN_LEASE_S:g} to {MAX_LEASE_S:g} seconds", hint=f"the default is {LEASE_S:g}"
        )
    return lease_s


def _with_token(settings: Settings) -> Settings:
    """Return the settings with the token that stands in a file of its own, where none is given directly."""
    if settings.relay_token is not None or settings.relay_token_file is None:
        return settings
    file = Path(settings.relay_token_file).expanduser()
    try:
        token = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or "it holds no token"
        hint = "write it there (`relay token new --out FILE` does), or name another file"
        raise ConfigError(f"cannot read the relay's token in {file} ({why})", hint=hint) from error
    return replace(settings, relay_token=token)


def _read(file: Path, owners: frozenset[int] | None = None) -> dict[str, Any]:
    """Return what stands in a settings file; with `owners`, only where one of these users owns it."""
    try:
        with file.open("rb") as stream:
            # Of the file that was opened, so that nobody can put another one in its place meanwhile.
            if owners is not None and os.fstat(stream.fileno()).st_uid not in owners:
                raise ConfigError(f"{file} belongs to somebody else", hint="remove it, or work in another folder")
            table = tomllib.load(stream)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"cannot read {file} ({error})", hint="mend the file, or move it away") from error
    _convert(table, str(file))
    return table


def _convert(table: Mapping[str, Any], source: str) -> Settings:
    known = set(Settings.__dataclass_fields__) - {"notes"}
    for key in table:
        if key not in known:
            raise ConfigError(f"unknown key {key!r} in {source}", hint=f"known keys are {', '.join(sorted(known))}")
    try:
        return msgspec.convert(table, Settings)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        name = where.strip(".`")
        raise ConfigError(f"{name or 'a value'} in {source} is wrong", hint=what[:1].lower() + what[1:]) from error


def _merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(low)
    for key, value in high.items():
        mine = merged.get(key)
        merged[key] = _merge(mine, value) if isinstance(mine, dict) and isinstance(value, dict) else value
    return merged
