"""The relay's verbs as tools of the real Codex: no shell, no question, once, whatever is killed meanwhile."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.codex import codex_environ, codex_home, model  # noqa: F401 - a fixture
from tests.fake_models.responses import FakeResponses
from tests.harness import Home, home, kill, until

pytestmark = [pytest.mark.codex, pytest.mark.slow]
SIXTH = "gpt-6.1-sol"


@pytest.fixture
def place(tmp_path: Path, model: FakeResponses) -> Iterator[Home]:
    with home(tmp_path, codex_environ(codex_home(tmp_path / "user", model))) as made:
        yield made


def tool(name: str, **arguments: Any) -> str:
    """Return the order to use a tool."""
    return f"TOOL:{name} {json.dumps(arguments)}"


def replies(place: Home, id: int) -> list[dict[str, Any]]:
    return [place.message(reply)["message"] for reply in place.message(id)["replies"]]


def test_in_ask_mode_it_answers_writes_reads_and_reacts_without_a_question(place: Home, model: FakeResponses) -> None:
    place.start("cx", "codex")
    place.start("bob", "demo")
    bob = place.inside("bob")
    id = bob.send("cx", "SAY:I shall answer")
    place.settled(id)
    steps = (
        tool("relay_inbox", all=True),
        tool("relay_read", id=id),
        tool("relay_reply", id=id, text="by tool"),
        tool("relay_react", id=id, emoji="👍"),
        tool("relay_send", to="bob", text="one more"),
        tool("relay_agents"),
        tool("relay_send", to="nobody", text="lost"),
    )
    done = place.settled(bob.send("cx", "\n".join(steps)))
    assert (done["state"], done["outcome"]) == ("done", "completed")
    (reply,) = replies(place, id)
    assert (reply["from"], reply["to"], reply["body"]) == ("agent:cx", "agent:bob", "by tool")
    assert [reaction["emoji"] for reaction in place.message(id)["reactions"]] == ["👍"]
    outputs = [str(item["output"]) for item in model.requests[-1].items if item["type"] == "function_call_output"]
    for words in (f"{id} from agent:bob: SAY:I shall answer", f'<relay-message id="{id}"', "cx (you)", "nobody"):
        assert [output for output in outputs if words in output], words
    assert "one more" in str(bob.json("inbox", "--all"))
    offered = {one.get("name") for one in model.requests[-1].body["tools"]}
    assert {name for name in offered if str(name).startswith("relay_")} == {
        "relay_send", "relay_reply", "relay_react", "relay_read", "relay_inbox", "relay_agents",
    }  # fmt: skip


def test_a_file_that_came_is_read_again_and_one_that_it_made_goes_out(place: Home) -> None:
    place.start("cx", "codex")
    place.start("bob", "demo")
    (place.work / "chart.svg").write_text("<svg/>")
    bob = place.inside("bob")
    id = bob.send("cx", "SAY:thanks", "--attach", "chart.svg")
    place.settled(id)
    read = place.settled(bob.send("cx", tool("relay_read", id=id)))["result"]
    assert f'path="{place.state}/agents/cx/inside/attachments/{id}/' in read
    place.settled(bob.send("cx", tool("relay_reply", id=id, text="back", attach=["chart.svg"])))
    (reply,) = replies(place, id)
    assert [one["name"] for one in reply["attachments"]] == ["chart.svg"]
    place.settled(bob.send("cx", tool("relay_reply", id=id, text="no", attach=["/etc/passwd"])))
    assert len(replies(place, id)) == 1


def test_a_model_of_the_sixth_generation_reaches_them_from_its_code(place: Home) -> None:
    place.start("cx", "codex", "--model", SIXTH)
    place.start("bob", "demo")
    id = place.inside("bob").send("cx", "SAY:warm")
    place.settled(id)
    code = f'JS:text(JSON.stringify(await tools.relay_reply({{id: {id}, text: "from code"}})))'
    place.settled(place.inside("bob").send("cx", code))
    assert [reply["body"] for reply in replies(place, id)] == ["from code"]


def test_after_a_restart_the_session_still_has_them(place: Home) -> None:
    place.start("cx", "codex", "--approval-mode", "read-only")
    place.start("bob", "demo")
    bob = place.inside("bob")
    id = bob.send("cx", "SAY:before")
    place.settled(id)
    provider = place.provider_pid("cx")
    place.run("restart", "cx")
    until("it is another process", lambda: place.file("cx", "process.json") and place.provider_pid("cx") != provider)
    place.settled(bob.send("cx", tool("relay_reply", id=id, text="read-only, and it can answer")))
    assert len(replies(place, id)) == 1


def test_a_copied_and_a_cleared_session_have_them_too(place: Home) -> None:
    place.start("cx", "codex")
    place.start("bob", "demo")
    bob = place.inside("bob")
    id = bob.send("cx", "SAY:before")
    place.settled(id)
    for count, order in enumerate((("fork", "cx", "--switch"), ("clear", "cx")), 1):
        place.run(*order)
        done = place.settled(bob.send("cx", tool("relay_reply", id=id, text=f"after {order[0]}")))
        assert done["outcome"] == "completed"
        assert [reply["body"] for reply in replies(place, id)][-1] == f"after {order[0]}"
        assert len(replies(place, id)) == count


@pytest.mark.parametrize("whom", ["runner", "runner while the relay is away"])
def test_a_call_that_a_killed_runner_left_is_done_once(place: Home, whom: str) -> None:
    place.start("cx", "codex")
    place.start("bob", "demo")
    bob = place.inside("bob")
    id = bob.send("cx", "SAY:warm")
    place.settled(id)
    relay = place.relay_pid()
    if whom != "runner":
        # The runner can ask nobody: it dies while it tries to send.
        cut = bob.send("cx", f"HANG:1\n{tool('relay_reply', id=id, text='once')}\nSAY:done")
        place.reaches(cut, "seen")
        os.kill(relay, signal.SIGSTOP)
        try:
            until("the call is under way", lambda: "tool:" in _facts(place))
            kill(place.runner_pid("cx"))
        finally:
            os.kill(relay, signal.SIGCONT)
    else:
        cut = bob.send("cx", f"HANG:1\n{tool('relay_reply', id=id, text='once')}\nSAY:done")
        place.reaches(cut, "seen")
        kill(place.runner_pid("cx"))
    place.start("cx", "codex")
    assert place.settled(cut)["result"] == "done"
    assert [reply["body"] for reply in replies(place, id)] == ["once"]


def _facts(place: Home) -> str:
    """Return the names of what the runner journalled beside its deliveries."""
    import sqlite3

    with sqlite3.connect(f"file:{place.state / 'agents' / 'cx' / 'journal.db'}?mode=ro", uri=True) as db:
        return " ".join(name for (name,) in db.execute("SELECT name FROM facts"))
