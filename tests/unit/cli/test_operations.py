from __future__ import annotations

from typing import Any

import pytest

from relay_runner.cli import operations, orders
from relay_runner.protocol.commands import CommandState, CommandUpdate, NewCommand
from tests.unit.cli.conftest import World


def serve(world: World, monkeypatch: pytest.MonkeyPatch, *answers: dict[str, Any] | str) -> list[NewCommand]:
    """Let the agent bob answer one command after the other; a text is a failure's reason."""
    bob = world.agent("bob")
    given: list[NewCommand] = []
    command = world.person.command

    async def and_obey(new: NewCommand) -> Any:
        answer = answers[min(len(given), len(answers) - 1)]
        given.append(new)
        made = await command(new)
        ok = isinstance(answer, dict)
        result = {"action": new.type, "agentId": "bob", **({"providerResult": answer} if ok else {"reason": answer})}
        for state in (CommandState.RUNNING, CommandState.SUCCEEDED if ok else CommandState.FAILED):
            made = await bob.update_command(made.id, CommandUpdate(state=state, result=result))
        return made

    monkeypatch.setattr(world.person, "command", and_obey)
    monkeypatch.setattr(orders, "POLL_S", 0.01)
    monkeypatch.setattr(operations, "LOOK_S", 0.01)
    return given


def test_arguments_are_json_or_text_and_names_may_have_dashes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    given = serve(world, monkeypatch, {})
    words = ("token-budget=5", "switch=true", "objective=ship it", 'schema={"a": 1}', "empty=", "commit=123e4567")
    assert world.run("operate", "bob", "goal-set", *words, "--timeout", "7")[0] == "bob: done\n"
    assert (given[0].type, given[0].timeout_s) == ("agent.goalSet", 7)
    assert given[0].args == {
        "tokenBudget": 5, "switch": True, "objective": "ship it", "schema": {"a": 1}, "empty": "",
        "commit": "123e4567",
    }  # fmt: skip
    assert "'oops' is not KEY=VALUE" in world.run("operate", "bob", "goal-set", "oops", code=2)[1]


def test_without_an_operation_it_lists_them(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    one = {"name": "revert", "summary": "Take turns back", "takes": {"turns": "how many"}}
    given = serve(world, monkeypatch, {"operations": [one, {"name": "usage"}]})
    out = world.run("operate", "bob")[0].splitlines()
    assert given[0].type == "agent.operations"
    assert [row.split() for row in out[1:]] == [["revert", "turns=", "Take", "turns", "back"], ["usage", "-", "-"]]
    assert world.json("operate", "bob")["result"]["providerResult"]["operations"][0] == one


def test_what_was_refused_is_told_with_its_reason(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(world, monkeypatch, "Codex is busy: \x1b[1mwait")
    assert world.run("revert", "bob", code=1)[1] == "relay-runner: bob: Codex is busy: [1mwait\n"
    told = world.json("models", "bob", code=1)
    assert (told["agentId"], told["state"]) == ("bob", "failed")


def test_a_review_is_waited_for_and_its_text_printed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = {"turnId": "t1", "target": "baseBranch"}
    running = {"turns": [{"turnId": "t1", "outcome": None}]}
    over = {"turnId": "t1", "turns": [{"turnId": "t1", "outcome": "completed", "result": "looks\nfine"}]}
    given = serve(world, monkeypatch, begun, running, over)
    assert world.run("review", "bob", "--branch", "main")[0] == "looks\nfine\n"
    assert [one.type for one in given] == ["agent.review", "agent.turns", "agent.turns"]
    assert (given[0].args, given[1].args) == ({"branch": "main"}, {"turnId": "t1"})
    assert world.json("review", "bob")["result"]["providerResult"]["result"] == "looks\nfine"


@pytest.mark.parametrize(("outcome", "code"), [("failed", 1), ("interrupted", 5)])
def test_a_review_that_did_not_end_well_has_its_exit_code(
    world: World, monkeypatch: pytest.MonkeyPatch, outcome: str, code: int
) -> None:
    serve(world, monkeypatch, {"turnId": "t1"}, {"turns": [{"outcome": outcome, "reason": "why"}]})
    assert world.run("review", "bob", "all of it", code=code)[1].startswith("relay-runner: bob: ")


def test_a_review_that_died_with_its_program_is_not_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(world, monkeypatch, {"turnId": "t1"}, {"turns": []})
    assert "the program ended during the review" in world.run("review", "bob", code=5)[1]


def test_a_review_need_not_be_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    given = serve(world, monkeypatch, {"turnId": "t1", "turns": [{"outcome": None}]})
    assert "operate bob turns turnId=t1" in world.run("review", "bob", "--no-wait")[0]
    assert len(given) == 1
    assert "turnId=t1" in world.run("review", "bob", "--timeout", "0.1", code=3)[0]


@pytest.mark.parametrize(
    ("words", "type", "args", "answer", "said"),
    [
        (("fork",), "fork", {"switch": False}, {"sessionId": "s2", "switched": False},
         "bob: copied into session s2; it stays in its own"),
        (("fork", "--switch", "--last", "t1"), "fork", {"switch": True, "last": "t1"},
         {"sessionId": "s2", "switched": True}, "bob: copied into session s2; it goes on there"),
        (("revert", "2"), "revert", {"turns": 2}, {"reverted": ["t2", "t1"]},
         "bob: 2 turns taken back; files are as they were"),
        (("usage",), "usage", {}, {"session": {"total": {"totalTokens": 5}}}, 'total: {"totalTokens": 5}'),
        (("limits",), "limits", {}, {"limits": {"primary": {"usedPercent": 40, "windowDurationMins": 300}}}, "40 %"),
        (("models",), "models", {}, {"models": [{"model": "m1", "current": True, "efforts": ["low"]}]}, "m1 *"),
    ],
)  # fmt: skip
def test_the_verbs_are_operations(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    type: str,
    args: dict[str, Any],
    answer: dict[str, Any],
    said: str,
) -> None:
    given = serve(world, monkeypatch, answer)
    assert said in world.run(words[0], "bob", *words[1:])[0]
    assert (given[0].type, given[0].args) == (f"agent.{type}", args)
    assert world.json(words[0], "bob")["result"]["providerResult"] == answer
