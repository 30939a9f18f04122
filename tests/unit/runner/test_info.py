import json
import stat
from pathlib import Path
from typing import Any, cast

import pytest

from relay_runner.errors import ConfigError
from relay_runner.protocol.control import ControlEndpoint
from relay_runner.providers.base import Capabilities, LaunchPlan, LaunchSpec
from relay_runner.relay.memory.relay import MemoryRelay
from relay_runner.runner.control import ControlServer
from relay_runner.runner.identity import Identity
from relay_runner.runner.info import InfoFile
from relay_runner.runner.launcher import Launched
from relay_runner.runner.options import RunnerOptions
from relay_runner.terminal.base import TerminalSpec
from tests.scripted import ScriptedProcess, ScriptedProvider, ScriptedTerminals

pytestmark = pytest.mark.anyio


def _info(folder: Path, copy: Path | None = None, *, viewer: bool = False) -> InfoFile:
    control = ControlServer(MemoryRelay(), folder / "control.json", status=lambda: b"{}")
    identity = Identity(RunnerOptions(agent_id="bob", provider="scripted", cwd=folder))
    provider = ScriptedProvider(Capabilities(viewer=viewer))
    return InfoFile(folder / "info.json", copy, identity=identity, control=control, provider=provider)


async def _launched(folder: Path) -> Launched:
    terminal = await ScriptedTerminals().open(TerminalSpec(("x",), {}, folder, folder / "run", name="bob", title="bob"))
    spec = cast(LaunchSpec, None)
    return Launched(spec, LaunchPlan(("x",), {}, folder), terminal, adopted=False, started_at=1.0)


def _read(file: Path) -> Any:
    return json.loads(file.read_text())


async def test_before_the_program_starts_there_is_nothing_to_look_at(tmp_path: Path) -> None:
    info = _info(tmp_path)
    assert info.write(None).attach == ()
    assert _read(tmp_path / "info.json")["agentId"] == "bob"
    assert stat.S_IMODE((tmp_path / "info.json").stat().st_mode) == 0o600


async def test_the_terminal_and_the_session_are_in_it_from_their_beginning_on(tmp_path: Path) -> None:
    info = _info(tmp_path)
    info.launched, info.session_id = await _launched(tmp_path), "session-1"
    info.write(None)
    said = _read(tmp_path / "info.json")
    assert (said["attach"], said["sessionId"], said["tmuxSession"]) == (["attach", "bob"], "session-1", "bob")


async def test_a_program_with_a_viewer_is_shown_once_it_has_one(tmp_path: Path) -> None:
    info = _info(tmp_path, viewer=True)
    info.launched = await _launched(tmp_path)
    process = ScriptedProcess()
    assert info.write(None).attach == info.write(process).attach == ()
    process.viewer = ("look",)
    assert info.write(process).attach == ("attach", "bob")


async def test_the_copy_that_was_asked_for_stays(tmp_path: Path) -> None:
    copy = tmp_path / "copy.json"
    info = _info(tmp_path, copy)
    info.write(None)
    info.remove()
    assert _read(copy)["agentId"] == "bob" and not (tmp_path / "info.json").exists()


async def test_a_copy_that_cannot_be_written_is_a_persons_to_mend(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot write .*name another file"):
        _info(tmp_path, tmp_path / "no" / "such" / "copy.json").write(None)


def test_an_endpoint_is_never_in_it(tmp_path: Path) -> None:
    info = _info(tmp_path)
    info._control.endpoint = ControlEndpoint(url="http://127.0.0.1:1", port=1, secret="s3cret", provider_session_id="p")
    info.write(None)
    assert "s3cret" not in (tmp_path / "info.json").read_text()
