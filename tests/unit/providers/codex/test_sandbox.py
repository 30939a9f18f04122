from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from relay_runner.config import AgentPaths
from relay_runner.errors import ConfigError
from relay_runner.providers.base import LaunchSpec
from relay_runner.providers.codex import launch, sandbox
from tests.contract.providers import launch_spec

STATE = Path("/home/ann/.local/state/relay-runner")


@pytest.fixture
def spec(tmp_path: Path) -> LaunchSpec:
    made = launch_spec(tmp_path)
    return replace(made, hidden=(STATE, Path("/tmp/tmux-1000")))


def profiles(spec: LaunchSpec) -> dict[str, Any]:
    """What a program reads out of the words that it is given."""
    words = [f"{name}={launch.toml(value)}" for name, value in sandbox.definitions(spec)]
    return tomllib.loads("\n".join(words))


def test_what_is_hidden_is_denied_in_every_sandbox_and_what_the_agent_needs_is_read(spec: LaunchSpec) -> None:
    paths = AgentPaths(spec.agent_dir.resolve())
    given = profiles(spec)
    assert given["default_permissions"] == "relay-runner-workspace"
    for name, extends in (("workspace", ":workspace"), ("read-only", ":read-only")):
        profile = given["permissions"][f"relay-runner-{name}"]
        assert profile["extends"] == extends
        assert profile["filesystem"] == {
            str(STATE): "deny",
            "/tmp/tmux-1000": "deny",
            str(paths.inside): "write",
            str(paths.bin): "read",
            str(paths.attachments): "read",
            str(paths.injected): "read",
        }
    assert given["permissions"]["relay-runner-workspace"]["network"] == {"enabled": True}
    assert "network" not in given["permissions"]["relay-runner-read-only"]


def test_what_the_users_own_settings_let_be_written_is_written(spec: LaunchSpec) -> None:
    config = Path(spec.environ["HOME"]) / ".codex" / "config.toml"
    config.parent.mkdir()
    config.write_text(
        '[sandbox_workspace_write]\nwritable_roots = ["/data", "~/cache", "odd", 3]\nexclude_slash_tmp = true\n'
    )
    given = profiles(replace(spec, args=("-c", "sandbox_workspace_write.exclude_tmpdir_env_var=true", "--enable", "x")))
    own = given["permissions"]["relay-runner-workspace"]["filesystem"]
    home = spec.environ["HOME"]
    assert {path: own[path] for path in ("/data", f"{home}/cache", ":slash_tmp", ":tmpdir")} == {
        "/data": "write",
        f"{home}/cache": "write",
        ":slash_tmp": "read",
        ":tmpdir": "read",
    }
    assert "odd" not in own
    assert "/data" not in given["permissions"]["relay-runner-read-only"]["filesystem"]
    config.write_text(f'[sandbox_workspace_write]\nwritable_roots = ["{STATE}"]\n')
    assert profiles(spec)["permissions"]["relay-runner-workspace"]["filesystem"][str(STATE)] == "deny"
    assert profiles(replace(spec, args=("-c", "not toml at all")))


def test_the_folders_are_there_before_a_command_could_make_them(spec: LaunchSpec, tmp_path: Path) -> None:
    sandbox.prepare(spec)
    paths = AgentPaths(spec.agent_dir)
    for folder in (paths.inside, paths.bin, paths.attachments, paths.injected):
        assert folder.is_dir() and folder.stat().st_mode & 0o777 == 0o700
    paths.injected.rmdir()
    paths.injected.symlink_to(tmp_path)
    with pytest.raises(ConfigError):
        sandbox.prepare(spec)


@pytest.mark.parametrize(
    ("policy", "profile", "name"),
    [
        ({"type": "workspaceWrite"}, {"id": "relay-runner-workspace", "extends": ":workspace"}, "workspace-write"),
        ({"type": "workspaceWrite"}, {"id": "relay-runner-read-only"}, "read-only"),
        ({"type": "workspaceWrite", "writableRoots": ["/"]}, {"id": ":danger-full-access"}, ":danger-full-access"),
        ({"type": "dangerFullAccess"}, None, "danger-full-access"),
        ({"type": "workspaceWrite"}, None, "workspaceWrite"),
        (None, None, None),
    ],
)
def test_only_a_sandbox_that_hides_what_is_hidden_has_our_name(policy: Any, profile: Any, name: str | None) -> None:
    assert sandbox.told(policy, profile) == name
