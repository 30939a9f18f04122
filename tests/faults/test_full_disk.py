"""A disk that is full, and has room again: nothing is lost, nothing goes in twice, and everybody is told.

The disk is a small one of memory, under the agent's own folder; its relay stands elsewhere, or on the same disk.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import Home, home, until

pytestmark = pytest.mark.slow
SIZE = "12m"


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Mount a small disk at `folder`; skip the test where that is not allowed."""
    folder.mkdir(parents=True, mode=0o700, exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0700", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextlib.contextmanager
def filled(place: Home) -> Iterator[None]:
    """Leave no byte on the disk, and take what is given back as soon as it is."""
    over = threading.Event()

    def fill() -> None:
        with (place.state / "filler").open("ab", buffering=0) as file:
            while not over.is_set():
                for size in (1 << 20, 4096, 1):
                    with contextlib.suppress(OSError):
                        while not over.is_set():
                            file.write(bytes(size))
                over.wait(0.005)

    thread = threading.Thread(target=fill)
    thread.start()
    try:
        until("the disk is full", lambda: shutil.disk_usage(place.state).free == 0)
        yield
    finally:
        over.set()
        thread.join()
        (place.state / "filler").unlink()


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[tuple[Home, Home]]:
    """A relay with room, and an agent's home that has none to spare."""
    root = tmp_path / "here"
    with home(tmp_path / "there") as there, small_disk(root / "home"):
        token = there.run("relay", "token", "new", "bob").stdout.strip()
        url = there.json("relay", "status")["url"]
        with home(root, {"RELAY_RUNNER_URL": url, "RELAY_RUNNER_TOKEN": token}) as here:
            yield there, here


@pytest.fixture
def same(tmp_path: Path) -> Iterator[Home]:
    """A relay and its agent on one small disk."""
    with small_disk(tmp_path / "home"), home(tmp_path) as place:
        yield place


def row(place: Home) -> dict[str, object]:
    """Return what `ps` says of the agent."""
    (found,) = place.json("ps")
    assert isinstance(found, dict)
    return found


def tries(place: Home) -> list[object]:
    """Return how often the program could not be started."""
    timeline = row(place)["timeline"]
    assert isinstance(timeline, list)
    return [event for event in timeline if event["kind"] == "provider-not-started"]


def test_messages_wait_with_the_reason_and_go_in_once_there_is_room(elsewhere: tuple[Home, Home]) -> None:
    there, here = elsewhere
    runner = here.start("bob", "demo")
    there.settled(there.send("bob", "before"))
    with filled(here):
        first, second = there.send("bob", "while it is full"), there.send("bob", "and another one")
        until("the sender is told", lambda: there.delivery(first)["held"] == "disk full")
        assert "disk full: " in str(until("ps tells it", lambda: row(there)["detail"]))
        assert runner.poll() is None
    assert [there.settled(one)["outcome"] for one in (first, second)] == ["completed", "completed"]
    until("ps has forgotten it", lambda: "disk full" not in str(row(there)["detail"]))
    assert runner.poll() is None
    log = here.log("bob")
    assert "messages wait until there is space" in log and "disk space is available again" in log
    assert "Traceback" not in log


def test_a_program_that_ends_on_a_full_disk_is_not_given_up(elsewhere: tuple[Home, Home]) -> None:
    there, here = elsewhere
    runner = here.start("bob", "demo")
    there.settled(there.send("bob", "before"))
    with filled(here):
        os.kill(here.provider_pid("bob"), 9)
        until("it is told", lambda: "disk full: " in str(row(there)["detail"]))
        waits = there.send("bob", "for the next program")
        until("several tries failed", lambda: len(tries(there)) > 4)
        assert runner.poll() is None
    assert there.settled(waits)["outcome"] == "completed"
    assert "given up" not in here.log("bob")


def test_with_the_relay_on_the_same_disk_ps_still_tells_and_all_goes_on(same: Home) -> None:
    runner = same.start("bob", "demo")
    same.settled(same.send("bob", "before"))
    with filled(same):
        refused = same.run("send", "bob", "too much", check=None)
        assert refused.returncode != 0 and "full" in refused.stderr
        os.kill(same.provider_pid("bob"), 9)
        until("ps tells it", lambda: "disk full: " in str(row(same)["detail"]))
        assert runner.poll() is None
    assert same.settled(same.send("bob", "after"))["outcome"] == "completed"
    assert "Traceback" not in same.log("bob")
