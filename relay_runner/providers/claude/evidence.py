"""What became of one message: by what the program told while it lived, and by what it wrote down.

Which record means what, in the order in which the records come (2.1.197 and 2.1.332, watched while a message went in).
Files are written by themselves, 0 to 2 s after the thing itself on a busy machine, and in an order of their own.

    queue-operation enqueue       a poller's message, or one that is steered: the program has the text in memory, and
                                  loses it when it dies: it never entered
    hook UserPromptSubmit         idle: the turn begins, and `seen` is told; nothing is written or sent yet. In a
                                  running turn: the program has the text, no more (2.1.332; 2.1.197 has no hook there)
    state file busy               a turn runs: nothing of which message
    history.jsonl                 the prompt row's own memory: proves nothing
    (the request to the model)    50 to 900 ms after the hook, and up to 300 ms before or 2 s ahead of the next record
    queue-operation dequeue       a turn of its own begins with it, or with another one
    queue-operation remove        it is about to stand in the running turn (2.1.332 says `absorbed_mid_turn` and which)
    user line with the nonce      **seen**: part of the conversation (`origin` and `promptSource` say who typed it)
    attachment queued_command     **seen**: the same, in the running turn
    api-request-blob              **seen**: a request held it (2.1.332)
    api-request                   the model was asked something (2.1.332)
    assistant lines               the answer
    hook Stop, StopFailure        **completed**, **failed**
    system turn_duration          the same, 0 to 2 s later
    user "[Request interrupted"   **interrupted**

What was told as seen and stands in no file of a dead program never entered the conversation where the program died
within `BEFORE_IT_SENT_S` of the hook: no request went out, and no tool ran. Later than that its model may have answered
and a tool may have run although nothing is written down (seen on a very busy machine), and nobody can know. A successor
has not heard the hook, and so cannot know either.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

from relay_runner.protocol.messages import Outcome
from relay_runner.providers.base import ABSENT, NOT_FOUND, Evidence, ProcessState, TurnState, unsure
from relay_runner.providers.claude.records import Records
from relay_runner.providers.claude.transcript import SOURCE, Trace, Turn
from relay_runner.providers.claude.turns import NO_ANSWER, Tracker
from relay_runner.terminal.base import Terminal

LOOK_S = 0.05
BEFORE_IT_SENT_S = 0.1
"""So soon after the prompt hook no tool runs: the request goes out 50 ms after it at the earliest, and an answer takes
as long. Told with the time at which the program was found dead, which is no earlier than its death."""
CUT_OFF = "the program ended in the middle of the turn"
NOT_WRITTEN = "the program got the message and ended without recording what became of it"
STRANGE = "the program's records hold the message in a place that proves nothing"


async def find(
    nonce: str,
    tracker: Tracker,
    records: Records,
    terminal: Terminal,
    look: Callable[[], None],
    gone_at: Callable[[], float | None],
) -> Evidence:
    """Ask what happened and what is written down what became of a nonce; wait for what may not be written yet.

    `gone_at` says when the program was first found dead.
    What a turn used is told with the first message that it carried, and so counts once.
    """
    found, turn = await _find(nonce, tracker, records, terminal, look, gone_at)
    first = turn is None or turn.nonces[:1] == [nonce]
    return found if first else replace(found, usage=None)


async def _find(
    nonce: str,
    tracker: Tracker,
    records: Records,
    terminal: Terminal,
    look: Callable[[], None],
    gone_at: Callable[[], float | None],
) -> tuple[Evidence, Turn | None]:
    while True:
        look()
        if (ended := tracker.settled(nonce)) is not None:
            return Evidence(True, ended.source, TurnState.ENDED, ended.outcome, ended.result, ended.reason), None
        if tracker.carries(nonce) and terminal.alive():
            return Evidence(True, "hook", TurnState.RUNNING), None
        alive = terminal.alive()  # asked before the files are read: a dead program writes no more
        trace = await asyncio.to_thread(records.trace, nonce)
        if trace.turn is not None and trace.turn.ended:
            return trace.turn.evidence(), trace.turn
        if not alive:
            return of_dead(trace, tracker.told_at(nonce), tracker.worked_at, gone_at() or time.time()), trace.turn
        if records.written(time.time()):
            break
        await asyncio.sleep(LOOK_S)
    turn = trace.turn
    if turn is None:
        return NOT_FOUND if not trace.strange else unsure(STRANGE), None
    return turn.cut_off(NO_ANSWER) if tracker.state is ProcessState.IDLE else turn.evidence(), turn


def of_dead(trace: Trace, told_at: float | None, worked_at: float, gone_at: float) -> Evidence:
    """Return what is known of a message whose program is dead; its last lines may never have been written.

    `told_at` is when a hook named the message, `worked_at` when a hook last showed that the model did something,
    `gone_at` when the program was found dead.
    """
    if trace.turn is not None:
        return trace.turn.cut_off(CUT_OFF)
    if trace.shown:
        return Evidence(True, SOURCE, TurnState.ENDED, Outcome.FAILED, None, CUT_OFF)
    if trace.strange:
        return unsure(STRANGE)
    if trace.waiting:
        return ABSENT
    if told_at is None:
        return NOT_FOUND
    if max(worked_at, trace.asked_at) >= told_at or gone_at - told_at > BEFORE_IT_SENT_S:
        return unsure(NOT_WRITTEN)
    return ABSENT
