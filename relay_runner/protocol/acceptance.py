"""What a relay accepts, and for whom: the pure rules of posting a message."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Mapping

from relay_runner.errors import ProtocolError, RelayNotFound, RelayRefused
from relay_runner.protocol.addresses import Address, Kind, agent_principal
from relay_runner.protocol.attachments import check_named
from relay_runner.protocol.messages import EMOJI_MAX_CHARS, MAX_BODY_BYTES, MAX_HOPS, Message, NewMessage

MAX_TTL_S = 90 * 24 * 3600.0
MAX_SUBJECT_CHARS = 1000
IDEMPOTENCY_S = 24 * 3600.0
"""How long a key is remembered."""
_SAMPLE = frozenset({"tag", "cap", "label"})


def addresses_of(
    *, agent_id: str, label: str | None, tags: Collection[str], capabilities: Collection[str], broad: bool = True
) -> frozenset[str]:
    """Return every address, in its canonical text, that means this agent; says the same as `Address.matches`."""
    texts = {agent_principal(agent_id)}
    if label is not None:
        texts.add(f"{Kind.LABEL}:{label}")
    if broad:
        texts.add(str(Kind.BROADCAST))
        texts.update(f"{Kind.TAG}:{tag}" for tag in tags)
        texts.update(f"{Kind.CAP}:{capability}" for capability in capabilities)
    return frozenset(texts)


def check_new(new: NewMessage) -> Address:
    """Return whom a message is for; raise `RelayRefused` with one line where it cannot be accepted."""
    check_body(new.body)
    check_named(new.attachments)
    if new.subject is not None and len(new.subject) > MAX_SUBJECT_CHARS:
        raise RelayRefused(f"the subject is longer than {MAX_SUBJECT_CHARS} characters", status=422)
    if not (math.isfinite(new.ttl_s) and 0 < new.ttl_s <= MAX_TTL_S):
        raise RelayRefused("ttlS must be above 0 and at most 90 days", status=422)
    try:
        address = Address.parse(new.to)
    except ProtocolError as error:
        raise RelayRefused(error.message, hint=error.hint, status=422, code="bad-address") from error
    if new.claimable and address.kind is Kind.PERSON:
        raise RelayRefused("a person cannot claim a message", hint="leave `claimable` out", status=422)
    return address


def check_body(body: str) -> None:
    """Raise `RelayRefused` for an empty body and for one above 1 MiB."""
    size = len(body) if body.isascii() else len(body.encode("utf-8", "surrogatepass"))
    if size > MAX_BODY_BYTES:
        raise RelayRefused(
            f"the body has {size} bytes, at most {MAX_BODY_BYTES} are allowed",
            hint="put it into a file and send its path",
            status=413,
            code="body-too-large",
        )
    if not body.strip():
        raise RelayRefused("the body is empty", hint="say something", status=422, code="empty-body")


def no_attachment(attachment_id: str) -> RelayNotFound:
    """Return the error for a file that does not exist, or is not the caller's to see."""
    return RelayNotFound(
        f"there is no attachment {attachment_id[:40]!r}",
        hint="ids stand in `relay-runner read MESSAGE`; a file that no message names goes after a day",
    )


def check_emoji(emoji: str) -> str:
    """Return a reaction without surrounding blanks; raise `RelayRefused` where it is none."""
    emoji = emoji.strip()
    if not emoji or len(emoji) > EMOJI_MAX_CHARS or not emoji.isprintable():
        raise RelayRefused(f"a reaction is 1 to {EMOJI_MAX_CHARS} printable characters", status=422)
    return emoji


def hops_after(parent: Message | None) -> int:
    """Return the hop count of a reply to `parent`; refuse the one that would go on for ever."""
    hops = 0 if parent is None else parent.hops + 1
    if hops > MAX_HOPS:
        raise RelayRefused(
            f"this conversation went back and forth {MAX_HOPS} times", hint="start a new one", status=422, code="loop"
        )
    return hops


def fan_out(
    address: Address, *, sender: str, agents: Mapping[str, Collection[str]], retired: bool = False
) -> list[str]:
    """Return the principals that get a delivery; raise `RelayRefused` where there is nobody.

    `agents` holds the addresses of every agent known, by id; `retired` says that a direct address names an agent
    that was known once: it is queued for it as for one that is offline.
    """
    text = str(address)
    if text == sender:
        raise RelayRefused("a message to oneself goes nowhere", hint="address somebody else", status=422)
    if address.kind is Kind.PERSON:
        return [text]
    if address.kind is Kind.AGENT:
        if address.value in agents or retired:
            return [text]
        raise unknown_agent(address.value, agents)
    found = sorted(agent_principal(agent_id) for agent_id, texts in agents.items() if text in texts)
    found = [principal for principal in found if principal != sender]
    if not found:
        raise RelayNotFound(
            f"no agent answers to {text}", hint=_nearest_text(text, agents) or "see `relay-runner ps`", code="nobody"
        )
    return found


def unknown_agent(agent_id: str, known: Collection[str]) -> RelayNotFound:
    """Return the error for an id that the relay never saw; its hint names the nearest one."""
    near = difflib.get_close_matches(agent_id, list(known), n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else "see `relay-runner ps`"
    return RelayNotFound(f"there is no agent {agent_id}", hint=hint)


def _nearest_text(text: str, agents: Mapping[str, Collection[str]]) -> str | None:
    known = {other for texts in agents.values() for other in texts if other.partition(":")[0] in _SAMPLE}
    near = difflib.get_close_matches(text, sorted(known), n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else None
