"""Scopes as rights."""

from __future__ import annotations

import pytest

from relay_runner.errors import RelayUnauthorized
from relay_runner.protocol.access import Caller
from relay_runner.protocol.tokens import ADMIN, OPERATOR, SEND, TokenRequest


def caller(subject: str, *scopes: str) -> Caller:
    return Caller(subject, frozenset(scopes))


BOB = caller("agent:bob", "agent:bob", SEND)
OPERATES = caller("person:op", SEND, OPERATOR)
ROOT = caller("person:root", SEND, OPERATOR, ADMIN)
NOBODY = caller("person:none")


def test_who_may_post() -> None:
    for one in (BOB, OPERATES, ROOT):
        one.need_send()
    with pytest.raises(RelayUnauthorized) as caught:
        NOBODY.need_send()
    assert caught.value.status == 403 and "send" in str(caught.value)


def test_who_may_be_an_agent() -> None:
    BOB.need_agent("bob")
    ROOT.need_agent("bob")
    for one, agent_id in ((BOB, "ann"), (OPERATES, "bob"), (NOBODY, "bob")):
        with pytest.raises(RelayUnauthorized):
            one.need_agent(agent_id)


def test_who_may_give_orders() -> None:
    OPERATES.need_operator()
    ROOT.need_operator()
    assert OPERATES.is_operator and not BOB.is_operator
    with pytest.raises(RelayUnauthorized):
        BOB.need_operator()


def test_who_may_answer_permissions() -> None:
    OPERATES.need_decider()
    ROOT.need_decider()
    for one in (BOB, NOBODY, caller("agent:bob", "agent:bob", OPERATOR, ADMIN)):
        with pytest.raises(RelayUnauthorized):
            one.need_decider()


def test_who_may_list_permissions() -> None:
    OPERATES.need_agent_or_operator(None)
    OPERATES.need_agent_or_operator("bob")
    BOB.need_agent_or_operator("bob")
    for agent_id, lacks in ((None, "operator"), ("ann", "agent:ann")):
        with pytest.raises(RelayUnauthorized, match=f"lacks the scope {lacks}$"):
            BOB.need_agent_or_operator(agent_id)


def test_who_may_see_what() -> None:
    assert BOB.may_see(None, "agent:bob") and not BOB.may_see("agent:ann", "person:bob", None)
    assert OPERATES.may_see("agent:ann")
    both = caller("person:bob", "agent:bob", SEND)
    assert both.is_("agent:bob") and both.principals() == ["agent:bob", "person:bob"]


@pytest.mark.parametrize(
    ("by", "subject", "scopes", "granted"),
    [
        (ROOT, "person:any", (ADMIN,), True),
        (OPERATES, "agent:ann", ("agent:ann", SEND), True),
        (OPERATES, "agent:ann", ("agent:bob",), False),
        (OPERATES, "agent:ann", (OPERATOR,), False),
        (OPERATES, "person:op", (SEND, OPERATOR), True),
        (OPERATES, "person:op", (ADMIN,), False),
        (OPERATES, "person:eve", (SEND,), False),
        (BOB, "agent:bob", ("agent:bob",), False),
    ],
)
def test_nobody_gives_away_more_than_they_have(
    by: Caller, subject: str, scopes: tuple[str, ...], granted: bool
) -> None:
    request = TokenRequest(subject=subject, scopes=scopes)
    if granted:
        by.need_grant(request)
    else:
        with pytest.raises(RelayUnauthorized):
            by.need_grant(request)
