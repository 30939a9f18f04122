from __future__ import annotations

from typing import Any

from relay_runner.protocol.agents import Context
from relay_runner.providers.base import ContextUsed, Event
from relay_runner.providers.codex.window import COMPACTION, Window


def usage(total: int, inputs: int | None = 5) -> dict[str, Any]:
    return {"last": {"totalTokens": total, "inputTokens": inputs}, "modelContextWindow": 100}


def told(events: list[Event]) -> Context:
    (event,) = events
    assert isinstance(event, ContextUsed)
    return event.context


def test_from_fresh_over_a_compaction_and_on() -> None:
    window = Window()
    assert (told(window.fresh(1.0)).tokens, told(window.fresh(1.0)).lifecycle_state) == (0, "fresh")
    active = told(window.usage(usage(50), 2.0))
    assert (active.utilisation, active.lifecycle_state, active.confidence) == (0.5, "active", "exact")
    assert told(window.item("item/started", {"type": COMPACTION}, 3.0)).lifecycle_state == "compacting"
    assert told(window.usage(usage(60), 3.0)).lifecycle_state == "compacting"
    assert told(window.item("item/completed", {"type": COMPACTION}, 4.0)).lifecycle_state == "compacted"
    shrunk = told(window.usage(usage(10, 0), 4.0))
    assert (shrunk.tokens, shrunk.lifecycle_state, shrunk.confidence) == (10, "compacted", "estimated")
    assert told(window.usage(usage(20), 5.0)).lifecycle_state == "active"


def test_what_says_nothing_of_it_tells_nothing() -> None:
    window = Window()
    assert window.item("item/started", {"type": "agentMessage"}, 1.0) == []
    assert [window.usage(odd, 1.0) for odd in (None, {}, {"last": 3})] == [[], [], []]
    assert told(window.usage({"last": {"totalTokens": "many"}}, 1.0)).tokens is None
