"""Files on their way while something dies: the message goes in once, with its file, or says why not."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import Home, home, kill, until

PATH = re.compile(r'<relay-attachment nonce="[^"]+" path="([^"]+)"')


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Home]:
    with home(tmp_path) as made:
        made.start("bob", "demo")
        (made.work / "data.bin").write_bytes(os.urandom(3_000_000))
        yield made


def held_back(place: Home) -> int:
    """Send a file to an agent whose runner stands still, and return the message."""
    os.kill(place.runner_pid("bob"), signal.SIGSTOP)
    return place.send("bob", "look", "--attach", "data.bin")


def came_once_and_whole(place: Home, id: int) -> None:
    delivery = place.settled(id)
    assert (delivery["state"], delivery["outcome"]) == ("done", "completed")
    (path,) = PATH.findall(delivery["result"])
    assert Path(path).read_bytes() == (place.work / "data.bin").read_bytes()
    transcript = next((place.state / "agents" / "bob" / "demo").glob("*.jsonl")).read_text()
    assert len(re.findall(rf'"prompt".*<relay-message id=\\"{id}\\"', transcript)) == 1


def test_a_relay_that_dies_before_the_file_was_fetched(place: Home) -> None:
    id = held_back(place)
    kill(place.relay_pid())
    os.kill(place.runner_pid("bob"), signal.SIGCONT)
    came_once_and_whole(place, id)


def test_a_runner_that_dies_before_the_file_was_fetched(place: Home) -> None:
    id = held_back(place)
    kill(place.runner_pid("bob"))
    place.start("bob", "demo")
    came_once_and_whole(place, id)


def test_a_file_that_the_relay_lost_does_not_hold_its_message_up(place: Home) -> None:
    id = held_back(place)
    (file,) = (place.state / "relay-attachments").iterdir()
    file.unlink()
    os.kill(place.runner_pid("bob"), signal.SIGCONT)
    delivery = place.settled(id)
    assert delivery["outcome"] == "completed" and 'failed="the file of attachment' in delivery["result"]
    missing = place.run("read", str(id), "--save", ".", check=1)
    assert "is gone from the relay" in missing.stderr and missing.stderr.count("\n") == 1


def test_an_upload_that_is_killed_leaves_nothing_for_long(place: Home) -> None:
    """A relay that dies over an upload leaves a part, which the next one clears away an hour later."""
    part = place.state / "relay-attachments" / ".dead.part"
    part.parent.mkdir(exist_ok=True, mode=0o700)
    part.write_bytes(b"x")
    os.utime(part, (1.0, 1.0))
    kill(place.relay_pid())
    place.send("bob", "echo hello")
    until("it is cleared away", lambda: not part.exists())
