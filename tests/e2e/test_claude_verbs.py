"""What a person orders of a Claude Code by the command line, and what everybody sees of it meanwhile."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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


def _row(place: Home) -> dict[str, Any]:
    (row,) = json.loads(place.run("ps", "--json").stdout)
    assert isinstance(row, dict)
    return row


def test_what_it_remembers_is_ordered_by_the_command_line(place: Home, model: FakeAnthropic) -> None:
    refused = place.run("compact", "cc", check=1)
    assert "nothing was said in this session" in refused.stdout + refused.stderr
    injected = json.loads(place.run("inject", "cc", "the build is red", "--reason", "news", "--json").stdout)
    assert injected["state"] == "succeeded" and injected["result"]["count"] == 1
    for word in ("one", "two", "three"):
        assert place.run("send", "cc", f"RUN:true\nSAY:{word}", "--wait").stdout.strip() == word
    assert model.times_in_conversation("the build is red") == 1
    until("ps tells model, effort and context", lambda: (_row(place)["context"] or {}).get("tokens") == 107)
    row = _row(place)
    assert (row["model"], row["effort"]) == ("claude-opus-4-8[1m]", "medium")
    assert (row["context"]["source"], row["context"]["confidence"]) == ("statusline", "reported")
    compacted = json.loads(place.run("compact", "cc", "--json").stdout)
    assert compacted["state"] == "succeeded"
    until("ps tells the compaction", lambda: _row(place)["context"]["lifecycleState"] == "compacted")
    before = _row(place)["sessionId"]
    cleared = json.loads(place.run("clear", "cc", "--json").stdout)
    after = cleared["result"]["providerResult"]["sessionId"]
    assert after != before
    assert place.run("send", "cc", "SAY:fresh", "--wait").stdout.strip() == "fresh"
    place.run("restart", "cc")
    until("it is back on the new session", lambda: _row(place)["ready"] and _row(place)["sessionId"] == after)
    assert place.run("send", "cc", "SAY:again", "--wait").stdout.strip() == "again"
    conversation = str(model.requests[-1].messages)
    assert "fresh" in conversation and "the build is red" not in conversation
