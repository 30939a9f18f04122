from __future__ import annotations

from typing import Any

from relay_runner.providers.codex.status import NO_END_S, QUIET_S, Status

IDLE = {"type": "idle"}
ASKING: dict[str, Any] = {"type": "active", "activeFlags": ["waitingOnApproval"]}


def test_a_notification_is_newer_than_the_answer_to_a_join() -> None:
    status = Status()
    status.joining()
    status.told(ASKING, 1.0)
    status.joined(IDLE, 2.0)
    assert status.active and status.flags == ("waitingOnApproval",)
    status.joining()
    status.joined(IDLE, 3.0)
    assert status.kind == "idle" and not status.flags


def test_how_long_it_is_idle_counts_from_the_first_time_and_not_from_before_a_turn() -> None:
    status = Status()
    status.told(IDLE, 1.0)
    status.told(IDLE, 1.0 + NO_END_S / 2)
    assert status.idle_long(1.0 + NO_END_S)
    status.begins()
    assert not status.idle_long(100.0)
    status.read({"status": IDLE}, 100.0)
    assert status.idle_long(100.0 + NO_END_S)


def test_whatever_is_heard_breaks_the_quiet() -> None:
    status = Status()
    status.joined(ASKING, 1.0)
    assert status.quiet(1.0 + QUIET_S)
    status.heard(2.0)
    assert not status.quiet(1.0 + QUIET_S)
    status.read({"status": ASKING}, 50.0)
    assert not status.quiet(49.0 + QUIET_S)


def test_a_thread_that_the_server_does_not_know_has_to_be_loaded() -> None:
    status = Status()
    status.read(None, 1.0)
    assert status.unloaded
    status.told(IDLE, 2.0)
    assert status.unloaded, "only joining it again loads it"
    status.joined(IDLE, 3.0)
    assert not status.unloaded
