"""Operations that are turns of their own, or undo turns: compact, review, shell, revert, turns."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from relay_runner.errors import ProviderError, ProviderRefused
from relay_runner.protocol.messages import Outcome
from relay_runner.providers.base import ProcessState
from relay_runner.providers.codex import history, session
from relay_runner.providers.codex.operations.args import Args
from relay_runner.providers.codex.operations.room import OVER, Notices, Room

STARTS_S = 5.0
OUTPUT_CHARS = 20_000
PAGE = 50
FIRST, MOST = 5, 100


async def compact(room: Room, args: Args) -> dict[str, Any]:
    """Shorten the conversation to a summary; waits for its end unless told not to."""
    async with room.alone("compacting"):
        with room.ends() as ends, room.listening() as notices:
            await room.of_thread("thread/compact/start")
            if not args.flag("wait", True):
                await _begun(notices)
                return {"started": True}
            end = await ends.get()
    if end.outcome is not Outcome.COMPLETED:
        raise ProviderError(f"the compaction was not completed ({end.outcome}): {end.reason or 'no reason given'}")
    return {"outcome": str(end.outcome), "context": _context(room)}


async def review(room: Room, args: Args) -> dict[str, Any]:
    """Start a review of changes; its text is the result of its turn (operation `turns`)."""
    target = _target(args)
    async with room.alone("reviewing"):
        with room.listening() as notices:
            answer = await room.of_thread("review/start", target=target)
            await _begun(notices)
    # The reviewer's turn is notified under another id; this one is what its thread lists and ends.
    return {"turnId": answer["turn"]["id"], "sessionId": answer.get("reviewThreadId"), "target": target["type"]}


async def shell(room: Room, args: Args) -> dict[str, Any]:
    """Run a command as the user would with `!`, outside the sandbox; the model sees its output."""
    if (room.session.approval_mode or room.spec.approval_mode) == "read-only":
        raise ProviderRefused("this agent is read-only: a shell command would run outside its sandbox")
    params: dict[str, Any] = {"command": args.need("command")}
    if (timeout_ms := args.number("timeoutMs")) is not None:
        params["timeoutMs"] = timeout_ms
    if room.state is ProcessState.BUSY and room.doing is None:
        item = await _shell(room, params)  # inside the running turn
    else:
        async with room.alone("running a command"):
            item = await _shell(room, params)
    output = str(item.get("aggregatedOutput") or "")
    shown = output[-OUTPUT_CHARS:]
    return {"exitCode": item.get("exitCode"), "output": shown, "cut": shown != output, "status": item.get("status")}


async def _shell(room: Room, params: dict[str, Any]) -> dict[str, Any]:
    with room.listening() as notices, room.ends() as ends:
        idle = room.state is ProcessState.IDLE
        await room.of_thread("thread/shellCommand", **params)
        item = await _ran(notices)
        if idle:
            await ends.get()  # it was a turn of its own
        return item


async def revert(room: Room, args: Args) -> dict[str, Any]:
    """Take turns back, of the conversation only: files stay as they are."""
    before, count = args.text("before"), args.number("turns", 1)
    async with room.alone("taking turns back"):
        listed = await _own(room, MOST)
        ids = [str(turn["id"]) for turn in listed]
        if before is None:
            if not ids:
                raise ProviderRefused("there is no turn to take back")
            before = ids[min(count or 1, len(ids)) - 1]
        elif before not in ids:
            raise ProviderRefused(f"there is no turn {before!r}", hint="the operation `turns` lists them")
        taken = ids[: ids.index(before) + 1]
        await room.of_thread("thread/revert", beforeTurnId=before)
        joined = await session.another(room.client, room.spec, room.session, room.session.thread_id)
        room.enter(joined)
    return {"reverted": taken, "beforeTurnId": before}


async def turns(room: Room, args: Args) -> dict[str, Any]:
    """List the newest turns, or one of them, with what became of them; one that there is not leaves the list empty."""
    wanted = args.text("turnId")
    limit = min(args.number("limit", FIRST) or FIRST, MOST)
    listed = await _own(room, MOST if wanted else limit)
    return {"turns": [_told(turn) for turn in listed if wanted in (None, turn["id"])][:limit]}


# --- inside -----------------------------------------------------------------------------------------------------------


def _target(args: Args) -> dict[str, Any]:
    """Return what is to be reviewed, in the program's words."""
    kind = args.one_of("target", ("uncommitted", "branch", "commit", "custom"))
    named = [name for name in ("branch", "commit", "instructions") if name in args]
    if len(named) > 1:
        raise ProviderRefused(f"a review has one target, not {' and '.join(named)}")
    if kind is None:
        kind = "custom" if named == ["instructions"] else (named or ["uncommitted"])[0]
    match kind:
        case "branch":
            return {"type": "baseBranch", "branch": args.need("branch")}
        case "commit":
            return {"type": "commit", "sha": args.need("commit"), "title": args.text("title")}
        case "custom":
            return {"type": "custom", "instructions": args.need("instructions")}
    return {"type": "uncommittedChanges"}


async def _begun(notices: Notices) -> None:
    """Return once the turn began: before that the thread looks idle. One that is not told is not waited for."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(STARTS_S):
            while (await notices.get())[0] not in ("turn/started", "turn/completed", OVER):
                pass


async def _ran(notices: Notices) -> dict[str, Any]:
    while True:
        method, params = await notices.get()
        if method == OVER:
            raise ProviderError("Codex has ended before the command did")
        item = params.get("item")
        if method == "item/completed" and isinstance(item, dict) and item.get("source") == "userShell":
            return item


async def _own(room: Room, limit: int) -> list[dict[str, Any]]:
    """Return the newest turns, newest first, without those that a review runs inside itself."""
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while len(found) < limit:
        page, cursor = await session.page(room.client, room.session.thread_id, PAGE, cursor)
        found += [turn for turn in page if turn.get("rootTurnId") in (None, turn["id"])]
        if cursor is None:
            break
    return found[:limit]


def _told(turn: dict[str, Any]) -> dict[str, Any]:
    found = history.of_turn(turn)
    kinds = {item.get("type") for item in turn.get("items") or () if isinstance(item, dict)}
    kind = "review" if "enteredReviewMode" in kinds else "compaction" if kinds == {"contextCompaction"} else "turn"
    return {
        "turnId": turn["id"],
        "kind": kind,
        "state": str(found.turn),
        "outcome": None if found.outcome is None else str(found.outcome),
        "result": history.result(turn),
        "reason": found.reason,
        "startedAt": turn.get("startedAt"),
        "endedAt": turn.get("completedAt"),
    }


def _context(room: Room) -> dict[str, Any] | None:
    usage = room.usage or {}
    last = usage.get("last")
    if not isinstance(last, dict):
        return None
    return {"tokens": last.get("totalTokens"), "window": usage.get("modelContextWindow")}
