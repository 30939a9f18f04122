"""What the demo agent writes down."""

from __future__ import annotations

import json
import os
from pathlib import Path

from relay_runner.providers.demo_agent.transcript import Transcript


def read(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines() if not line.startswith("torn")]


def test_events_are_lines_of_a_private_file(tmp_path: Path) -> None:
    file = tmp_path / "t"
    transcript = Transcript(file, "s")
    transcript.write("prompt", text="a\nb\udcff 🦊")
    transcript.write("state", state="idle")
    assert [record["type"] for record in read(file)] == ["prompt", "state"]
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_torn_line_does_not_swallow_the_next(tmp_path: Path) -> None:
    file = tmp_path / "t"
    file.write_text("torn {")
    Transcript(file, "s").write("state", state="idle")
    assert [record["type"] for record in read(file)] == ["state"]


def test_a_turn_without_an_end_is_found(tmp_path: Path) -> None:
    transcript = Transcript(tmp_path / "t", "s")
    assert transcript.unfinished() is None
    transcript.write("turn-started", turn="1", nonces=["a"])
    transcript.write("turn-ended", turn="1", nonces=["a"])
    assert transcript.unfinished() is None
    transcript.write("turn-started", turn="2", nonces=["b"])
    found = transcript.unfinished()
    assert found is not None
    assert found["nonces"] == ["b"]


def test_it_may_be_thrown_away(tmp_path: Path) -> None:
    transcript = Transcript(Path(os.devnull), "s")
    transcript.write("state", state="idle")
    assert transcript.unfinished() is None


def test_a_new_session_has_a_file_of_its_own_that_the_old_one_names(tmp_path: Path) -> None:
    transcript = Transcript(tmp_path / "one.jsonl", "one")
    transcript.write("context", text="blue")
    assert transcript.context() == ["blue"]
    transcript.renew("two", process="p")
    assert read(tmp_path / "one.jsonl")[-1]["next"] == "two"
    (record,) = read(tmp_path / "two.jsonl")
    assert (record["session"], record["process"], record["cleared"]) == ("two", "p", True)
    assert transcript.context() == []
