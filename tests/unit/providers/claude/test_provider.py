"""What is known before a start."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from relay_runner.errors import ProviderNotFound, ProviderNotReady, ProviderUnsupported
from relay_runner.protocol.control import ControlEndpoint
from relay_runner.providers.base import LaunchPlan, LaunchSpec
from relay_runner.providers.claude import ClaudeProvider
from relay_runner.terminal.base import Screen

SESSION = "11111111-2222-3333-4444-555555555555"


@pytest.fixture
def spec(tmp_path: Path) -> LaunchSpec:
    """A headless start in a home that is set up, with a program that is there."""
    program = tmp_path / "bin" / "claude"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    (tmp_path / "agent").mkdir()
    setup(tmp_path, projects={str(tmp_path): {"hasTrustDialogAccepted": True}})
    return LaunchSpec(
        agent_id="a",
        runner_id="r",
        cwd=tmp_path,
        agent_dir=tmp_path / "agent",
        control=ControlEndpoint(url="http://127.0.0.1:1", port=1, secret="s", provider_session_id="p"),
        environ={"HOME": str(tmp_path), "PATH": str(program.parent), "ANTHROPIC_AUTH_TOKEN": "t"},
        headless=True,
    )


def setup(home: Path, **main: Any) -> None:
    (home / ".claude.json").write_text(json.dumps({"hasCompletedOnboarding": True, **main}))


def without(spec: LaunchSpec, *names: str, **more: str) -> LaunchSpec:
    environ = {name: value for name, value in spec.environ.items() if name not in names}
    return replace(spec, environ={**environ, **more})


def test_all_is_well(spec: LaunchSpec) -> None:
    ClaudeProvider().check(spec)


def test_a_missing_program_names_the_line_that_installs_it(spec: LaunchSpec) -> None:
    with pytest.raises(ProviderNotFound, match="claude is not installed: npm install -g @anthropic-ai/claude-code"):
        ClaudeProvider().check(without(spec, PATH="/nowhere"))


def test_another_program_can_be_configured(spec: LaunchSpec, tmp_path: Path) -> None:
    other = tmp_path / "bin" / "my-claude"
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    planned = ClaudeProvider().plan(replace(spec, command=("my-claude", "--debug")))
    assert planned.argv[:2] == (str(other), "--debug")


def test_never_set_up(spec: LaunchSpec, tmp_path: Path) -> None:
    (tmp_path / ".claude.json").unlink()
    with pytest.raises(ProviderNotReady, match="never set up here: run `claude` once"):
        ClaudeProvider().check(spec)


def test_not_logged_in(spec: LaunchSpec) -> None:
    with pytest.raises(ProviderNotReady, match="not logged in"):
        ClaudeProvider().check(without(spec, "ANTHROPIC_AUTH_TOKEN"))


def test_a_key_that_would_be_asked_about(spec: LaunchSpec) -> None:
    with pytest.raises(ProviderNotReady, match="ANTHROPIC_API_KEY"):
        ClaudeProvider().check(without(spec, "ANTHROPIC_AUTH_TOKEN", ANTHROPIC_API_KEY="sk-new"))


def test_a_folder_that_is_not_trusted(spec: LaunchSpec, tmp_path: Path) -> None:
    setup(tmp_path)
    with pytest.raises(ProviderNotReady, match="--trust-folder"):
        ClaudeProvider().check(spec)
    ClaudeProvider().check(replace(spec, trust_folder=True))


def test_a_person_answers_dialogs_in_the_terminal(spec: LaunchSpec, tmp_path: Path) -> None:
    (tmp_path / ".claude.json").unlink()
    ClaudeProvider().check(replace(without(spec, "ANTHROPIC_AUTH_TOKEN"), headless=False))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"resume_session": "latest"}, "not a Claude Code session id"),
        ({"approval_mode": "yolo"}, "no approval mode"),
        ({"args": ("--continue",)}, "--continue"),
    ],
)
def test_what_cannot_be_done_is_refused(spec: LaunchSpec, change: dict[str, Any], words: str) -> None:
    with pytest.raises(ProviderUnsupported, match=words):
        ClaudeProvider().check(replace(spec, **change))


def test_a_lost_session_is_told_from_other_ends() -> None:
    provider = ClaudeProvider()
    said = Screen(lines=(f"No conversation found with session ID: {SESSION}",))
    resumed = LaunchPlan(argv=(), env={}, cwd=Path(), session_id=SESSION, resumed=True)
    assert provider.lost_session(resumed, said)
    assert not provider.lost_session(replace(resumed, resumed=False), said)
    assert not provider.lost_session(resumed, Screen(lines=("Error: x",)))
    assert not provider.lost_session(resumed, None)


def test_the_runner_reads_what_it_can_do() -> None:
    can = ClaudeProvider().capabilities
    assert can.evidence and can.results and can.steer and can.interrupt and can.resume and can.subagents and can.hooks
    assert can.permissions
    assert can.approval_modes == {"ask", "accept-edits", "auto", "read-only", "bypass"}
