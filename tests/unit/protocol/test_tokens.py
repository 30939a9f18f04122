"""The words of tokens."""

from __future__ import annotations

from relay_runner.protocol.addresses import Address, Kind
from relay_runner.protocol.tokens import agent_scope


def test_an_agent_s_scope_is_its_address() -> None:
    assert Address.parse(agent_scope("bob")) == (Kind.AGENT, "bob")
