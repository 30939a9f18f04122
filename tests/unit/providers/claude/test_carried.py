from __future__ import annotations

from typing import Any

from relay_runner.protocol.messages import Outcome
from relay_runner.providers.base import TurnEnded
from relay_runner.providers.claude.carried import BEGIN_GRACE_S, IDLE_GRACE_S, Carried
from relay_runner.providers.claude.transcript import KEPT_TURNS


def prompt(nonce: str) -> dict[str, Any]:
    text = f'<relay-message id="1" nonce="{nonce}" from="agent:bob">\nx\n</relay-message nonce="{nonce}">'
    return {"type": "user", "message": {"content": text}}


def answer(text: str) -> dict[str, Any]:
    return {"type": "assistant", "message": {"content": [{"type": "text", "text": text}]}}


OVER = {"type": "system", "subtype": "turn_duration"}


def test_a_prompt_claims_what_the_transcript_showed_before_it() -> None:
    carried = Carried()
    assert carried.see("n1") and not carried.see("n1")
    carried.loosen("n1", 1.0)
    assert carried.prompt(["n1", "n2"]) == (["n2"], ["n1", "n2"])
    assert carried.loose == ()
    assert carried.has("n1") and carried.has("n2") and not carried.has("n3")
    assert carried.prompt(["n1"]) == ([], [])


def test_loose_messages_end_by_the_transcript_each_once() -> None:
    carried = Carried()
    for line in (prompt("n1"), answer("done"), OVER, prompt("n2")):
        for nonce in carried.ledger.feed(line):
            carried.loosen(nonce, 1.0)
    (ended,) = carried.settle_loose()
    assert ended == TurnEnded(Outcome.COMPLETED, "transcript", ("n1",), "done")
    assert carried.settled("n1") == ended and carried.loose == ("n2",)
    assert carried.settle_loose() == []
    assert carried.claim_loose() == ["n2"] and carried.loose == ()


def test_what_an_earlier_runner_saw_is_no_news_and_what_still_runs_is_loose() -> None:
    carried = Carried()
    carried.recall([prompt("n1"), answer("done"), OVER, prompt("n2")], 1.0)
    assert not carried.see("n1") and not carried.see("n2")
    assert carried.loose == ("n2",)


def test_a_loose_message_is_given_up_after_an_idle_time_of_its_own() -> None:
    """What is idle since the turn before says nothing of a message that was seen only now."""
    carried = Carried()
    carried.loosen("n1", 100.0)
    assert carried.give_up(10.0, 100.0 + IDLE_GRACE_S, "x", "why") == []
    assert carried.silent(10.0) == () and carried.silent(101.0) == ("n1",)
    assert carried.give_up(101.0, 101.0 + IDLE_GRACE_S / 2, "x", "why") == []
    (ended,) = carried.give_up(101.0, 101.0 + IDLE_GRACE_S, "x", "why")
    assert (ended.nonces, ended.outcome, ended.reason) == (("n1",), Outcome.FAILED, "why")
    carried.loosen("n2", 200.0)
    (ended,) = carried.give_up(101.0, 200.0 + BEGIN_GRACE_S, "x", "why")
    assert ended.nonces == ("n2",)


def test_what_a_hook_told_the_program_has() -> None:
    carried = Carried()
    carried.tell(["n1"], 5.0)
    carried.tell(["n1"], 6.0)
    assert carried.has("n1") and carried.told_at("n1") == 5.0
    assert carried.see("n1"), "and it is not seen yet"


def test_old_ends_are_forgotten() -> None:
    carried = Carried()
    for number in range(KEPT_TURNS + 1):
        carried.settle(TurnEnded(Outcome.COMPLETED, "x", (f"n{number}",)))
    assert carried.settled("n0") is None and carried.settled("n1") is not None
