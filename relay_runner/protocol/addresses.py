"""Whom a message is for, who said it, and which ids an agent may have.

bob  agent:bob      one agent
person:alice        one person's inbox
label:Front desk    the agents with exactly that label
tag:python          the agents that carry the tag       (broad)
cap:review          the agents that have the capability (broad)
broadcast           every agent                         (broad)
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

from relay_runner.errors import ConfigError, ProtocolError

_OTHERS = re.compile(r"[^a-z0-9_]+")
AGENT_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,47}")
MAX_ADDRESS_LENGTH = 256


class Kind(StrEnum):
    """What the value of an address names."""

    AGENT = "agent"
    PERSON = "person"
    LABEL = "label"
    TAG = "tag"
    CAP = "cap"
    BROADCAST = "broadcast"


BROAD = frozenset({Kind.TAG, Kind.CAP, Kind.BROADCAST})


class Address(NamedTuple):
    """One parsed address; `str()` gives its canonical text back."""

    kind: Kind
    value: str

    def __str__(self) -> str:
        return "broadcast" if self.kind is Kind.BROADCAST else f"{self.kind}:{self.value}"

    @classmethod
    def parse(cls, text: str) -> Address:
        """Return the address that `text` spells; raise `ProtocolError` where it spells none."""
        text = text.strip()
        if text == "broadcast":
            return cls(Kind.BROADCAST, "")
        head, colon, value = text.partition(":")
        kind, value = (head, value.strip()) if colon else (Kind.AGENT, text)
        if kind not in set(Kind) or kind == Kind.BROADCAST:
            raise ProtocolError(
                f"unknown kind of address {text!r}", hint="use an agent id, person:, label:, tag:, cap: or broadcast"
            )
        if not value or len(value) > MAX_ADDRESS_LENGTH or not value.isprintable():
            raise ProtocolError(
                f"not an address: {text[:80]!r}",
                hint=f"write {kind}:NAME, in {MAX_ADDRESS_LENGTH} printable characters",
            )
        if kind == Kind.AGENT and not AGENT_ID.fullmatch(value):
            raise ProtocolError(
                f"not an agent id: {value[:80]!r}", hint="ids are a-z, 0-9, _ and -, at most 48 characters"
            )
        return cls(Kind(kind), value)

    def matches(
        self,
        *,
        agent_id: str,
        label: str | None,
        tags: frozenset[str],
        capabilities: frozenset[str],
        broad: bool = True,
    ) -> bool:
        """Say whether an agent with these properties is meant; `broad=False` turns tag, cap and broadcast off."""
        if self.kind in BROAD and not broad:
            return False
        match self.kind:
            case Kind.AGENT:
                return self.value == agent_id
            case Kind.LABEL:
                return label is not None and self.value == label
            case Kind.TAG:
                return self.value in tags
            case Kind.CAP:
                return self.value in capabilities
            case Kind.BROADCAST:
                return True
        return False


def agent_principal(agent_id: str) -> str:
    """Return the name under which that agent speaks."""
    return f"agent:{agent_id}"


def person_principal(login: str) -> str:
    """Return the name under which that person speaks."""
    return f"person:{login}"


def check_agent_id(text: str) -> str:
    """Return `text` if it may be an agent's id; raise `ConfigError` otherwise."""
    if not AGENT_ID.fullmatch(text):
        raise ConfigError(
            f"{text!r} cannot be an agent id",
            hint="use a-z, 0-9, _ and -, starting with a letter or digit, at most 48 characters",
        )
    return text


def suggest_agent_id(*parts: str) -> str:
    """Return an agent id made of `parts` (a folder's name and a provider's, say)."""
    text = "-".join(_OTHERS.sub("-", part.lower()).strip("-_") for part in parts)
    return text.strip("-_")[-48:].lstrip("-_") or "agent"
