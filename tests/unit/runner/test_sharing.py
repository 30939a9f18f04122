from __future__ import annotations

from relay_runner.protocol.messages import Message
from relay_runner.runner.sharing import BY_HAND, Share, share


def said(id: int, sender: str, *, operator: bool = False) -> Message:
    return Message(
        id=id, sender=sender, to="agent:a", body="x", created_at=0.0, expires_at=1.0, operator=operator
    )  # fmt: skip


ALICE = said(1, "person:alice", operator=True)
BOB = said(2, "agent:bob")


def test_a_turn_of_its_own_is_the_senders() -> None:
    for message in (ALICE, BOB):
        assert share(message, [message], by_hand=False) == share(message, [], by_hand=False) == Share()


def test_several_messages_of_one_sender_are_all_told() -> None:
    assert share(BOB, [BOB, said(3, "agent:bob")], by_hand=False) == Share((2, 3))


def test_an_operator_gets_the_text_and_what_else_was_in_the_turn() -> None:
    assert share(ALICE, [BOB], by_hand=True) == Share((1, 2))


def test_another_agent_never_gets_what_was_said_to_somebody_else() -> None:
    found = share(BOB, [ALICE], by_hand=False)
    assert found.carried == (1, 2) and "also answered person:alice: its text is not shared" in str(found.withheld)
    assert "agent:eve" in str(share(BOB, [said(4, "agent:eve")], by_hand=False).withheld)
    assert BY_HAND in str(share(BOB, [BOB], by_hand=True).withheld)
    assert share(said(5, "person:guest"), [ALICE], by_hand=False).withheld
