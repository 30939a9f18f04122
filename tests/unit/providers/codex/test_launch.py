from __future__ import annotations

import platform
import tomllib
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_runner.errors import ProviderNotFound, ProviderUnsupported
from relay_runner.providers.base import LaunchSpec
from relay_runner.providers.codex import launch
from tests.contract.providers import launch_spec


def program(path: Path, text: str = "#!/bin/sh\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def spec(tmp_path: Path) -> LaunchSpec:
    program(tmp_path / "bin" / "codex")
    return replace(launch_spec(tmp_path), environ={"PATH": str(tmp_path / "bin"), "HOME": str(tmp_path)})


def settings(argv: tuple[str, ...]) -> dict[str, object]:
    """Return what the `-c` words say."""
    words = [after for word, after in pairwise(argv) if word == "-c"]
    return tomllib.loads("\n".join(words))


def test_a_program_that_is_not_there_says_how_to_install_it(spec: LaunchSpec) -> None:
    with pytest.raises(ProviderNotFound) as error:
        launch.program(replace(spec, environ={"PATH": "/nowhere"}))
    assert error.value.hint == "npm install -g @openai/codex"


def test_the_native_program_behind_npms_wrapper(tmp_path: Path, spec: LaunchSpec) -> None:
    assert launch.program(spec) == str(tmp_path / "bin" / "codex")
    modules = tmp_path / "node_modules" / "@openai"
    wrapper = program(modules / "codex" / "bin" / "codex.js")
    (tmp_path / "bin" / "codex").unlink()
    (tmp_path / "bin" / "codex").symlink_to(wrapper)
    assert launch.program(spec) == str(tmp_path / "bin" / "codex"), "an unknown layout: the wrapper does"
    package, triple = launch.PACKAGES[platform.machine()]
    inner = Path("vendor", f"{triple}-unknown-linux-musl", "bin", "codex")
    beside = program(modules / package / inner)
    assert launch.program(spec) == str(beside)
    nested = program(modules / "codex" / "node_modules" / "@openai" / package / inner)
    assert launch.program(spec) == str(nested)


def test_only_what_an_app_server_knows_is_passed_on() -> None:
    launch.check_args(("-c", "a=1", "--config=b=2", "--enable", "x"))
    for args in (("--model", "m"), ("-c",), ("prompt",)):
        with pytest.raises(ProviderUnsupported):
            launch.check_args(args)


def test_the_command_line(spec: LaunchSpec) -> None:
    plan = launch.plan(replace(spec, args=("-c", 'model_verbosity = "low"'), label="Ann's"))
    assert plan.argv[1] == "app-server"
    assert plan.argv[-2:] == ("--listen", f"unix://{spec.agent_dir / 'codex.sock'}")
    given = settings(plan.argv)
    assert given["features"] == {"daemon_auto_start": False, "instant_interrupt": False}
    assert given["projects"] == {str(spec.cwd): {"trust_level": "untrusted"}}
    assert given["model_verbosity"] == "low"
    assert (plan.session_id, plan.resumed, plan.title) == (None, False, "Ann's")
    resumed = launch.plan(replace(spec, resume_session="01a1"))
    assert (resumed.session_id, resumed.resumed) == ("01a1", True)


def test_the_users_decision_about_the_folder_stands(spec: LaunchSpec) -> None:
    config = Path(spec.environ["HOME"]) / ".codex" / "config.toml"
    config.parent.mkdir()
    config.write_text(f'[projects."{spec.cwd.resolve()}"]\ntrust_level = "trusted"\n')
    assert "projects" not in settings(launch.plan(spec).argv)
    config.unlink()
    trusted = settings(launch.plan(replace(spec, trust_folder=True)).argv)
    assert trusted["projects"] == {str(spec.cwd): {"trust_level": "trusted"}}


@pytest.mark.parametrize(
    ("mode", "policy", "sandbox"),
    [
        ("ask", "untrusted", {"permissions": "relay-runner-workspace"}),
        ("accept-edits", "on-request", {"permissions": "relay-runner-workspace"}),
        ("auto", "never", {"permissions": "relay-runner-workspace"}),
        ("read-only", "never", {"permissions": "relay-runner-read-only"}),
        ("bypass", "never", {"sandbox": "danger-full-access"}),
    ],
)
def test_what_an_approval_mode_means(spec: LaunchSpec, mode: str, policy: str, sandbox: dict[str, str]) -> None:
    params = launch.thread(replace(spec, approval_mode=mode), None)
    assert params["approvalPolicy"] == policy
    assert {name: params[name] for name in ("permissions", "sandbox") if name in params} == sandbox
    assert bool(launch.plan(replace(spec, approval_mode=mode)).notes) is (mode == "read-only")


@pytest.mark.parametrize("policy", ["untrusted", "never"])
def test_a_policy_that_would_end_the_program_is_passed_over_and_said(spec: LaunchSpec, policy: str) -> None:
    config = Path(spec.environ["HOME"]) / ".codex" / "config.toml"
    config.parent.mkdir()
    config.write_text(f'approval_policy = "{policy}"\n')
    plan = launch.plan(replace(spec, approval_mode="auto"))
    assert settings(plan.argv)["approval_policy"] == "on-request"
    assert [note for note in plan.notes if "untrusted" in note and "--approval-mode auto" in note] == [
        note for note in plan.notes if policy == "untrusted"
    ]
    assert bool(plan.notes) is (policy == "untrusted")


def test_the_threads_settings(spec: LaunchSpec) -> None:
    params = launch.thread(replace(spec, model="m", effort="high", system_prompt_append="Be brief."), "The user's own.")
    assert params["model"] == "m"
    assert params["config"]["model_reasoning_effort"] == "high"
    assert params["config"]["shell_environment_policy"] == {"set": {"PATH": spec.environ["PATH"]}}
    words = params["developerInstructions"].split("\n\n")
    assert (words[0], words[-1]) == ("The user's own.", "Be brief.")
    assert "You are the agent `rig`" in words[1]
    assert "model" not in launch.thread(spec, None)


def test_the_codex_that_a_person_sees(spec: LaunchSpec) -> None:
    spec = replace(spec, environ={**spec.environ, "AGENT_RELAY_TOKEN": "secret", "CODEX_HOME": "/elsewhere"})
    plan = launch.plan(spec)
    words = launch.viewer(plan, spec, "01a1", {"old": "new"})
    assert words[0] == "env" and f"CODEX_HOME={spec.agent_dir / 'viewer'}" in words
    assert words[words.index(plan.argv[0]) :][:4] == (
        plan.argv[0],
        "resume",
        "--remote",
        f"unix://{launch.socket(spec)}",
    )
    assert words[-1] == "01a1"
    assert settings(words)["notice"] == {"model_migrations": {"old": "new"}}
    assert "secret" not in str(words)


def test_the_viewer_has_a_home_of_its_own_and_the_users_taste(spec: LaunchSpec) -> None:
    config = Path(spec.environ["HOME"]) / ".codex" / "config.toml"
    config.parent.mkdir()
    config.write_text('[tui]\ntheme = "dark"\nitems = ["a", "b"]\n[model_providers.x]\nkey = "secret"\n')
    launch.plan(spec)
    rendered = spec.agent_dir / "viewer" / "config.toml"
    found = tomllib.loads(rendered.read_text())
    assert found["tui"] == {"theme": "dark", "items": ["a", "b"], "screen_reader_detection_done": True}
    assert found["features"]["daemon_auto_start"] is False
    assert "secret" not in rendered.read_text()
    assert rendered.stat().st_mode & 0o777 == 0o600


def test_words_of_toml() -> None:
    value = {"a b": {'ü "q"': False, "n": "1"}}
    assert tomllib.loads(f"x = {launch.toml(value)}") == {"x": value}


@given(st.recursive(st.booleans() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_any_value_is_one_value_of_toml(value: Any) -> None:
    assert tomllib.loads(f"x = {launch.toml(value)}\ny = 1") == {"x": value, "y": 1}


def test_our_skills_are_there() -> None:
    folder = launch.skills_dir()
    assert folder is not None
    assert "name: relay-guide" in (folder / "guide" / "SKILL.md").read_text()
