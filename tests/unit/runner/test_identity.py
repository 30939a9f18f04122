import socket
from pathlib import Path

import pytest

from relay_runner import __version__
from relay_runner.protocol.agents import Auth, Status
from relay_runner.protocol.control import ControlEndpoint
from relay_runner.protocol.profiles import Fate, Projected, profile_of
from relay_runner.providers.base import Capabilities
from relay_runner.runner.identity import Identity
from relay_runner.runner.options import RunnerOptions
from relay_runner.terminal.base import TerminalSpec
from tests.scripted import ScriptedTerminal

CONTROL = ControlEndpoint(url="http://127.0.0.1:21000", port=21000, secret="s3cret", provider_session_id="p1")


def _identity(**options: object) -> Identity:
    made = RunnerOptions(agent_id="bob", provider="demo", cwd=Path("/project"), **options)  # type: ignore[arg-type]
    return Identity(made)


def test_every_life_has_ids_of_its_own() -> None:
    one, two = _identity(), _identity()
    assert one.instance_id != two.instance_id and one.runner_id != two.runner_id


def test_the_hello_carries_provider_and_headless_as_tags_once() -> None:
    hello = _identity(headless=True, tags=("demo", "fast")).hello(Status())
    assert hello.tags == ("demo", "fast", "headless")


def test_the_meta_says_who_it_is_and_holds_no_secret() -> None:
    identity = _identity(model="m1", spawn_request_id="s1", workspace={"mode": "worktree"})
    identity.info(CONTROL, None, "sess")
    identity.learn({"model": "learnt", "effort": None})
    auth = Auth(profile_id="provider-agent", jti="j1", subject="agent:bob", expires_at=2.0)
    meta = identity.hello(Status(auth=auth)).meta
    assert meta["model"] == "learnt" and meta["spawnRequestId"] == "s1" and meta["workspace"] == {"mode": "worktree"}
    assert meta["workspaceMode"] == "worktree" and "terminal" not in meta
    assert meta["auth"] == {"profileId": "provider-agent", "jti": "j1", "expiresAt": 2.0}
    assert "effort" not in meta and "s3cret" not in str(meta) and "rootTokenFallback" not in meta
    fallback = Auth(
        profile_id="relay-operator", jti="j2", subject="person:root", expires_at=2.0, root_token_fallback=True
    )
    assert identity.hello(Status(auth=fallback)).meta["rootTokenFallback"] is True


@pytest.mark.anyio
async def test_the_meta_says_where_its_terminal_is_and_keeps_the_command_for_those_here() -> None:
    identity, terminal = _identity(screen=(100, 30)), ScriptedTerminal(TerminalSpec((), {}, Path(), Path(), "bob"), 1)
    identity.info(CONTROL, terminal, None, ("tmux", "attach"))
    assert identity.attach is not None and identity.attach.command == ("tmux", "attach")
    told = identity.hello(Status()).meta["terminal"]
    saved = terminal.saved
    assert told == {
        "kind": saved.kind, "machine": socket.gethostname(), "session": saved.session, "socket": saved.socket,
        "columns": 100, "rows": 30,
    }  # fmt: skip


def test_the_info_file_is_complete_before_there_is_a_terminal() -> None:
    info = _identity().info(CONTROL, None, None)
    assert (info.agent_id, info.control_url, info.attach, info.tmux_socket) == ("bob", CONTROL.url, (), None)


def test_hello_and_meta_are_complete(tmp_path: Path) -> None:
    options = {
        "provider": "demo", "cwd": tmp_path, "model": "m", "effort": "high", "approval_mode": "read-only", "rig": "r",
        "label": "builder", "tags": ("a",), "capabilities": ("c",), "policy_name": "p", "spawn_request_id": "s",
        "automation_id": "au", "automation_run_id": "ar", "workspace": {"requestedMode": "worktree", "mode": "shared"},
        "headless": True,
    }  # fmt: skip
    identity = Identity(RunnerOptions(agent_id="bob", **options), Capabilities(compact=True))  # type: ignore[arg-type]
    identity.learn({"providerVersion": "1.2", "context": {"utilisation": 0.5}})
    hello = identity.hello(Status())
    assert (hello.provider, hello.machine, hello.version) == ("demo", socket.gethostname(), __version__)
    assert (hello.tags, hello.capabilities, hello.label) == (("a", "demo", "headless"), ("c",), "builder")
    assert hello.status == Status()
    assert set(hello.meta) >= {
        "runnerVersion", "protocolVersion", "providerVersion", "provider", "model", "effort", "runnerId", "startedAt",
        "policyName", "spawnRequestId", "automationId", "automationRunId", "workspace", "runnerManaged", "cwd",
        "approvalMode", "label", "lifecycleCapabilities", "providerCapabilities", "rig", "headless", "context",
    }  # fmt: skip
    abilities = hello.meta["providerCapabilities"]
    assert abilities["session"] == {"files": "read", "shell": "none"}
    assert abilities["context"] == {"stats": True, "compact": True, "clear": False, "inject": False}


def test_the_meta_tells_what_became_of_the_profile() -> None:
    profile = profile_of({"name": "quiet", "skills": ["/s"], "relay": {"broad": False}}, "test")
    projected = (Projected(key="skills", fate=Fate.IGNORED, why="no model"),)
    options = RunnerOptions(agent_id="bob", provider="demo", cwd=Path("/project"), profile=profile)
    hello = Identity(options, Capabilities(), projected).hello(Status())
    assert hello.broad is False and _identity().hello(Status()).broad is True
    assert hello.meta["profile"] == {
        "name": "quiet",
        "home": "host",
        "projection": [{"key": "skills", "fate": "ignored", "why": "no model"}],
    }
    assert "profile" not in _identity().hello(Status()).meta
