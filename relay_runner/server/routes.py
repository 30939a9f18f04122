"""The route table: what can be called, by whom, with what, and what comes back. It drives routing and OpenAPI."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from relay_runner import __version__
from relay_runner.errors import RelayRefused
from relay_runner.protocol.acceptance import check_emoji
from relay_runner.protocol.access import token_info
from relay_runner.protocol.agents import Agent
from relay_runner.protocol.calls import API, Beat, Dropping, Health, ReadyUpdate, Redelivery, Renewal, StatusUpdate
from relay_runner.protocol.commands import Command, CommandUpdate, NewCommand
from relay_runner.protocol.messages import (
    ClaimRequest,
    ClaimResult,
    Delivery,
    MessageQuery,
    MessageRecord,
    NewMessage,
    NewReaction,
    NewReply,
    Receipt,
    Release,
)
from relay_runner.protocol.tokens import TokenGrant, TokenInfo, TokenRequest
from relay_runner.protocol.wire import PROTOCOL_VERSION
from relay_runner.server.attachment_routes import ATTACHMENT_ROUTES
from relay_runner.server.http import Call, Route, Stream, Text, query_of
from relay_runner.server.metrics import CONTENT_TYPE
from relay_runner.server.permission_routes import PERMISSION_ROUTES
from relay_runner.server.streams import event_stream, record_stream
from relay_runner.server.task_routes import TASK_ROUTES
from relay_runner.server.tokens import GRACE_S

EVENT_STREAM = "text/event-stream"
QUERY = {
    "recipient": "a principal, `agent:ID` or `person:LOGIN`; without it your own messages",
    "sender": "a principal",
    "states": "states of the delivery, separated by commas",
    "unread": "only what was not read yet",
    "open": "only deliveries on which something is still to be done",
    "replyTo": "only replies to this message",
    "after": "only ids above this one",
    "oldestFirst": "oldest first instead of newest first",
    "limit": "at most so many (100; a page has at most 500 messages or 8 MiB)",
}

# --- messages ---------------------------------------------------------------------------------------------------------


async def _send(call: Call) -> MessageRecord:
    call.caller.need_send()
    return await call.store.accept(call.caller, call.body)


async def _list(call: Call) -> list[MessageRecord]:
    given: dict[str, Any] = dict(call.query)
    if "states" in given:
        given["states"] = [state for state in given["states"].split(",") if state]
    return await call.store.records(call.caller, query_of(given, MessageQuery))


async def _message(call: Call) -> MessageRecord | Stream:
    message_id = call.number("id")
    record = await call.store.record(call.caller, message_id)
    if EVENT_STREAM in (call.header(b"accept") or ""):
        return Stream(record_stream(call.core, call.caller, message_id))
    return record


async def _claim(call: Call) -> ClaimResult:
    call.caller.need_agent(call.body.agent_id)
    return await call.store.claim(call.number("id"), call.body)


async def _renew(call: Call) -> Renewal:
    call.caller.need_agent(call.body.agent_id)
    delivery = await call.store.renew(call.number("id"), call.body)
    return Renewal(claim_expires_at=delivery.claim_expires_at or 0.0)


async def _release(call: Call) -> Delivery:
    call.caller.need_agent(call.body.agent_id)
    return await call.store.release(call.number("id"), call.body)


async def _receipt(call: Call) -> Delivery:
    call.caller.need_agent(call.body.agent_id)
    return await call.store.receipt(call.number("id"), call.body)


async def _read(call: Call) -> None:
    await call.store.read(call.caller, call.number("id"))


async def _reply(call: Call) -> MessageRecord:
    call.caller.need_send()
    return await call.store.reply(call.caller, call.number("id"), call.body)


async def _react(call: Call) -> None:
    call.caller.need_send()
    await call.store.react(call.caller, call.number("id"), check_emoji(call.body.emoji))


async def _drop(call: Call) -> MessageRecord:
    call.caller.need_operator()
    return await call.store.drop(call.caller, call.number("id"), call.body.agent_id)


async def _redeliver(call: Call) -> MessageRecord:
    call.caller.need_operator()
    return await call.store.redeliver(call.caller, call.number("id"), call.body.agent_id)


# --- agents -----------------------------------------------------------------------------------------------------------


async def _agents(call: Call) -> list[Agent]:
    return await call.store.agents()


async def _agent(call: Call) -> Agent:
    return await call.store.agent(call.text("id"))


async def _obligations(call: Call) -> list[MessageRecord]:
    agent_id = call.text("id")
    call.caller.need_agent_or_operator(agent_id)
    return await call.store.obligations(call.caller, agent_id)


async def _remove_agent(call: Call) -> None:
    agent_id = call.text("id")
    call.caller.need_agent_or_operator(agent_id)
    await call.store.remove_agent(agent_id)


async def _status(call: Call) -> None:
    call.caller.need_agent(call.text("id"))
    await call.store.put_status(call.text("id"), call.body.instance_id, call.body.status)


async def _ready(call: Call) -> None:
    call.caller.need_agent(call.text("id"))
    await call.store.put_ready(call.text("id"), call.body.instance_id, call.body.ready)


async def _heartbeat(call: Call) -> None:
    call.caller.need_agent(call.text("id"))
    await call.store.heartbeat(call.text("id"), call.body.instance_id)


# --- commands, tokens -------------------------------------------------------------------------------------------------


async def _command(call: Call) -> Command:
    call.caller.need_operator()
    return await call.store.command(call.caller, call.body)


async def _commands(call: Call) -> list[Command]:
    agent_id = call.query.get("agentId", "")
    call.caller.need_agent_or_operator(agent_id or None)
    return await call.store.commands(agent_id, pending=call.query.get("pending") == "true")


async def _get_command(call: Call) -> Command:
    return await call.store.get_command(call.caller, call.text("id"))


async def _update_command(call: Call) -> Command:
    return await call.store.update_command(call.caller, call.text("id"), call.body)


async def _issue_token(call: Call) -> TokenGrant:
    return await call.core.tokens.issue(call.caller, call.body)


async def _renew_token(call: Call) -> TokenGrant:
    return await call.core.tokens.renew(call.caller)


async def _who_am_i(call: Call) -> TokenInfo:
    return token_info(call.caller)


async def _list_tokens(call: Call) -> list[TokenInfo]:
    call.caller.need_operator()
    return await call.store.tokens()


async def _revoke_token(call: Call) -> None:
    call.caller.need_operator()
    await call.store.revoke_token(call.text("jti"))


# --- the relay itself -------------------------------------------------------------------------------------------------


async def _events(call: Call) -> Stream:
    given = call.header(b"last-event-id") or call.query.get("after")
    if given is not None and not (given.isascii() and given.isdigit() and len(given) < 19):
        raise RelayRefused("`after` and Last-Event-ID are numbers", status=422)
    chunks: AsyncIterator[bytes] = event_stream(call.core, call.caller, None if given is None else int(given))
    return Stream(chunks)


async def _openapi(call: Call) -> dict[str, Any]:
    from relay_runner.server.openapi import document

    return document(ROUTES)


async def _health(call: Call) -> Health:
    counts = await call.store.counts()
    return Health(
        status="ok",
        version=__version__,
        protocol=PROTOCOL_VERSION,
        relay_id=call.store.relay_id,
        uptime_s=round(call.core.clock() - call.core.started_at, 3),
        agents=counts.agents,
        connected=counts.connected,
        queued=counts.queued,
    )


async def _metrics(call: Call) -> Text:
    return Text(call.core.metrics.text(await call.store.counts()).encode(), CONTENT_TYPE)


def _api(method: str, path: str, *rest: Any, **named: Any) -> Route:
    return Route(method, API + path, *rest, **named)


ROUTES: tuple[Route, ...] = (
    _api("POST", "/messages", _send, "Post a message", NewMessage, MessageRecord, 201),
    _api("POST", "/messages/{id}/receipt", _receipt, "Report what became of a delivery", Receipt, Delivery),
    _api("POST", "/messages/{id}/claim", _claim, "Claim a message", ClaimRequest, ClaimResult),
    _api("POST", "/messages/{id}/renew", _renew, "Prolong a claim", ClaimRequest, Renewal),
    _api("POST", "/messages/{id}/release", _release, "Give a claim back", Release, Delivery),
    _api("GET", "/messages", _list, "List messages", None, list[MessageRecord], parameters=QUERY),
    _api(
        "GET", "/messages/{id}", _message, "Show a message; as an event stream, every change of it", None, MessageRecord
    ),
    _api("POST", "/messages/{id}/read", _read, "Mark your delivery as read"),
    _api("POST", "/messages/{id}/reply", _reply, "Answer a message's sender", NewReply, MessageRecord, 201),
    _api("POST", "/messages/{id}/reactions", _react, "Put an emoji on a message", NewReaction),
    _api(
        "POST",
        "/messages/{id}/redeliver",
        _redeliver,
        "Queue dead or unknown deliveries again",
        Redelivery,
        MessageRecord,
        optional_body=True,
    ),
    _api(
        "POST",
        "/messages/{id}/drop",
        _drop,
        "Give queued or unknown deliveries up: they are dead",
        Dropping,
        MessageRecord,
        optional_body=True,
    ),
    *ATTACHMENT_ROUTES,
    _api("GET", "/agents", _agents, "List the agents", None, list[Agent]),
    _api("GET", "/agents/{id}", _agent, "Show an agent", None, Agent),
    _api(
        "GET", "/agents/{id}/obligations", _obligations, "List what an agent has to answer", None, list[MessageRecord]
    ),
    _api("DELETE", "/agents/{id}", _remove_agent, "Retire an agent"),
    _api("PUT", "/agents/{id}/status", _status, "Publish an agent's status", StatusUpdate),
    _api("PUT", "/agents/{id}/ready", _ready, "Publish whether an agent is ready", ReadyUpdate),
    _api("POST", "/agents/{id}/heartbeat", _heartbeat, "Say that an agent's runner lives", Beat),
    _api("POST", "/commands", _command, "Give an order about an agent", NewCommand, Command, 201),
    _api(
        "GET",
        "/commands",
        _commands,
        "List an agent's orders, oldest first",
        None,
        list[Command],
        parameters={"agentId": "the agent", "pending": "only those that are neither succeeded nor failed"},
    ),
    _api("GET", "/commands/{id}", _get_command, "Show an order", None, Command),
    _api("PATCH", "/commands/{id}", _update_command, "Report on an order", CommandUpdate, Command),
    *PERMISSION_ROUTES,
    *TASK_ROUTES,
    _api("POST", "/tokens", _issue_token, "Make a token", TokenRequest, TokenGrant, 201),
    _api("POST", "/tokens/renew", _renew_token, "Renew the token in use", None, TokenGrant, 201, grace_s=GRACE_S),
    _api("GET", "/tokens/self", _who_am_i, "Show what the token in use is", None, TokenInfo),
    _api("GET", "/tokens", _list_tokens, "List the tokens, the newest first", None, list[TokenInfo]),
    _api("DELETE", "/tokens/{jti}", _revoke_token, "Revoke a token and its successors"),
    _api(
        "GET",
        "/events",
        _events,
        "Follow what happens, as an event stream; `Last-Event-ID` goes before `after`",
        None,
        Stream,
        parameters={"after": "begin after this `seq`; without it, now"},
    ),
    _api("GET", "/openapi.json", _openapi, "This document", None, dict[str, Any], open=True),
    Route("GET", "/healthz", _health, "Say whether the relay is well", None, Health, open=True),
    Route("GET", "/metrics", _metrics, "Numbers for Prometheus", None, Text, open=True),
)
