"""A message through the editor: once, verified, and never over a person's words or into somebody's editor."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from relay_runner.providers.claude import editor as module
from relay_runner.providers.claude import editor_client
from relay_runner.providers.claude.editor import MARK, Editor, Put, prepare, variables
from relay_runner.providers.claude.editor_client import DONE, OFFER, TAKEN, WITHDRAWN
from relay_runner.terminal.base import Key, Terminal

pytestmark = pytest.mark.anyio


class Program:
    """A terminal whose program opens its editor at Ctrl-G, as told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.draft = ""
        self.opens = True
        self.dies_at: str | None = None
        """The editor is killed when it has claimed the offer."""
        self.shows = True
        self.presses = 0

    async def press(self, *keys: Key) -> None:
        assert keys == (Key.CTRL_G,)
        self.presses += 1
        if self.opens:
            self.open()

    def open(self) -> None:
        """Run the editor on what stands in the row."""
        file = self.folder / "draft"
        file.write_text(self.draft)
        if editor_client.claim(str(self.folder), OFFER, TAKEN):
            if self.dies_at != TAKEN:
                editor_client.put(str(self.folder), str(file))
        else:
            assert editor_client.claim(str(self.folder), WITHDRAWN, None), "a person's editor would open"
        self.draft = file.read_text()

    async def shown(self) -> bool:
        return self.shows and "the text" in self.draft


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    for name in ("CLAIM_S", "PUT_S"):
        monkeypatch.setattr(module, name, 0.05)
    prepare(tmp_path, "p1", tmp_path / "config")
    return Program(tmp_path)


def made(program: Program, process: str = "p1") -> Editor:
    return Editor(program.folder, cast(Terminal, program), process)


async def put(editor: Editor, program: Program) -> Put:
    return await editor.put("the text\n\twith a tab \x1b[201~", "n1", program.shown)


async def test_a_message_stands_in_the_row_as_it_is(program: Program) -> None:
    assert await put(made(program), program) is Put.SHOWN
    assert program.draft == "the text\n\twith a tab [201~"
    assert {file.name for file in program.folder.glob("editor-*")} == {MARK}


async def test_a_persons_draft_refuses_it(program: Program) -> None:
    program.draft = "half a line"
    assert await put(made(program), program) is Put.REFUSED
    assert program.draft == "half a line"


async def test_a_key_that_opens_no_editor_puts_nothing_in_and_is_not_pressed_again_at_once(program: Program) -> None:
    program.opens = False
    editor = made(program)
    assert await put(editor, program) is Put.NOT
    program.open()  # late, and without a person: it opens nothing
    assert program.draft == ""
    assert await put(editor, program) is Put.NOT
    assert program.presses == 1


async def test_an_editor_that_died_with_the_message_put_nothing_in(program: Program) -> None:
    program.dies_at = TAKEN
    assert await put(made(program), program) is Put.UNSEEN
    assert program.draft == ""


async def test_what_does_not_show_is_not_taken_for_there(program: Program) -> None:
    program.shows = False
    editor = made(program)
    assert await put(editor, program) is Put.UNSEEN
    program.shows = True
    assert await put(editor, program) is Put.NOT and program.presses == 1


async def test_leftovers_of_a_dead_runner_are_nobodys_answer(program: Program) -> None:
    (program.folder / DONE).write_text("{}")
    program.draft = "half a line"
    assert await put(made(program), program) is Put.REFUSED


async def test_the_key_is_pressed_only_in_a_process_that_has_our_editor(program: Program, tmp_path: Path) -> None:
    assert await put(made(program, "another"), program) is Put.NOT
    (tmp_path / MARK).unlink()
    assert await put(made(program), program) is Put.NOT
    assert program.presses == 0


async def test_a_key_that_the_user_bound_otherwise_is_not_pressed(program: Program, tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "keybindings.json").write_text('{"bindings": [{"bindings": {"Ctrl+G": "chat:undo"}}]}')
    prepare(tmp_path, "p1", tmp_path / "config")
    assert await put(made(program), program) is Put.NOT and program.presses == 0


def test_the_users_own_editor_is_kept_for_them() -> None:
    assert variables({"VISUAL": "emacs"}) == {"VISUAL": "relay-runner-editor", "AGENT_RELAY_VISUAL": "emacs"}
    assert variables({"VISUAL": "emacs"}, {}, {"VISUAL": "vi"})["AGENT_RELAY_VISUAL"] == "vi"
    assert variables({"EDITOR": "emacs"})["AGENT_RELAY_VISUAL"] == ""
