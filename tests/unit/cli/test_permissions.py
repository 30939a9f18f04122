"""What a person types to see and to answer what agents ask."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from relay_runner import config
from relay_runner.cli import deciding
from relay_runner.protocol.permissions import (
    AT_THE_TERMINAL,
    Decision,
    NewDecision,
    NewPermission,
    Permission,
    PermissionUpdate,
    Question,
    Resolution,
)
from relay_runner.relay.memory.relay import MemoryRelay
from tests.unit.cli.conftest import World

OFFERED = (Decision.APPROVE, Decision.APPROVE_SESSION, Decision.DENY, Decision.ABORT)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deciding, "SETTLE_S", 0.05)
    monkeypatch.setattr(deciding, "POLL_S", 0.01)


def asks(world: World, id: str = "3f9a1c2b00", **more: Any) -> MemoryRelay:
    bob = world.agent("bob")
    values = {"kind": "command", "title": "mkdir x", "decisions": OFFERED, **more}
    asyncio.run(bob.open_permission(NewPermission(id=id, agent_id="bob", instance_id="i1", **values)))
    return bob


def puts_in(world: World, monkeypatch: pytest.MonkeyPatch, **update: Any) -> list[NewDecision]:
    """Let bob's runner do something about every decision at once."""
    bob, decide, given = MemoryRelay.of_agent("bob", world.hub), world.person.decide, []

    async def and_put(permission_id: str, new: NewDecision) -> Permission:
        given.append(new)
        decided = await decide(permission_id, new)
        report = PermissionUpdate(agent_id="bob", instance_id="i1", **update)
        await bob.update_permission(permission_id, report)
        return decided

    monkeypatch.setattr(world.person, "decide", and_put)
    return given


def test_what_is_asked_is_listed_and_shown(world: World) -> None:
    assert world.run("permissions") == ("", "relay-runner: nobody asks anything\n")
    question = Question(id="1", text="Which?", options=("A", "B"), other=True)
    asks(world, detail="line one\nline two", questions=(question,))
    out, _ = world.run("permissions")
    assert out.splitlines()[0].split() == ["ID", "AGE", "AGENT", "KIND", "ASKS"]
    assert out.splitlines()[1].split(maxsplit=4)[0::2] == ["3f9a1c2b00", "bob", "mkdir x"]
    assert world.json("permissions", "list", "--agent", "bob")[0]["title"] == "mkdir x"
    world.agent("eve")
    assert world.json("permissions", "--agent", "eve") == []
    assert "there is no agent evil: did you mean eve?" in world.run("permissions", "--agent", "evil", code=2)[1]
    out, _ = world.run("permissions", "3f9")
    assert "line two" in out and "1. Which?: A, B, or any text" in out
    assert "relay-runner approve 3f9a1c2b00 --answer 1=TEXT  " in out
    assert "relay-runner approve 3f9a1c2b00 --session  " in out and "relay-runner deny 3f9a1c2b00 --abort  " in out
    assert max(map(len, out.splitlines()[-4:])) <= 80
    assert "id is empty" in world.run("permissions", "", code=2)[1]


@pytest.mark.parametrize(
    ("words", "decision", "said"),
    [
        (("approve", "3f9"), Decision.APPROVE, "3f9a1c2b00: approved (bob: mkdir x)\n"),
        (("approve", "3f9a1c2b00", "--session"), Decision.APPROVE_SESSION, "approved for the session"),
        (("deny", "3", "--reason", "not now"), Decision.DENY, "denied (bob"),
        (("deny", "3f", "--abort"), Decision.ABORT, "denied, and the turn ended"),
    ],
)
def test_an_answer_is_given_and_said(
    world: World, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], decision: Decision, said: str
) -> None:
    asks(world)
    given = puts_in(world, monkeypatch, resolution=Resolution.APPLIED)
    assert said in world.run(*words)[0]
    assert [(one.decision, one.reason) for one in given] == [(decision, "not now" if "--reason" in words else None)]
    assert world.run("permissions")[0] == ""
    assert decision in world.run("permissions", "--all")[0]


def test_an_answer_that_nobody_took_yet_is_given(world: World) -> None:
    asks(world)
    assert world.run("approve", "3f9")[0] == "3f9a1c2b00: approved (bob: mkdir x); bob has not taken it yet\n"
    assert world.json("permissions", "3f9")["state"] == "decided"
    assert "already answered with approve by person:operator" in world.run("permissions")[0]


@pytest.mark.parametrize(
    ("update", "said"),
    [
        ({"note": AT_THE_TERMINAL}, AT_THE_TERMINAL),
        ({"resolution": Resolution.TERMINAL, "decision": Decision.DENY}, "approve by person:operator came too late"),
        ({"resolution": Resolution.WITHDRAWN}, "it is asked no more"),
    ],
)
def test_an_answer_that_did_not_go_in_says_why(
    world: World, monkeypatch: pytest.MonkeyPatch, update: dict[str, Any], said: str
) -> None:
    asks(world)
    puts_in(world, monkeypatch, **update)
    assert said in world.run("approve", "3f9", code=1)[1]


def test_who_comes_late_is_told_who_answered_what(world: World) -> None:
    asks(world)
    world.run("deny", "3f9")
    for words in (("approve", "3f9"), ("deny", "3f9")):
        said = world.run(*words, code=1)[1]
        assert said.count("\n") == 1 and "already answered with deny by person:operator" in said


def test_an_id_is_typed_in_part_and_no_further_than_it_is_clear(world: World) -> None:
    asks(world, "3f9a1c2b00")
    asks(world, "3f00000000")
    asks(world, "77aaaaaaaa")
    said = world.run("approve", "3f", code=2)[1]
    assert "2 permissions begin with '3f'" in said and "3f9a1c2b00" in said
    assert "did you mean 3f9a1c2b00?" in world.run("approve", "3f9a1c2b01", code=2)[1]
    world.run("deny", "3f9")
    assert "3f00000000" in world.run("approve", "3f")[0], "what is over is not in the way"


def test_answers_go_to_their_questions(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    two = (Question(id="1", text="Which?", options=("A", "B")), Question(id="2", text="Many?", multiple=True))
    asks(world, questions=two)
    given = puts_in(world, monkeypatch, resolution=Resolution.APPLIED)
    assert "give --answer 1=TEXT" in world.run("approve", "3f9", code=2)[1]
    assert "write --answer 1=TEXT" in world.run("approve", "3f9", "--answer", "A", code=2)[1]
    assert "choose of A, B" in world.run("approve", "3f9", "--answer", "1=C", "--answer", "2=x", code=2)[1]
    world.run("approve", "3f9", "--answer", "1=A", "--answer", "2=x", "--answer", "2=y=z")
    assert given[-1].answers == {"1": "A", "2": ["x", "y=z"]}


def test_an_only_question_needs_no_number(world: World) -> None:
    asks(world, questions=(Question(id="1", text="Why?"),))
    assert world.json("approve", "3f9", "--answer", "a=b")["answers"] == {"1": "a=b"}


def test_contradictions_are_usage(world: World) -> None:
    assert "contradict" in world.run("approve", "3", "--session", "--always", code=2)[1]


def test_a_permission_that_does_not_offer_it_says_what_it_does(world: World) -> None:
    asks(world)
    assert (
        "it can be answered with approve, approve-session, deny, abort"
        in world.run("approve", "3f9", "--always", code=2)[1]
    )


def test_an_agent_answers_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asks(world)
    monkeypatch.setenv(config.INSIDE_VARIABLE, "p1")
    for words in (("permissions",), ("approve", "3f9"), ("deny", "3f9")):
        assert "an agent cannot answer permissions" in world.run(*words, code=2)[1]


def test_nothing_that_an_agent_asks_steers_the_terminal(world: World) -> None:
    asks(world, title="mkdir \x1b[2J\x07x", detail="\x1b]0;title\x07")
    for words in (("permissions",), ("permissions", "3f9"), ("approve", "3f9")):
        out, err = world.run(*words)
        assert not {"\x1b", "\x07"} & set(out + err)
