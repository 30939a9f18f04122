"""Random kills for a while: at the end every message is settled, and none stands twice in the conversation."""

from __future__ import annotations

import contextlib
import json
import random
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import Home, home, kill, running, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
MESSAGES = 25


def _prompts(place: Home) -> Counter[int]:
    """Return in how many prompts each message stands."""
    found: Counter[int] = Counter()
    for file in (place.state / "agents" / "bob" / "demo").glob("*.jsonl"):
        for line in file.read_text().splitlines():
            with contextlib.suppress(ValueError):
                record = json.loads(line)
                if record.get("type") == "prompt":
                    for part in str(record.get("text", "")).split('<relay-message id="')[1:]:
                        found[int(part.split('"', 1)[0])] += 1
    return found


def _start_again(place: Home) -> None:
    """Start the agent when its runner is gone; a start that meets a kill is tried again."""
    if not place.runners or place.runners[-1].poll() is not None:
        place.start("bob", "demo", wait=False)


@pytest.mark.parametrize("seed", [1, 2])
def test_random_kills_lose_nothing_and_repeat_nothing(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    with home(tmp_path) as place:
        place.start("bob", "demo")
        victims: list[Callable[[], int]] = [
            lambda: place.runners[-1].pid,
            lambda: place.runner_pid("bob"),
            lambda: place.provider_pid("bob"),
            lambda: place.tmux_pid("bob"),
            place.relay_pid,
        ]
        sent = []
        for number in range(MESSAGES):
            body = f"slow {dice.choice((0.05, 0.3))} answer {number}"
            sent.append(until("it is accepted", lambda body=body: _send(place, body)))
            if dice.random() < 0.4:
                with contextlib.suppress(KeyError, ValueError, OSError):
                    pid = dice.choice(victims)()
                    if running(pid):
                        kill(pid, signal.SIGKILL)
            _start_again(place)
        outcomes = Counter()
        for id in sent:
            while (delivery := place.delivery(id))["state"] not in ("done", "dead", "unknown"):
                _start_again(place)
                until("something moves", lambda id=id, was=delivery: place.delivery(id) != was or _dead(place))
            outcomes[delivery["state"], delivery["outcome"]] += 1
            times = _prompts(place)[id]
            assert times <= 1, f"message {id} went in {times} times"
            if delivery["state"] == "done":
                assert times == 1, f"message {id} is done, and was never in: {delivery}"
                if delivery["outcome"] == "completed":
                    assert delivery["result"] == f"answer {sent.index(id)}"
            if delivery["state"] == "dead":
                assert times == 0
        assert outcomes["done", "completed"] >= MESSAGES // 2, outcomes
        assert not any(state == "dead" for state, _ in outcomes), outcomes


def _dead(place: Home) -> bool:
    return place.runners[-1].poll() is not None


def _send(place: Home, body: str) -> int | None:
    """Send; a relay that was just killed is started again by the next command."""
    done = place.run("send", "bob", "-", "--json", stdin=body, check=None)
    return int(json.loads(done.stdout)["id"]) if done.returncode == 0 else None
