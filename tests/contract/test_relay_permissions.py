"""Permissions on every relay: asked once, answered once, told to the runner, and never answered by an agent."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from relay_runner.errors import ClaimLost, RelayNotFound, RelayRefused, RelayUnauthorized
from relay_runner.protocol.frames import PermissionDecision
from relay_runner.protocol.permissions import (
    Decision,
    NewDecision,
    NewPermission,
    Permission,
    PermissionQuery,
    PermissionState,
    PermissionUpdate,
    Question,
    Resolution,
)
from relay_runner.protocol.tokens import ADMIN, OPERATOR, SEND
from tests.contract.relays import WAIT_S, Seat, World, seat
from tests.contract.test_relays import fails

pytestmark = pytest.mark.anyio

APPROVE = NewDecision(decision=Decision.APPROVE)
OFFERED = (Decision.APPROVE, Decision.APPROVE_SESSION, Decision.DENY, Decision.ABORT)


def asked(by: Seat, id: str = "p1", **more: Any) -> NewPermission:
    values = {"kind": "command", "title": "mkdir x", "decisions": OFFERED, **more}
    return NewPermission(id=id, agent_id=by.agent_id, instance_id=by.instance_id, **values)


def report(by: Seat, **more: Any) -> PermissionUpdate:
    return PermissionUpdate(agent_id=by.agent_id, instance_id=by.instance_id, **more)


async def open_ids(world: World, agent_id: str | None = None) -> list[str]:
    found = await world.operator.permissions(PermissionQuery(agent_id=agent_id, open=True))
    return [permission.id for permission in found]


async def test_a_permission_goes_its_whole_way(world: World) -> None:
    async with seat(world, "bob") as bob:
        opened = await bob.relay.open_permission(asked(bob, detail="why", expires_at=world.clock.now + 540))
        assert opened.state is PermissionState.OPEN and opened.title == "mkdir x"
        assert await world.operator.permission("p1") == opened
        assert await bob.relay.permissions(PermissionQuery(agent_id="bob", open=True)) == [opened]
        decided = await world.operator.decide(
            "p1", NewDecision(decision=Decision.DENY, reason="use\x1b[2J the other folder")
        )
        assert (decided.state, decided.decided_by) == (PermissionState.DECIDED, "person:op")
        frame = await bob.next(PermissionDecision)
        assert (frame.permission_id, frame.decision, frame.by) == ("p1", Decision.DENY, "person:op")
        assert frame.reason == "use[2J the other folder"
        closed = await bob.relay.update_permission("p1", report(bob, resolution=Resolution.APPLIED))
        assert (closed.state, closed.resolution) == (PermissionState.CLOSED, Resolution.APPLIED)
        assert await open_ids(world) == []
        assert await world.operator.permissions(PermissionQuery(agent_id="bob")) == [closed]


async def test_asking_twice_is_asking_once(world: World) -> None:
    async with seat(world, "bob") as bob, seat(world, "eve") as eve:
        first = await bob.relay.open_permission(asked(bob))
        assert await bob.relay.open_permission(asked(bob, title="rm -rf /")) == first
        await fails(RelayRefused, eve.relay.open_permission(asked(eve)), "another agent's")
        await world.operator.decide("p1", APPROVE)
        assert (await bob.relay.open_permission(asked(bob))).state is PermissionState.DECIDED
        for bad in ("", "../x", "a" * 81):
            await fails(RelayRefused, bob.relay.open_permission(asked(bob, id=bad)))
        await fails(RelayRefused, bob.relay.open_permission(asked(bob, id="p2", title=" \x1b")))


async def test_what_can_be_answered_may_change_while_it_is_asked(world: World) -> None:
    async with seat(world, "bob") as bob:
        await bob.relay.open_permission(asked(bob))
        fewer = await bob.relay.open_permission(asked(bob, decisions=(Decision.APPROVE,), note="by its keys"))
        assert (fewer.decisions, fewer.note) == ((Decision.APPROVE,), "by its keys")
        await fails(RelayRefused, world.operator.decide("p1", NewDecision(decision=Decision.DENY)), "approve")


async def test_the_first_answer_stands_and_the_late_one_is_told_so(world: World) -> None:
    async with seat(world, "bob") as bob:
        await bob.relay.open_permission(asked(bob))
        other = await world.be("person:zoe", (SEND, OPERATOR))
        async with other:
            first = await world.operator.decide("p1", APPROVE)
            assert await world.operator.decide("p1", APPROVE) == first
            late = NewDecision(decision=Decision.DENY)
            await fails(RelayRefused, other.decide("p1", late), "already answered with approve by person:op")
            await fails(RelayRefused, world.operator.decide("p1", late), "already answered")
            await bob.relay.update_permission("p1", report(bob, resolution=Resolution.APPLIED))
            await fails(RelayRefused, other.decide("p1", late), "already answered with approve by person:op")
        assert await world.operator.permission("p1") == (await world.operator.permissions(PermissionQuery()))[0]


@pytest.mark.parametrize(
    ("resolution", "words"),
    [
        (Resolution.TERMINAL, "answered at the terminal"),
        (Resolution.EXPIRED, "nobody answered in time"),
        (Resolution.WITHDRAWN, "asked no more"),
    ],
)
async def test_who_comes_after_the_end_hears_of_it(world: World, resolution: Resolution, words: str) -> None:
    async with seat(world, "bob") as bob:
        await bob.relay.open_permission(asked(bob))
        await bob.relay.update_permission("p1", report(bob, resolution=resolution))
        await fails(RelayRefused, world.operator.decide("p1", APPROVE), words)
        again = await bob.relay.update_permission("p1", report(bob, resolution=Resolution.APPLIED))
        assert again.resolution is resolution


async def test_an_answer_that_lost_against_the_terminal_is_not_shown_as_the_one_that_counts(world: World) -> None:
    async with seat(world, "bob") as bob:
        await bob.relay.open_permission(asked(bob))
        await world.operator.decide("p1", NewDecision(decision=Decision.DENY))
        update = report(bob, resolution=Resolution.TERMINAL, decision=Decision.APPROVE)
        closed = await bob.relay.update_permission("p1", update)
        assert (closed.decision, closed.decided_by) == (Decision.APPROVE, None)
        assert "deny by person:op came too late" in (closed.note or "")


async def test_only_what_is_offered_can_be_answered(world: World) -> None:
    async with seat(world, "bob") as bob:
        await bob.relay.open_permission(asked(bob, decisions=(Decision.APPROVE, Decision.DENY)))
        always = NewDecision(decision=Decision.APPROVE_ALWAYS)
        await fails(RelayRefused, world.operator.decide("p1", always), "does not offer", "approve, deny")
        note = report(bob, note="answer at the terminal", decisions=())
        assert (await bob.relay.update_permission("p1", note)).note == "answer at the terminal"
        await fails(RelayRefused, world.operator.decide("p1", APPROVE), "answer at the terminal")
        assert await open_ids(world) == ["p1"]


async def test_answers_fit_the_questions(world: World) -> None:
    questions = (
        Question(id="color", text="Which?", options=("red", "blue")),
        Question(id="sizes", text="Sizes?", options=("s", "m"), multiple=True),
        Question(id="why", text="Why?", required=False),
        Question(id="shape", text="Shape?", options=("round",), other=True, required=False),
    )
    async with seat(world, "bob") as bob:
        await bob.relay.open_permission(asked(bob, questions=questions))

        def answer(**answers: Any) -> NewDecision:
            return NewDecision(decision=Decision.APPROVE, answers=answers)

        for bad, word in (
            (answer(color="red"), "sizes"),
            (answer(color="green", sizes="s"), "red, blue"),
            (answer(color=["red"], sizes="s"), "color"),
            (answer(color="red", sizes=["s", "xl"]), "s, m"),
            (answer(color="red", sizes="s", taste="good"), "taste"),
            (NewDecision(decision=Decision.DENY, answers={"color": "red"}), "reason"),
        ):
            await fails(RelayRefused, world.operator.decide("p1", bad), word)
        good = answer(color="red", sizes="s", shape="square", why="be\x07cause")
        decided = await world.operator.decide("p1", good)
        assert decided.answers == {"color": "red", "sizes": ["s"], "why": "because", "shape": "square"}
        assert await world.operator.decide("p1", good) == decided
        assert (await bob.next(PermissionDecision)).answers == decided.answers


async def test_an_answer_that_came_while_nobody_listened_is_told_at_the_hello(world: World) -> None:
    async with seat(world, "bob") as bob:
        for id in ("p1", "p2", "p3"):
            await bob.relay.open_permission(asked(bob, id))
    await world.operator.decide("p1", NewDecision(decision=Decision.APPROVE_SESSION))
    await world.operator.decide("p3", APPROVE)
    async with seat(world, "bob", "two") as bob:
        frame = await bob.next(PermissionDecision)
        assert (frame.permission_id, frame.decision) == ("p1", Decision.APPROVE_SESSION)
        assert (await bob.next(PermissionDecision)).permission_id == "p3"
        await bob.relay.update_permission("p1", report(bob, resolution=Resolution.APPLIED))
    async with seat(world, "bob", "two") as bob:
        assert (await bob.next(PermissionDecision)).permission_id == "p3"


async def test_a_newer_instance_goes_on_with_what_its_predecessor_asked(world: World) -> None:
    async with seat(world, "bob", "one") as old:
        await old.relay.open_permission(asked(old))
        async with seat(world, "bob", "two") as new:
            await fails(ClaimLost, old.relay.update_permission("p1", report(old, resolution=Resolution.WITHDRAWN)))
            await fails(ClaimLost, old.relay.open_permission(asked(old, "p2")))
            again = await new.relay.open_permission(asked(new, decisions=(), note="answer at the terminal"))
            assert (again.instance_id, again.decisions, again.note) == ("two", (), "answer at the terminal")
            assert (again.created_at, again.title) == ((await world.operator.permission("p1")).created_at, "mkdir x")


async def test_an_agent_never_answers_and_sees_only_its_own(world: World) -> None:
    promoted = await world.be("agent:bob", ("agent:bob", SEND, OPERATOR, ADMIN))
    async with seat(world, "bob") as bob, seat(world, "eve") as eve, await world.person("ann") as ann, promoted:
        await bob.relay.open_permission(asked(bob))
        for relay in (bob.relay, eve.relay, ann):
            await fails(RelayUnauthorized, relay.decide("p1", APPROVE))
        await fails(RelayUnauthorized, promoted.decide("p1", APPROVE), "an agent cannot")
        await fails(RelayUnauthorized, bob.relay.permissions(PermissionQuery()))
        await fails(RelayUnauthorized, eve.relay.permissions(PermissionQuery(agent_id="bob")))
        await fails(RelayNotFound, eve.relay.permission("p1"))
        lie = PermissionUpdate(agent_id="eve", instance_id="one", resolution=Resolution.APPLIED)
        await fails(RelayNotFound, eve.relay.update_permission("p1", lie))
        pretend = PermissionUpdate(agent_id="bob", instance_id="one", resolution=Resolution.APPLIED)
        await fails(RelayUnauthorized, eve.relay.update_permission("p1", pretend))
        assert (await bob.relay.permission("p1")).state is PermissionState.OPEN


async def test_an_unknown_id_is_refused_with_the_nearest(world: World) -> None:
    async with seat(world, "bob") as bob:
        await bob.relay.open_permission(asked(bob, "3f9a1c2b00"))
        await fails(RelayNotFound, world.operator.decide("3f9a1c2b01", APPROVE), "did you mean 3f9a1c2b00?")
        await fails(RelayNotFound, world.operator.permission("zzz"), "relay-runner permissions")
        await fails(RelayNotFound, bob.relay.update_permission("zzz", report(bob)))


async def test_a_retired_agent_asks_nothing_any_more(world: World) -> None:
    async with seat(world, "bob") as bob:
        await bob.relay.open_permission(asked(bob))
        await world.operator.remove_agent("bob")
        assert (await world.operator.permission("p1")).resolution is Resolution.WITHDRAWN


async def test_a_list_is_of_one_agent_or_all_oldest_first_and_bounded(world: World) -> None:
    async with seat(world, "bob") as bob, seat(world, "eve") as eve:
        for by, id in ((bob, "p1"), (eve, "p2"), (bob, "p3")):
            await by.relay.open_permission(asked(by, id))
        assert await open_ids(world) == ["p1", "p2", "p3"]
        assert await open_ids(world, "bob") == ["p1", "p3"]
        newest: list[Permission] = await world.operator.permissions(PermissionQuery(limit=2))
        assert [permission.id for permission in newest] == ["p2", "p3"]


async def test_every_step_is_an_event_without_what_it_is_about(world: World) -> None:
    async with seat(world, "bob") as bob:
        await bob.relay.open_permission(asked(bob, title="secret-title"))
        await world.operator.decide("p1", NewDecision(decision=Decision.DENY, reason="secret-reason"))
        await bob.relay.update_permission("p1", report(bob, resolution=Resolution.APPLIED))
        found: list[dict[str, Any]] = []
        stream = aiter(world.operator.events(after=0))
        async with asyncio.timeout(WAIT_S):
            while len(found) < 3:
                event = await anext(stream)
                if event.type == "permission":
                    found.append(event.data)
        await stream.aclose()  # type: ignore[attr-defined]
        assert [event["state"] for event in found] == ["open", "decided", "closed"]
        assert found[-1] == {
            "id": "p1", "agentId": "bob", "state": "closed", "decision": "deny", "resolution": "applied",
        }  # fmt: skip
        assert "secret" not in str(found)
