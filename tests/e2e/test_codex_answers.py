"""What the real Codex asks, the whole way: answered over the relay, in its terminal, and across kills of everything."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.codex import codex_environ, codex_home, model  # noqa: F401 - a fixture
from tests.fake_models.responses import FakeResponses
from tests.harness import PROGRAM, Home, home, kill, until
from tests.person import Person

pytestmark = [pytest.mark.codex, pytest.mark.slow]


@pytest.fixture
def place(tmp_path: Path, model: FakeResponses) -> Iterator[Home]:
    with home(tmp_path, codex_environ(codex_home(tmp_path / "user", model))) as made:
        yield made


def call(place: Home, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """Call the relay as its operator; return what it says, an error's code included."""
    relay = json.loads((place.state / "relay.json").read_text())
    request = urllib.request.Request(
        f"{relay['url']}/api/v1{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {relay['operatorToken']}", "Content-Type": "application/json"},
        method=method,
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        return json.loads(error.read())


def asked(place: Home) -> dict[str, Any]:
    """Return the one permission that is open."""
    return dict(until("a permission is open", lambda: call(place, "GET", "/permissions?open=true"))[0])


def decide(place: Home, id: str, decision: str, **more: Any) -> Any:
    return call(place, "POST", f"/permissions/{id}/decision", {"decision": decision, **more})


def closed(place: Home, id: str) -> dict[str, Any]:
    """Wait until a permission is closed, and return it."""

    def look() -> dict[str, Any] | None:
        found = [one for one in call(place, "GET", "/permissions") if one["id"] == id and one["state"] == "closed"]
        return found[0] if found else None

    return until(f"permission {id} is closed", look)


def test_an_operator_approves_and_denies_by_the_command_line(place: Home, model: FakeResponses) -> None:
    place.start("cx", "codex")
    one = place.send("cx", "RUN:mkdir one\nSAY:made")
    told = asked(place)
    assert (told["agentId"], told["kind"], told["title"], told["state"]) == ("cx", "command", "mkdir one", "open")
    assert told["id"] in str(place.agent("cx")["busyReasons"])
    assert "mkdir one" in place.run("permissions").stdout
    place.run("approve", told["id"][:4])
    assert place.settled(one)["result"] == "made"
    assert (place.work / "one").is_dir()
    over = closed(place, told["id"])
    assert (over["resolution"], over["decision"]) == ("applied", "approve")
    two = place.send("cx", "RUN:mkdir two\nSAY:not made")
    denied = asked(place)
    place.run("deny", denied["id"], "--reason", "not on a Friday")
    assert place.settled(two)["result"] == "not made"
    assert not (place.work / "two").exists()
    assert "not on a Friday" in model.requests[-1].instructions()
    assert "deny" in place.run("approve", denied["id"], check=1).stderr, "it says which answer stands"


def test_a_question_of_the_model_is_answered_by_its_number(place: Home, model: FakeResponses) -> None:
    config = place.root / "user" / ".codex" / "config.toml"
    config.write_text(f"{config.read_text()}[features]\ndefault_mode_request_user_input = true\n")
    place.start("cx", "codex")
    options = [{"label": "Red", "description": "warm"}, {"label": "Blue", "description": "cold"}]
    question = {"id": "color", "header": "Color", "question": "Which color?", "options": options}
    one = place.send("cx", f"TOOL:request_user_input {json.dumps({'questions': [question]})}\nSAY:chosen")
    told = asked(place)
    shown = place.run("permissions", told["id"]).stdout
    assert "Which color?" in shown and "Blue" in shown
    place.run("approve", told["id"], "--answer", "1=green")
    assert place.settled(one)["result"] == "chosen"
    assert '{"answers":{"color":{"answers":["green"]}}}' in str(model.requests[-1].items), "any text is an answer, too"


@pytest.mark.parametrize("seat", ["headless", "in a terminal"])
def test_nobody_answers_in_time(place: Home, seat: str) -> None:
    place.state.mkdir(mode=0o700, exist_ok=True)
    (place.state / "config.toml").write_text("permission_deadline_s = 1\n")
    if seat == "headless":
        place.start("cx", "codex")
        one = place.send("cx", "RUN:mkdir asked\nSAY:not made")
        assert place.settled(one)["result"] == "not made"
        (over,) = call(place, "GET", "/permissions")
        assert (over["resolution"], over["decision"]) == ("expired", "deny")
        return
    words = ("env", "-C", str(place.work), *PROGRAM, "start", "codex", "--agent-id", "cx")
    person = Person(place.root, words, place.environ)
    try:
        person.shows("Ask Codex to do anything")
        one = place.send("cx", "RUN:mkdir asked\nSAY:made")
        left = until("it is left", lambda: [p for p in call(place, "GET", "/permissions?open=true") if p["note"]])[0]
        assert (left["note"], left["decisions"]) == ("answer at the terminal", [])
        person.shows("Would you like to run the following command?")
        person.types("y")
        assert place.settled(one)["result"] == "made"
        assert closed(place, left["id"])["resolution"] == "terminal"
    finally:
        person.close()


def test_a_person_at_the_attached_codex_is_first_and_a_later_answer_is_told_so(place: Home) -> None:
    place.start("cx", "codex")
    person = Person(place.root, place.file("cx", "info.json")["attach"])
    try:
        person.shows("Ask Codex to do anything")
        one = place.send("cx", "RUN:mkdir asked\nSAY:made")
        told = asked(place)
        person.shows("Would you like to run the following command?")
        person.types("y")
        assert place.settled(one)["result"] == "made"
        assert closed(place, told["id"])["resolution"] == "terminal"
        assert decide(place, told["id"], "deny")["error"]["code"] == "already-answered"
        two = place.send("cx", "PATCH:new.txt hello\nSAY:written")
        change = asked(place)
        assert (change["title"], "hello" in change["detail"]) == ("add new.txt", True)
        person.shows("Would you like to make the following edits?")
        decide(place, change["id"], "approve")
        assert place.settled(two)["result"] == "written"
        until("the dialog is gone", lambda: "Would you like" not in person.screen())
    finally:
        person.close()


def test_what_is_asked_outlives_its_runner_and_is_answered_meanwhile(place: Home) -> None:
    place.start("cx", "codex")
    one = place.send("cx", "RUN:mkdir asked\nSAY:made")
    told = asked(place)
    kill(place.runner_pid("cx"))
    decide(place, told["id"], "approve")
    place.start("cx", "codex")
    assert place.settled(one)["result"] == "made"
    assert closed(place, told["id"])["resolution"] == "applied"
    assert len(call(place, "GET", "/permissions")) == 1, "it is the same question"


def test_a_killed_app_server_asks_no_more(place: Home) -> None:
    place.start("cx", "codex")
    one = place.send("cx", "RUN:mkdir asked\nSAY:never")
    told = asked(place)
    kill(place.provider_pid("cx"))
    assert place.settled(one)["outcome"] == "interrupted"
    assert closed(place, told["id"])["resolution"] == "withdrawn"
    assert place.json("send", "cx", "SAY:goes on", "--wait")["result"]["text"] == "goes on"


def test_an_interrupt_withdraws_it_and_an_abort_ends_the_turn(place: Home) -> None:
    place.start("cx", "codex")
    one = place.send("cx", "RUN:mkdir asked\nSAY:never")
    told = asked(place)
    place.run("interrupt", "cx")
    assert place.settled(one)["outcome"] == "interrupted"
    assert closed(place, told["id"])["resolution"] == "withdrawn"
    two = place.send("cx", "RUN:mkdir asked\nSAY:never")
    decide(place, asked(place)["id"], "abort")
    assert place.settled(two)["outcome"] == "interrupted"


def test_an_agent_cannot_approve_itself(place: Home, model: FakeResponses) -> None:
    place.start("cx", "codex")
    one = place.send("cx", 'TOOL:relay_approve {"id": "x"}\nRUN:mkdir asked\nSAY:not made')
    told = asked(place)
    inside = place.inside("cx")
    request = urllib.request.Request(
        f"{inside.environ['AGENT_RELAY_URL']}/api/v1/permissions/{told['id']}/decision",
        data=b'{"decision": "approve"}',
        headers={"Authorization": f"Bearer {inside.environ['AGENT_RELAY_TOKEN']}"},
        method="POST",
    )
    with pytest.raises(urllib.error.HTTPError, match=r"40[34]"):
        urllib.request.urlopen(request, timeout=10)
    assert "relay_approve" in str(model.requests[-1].items[-1])
    decide(place, told["id"], "deny")
    assert place.settled(one)["result"] == "not made"
