"""What people are told of a dialog that no hook told of."""

from __future__ import annotations

import pytest

from relay_runner.protocol.permissions import Decision
from relay_runner.providers.claude.dialog import dialog_of
from relay_runner.providers.claude.strange import Strange
from tests.unit.providers.claude.recorded import recorded


@pytest.mark.parametrize(
    ("name", "title", "decisions"),
    [
        ("plan-bash", "Bash command: mkdir fresh1", (Decision.APPROVE, Decision.ABORT)),
        ("ask-bash-long", "Bash command: mkdir " + "x" * 180, (Decision.APPROVE, Decision.ABORT)),
        ("held-message", "Held message from another session: ", (Decision.ABORT,)),
        ("ask-fetch", "Fetch: Claude wants to fetch content from example.com", (Decision.ABORT,)),
    ],
)
def test_it_is_told_as_its_dialog_shows_it(name: str, title: str, decisions: tuple[Decision, ...]) -> None:
    dialog = dialog_of(recorded("2.1.332", name))
    pending, asked = Strange("p").ask(dialog)
    assert asked.title.startswith(title)
    assert (asked.id, asked.decisions, asked.note, asked.source) == (pending.id, decisions, None, "screen")
    assert pending.same(dialog) and pending.looks_like(dialog) and not pending.same(None)


def test_one_that_cannot_be_read_can_only_be_cancelled() -> None:
    pending, asked = Strange("p").ask(None)
    assert (asked.decisions, asked.detail) == ((Decision.ABORT,), None)
    assert pending.same(None) and not pending.looks_like(dialog_of(recorded("2.1.332", "ask-bash")))


def test_it_has_to_stand_for_a_while() -> None:
    strange = Strange("p")
    assert not strange.stands(60) and strange.stands(0)
    strange.over()
    assert not strange.stands(60)
