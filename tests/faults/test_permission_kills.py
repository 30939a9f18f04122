"""Kill anything while an agent waits for a permission: the answer goes in once, or people are told that it is over."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_cli_terminal import DETACH, SHOWN, person
from tests.harness import Home, home, kill, until

pytestmark = pytest.mark.slow


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Home]:
    with home(tmp_path) as made:
        yield made


def _answers(place: Home, agent: str = "bob") -> list[dict[str, Any]]:
    """Return what the demo agent was answered, by whom."""
    files = (place.state / "agents" / agent / "demo").glob("*.jsonl")
    records = [json.loads(line) for file in files for line in file.read_text().splitlines() if line.startswith("{")]
    return [record for record in records if record["type"] == "answered"]


def _asks(place: Home, body: str = "ask to go") -> tuple[int, str]:
    """Make bob ask, and return the message and the permission."""
    place.start("bob", "demo")
    message = place.send("bob", body)
    return message, place.asked("bob", state="open")["id"]


def _deadline(place: Home, seconds: float) -> None:
    place.state.mkdir(exist_ok=True)
    (place.state / "config.toml").write_text(f"permission_deadline_s = {seconds}\n")


def test_a_runner_killed_while_it_asks_is_followed_by_one_that_asks_on(place: Home) -> None:
    message, id = _asks(place)
    kill(place.runner_pid("bob"))
    runner = place.start("bob", "demo", wait=False)  # what waits for a person is not ready
    until("it is adopted", lambda: place.agent("bob", pid=runner.pid).get("providerState") == "waiting: to go")
    assert place.permission(id)["state"] == "open"
    assert f"{id}: approved" in place.run("approve", id[:5]).stdout
    assert place.settled(message)["result"] == "allowed: to go"
    assert place.permission(id, state="closed")["resolution"] == "applied"
    assert len(place.get_list("/api/v1/permissions?agentId=bob")) == 1


def test_an_answer_given_while_no_runner_lived_goes_in(place: Home) -> None:
    message, id = _asks(place)
    kill(place.runner_pid("bob"))
    place.run("deny", id, "--reason", "not today")
    place.start("bob", "demo")
    assert place.settled(message)["result"] == "denied: to go (not today)"
    assert place.permission(id, state="closed")["resolution"] == "applied"
    assert [answer["by"] for answer in _answers(place)] == ["relay"]


def test_a_runner_killed_with_the_answer_in_its_hand_puts_it_in_once(place: Home) -> None:
    message, id = _asks(place)
    provider = place.provider_pid("bob")
    kill(provider, signal.SIGSTOP)  # the answer lies there, and nobody takes it
    decided = place.run("approve", id)
    assert id in decided.stdout
    until("the answer lies there", lambda: list((place.state / "agents" / "bob" / "demo").glob("*.answer")))
    kill(place.runner_pid("bob"))
    kill(provider, signal.SIGCONT)
    place.start("bob", "demo")
    assert place.settled(message)["result"] == "allowed: to go"
    assert [answer["by"] for answer in _answers(place)] == ["relay"]
    assert place.permission(id, state="closed")["decision"] == "approve"


def test_a_question_answered_at_the_terminal_while_no_runner_lived_is_over(place: Home) -> None:
    message, id = _asks(place)
    kill(place.runner_pid("bob"))
    place.tmux("bob", "send-keys", "n")
    until("it was answered", lambda: _answers(place))
    place.start("bob", "demo")
    assert place.settled(message)["result"] == "denied: to go"
    closed = place.permission(id, state="closed")
    assert (closed["resolution"], closed["note"]) == ("withdrawn", "it was over when the runner came back")
    assert "asked no more" in place.run("approve", id, check=1).stderr


def test_a_relay_killed_while_it_asks_comes_back_with_the_question(place: Home) -> None:
    message, id = _asks(place)
    kill(place.relay_pid())
    assert f"{id}: approved for the session" in place.run("approve", id, "--session").stdout
    assert place.settled(message)["result"] == "allowed: to go"
    again = place.send("bob", "ask to go")
    assert place.settled(again)["result"] == "allowed: to go"
    assert len(_answers(place)) == 1


def test_what_was_asked_and_answered_without_a_relay_is_told_afterwards(place: Home) -> None:
    place.start("bob", "demo")
    relay = place.relay_pid()
    kill(relay, signal.SIGSTOP)
    place.tmux("bob", "send-keys", "-l", "ask by hand")
    place.tmux("bob", "send-keys", "Enter")
    until("it asks", lambda: "Allow: by hand?" in place.screen("bob"))
    place.tmux("bob", "send-keys", "y")
    until("the program went on by itself", lambda: "allowed: by hand" in place.screen("bob"))
    kill(relay, signal.SIGCONT)
    closed = place.asked("bob", state="closed")
    assert (closed["title"], closed["resolution"], closed["decision"]) == ("by hand", "terminal", "approve")


@pytest.mark.parametrize("victim", ["provider", "tmux"])
def test_a_program_killed_while_it_asks_takes_its_question_along(place: Home, victim: str) -> None:
    _, id = _asks(place)
    before = place.provider_pid("bob")
    kill(before if victim == "provider" else place.tmux_pid("bob"))
    assert place.permission(id, state="closed")["resolution"] == "withdrawn"
    until("it is back", lambda: place.agent("bob").get("ready") and place.provider_pid("bob") != before)
    assert "asked no more" in place.run("approve", id, check=1).stderr
    assert not [reason for reason in place.agent("bob")["busyReasons"] if id in reason]


def test_an_interrupt_and_a_stop_take_the_question_along(place: Home) -> None:
    message, id = _asks(place)
    assert place.json("ps")[0]["busyReasons"][0] == f"asks for permission {id}: to go"
    place.run("interrupt", "bob")
    assert place.settled(message)["outcome"] == "interrupted"
    assert place.permission(id, state="closed")["resolution"] == "withdrawn"
    place.send("bob", "ask again")
    second = place.asked("bob", state="open")["id"]
    place.run("stop", "bob")
    assert place.permission(second)["resolution"] == "withdrawn"


def test_nobody_answers_a_headless_agent(place: Home) -> None:
    _deadline(place, 0.5)
    place.start("bob", "demo")
    message = place.send("bob", "ask to go")
    assert place.settled(message)["result"] == "denied: to go (nobody answered within 0.5 s)"
    closed = place.asked("bob", state="closed")
    assert (closed["resolution"], closed["decision"]) == ("expired", "deny")
    assert "already answered with deny" in place.run("approve", closed["id"], check=1).stderr


def test_nobody_answers_an_agent_that_is_in_a_terminal(place: Home) -> None:
    _deadline(place, 0.5)
    with person(place, "start", "demo") as terminal:
        terminal.expect(SHOWN)
        message = place.send("work-demo", "ask to go")
        left = place.asked("work-demo", note="answer at the terminal")
        assert (left["state"], left["decisions"]) == ("open", [])
        assert "answer at the terminal" in place.run("approve", left["id"], check=1).stderr
        terminal.send("y")
        assert place.settled(message)["result"] == "allowed: to go"
        assert place.permission(left["id"], state="closed")["resolution"] == "terminal"
        terminal.send(DETACH + "d")
    place.run("stop", "work-demo")


def test_an_agent_can_answer_nothing_not_even_through_its_own_server(place: Home) -> None:
    _, id = _asks(place)
    inside = place.inside("bob")
    for words in (("approve", id), ("deny", id), ("permissions",)):
        assert "an agent cannot answer permissions" in inside.run(*words, check=2).stderr
    url, secret = inside.environ["AGENT_RELAY_URL"], inside.environ["AGENT_RELAY_TOKEN"]
    decision = f"{url}/api/v1/permissions/{id}/decision"
    order = {"type": "agent.permissionDecision", "target": "bob", "args": {"permissionId": id, "decision": "approve"}}
    for method, path, body in (
        ("POST", decision, {"decision": "approve"}),
        ("GET", f"{url}/api/v1/permissions", None),
        ("PATCH", f"{url}/api/v1/permissions/{id}", {"agentId": "bob", "instanceId": "x", "resolution": "applied"}),
        ("POST", f"{url}/api/v1/commands", order),
    ):
        assert _status(method, path, secret, body) in (403, 404, 405)
    relay = json.loads((place.state / "relay.json").read_text())
    assert _status("POST", f"{relay['url']}/api/v1/permissions/{id}/decision", secret, {"decision": "approve"}) == 401
    environ = (Path("/proc") / str(place.provider_pid("bob")) / "environ").read_bytes()
    assert relay["operatorToken"].encode() not in environ
    assert place.permission(id)["state"] == "open"
    command = place.run("approve", id)
    assert command.returncode == 0


def _status(method: str, url: str, token: str, body: Any) -> int:
    import urllib.error
    import urllib.request

    request = urllib.request.Request(
        url,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
