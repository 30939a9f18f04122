"""Screens that real versions of Claude Code drew, as `display-message ; capture-pane -e` printed them."""

from __future__ import annotations

from pathlib import Path

from relay_runner.terminal.base import Screen
from relay_runner.terminal.screen import parse_capture

FOLDER = Path(__file__).parent / "screens"


def versions() -> list[str]:
    """Return the versions of which there are screens."""
    return sorted(folder.name for folder in FOLDER.iterdir() if folder.is_dir())


def recorded(version: str, name: str) -> Screen:
    """Return one screen."""
    return parse_capture((FOLDER / version / f"{name}.screen").read_text(encoding="utf-8"))
