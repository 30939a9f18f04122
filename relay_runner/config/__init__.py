"""Where files are, what a person configured, and what a program inside inherits."""

from __future__ import annotations

from relay_runner.config.environment import (
    CREDENTIALS,
    INSIDE_VARIABLE,
    KEPT_NAMES,
    SCRUBBED_NAMES,
    SCRUBBED_PREFIXES,
    scrub,
    unproxied,
)
from relay_runner.config.hidden import hidden
from relay_runner.config.places import APP, HOME_VARIABLE, AgentPaths, Paths, paths, private_dir, write_private
from relay_runner.config.project import NARROW_APPROVAL_MODES, PROJECT_FILE
from relay_runner.config.settings import (
    APPROVAL_MODES,
    MAX_ATTACHMENT_MIB,
    MAX_DEADLINE_S,
    MIB,
    LimitSettings,
    ProviderSettings,
    Settings,
    check_lease,
    load,
)

__all__ = [
    "APP",
    "APPROVAL_MODES",
    "CREDENTIALS",
    "HOME_VARIABLE",
    "INSIDE_VARIABLE",
    "KEPT_NAMES",
    "MAX_ATTACHMENT_MIB",
    "MAX_DEADLINE_S",
    "MIB",
    "NARROW_APPROVAL_MODES",
    "PROJECT_FILE",
    "SCRUBBED_NAMES",
    "SCRUBBED_PREFIXES",
    "AgentPaths",
    "LimitSettings",
    "Paths",
    "ProviderSettings",
    "Settings",
    "check_lease",
    "hidden",
    "load",
    "paths",
    "private_dir",
    "scrub",
    "unproxied",
    "write_private",
]
