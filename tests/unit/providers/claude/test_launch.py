"""How Claude Code is started."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from relay_runner.errors import ProviderUnsupported
from relay_runner.protocol.control import ControlEndpoint
from relay_runner.protocol.profiles import Profile
from relay_runner.providers.base import LaunchSpec
from relay_runner.providers.claude import launch
from relay_runner.providers.claude.home import ClaudeHome

SESSION = "11111111-2222-3333-4444-555555555555"


@pytest.fixture
def spec(tmp_path: Path) -> LaunchSpec:
    """A plain start."""
    (tmp_path / "agent").mkdir()
    return LaunchSpec(
        agent_id="a",
        runner_id="r",
        cwd=tmp_path,
        agent_dir=tmp_path / "agent",
        control=ControlEndpoint(url="http://127.0.0.1:1", port=1, secret="s3cret", provider_session_id="p1"),
        environ={"HOME": str(tmp_path), "PATH": "/bin"},
    )


def plan(spec: LaunchSpec) -> launch.LaunchPlan:
    return launch.plan(spec, ("claude",), ClaudeHome.of(spec.environ))


def after(argv: tuple[str, ...], flag: str) -> str:
    return argv[argv.index(flag) + 1]


def test_a_fresh_start(spec: LaunchSpec) -> None:
    planned = plan(spec)
    assert planned.argv[0] == "claude"
    assert after(planned.argv, "--session-id") == planned.session_id
    assert after(planned.argv, "--permission-mode") == "default"
    assert "--resume" not in planned.argv
    assert not planned.resumed
    assert planned.env["PATH"] == "/bin"
    assert planned.env["CLAUDE_CODE_DISABLE_AGENT_VIEW"] == "1"
    assert "CLAUDE_CODE_SANDBOXED" not in planned.env
    assert planned.programs[launch.HOOK_PROGRAM][1:3] == ("-S", "-E")
    assert plan(spec).session_id != planned.session_id


def test_the_secret_is_in_a_private_file_and_in_no_argument(spec: LaunchSpec) -> None:
    planned = plan(spec)
    file = Path(after(planned.argv, "--settings"))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    settings = json.loads(file.read_text())
    assert set(settings["hooks"]) == {*launch.HTTP_EVENTS, "PermissionRequest"}
    (hook,) = settings["hooks"]["Stop"][0]["hooks"]
    assert hook["url"] == "http://127.0.0.1:1/hooks/Stop"
    assert hook["headers"] == {"Authorization": "Bearer s3cret", "X-Relay-Process": "p1"}
    assert "s3cret" not in " ".join(planned.argv)
    assert "s3cret" not in " ".join(planned.env.values())


def test_the_agent_may_use_the_relay_without_asking(spec: LaunchSpec) -> None:
    allowed = launch.settings_of(spec)["permissions"]["allow"]
    assert "Bash(relay-runner reply:*)" in allowed
    assert not [rule for rule in allowed if "stop" in rule or "approve" in rule]


def test_a_session_with_a_transcript_is_resumed(spec: LaunchSpec, tmp_path: Path) -> None:
    file = tmp_path / ".claude" / "projects" / "-x" / f"{SESSION}.jsonl"
    file.parent.mkdir(parents=True)
    file.write_text("")
    planned = plan(replace(spec, resume_session=SESSION))
    assert after(planned.argv, "--resume") == planned.session_id == SESSION
    assert planned.resumed
    assert "--session-id" not in planned.argv


def test_a_session_without_a_transcript_begins_under_its_id(spec: LaunchSpec) -> None:
    planned = plan(replace(spec, resume_session=SESSION))
    assert after(planned.argv, "--session-id") == planned.session_id == SESSION
    assert not planned.resumed
    assert SESSION in planned.notes[0]


@pytest.mark.parametrize(
    ("mode", "wanted"),
    [("ask", "default"), ("accept-edits", "acceptEdits"), ("auto", "auto"), ("read-only", "default")],
)
def test_approval_modes(spec: LaunchSpec, mode: str, wanted: str) -> None:
    planned = plan(replace(spec, approval_mode=mode))
    assert after(planned.argv, "--permission-mode") == wanted
    forbidden = [word for word in planned.argv if word.startswith("--disallowedTools=Bash,Edit,Write,NotebookEdit")]
    assert len(forbidden) == (mode == "read-only")
    settings = launch.settings_of(replace(spec, approval_mode=mode))
    assert settings.get("disableSkillShellExecution", False) is (mode == "read-only")
    denied = {"Bash", "SendMessage", "ListAgents", "CronCreate"} & set(settings["permissions"].get("deny", ()))
    assert len(denied) == (4 if mode == "read-only" else 0)
    assert "IS_SANDBOX" not in planned.env


@pytest.mark.parametrize("user", [0, 1000])
def test_bypass(spec: LaunchSpec, monkeypatch: pytest.MonkeyPatch, user: int) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    planned = plan(replace(spec, approval_mode="bypass"))
    assert after(planned.argv, "--permission-mode") == "bypassPermissions"
    assert launch.settings_of(replace(spec, approval_mode="bypass"))["skipDangerousModePermissionPrompt"] is True
    assert ("IS_SANDBOX" in planned.env) == (user == 0)
    assert bool(planned.notes) == (user == 0)


def test_an_unknown_mode_is_refused(spec: LaunchSpec) -> None:
    with pytest.raises(ProviderUnsupported, match="no approval mode 'yolo'"):
        plan(replace(spec, approval_mode="yolo"))


def test_trust_is_for_the_process_only(spec: LaunchSpec) -> None:
    trusting = replace(spec, trust_folder=True)
    assert plan(trusting).env["CLAUDE_CODE_SANDBOXED"] == "1"
    assert launch.settings_of(trusting)["enableAllProjectMcpServers"] is True
    assert "enableAllProjectMcpServers" not in launch.settings_of(spec)


def test_what_the_person_asked_for_is_passed_on(spec: LaunchSpec) -> None:
    asked = replace(
        spec, model="opus", effort="high", system_prompt_append="be brief", label="Front desk", args=("--add-dir", "/x")
    )
    argv = plan(asked).argv
    assert (after(argv, "--model"), after(argv, "--effort")) == ("opus", "high")
    assert Path(after(argv, "--append-system-prompt-file")).read_text() == "be brief"
    assert after(argv, "--name") == plan(asked).title == "Front desk"
    assert argv[-2:] == ("--add-dir", "/x")


@pytest.mark.parametrize("arg", ["--resume", "-p", "--settings=x", "--bare", "--permission-mode"])
def test_arguments_that_are_the_runners_own_are_refused(spec: LaunchSpec, arg: str) -> None:
    with pytest.raises(ProviderUnsupported, match=arg.partition("=")[0]):
        plan(replace(spec, args=(arg,)))


def test_locks_of_older_processes_are_cleaned_away(spec: LaunchSpec) -> None:
    lock = spec.agent_dir / "rewake-old.lock"
    lock.write_text("")
    plan(spec)
    assert not lock.exists()


def test_the_plugin_is_found_and_names_only_known_events() -> None:
    folder = launch.plugin_dir()
    hooks = json.loads((folder / "hooks" / "hooks.json").read_text())["hooks"]
    assert set(hooks) == {"SessionStart", "UserPromptSubmit", "Stop", "StopFailure"}
    commands = [hook for groups in hooks.values() for group in groups for hook in group["hooks"]]
    assert {hook["command"] for hook in commands} == {launch.HOOK_PROGRAM}
    assert {skill.parent.name for skill in folder.glob("skills/*/SKILL.md")} == {
        "guide",
        "read-message",
        "reply",
        "react",
    }


def test_it_may_read_what_came_with_its_messages_and_nothing_else_of_its_runner(spec: LaunchSpec) -> None:
    allowed = launch.settings_of(spec)["permissions"]["allow"]
    assert [rule for rule in allowed if not rule.startswith("Bash(relay-runner ")] == [
        f"Read(/{spec.agent_dir.resolve()}/inside/attachments/**)"
    ]


def test_our_status_line_keeps_the_users_own_look(spec: LaunchSpec) -> None:
    ours = "relay-runner-hook statusline"
    assert launch.status_line(spec) == {"type": "command", "command": f"{ours} local,project,user"}
    file = ClaudeHome.of(spec.environ).config_dir / "settings.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"statusLine": {"type": "command", "command": "mine", "padding": 2}}))
    wrapped = {"type": "command", "command": f"{ours} local,project,user", "padding": 2}
    assert launch.settings_of(spec)["statusLine"] == wrapped
    spec = replace(spec, cwd=spec.cwd / "work")
    (spec.cwd / ".claude").mkdir(parents=True)
    (spec.cwd / ".claude" / "settings.json").write_text(json.dumps({"statusLine": {"command": "ours", "padding": 1}}))
    assert launch.status_line(spec)["padding"] == 1
    for args in (("--setting-sources", "user"), ("--setting-sources=user",)):
        only = launch.status_line(replace(spec, args=args))
        assert only == {**wrapped, "command": f"{ours} user"}
    assert launch.status_line(replace(spec, args=("--setting-sources", "")))["command"] == f"{ours} -"


@pytest.mark.parametrize(
    ("args", "hooks", "wanted"),
    [
        ((), "host", "user"),
        (("--setting-sources", "user,project,local"), "host", "user"),
        (("--setting-sources=project",), "host", ""),
        ((), "none", ""),
    ],
)
def test_a_read_only_agent_has_no_settings_of_the_repository(
    spec: LaunchSpec, args: tuple[str, ...], hooks: str, wanted: str
) -> None:
    profile = msgspec.convert({"name": "p", "hooks": {"mode": hooks}}, Profile)
    spec = replace(spec, approval_mode="read-only", args=args, profile=profile)
    assert plan(spec).argv[-1] == f"--setting-sources={wanted}"
    assert launch.status_line(spec)["command"].split()[-1] == (wanted or "-")


def test_settings_that_a_read_only_agent_does_not_have_give_it_no_status_line(spec: LaunchSpec) -> None:
    folder = spec.cwd / ".claude"
    folder.mkdir()
    (folder / "settings.json").write_text(
        json.dumps({"statusLine": {"type": "command", "command": "evil", "padding": 9}})
    )
    assert launch.status_line(spec)["padding"] == 9
    elsewhere = replace(spec, environ={**spec.environ, "HOME": str(spec.cwd / "home")}, approval_mode="read-only")
    assert "padding" not in launch.status_line(elsewhere)


def test_loopback_goes_past_a_proxy_that_a_settings_file_names(spec: LaunchSpec) -> None:
    folder = spec.cwd / ".claude"
    folder.mkdir()
    file = {"env": {"HTTPS_PROXY": "http://p", "NO_PROXY": "corp.example"}}
    (folder / "settings.json").write_text(json.dumps(file))
    environ = {**spec.environ, "no_proxy": "mine.example"}
    found = launch.settings_of(replace(spec, environ=environ))["env"]
    assert found["NO_PROXY"] == found["no_proxy"] == "mine.example,corp.example,127.0.0.1,localhost,::1"


def test_no_marketplace_is_cloned_at_the_start(spec: LaunchSpec) -> None:
    assert plan(spec).env["CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL"] == "1"


def test_a_changed_system_prompt_counts_where_the_program_would_keep_the_old_one(
    spec: LaunchSpec, tmp_path: Path
) -> None:
    program = tmp_path / "claude"
    program.write_text("#!/bin/sh\necho '  --system-prompt-snapshot <on|off>  Record it'\n")
    program.chmod(0o700)
    given = replace(spec, system_prompt_append="be brief")
    flagged = launch.plan(given, (str(program),), ClaudeHome.of(spec.environ)).argv
    assert after(flagged, "--system-prompt-snapshot") == "off"
    assert "--system-prompt-snapshot" not in plan(given).argv  # `claude` is not on this PATH: it offers nothing
    assert "--system-prompt-snapshot" not in launch.plan(spec, (str(program),), ClaudeHome.of(spec.environ)).argv
