import asyncio
import json
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from relay_runner.config import Paths
from relay_runner.errors import ConfigError, ProviderExited, ProviderNotReady
from relay_runner.protocol.agents import AgentState
from relay_runner.protocol.commands import Command, CommandState, NewCommand
from relay_runner.protocol.messages import NewMessage, Outcome, State
from relay_runner.protocol.permissions import Decision, NewDecision, Resolution
from relay_runner.providers.base import (
    Capabilities,
    ProcessState,
    Seen,
    SessionStarted,
    StateChanged,
    SubagentStarted,
    Submission,
    SubmitResult,
    Submitted,
    TurnEnded,
    TurnStarted,
)
from relay_runner.relay.memory.relay import MemoryRelay
from relay_runner.runner.options import RunnerExit, RunnerOptions
from relay_runner.runner.runner import Runner
from tests.scripted import ScriptedProcess, ScriptedProvider, ScriptedTerminal, ScriptedTerminals
from tests.terminals import until

pytestmark = pytest.mark.anyio
ALL = Capabilities(evidence=True, results=True, interrupt=True, resume=True)


class Stage:
    """Everything around one agent's runners: a relay, a provider, terminals, a folder."""

    def __init__(self, root: Path) -> None:
        self.paths = Paths(state=root / "state", config=root / "state")
        self.operator = MemoryRelay()
        self.provider = ScriptedProvider(ALL)
        self.terminals = ScriptedTerminals()
        self.opened = 0

    def runner(self, **options: Any) -> Runner:
        made = RunnerOptions(agent_id="bob", provider="scripted", cwd=self.paths.state, **{"headless": True, **options})
        return Runner(
            made,
            relay=MemoryRelay.of_agent("bob", self.operator.hub),
            provider=self.provider,
            terminals=self.terminals,
            paths=self.paths,
            on_ready=lambda info: self._ready(),
            environ={"PATH": "/usr/bin"},
        )

    def _ready(self) -> None:
        self.opened += 1

    @asynccontextmanager
    async def running(self, runner: Runner | None = None, **options: Any) -> AsyncIterator["Life"]:
        life = Life(self, runner or self.runner(**options), self.opened)
        async with asyncio.TaskGroup() as group:
            life.task = group.create_task(life.live())
            await until(lambda: self.opened > life.before or life.task.done())
            yield life
            if not life.task.done():
                life.runner.stop("the test is over")

    @property
    def process(self) -> ScriptedProcess:
        return self.provider.processes[-1]

    @property
    def terminal(self) -> ScriptedTerminal:
        return self.terminals.opened[-1]

    def file(self, name: str) -> dict[str, Any]:
        file = self.paths.agent("bob").root / name
        return json.loads(file.read_text()) if file.exists() else {}  # type: ignore[no-any-return]

    async def send(self, body: str = "hi") -> int:
        return (await self.operator.send(NewMessage(to="bob", body=body))).message.id

    async def reaches(self, id: int, state: State) -> Any:
        async with asyncio.timeout(10):
            async for record in self.operator.watch(id):
                if record.deliveries[0].state is state:
                    return record.deliveries[0]

    async def order(self, type: str) -> Command:
        return await self.operator.command(NewCommand(type=type, target="bob"))

    async def commanded(self, command: Command, state: CommandState) -> Command:
        """Wait until a command is in this state."""

        async def settled() -> bool:
            return (await self.operator.get_command(command.id)).state is state

        await until(settled)
        return await self.operator.get_command(command.id)


class Life:
    """One runner's life."""

    task: "asyncio.Task[None]"

    def __init__(self, stage: Stage, runner: Runner, before: int) -> None:
        self.stage = stage
        self.runner = runner
        self.before = before
        self.end: RunnerExit | BaseException | None = None

    async def live(self) -> None:
        try:
            self.end = await self.runner.run()
        except Exception as error:
            self.end = error

    async def over(self) -> RunnerExit:
        await asyncio.wait_for(asyncio.shield(self.task), 20)
        assert isinstance(self.end, RunnerExit), self.end
        return self.end


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setattr("relay_runner.runner.policy.STEP_S", 0.01)
    (tmp_path / "state").mkdir()
    return Stage(tmp_path)


async def test_a_life_from_start_to_stop(stage: Stage) -> None:
    async with stage.running() as life:
        info = stage.file("info.json")
        assert (info["agentId"], info["attach"], info["sessionId"]) == ("bob", ["attach", "bob"], "session-1")
        for name in ("info.json", "control.json", "process.json", "journal.db"):
            assert stat.S_IMODE((stage.paths.agent("bob").root / name).stat().st_mode) == 0o600
        life.runner.stop("enough")
        assert await life.over() == RunnerExit(0, "enough")
    assert stage.terminal.steps == ["terminate 5", "close, but for viewers", "close"]
    assert not stage.file("info.json") and not stage.file("process.json")
    assert (await stage.operator.agent("bob")).status.agent_status is AgentState.OFFLINE


async def test_the_program_gets_its_environment_from_us_alone(stage: Stage) -> None:
    async with stage.running():
        env = stage.terminal.spec.env
        control = stage.file("control.json")
        assert (env["AGENT_RELAY_URL"], env["AGENT_RELAY_TOKEN"]) == (control["url"], control["secret"])
        assert env["PATH"].startswith(str(stage.paths.agent("bob").bin))


async def test_work_shows_in_the_status(stage: Stage) -> None:
    async with stage.running():
        process = stage.process

        async def status_is(state: AgentState, subagents: int) -> None:
            async def so() -> bool:
                status = (await stage.operator.agent("bob")).status
                return status.agent_status is state and status.active_subagents == subagents

            await until(so)

        await status_is(AgentState.IDLE, 0)
        process.emit(TurnStarted("t1", "hook"))
        process.emit(SubagentStarted("s1", "hook"))
        await status_is(AgentState.BUSY, 1)
        process.emit(StateChanged(ProcessState.IDLE, "state-file"))
        await status_is(AgentState.IDLE, 0)


async def test_a_program_that_crashes_comes_back_with_its_session(stage: Stage) -> None:
    async with stage.running():
        stage.terminal.ends(-9)
        await stage.terminals.nth(2)
        await until(lambda: stage.opened == 2)
        assert stage.provider.specs[1].resume_session == "session-1"
        assert (
            stage.provider.specs[1].control.provider_session_id != stage.provider.specs[0].control.provider_session_id
        )
        assert stage.terminals.opened[0].steps == ["close, but for viewers"]


async def test_a_program_that_crashes_again_and_again_is_given_up_with_exit_1(stage: Stage) -> None:
    async with stage.running() as life:
        for count in range(1, 5):
            (await stage.terminals.nth(count)).ends(1)
        end = await life.over()
    assert end.code == 1 and "given up: it ended 4 times" in end.reason
    status = (await stage.operator.agent("bob")).status
    assert status.agent_status is AgentState.ERROR and "given up" in (status.detail or "")


async def test_a_program_that_cannot_start_any_more_is_given_up_too(stage: Stage) -> None:
    stage.terminals.errors = [None, *[ProviderExited("it ended at once", exit_code=1)] * 5]
    async with stage.running() as life:
        stage.terminal.ends(-11)
        assert (await life.over()).code == 1


async def test_a_program_that_cannot_start_at_all_says_so(stage: Stage) -> None:
    stage.terminals.errors = [ProviderExited("no such program", exit_code=127)]
    async with stage.running() as life:
        await asyncio.wait_for(asyncio.shield(life.task), 10)
        assert isinstance(life.end, ProviderExited)


async def test_in_a_terminal_the_persons_exit_ends_the_agent(stage: Stage) -> None:
    async with stage.running(headless=False) as life:
        stage.terminal.ends(0)
        assert (await life.over()).code == 0
    assert len(stage.terminals.opened) == 1


async def test_in_a_terminal_a_killed_program_comes_back(stage: Stage) -> None:
    async with stage.running(headless=False):
        stage.terminal.ends(-9)
        await stage.terminals.nth(2)


async def test_a_lost_session_is_started_anew_once(stage: Stage) -> None:
    async with stage.running():
        stage.provider.lost = True
        stage.terminal.ends(-9)
        (await stage.terminals.nth(2)).ends(1)
        await stage.terminals.nth(3)
        await until(lambda: stage.opened >= 2)
        assert [spec.resume_session for spec in stage.provider.specs] == [None, "session-1", None]
        id = await stage.send()
        (submission,) = await stage.process.until(1)
        stage.process.emit(TurnEnded(Outcome.COMPLETED, "hook", (submission.nonce,)))
        await stage.reaches(id, State.DONE)
        assert "session session-1 was lost" in str((await stage.operator.message(id)).deliveries[0].reason)


async def test_fresh_and_resume_choose_the_first_session_only(stage: Stage) -> None:
    async with stage.running():
        pass
    async with stage.running(fresh=True):
        assert stage.provider.specs[-1].resume_session is None
    async with stage.running(resume="chosen"):
        assert stage.provider.specs[-1].resume_session == "chosen"
        stage.terminal.ends(-9)
        await until(lambda: len(stage.provider.specs) == 4)
        assert stage.provider.specs[-1].resume_session == "chosen"


async def test_a_provider_that_wants_a_person_first_ends_a_headless_start(stage: Stage) -> None:
    stage.provider.not_ready = ProviderNotReady("not logged in", hint="run `scripted` once")
    async with stage.running() as life:
        await asyncio.wait_for(asyncio.shield(life.task), 10)
        assert isinstance(life.end, ProviderNotReady)
    assert stage.terminal.steps[-1] == "close" and not stage.file("process.json")


async def test_a_live_agent_has_one_runner(stage: Stage) -> None:
    async with stage.running():
        with pytest.raises(ConfigError, match="bob is live already"):
            await stage.runner().run()


async def test_handed_over_and_adopted_with_port_secret_and_session(stage: Stage) -> None:
    async with stage.running() as first:
        control, id = stage.file("control.json"), await stage.send()
        (submission,) = await stage.process.until(1)
        stage.process.emit(Seen(submission.nonce, "hook"))
        await stage.reaches(id, State.SEEN)
        first.runner.hand_over("replaced")
        assert (await first.over()).code == 0
    assert stage.terminal.steps == ["detach"] and stage.terminal.alive()
    async with stage.running():
        assert len(stage.terminals.opened) == 1, "adopted"
        assert stage.file("control.json") == control
        stage.process.emit(TurnEnded(Outcome.COMPLETED, "hook", (submission.nonce,), "carried over"))
        assert (await stage.reaches(id, State.DONE)).result == "carried over"


async def test_a_message_on_its_way_in_is_in_before_another_runner_takes_over(stage: Stage) -> None:
    begun, gate = asyncio.Event(), asyncio.Event()

    async with stage.running() as first:

        async def slow(submission: Submission) -> SubmitResult:
            begun.set()
            await gate.wait()
            return Submitted("script")

        stage.process.submit = slow  # type: ignore[method-assign]
        id = await stage.send()
        await begun.wait()
        first.runner.hand_over("replaced")
        await asyncio.wait([first.task], timeout=0.1)
        assert stage.terminal.steps == [] and not first.task.done()
        gate.set()
        assert (await first.over()).code == 0
        assert (await stage.reaches(id, State.SUBMITTED)).nonce is not None


async def test_an_adopted_process_whose_port_was_taken_is_restarted_when_idle(stage: Stage) -> None:
    stage.provider.capabilities = Capabilities(evidence=True, resume=True, hooks=True)
    async with stage.running() as first:
        first.runner.hand_over("replaced")
        await first.over()
    stranger = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", stage.file("control.json")["port"])
    async with stranger, stage.running():
        await until(lambda: len(stage.terminals.opened) == 2 or "port was taken" in _detail(stage))
        stage.process.becomes(ProcessState.IDLE)
        await stage.terminals.nth(2)
        assert stage.provider.specs[-1].resume_session == "session-1"


async def test_a_port_that_another_user_took_is_left_at_once(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage.running() as first:
        first.runner.hand_over("replaced")
        await first.over()
    saved = stage.file("control.json")
    monkeypatch.setattr("relay_runner.terminal.processes.listening_user", lambda port: os.getuid() + 1)
    stranger = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", saved["port"])
    async with stranger, stage.running():
        await stage.terminals.nth(2)  # busy or not
        now = stage.file("control.json")
        assert now["port"] != saved["port"] and now["secret"] != saved["secret"]


@pytest.mark.parametrize("resume", [True, False])
async def test_a_process_whose_port_nothing_keeps_is_restarted_when_idle_or_told(stage: Stage, resume: bool) -> None:
    stage.provider.capabilities = Capabilities(evidence=True, resume=resume)
    async with stage.running() as first:
        first.runner.hand_over("replaced")
        await first.over()
    file = stage.paths.agent("bob").process
    file.write_bytes(file.read_bytes().replace(b'"/no/pipe"', b"null"))
    async with stage.running():
        if resume:
            await stage.terminals.nth(2)
        else:
            await until(lambda: "not kept" in _detail(stage))
            assert len(stage.terminals.opened) == 1


def _detail(stage: Stage) -> str:
    return stage.operator.hub.agent("bob").status.detail or ""


async def test_messages_of_a_restarted_agent_are_settled_and_the_rest_goes_in(stage: Stage) -> None:
    async with stage.running():
        cut, waits = await stage.send("cut"), await stage.send("waits")
        (submission,) = await stage.process.until(1)
        stage.process.emit(Seen(submission.nonce, "hook"))
        await stage.reaches(cut, State.SEEN)
        command = await stage.order("agent.restart")
        assert (await stage.reaches(cut, State.DONE)).outcome is Outcome.INTERRUPTED
        await stage.terminals.nth(2)
        await until(lambda: stage.opened == 2)
        assert (await stage.process.until(1))[0].message.id == waits

        async def told() -> bool:
            return (await stage.operator.get_command(command.id)).state is CommandState.SUCCEEDED

        await until(told)


async def test_not_12_a_restart_goes_on_with_the_conversation(stage: Stage) -> None:
    """Mistake 12: restart forgets the conversation."""
    async with stage.running():
        stage.process.emit(SessionStarted("after-a-clear", "script"))
        await stage.order("agent.restart")
        await until(lambda: stage.opened == 2)
        assert [spec.resume_session for spec in stage.provider.specs] == [None, "after-a-clear"]
        assert stage.file("info.json")["sessionId"] == "after-a-clear"
    async with stage.running():
        assert stage.provider.specs[-1].resume_session == "after-a-clear"


async def test_every_program_can_ask_what_is_owed(stage: Stage) -> None:
    """Promise: obligations."""
    async with stage.running():
        new = NewMessage(to="bob", body="may I?", reply_required=True)
        id = (await stage.operator.send(new)).message.id
        (submission,) = await stage.process.until(1)
        text = await stage.provider.specs[-1].owed((submission.nonce,))
        assert text is not None and f"Message {id} " in text


async def test_reconnect_leaves_the_bus_and_joins_it_again(stage: Stage) -> None:
    """Promise: commands."""
    async with stage.running():
        left = len([event for event in stage.operator.hub.board.log if event.data.get("action") == "joined"])
        command = await stage.order("agent.reconnect")

        async def told() -> bool:
            return (await stage.operator.get_command(command.id)).state is CommandState.SUCCEEDED

        await until(told)
        joined = [event for event in stage.operator.hub.board.log if event.data.get("action") == "joined"]
        assert len(joined) == left + 1
        assert (await stage.operator.agent("bob")).connected
        id = await stage.send("still here")
        await stage.process.until(1)
        await stage.reaches(id, State.SUBMITTED)


@pytest.mark.parametrize(("type", "step"), [("agent.shutdown", "terminate 5"), ("agent.kill", "terminate 0")])
async def test_shutdown_and_kill_end_everything_and_retire_the_agent(stage: Stage, type: str, step: str) -> None:
    async with stage.running() as life:
        command = await stage.order(type)
        assert (await life.over()).code == 0
    assert stage.terminal.steps[0] == step
    assert (await stage.operator.get_command(command.id)).state is CommandState.SUCCEEDED
    assert await stage.operator.agents() == []


async def test_interrupt_reaches_the_process(stage: Stage) -> None:
    async with stage.running():
        await stage.order("agent.interrupt")
        await until(lambda: stage.process.interrupts == 1)


async def test_a_second_stop_skips_the_grace(stage: Stage) -> None:
    async with stage.running() as life:
        life.runner.stop("again", now=True)
        await life.over()
    assert stage.terminal.steps == ["terminate 0", "close, but for viewers", "close"]


async def test_a_superseded_runner_ends_with_exit_1(stage: Stage) -> None:
    async with stage.running() as life:
        from relay_runner.runner.journal import Journal
        from tests.unit.runner.desk import Desk

        with Journal(stage.paths.state / "other.db") as journal:
            async with Desk(journal, stage.operator, instance_id="newer").running(None):
                end = await life.over()
    assert end.code == 1 and "took over" in end.reason


async def test_a_permission_is_asked_answered_and_shown(stage: Stage) -> None:
    async with stage.running():
        stage.process.asks("p1")
        await until(lambda: "p1" in stage.operator.hub.questions.ids())
        agent = await stage.operator.agent("bob")
        assert agent.status.busy_reasons[0] == "asks for permission p1: mkdir x"
        await stage.operator.decide("p1", NewDecision(decision=Decision.APPROVE))
        await until(lambda: stage.operator.hub.questions.ids(open=True) == [])
        assert [answer.decision for _, answer in stage.process.answers] == [Decision.APPROVE]


async def test_a_runner_that_ends_says_that_its_questions_are_over(stage: Stage) -> None:
    async with stage.running() as life:
        stage.process.asks("p1")
        await until(lambda: stage.operator.hub.questions.ids() == ["p1"])
        life.runner.stop("enough")
        await life.over()
        assert (await stage.operator.permission("p1")).resolution is Resolution.WITHDRAWN


async def test_a_runner_that_hands_over_leaves_its_questions_open(stage: Stage) -> None:
    async with stage.running() as life:
        stage.process.asks("p1")
        await until(lambda: stage.operator.hub.questions.ids() == ["p1"])
        life.runner.hand_over("the next one takes it")
        await life.over()
        assert stage.operator.hub.questions.ids(open=True) == ["p1"]


async def test_the_info_file_is_there_before_the_program_and_complete_after(stage: Stage, tmp_path: Path) -> None:
    copy = tmp_path / "spawner.json"
    before: list[dict[str, Any]] = []
    opens = stage.terminals.open

    async def watched(spec: Any) -> Any:
        before.append(json.loads(copy.read_text()))
        return await opens(spec)

    stage.terminals.open = watched  # type: ignore[method-assign]
    async with stage.running(info_file=copy):
        after = json.loads(copy.read_text())
        assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    needed = {"agentId", "runnerId", "provider", "controlUrl", "pid", "tmuxSession", "tmuxSocket", "startedAt"}
    for told in (*before, after):
        assert needed <= set(told) and told["agentId"] == "bob" and told["controlUrl"].startswith("http://127.0.0.1:")
    assert (before[0]["tmuxSession"], before[0]["providerPid"]) == (None, None)
    assert after["tmuxSession"] == "bob" and after["providerPid"] is not None
    assert (after["runnerId"], after["startedAt"]) == (before[0]["runnerId"], before[0]["startedAt"])


async def test_a_command_that_a_lost_bus_did_not_bring_is_found_when_it_is_back(stage: Stage) -> None:
    async with stage.running() as life:
        presence = life.runner._presence
        presence._on_frame = lambda frame: None
        command = await stage.order("agent.interrupt")
        assert command.state is CommandState.ACCEPTED
        presence.redial()

        async def done() -> bool:
            return (await stage.operator.get_command(command.id)).state is CommandState.SUCCEEDED

        await until(done)
        assert stage.process.interrupts == 1


async def test_a_command_answers_a_permission(stage: Stage) -> None:
    async with stage.running():
        stage.process.asks("p1")
        await until(lambda: stage.operator.hub.questions.ids() == ["p1"])
        args = {"permissionId": "p1", "decision": "deny", "reason": "no"}
        given = await stage.operator.command(NewCommand(type="agent.permissionDecision", target="bob", args=args))

        async def done() -> bool:
            return (await stage.operator.get_command(given.id)).state is CommandState.SUCCEEDED

        await until(done)
        assert (await stage.operator.get_command(given.id)).result["decision"] == "deny"
        await until(lambda: stage.operator.hub.questions.ids(open=True) == [])
        closed = await stage.operator.permission("p1")
        assert (closed.decision, closed.decided_by) == (Decision.DENY, "person:operator")
