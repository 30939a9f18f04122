"""Flags over environment over files over defaults become what a runner is asked to be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from relay_runner import config
from relay_runner.cli import choices, compose
from relay_runner.cli.choices import Flags
from relay_runner.errors import ConfigError
from relay_runner.protocol.budgets import Budget, Budgets
from relay_runner.protocol.control import RunnerInfo


@pytest.fixture
def paths(tmp_path: Path) -> config.Paths:
    return config.paths({"RELAY_RUNNER_HOME": str(tmp_path / "home")})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "My App").mkdir()
    return tmp_path / "My App"


def started(paths: config.Paths, request: choices.Request) -> None:
    config.private_dir(paths.agent(request.options.agent_id).root)
    choices.remember(request, paths)


def test_flags_win_over_files_and_environment(paths: config.Paths, folder: Path) -> None:
    paths.config.mkdir()
    paths.config_file.write_text(
        'model = "m1"\neffort = "low"\ntags = ["team"]\n'
        '[providers.demo]\nargs = ["-v"]\ntags = ["toy"]\ncapabilities = ["talk"]\nshutdown_timeout_s = 2.5\n'
    )
    flags = Flags(
        provider="demo",
        cwd=str(folder),
        model="m2",
        tags=("mine", "team"),
        capabilities=("review",),
        args=("-x", "--"),
        workspace='{"mode": "shared"}',
    )
    environ = {"AGENT_RELAY_TAGS": "spawned, mine,", "AGENT_RELAY_RUNNER_INFO_FILE": "/tmp/info"}
    request = choices.resolve(flags, paths, environ)
    options = request.options
    assert (options.agent_id, options.provider, options.cwd) == ("my-app-demo", "demo", folder)
    assert (options.model, options.effort, options.approval_mode) == ("m2", "low", "ask")
    assert options.tags == ("mine", "team", "spawned", "toy")
    assert options.capabilities == ("review", "talk")
    assert options.args == ("-v", "-x", "--")
    assert options.info_file == Path("/tmp/info")
    assert options.workspace == {"mode": "shared"}
    assert options.shutdown_timeout_s == 2.5
    assert request.why is None


def test_the_workspace_mode_of_a_spawner_counts_where_none_is_given(paths: config.Paths, folder: Path) -> None:
    environ = {"AGENT_RELAY_WORKSPACE_MODE": "worktree"}
    for given, workspace in ((None, {"mode": "worktree"}), ('{"mode": "shared"}', {"mode": "shared"})):
        flags = Flags(provider="demo", agent_id="bob", cwd=str(folder), workspace=given)
        assert choices.resolve(flags, paths, environ).options.workspace == workspace
    started(paths, choices.resolve(Flags(provider="demo", agent_id="bob", cwd=str(folder)), paths, {}))
    again = choices.resolve(Flags(agent_id="bob"), paths, environ)
    assert again.options.workspace == {"mode": "worktree"}


def test_what_is_started_without_asking_is_said(paths: config.Paths, folder: Path) -> None:
    asking, editing = (
        choices.describe(choices.resolve(Flags(provider="demo", cwd=str(folder), approval_mode=mode), paths, {}))
        for mode in ("ask", "accept-edits")
    )
    assert asking == f"starting my-app-demo: demo in {folder}"
    assert editing == f"{asking}, approval mode accept-edits"


def test_an_agent_s_name_is_not_a_provider_s(paths: config.Paths, folder: Path) -> None:
    config.private_dir(paths.agent("my-app-demo").root)
    with pytest.raises(ConfigError, match="my-app-demo is an agent: `relay-runner start --agent-id my-app-demo`"):
        choices.resolve(Flags(provider="my-app-demo", cwd=str(folder)), paths, {})


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (Flags(agent_id="bob", prompt="x", replace=True), []),
        (Flags(provider="demo", model="m", tags=("t",), effort="high"), ["--effort"]),
        (Flags(provider="generic", args=("x",)), ["PROVIDER", "the words after --"]),
        (
            Flags(label="l", tags=("u",), capabilities=("c",), tmux=False),
            ["--label", "--tag", "--capability", "--no-tmux"],
        ),
        (Flags(resume="s1", policy="p"), []),
        (Flags(resume="s2", fresh=True, approval_mode="bypass"), ["--approval-mode", "--resume", "--fresh"]),
    ],
)
def test_what_a_live_agent_does_not_have_is_named(
    paths: config.Paths, folder: Path, flags: Flags, named: list[str]
) -> None:
    first = Flags(provider="demo", agent_id="bob", cwd=str(folder), model="m", tags=("t",), policy="p")
    started(paths, choices.resolve(first, paths, {}))
    running = RunnerInfo(
        agent_id="bob", runner_id="r", instance_id="i", provider="demo", control_url="u", pid=1, started_at=1.0,
        cwd=str(folder), session_id="s1",
    )  # fmt: skip
    before = choices.last(paths, "bob")
    assert choices.not_applied(replace(flags, cwd=str(folder)), before, running) == named
    assert choices.not_applied(Flags(cwd=str(folder.parent)), None, running) == ["--cwd"]


def test_a_request_travels_whole(paths: config.Paths, folder: Path) -> None:
    flags = Flags(provider="demo", cwd=str(folder), prompt="hé\n\x00", info_file="x", relay="http://h:1", tmux=False)
    request = choices.resolve(flags, paths, {})
    assert choices.decode(choices.encode(request)) == request


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (Flags(provider="nope"), "unknown provider"),
        (Flags(provider="demo", cwd="/does/not/exist"), "no folder"),
        (Flags(provider="demo", approval_mode="yolo"), "unknown approval mode"),
        (Flags(provider="demo", agent_id="Bob!"), "cannot be an agent id"),
        (Flags(provider="demo", workspace="{"), "not JSON"),
        (Flags(provider="demo", workspace="[]"), "not a JSON object"),
        (Flags(provider="demo", resume="s", fresh=True), "contradict"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(paths: config.Paths, flags: Flags, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        choices.resolve(flags, paths, {})


def test_a_folder_keeps_its_agent_and_two_of_one_name_have_two(paths: config.Paths, tmp_path: Path) -> None:
    one, two = tmp_path / "a" / "app", tmp_path / "b" / "app"
    for folder in (one, two):
        folder.mkdir(parents=True)

    def start(folder: Path, provider: str = "demo") -> str:
        request = choices.resolve(Flags(provider=provider, cwd=str(folder)), paths, {})
        started(paths, request)
        return request.options.agent_id

    assert [start(one), start(two), start(one), start(two)] == ["app-demo", "app-demo-2", "app-demo", "app-demo-2"]
    assert start(one, "generic") == "app-generic"


def test_a_long_folder_name_still_gets_a_number(paths: config.Paths, tmp_path: Path) -> None:
    ids = []
    for parent in "ab":
        folder = tmp_path / parent / ("x" * 60)
        folder.mkdir(parents=True)
        request = choices.resolve(Flags(provider="demo", cwd=str(folder)), paths, {})
        started(paths, request)
        ids.append(request.options.agent_id)
    assert len(set(ids)) == 2 and all(len(one) <= 48 for one in ids)


def test_an_id_alone_starts_it_again_as_it_was(paths: config.Paths, folder: Path) -> None:
    flags = Flags(provider="demo", agent_id="bob", cwd=str(folder), model="m", prompt="said once", replace=True)
    first = choices.resolve(flags, paths, {})
    started(paths, first)
    assert b"said once" not in paths.agent("bob").launch.read_bytes()
    again = choices.resolve(Flags(agent_id="bob", headless=True), paths, {})
    assert again.options == replace(first.options, prompt=None, replace=False, headless=True)
    other = choices.resolve(Flags(agent_id="bob", provider="generic", cwd=str(folder)), paths, {})
    assert (other.options.provider, other.options.model) == ("generic", None)


def test_an_unreadable_launch_file_is_as_good_as_none(paths: config.Paths, folder: Path) -> None:
    config.private_dir(paths.agent("my-app-demo").root)
    paths.agent("my-app-demo").launch.write_text("{")
    assert choices.last(paths, "my-app-demo") is None


def test_without_a_provider_the_first_one_with_code_is_taken(
    paths: config.Paths, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))

    def install(name: str) -> None:
        (programs / name).write_text("#!/bin/sh\n")
        (programs / name).chmod(0o755)

    install("some-agent")
    monkeypatch.setattr(compose, "PREFERRED", ("claude", "some-agent"))
    request = choices.resolve(Flags(cwd=str(folder)), paths, {})
    assert request.options.provider == "demo" and "none of claude is on PATH" in (request.why or "")
    install("claude")
    request = choices.resolve(Flags(cwd=str(folder)), paths, {})
    assert (request.options.provider, request.why) == ("claude", "claude is on PATH")
    assert "claude (claude is on PATH)" in choices.describe(request)
    chosen = choices.resolve(Flags(cwd=str(folder)), paths, {"RELAY_RUNNER_PROVIDER": "demo"})
    assert (chosen.options.provider, chosen.why) == ("demo", "it is configured")


def test_budgets_and_limits_come_from_the_settings_and_flags_win(paths: config.Paths, folder: Path) -> None:
    paths.config.mkdir()
    paths.config_file.write_text(
        "[limits]\nleast_s = 5\nunreachable_s = 30\n[budget.agent]\nturns = 9\ntokens = 1000\n"
        '[budget.sender]\nturns = 3\n[budget.senders."person:al"]\ncost_usd = 2.5\n'
    )
    options = choices.resolve(Flags(provider="demo", cwd=str(folder), budget_turns=7), paths, {}).options
    assert (options.least_hold_s, options.unreachable_s) == (5.0, 30.0)
    assert options.budgets == Budgets(
        Budget(turns=7, tokens=1000), Budget(turns=3), {"person:al": Budget(cost_usd=2.5)}
    )
    request = choices.resolve(Flags(provider="demo", cwd=str(folder)), paths, {})
    assert choices.decode(choices.encode(request)) == request


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (Flags(provider="generic", budget_cost=1.0), "generic does not tell what a turn costs"),
        (Flags(provider="generic", budget_tokens=1), "generic does not tell how many tokens a turn uses"),
    ],
)
def test_a_budget_that_nobody_can_measure_is_refused(
    paths: config.Paths, folder: Path, flags: Flags, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        choices.resolve(replace(flags, cwd=str(folder)), paths, {})
    choices.resolve(Flags(provider="generic", cwd=str(folder), budget_turns=1), paths, {})


def test_a_start_again_hears_what_its_spawner_says_by_the_environment(paths: config.Paths, folder: Path) -> None:
    first = choices.resolve(Flags(provider="demo", cwd=str(folder), agent_id="bob", tags=("mine",)), paths, {})
    config.private_dir(paths.agent("bob").root)
    choices.remember(first, paths)
    environ = {"AGENT_RELAY_TAGS": "spawned", "AGENT_RELAY_RUNNER_INFO_FILE": "/tmp/info"}
    again = choices.resolve(Flags(agent_id="bob", headless=True), paths, environ).options
    assert set(again.tags) == {*first.options.tags, "spawned"} and again.info_file == Path("/tmp/info")
    assert choices.resolve(Flags(agent_id="bob"), paths, {}).options.info_file is None


def test_a_folder_of_secrets_isolates_the_home(paths: config.Paths, folder: Path) -> None:
    def options(**flags: Any) -> tuple[bool, Path | None]:
        made = choices.resolve(Flags(provider="codex", agent_id="bob", cwd=str(folder), **flags), paths, {}).options
        return made.isolated_home, made.secrets

    assert options() == (False, None)
    assert options(isolated_home=True) == (True, None)
    assert options(secrets="/run/secrets/codex") == (True, Path("/run/secrets/codex"))
    config.private_dir(paths.config)
    paths.config_file.write_text('[providers.codex]\nsecrets = "/mounted"\n')
    assert options() == (True, Path("/mounted"))
    assert options(secrets="/other") == (True, Path("/other"))


def test_a_profile_stands_between_flags_and_settings(paths: config.Paths, folder: Path) -> None:
    paths.config.mkdir()
    paths.config_file.write_text('approval_mode = "accept-edits"\n[providers.demo]\nenv = { KEY = "host" }\n')
    (folder / "p.toml").write_text('provider = "demo"\n[permissions]\nmode = "bypass"\n')
    flags = Flags(profile=str(folder / "p.toml"), cwd=str(folder))
    request = choices.resolve(flags, paths, {})
    assert request.options.provider == "demo" and request.why == "the profile p says so"
    assert request.options.approval_mode == "bypass" and request.options.env == {"KEY": "host"}
    assert choices.decode(choices.encode(request)) == request, "it travels to the runner whole"
    typed = choices.resolve(replace(flags, provider="generic", approval_mode="ask"), paths, {}).options
    assert (typed.provider, typed.approval_mode) == ("generic", "ask")
    (folder / "p.toml").write_text('provider = "demo"\nhome = "isolated"\n')
    assert choices.resolve(flags, paths, {}).options.env == {}, "the host's own are not for a home of its own"
    (folder / "p.toml").write_text('[permissions]\nmode = "yolo"\n')
    with pytest.raises(ConfigError, match="yolo"):
        choices.resolve(flags, paths, {})


def test_the_profile_that_a_live_agent_has_is_not_called_missing(paths: config.Paths, folder: Path) -> None:
    (folder / "p.toml").write_text('provider = "demo"')
    flags = Flags(profile=str(folder / "p.toml"), cwd=str(folder))
    request = choices.resolve(flags, paths, {})
    running = RunnerInfo(
        agent_id="a", runner_id="r", instance_id="i", provider="demo", control_url="", pid=1, started_at=0.0,
        cwd=str(folder),
    )  # fmt: skip
    assert choices.not_applied(flags, request, running) == []
    assert choices.not_applied(replace(flags, profile="other"), request, running) == ["--profile"]
    assert choices.not_applied(flags, None, running) == ["--profile"]


def test_a_budget_of_nobody_is_refused(paths: config.Paths, folder: Path) -> None:
    paths.config.mkdir()
    paths.config_file.write_text("[budget.senders.bob]\nturns = 3\n")
    with pytest.raises(ConfigError, match="write agent:bob or person:bob"):
        choices.resolve(Flags(provider="demo", cwd=str(folder)), paths, {})


def test_a_budget_that_a_live_agent_has_is_applied(paths: config.Paths, folder: Path) -> None:
    flags = Flags(provider="demo", cwd=str(folder), budget_turns=5)
    before = choices.resolve(flags, paths, {})
    running = RunnerInfo(
        agent_id="a", runner_id="r", instance_id="i", provider="demo", control_url="", pid=1, started_at=0.0,
        cwd=str(folder),
    )  # fmt: skip
    assert "--budget-turns" not in choices.not_applied(flags, before, running)
    other = replace(flags, budget_turns=6, budget_cost=1.0)
    assert choices.not_applied(other, before, running) == ["--budget-turns", "--budget-cost"]
