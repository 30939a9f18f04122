"""The generic provider on programs that the contract suite does not know."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from relay_runner.errors import ProviderExited, ProviderNotReady
from relay_runner.protocol.messages import Outcome
from relay_runner.providers.base import Degraded, ProcessState, Submitted
from relay_runner.providers.generic import GenericProvider
from relay_runner.providers.generic_process import GenericProcess, working
from relay_runner.providers.quiet import QuietScreen
from relay_runner.terminal.base import Terminals
from relay_runner.terminal.pty import PtyTerminals
from relay_runner.terminal.tmux import TmuxTerminals
from tests.contract.providers import Rig, end, launch, launch_spec, running
from tests.terminals import server_pid, sockets, spec, tmux, until

pytestmark = pytest.mark.anyio
__all__ = ["sockets", "tmux"]


def rig_of(folder: Path, terminals: Terminals, *command: str) -> Rig:
    return Rig(
        GenericProvider(quiet_s=0.4),
        terminals,
        launch_spec(folder, *command),
        say=str,
        slow=lambda seconds, text: text,
        letter=str,
        taken=list,
    )


@pytest.mark.parametrize("kind", ["tmux", "pty"])
async def test_python_answers(tmp_path: Path, sockets: Path, kind: str) -> None:
    rig = rig_of(tmp_path, TmuxTerminals(sockets) if kind == "tmux" else PtyTerminals(), sys.executable, "-i")
    async with running(rig) as it:
        one, result = await it.submit("6 * 7")
        assert isinstance(result, Submitted)
        ended = await it.ended(one)
        assert (ended.outcome, ended.result) == (Outcome.COMPLETED, "42")
        two = await it.deliver("def f(n):\n    return n + 1\n")
        await it.ended(two)
        three = await it.deliver("f(1)")
        assert (await it.ended(three)).result == "2"
        four = await it.deliver("import time; time.sleep(2); print('slept')")
        assert (await it.ended(four)).result == "slept"
    await end(rig)


async def test_a_program_without_a_prompt_answers(tmp_path: Path, tmux: TmuxTerminals) -> None:
    rig = rig_of(tmp_path, tmux, "cat")
    async with running(rig) as it:
        one = await it.deliver("hello")
        assert (await it.ended(one)).result == "hello"
    await end(rig)


async def test_a_program_that_never_rests_is_not_ready(tmp_path: Path, tmux: TmuxTerminals) -> None:
    terminal = await tmux.open(spec(tmp_path, "sh", "-c", "while :; do date +%N; sleep 0.05; done"))
    events: list[object] = []
    process = GenericProcess("sh", terminal, events.append, QuietScreen(0.3), ready_s=0.1)
    with pytest.raises(ProviderNotReady, match="did not come to rest"):
        await process.ready()
    assert process.state is ProcessState.STARTING
    await terminal.terminate(grace_s=1)
    with pytest.raises(ProviderExited, match="signal"):
        await process.ready()
    await terminal.close()


async def test_a_lost_screen_is_told(tmp_path: Path, tmux: TmuxTerminals) -> None:
    rig = rig_of(tmp_path, tmux, "sh", "-c", "trap '' HUP; echo 'up>'; exec sleep 60")
    launched = await launch(rig)
    events: list[object] = []
    async with rig.provider.connect(launched.spec, launched.plan, launched.terminal, events.append, adopted=False):
        os.kill(server_pid(launched.terminal), signal.SIGKILL)
        await until(lambda: any(isinstance(event, Degraded) and event.reason for event in events))
    await end(rig)


async def test_what_a_process_shows(tmp_path: Path, tmux: TmuxTerminals) -> None:
    spinning = await tmux.open(spec(tmp_path, sys.executable, "-c", "while True: pass", name="spinning"))
    await until(lambda: working(spinning.process.pid))
    resting = await tmux.open(spec(tmp_path, "cat", name="resting"))
    await until(lambda: not working(resting.process.pid))
    assert not working(0)
    for terminal in (spinning, resting):
        await terminal.terminate(grace_s=1)
        await terminal.close()
