"""Which flags a program knows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from relay_runner.providers.claude.flags import FILE, offers

HELP = """Usage: claude [options]

Options:
  -c, --continue                        Continue --unlisted things
  --disallowedTools, --disallowed-tools <tools...>
                                        Names, as in --nowhere
  --system-prompt-snapshot <on|off>     Record the system prompt
"""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "bin").mkdir()
    return {"PATH": f"{tmp_path}/bin:/usr/bin:/bin"}


def program(tmp_path: Path, text: str, *, fails: bool = False) -> Path:
    file = tmp_path / "bin" / "claude"
    file.with_suffix(".new").write_text(
        f"#!/bin/sh\necho x >> {tmp_path}/asked\ncat <<'END'\n{text}\nEND\nexit {int(fails)}\n"
    )
    file.with_suffix(".new").chmod(0o700)
    file.with_suffix(".new").replace(file)
    return file


def asked(tmp_path: Path) -> int:
    file = tmp_path / "asked"
    return len(file.read_text().split()) if file.exists() else 0


def test_a_flag_is_known_by_the_help(tmp_path: Path, environ: dict[str, str]) -> None:
    program(tmp_path, HELP)
    known = [
        flag
        for flag in ("--continue", "--disallowedTools", "--system-prompt-snapshot", "--unlisted", "--nowhere", "--bare")
        if offers("claude", flag, tmp_path, environ)
    ]
    assert known == ["--continue", "--disallowedTools", "--system-prompt-snapshot"]
    assert asked(tmp_path) == 1
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


def test_another_program_is_asked_again(tmp_path: Path, environ: dict[str, str]) -> None:
    file = program(tmp_path, "Options:\n  --old\n")
    os.utime(file, ns=(1, 1))
    assert not offers("claude", "--continue", tmp_path, environ)
    program(tmp_path, HELP)
    assert offers("claude", "--continue", tmp_path, environ)
    assert not offers("claude", "--old", tmp_path, environ)
    assert asked(tmp_path) == 2


def test_what_cannot_be_asked_knows_nothing_and_is_asked_again(tmp_path: Path, environ: dict[str, str]) -> None:
    assert not offers("claude", "--continue", tmp_path, environ)
    program(tmp_path, HELP, fails=True)
    assert not offers("claude", "--continue", tmp_path, environ)
    program(tmp_path, HELP)
    assert offers("claude", "--continue", tmp_path, environ)


def test_a_broken_note_is_made_anew(tmp_path: Path, environ: dict[str, str]) -> None:
    program(tmp_path, HELP)
    (tmp_path / FILE).write_text('{"program": 1')
    assert offers("claude", "--continue", tmp_path, environ)
    assert offers("claude", "--continue", tmp_path, environ) and asked(tmp_path) == 1
