"""What the model is told when its session goes on in a new program: once, and only where nothing live came first."""

from __future__ import annotations

import logging

from relay_runner.providers.codex import history
from relay_runner.providers.codex.client import Client, Refused
from relay_runner.providers.codex.memo import Memo
from relay_runner.providers.codex.session import Session
from relay_runner.providers.restart import NOTICE

log = logging.getLogger(__name__)


async def tell(client: Client, memo: Memo, joined: Session) -> bool:
    """Put the notice into a resumed thread; not into an empty one, a busy one, or twice after the same turn."""
    newest = joined.turns[0] if joined.turns else None
    active = (joined.thread.get("status") or {}).get("type") == "active"
    if joined.source != "resume" or newest is None or newest.get("status") == history.RUNNING or active:
        return False
    turn_id = str(newest["id"])
    if memo.noticed == turn_id or "thread/inject_items" not in joined.methods:
        return False
    item = {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": NOTICE}]}
    try:
        await client.call("thread/inject_items", {"threadId": joined.thread_id, "items": [item]})
    except Refused as error:
        log.info("Codex took no notice of its restart: %s", error)
        return False
    memo.notice(turn_id)
    return True
