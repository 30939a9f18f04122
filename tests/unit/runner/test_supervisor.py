"""What `test_runner` does not reach: orders that come at awkward moments."""

import asyncio
import errno
from dataclasses import replace
from pathlib import Path

import pytest

from relay_runner.errors import TerminalError
from relay_runner.protocol.agents import AgentState
from relay_runner.protocol.commands import CommandState
from relay_runner.runner.options import RunnerExit
from relay_runner.runner.supervisor import _accident
from relay_runner.terminal.base import ExitStatus
from tests.terminals import until
from tests.unit.runner.desk import ALL
from tests.unit.runner.test_runner import Stage, stage

pytestmark = pytest.mark.anyio
__all__ = ["stage"]


@pytest.mark.parametrize(
    ("code", "accident"), [(0, False), (1, False), (127, False), (-9, True), (143, True), (None, True)]
)
def test_only_a_signal_is_an_accident(code: int | None, accident: bool) -> None:
    assert _accident(ExitStatus(code)) is accident


async def test_a_stop_while_it_waits_for_the_next_start_is_heard(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay_runner.runner.policy.STEP_S", 3600.0)
    monkeypatch.setattr("relay_runner.runner.policy.MAX_DELAY_S", 3600.0)
    async with stage.running() as life:
        stage.terminal.ends(-9)
        await until(lambda: stage.terminals.opened[0].steps == ["close, but for viewers"])
        life.runner.stop("never mind")
        assert await life.over() == RunnerExit(0, "never mind")
    assert len(stage.terminals.opened) == 1


async def test_a_program_that_does_not_end_is_left_after_a_bounded_time(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay_runner.runner.supervisor.CLEAN_UP_S", 0.05)

    async def never(*, grace_s: float = 5.0) -> ExitStatus:
        await asyncio.Event().wait()
        raise AssertionError

    async with stage.running(shutdown_timeout_s=0.05) as life:
        monkeypatch.setattr(stage.terminal, "terminate", never)
        life.runner.stop("end")
        assert (await life.over()).code == 0


async def test_a_restart_is_done_when_the_new_program_takes_messages(stage: Stage) -> None:
    async with stage.running():
        becomes_ready = asyncio.Event()
        stage.provider.ready_after = becomes_ready
        command = await stage.order("agent.restart")
        await stage.terminals.nth(2)
        await until(lambda: stage.opened == 1 and len(stage.provider.processes) == 2)
        assert (await stage.operator.get_command(command.id)).state is CommandState.RUNNING
        becomes_ready.set()
        await stage.commanded(command, CommandState.SUCCEEDED)
        assert stage.opened == 2


async def test_a_restart_whose_new_program_never_runs_has_failed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay_runner.runner.policy.STEP_S", 0.01)
    async with stage.running() as life:
        stage.terminals.errors = [TerminalError("tmux is gone")] * 9
        command = await stage.order("agent.restart")
        assert (await life.over()).code == 1
    ended = await stage.commanded(command, CommandState.FAILED)
    assert "given up: it ended 4 times" in ended.result["reason"] and "tmux is gone" in ended.result["reason"]


async def test_on_a_full_disk_no_exit_counts(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay_runner.runner.supervisor.DISK_RETRY_S", 0.01)
    monkeypatch.setattr("relay_runner.runner.disk.LOOK_S", 0.01)
    room = False
    async with stage.running() as life:
        monkeypatch.setattr(life.runner._disk, "_probe", lambda: room)
        stage.terminals.errors = [OSError(errno.ENOSPC, "No space left on device")] * 9
        stage.terminal.ends(-9)
        await until(lambda: not stage.terminals.errors)
        detail = (await stage.operator.agent("bob")).status.detail
        assert not life.task.done() and detail is not None and detail.startswith("disk full: ")
        room = True
        await until(lambda: stage.opened == 2)
        await until(lambda: (stage.operator.hub.agent("bob")).status.detail is None)


async def test_a_restart_that_a_stop_overtakes_has_failed(stage: Stage) -> None:
    async with stage.running() as life:
        stage.provider.ready_after = asyncio.Event()
        command = await stage.order("agent.restart")
        await stage.terminals.nth(2)
        life.runner.stop("enough")
        assert await life.over() == RunnerExit(0, "enough")
    assert "enough" in (await stage.commanded(command, CommandState.FAILED)).result["reason"]


@pytest.mark.parametrize(("given_s", "grace"), [(None, "terminate 1.5"), (0.25, "terminate 0.25")])
async def test_a_program_gets_the_time_that_suits_it_or_that_was_given(
    stage: Stage, given_s: float | None, grace: str
) -> None:
    stage.provider.capabilities = replace(ALL, grace_s=1.5)
    async with stage.running(shutdown_timeout_s=given_s) as life:
        life.runner.stop("end")
        await life.over()
    assert grace in stage.terminal.steps


async def test_an_order_beats_an_exit_that_it_caused(stage: Stage, tmp_path: Path) -> None:
    async with stage.running() as life:
        life.runner.stop("wanted")
        stage.terminal.ends(1)
        assert await life.over() == RunnerExit(0, "wanted")


@pytest.mark.parametrize(("now", "action"), [(False, "shutting-down"), (True, "killed")])
async def test_others_know_before_the_program_is_ended(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, now: bool, action: str
) -> None:
    seen: list[tuple[str | None, bool]] = []
    async with stage.running() as life:
        terminate = stage.terminal.terminate

        async def watched(*, grace_s: float = 5.0) -> ExitStatus:
            status = (await stage.operator.agent("bob")).status
            seen.append((status.lifecycle_action, status.ready))
            return await terminate(grace_s=grace_s)

        monkeypatch.setattr(stage.terminal, "terminate", watched)
        life.runner.stop("enough", now=now)
        await life.over()
    assert seen == [(action, False)]


async def test_a_program_that_failed_in_a_terminal_leaves_the_reason(stage: Stage) -> None:
    async with stage.running(headless=False) as life:
        stage.terminal.ends(3)
        assert (await life.over()).code == 1
    status = (await stage.operator.agent("bob")).status
    assert status.agent_status is AgentState.ERROR and status.detail == str(ExitStatus(3))
    assert [event.kind for event in status.timeline][:2] == ["provider-started", "provider-exited"]


async def test_a_terminal_out_of_reach_is_told_until_it_is_back(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay_runner.runner.supervisor.TEND_S", 0.01)

    async def told(text: str | None) -> bool:
        status = (await stage.operator.agent("bob")).status
        return status is not None and status.detail == text

    async with stage.running():
        stage.terminal.trouble = "its socket is gone"
        await until(lambda: told("its socket is gone"))
        stage.terminal.trouble = None
        await until(lambda: told(None))
