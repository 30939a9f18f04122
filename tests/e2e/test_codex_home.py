"""The user's Codex home is never written, and an isolated one holds what it was given, private and redacted."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from relay_runner.protocol.messages import Outcome
from relay_runner.providers.base import Learnt, SessionStarted
from relay_runner.providers.codex import projection
from relay_runner.providers.codex.launch import MODES
from tests.codex import CONFIG, KEY, codex_environ, codex_home, model  # noqa: F401 - a fixture
from tests.contract.providers import Rig, codex_rig, running
from tests.fake_models.responses import FakeResponses
from tests.harness import Home, home
from tests.terminals import sockets as sockets
from tests.terminals import until

pytestmark = [pytest.mark.anyio, pytest.mark.codex]


@pytest.fixture
async def rig(tmp_path: Path, sockets: Path) -> AsyncIterator[Rig]:
    async with codex_rig(tmp_path, sockets) as opened:
        yield opened


def config(rig: Rig) -> Path:
    return Path(rig.spec.environ["HOME"]) / ".codex" / "config.toml"


@pytest.mark.parametrize("mode", MODES)
async def test_the_users_settings_are_never_written(rig: Rig, mode: str) -> None:
    _repository(rig.spec.cwd)
    before, changed = config(rig).read_bytes(), config(rig).stat().st_mtime_ns
    async with running(rig, approval_mode=mode) as it:
        await it.ended(await it.deliver("SAY:hello"))
        for action, args in (
            ("settings", {"model": "gpt-5.4", "effort": "low", "approvalMode": "bypass"}),
            ("fork", {"switch": True}),
            ("clear", {}),
            ("mcpReload", {}),
            ("goalSet", {"objective": "x", "status": "paused"}),
            ("skills", {"reload": True}),
        ):
            await it.process.operate(action, args)
        await it.ended(await it.deliver("SAY:hello again"))
        assert (await it.process.operate("turns", {}))["turns"]
    assert (config(rig).read_bytes(), config(rig).stat().st_mtime_ns) == (before, changed)
    assert not (config(rig).parent / "packages").exists(), "programs are not copied for a daemon"


async def test_an_isolated_home_leaves_no_trace_in_the_users(rig: Rig, tmp_path: Path) -> None:
    users = config(rig).parent
    before = {path: _digest(path) for path in users.rglob("*") if path.is_file()}
    secrets = tmp_path / "mounted"
    secrets.mkdir()
    (secrets / "config.toml").write_bytes(config(rig).read_bytes())
    (secrets / "auth.json").write_text('{"OPENAI_API_KEY": "sk-very-secret"}')
    secrets.chmod(0o555)
    async with running(rig, isolated_home=True, secrets=secrets) as it:
        assert (await it.ended(await it.deliver("SAY:apart"))).result == "apart"
        session = (await it.event(SessionStarted)).session_id
        (told,) = [event.values["home"] for event in it.events if isinstance(event, Learnt) if "home" in event.values]
        own = rig.spec.agent_dir / projection.HOME
        assert it.terminal.process.pid in _codexes(own)
        await it.terminal.terminate(grace_s=2)
        await until(lambda: not _codexes(own))  # no daemon is left behind
        assert not (own / "packages").exists()
    assert own.stat().st_mode & 0o777 == 0o700
    assert {(own / name).stat().st_mode & 0o777 for name in projection.FILES} == {0o600}
    assert list(own.glob(f"sessions/*/*/*/rollout-*{session}*.jsonl"))
    assert {path: _digest(path) for path in users.rglob("*") if path.is_file()} == before
    assert (told["kind"], told["environment"]["FAKE_KEY"]) == ("isolated", True)
    for hidden in (KEY, "sk-very-secret", str(tmp_path)):
        assert hidden not in str(told)
    # Its session is found again in it.
    async with running(rig, isolated_home=True, secrets=secrets, resume_session=session) as it:
        assert (await it.event(SessionStarted)).source == "resume"


async def test_an_isolated_home_without_a_folder_of_secrets_has_what_the_users_has(rig: Rig) -> None:
    users = config(rig).parent
    async with running(rig, isolated_home=True) as it:
        assert (await it.ended(await it.deliver("SAY:apart"))).result == "apart"
    assert [path.name for path in users.iterdir()] == ["config.toml"]
    assert (rig.spec.agent_dir / projection.HOME / "sessions").is_dir()


@pytest.mark.parametrize("isolated", [False, True])
async def test_a_policy_that_codex_does_not_take_any_more_ends_no_start(rig: Rig, isolated: bool) -> None:
    config(rig).write_text(f'approval_policy = "untrusted"\n{config(rig).read_text()}')
    project = rig.spec.cwd / ".codex" / "config.toml"
    project.parent.mkdir()
    project.write_text('approval_policy = "untrusted"\n')
    async with running(rig, isolated_home=isolated, trust_folder=True, approval_mode="auto") as it:
        assert any('"untrusted" in config.toml is ignored' in note for note in it.launched.plan.notes)
        assert (await it.ended(await it.deliver("RUN:touch written\nSAY:done"))).result == "done"
        assert (rig.spec.cwd / "written").exists(), "it asks as the agent's approval mode says"


async def test_a_turn_that_lacks_a_secret_is_blocked_and_says_which(rig: Rig) -> None:
    without = {name: value for name, value in rig.spec.environ.items() if name != "FAKE_KEY"}
    rig.spec = replace(rig.spec, environ=without)
    async with running(rig, headless=False) as it:
        ended = await it.ended(await it.deliver("SAY:never"))
        assert (ended.outcome, ended.result) == (Outcome.BLOCKED, None)
        assert str(ended.reason).startswith("secret-unavailable: ") and "FAKE_KEY" in str(ended.reason)


@pytest.fixture
def place(tmp_path: Path, model: FakeResponses) -> Iterator[Home]:
    with home(tmp_path, codex_environ(codex_home(tmp_path / "user", model))) as made:
        yield made


@pytest.mark.slow
def test_by_the_command_line_an_agent_has_a_home_of_its_own_or_says_what_is_missing(
    place: Home, model: FakeResponses, tmp_path: Path
) -> None:
    secrets = tmp_path / "mounted"
    secrets.mkdir()
    refused = place.run("start", "codex", "--agent-id", "no", "--headless", "--secrets", str(secrets), check=1)
    assert "blocked: config.toml is missing in the folder of secrets mounted (depth " in refused.stderr
    assert str(tmp_path) not in refused.stderr.replace(str(place.work), "")
    (secrets / "config.toml").write_text(CONFIG.format(url=model.url))
    place.start("cx", "codex", "--secrets", str(secrets))
    assert place.run("send", "cx", "SAY:apart", "--wait").stdout.strip() == "apart"
    assert (place.state / "agents" / "cx" / projection.HOME / "config.toml").exists()
    assert not (tmp_path / "user" / ".codex" / "sessions").exists()
    refused = place.run("start", "demo", "--agent-id", "d", "--headless", "--isolated-home", check=1)
    assert "demo has no isolated home" in refused.stderr


def _codexes(home: Path) -> list[int]:
    """Return the processes of Codex that use this home."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                program, environ = (folder / "exe").readlink().name, (folder / "environ").read_bytes()
            except OSError:
                continue
            if program.startswith("codex") and f"CODEX_HOME={home}\0".encode() in environ:
                found.append(int(folder.name))
    return found


def _repository(folder: Path) -> None:
    subprocess.run(["git", "init", "-q", str(folder)], check=True)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
