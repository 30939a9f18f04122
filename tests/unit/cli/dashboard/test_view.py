"""What keys do to the live view, and what becomes of a choice when the relay says something else."""

from __future__ import annotations

from typing import Any

import pytest

from relay_runner.cli.dashboard.keys import Key
from relay_runner.cli.dashboard.view import Attach, Decide, Quit, View
from relay_runner.protocol.agents import Agent
from relay_runner.protocol.permissions import Decision, Permission, Question

ALL = (Decision.APPROVE, Decision.APPROVE_SESSION, Decision.DENY)


def permission(id: str, agent: str = "bob", **fields: Any) -> Permission:
    """Return one that is open."""
    known: dict[str, Any] = {"kind": "command", "title": "rm -r build", "created_at": 1.0, "decisions": ALL}
    return Permission(id=id, agent_id=agent, instance_id="i1", **{**known, **fields})


@pytest.fixture
def view() -> View:
    shown = View()
    shown.take([Agent(id="alice"), Agent(id="bob")], [], [])
    return shown


def test_the_first_agent_is_chosen_and_arrows_move(view: View) -> None:
    assert view.chosen == ("agent", "alice")
    for key, chosen in ((Key.DOWN, "bob"), ("j", "bob"), (Key.UP, "alice"), ("k", "alice")):
        view.press(key)
        assert view.chosen == ("agent", chosen)


def test_enter_shows_the_chosen_agent_or_the_one_that_asks(view: View) -> None:
    assert view.press(Key.ENTER) == Attach("alice")
    view.take(view.agents, [permission("p1")], [])
    assert view.press("a") == Attach("bob")


def test_a_new_question_is_chosen_but_not_taken_from_under_the_fingers(view: View) -> None:
    view.take(view.agents, [permission("p1")], [])
    assert view.chosen == ("permission", "p1")
    view.take(view.agents, [permission("p1"), permission("p2")], [])
    assert view.chosen == ("permission", "p1")


def test_a_question_that_is_over_gives_the_choice_to_what_stands_there(view: View) -> None:
    view.take(view.agents, [permission("p1"), permission("p2")], [])
    view.take(view.agents, [permission("p2")], [])
    assert view.chosen == ("permission", "p2")
    view.take(view.agents, [], [])
    assert view.chosen == ("agent", "alice")
    view.take([], [], [])
    assert view.chosen is None and view.press("y") is None and view.press(Key.DOWN) is None


@pytest.mark.parametrize(("key", "decision"), [("y", Decision.APPROVE), ("s", Decision.APPROVE_SESSION)])
def test_approve(view: View, key: str, decision: Decision) -> None:
    view.take(view.agents, [permission("p1")], [])
    assert view.press(key) == Decide("p1", decision)


def test_deny_with_a_reason_that_is_typed(view: View) -> None:
    view.take(view.agents, [permission("p1")], [])
    for key in ("n", "q", "x", Key.BACKSPACE, " ", "n", "o"):
        assert view.press(key) is None
    assert view.press(Key.ENTER) == Decide("p1", Decision.DENY, "q no")
    assert view.reason is None


def test_escape_takes_a_denial_back(view: View) -> None:
    view.take(view.agents, [permission("p1")], [])
    view.press("n")
    assert view.press(Key.ESCAPE) is None
    assert view.reason is None and view.note == "not denied"


def test_a_question_that_is_over_ends_the_typing(view: View) -> None:
    view.take(view.agents, [permission("p1")], [])
    view.press("n")
    view.take(view.agents, [], [])
    assert view.reason is None


def test_keys_without_anything_to_answer_say_so(view: View) -> None:
    assert view.press("y") is None and view.note == "no permission is open"
    view.take(view.agents, [permission("p1")], [])
    view.press(Key.DOWN)
    assert view.press("n") is None and view.note == "choose a permission first" and view.reason is None


def test_what_is_not_offered_is_not_done(view: View) -> None:
    view.take(view.agents, [permission("p1", decisions=(Decision.DENY,))], [])
    assert view.press("y") is None and "not offered" in view.note
    view.take(view.agents, [permission("p1", questions=(Question(id="name", text="?"),))], [])
    assert view.press("y") is None and "--answer" in view.note


def test_leaving(view: View) -> None:
    assert view.press("q") == view.press(Key.ESCAPE) == Quit()


def test_trouble_is_over_when_the_relay_answers(view: View) -> None:
    view.trouble = "the relay does not answer"
    view.take(view.agents, [], [])
    assert view.trouble == ""


def test_the_whole_text_is_one_key_away(view: View) -> None:
    view.press("v")
    assert view.reading is None and view.note == "no permission is open"
    view.take(view.agents, [permission("p1")], [])
    for key, reading in (("v", 0), (Key.UP, 0), (Key.DOWN, 1), ("j", 2), (" ", 22), ("k", 21)):
        view.press(key)
        assert view.reading == reading
    assert view.press("y") == Decide("p1", Decision.APPROVE), "it is answered from there, too"
    for key in ("v", "q", Key.ESCAPE):
        view.reading = 3
        assert view.press(key) is None and view.reading is None


def test_a_question_that_is_over_is_read_no_longer(view: View) -> None:
    view.take(view.agents, [permission("p1"), permission("p2")], [])
    view.press("v")
    view.take(view.agents, [permission("p2")], [])
    assert view.reading is None
