"""A script inside any program says what that does, by the line that the README shows, and everybody sees it."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Home, home, until

pytestmark = pytest.mark.slow


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Home]:
    with home(tmp_path, {}) as made:
        yield made


def post(inside: Home, **status: Any) -> dict[str, Any]:
    """Post as a script inside does: with what stands in its environment, and nothing else."""
    environ = inside.environ
    request = urllib.request.Request(
        f"{environ['AGENT_RELAY_URL']}/status",
        data=json.dumps({"providerSessionId": environ["AGENT_RELAY_PROVIDER_SESSION_ID"], **status}).encode(),
        headers={"Authorization": f"Bearer {environ['AGENT_RELAY_TOKEN']}"},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        told: dict[str, Any] = json.loads(answer.read())
    return told


def test_a_generic_programs_own_scripts_make_it_busy_and_idle(place: Home) -> None:
    place.start("calc", "generic", "--", "python3", "-i", "-q")
    inside = place.inside("calc")
    assert post(inside, status="busy", id="build", label="builds the docs", timeline={"kind": "build"})["accepted"]

    until("it is told busy", lambda: place.agent("calc")["agentStatus"] == "busy")
    (work,) = place.agent("calc")["activeWork"]
    assert (work["source"], work["id"]) == ("post", "post:build")

    def listed() -> dict[str, Any]:
        (row,) = place.json("ps")
        assert isinstance(row, dict)
        return row

    row = until("the relay knows", lambda: found if (found := listed())["busyReasons"] else None)
    assert (row["status"], row["busyReasons"]) == ("busy", ["provider-turn: builds the docs"])
    assert "post:build" in [event["kind"] for event in row["timeline"]]
    stranger = post(inside, status="busy", id="late", providerSessionId="of-an-older-process")
    assert stranger == {"accepted": False, "reason": "it is of another session"}
    assert post(inside, status="idle", id="build")["accepted"]
    assert place.agent("calc")["agentStatus"] == "idle"


def test_the_line_in_the_readme_works(place: Home) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    line = next(part for part in readme.split("```sh\n")[1:] if "AGENT_RELAY_URL/status" in part).partition("```")[0]
    place.start("calc", "generic", "--", "python3", "-i", "-q")
    inside = place.inside("calc")
    if subprocess.run(["sh", "-c", "command -v curl"], capture_output=True, check=False).returncode:
        pytest.skip("curl is not installed")
    done = subprocess.run(
        ["sh", "-ec", line],
        env={**os.environ, **inside.environ},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert json.loads(done.stdout)["accepted"] is True
    assert place.agent("calc")["activeWork"][0]["label"] == "indexes the code"
