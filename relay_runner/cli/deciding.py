"""A person's answer on its way: which permission is meant, what is answered, and whether it went in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from relay_runner.cli import session
from relay_runner.errors import ConfigError, RelayRefused
from relay_runner.protocol import decisions
from relay_runner.protocol.addresses import check_agent_id
from relay_runner.protocol.permissions import (
    Decision,
    NewDecision,
    Permission,
    PermissionQuery,
    PermissionState,
    Question,
    Resolution,
)
from relay_runner.relay.base import Relay

MANY = 500
SETTLE_S = 3.0
"""How long the agent's runner may take to put an answer in before the command ends without knowing."""
POLL_S = 0.1
ONLY_PERSON = "answer permissions"


async def listed(agent_id: str | None, *, show_all: bool) -> list[Permission]:
    """Return what is asked, oldest first; an agent that the relay does not know is `RelayNotFound`."""
    async with session.open_session(only_person=ONLY_PERSON) as opened:
        if agent_id is not None:
            await opened.relay.agent(check_agent_id(agent_id))
        return await opened.relay.permissions(PermissionQuery(agent_id=agent_id, open=not show_all, limit=MANY))


async def one(text: str) -> Permission:
    """Return the permission that an id, or its beginning, means."""
    async with session.open_session(only_person=ONLY_PERSON) as opened:
        return await meant(opened.relay, text)


async def decide(text: str, decision: Decision, reason: str | None, answers: Sequence[str]) -> Permission:
    """Answer a permission, and return it when the answer is in, or as it is when that takes long."""
    async with session.open_session(only_person=ONLY_PERSON) as opened:
        found = await meant(opened.relay, text)
        if found.state is not PermissionState.OPEN:
            raise RelayRefused(
                f"permission {found.id} is over: {decisions.standing(found)}", status=409, code="already-answered"
            )
        given = parse(answers, found.questions)
        decided = await opened.relay.decide(found.id, NewDecision(decision=decision, reason=reason, answers=given))
        deadline = time.monotonic() + SETTLE_S
        while decided.state is PermissionState.DECIDED and not decided.note and time.monotonic() < deadline:
            await asyncio.sleep(POLL_S)
            decided = await opened.relay.permission(found.id)
        return decided


def problem(found: Permission, decision: Decision) -> str | None:
    """Return why an answer did not go in; None where it did, or where it is on its way."""
    if found.state is PermissionState.DECIDED:
        return found.note
    if found.resolution is Resolution.APPLIED and found.decision is decision:
        return None
    return found.note or decisions.standing(found)


async def meant(relay: Relay, text: str) -> Permission:
    """Return the permission that an id means: the whole of it, or a beginning that no other one has."""
    if not text.strip():
        raise ConfigError("the permission's id is empty", hint="see `relay-runner permissions`")
    known = await relay.permissions(PermissionQuery(limit=MANY))
    by_id = {permission.id: permission for permission in known}
    if text in by_id:
        return by_id[text]
    found = [permission for permission in known if text and permission.id.startswith(text)]
    still = [permission for permission in found if permission.state is PermissionState.OPEN] or found
    if len(still) > 1:
        ids = ", ".join(permission.id for permission in still[:5])
        raise ConfigError(f"{len(still)} permissions begin with {text!r}", hint=f"type more of it: {ids}")
    if still:
        return still[0]
    raise decisions.unknown_permission(text, list(by_id))


def parse(answers: Sequence[str], questions: Sequence[Question]) -> dict[str, Any]:
    """Return `Q=TEXT` words by question, named or counted; with one question its number may be left out."""
    ids = {str(number): question.id for number, question in enumerate(questions, 1)}
    ids |= {question.id: question.id for question in questions}
    found: dict[str, list[str]] = {}
    for word in answers:
        name, equals, text = word.partition("=")
        if not equals or (name not in ids and len(questions) == 1):
            if len(questions) != 1:
                raise ConfigError(f"{word!r} does not say which question it answers", hint="write --answer 1=TEXT")
            name, text = questions[0].id, word
        found.setdefault(ids.get(name, name), []).append(text)
    return {name: texts if len(texts) > 1 else texts[0] for name, texts in found.items()}
