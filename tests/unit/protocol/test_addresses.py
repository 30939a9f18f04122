"""Whom a message is for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_runner.errors import ConfigError, ProtocolError
from relay_runner.protocol.addresses import (
    AGENT_ID,
    Address,
    Kind,
    agent_principal,
    check_agent_id,
    person_principal,
    suggest_agent_id,
)

agent_ids = st.from_regex(AGENT_ID, fullmatch=True)


@pytest.mark.parametrize(
    ("text", "kind", "value", "canonical"),
    [
        ("bob", Kind.AGENT, "bob", "agent:bob"),
        (" agent:bob ", Kind.AGENT, "bob", "agent:bob"),
        ("person:Alice Smith", Kind.PERSON, "Alice Smith", "person:Alice Smith"),
        ("label: Front desk", Kind.LABEL, "Front desk", "label:Front desk"),
        ("tag:python:3", Kind.TAG, "python:3", "tag:python:3"),
        ("cap:review", Kind.CAP, "review", "cap:review"),
        ("broadcast", Kind.BROADCAST, "", "broadcast"),
    ],
)
def test_an_address_is_parsed_and_spelt(text: str, kind: Kind, value: str, canonical: str) -> None:
    address = Address.parse(text)
    assert address == (kind, value)
    assert str(address) == canonical
    assert Address.parse(canonical) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "Bob",
        "bob smith",
        "-bob",
        "agent:",
        "tag:",
        "team:x",
        "broadcast:x",
        "label:a\x1bb",
        "a" * 49,
        "tag:" + "x" * 257,
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ProtocolError):
        Address.parse(text)


@given(st.text(max_size=300))
def test_parsing_never_fails_otherwise_and_never_lets_control_characters_in(text: str) -> None:
    try:
        address = Address.parse(text)
    except ProtocolError:
        return
    assert Address.parse(str(address)) == address
    assert str(address).isprintable()


@given(agent_ids)
def test_every_agent_id_is_its_own_address(agent_id: str) -> None:
    assert Address.parse(agent_id) == (Kind.AGENT, agent_id)
    assert check_agent_id(agent_id) == agent_id
    assert agent_principal(agent_id) == str(Address.parse(agent_id))


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("bob", True),
        ("alice", False),
        ("label:Front desk", True),
        ("label:front desk", False),
        ("tag:python", True),
        ("tag:rust", False),
        ("cap:review", True),
        ("broadcast", True),
        ("person:bob", False),
    ],
)
def test_an_address_matches_the_agents_meant(text: str, meant: bool) -> None:
    agent = {
        "agent_id": "bob",
        "label": "Front desk",
        "tags": frozenset({"python"}),
        "capabilities": frozenset({"review"}),
    }
    address = Address.parse(text)
    assert address.matches(**agent) is meant
    broad = address.kind in (Kind.TAG, Kind.CAP, Kind.BROADCAST)
    assert address.matches(**agent, broad=False) is (meant and not broad)


def test_no_label_is_not_an_empty_label() -> None:
    address = Address(Kind.LABEL, "")
    assert not address.matches(agent_id="bob", label=None, tags=frozenset(), capabilities=frozenset())


@pytest.mark.parametrize("text", ["", "Bob", "_x", "a b", "ü", "a" * 49, "a\n"])
def test_a_wrong_agent_id_is_a_person_s_mistake(text: str) -> None:
    with pytest.raises(ConfigError):
        check_agent_id(text)


@given(st.lists(st.text(max_size=80), max_size=3))
def test_a_suggested_id_is_always_good(parts: list[str]) -> None:
    assert AGENT_ID.fullmatch(suggest_agent_id(*parts))


@pytest.mark.parametrize(
    ("parts", "suggested"),
    [
        (("My App", "claude"), "my-app-claude"),
        (("/", "demo"), "demo"),
        (("",), "agent"),
        (("a" * 60, "demo"), "a" * 43 + "-demo"),
    ],
)
def test_suggested_ids_read_well(parts: tuple[str, ...], suggested: str) -> None:
    assert suggest_agent_id(*parts) == suggested


def test_a_person_speaks_as_a_person() -> None:
    assert person_principal("alice") == "person:alice"
