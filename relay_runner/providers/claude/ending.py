"""How a Claude Code ended, and what became of the messages it was at work on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

from relay_runner.protocol.messages import Outcome
from relay_runner.providers.base import NOT_FOUND, Evidence, ProcessState, TurnState
from relay_runner.providers.claude.records import Records
from relay_runner.providers.claude.screen import last_words
from relay_runner.providers.claude.transcript import Turn
from relay_runner.providers.claude.turns import NO_ANSWER, Tracker
from relay_runner.terminal.base import ExitStatus, Screen, Terminal

LOOK_S = 0.05
_SIGNALLED = 128
"""A program that ends by a signal's leave ends with a code above this one."""


def explain_exit(status: ExitStatus, screen: Screen | None) -> str:
    """Return one line for a person: why the program ended."""
    words = None if screen is None or _killed(status) else _words(status, screen)
    return f"Claude Code ended ({status}){': ' + words if words else ''}"


async def find(
    nonce: str, tracker: Tracker, records: Records, terminal: Terminal, look: Callable[[], None]
) -> Evidence:
    """Ask what happened and what is written down what became of a nonce; wait for what may not be written yet.

    What a turn used is told with the first message that it carried, and so counts once.
    """
    found, turn = await _find(nonce, tracker, records, terminal, look)
    first = turn is None or turn.nonces[:1] == [nonce]
    return found if first else replace(found, usage=None)


async def _find(
    nonce: str, tracker: Tracker, records: Records, terminal: Terminal, look: Callable[[], None]
) -> tuple[Evidence, Turn | None]:
    while True:
        look()
        if (ended := tracker.settled(nonce)) is not None:
            return Evidence(True, ended.source, TurnState.ENDED, ended.outcome, ended.result, ended.reason), None
        carried, alive = tracker.carries(nonce), terminal.alive()
        if carried and alive:
            return Evidence(True, "hook", TurnState.RUNNING), None
        turn = await asyncio.to_thread(records.find, nonce)
        if turn is not None and turn.ended:
            return turn.evidence(), turn
        if not alive:
            return last_evidence(turn, seen=carried), turn
        if records.written(time.time()):
            break
        await asyncio.sleep(LOOK_S)
    if turn is None:
        return NOT_FOUND, None
    return turn.cut_off(NO_ANSWER) if tracker.state is ProcessState.IDLE else turn.evidence(), turn


def last_evidence(turn: Turn | None, *, seen: bool) -> Evidence:
    """Return what is known of a message whose program is dead; its last lines may never have been written."""
    reason = "the program ended in the middle of the turn"
    if turn is not None:
        return turn.cut_off(reason)
    return Evidence(True, "hook", TurnState.ENDED, Outcome.FAILED, None, reason) if seen else NOT_FOUND


def _killed(status: ExitStatus) -> bool:
    """Say whether a signal ended the program: then what its screen shows is not its last words."""
    return status.code is not None and (status.code < 0 or status.code > _SIGNALLED)


def _words(status: ExitStatus, screen: Screen) -> str | None:
    words = last_words(screen)
    if words is None and status.code not in (0, None):
        words = screen.tail(1).strip()[:200]
    return words
