"""Files by the command line: sent, shown, fetched."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from relay_runner import config
from relay_runner.protocol.messages import NewMessage
from relay_runner.runner import environment
from tests.unit.cli.conftest import World


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with a file."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "notes.txt").write_text("the notes")
    monkeypatch.chdir(folder)
    return folder


def test_a_file_is_sent_shown_and_fetched(world: World, folder: Path) -> None:
    world.agent("bob")
    (folder / "empty").touch()
    assert world.run("send", "bob", "see", "--attach", "notes.txt", "--attach", "empty")[0] == (
        "message 1 to bob: queued\n"
    )
    assert "attached:  notes.txt (text/plain, 9 bytes)" in world.run("read", "1")[0]
    world.run("read", "1", "--save", ".")
    assert (folder / "notes-2.txt").read_text() == "the notes" and (folder / "empty-2").read_bytes() == b""
    attachment = world.json("read", "1")["message"]["attachments"][0]
    assert world.run("attachment", attachment["id"], "-o", "-")[0] == "the notes"
    found = world.json("attachment", attachment["id"], "-o", "notes.txt")
    assert found == {**attachment, "path": str(folder / "notes.txt")}
    assert world.run("attachment", attachment["id"])[0] == f"{folder / 'notes-3.txt'}\n"
    assert (folder / "notes-3.txt").read_text() == "the notes"


def test_a_reply_carries_a_file(world: World) -> None:
    bob = world.agent("bob")
    asyncio.run(bob.send(NewMessage(to="person:operator", body="send me the notes")))
    world.run("reply", "1", "here", "--attach", "notes.txt")
    (attachment,) = asyncio.run(bob.message(2)).message.attachments
    assert attachment.name == "notes.txt"


def test_what_cannot_be_attached_or_saved_is_one_line_and_nothing_is_sent(world: World, folder: Path) -> None:
    world.agent("bob")
    (folder / "closed").mkdir(mode=0o500)
    for words, said in {
        ("send", "bob", "x", "--attach", "notes.txt", "--attach", "none"): "cannot read none",
        ("read", "1", "--save", "none"): "there is no folder",
        ("attachment", "0" * 32, "-o", "none/x"): "there is no folder",
        ("attachment", "0" * 32, "-o", "."): "is a folder",
    }.items():
        _, err = world.run(*words, code=2)
        assert said in err and err.count("\n") == 1
    if os.geteuid() != 0:
        assert "cannot write into" in world.run("read", "1", "--save", "closed", code=2)[1]
    assert world.hub.mail.entries == {}
    assert "there is no attachment" in world.run("attachment", "0" * 32, code=2)[1]


def test_inside_an_agent_only_its_own_files_go_out_and_none_are_put_anywhere(
    world: World, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.agent("bob")
    (tmp_path / "hidden").write_text("x")
    monkeypatch.setenv(config.INSIDE_VARIABLE, "p")
    assert "folder is not known" in world.run("send", "bob", "x", "--attach", "notes.txt", code=2)[1]
    state = tmp_path / "agent"
    came = config.AgentPaths(state).attachments / "1" / "came"
    came.parent.mkdir(parents=True)
    came.write_text("x")
    (state / "secret").write_text("x")
    environment.write_inside(config.AgentPaths(state), {}, folder)
    monkeypatch.setenv("AGENT_RELAY_CONTEXT_STATE_DIR", str(state))
    for name in ("notes.txt", str(came)):
        world.run("send", "bob", "x", "--attach", name)
    for name in (str(tmp_path / "hidden"), "../hidden", str(state / "secret"), "/etc/passwd"):
        assert "its own folder only" in world.run("send", "bob", "x", "--attach", name, code=2)[1]
    assert "already" in world.run("read", "1", "--save", ".", code=2)[1]
