"""The relay's verbs as tools of the model (`dynamicTools`, 0.169.0): offered with a thread, called over the connection.

A call is answered by us alone, never by a person's Codex. The server keeps one that nobody answered and asks it again,
under the same id, on the next connection; so every call has a key of its own, and the runner does it once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from typing import Any

from relay_runner.providers.base import LaunchSpec, ToolCall, ToolResult, Tools
from relay_runner.providers.codex.client import Client, Refused, Request, RequestId

log = logging.getLogger(__name__)

CALL = "item/tool/call"
NO_SUCH_PROVIDER = "relay-runner-probe"
INVALID = "Invalid request"
KEPT_GONE = 100


async def offered(client: Client, spec: LaunchSpec) -> dict[str, Any]:
    """Return what thread/start is given of the tools; nothing to a model that is to know nothing of the relay."""
    if spec.tools is None or not spec.profile.relay.context or not await taken(client):
        return {}
    specs = [
        {"type": "function", "name": tool.name, "description": tool.description, "inputSchema": dict(tool.schema)}
        for tool in spec.tools.offered
    ]
    return {"dynamicTools": specs}


async def taken(client: Client) -> bool:
    """Say whether thread/start knows `dynamicTools`; a server that does not would drop them without a word.

    Asked with a model provider that does not exist, so that no thread comes of it: a wrong type is refused for itself
    only where the field is known.
    """
    try:
        await client.call("thread/start", {"modelProvider": NO_SUCH_PROVIDER, "dynamicTools": 0})
    except Refused as error:
        return INVALID in str(error)
    return False


class ToolCalls:
    """Do the calls of one connection, one after the other."""

    def __init__(self, tools: Tools | None) -> None:
        self._tools = tools
        self._queue: asyncio.Queue[Request] = asyncio.Queue()
        self._gone: deque[RequestId] = deque(maxlen=KEPT_GONE)

    def take(self, request: Request) -> bool:
        """Take in what the server asks; False where it is no call."""
        if request.method != CALL:
            return False
        self._queue.put_nowait(request)
        return True

    def resolved(self, request_id: Any) -> None:
        """Take note that a request is over: its turn was interrupted, or we answered it."""
        self._gone.append(request_id)

    async def run(self, client: Client) -> None:
        """Do what is called, until cancelled; what was under way then is asked again on the next connection."""
        while True:
            request = await self._queue.get()
            if request.id in self._gone:
                continue  # not begun, and nobody waits for it any more
            result = await self._do(request.params)
            content = [{"type": "inputText", "text": result.text}]
            await client.answer(request.id, {"contentItems": content, "success": result.success})

    async def _do(self, params: Mapping[str, Any]) -> ToolResult:
        arguments = params.get("arguments")
        if self._tools is None or not isinstance(arguments, dict):
            return ToolResult("there is no such tool", success=False)
        parts = (params.get("threadId"), params.get("turnId"), params.get("callId"))
        return await self._tools.call(ToolCall(":".join(map(str, parts)), str(params.get("tool")), arguments))
