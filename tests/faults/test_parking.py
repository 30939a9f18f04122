"""An agent whose program cannot be kept up is parked: told, with the reason, its messages kept, and taken up again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import Home, home, until


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Home]:
    with home(tmp_path) as made:
        yield made


def _row(place: Home) -> dict[str, object]:
    (row,) = place.json("ps")
    assert isinstance(row, dict)
    return row


@pytest.mark.slow
def test_not_11_a_program_that_ends_again_and_again_parks_its_agent(place: Home) -> None:
    runner = place.start("bob", "generic", "--", "sh", "-c", "echo it is broken; sleep 0.2; exit 7", wait=False)
    assert runner.wait(60) == 1
    assert "given up" in place.log("bob")
    row = until("the relay has the reason", lambda: _row(place) if _row(place)["status"] == "error" else None)
    assert "given up: it ended 4 times" in str(row["detail"]) and not row["ready"]
    timeline = row["timeline"]
    assert isinstance(timeline, list)
    kinds = [event["kind"] for event in timeline]
    assert kinds.count("provider-started") == kinds.count("provider-exited") == 4
    assert kinds[-1] == "provider-given-up"
    waits = place.send("bob", "for the one who comes next")
    assert place.delivery(waits)["state"] == "queued"
    assert _row(place)["status"] == "error"
    place.start("bob", "generic", "--", "cat")
    place.reaches(waits, "submitted")
    assert _row(place)["status"] != "error"
