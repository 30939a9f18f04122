"""A profile as settings of a Codex thread."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from relay_runner.protocol.control import ControlEndpoint
from relay_runner.protocol.profiles import profile_of
from relay_runner.providers.base import LaunchSpec
from relay_runner.providers.codex import launch, profile


@pytest.fixture
def spec(tmp_path: Path) -> LaunchSpec:
    (tmp_path / ".codex").mkdir()
    (tmp_path / ".codex" / "config.toml").write_text('[mcp_servers.theirs]\ncommand = "t"\n')
    (tmp_path / "work" / ".codex").mkdir(parents=True)
    (tmp_path / "work" / ".codex" / "config.toml").write_text('[mcp_servers.projects]\ncommand = "p"\n')
    return LaunchSpec(
        agent_id="a",
        runner_id="r",
        cwd=tmp_path / "work",
        agent_dir=tmp_path,
        control=ControlEndpoint(url="", port=1, secret="s", provider_session_id="p"),
        environ={"HOME": str(tmp_path), "PATH": "/bin"},
    )


def shaped(spec: LaunchSpec, **table: Any) -> LaunchSpec:
    return replace(spec, profile=profile_of(table, "test"))


def test_without_a_profile_nothing_is_added(spec: LaunchSpec) -> None:
    assert profile.settings(spec) == {} and "baseInstructions" not in launch.thread(spec, None)
    assert profile.instructions(spec, "theirs", "ours") == "theirs\n\nours"


def test_words_of_the_developer_add_up(spec: LaunchSpec) -> None:
    made = shaped(spec, instructions={"append": ["one", "two"], "system": "base"})
    assert profile.instructions(replace(made, system_prompt_append="three"), "theirs", "ours") == (
        "theirs\n\nours\n\none\n\ntwo\n\nthree"
    )
    assert launch.thread(made, None)["baseInstructions"] == "base"
    quiet = shaped(spec, instructions={"global": False}, relay={"context": False})
    assert profile.instructions(quiet, "theirs", "ours") == ""


def test_servers_of_the_host_are_switched_off_by_name(spec: LaunchSpec) -> None:
    servers = {"mine": {"command": "c", "args": ["a"], "env": {"K": "v"}}, "far": {"url": "http://f"}}
    mine = {"mine": {"command": "c", "args": ["a"], "env": {"K": "v"}}, "far": {"url": "http://f"}}
    off = {"theirs": {"enabled": False}, "projects": {"enabled": False}}
    for mode, expected in (("host", mine), ("only", {**off, **mine}), ("none", off)):
        made = shaped(spec, mcp={"mode": mode, "servers": servers})
        assert launch.thread(made, None)["config"]["mcp_servers"] == expected


def test_who_may_only_read_has_no_mcp_server(spec: LaunchSpec) -> None:
    made = replace(shaped(spec, mcp={"servers": {"mine": {"command": "c"}}}), approval_mode="read-only")
    assert profile.settings(made)["mcp_servers"] == {"theirs": {"enabled": False}, "projects": {"enabled": False}}


def test_what_else_can_be_left_out(spec: LaunchSpec) -> None:
    made = shaped(spec, instructions={"repo": False}, hooks={"mode": "none"})
    assert profile.settings(made) == {"project_doc_max_bytes": 0, "features.hooks": False}


def test_skills_come_after_ours_or_instead(spec: LaunchSpec) -> None:
    ours = str(launch.skills_dir())
    assert launch.skill_roots(spec) == [ours]
    assert launch.skill_roots(shaped(spec, skills=["/s"])) == [ours, "/s"]
    assert launch.skill_roots(shaped(spec, skills=["/s"], relay={"context": False})) == ["/s"]
