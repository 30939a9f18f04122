"""The part of the relay's HTTP interface that the agent's own tools may use, through the control server.

Same paths and shapes as the relay's: send, read, inbox, reply, react, list agents, attachments, open and read tasks.
Not: permissions, commands, tokens, receipts, moving tasks. An agent cannot approve itself, nor call its own work done
before the turn that carries it has completed, and what it sends is always its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from relay_runner.errors import ProtocolError, RelayUnavailable
from relay_runner.protocol.attachments import DEFAULT_TYPE, INFO_HEADER, SHA256_HEADER, NewAttachment, to_header
from relay_runner.protocol.commands import NewTask, TaskQuery
from relay_runner.protocol.messages import MessageQuery, NewMessage, NewReaction, NewReply, State
from relay_runner.protocol.wire import admit, convert, encode
from relay_runner.relay.base import Data, Relay


def proxy_routes(relay: Relay) -> list[Route]:
    """Return the routes under `/api/v1`."""

    async def send(request: Request) -> Response:
        return _json(await relay.send(admit(await request.body(), NewMessage)), 201)

    async def messages(request: Request) -> Response:
        return _json(await relay.messages(_query(request)))

    async def message(request: Request) -> Response:
        return _json(await relay.message(request.path_params["id"]))

    async def read(request: Request) -> Response:
        await relay.read(request.path_params["id"])
        return Response(status_code=204)

    async def reply(request: Request) -> Response:
        record = await relay.reply(request.path_params["id"], admit(await request.body(), NewReply))
        return _json(record, 201)

    async def react(request: Request) -> Response:
        reaction = admit(await request.body(), NewReaction)
        await relay.react(request.path_params["id"], reaction.emoji)
        return Response(status_code=204)

    async def limits(request: Request) -> Response:
        return _json(await relay.attachment_limits())

    async def upload(request: Request) -> Response:
        return _json(await relay.upload(_new_attachment(request), _once(request)), 201)

    async def download(request: Request) -> Response:
        return _Download(relay, request.path_params["id"])

    async def agents(request: Request) -> Response:
        return _json(await relay.agents())

    async def agent(request: Request) -> Response:
        return _json(await relay.agent(request.path_params["id"]))

    async def obligations(request: Request) -> Response:
        return _json(await relay.obligations(request.path_params["id"]))

    async def open_task(request: Request) -> Response:
        return _json(await relay.create_task(admit(await request.body(), NewTask)), 201)

    async def tasks(request: Request) -> Response:
        return _json(await relay.tasks(_task_query(request)))

    async def task(request: Request) -> Response:
        return _json(await relay.get_task(request.path_params["id"]))

    base = "/api/v1"
    return [
        Route(f"{base}/messages", send, methods=["POST"]),
        Route(f"{base}/messages", messages, methods=["GET"]),
        Route(f"{base}/messages/{{id:int}}", message, methods=["GET"]),
        Route(f"{base}/messages/{{id:int}}/read", read, methods=["POST"]),
        Route(f"{base}/messages/{{id:int}}/reply", reply, methods=["POST"]),
        Route(f"{base}/messages/{{id:int}}/reactions", react, methods=["POST"]),
        Route(f"{base}/attachments", limits, methods=["GET"]),
        Route(f"{base}/attachments", upload, methods=["POST"]),
        Route(f"{base}/attachments/{{id}}", download, methods=["GET"]),
        Route(f"{base}/agents", agents, methods=["GET"]),
        Route(f"{base}/agents/{{id}}", agent, methods=["GET"]),
        Route(f"{base}/agents/{{id}}/obligations", obligations, methods=["GET"]),
        Route(f"{base}/tasks", open_task, methods=["POST"]),
        Route(f"{base}/tasks", tasks, methods=["GET"]),
        Route(f"{base}/tasks/{{id:int}}", task, methods=["GET"]),
    ]


class _Download(Response):
    """Pass a file on as it comes; what the relay refuses is known before the answer begins."""

    def __init__(self, relay: Relay, attachment_id: str) -> None:
        super().__init__()
        self._relay = relay
        self._attachment_id = attachment_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._relay.download(self._attachment_id) as found:
            headers = [
                (b"content-type", found.attachment.content_type.encode()),
                (b"content-length", str(found.attachment.size).encode()),
                (INFO_HEADER.encode(), to_header(found.attachment).encode()),
            ]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            async for chunk in found.chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _new_attachment(request: Request) -> NewAttachment:
    return NewAttachment(
        name=request.query_params.get("name", ""),
        size=_integer("Content-Length", request.headers.get("content-length", "")),
        content_type=request.headers.get("content-type", DEFAULT_TYPE),
        sha256=request.headers.get(SHA256_HEADER),
    )


def _once(request: Request) -> Data:
    """Return what reads the caller's body; it can be read only once."""

    async def data() -> AsyncIterator[bytes]:
        try:
            async for chunk in request.stream():
                yield chunk
        except RuntimeError as error:
            raise RelayUnavailable("the relay went away over the upload", hint="try again") from error

    return data


def _json(value: object, status: int = 200) -> Response:
    return Response(encode(value), status_code=status, media_type="application/json")


def _query(request: Request) -> MessageQuery:
    """Return the query that the URL spells, in the relay's own parameter names."""
    given = request.query_params
    values: dict[str, object] = {name: given[name] for name in ("recipient", "sender") if name in given}
    for name in ("replyTo", "after", "limit"):
        if name in given:
            values[name] = _integer(name, given[name])
    for name in ("unread", "open", "oldestFirst"):
        if name in given:
            values[name] = given[name] in ("true", "1")
    if "states" in given:
        values["states"] = [State(state) for state in given["states"].split(",") if state in set(State)]
    return convert(values, MessageQuery)


def _task_query(request: Request) -> TaskQuery:
    """Return the query of tasks that the URL spells."""
    given = request.query_params
    values: dict[str, object] = {name: given[name] for name in ("agentId", "createdBy") if name in given}
    for name in ("before", "limit"):
        if name in given:
            values[name] = _integer(name, given[name])
    if "states" in given:
        values["states"] = [state for state in given["states"].split(",") if state]
    return convert(values, TaskQuery)


def _integer(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise ProtocolError(f"{name} is a number, not {text[:40]!r}") from error
