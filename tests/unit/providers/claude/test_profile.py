"""A profile as arguments and settings of Claude Code."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from relay_runner.errors import ConfigError
from relay_runner.protocol.profiles import profile_of
from relay_runner.providers.base import LaunchSpec
from relay_runner.providers.claude import launch, profile
from relay_runner.providers.claude.home import ClaudeHome
from tests.unit.providers.claude.test_launch import after, plan, spec  # noqa: F401 - a fixture


def shaped(spec: LaunchSpec, **table: Any) -> LaunchSpec:
    """Return the spec with a profile."""
    return replace(spec, profile=profile_of(table, "test"))


def test_without_a_profile_nothing_is_added(spec: LaunchSpec) -> None:
    assert profile.arguments(spec) == [] and profile.placed(spec) is spec
    assert "claudeMdExcludes" not in launch.settings_of(spec)
    assert after(plan(spec).argv, "--plugin-dir") == str(launch.plugin_dir())


def test_texts_go_by_private_files_and_add_up(spec: LaunchSpec) -> None:
    made = shaped(spec, instructions={"system": "be brief", "append": ["one", "two"]})
    argv = plan(replace(made, system_prompt_append="three")).argv
    for flag, text in {
        "--system-prompt-file": "be brief",
        "--append-system-prompt-file": "one\n\ntwo\n\nthree",
    }.items():
        file = Path(after(argv, flag))
        assert file.read_text() == text and file.stat().st_mode & 0o777 == 0o600


def test_instructions_are_left_out_by_their_paths(spec: LaunchSpec, tmp_path: Path) -> None:
    home = ClaudeHome.of(spec.environ).config_dir
    excluded = launch.settings_of(shaped(spec, instructions={"global": False}))["claudeMdExcludes"]
    assert excluded == [f"{home}/**"]
    excluded = launch.settings_of(shaped(spec, instructions={"repo": False}))["claudeMdExcludes"]
    assert f"{tmp_path}/**" in excluded and f"{tmp_path.parent}/CLAUDE.md" in excluded
    assert not [one for one in excluded if one.startswith(f"{home}/")], "the user's own are not the project's"


def test_mcp_servers_stand_in_a_private_file(spec: LaunchSpec) -> None:
    servers = {"x": {"command": "c", "args": ["a"], "env": {"KEY": "s3cret"}}, "y": {"url": "http://y"}}
    for mode, names, strict in (("host", {"x", "y"}, False), ("only", {"x", "y"}, True), ("none", set(), True)):
        made = shaped(spec, mcp={"mode": mode, "servers": servers})
        argv = plan(made).argv
        file = Path(after(argv, "--mcp-config"))
        assert set(json.loads(file.read_text())["mcpServers"]) == names and file.stat().st_mode & 0o777 == 0o600
        assert ("--strict-mcp-config" in argv) is strict
        assert ("enableAllProjectMcpServers" in launch.settings_of(made)) is strict
        assert "s3cret" not in " ".join(argv)


def test_who_may_only_read_has_no_mcp_server(spec: LaunchSpec) -> None:
    made = replace(shaped(spec, mcp={"servers": {"x": {"command": "c"}}}), approval_mode="read-only")
    argv = plan(made).argv
    assert "--strict-mcp-config" in argv
    assert json.loads(Path(after(argv, "--mcp-config")).read_text()) == {"mcpServers": {}}


def test_rules_join_ours(spec: LaunchSpec) -> None:
    settings = launch.settings_of(shaped(spec, permissions={"allow": ["Bash(ls:*)"], "deny": ["WebFetch"]}))
    assert "Bash(ls:*)" in settings["permissions"]["allow"] and settings["permissions"]["deny"] == ["WebFetch"]
    assert any(rule.startswith("Bash(relay-runner send") for rule in settings["permissions"]["allow"])


def test_without_hooks_no_settings_file_counts_and_ours_still_do(spec: LaunchSpec) -> None:
    made = shaped(spec, hooks={"mode": "none"})
    assert "--setting-sources=" in plan(made).argv and launch.settings_of(made)["hooks"]
    assert launch.settings_of(made)["statusLine"]["command"].endswith(" -")


def test_skills_become_a_plugin_that_is_rendered_anew(spec: LaunchSpec, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / "skills" / name).mkdir(parents=True)
        (tmp_path / "skills" / name / "SKILL.md").touch()
    for folders, names in (
        ([str(tmp_path / "skills")], ["one", "two"]),
        ([str(tmp_path / "skills" / "two")], ["two"]),
    ):
        (folder,) = [w for w in profile.arguments(shaped(spec, skills=folders)) if w != "--plugin-dir"]
        assert sorted(one.name for one in (Path(folder) / "skills").iterdir()) == names
        assert (Path(folder) / ".claude-plugin" / "plugin.json").is_file()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no skill in"):
        profile.arguments(shaped(spec, skills=[str(tmp_path / "empty")]))
    assert profile.arguments(shaped(spec, plugins=["/p", "/q"])) == ["--plugin-dir", "/p", "--plugin-dir", "/q"]


def test_our_plugin_without_skills_keeps_its_hooks(spec: LaunchSpec) -> None:
    made = shaped(spec, relay={"context": False})
    for _ in range(2):
        folder = Path(after(plan(made).argv, "--plugin-dir"))
    assert (folder / "hooks" / "hooks.json").is_file() and not (folder / "skills").exists()


def test_a_home_of_its_own_is_made_once_and_knows_the_key(spec: LaunchSpec) -> None:
    environ = {**spec.environ, "ANTHROPIC_API_KEY": "sk-" + "k" * 30}
    made = replace(spec, isolated_home=True, environ=environ, trust_folder=True)
    placed = profile.placed(made)
    home = ClaudeHome.of(placed.environ)
    assert home.config_dir == spec.agent_dir / "claude-home" and home.main_file.stat().st_mode & 0o777 == 0o600
    assert home.onboarded() and home.trusts(spec.cwd) and not home.asks_for_key(environ)
    home.main_file.write_text('{"mine": 1}')
    assert profile.placed(made).environ["CLAUDE_CONFIG_DIR"] == str(home.config_dir)
    assert home.main_file.read_text() == '{"mine": 1}', "what the program wrote there stays"
