"""What a person orders of a Claude Code by the command line, and what everybody sees of it meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.claude import claude_environ, claude_home, model  # noqa: F401 - a fixture
from tests.fake_models.anthropic import FakeAnthropic
from tests.harness import Home, home, until

pytestmark = [pytest.mark.claude, pytest.mark.slow]


@pytest.fixture
def place(tmp_path: Path, model: FakeAnthropic) -> Iterator[Home]:
    with home(tmp_path, claude_environ(claude_home(tmp_path / "user"), model)) as made:
        made.start("cc", "claude", "--trust-folder", "--effort", "medium")
        yield made


def test_what_it_remembers_is_ordered_by_the_command_line(place: Home, model: FakeAnthropic) -> None:
    refused = place.run("compact", "cc", check=1)
    assert "nothing was said in this session" in refused.stdout + refused.stderr
    injected = place.json("inject", "cc", "the build is red", "--reason", "news")
    assert injected["state"] == "succeeded" and injected["result"]["count"] == 1
    for word in ("one", "two"):
        place.settled(place.send("cc", f"RUN:true\nSAY:{word}"))
    assert model.times_in_conversation("the build is red") == 1
    until("the context is told", lambda: (place.agent("cc")["context"] or {}).get("tokens") == 107)
    (row,) = place.json("ps")
    assert row["model"].startswith("claude-opus") and row["effort"] == "medium"
    assert (row["context"]["source"], row["context"]["confidence"]) == ("statusline", "reported")
    assert place.json("compact", "cc")["state"] == "succeeded"
    assert place.agent("cc")["context"]["lifecycleState"] == "compacted"
    before = place.agent("cc")["providerSessionId"]
    after = place.json("clear", "cc")["result"]["providerResult"]["sessionId"]
    assert after != before
    assert place.settled(place.send("cc", "SAY:fresh"))["result"] == "fresh"
    place.run("restart", "cc")
    again = place.settled(place.send("cc", "SAY:again"))
    assert again["result"] == "again"
    assert place.agent("cc")["providerSessionId"] == after
    conversation = str(model.requests[-1].messages)
    assert "fresh" in conversation and "the build is red" not in conversation
    assert model.times_in_conversation("Your program was restarted") == 1
