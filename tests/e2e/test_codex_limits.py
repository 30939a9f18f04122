"""A limited model behind the real Codex: what was seen is continued and never put in again, the rest waits its turn."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.codex import codex_environ, codex_home, model  # noqa: F401 - a fixture
from tests.fake_models.responses import FakeResponses
from tests.harness import Home, home, kill, until

pytestmark = [pytest.mark.codex, pytest.mark.slow]

HELD = "rate-limited until "
BODY = "FAIL:429:1\nSAY:never said"


@pytest.fixture
def place(tmp_path: Path, model: FakeResponses) -> Iterator[Home]:
    with home(tmp_path, codex_environ(codex_home(tmp_path / "user", model))) as made:
        made.state.mkdir(parents=True, exist_ok=True)
        (made.state / "config.toml").write_text("[limits]\nleast_s = 2\n")
        yield made


def _held(place: Home, id: int) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        delivery = place.delivery(id)
        return delivery if str(delivery["held"] or "").startswith(HELD) else None

    return until(f"message {id} is held", look)


def _went_on(place: Home, model: FakeResponses, id: int) -> None:
    delivery = place.settled(id)
    assert (delivery["state"], delivery["outcome"], delivery["result"]) == ("done", "completed", "ok")
    assert model.times_in_conversation("never said") == 1, "the body went in once"
    assert model.times_in_conversation(f"Continue with message {id} ") == 1


def test_a_limited_message_is_continued_and_the_queue_drains(place: Home, model: FakeResponses) -> None:
    # Long enough for the second one to be sent while the first is held, on a machine that is slow today.
    (place.state / "config.toml").write_text("[limits]\nleast_s = 20\n")
    place.start("cx", "codex")
    first = place.send("cx", BODY)
    assert _held(place, first)["state"] == "seen"
    second = place.send("cx", "SAY:afterwards")
    assert _held(place, second)["state"] == "queued"
    (row,) = place.json("ps")
    assert row["status"] == "busy" and row["busyReasons"][0].startswith(HELD)
    _went_on(place, model, first)
    assert place.settled(second)["result"] == "afterwards"
    assert place.delivery(first)["usage"]["inputTokens"] == 1000


def test_another_agents_message_is_continued_as_one(place: Home, model: FakeResponses) -> None:
    place.start("cx", "codex")
    place.start("bob", "demo")
    id = place.inside("bob").send("cx", BODY)
    _went_on(place, model, id)
    kinds = [item["type"] for item in model.requests[-1].items if "Continue with message" in json.dumps(item)]
    assert kinds == ["function_call_output"], "another agent's words are no prompt of the user, continued or not"


def test_the_server_and_the_runner_killed_while_it_is_held(place: Home, model: FakeResponses) -> None:
    place.start("cx", "codex")
    id = place.send("cx", BODY)
    _held(place, id)
    kill(place.runner_pid("cx"))
    kill(place.provider_pid("cx"))
    place.start("cx", "codex")
    _went_on(place, model, id)


def test_a_budget_of_tokens_is_kept_by_what_codex_tells(place: Home) -> None:
    place.start("cx", "codex", "--budget-tokens", "1500")
    for _ in range(2):
        told = place.json("send", "cx", "SAY:fine", "--wait")
        usage = {"inputTokens": 1000, "cachedTokens": 500, "outputTokens": 10, "costUsd": None}
        assert told["deliveries"][0]["usage"] == usage
    refused = place.run("send", "cx", "SAY:more", "--wait", check=1)
    assert "over budget: the agent's 1500 tokens of today are used up" in refused.stdout + refused.stderr
