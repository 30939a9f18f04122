from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from relay_runner.errors import ProviderNotFound, ProviderNotReady, ProviderUnsupported
from relay_runner.providers.base import LaunchSpec
from relay_runner.providers.codex import CodexProvider
from tests.contract.providers import launch_spec


@pytest.fixture
def spec(tmp_path: Path) -> LaunchSpec:
    program = tmp_path / "bin" / "codex"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return launch_spec(tmp_path, environ={"PATH": str(program.parent), "HOME": str(tmp_path)})


def test_what_is_known_before_a_start(spec: LaunchSpec) -> None:
    provider = CodexProvider()
    provider.check(spec)
    with pytest.raises(ProviderNotFound):
        provider.check(replace(spec, environ={"PATH": "/nowhere"}))
    for wrong in (
        replace(spec, resume_session="yesterday"),
        replace(spec, approval_mode="whatever"),
        replace(spec, args=("--model", "x")),
    ):
        with pytest.raises(ProviderUnsupported):
            provider.check(wrong)


def test_nobody_can_log_in_where_nobody_sits(spec: LaunchSpec) -> None:
    with pytest.raises(ProviderNotReady) as error:
        CodexProvider().check(replace(spec, headless=True))
    assert "codex login" in str(error.value.hint)
    assert "\n" not in str(error.value)


def test_a_lost_session_is_no_reason_to_end(spec: LaunchSpec) -> None:
    provider = CodexProvider()
    assert not provider.lost_session(provider.plan(spec), None)


def test_its_keys_are_those_that_its_settings_name(spec: LaunchSpec, tmp_path: Path) -> None:
    (tmp_path / ".codex").mkdir()
    (tmp_path / ".codex" / "config.toml").write_text('[model_providers.x]\nenv_key = "GROQ_API_KEY"\n')
    assert {"OPENAI_API_KEY", "CODEX_API_KEY", "GROQ_API_KEY"} == CodexProvider().credentials(spec)
