"""The context window: the status line first, the transcript where it does not come."""

from __future__ import annotations

from typing import Any

from relay_runner.protocol.agents import Context
from relay_runner.providers.base import ContextUsed, Event, Learnt
from relay_runner.providers.claude.context import LARGE_WINDOW, SMALL_WINDOW, ContextWatch

NOW = 1_800_000_000.0


def status(tokens: int, window: int = 1000, **more: Any) -> dict[str, Any]:
    used = {"total_input_tokens": tokens, "total_output_tokens": 0, "context_window_size": window}
    return {"context_window": used, **more}


def answer(tokens: int, **more: Any) -> dict[str, Any]:
    usage = {"input_tokens": tokens - 30, "cache_creation_input_tokens": 10, "cache_read_input_tokens": 20}
    return {"type": "assistant", "message": {"model": "claude-opus", "usage": usage}, **more}


def used(events: list[Event]) -> Context:
    (found,) = [event.context for event in events if isinstance(event, ContextUsed)]
    return found


def test_the_status_line_tells_model_effort_and_context() -> None:
    watch = ContextWatch()
    payload = status(0, model={"id": "opus[1m]"}, effort={"level": "high"})
    events = watch.status_line(payload, NOW)
    assert events[0] == Learnt({"model": "opus[1m]", "effort": "high"})
    first = used(events)
    assert (first.tokens, first.utilisation, first.lifecycle_state) == (0, 0.0, "fresh")
    assert watch.status_line(payload, NOW + 1) == []
    now = used(watch.status_line(status(250), NOW + 2))
    assert (now.tokens, now.window, now.utilisation, now.lifecycle_state) == (250, 1000, 0.25, "active")
    assert (now.source, now.confidence, now.at) == ("statusline", "reported", NOW + 2)
    assert watch.status_line(status(250, effort={"level": "low"}), NOW) == [Learnt({"effort": "low"})]


def test_after_a_compaction_nobody_knows_before_the_next_request() -> None:
    watch = ContextWatch()
    watch.status_line(status(900), NOW)
    compacting = used(watch.compacting(NOW))
    assert (compacting.tokens, compacting.lifecycle_state) == (900, "compacting")
    compacted = used(watch.session("compact", NOW))
    assert (compacted.tokens, compacted.utilisation, compacted.lifecycle_state) == (None, None, "compacted")
    assert compacted.window == 1000
    assert watch.compacting(NOW, over=True) == []
    assert watch.status_line(status(0), NOW) == []
    assert watch.status_line(status(900), NOW) == []  # a late one of before
    watch.line(answer(100))
    assert used(watch.status_line(status(100), NOW)).lifecycle_state == "active"


def test_a_compaction_that_came_to_nothing_leaves_it_active() -> None:
    watch = ContextWatch()
    watch.status_line(status(900), NOW)
    watch.compacting(NOW)
    again = used(watch.compacting(NOW, over=True))
    assert (again.tokens, again.lifecycle_state) == (900, "active")


def test_a_cleared_session_is_empty_and_a_resumed_one_unknown() -> None:
    watch = ContextWatch(resumed=True)
    assert watch.session("resume", NOW) == []
    resumed = used(watch.status_line(status(0), NOW))
    assert (resumed.tokens, resumed.lifecycle_state) == (None, "active")
    cleared = used(watch.session("clear", NOW))
    assert (cleared.tokens, cleared.lifecycle_state) == (0, "fresh")


def test_without_a_status_line_the_transcript_tells_and_a_window_that_nothing_tells_is_unknown() -> None:
    watch = ContextWatch()
    assert watch.look(NOW) == []
    watch.line(answer(50_000))
    events = watch.look(NOW)
    assert events[0] == Learnt({"model": "claude-opus"})
    found = used(events)
    assert (found.tokens, found.window, found.utilisation) == (50_000, None, None)
    assert (found.source, found.confidence) == ("api", "estimated")
    assert watch.look(NOW) == []
    large = ContextWatch()
    large.session("startup", NOW, "claude-opus[1m]")
    large.line(answer(50_000))
    (told,) = large.look(NOW)
    assert isinstance(told, ContextUsed) and told.context.window == LARGE_WINDOW
    unmarked = ContextWatch()  # as models of 2.1.332, whose window is the large one
    unmarked.line(answer(SMALL_WINDOW + 1))
    assert used(unmarked.look(NOW)).window == LARGE_WINDOW


def test_subagents_and_errors_are_not_the_conversation() -> None:
    watch = ContextWatch()
    for line in (None, answer(9, isSidechain=True), answer(9, isApiErrorMessage=True), {"type": "user"}):
        watch.line(line)
    assert watch.look(NOW) == []
    watch.status_line(status(5), NOW)
    watch.line(answer(500))
    assert watch.look(NOW) == []


def test_what_makes_no_sense_is_unknown() -> None:
    found = used(ContextWatch().status_line({"context_window": {"context_window_size": "big"}, "model": 3}, NOW))
    assert (found.tokens, found.window, found.utilisation) == (None, None, None)
