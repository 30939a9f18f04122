from __future__ import annotations

import pytest

from relay_runner.providers.claude.draft import STILL_S, TYPING_HOLD_S, UNWATCHED_S, Draft
from relay_runner.providers.claude.screen import InputRow


def line(*text: str) -> InputRow:
    return InputRow(text[0], draft=True, more=text[1:])


def held(draft: Draft, row: InputRow, since: float, until: float) -> float | None:
    """Look every 5 s as a held message does; return when the line was not waited for any more."""
    at = since
    while at < until:
        if not draft.waits(row, at):
            return at
        at += 5.0
    return None


def test_a_line_left_alone_is_waited_for_once() -> None:
    assert held(Draft(), line("half"), 0.0, 100.0) == TYPING_HOLD_S


def test_an_empty_row_is_not_waited_for() -> None:
    assert not Draft().waits(InputRow("", draft=False), 0.0)


def test_a_line_that_goes_on_is_the_same_one_and_is_being_typed() -> None:
    draft = Draft()
    assert held(draft, line("half"), 0.0, TYPING_HOLD_S) is None
    assert draft.waits(line("half a", "line"), TYPING_HOLD_S), "it changed just now"
    assert draft.waits(line("half a", "line of two"), TYPING_HOLD_S + STILL_S), "in its second line, too"
    assert not draft.waits(line("half a", "line of two"), TYPING_HOLD_S + 2 * STILL_S)


def test_a_new_line_is_waited_for_from_its_own_start() -> None:
    """The older one was sent between two looks: the row was never seen empty."""
    draft = Draft()
    assert held(draft, line("run the tests"), 0.0, TYPING_HOLD_S) is None
    began = TYPING_HOLD_S + 1.0
    assert held(draft, line("now fix them"), began, 200.0) == began + TYPING_HOLD_S


@pytest.mark.parametrize("text", ["y", "yes, and then"])
def test_what_nobody_looked_at_for_a_while_is_waited_for_anew(text: str) -> None:
    """During a turn nothing looks at the row: what stands there after it may be the same words typed again."""
    draft = Draft()
    assert draft.waits(line("y"), 0.0)
    again = UNWATCHED_S + TYPING_HOLD_S
    assert held(draft, line(text), again, again + 100.0) == again + TYPING_HOLD_S


def test_a_line_that_was_put_aside_and_came_back_is_waited_for() -> None:
    draft = Draft()
    held(draft, line("half"), 0.0, TYPING_HOLD_S)
    draft.forget()
    assert draft.waits(line("half"), TYPING_HOLD_S + 1.0)
