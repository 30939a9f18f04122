"""Kill anything at any step: nothing is lost, nothing goes in twice, and the next start carries on."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import Home, home, kill, running, until

pytestmark = pytest.mark.slow


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Home]:
    with home(tmp_path) as made:
        yield made


def _records(place: Home, agent: str = "bob") -> list[dict[str, object]]:
    """Return everything that the demo agent wrote down, over all its sessions."""
    files = (place.state / "agents" / agent / "demo").glob("*.jsonl")
    return [json.loads(line) for file in files for line in file.read_text().splitlines() if line.startswith("{")]


def _times_in(place: Home, id: int) -> int:
    """Return in how many prompts of the conversation the message stands."""
    mark = f'<relay-message id="{id}" '
    return sum(json.dumps(record).count(json.dumps(mark)[1:-1]) for record in _records(place))


def test_a_runner_killed_when_idle_is_replaced_and_adopts(place: Home) -> None:
    place.start("bob", "demo")
    provider = place.provider_pid("bob")
    kill(place.runner_pid("bob"))
    waits = place.send("bob", "echo while nobody listened")
    place.start("bob", "demo")
    assert place.provider_pid("bob") == provider
    assert place.settled(waits)["result"] == "while nobody listened"
    assert _times_in(place, waits) == 1


def test_a_runner_killed_in_the_middle_of_a_turn_settles_it_from_the_records(place: Home) -> None:
    place.start("bob", "demo")
    provider = place.provider_pid("bob")
    id = place.send("bob", "slow 2 worked")
    place.reaches(id, "seen")
    kill(place.runner_pid("bob"))
    place.start("bob", "demo")
    delivery = place.settled(id)
    assert (delivery["state"], delivery["outcome"], delivery["result"]) == ("done", "completed", "worked")
    assert place.provider_pid("bob") == provider
    assert _times_in(place, id) == 1


def test_a_turn_that_ended_while_no_runner_lived_is_settled(place: Home) -> None:
    place.start("bob", "demo")
    id = place.send("bob", "slow 4 worked")
    place.reaches(id, "seen")
    kill(place.runner_pid("bob"))
    until(
        "the turn ended",
        lambda: any("worked" in json.dumps(record) and "outcome" in record for record in _records(place)),
    )
    place.start("bob", "demo")
    assert place.settled(id)["result"] == "worked"
    assert _times_in(place, id) == 1


def test_a_runner_killed_between_submit_and_evidence_finds_the_evidence(place: Home) -> None:
    place.start("bob", "demo")
    provider = place.provider_pid("bob")
    os.kill(provider, signal.SIGSTOP)  # tmux takes the paste, the program cannot say that it has it
    id = place.send("bob", "echo pasted into a stopped program")
    place.reaches(id, "submitting", "submitted")
    kill(place.runner_pid("bob"))
    os.kill(provider, signal.SIGCONT)
    place.start("bob", "demo")
    assert place.provider_pid("bob") == provider
    delivery = place.settled(id)
    assert _times_in(place, id) <= 1
    assert delivery["state"] == ("done" if _times_in(place, id) else "unknown")


def test_a_provider_killed_when_idle_comes_back_with_its_session(place: Home) -> None:
    place.start("bob", "demo")
    before, session = place.provider_pid("bob"), place.file("bob", "info.json")["sessionId"]
    kill(before)
    until("another provider is ready", lambda: place.agent("bob").get("ready") and place.provider_pid("bob") != before)
    assert place.file("bob", "info.json")["sessionId"] == session
    assert place.settled(place.send("bob", "echo back"))["result"] == "back"


def test_a_provider_killed_in_a_turn_says_so_and_the_next_message_goes_in(place: Home) -> None:
    place.start("bob", "demo")
    first = place.send("bob", "slow 60 never")
    second = place.send("bob", "echo second")
    place.reaches(first, "seen")
    kill(place.provider_pid("bob"))
    cut = place.settled(first)
    assert (cut["state"], cut["outcome"]) in (("done", "interrupted"), ("done", "failed"))
    assert place.settled(second)["result"] == "second"
    assert (_times_in(place, first), _times_in(place, second)) == (1, 1)


def test_a_killed_tmux_takes_the_provider_and_both_come_back(place: Home) -> None:
    place.start("bob", "demo")
    before = place.provider_pid("bob")
    kill(place.tmux_pid("bob"))
    until("another provider is ready", lambda: place.agent("bob").get("ready") and place.provider_pid("bob") != before)
    assert not running(before)
    assert place.settled(place.send("bob", "echo back"))["result"] == "back"


def test_a_killed_relay_is_started_again_and_nothing_is_lost(place: Home) -> None:
    place.start("bob", "demo")
    first = place.send("bob", "slow 2 over the gap")
    place.reaches(first, "seen")
    before = place.relay_pid()
    kill(before)
    second = place.send("bob", "echo after the gap")
    assert place.relay_pid() != before
    assert place.settled(first)["result"] == "over the gap"
    assert place.settled(second)["result"] == "after the gap"
    assert (_times_in(place, first), _times_in(place, second)) == (1, 1)


def test_everything_killed_at_once_comes_back(place: Home) -> None:
    place.start("bob", "demo")
    cut = place.send("bob", "slow 60 never")
    waits = place.send("bob", "echo later")
    place.reaches(cut, "seen")
    for pid in (place.relay_pid(), place.runner_pid("bob"), place.tmux_pid("bob"), place.provider_pid("bob")):
        kill(pid)
    place.start("bob", "demo")
    assert place.settled(cut)["state"] == "done"
    assert place.settled(waits)["result"] == "later"
    assert (_times_in(place, cut), _times_in(place, waits)) == (1, 1)


def test_a_provider_that_crashes_again_and_again_is_given_up_with_a_reason(place: Home) -> None:
    runner = place.start("bob", "demo")
    for _ in range(4):
        pid = until(
            "a provider", lambda: runner.poll() is not None or place.file("bob", "process.json").get("terminal")
        )
        if runner.poll() is not None or not isinstance(pid, dict):
            break
        kill(int(pid["process"]["pid"]))
        until("it noticed", lambda pid=pid: place.file("bob", "process.json").get("terminal") != pid)
    assert runner.wait(30) == 1
    assert "given up" in place.log("bob")


def test_two_starts_of_one_agent_are_refused_in_one_line(place: Home) -> None:
    place.start("bob", "demo")
    refused = place.run("start", "demo", "--headless", "--agent-id", "bob", check=2)
    assert "bob runs already" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1


def test_replace_takes_the_provider_over_without_ending_it(place: Home) -> None:
    old = place.start("bob", "demo")
    provider = place.provider_pid("bob")
    id = place.send("bob", "slow 2 carried over")
    place.reaches(id, "seen")
    place.start("bob", "demo", "--replace")
    assert old.wait(20) == 0
    assert place.provider_pid("bob") == provider
    assert place.settled(id)["result"] == "carried over"
    assert _times_in(place, id) == 1


def test_sigterm_ends_the_agent_in_order(place: Home) -> None:
    runner = place.start("bob", "demo")
    provider = place.provider_pid("bob")
    id = place.send("bob", "slow 60 never")
    place.reaches(id, "seen")
    runner.terminate()
    assert runner.wait(30) == 0
    assert not running(provider)
    assert (place.delivery(id)["state"], place.delivery(id)["outcome"]) == ("done", "interrupted")
    assert place.file("bob", "process.json") == {}


def test_an_agent_without_tmux_that_was_killed_starts_again_with_it(place: Home) -> None:
    place.start("bob", "demo", "--no-tmux")
    provider = place.provider_pid("bob")
    kill(place.runner_pid("bob"))
    until("the program went with its runner's pty", lambda: not running(provider))
    place.start("bob", "demo")
    assert place.settled(place.send("bob", "echo with tmux now"))["result"] == "with tmux now"
