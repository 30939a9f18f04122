"""What a relay accepts, and whom a message reaches."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_runner.errors import RelayNotFound, RelayRefused
from relay_runner.protocol import acceptance
from relay_runner.protocol.addresses import Address, Kind
from relay_runner.protocol.messages import MAX_BODY_BYTES, MAX_HOPS, Message, NewMessage

words = st.text(st.characters(categories=("L", "N"), include_characters=" -_"), min_size=1, max_size=10).map(str.strip)
words = words.filter(bool)
names = st.from_regex(r"\A[a-c][a-c0-9_-]{0,3}\Z")


@given(
    kind=st.sampled_from(sorted(set(Kind) - {Kind.PERSON})),
    value=words,
    agent_id=names,
    label=st.none() | words,
    tags=st.frozensets(words, max_size=3),
    capabilities=st.frozensets(words, max_size=3),
    broad=st.booleans(),
)
def test_the_addresses_of_an_agent_are_those_that_match_it(
    kind: Kind,
    value: str,
    agent_id: str,
    label: str | None,
    tags: frozenset[str],
    capabilities: frozenset[str],
    broad: bool,
) -> None:
    choices = [value, agent_id, label or value, *tags, *capabilities]
    for chosen in choices:
        address = Address(kind, "" if kind is Kind.BROADCAST else chosen)
        own = acceptance.addresses_of(agent_id=agent_id, label=label, tags=tags, capabilities=capabilities, broad=broad)
        meant = address.matches(agent_id=agent_id, label=label, tags=tags, capabilities=capabilities, broad=broad)
        assert (str(address) in own) == meant


def test_a_body_is_measured_in_bytes() -> None:
    acceptance.check_body("x" * MAX_BODY_BYTES)
    acceptance.check_body("é" * (MAX_BODY_BYTES // 2))
    for body in ("x" * (MAX_BODY_BYTES + 1), "é" * (MAX_BODY_BYTES // 2 + 1)):
        with pytest.raises(RelayRefused) as caught:
            acceptance.check_body(body)
        assert caught.value.status == 413


@pytest.mark.parametrize("body", ["", " ", "\n\t\r"])
def test_an_empty_body_is_refused(body: str) -> None:
    with pytest.raises(RelayRefused) as caught:
        acceptance.check_body(body)
    assert caught.value.code == "empty-body"


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"ttl_s": 0.0}, "ttlS"),
        ({"ttl_s": float("nan")}, "ttlS"),
        ({"ttl_s": float("inf")}, "ttlS"),
        ({"subject": "s" * 1001}, "subject"),
        ({"to": "team:x"}, "team"),
        ({"to": ""}, "address"),
        ({"to": "person:ann", "claimable": True}, "claim"),
    ],
)
def test_a_bad_message_is_refused_in_one_line(more: dict[str, object], word: str) -> None:
    new = NewMessage(**{"to": "bob", "body": "hi", **more})  # type: ignore[arg-type]
    with pytest.raises(RelayRefused, match=word) as caught:
        acceptance.check_new(new)
    assert caught.value.status == 422


def test_a_fan_out_leaves_the_sender_out() -> None:
    agents = {"ann": {"agent:ann", "tag:x"}, "bob": {"agent:bob", "tag:x"}}
    tag = Address(Kind.TAG, "x")
    assert acceptance.fan_out(tag, sender="agent:ann", agents=agents) == ["agent:bob"]
    assert acceptance.fan_out(tag, sender="person:me", agents=agents) == ["agent:ann", "agent:bob"]
    with pytest.raises(RelayNotFound, match="did you mean tag:x"):
        acceptance.fan_out(Address(Kind.TAG, "xx"), sender="person:me", agents=agents)
    with pytest.raises(RelayRefused, match="oneself"):
        acceptance.fan_out(Address(Kind.AGENT, "ann"), sender="agent:ann", agents=agents)


def test_a_direct_message_needs_somebody_who_was_known() -> None:
    carl = Address(Kind.AGENT, "carl")
    assert acceptance.fan_out(carl, sender="person:me", agents={}, retired=True) == ["agent:carl"]
    with pytest.raises(RelayNotFound, match="did you mean carla"):
        acceptance.fan_out(carl, sender="person:me", agents={"carla": set()})
    assert acceptance.fan_out(Address(Kind.PERSON, "new"), sender="agent:x", agents={}) == ["person:new"]


def test_hops_are_counted_and_end() -> None:
    assert acceptance.hops_after(None) == 0
    parent = Message(id=1, sender="a", to="b", body="c", created_at=0, expires_at=1, hops=MAX_HOPS - 1)
    assert acceptance.hops_after(parent) == MAX_HOPS
    last = Message(id=1, sender="a", to="b", body="c", created_at=0, expires_at=1, hops=MAX_HOPS)
    with pytest.raises(RelayRefused) as caught:
        acceptance.hops_after(last)
    assert caught.value.code == "loop"


def test_a_reaction_is_short_and_printable() -> None:
    assert acceptance.check_emoji(" 👍 ") == "👍"
    for emoji in ("", "  ", "x" * 33, "\x1b[1m"):
        with pytest.raises(RelayRefused):
            acceptance.check_emoji(emoji)
