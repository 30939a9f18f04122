"""The provider programs that tests drive: each pinned version has a folder in tests/pins, and is installed in .node."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# The versions that tests drive where nobody asks for another one.
DEFAULT = {"claude-code": "2.1.197", "codex": "0.171.0", "opencode": "1.18.33"}
# The command that each package brings.
COMMAND = {"claude-code": "claude", "codex": "codex", "opencode": "opencode"}


def version(package: str) -> str:
    """Return the version that this run drives; `RELAY_RUNNER_TEST_CODEX=0.171.0` and the like ask for another one."""
    return os.environ.get(variable(package), DEFAULT[package])


def variable(package: str) -> str:
    """Return the environment variable that asks for another version of a package."""
    return f"RELAY_RUNNER_TEST_{package.upper().replace('-', '_')}"


def program(package: str) -> Path:
    """Return the package's command in the version that this run drives; skip the test where it is not installed."""
    found = ROOT / ".node" / f"{package}-{version(package)}" / "node_modules" / ".bin" / COMMAND[package]
    if not found.exists():
        pytest.skip(f"{package} {version(package)} is not installed: run ./scripts/setup --node")
    return found
