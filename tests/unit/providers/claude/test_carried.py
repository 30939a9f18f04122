from __future__ import annotations

from typing import Any

from relay_runner.protocol.messages import Outcome
from relay_runner.providers.base import TurnEnded
from relay_runner.providers.claude.carried import Carried
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
    carried.loose.append("n1")
    assert carried.prompt(["n1", "n2"]) == (["n2"], ["n1", "n2"])
    assert carried.loose == []
    assert carried.has("n1") and carried.has("n2") and not carried.has("n3")
    assert carried.prompt(["n1"]) == ([], [])


def test_loose_messages_end_by_the_transcript_each_once() -> None:
    carried = Carried()
    for line in (prompt("n1"), answer("done"), OVER, prompt("n2")):
        for nonce in carried.ledger.feed(line):
            carried.loose.append(nonce)
    (ended,) = carried.settle_loose()
    assert ended == TurnEnded(Outcome.COMPLETED, "transcript", ("n1",), "done")
    assert carried.settled("n1") == ended and carried.loose == ["n2"]
    assert carried.settle_loose() == []
    assert carried.claim_loose() == ["n2"] and carried.loose == []


def test_what_an_earlier_runner_saw_is_no_news_and_what_still_runs_is_loose() -> None:
    carried = Carried()
    carried.recall([prompt("n1"), answer("done"), OVER, prompt("n2")], 1.0)
    assert not carried.see("n1") and not carried.see("n2")
    assert carried.loose == ["n2"]


def test_old_ends_are_forgotten() -> None:
    carried = Carried()
    for number in range(KEPT_TURNS + 1):
        carried.settle(TurnEnded(Outcome.COMPLETED, "x", (f"n{number}",)))
    assert carried.settled("n0") is None and carried.settled("n1") is not None
