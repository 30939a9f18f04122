"""The user's own files: read, never written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from relay_runner.providers.claude.home import ClaudeHome


def home(folder: Path, **main: Any) -> ClaudeHome:
    (folder / ".claude.json").write_text(json.dumps(main))
    return ClaudeHome.of({"HOME": str(folder)})


def test_an_empty_home_says_no_to_everything(tmp_path: Path) -> None:
    nobody = ClaudeHome.of({"HOME": str(tmp_path)})
    assert not nobody.onboarded()
    assert not nobody.logged_in({})
    assert not nobody.trusts(tmp_path)
    assert nobody.transcript("11111111-2222-3333-4444-555555555555") is None
    assert list(tmp_path.iterdir()) == []


def test_a_broken_file_is_as_good_as_none(tmp_path: Path) -> None:
    (tmp_path / ".claude.json").write_text("{broken")
    assert not ClaudeHome.of({"HOME": str(tmp_path)}).onboarded()


def test_onboarding(tmp_path: Path) -> None:
    assert home(tmp_path, hasCompletedOnboarding=True).onboarded()


@pytest.mark.parametrize("name", ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_USE_BEDROCK"])
def test_a_key_in_the_environment_is_a_login(tmp_path: Path, name: str) -> None:
    assert home(tmp_path).logged_in({name: "x"})


def test_an_account_is_a_login(tmp_path: Path) -> None:
    assert home(tmp_path, oauthAccount={"emailAddress": "a@b"}).logged_in({})


def test_credentials_are_a_login(tmp_path: Path) -> None:
    (tmp_path / ".claude").mkdir()
    (tmp_path / ".claude" / ".credentials.json").write_text("{}")
    assert home(tmp_path).logged_in({})


@pytest.mark.parametrize("settings", [{"apiKeyHelper": "cmd"}, {"env": {"ANTHROPIC_AUTH_TOKEN": "x"}}])
def test_settings_can_log_in(tmp_path: Path, settings: dict[str, Any]) -> None:
    (tmp_path / ".claude").mkdir()
    (tmp_path / ".claude" / "settings.json").write_text(json.dumps(settings))
    assert home(tmp_path).logged_in({})


def test_a_new_key_is_asked_about(tmp_path: Path) -> None:
    key = "sk-ant-" + "x" * 40
    assert home(tmp_path).asks_for_key({"ANTHROPIC_API_KEY": key})
    assert not home(tmp_path).asks_for_key({"ANTHROPIC_API_KEY": key, "ANTHROPIC_AUTH_TOKEN": "t"})
    assert not home(tmp_path).asks_for_key({})
    for answer in ("approved", "rejected"):
        known = home(tmp_path, customApiKeyResponses={answer: [key[-20:]]})
        assert not known.asks_for_key({"ANTHROPIC_API_KEY": key})


def test_trust_comes_from_the_folder_or_one_above(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    trusting = home(tmp_path, projects={str(tmp_path / "a"): {"hasTrustDialogAccepted": True}})
    assert trusting.trusts(inner)
    assert not trusting.trusts(tmp_path)
    assert not home(tmp_path, projects={str(inner): {"hasTrustDialogAccepted": False}}).trusts(inner)


def test_the_config_folder_can_be_moved(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / ".claude.json").write_text('{"hasCompletedOnboarding": true}')
    moved = ClaudeHome.of({"HOME": str(tmp_path), "CLAUDE_CONFIG_DIR": str(tmp_path / "c")})
    assert moved.onboarded()
    assert moved.state_file(7) == tmp_path / "c" / "sessions" / "7.json"


def test_a_transcript_is_found_in_any_folder(tmp_path: Path) -> None:
    file = tmp_path / ".claude" / "projects" / "-somewhere" / "11111111-2222-3333-4444-555555555555.jsonl"
    file.parent.mkdir(parents=True)
    file.write_text("")
    assert home(tmp_path).transcript(file.stem) == file
    assert home(tmp_path).transcript("../*") is None
