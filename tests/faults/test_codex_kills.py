"""Kill the real Codex, its runner, both, or what a person looks at, at any moment: no loss, no message twice."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.codex import Viewer, codex_environ, codex_home, model, viewer_pid  # noqa: F401 - a fixture
from tests.fake_models.responses import FakeResponses
from tests.harness import PROGRAM, Home, home, kill, running, until

pytestmark = [pytest.mark.codex, pytest.mark.slow]

BODY = "SLOW:2\nSAY:worked"


@pytest.fixture
def place(tmp_path: Path, model: FakeResponses) -> Iterator[Home]:
    with home(tmp_path, codex_environ(codex_home(tmp_path / "user", model))) as made:
        made.start("cx", "codex")
        made.settled(made.send("cx", "SAY:warm"))
        yield made


def mark(id: int) -> str:
    return f'<relay-message id="{id}" '


def in_a_turn(place: Home) -> int:
    """Return a message whose turn runs."""
    id = place.send("cx", BODY)
    place.reaches(id, "seen")
    return id


def handed_over(place: Home) -> int:
    """Return a message that is on its way into an app-server which cannot answer."""
    os.kill(place.provider_pid("cx"), signal.SIGSTOP)
    id = place.send("cx", BODY)
    place.reaches(id, "submitting", "submitted")
    return id


def idle(place: Home) -> int:
    """Return a message that is sent to an idle agent in the next moment."""
    until("it is idle", lambda: place.status("cx") == "idle")
    return 0


def asking(place: Home) -> int:
    """Return a message whose turn waits for a permission."""
    id = place.send("cx", "RUN:mkdir asked\nSAY:made")
    until("it asks", lambda: "asks for permission" in str(place.agent("cx").get("busyReasons")))
    return id


MOMENTS = {
    "idle": idle,
    "in a turn": in_a_turn,
    "between submit and answer": handed_over,
    "while it asks": asking,
}


def check(place: Home, model: FakeResponses, id: int, session: str) -> None:
    """Nothing is lost, nothing went in twice, and the same conversation goes on."""
    delivery = place.settled(id)
    times = model.times_in_conversation(mark(id))
    said = (delivery["state"], delivery["outcome"])
    assert times <= 1, "it went in twice"
    assert said in (("done", "completed"), ("done", "interrupted"), ("unknown", None))
    assert times == 1 or said != ("done", "completed"), "done means that the model had it"
    assert place.settled(place.send("cx", "SAY:still here"))["result"] == "still here"
    assert place.file("cx", "info.json")["sessionId"] == session
    assert "warm" in str(model.requests[-1].items), "the conversation is the same"
    assert "asks for permission" not in str(place.agent("cx")), "nothing of the dead one is asked any more"


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_app_server(place: Home, model: FakeResponses, moment: str) -> None:
    session, before = place.file("cx", "info.json")["sessionId"], place.provider_pid("cx")
    id = MOMENTS[moment](place)
    kill(before)
    id = id or place.send("cx", BODY)
    check(place, model, id, session)
    assert place.provider_pid("cx") != before
    if moment == "between submit and answer":
        assert place.delivery(id)["result"] == "worked", "what provably never entered goes in again"


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_app_server_and_its_runner(place: Home, model: FakeResponses, moment: str) -> None:
    session = place.file("cx", "info.json")["sessionId"]
    runner, server = place.runner_pid("cx"), place.provider_pid("cx")
    id = MOMENTS[moment](place)
    kill(runner)
    kill(server)
    id = id or place.send("cx", BODY)
    place.start("cx", "codex")
    check(place, model, id, session)


@pytest.mark.parametrize("who", ["app-server", "runner", "both"])
def test_a_sub_agent_dies_with_its_server_and_outlives_its_runner(
    tmp_path: Path, model: FakeResponses, who: str
) -> None:
    with home(tmp_path, codex_environ(codex_home(tmp_path / "user", model))) as place:
        place.start("cx", "codex", "--model", "gpt-6.1-sol")
        id = place.send("cx", "SPAWN:helper SLOW:60;;SAY:never\nSAY:parent done")
        sessions = tmp_path / "user" / ".codex" / "sessions"
        until("its own turn is over", lambda: [f for f in sessions.glob("*/*/*/*") if "task_complete" in f.read_text()])
        runner, server = place.runner_pid("cx"), place.provider_pid("cx")
        if who != "app-server":
            kill(runner)
        if who != "runner":
            kill(server)
        if who != "app-server":
            place.start("cx", "codex", "--model", "gpt-6.1-sol")
        if who == "runner":
            assert place.agent("cx")["activeSubagents"] == 1
            assert place.status("cx") == "busy"
            place.run("interrupt", "cx")
        assert place.settled(id)["result"] == "parent done"
        until("it is idle", lambda: place.status("cx") == "idle")
        assert not place.agent("cx")["activeSubagents"]
        assert place.settled(place.send("cx", "SAY:still here"))["result"] == "still here"


@pytest.mark.parametrize("operation", ["compact", "review"])
@pytest.mark.parametrize("who", ["app-server", "runner"])
def test_killed_while_it_compacts_or_reviews(
    place: Home,
    model: FakeResponses,
    operation: str,
    who: str,
) -> None:
    session = place.file("cx", "info.json")["sessionId"]
    asked = len(model.requests)
    model.compacts.clear()
    words = ["compact", "cx"] if operation == "compact" else ["review", "cx", "WAIT\nSAY:it is good"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([*PROGRAM, *words], env=place.environ, cwd=place.work, **quiet):
        until("the model is at it", lambda: len(model.requests) > asked)
        id = place.send("cx", BODY)
        kill(place.provider_pid("cx") if who == "app-server" else place.runner_pid("cx"))
        if who == "runner":
            place.start("cx", "codex")
        model.compacts.set()
        model.go.set()
        check(place, model, id, session)
        assert place.delivery(id)["result"] == "worked"


@pytest.fixture
def person(place: Home) -> Iterator[Viewer]:
    viewer = Viewer(place, "cx")
    try:
        viewer.shows("Ask Codex to do anything")
        place.settled(place.send("cx", "SAY:shown at first"))
        viewer.shows("shown at first")  # a Codex that is still starting gives up when its server goes
        yield viewer
    finally:
        viewer.close()


def test_a_killed_viewer_leaves_the_agent_and_its_turn(place: Home, model: FakeResponses, person: Viewer) -> None:
    id = in_a_turn(place)
    kill(viewer_pid(place))
    person.shows("left with")
    assert place.settled(id)["result"] == "worked"
    assert model.times_in_conversation(mark(id)) == 1


def test_a_viewer_comes_back_by_itself_after_the_app_server_was_killed(place: Home, person: Viewer) -> None:
    before = place.provider_pid("cx")
    kill(before)
    until("it noticed", lambda: place.status("cx") != "idle" or not place.file("cx", "process.json"))
    until("another one is ready", lambda: place.agent("cx").get("ready") and place.status("cx") == "idle")
    assert place.provider_pid("cx") != before
    assert place.settled(place.send("cx", "SAY:shown again"))["result"] == "shown again"
    person.shows("shown again")


def test_a_viewer_survives_its_runner(place: Home, person: Viewer) -> None:
    server = place.provider_pid("cx")
    kill(place.runner_pid("cx"))
    place.start("cx", "codex")
    assert place.provider_pid("cx") == server and running(server)
    assert place.settled(place.send("cx", "SAY:shown on"))["result"] == "shown on"
    person.shows("shown on")
