"""The verbs of Codex's operations, by the command line, on the real Codex: what a person types, and what comes back."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.codex import codex_environ, codex_home, model  # noqa: F401 - a fixture
from tests.fake_models.responses import COMPACTION, FakeResponses
from tests.harness import PROGRAM, Home, home, kill, until

pytestmark = [pytest.mark.codex, pytest.mark.slow]


@pytest.fixture
def place(tmp_path: Path, model: FakeResponses) -> Iterator[Home]:
    with home(tmp_path, codex_environ(codex_home(tmp_path / "user", model))) as made:
        made.start("cx", "codex")
        yield made


def ask(place: Home, *words: str, check: int = 0) -> dict[str, Any]:
    return dict(json.loads(place.run(*words, "--json", check=check).stdout))


def session_of(place: Home) -> str:
    """The session as the relay knows it."""
    (row,) = (row for row in place.json("ps") if row["agentId"] == "cx")
    return str(row["sessionId"])


def test_a_person_operates_codex_by_name(place: Home, model: FakeResponses) -> None:
    assert place.run("send", "cx", "SAY:first", "--wait").stdout.strip() == "first"
    assert place.run("send", "cx", "SAY:second", "--wait").stdout.strip() == "second"

    assert place.run("review", "cx", "SAY:looks fine").stdout.strip() == "looks fine"
    assert "gpt-5.5 *" in place.run("models", "cx").stdout
    assert "totalTokens" in place.run("usage", "cx").stdout
    assert "limits" in place.run("limits", "cx", check=0).stderr

    forked = ask(place, "fork", "cx")["result"]
    assert forked["action"] == "agent.fork" and forked["agentId"] == "cx"
    assert set(forked["ids"]) >= {"command", "runner"}
    assert forked["providerResult"]["switched"] is False

    # The review is a turn too.
    assert place.run("revert", "cx", "2").stdout == "cx: 2 turns taken back; files are as they were\n"
    assert place.run("compact", "cx").stdout == "cx: compacted\n"
    place.run("inject", "cx", "The moon is closed.", "--reason", "news")
    place.run("send", "cx", "SAY:third", "--wait")
    assert "The moon is closed." in model.requests[-1].instructions()
    assert not any("SAY:second" in prompt for prompt in model.requests[-1].prompts())

    before = session_of(place)
    place.run("clear", "cx")
    after = session_of(place)
    assert after != before
    # A restart goes on with the session that the agent is in now.
    place.run("send", "cx", "SAY:in the new one", "--wait")
    place.run("restart", "cx")
    assert place.run("send", "cx", "SAY:again", "--wait").stdout.strip() == "again"
    assert any("SAY:in the new one" in prompt for prompt in model.requests[-1].prompts())
    assert session_of(place) == after


def test_the_generic_verb_lists_and_does_everything(place: Home) -> None:
    listed = place.run("operate", "cx").stdout
    for name in ("compact", "review", "fork", "revert", "settings", "outputSchema", "goalSet", "terminals", "mcp"):
        assert name in listed
    assert ask(place, "operate", "cx", "shell", "command=echo hello")["result"]["providerResult"]["output"] == "hello\n"
    place.run("operate", "cx", "goal-set", "objective=ship it", "status=paused")
    assert "ship it" in place.run("operate", "cx", "goal").stdout
    refused = ask(place, "operate", "cx", "dance", check=1)
    assert refused["state"] == "failed" and "cannot 'dance'" in refused["reason"]
    assert "has no argument 'colour'" in place.run("operate", "cx", "compact", "colour=red", check=1).stderr
    assert "has no argument 'instructions'" in place.run("compact", "cx", "--instructions", "x", check=1).stderr
    assert "must be one of" in place.run("operate", "cx", "settings", "approvalMode=any", check=1).stderr


def test_what_cannot_be_done_now_says_so_and_its_time_is_its_own(place: Home, model: FakeResponses) -> None:
    id = place.send("cx", "WAIT\nSAY:whole")
    place.reaches(id, "seen")
    assert "busy" in place.run("compact", "cx", check=1).stderr
    model.go.set()
    assert place.settled(id)["result"] == "whole"
    late = ask(place, "operate", "cx", "shell", "command=sleep 5", "--timeout", "1", check=1)
    assert late["reason"] == "not done within 1 s"


def test_a_message_outlives_a_compaction_that_the_program_did_not(place: Home, model: FakeResponses) -> None:
    place.run("send", "cx", "SAY:before", "--wait")
    model.compacts.clear()
    with ordering(place, "compact", "cx") as compacting:
        until("the compaction", lambda: place.status("cx") == "busy" and asked_to_compact(model))
        id = place.send("cx", "SAY:waited")
        kill(place.provider_pid("cx"))
        model.compacts.set()
        assert place.settled(id)["result"] == "waited"
        assert compacting.wait(60) == 1
    assert model.times_in_conversation(f'<relay-message id="{id}" ') == 1


def test_a_review_goes_on_when_the_runner_dies_and_a_message_waits_for_its_end(
    place: Home, model: FakeResponses
) -> None:
    started = ask(place, "review", "cx", "WAIT\nSAY:still fine", "--no-wait")
    id = place.send("cx", "SAY:afterwards")
    kill(place.runner_pid("cx"))
    place.start("cx", "codex")
    assert place.delivery(id)["state"] == "queued"
    model.go.set()
    assert place.settled(id)["result"] == "afterwards"
    turn_id = started["result"]["providerResult"]["turnId"]
    (told,) = ask(place, "operate", "cx", "turns", f"turnId={turn_id}")["result"]["providerResult"]["turns"]
    assert (told["outcome"], told["result"]) == ("completed", "still fine")


def test_who_attaches_after_a_new_session_sees_that_one_and_it_has_the_relays_tools(
    place: Home, model: FakeResponses
) -> None:
    before = place.file("cx", "info.json")["attach"]
    assert session_of(place) in before
    place.run("fork", "cx", "--switch")
    after = place.file("cx", "info.json")["attach"]
    assert session_of(place) in after and after != before
    for order in (("fork", "cx", "--switch"), ("clear", "cx")):
        place.run(*order)
        place.run("send", "cx", "SAY:hello", "--wait")
        assert "relay_send" in {tool.get("name") for tool in model.requests[-1].body["tools"]}, order


def test_a_goal_leaves_room_for_messages_and_is_gone_on_with(place: Home, model: FakeResponses) -> None:
    place.run("operate", "cx", "goal-set", "objective=ship it")
    until("it goes on by itself", lambda: len(model.requests) > 3)
    for word in ("one", "two"):
        assert place.run("send", "cx", f"SAY:{word}", "--wait", "--timeout", "40").stdout.strip() == word
    so_far = len(model.requests)
    until("it goes on by itself again", lambda: len(model.requests) > so_far + 3)
    assert "status: active" in place.run("operate", "cx", "goal").stdout
    place.run("operate", "cx", "goal-clear")
    until("it is idle", lambda: place.status("cx") == "idle")
    for id in (1, 2):
        assert model.times_in_conversation(f'<relay-message id="{id}" ') == 1


def asked_to_compact(model: FakeResponses) -> bool:
    return any(text.startswith(COMPACTION) for request in list(model.requests) for text in request.prompts())


@contextmanager
def ordering(place: Home, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """Give an order, and do something else while it is carried out."""
    with subprocess.Popen(
        [*PROGRAM, *words], env=place.environ, cwd=place.work, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as command:
        yield command
