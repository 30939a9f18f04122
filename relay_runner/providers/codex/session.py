"""The way from an open connection to a thread that takes messages: handshake, skills, start or resume, probes."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field, replace
from typing import Any

from relay_runner import __version__
from relay_runner.errors import ProviderNotReady, ProviderRefused
from relay_runner.providers.base import LaunchSpec
from relay_runner.providers.codex import launch, prompt, tools
from relay_runner.providers.codex.client import Client, Refused
from relay_runner.providers.codex.failures import Kind
from relay_runner.providers.codex.settings import approval_mode

log = logging.getLogger(__name__)

CLIENT = {"name": "relay_runner", "title": "Relay Runner", "version": __version__}
NO_SUCH_THREAD = "01a1fb2e-0000-7000-8000-000000000000"
LOST = ("no rollout found", "invalid session id")
ARCHIVED = "is archived"
OWNED = "already has an active writer"
INVALID = "Invalid request"
NO_SUCH_METHOD = "relayRunner/probe"
METHOD = re.compile(r"`([^`]+)`")


@dataclass(slots=True)
class Session:
    """A thread that this connection is subscribed to."""

    thread_id: str
    thread: dict[str, Any]
    turns: list[dict[str, Any]]
    """The newest turns, newest first."""
    source: str
    """`start`, `resume`, or `fresh` where the one to resume is lost."""
    model: str | None = None
    effort: str | None = None
    approval_mode: str | None = None
    """What it may do unasked, as the program itself tells: a thread that is loaded already keeps what it had."""
    profile: str | None = None
    """The permission profile that its commands run in."""
    version: str | None = None
    context: bool = False
    """Whether another agent's words can go in beside the prompt, as untrusted context."""
    upgrades: dict[str, str] = field(default_factory=dict)
    """Which models the program would rather have, by model: it asks a person about them."""
    methods: frozenset[str] = frozenset()
    """Everything that the server can be asked; empty where it did not tell."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What every thread of this agent is started, resumed and forked with."""


async def join(client: Client, spec: LaunchSpec, thread_id: str | None, *, adopted: bool) -> Session:
    """Shake hands and go on with the thread, or start one; raise `ProviderNotReady` where a person is needed first."""
    await client.call("initialize", {"clientInfo": CLIENT, "capabilities": {"experimentalApi": True}})
    await client.notify("initialized")
    await _skills(client, spec)
    await _check_login(client, spec)
    if thread_id is None and adopted:
        thread_id = await _loaded(client)
    config = (await _or_nothing(client, "config/read", {"cwd": str(spec.cwd)})).get("config") or {}
    settings = launch.thread(spec, config.get("developer_instructions"))
    session = await _thread(client, spec, settings, thread_id)
    if not adopted:  # what was loaded already keeps what a person chose meanwhile
        _check_sandbox(session, settings)
    session.context = await _takes_context(client)
    session.upgrades = await _upgrades(client)
    session.methods = await _methods(client)
    return session


async def another(client: Client, spec: LaunchSpec, old: Session, thread_id: str | None) -> Session:
    """Return a fresh thread, or this one, on the same connection; refused where there is no such thread."""
    try:
        new = await _thread(client, spec, old.settings, thread_id, or_fresh=False)
    except ProviderNotReady as error:
        raise ProviderRefused(error.message) from error
    return replace(new, context=old.context, upgrades=old.upgrades, methods=old.methods)


async def _loaded(client: Client) -> str | None:
    """Return the thread that the server has loaded: the agent's own, for those of sub-agents have a parent."""
    for id in (await client.call("thread/loaded/list", {})).get("data") or ():
        thread = (await _or_nothing(client, "thread/read", {"threadId": id})).get("thread") or {}
        if not thread.get("parentThreadId"):
            return str(id)
    return None


async def turns(client: Client, thread_id: str, limit: int, cursor: str | None = None) -> list[dict[str, Any]]:
    """Return the newest turns of a thread with all their items, newest first."""
    return (await page(client, thread_id, limit, cursor))[0]


async def page(
    client: Client, thread_id: str, limit: int, cursor: str | None = None
) -> tuple[list[dict[str, Any]], str | None]:
    """Return one page of turns, newest first, and where the next begins."""
    params = {"threadId": thread_id, "limit": limit, "itemsView": "full", "cursor": cursor}
    answer = await client.call("thread/turns/list", params)
    return answer.get("data") or [], answer.get("nextCursor")


async def _thread(
    client: Client, spec: LaunchSpec, settings: dict[str, Any], thread_id: str | None, *, or_fresh: bool = True
) -> Session:
    """Go on with a thread, or start one; a lost one is replaced by a fresh one, where that is wanted."""
    source = "start"
    if thread_id is not None:
        answer = await _resume(client, {**settings, "threadId": thread_id, "excludeTurns": True})
        if answer is not None:
            return _session(answer, "resume", settings, await turns(client, thread_id, 1), spec.approval_mode)
        if not or_fresh:
            raise ProviderRefused(f"there is no session {thread_id}", hint="the operation `sessions` lists them")
        log.warning("session %s is lost; a new one is started", thread_id)
        source = "fresh"
    try:
        answer = await client.call("thread/start", {**settings, **await tools.offered(client, spec)})
    except Refused as error:
        raise ProviderNotReady(f"Codex cannot start a session: {error}") from error
    # Without a name nobody could attach to it before its first turn, and the first who does has the model invent one.
    name = {"threadId": _told(answer)["id"], "name": spec.label or spec.agent_id}
    await client.call("thread/name/set", name)
    return _session(answer, source, settings, [], spec.approval_mode)


def _check_sandbox(session: Session, settings: dict[str, Any]) -> None:
    """Raise where the thread did not get the sandbox that it was to have: an older server drops what it lacks."""
    wanted = settings.get("permissions")
    if wanted is not None and session.profile != wanted:
        raise ProviderNotReady(
            "this version of Codex cannot hide the relay's files from an agent's commands",
            hint="update it (npm install -g @openai/codex), or start with --approval-mode bypass",
        )


def _session(
    answer: dict[str, Any], source: str, settings: dict[str, Any], newest: list[dict[str, Any]], started: str
) -> Session:
    thread = _told(answer)
    return Session(
        str(thread["id"]),
        thread,
        newest,
        source,
        model=answer.get("model"),
        effort=answer.get("reasoningEffort"),
        approval_mode=approval_mode(
            answer.get("approvalPolicy"), answer.get("sandbox"), answer.get("activePermissionProfile"), started
        ),
        profile=(answer.get("activePermissionProfile") or {}).get("id"),
        version=thread.get("cliVersion"),
        settings=settings,
    )


def _told(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the thread that an answer is about; raise `ProviderNotReady` where it has another shape than we know."""
    thread = answer.get("thread")
    if not isinstance(thread, dict) or not thread.get("id"):
        why = f"{Kind.RESPONSE_INVALID}: Codex does not say which session it has"
        raise ProviderNotReady(why, hint="its version may be too new, or too old")
    return thread


async def _resume(client: Client, params: dict[str, Any]) -> dict[str, Any] | None:
    """Return the thread, or None when it is lost."""
    thread = {"threadId": params["threadId"]}
    try:
        try:
            return await client.call("thread/resume", params)
        except Refused as error:
            if ARCHIVED not in str(error):
                raise
        await client.call("thread/unarchive", thread)
        return await client.call("thread/resume", params)
    except Refused as error:
        if any(word in str(error) for word in LOST):
            return None
        if OWNED in str(error):
            raise ProviderNotReady(
                f"session {params['threadId']} is open in another Codex", hint="close it there, or start with --fresh"
            ) from error
        raise ProviderNotReady(f"Codex cannot resume its session: {error}", hint="start with --fresh") from error


async def _skills(client: Client, spec: LaunchSpec) -> None:
    if roots := launch.skill_roots(spec):
        await _or_nothing(client, "skills/extraRoots/set", {"extraRoots": roots})


async def _check_login(client: Client, spec: LaunchSpec) -> None:
    """Raise when nobody is logged in and nobody is there to do it."""
    told = await _or_nothing(client, "account/read", {})
    if spec.headless and told.get("requiresOpenaiAuth") and told.get("account") is None:
        raise ProviderNotReady("Codex is not logged in", hint="run `codex login`")


async def _takes_context(client: Client) -> bool:
    """Say whether turn/start knows `additionalContext`; a server that does not would drop it without a word.

    Asked of a thread that does not exist: a wrong type is refused for itself only where the field is known.
    """
    good = await _complaint(client, prompt.untrusted(""))
    return INVALID in await _complaint(client, 0) and INVALID not in good


async def _complaint(client: Client, context: object) -> str:
    try:
        await client.call("turn/start", {"threadId": NO_SUCH_THREAD, "input": [], "additionalContext": context})
    except Refused as error:
        return str(error)
    return ""


async def _methods(client: Client) -> frozenset[str]:
    """Return what the server can be asked: it lists that when it is asked something else (0.169.0)."""
    try:
        await client.call(NO_SUCH_METHOD, {})
    except Refused as error:
        _, listed, names = str(error).partition("expected one of")
        return frozenset(METHOD.findall(names)) if listed else frozenset()
    return frozenset()


async def skills(client: Client, spec: LaunchSpec) -> frozenset[str] | None:
    """Return the names of the skills that a prompt could mention; None where the server does not tell."""
    places = (await _or_nothing(client, "skills/list", {"cwds": [str(spec.cwd)]})).get("data")
    if not isinstance(places, list):
        return None
    return frozenset(str(one["name"]) for place in places for one in place.get("skills") or () if one.get("name"))


async def _upgrades(client: Client) -> dict[str, str]:
    models = (await _or_nothing(client, "model/list", {})).get("data") or []
    return {str(model["model"]): str(model["upgrade"]) for model in models if model.get("upgrade")}


async def _or_nothing(client: Client, method: str, params: dict[str, Any]) -> dict[str, Any]:
    """Ask what a version may lack, or may not want to tell."""
    try:
        return await client.call(method, params)
    except Refused as error:
        log.info("Codex refused %s: %s", method, error)
        return {}
