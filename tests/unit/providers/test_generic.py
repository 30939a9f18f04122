"""What the generic provider knows before a start."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay_runner.errors import ConfigError, ProviderNotFound, ProviderUnsupported
from relay_runner.providers.generic import GenericProvider
from tests.contract.providers import launch_spec


def test_the_command_is_taken_as_it_is(tmp_path: Path) -> None:
    plan = GenericProvider().plan(launch_spec(tmp_path, "python3", "-i", label="calc"))
    assert plan.argv == ("python3", "-i")
    assert plan.title == "calc (python3)"
    assert plan.session_id is None


def test_a_configured_command_comes_first(tmp_path: Path) -> None:
    plan = GenericProvider().plan(launch_spec(tmp_path, "-i", command=("python3",)))
    assert plan.argv == ("python3", "-i")


def test_a_session_cannot_be_resumed_and_a_person_is_told(tmp_path: Path) -> None:
    assert GenericProvider().plan(launch_spec(tmp_path, "sh", resume_session="x")).notes


def test_what_cannot_start_is_refused(tmp_path: Path) -> None:
    provider = GenericProvider()
    with pytest.raises(ConfigError, match="needs a command"):
        provider.check(launch_spec(tmp_path))
    with pytest.raises(ProviderNotFound, match="no-such-program"):
        provider.check(launch_spec(tmp_path, "no-such-program"))
    with pytest.raises(ProviderUnsupported, match="read-only"):
        provider.check(launch_spec(tmp_path, "sh", approval_mode="read-only"))
    with pytest.raises(ProviderUnsupported, match="system prompt"):
        provider.check(launch_spec(tmp_path, "sh", system_prompt_append="be brief"))
    provider.check(launch_spec(tmp_path, "sh", "-i", approval_mode="bypass"))
    (tmp_path / "own").touch()
    provider.check(launch_spec(tmp_path, "./own"))
