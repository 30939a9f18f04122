"""A reply that is asked for and did not come is asked for once more, on the real programs.

Promise: obligations: by the Stop hook where there is one, else by a short prompt after the turn.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import codex
from tests.claude import claude_environ, claude_home, model  # noqa: F401 - a fixture
from tests.codex import model as responses  # noqa: F401 - a fixture
from tests.fake_models.anthropic import FakeAnthropic
from tests.fake_models.responses import FakeResponses
from tests.harness import Home, home, until

REMINDER = r"Message (\d+) from \S+ still wants a reply"


def _replies(place: Home, id: int) -> list[str]:
    return [place.message(reply)["message"]["body"] for reply in place.message(id)["replies"]]


def _times(model: FakeAnthropic, text: str) -> int:
    return model.times_in_conversation(text)


@pytest.mark.claude
@pytest.mark.slow
def test_claude_is_reminded_before_its_turn_ends_and_replies_in_the_same_turn(
    tmp_path: Path,
    model: FakeAnthropic,
) -> None:
    model.reactions[REMINDER] = r"RUN:relay-runner reply \1 'you may'" + "\nSAY:I replied"
    with home(tmp_path, claude_environ(claude_home(tmp_path / "user"), model)) as place:
        place.start("cc", "claude", "--trust-folder", "--approval-mode", "bypass")
        place.start("bob", "demo")
        bob = place.inside("bob")
        id = bob.send("cc", "SAY:I think so", "--reply-required")
        delivery = place.settled(id)
        assert (delivery["outcome"], delivery["result"]) == ("completed", "I replied")
        assert _replies(place, id) == ["you may"]
        assert _times(model, f"Message {id} from agent:bob still wants a reply") == 1
        assert _times(model, f'<relay-message id="{id}" ') == 1, "it is no second delivery"
        assert place.get("/api/v1/agents/cc")["obligations"] == 0
        # One that it does not answer even then is not asked for again: neither in this turn nor in a later one.
        model.reactions[REMINDER] = "SAY:I will not"
        silent = bob.send("cc", "SAY:hm", "--reply-required")
        assert place.settled(silent)["result"] == "I will not"
        assert place.settled(bob.send("cc", "SAY:other things"))["result"] == "other things"
        assert _times(model, f"Message {silent} from agent:bob still wants a reply") == 1
        assert place.get("/api/v1/agents/cc")["obligations"] == 1
        assert [row["obligations"] for row in place.json("ps") if row["agentId"] == "cc"] == [1]


@pytest.mark.codex
@pytest.mark.slow
def test_codex_is_reminded_by_a_turn_of_its_own_and_never_again(
    tmp_path: Path,
    responses: FakeResponses,
) -> None:
    with home(tmp_path, codex.codex_environ(codex.codex_home(tmp_path / "user", responses))) as place:
        place.start("cx", "codex", "--approval-mode", "bypass")
        place.start("bob", "demo")
        bob = place.inside("bob")
        id = bob.send("cx", "SAY:I think so", "--reply-required")
        waits = bob.send("cx", "SAY:next")
        assert place.settled(id)["result"] == "I think so", "the end of its own turn, not of the reminder's"
        assert place.settled(waits)["result"] == "next"
        reminder = f"Message {id} from agent:bob still wants a reply"
        assert responses.times_in_conversation(reminder) == 1
        answered = bob.send("cx", f"RUN:relay-runner reply {waits + 1} 'at once'\nSAY:done", "--reply-required")
        assert answered == waits + 1
        assert place.settled(answered)["result"] == "done"
        assert _replies(place, answered) == ["at once"]
        assert responses.times_in_conversation("still wants a reply") == 1
        assert place.get("/api/v1/agents/cx")["obligations"] == 1


def test_an_agent_without_a_stop_hook_is_reminded_after_its_turn(tmp_path: Path) -> None:
    with home(tmp_path) as place:
        place.start("bob", "demo")
        id = place.send("bob", "echo I think so", "--reply-required")
        assert place.settled(id)["result"] == "I think so"
        until("it was reminded", lambda: "still wants a reply" in place.screen("bob").replace("\n", " "))
        assert place.settled(place.send("bob", "echo next"))["result"] == "next"
        assert place.get("/api/v1/agents/bob")["obligations"] == 1
        place.inside("bob").run("reply", str(id), "yes")
        assert place.get("/api/v1/agents/bob")["obligations"] == 0
