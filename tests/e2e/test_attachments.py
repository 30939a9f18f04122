"""Files that go with messages, by the installed program: to the demo agent, the real Claude Code and the real Codex."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.claude import claude_environ, claude_home
from tests.claude import model as anthropic  # noqa: F401 - a fixture
from tests.codex import codex_environ, codex_home
from tests.codex import model as responses  # noqa: F401 - a fixture
from tests.fake_models.anthropic import FakeAnthropic
from tests.fake_models.responses import FakeResponses
from tests.harness import Home, home

SECRET = "the treasure is under the third oak"
FILE = re.compile(
    r'<relay-attachment nonce="[^"]+" path="([^"]+)" name="([^"]+)" type="([^"]+)" size="(\d+)" sha256="(\w+)" />'
)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Home]:
    with home(tmp_path) as made:
        yield made


def given(place: Home, to: str, text: str = "SAY:thanks") -> str:
    """Send a file, and return where the agent has it."""
    (place.work / "map of it.txt").write_text(SECRET)
    id = place.send(to, text, "--attach", "map of it.txt")
    assert place.settled(id)["outcome"] == "completed"
    (folder,) = (place.state / "agents" / to / "inside" / "attachments").iterdir()
    assert folder.name == str(id)
    (file,) = folder.iterdir()
    return str(file)


def test_files_go_with_a_message_both_ways(place: Home) -> None:
    place.start("bob", "demo")
    place.start("eve", "demo")
    (place.work / "report.pdf").write_bytes(b"%PDF" + bytes(1000))
    (place.work / "empty").touch()
    found = place.json("send", "bob", "see there", "--attach", "report.pdf", "--attach", "empty", "--wait")
    files = FILE.findall(found["result"]["text"])
    assert [(name, kind, size) for _, name, kind, size, _ in files] == [
        ("report.pdf", "application/pdf", "1004"), ("empty", "application/octet-stream", "0"),
    ]  # fmt: skip
    for path, name, _, _, sha256 in files:
        content = Path(path).read_bytes()
        assert content == (place.work / name).read_bytes() and hashlib.sha256(content).hexdigest() == sha256
        assert Path(path).stat().st_mode & 0o777 == 0o600 and Path(path).parent.stat().st_mode & 0o777 == 0o700
    # What an agent sends goes through its runner, and only what it may read by itself.
    inside = place.inside("bob")
    id = inside.send("eve", "yours", "--attach", files[0][0])
    assert FILE.findall(place.settled(id)["result"])[0][1].endswith("report.pdf")
    hidden = place.root / "user" / "hidden"
    hidden.write_text("x")
    refused = inside.run("send", "eve", "yours", "--attach", str(hidden), check=2)
    assert "its own folder only" in refused.stderr
    back = place.inside("eve").json("reply", str(id), "and back", "--attach", "report.pdf")
    (attached,) = place.message(back["id"])["message"]["attachments"]
    inside.run("attachment", attached["id"], "-o", "came-back.pdf")
    assert (place.work / "came-back.pdf").read_bytes() == (place.work / "report.pdf").read_bytes()


@pytest.mark.claude
@pytest.mark.slow
@pytest.mark.parametrize("mode", ["ask", "read-only"])
def test_claude_code_reads_what_came(tmp_path: Path, anthropic: FakeAnthropic, mode: str) -> None:
    with home(tmp_path, claude_environ(claude_home(tmp_path / "user"), anthropic)) as place:
        place.start("cc", "claude", "--trust-folder", "--approval-mode", mode)
        path = given(place, "cc")
        id = place.send("cc", f'TOOL:Read {{"file_path": "{path}"}}')
        assert SECRET in place.settled(id)["result"]


@pytest.mark.claude
@pytest.mark.slow
def test_claude_code_sends_files_of_its_folder_without_asking_and_no_others(
    tmp_path: Path, anthropic: FakeAnthropic
) -> None:
    with home(tmp_path, claude_environ(claude_home(tmp_path / "user"), anthropic)) as place:
        place.start("cc", "claude", "--trust-folder")
        (place.work / "made.txt").write_text(SECRET)
        (tmp_path / "user" / "private").write_text("not for you")
        sent = place.settled(place.send("cc", "RUN:relay-runner send person:ann see --attach made.txt"))
        assert "message 2 to person:ann" in sent["result"]
        refused = place.settled(
            place.send("cc", f"RUN:relay-runner send person:ann x --attach {tmp_path}/user/private")
        )
        assert "its own folder only" in refused["result"]
        (file,) = place.message(2)["message"]["attachments"]
        assert file["name"] == "made.txt" and file["size"] == len(SECRET)


@pytest.mark.codex
@pytest.mark.slow
@pytest.mark.parametrize("mode", ["accept-edits", "read-only"])  # in `ask` it asks before every command
def test_codex_reads_what_came(tmp_path: Path, responses: FakeResponses, mode: str) -> None:
    with home(tmp_path, codex_environ(codex_home(tmp_path / "user", responses))) as place:
        place.start("cx", "codex", "--approval-mode", mode)
        path = given(place, "cx")
        id = place.send("cx", f"RUN:cat '{path}'")
        assert SECRET in place.settled(id)["result"]
