"""The editor that Claude Code starts: it takes an offer once, and is the user's own without one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from relay_runner.providers.claude import editor_client
from relay_runner.providers.claude.editor_client import DONE, OFFER, REFUSED, TAKEN, WITHDRAWN, own_editor

TEXT = "a tab\there,\n\ntwo blank lines and é\n"


def edit(folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the editor on `folder/draft`, as Claude Code does."""
    return subprocess.run(
        [sys.executable, "-S", "-E", editor_client.__file__, str(folder / "draft")],
        env={"PATH": os.defpath, "AGENT_RELAY_CONTEXT_STATE_DIR": str(folder), **environ},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "draft").write_text("")
    (tmp_path / "mine").write_text('#!/bin/sh\necho "$VISUAL|$AGENT_RELAY_VISUAL" >> "$1.seen"\n')
    (tmp_path / "mine").chmod(0o700)
    return tmp_path


def offer(folder: Path, name: str = OFFER, *, age_s: float = 0.0) -> None:
    file = folder / name
    file.write_text(json.dumps({"nonce": "n1", "text": TEXT}))
    at = file.stat().st_mtime - age_s
    os.utime(file, (at, at))


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.glob("editor-*")}


@pytest.mark.parametrize("left", ["", "\n", 'what was put in before: nonce="n1"'])
def test_an_offer_is_written_byte_for_byte_and_once(folder: Path, left: str) -> None:
    offer(folder)
    (folder / "draft").write_text(left)
    assert edit(folder).returncode == 0
    assert (folder / "draft").read_bytes() == TEXT.encode() and names(folder) == {DONE}
    (folder / "draft").write_text("")
    assert edit(folder, EDITOR=str(folder / "mine")).returncode == 0
    assert (folder / "draft").read_text() == "" and (folder / "draft.seen").exists()


def test_a_persons_draft_is_left_as_it_is(folder: Path) -> None:
    offer(folder)
    (folder / "draft").write_text("half a li")
    assert edit(folder).returncode == 0
    assert (folder / "draft").read_text() == "half a li" and names(folder) == {REFUSED}


def test_a_withdrawn_offer_opens_no_editor_once(folder: Path) -> None:
    offer(folder, WITHDRAWN)
    own = str(folder / "mine")
    assert edit(folder, EDITOR=own).returncode == 0
    assert not (folder / "draft.seen").exists() and names(folder) == set()
    edit(folder, EDITOR=own)
    assert (folder / "draft.seen").exists()


@pytest.mark.parametrize("name", [OFFER, WITHDRAWN])
def test_what_a_runner_left_long_ago_counts_no_more(folder: Path, name: str) -> None:
    offer(folder, name, age_s=editor_client.FRESH_S + 1)
    assert edit(folder, EDITOR=str(folder / "mine")).returncode == 0
    assert (folder / "draft").read_text() == "" and (folder / "draft.seen").exists() and TAKEN not in names(folder)


def test_an_editor_that_a_command_of_the_model_opens_takes_no_offer(folder: Path) -> None:
    offer(folder)
    edit(folder, CLAUDECODE="1", EDITOR=str(folder / "mine"))
    assert (folder / "draft").read_text() == "" and names(folder) == {OFFER}


def test_a_person_gets_their_own_editor_as_it_was_set(folder: Path) -> None:
    edit(folder, AGENT_RELAY_VISUAL=str(folder / "mine"), VISUAL="relay-runner-editor", EDITOR="/no/such")
    assert (folder / "draft.seen").read_text() == f"{folder / 'mine'}|\n"
    failed = edit(folder, EDITOR="/no/such/editor")
    assert failed.returncode == 1 and failed.stderr.startswith("/no/such/editor: ")


def test_which_editor_is_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert own_editor({"AGENT_RELAY_VISUAL": "emacs -nw", "EDITOR": "vi"}) == ["emacs", "-nw"]
    assert own_editor({"AGENT_RELAY_VISUAL": " ", "EDITOR": "code"}) == ["code", "-w"]
    monkeypatch.setenv("PATH", str(tmp_path))
    assert own_editor({}) is None
    for name in ("nano", "vi"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o700)
        assert own_editor({}) == [name]


def test_a_machine_without_any_editor_says_so(folder: Path) -> None:
    done = edit(folder, PATH=str(folder))
    assert (done.returncode, done.stderr) == (1, "no editor configured: set EDITOR\n")
