"""What a store forgets, and what it must not."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay_runner.errors import ClaimLost, RelayNotFound
from relay_runner.protocol.acceptance import MAX_TTL_S
from relay_runner.protocol.access import Caller
from relay_runner.protocol.agents import Status, TimelineEvent
from relay_runner.protocol.commands import CommandState, CommandUpdate, NewCommand, NewTask, TaskQuery
from relay_runner.protocol.messages import UNPROVEN, MessageQuery, NewReply, Outcome, Receipt, State
from relay_runner.protocol.tokens import SEND
from relay_runner.server.store import tidy
from relay_runner.server.store.tidy import (
    AGENTS_KEPT_S,
    COMMANDS_KEPT_S,
    INSTANCES_KEPT_S,
    MESSAGES_KEPT_S,
    TASKS_KEPT_S,
)
from tests.unit.server.store.world import OPERATOR_CALLER, Keeper, agent_caller, keeping

pytestmark = pytest.mark.anyio


ANN = Caller("person:ann", frozenset({SEND}))


def report(state: State, **more: object) -> Receipt:
    return Receipt(agent_id="bob", instance_id="one", attempt=1, state=state, **more)  # type: ignore[arg-type]


async def ids(keeper: Keeper) -> list[int]:
    return [entry.message.id for entry in await keeper.store.records(OPERATOR_CALLER, MessageQuery(oldest_first=True))]


async def test_messages_go_a_month_after_they_are_over(tmp_path: Path) -> None:
    async with keeping(tmp_path) as keeper:
        await keeper.join("bob")
        done, unproven, read, waiting, working = [
            await keeper.post(to, ttl_s=MAX_TTL_S) for to in ("bob", "bob", "person:ann", "person:ann", "bob")
        ]
        for one in (done, unproven, working):
            await keeper.store.receipt(one, report(State.SUBMITTING, lease_s=24 * 3600.0))
        await keeper.store.receipt(done, report(State.DONE, outcome=Outcome.COMPLETED))
        await keeper.store.receipt(unproven, report(State.SUBMITTED, evidence=UNPROVEN))
        await keeper.store.react(OPERATOR_CALLER, done, "ok")
        await keeper.store.read(ANN, read)
        keeper.clock.now += MESSAGES_KEPT_S - 1
        await keeper.store.tidy()
        assert await ids(keeper) == [done, unproven, read, waiting, working]
        keeper.clock.now += 2
        await keeper.store.tidy()
        assert await ids(keeper) == [waiting, working]
        with pytest.raises(RelayNotFound):
            await keeper.store.record(OPERATOR_CALLER, done)
        with pytest.raises(RelayNotFound):
            await keeper.store.reply(agent_caller("bob"), done, NewReply(body="late"))
        assert await keeper.post("bob") == working + 1


async def test_everything_old_goes_in_small_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tidy, "FORGOTTEN", 2)
    monkeypatch.setattr(tidy, "EVENTS_FORGOTTEN", 3)
    async with keeping(tmp_path) as keeper:
        await keeper.join("bob")
        for _ in range(5):
            await keeper.store.receipt(await keeper.post("bob"), report(State.DEAD, reason="no"))
        keeper.clock.now += MESSAGES_KEPT_S + 1
        commits = keeper.store.commits
        await keeper.store.tidy()
        assert await ids(keeper) == []
        assert await keeper.store.events_after(0, 100) == []
        assert keeper.store.commits - commits > 3


async def test_an_instance_is_remembered_for_a_month_after_it_was_superseded(tmp_path: Path) -> None:
    async with keeping(tmp_path) as keeper:
        await keeper.join("bob", "one")
        keeper.clock.now += INSTANCES_KEPT_S + 1
        await keeper.join("bob", "two")
        keeper.clock.now += INSTANCES_KEPT_S - 1
        await keeper.store.tidy()
        with pytest.raises(ClaimLost):
            await keeper.join("bob", "one")
        keeper.clock.now += 2
        await keeper.store.tidy()
        await keeper.store.heartbeat("bob", "two")
        await keeper.join("bob", "one")  # nobody remembers it any more
        with pytest.raises(ClaimLost):
            await keeper.join("bob", "two")


async def test_an_agent_goes_a_month_after_it_was_removed_but_not_before_its_messages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tidy, "FORGOTTEN", 1)
    async with keeping(tmp_path) as keeper:
        for agent_id in ("gone", "gone-too", "written-to", "lives"):
            await keeper.join(agent_id)
            await keeper.store.put_status(agent_id, "one", Status(timeline=(TimelineEvent(id="1", kind="x", at=1.0),)))
        await keeper.post("written-to", ttl_s=MAX_TTL_S)
        for agent_id in ("gone", "gone-too", "written-to"):
            await keeper.store.remove_agent(agent_id)

        async def known() -> list[str]:
            kept = []
            for table in ("agents", "timeline", "instances"):
                column = "id" if table == "agents" else "agent_id"
                query = f"SELECT {column} FROM {table} ORDER BY 1"
                kept.append(
                    await keeper.store._reader.ask(lambda tx, query=query: tx._connection.execute(query).fetchall())
                )
            assert kept[0] == kept[1] == kept[2]
            return [row[0] for row in kept[0]]

        keeper.clock.now += AGENTS_KEPT_S - 1
        await keeper.store.tidy()
        assert await known() == ["gone", "gone-too", "lives", "written-to"]
        keeper.clock.now += 2
        await keeper.store.tidy()
        assert await known() == ["lives", "written-to"]
        with pytest.raises(RelayNotFound, match="there is no agent gone"):
            await keeper.post("gone")
        await keeper.join("gone")
        assert (await keeper.store.agent("gone")).connected


async def test_only_settled_commands_go(tmp_path: Path) -> None:
    async with keeping(tmp_path) as keeper:
        await keeper.join("bob")
        new = NewCommand(type="agent.restart", target="bob", timeout_s=30.0)
        settled, open_ = [(await keeper.store.command(OPERATOR_CALLER, new)).id for _ in range(2)]
        await keeper.store.update_command(agent_caller("bob"), settled, CommandUpdate(state=CommandState.RUNNING))
        await keeper.store.update_command(agent_caller("bob"), settled, CommandUpdate(state=CommandState.SUCCEEDED))
        keeper.clock.now += COMMANDS_KEPT_S + 1
        await keeper.store.tidy()
        assert [command.id for command in await keeper.store.commands("bob", pending=False)] == [open_]


async def test_tasks_go_a_month_after_they_were_touched_last_but_not_before_their_messages(tmp_path: Path) -> None:
    async with keeping(tmp_path) as keeper:
        await keeper.join("bob")
        kept, old = [await keeper.store.create_task(OPERATOR_CALLER, NewTask(subject="s")) for _ in range(2)]
        await keeper.post("bob", ttl_s=MAX_TTL_S, payload={"taskId": kept.id})
        keeper.clock.now += TASKS_KEPT_S - 1
        await keeper.store.tidy()
        assert len(await keeper.store.tasks(OPERATOR_CALLER, TaskQuery())) == 2
        keeper.clock.now += 2
        await keeper.store.tidy()
        assert [task.id for task in await keeper.store.tasks(OPERATOR_CALLER, TaskQuery())] == [kept.id]
        with pytest.raises(RelayNotFound):
            await keeper.store.get_task(OPERATOR_CALLER, old.id)
