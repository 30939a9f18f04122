"""Twenty whole runners and one tag, over the real relay: every claimable message has one winner, and none is lost.

Promises: tasks and claims.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from relay_runner.config import Paths
from relay_runner.protocol.commands import NewTask, TaskQuery, TaskState
from relay_runner.protocol.messages import MessageQuery, NewMessage, Outcome, State
from relay_runner.protocol.tokens import SEND, TokenRequest, agent_scope
from relay_runner.providers.base import Capabilities, ProcessState, Seen, StateChanged, Submission, Submitted, TurnEnded
from relay_runner.relay.http import HttpRelay
from relay_runner.runner.options import RunnerOptions
from relay_runner.runner.runner import Runner
from relay_runner.server.core import Core
from tests.contract.relays import served
from tests.scripted import ScriptedProcess, ScriptedProvider, ScriptedTerminals
from tests.terminals import until
from tests.unit.server.raw import token_of

pytestmark = pytest.mark.anyio
RUNNERS = 20
MESSAGES = 40
TURN_S = 0.02


class Worker:
    """One agent whose turns take a moment and complete."""

    def __init__(self, name: str, paths: Paths) -> None:
        self.name = name
        self.paths = paths
        self.provider = ScriptedProvider(Capabilities(evidence=True, results=True))
        self.ready = asyncio.Event()
        self.runner: Runner

    async def live(self, core: Core, url: str) -> None:
        request = TokenRequest(subject=f"agent:{self.name}", scopes=(agent_scope(self.name), SEND))
        token = (await core.tokens.mint(request)).token
        options = RunnerOptions(
            agent_id=self.name, provider="scripted", cwd=self.paths.state, headless=True, tags=("worker",)
        )
        self.runner = Runner(
            options,
            relay=HttpRelay.at(url, token),
            provider=self.provider,
            terminals=ScriptedTerminals(),
            paths=self.paths,
            on_ready=lambda info: self._begin(),
            environ={},
        )
        await self.runner.run()

    def _begin(self) -> None:
        self.provider.processes[-1].script = self._turn
        self.ready.set()

    def _turn(self, process: ScriptedProcess, submission: Submission) -> Submitted:
        process._state = ProcessState.BUSY
        process.emit(StateChanged(ProcessState.BUSY, "script"))
        process.emit(Seen(submission.nonce, "script"))
        asyncio.get_running_loop().call_later(TURN_S, self._end, process, submission.nonce)
        return Submitted("script")

    def _end(self, process: ScriptedProcess, nonce: str) -> None:
        process._state = ProcessState.IDLE
        process.emit(TurnEnded(Outcome.COMPLETED, "script", (nonce,), self.name))
        process.emit(StateChanged(ProcessState.IDLE, "script"))

    def took(self) -> list[int]:
        """Return the messages that entered this agent's program."""
        return [one.message.id for process in self.provider.processes for one in process.submissions]


async def test_twenty_runners_on_one_tag_share_forty_messages_and_each_has_one_winner(tmp_path: Path) -> None:
    paths = Paths(state=tmp_path / "state", config=tmp_path / "state")
    paths.state.mkdir()
    workers = [Worker(f"w{number}", paths) for number in range(RUNNERS)]
    async with AsyncExitStack() as stack:
        core, url = await stack.enter_async_context(served(tmp_path / "relay.db"))
        operator = await stack.enter_async_context(HttpRelay.at(url, await token_of(core)))
        group = await stack.enter_async_context(asyncio.TaskGroup())
        for worker in workers:
            group.create_task(worker.live(core, url))
        await asyncio.gather(*[asyncio.wait_for(worker.ready.wait(), 60) for worker in workers])
        tasks = [(await operator.create_task(NewTask(subject=str(n)))).id for n in range(MESSAGES)]
        sent = await asyncio.gather(
            *[
                operator.send(NewMessage(to="tag:worker", body="x", claimable=True, payload={"taskId": task}))
                for task in tasks
            ]
        )

        async def all_done() -> bool:
            found = await operator.messages(MessageQuery(states=(State.DONE,), limit=200))
            return len(found) == MESSAGES

        await until(all_done, patience_s=60)
        done = await operator.messages(MessageQuery(states=(State.DONE,), limit=200))
        took = {worker.name: worker.took() for worker in workers}
        assert Counter(id for ids in took.values() for id in ids) == {one.message.id: 1 for one in sent}
        for record in done:
            (delivery,) = record.deliveries
            winner = (delivery.recipient or "").removeprefix("agent:")
            assert delivery.result == winner and record.message.id in took[winner] and delivery.attempt == 1
        assert sum(bool(ids) for ids in took.values()) > RUNNERS / 2, "the work is shared"
        ended = await operator.tasks(TaskQuery(states=(TaskState.DONE,), limit=200))
        assert {task.id: task.agent_id for task in ended} == {
            record.message.payload["taskId"]: (record.deliveries[0].recipient or "")[6:] for record in done
        }
        for worker in workers:
            worker.runner.stop("the test is over")
