"""The questions that are open: told, answered from here, answered by somebody else, or withdrawn.

    asked      told at once, a change as soon as its diff is known; after a reconnect the server asks it again, and it
               is the same question
    answered   our answer goes in; the server says `serverRequest/resolved`, whoever answered
    gone       open before and not asked again after a reconnect: somebody answered, or its turn is over

The server takes the first answer and ignores later ones without a word. Whether ours was the first one shows in what
the item does next, so the end of a question that we answered is told only then.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from relay_runner.errors import ProviderRefused, ProviderUnsupported
from relay_runner.protocol.permissions import Decision, permission_id
from relay_runner.providers.base import Answer, Emit, PermissionAsked, PermissionClosed
from relay_runner.providers.codex import answers, questions, rollout
from relay_runner.providers.codex.client import Client, Disconnected, Refused, Request

log = logging.getLogger(__name__)

ANSWER_S = 20.0
"""How long the server may take to say that an answer arrived, a reconnect included."""
AGAIN_S = 0.05
REPLAY_S = 3.0
"""How long after a reconnect the server may take to ask again what is open (0.169.0: milliseconds)."""
ALLOWED_S = 1.0
DENIED_S = 3.0
"""How long what an item does next is waited for after our yes or no; a command that says nothing by then runs."""
KEPT_CHANGES = 50
KEPT_ITEMS = 200
Find = Callable[[str], Path | None]
RESOLVED = "serverRequest/resolved"
GONE = "thread"


@dataclass(slots=True)
class Open:
    """A question that nobody answered yet, as far as we know."""

    request: Request
    who: str | None = None
    told: PermissionAsked | None = None
    stale: bool = False
    """It was open before the connection broke, and was not asked again yet."""
    ours: Decision | None = None
    """What we answered."""
    resolved_at: float | None = None
    """It is over since then, and what its item does next shows whose answer counted."""
    over: asyncio.Event = field(default_factory=asyncio.Event)


class Approvals:
    """All open questions of one app-server, whichever thread they come from."""

    def __init__(self, emit: Emit, *, process: str, standing: bool = False) -> None:
        """`process` tells this server from every other; `standing` allows rules for good to be offered."""
        self._emit = emit
        self._process = process
        self._standing = standing
        self._client: Client | None = None
        self._joined = asyncio.Event()
        self._joined_at = 0.0
        self._open: dict[str, Open] = {}
        self._changes: dict[str, questions.Changes] = {}
        self._allowed: set[str | None] = set()
        """The calls of MCP tools that were approved for the session."""
        self._again: list[Request] = []
        """Such calls that are asked again, and not answered yet."""
        self._begun: deque[str] = deque(maxlen=KEPT_ITEMS)
        """The items that were told from their start: only of these the end is told, too."""

    # --- what the server says -----------------------------------------------------------------------------------------

    def take(self, request: Request, who: str | None = None, *, any: bool = False) -> bool:
        """Take in what the server asks; False where it is not known, unless `any` question is to be told.

        `who` is the sub-agent that asks.
        """
        if request.method not in questions.METHODS and not any:
            return False
        if questions.call_of(request) in self._allowed:
            self._again.append(request)
            return True
        id = self._id(request)
        if (known := self._open.get(id)) is not None:
            known.stale = False
            return True
        self._open[id] = one = Open(request, who)
        changes = self._known(request)
        if changes or request.method != questions.CHANGE:
            self._tell(one, changes)
        return True

    def notice(self, method: str, params: Mapping[str, Any], now: float) -> None:
        """Take in a notification of any thread: what an item is about to change, or that a question is over."""
        self._judge(method, params)
        item = params.get("item")
        if method == RESOLVED:
            self._resolved(params.get("requestId"), now)
        elif method == "item/started" and isinstance(item, dict):
            self._begun.append(str(item.get("id")))
            if item.get("type") == "fileChange":
                self._changes[str(item.get("id"))] = item.get("changes") or ()
                while len(self._changes) > KEPT_CHANGES:  # an interrupted one is never told to be over
                    del self._changes[next(iter(self._changes))]
        elif method == "item/completed" and isinstance(item, dict):
            self._changes.pop(str(item.get("id")), None)

    def _resolved(self, request_id: Any, now: float) -> None:
        for id, one in list(self._open.items()):
            if one.request.id == request_id and not one.stale:
                one.resolved_at = now
                if one.ours is None or str(one.request.params.get("itemId")) not in self._begun:
                    self._close(id, RESOLVED)

    def _judge(self, method: str, params: Mapping[str, Any]) -> None:
        """Close what is over, and whose item now shows what was answered."""
        for id in self._over():
            one = self._open[id]
            granted = answers.granted(one.request, method, params)
            if granted is not None:
                if granted is (one.ours in answers.NO):
                    one.ours = None  # somebody else was first
                self._close(id, RESOLVED)

    async def _judge_silent(self, now: float) -> None:
        """Close what is over for so long without a word of its item that it must have been allowed.

        A declined item is told at once, so it would have been told by now: whoever said yes was first. What the server
        sent before its answer to a call is taken in before that answer, so a runner that was busy judges it all.
        """
        late = [id for id in self._over() if now - (self._open[id].resolved_at or now) >= _patience(self._open[id])]
        if not late or self._client is None:
            return
        await _quietly(self._client, "thread/loaded/list", {})
        for id in [id for id in late if id in self._open]:
            if self._open[id].ours in answers.NO:
                self._open[id].ours = None
            self._close(id, RESOLVED)

    def _over(self) -> list[str]:
        return [id for id, one in self._open.items() if one.resolved_at is not None]

    def lost(self) -> None:
        """Take note that there is no connection: what is open is asked again on the next one."""
        self._client = None
        self._joined.clear()
        self._begun.clear()
        self._again.clear()
        for id in self._over():
            self._close(id, RESOLVED)
        for one in self._open.values():
            one.stale = True

    def joined(self, client: Client, now: float) -> None:
        """Take note of a new connection, over which every thread is joined."""
        self._client, self._joined_at = client, now
        self._joined.set()

    async def settle(self, *, waiting: bool, live: Collection[str], find: Find, now: float) -> None:
        """Tell what was asked before it could be told whole, and close what is not asked again.

        `waiting` says whether a thread waits for an answer: what it waits for comes a moment after it was joined.
        `live` are the turns that run, and `find` returns the file of a thread.
        """
        for id in [id for id, one in self._open.items() if one.stale]:
            if not waiting or now - self._joined_at >= REPLAY_S:
                ours, turn = self._open[id].ours, self._open[id].request.params.get("turnId")
                self._close(id, GONE, answered=ours is not None or turn in live)
        await self._judge_silent(now)
        while self._again and self._client is not None:
            await self._client.answer(self._again.pop(0).id, answers.AGAIN)
        while (asked := next((one for one in self._open.values() if one.told is None), None)) is not None:
            changes = await asyncio.to_thread(_written, asked.request, find)
            if not asked.over.is_set():  # nobody answered meanwhile
                self._tell(asked, self._known(asked.request) or changes)

    @property
    def unsettled(self) -> bool:
        """Whether `settle` has something to do, now or soon."""
        return bool(self._again) or any(
            one.stale or one.resolved_at is not None or one.told is None for one in self._open.values()
        )

    def forget(self) -> None:
        """Take note that another session begins: what was approved for the old one is over."""
        self._allowed.clear()

    def _tell(self, one: Open, changes: questions.Changes) -> None:
        id = self._id(one.request)
        one.told = questions.asked(one.request, id, changes=changes, standing=self._standing, who=one.who)
        self._emit(one.told)

    def _known(self, request: Request) -> questions.Changes:
        return self._changes.get(str(request.params.get("itemId")), ())

    def _close(self, id: str, source: str, *, answered: bool = True) -> None:
        one = self._open.pop(id)
        if one.told is not None:
            self._emit(PermissionClosed(id, source, answered, one.ours))
        one.over.set()

    def _id(self, request: Request) -> str:
        """Return a question's id: turns are unique over all servers, request ids within one."""
        params = request.params
        turn = params.get("turnId") or self._process
        item = str(params.get("itemId") or "")
        return permission_id("codex", request.thread_id, str(turn), item, str(request.id))

    # --- answering ----------------------------------------------------------------------------------------------------

    async def answer(self, id: str, answer: Answer) -> bool:
        """Put an answer in and wait until it is there; see `Process.answer`."""
        one = self._open.get(id)
        if one is None or one.told is None or one.ours is not None:
            return False
        if not one.told.decisions:
            raise ProviderUnsupported("Codex takes this answer only in its terminal", hint="attach, and answer there")
        if answer.decision not in one.told.decisions:
            raise ProviderRefused(f"Codex does not take {answer.decision} here")
        reply = answers.reply(one.request, answer)
        one.ours = answer.decision
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._put(one, reply, answer.reason if answer.decision in answers.NO else None)
        except TimeoutError:
            one.ours = None
            raise ProviderRefused("Codex did not take the answer", hint="attach, and answer there") from None
        if one.ours is Decision.APPROVE_SESSION and (call := questions.call_of(one.request)) is not None:
            self._allowed.add(call)
        return one.ours is not None

    async def _put(self, one: Open, reply: answers.Reply, reason: str | None) -> None:
        """Send until the question is over: what a broken connection lost is sent again."""
        while not one.over.is_set():
            await self._joined.wait()
            if one.stale or (client := self._client) is None:
                await asyncio.sleep(AGAIN_S)
                continue
            try:
                if reason is not None:
                    await _quietly(client, "thread/inject_items", _explained(one.request, reason))
                    reason = None
                await client.answer(one.request.id, reply.result)
                await _first(one.over, client.closed)
                if reply.interrupt and one.over.is_set():
                    await _quietly(client, "turn/interrupt", _place(one.request, "threadId", "turnId"))
            except Disconnected:
                await asyncio.sleep(AGAIN_S)


def _patience(one: Open) -> float:
    return DENIED_S if one.ours in answers.NO else ALLOWED_S


def _explained(request: Request, reason: str) -> dict[str, Any]:
    """Return why not, as the model is told it: a plain no carries no words in this protocol."""
    text = f"What was just asked for was denied, with this reason: {reason}"
    item = {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": text}]}
    return {**_place(request, "threadId"), "items": [item]}


def _place(request: Request, *names: str) -> dict[str, Any]:
    return {name: request.params.get(name) for name in names}


async def _quietly(client: Client, method: str, params: Mapping[str, Any]) -> None:
    """Ask for what helps, and may be refused: a version lacks it, or the turn is over."""
    try:
        await client.call(method, params)
    except Refused as error:
        log.info("Codex refused %s: %s", method, error)


async def _first(*events: asyncio.Event) -> None:
    """Return when one of the events is set."""
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(event.wait()) for event in events]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()


def _written(request: Request, find: Find) -> questions.Changes:
    """Return the changes that a file change is about from what the thread wrote down: its item was told before us."""
    item = request.params.get("itemId")
    if request.method != questions.CHANGE or item is None:
        return ()
    return rollout.changes(find(request.thread_id), str(item))
