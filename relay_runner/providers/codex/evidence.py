"""What became of one message: asked of a live app-server's turns, and of the files that a dead one left.

Which record means what of a message, in the order in which they reach the disk (0.169.0, 0.171.0, watched while a
message went in; the same for a peer's, whose envelope stands in a function_call_output instead of the user's message):

    nothing                        it is in no request either: the program writes before it asks the model
    event_msg task_started         the turn began; the message is not in it yet
    turn_context                   the same
    response_item with the nonce   **seen**: it is part of the conversation, and goes to the model 15 to 50 ms later
    event_msg item_completed       the same (`client_id` is the nonce), 0 to 90 ms later, and never where it is killed
    response_item, item_completed  the model's answer and its calls
    event_msg task_complete        **completed**, or failed by its `error`
    event_msg turn_aborted         **interrupted**
    none of the two                cut off where the program is dead, else the turn runs

The history databases are made from the file and hold nothing that it lacks. So "never entered" is: no line of any file
of the thread holds the nonce. A last line that was half written proves neither.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import replace

from relay_runner.providers.base import NOT_FOUND, Evidence, LaunchSpec, TurnState
from relay_runner.providers.codex import history, rollout, session
from relay_runner.providers.codex.client import Client, Disconnected
from relay_runner.providers.codex.home import CodexHome
from relay_runner.providers.codex.link import PAGE, RECONNECT_S, Link
from relay_runner.terminal.base import Terminal

FIND_S = 10.0
PAGES = 25
"""How many turns back a message is looked for: 500."""


async def find(nonce: str, link: Link, spec: LaunchSpec, terminal: Terminal) -> Evidence:
    """Ask what became of a nonce; raise `Disconnected` where a live app-server cannot be asked."""
    if link.tracker.carries(nonce) and terminal.alive():
        return Evidence(True, history.SOURCE, TurnState.RUNNING)
    home = CodexHome.of(spec.environ)
    deadline = time.monotonic() + FIND_S
    while True:
        if (client := link.client) is not None and not client.closed.is_set():
            with contextlib.suppress(Disconnected):  # it broke only now
                return await _asked(client, link, home, nonce)
        if not terminal.alive():
            threads = [link.thread] if link.thread_id else []
            found, _ = await _written(home, nonce, *threads, *link.former)
            told = link.tracker.trouble(nonce, time.time()) if found.reason == rollout.CUT_OFF else None
            return told or found
        if time.monotonic() > deadline:
            raise Disconnected("no connection to Codex")
        await link.wait_change(RECONNECT_S)


async def _asked(client: Client, link: Link, home: CodexHome, nonce: str) -> Evidence:
    """Ask the thread's turns, of which one may have been cut off before it had the message's item.

    The file is read first: whatever turn it shows, the turns that are listed afterwards have it.
    """
    written, turn_id = await _written(home, nonce, link.thread)
    if (listed := await _listed(client, link.thread, nonce, turn_id)) is not None:
        # What a turn used stands in the file only.
        return replace(listed, usage=written.usage) if listed.turn is TurnState.ENDED else listed
    if written.seen or written.unsure:
        return written
    former, _ = await _written(home, nonce, *link.former)
    return former if former.seen or former.unsure else written


async def _written(home: CodexHome, nonce: str, *threads: str) -> tuple[Evidence, str | None]:
    """Look into the files of threads; return what they say, and the id of the turn that carried the message."""
    unseen = NOT_FOUND
    for file in (file for thread in threads for file in home.rollouts(thread)):
        found, turn_id = await asyncio.to_thread(rollout.read, file, nonce)
        if found.seen:
            return found, turn_id
        unseen = unseen if unseen.unsure else found
    return unseen, None


async def _listed(client: Client, thread: str, nonce: str, turn_id: str | None) -> Evidence | None:
    """Return what the listed turns say of a nonce that, by another record, the turn `turn_id` carried."""
    cursor: str | None = None
    for _ in range(PAGES):
        turns, cursor = await session.page(client, thread, PAGE, cursor)
        if (found := history.evidence(turns, nonce, turn_id)) is not None:
            return found
        if cursor is None:
            break
    return None
