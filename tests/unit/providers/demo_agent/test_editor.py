"""The demo agent's input line."""

from __future__ import annotations

import pytest

from relay_runner.providers.demo_agent.editor import Editor, EndOfInput, Enter, Interrupt, Letter, Meaning


def keys(editor: Editor, data: bytes) -> list[Meaning]:
    """Return what was meant, without the letters."""
    return [meaning for meaning in editor.feed(data) if not isinstance(meaning, Letter)]


def test_a_line_is_submitted_by_enter() -> None:
    editor = Editor()
    assert keys(editor, "hällo\r".encode()) == [Enter("hällo")]
    assert editor.draft == ""


def test_a_paste_joins_the_draft_and_submits_nothing() -> None:
    editor = Editor()
    assert keys(editor, b"dra\x1b[200~one\ntwo\r\x03\x1b[201~") == []
    assert editor.draft == "draone\ntwo\r\x03"
    assert keys(editor, b"\r") == [Enter("draone\ntwo\r\x03")]


def test_everything_may_be_cut_anywhere() -> None:
    data = "x\x1b[200~a\x1b[20b 🦊\x1b[201~\r\x1b[Ay\r".encode()
    editor = Editor()
    got = [meaning for index in range(len(data)) for meaning in keys(editor, data[index : index + 1])]
    assert got == [Enter("xa\x1b[20b 🦊"), Enter("y")]


@pytest.mark.parametrize(
    ("data", "meanings", "draft"),
    [
        (b"\x03", [Interrupt()], ""),
        (b"\x04", [EndOfInput()], ""),
        (b"a\x04", [], "a"),
        (b"abc\x7f", [], "ab"),
        (b"abc\x15", [], ""),
        (b"\x1b[A\x1b[1;5C\x1bOP\x1b[3~", [], ""),
        (b"\x1bx", [Interrupt()], "x"),
        (b"\xff", [], "\ufffd"),
    ],
)
def test_keys(data: bytes, meanings: list[Meaning], draft: str) -> None:
    editor = Editor()
    assert keys(editor, data) == meanings
    assert editor.draft == draft


def test_a_lone_escape_waits_for_a_quiet_moment() -> None:
    editor = Editor()
    assert keys(editor, b"\x1b") == []
    assert editor.waiting
    assert list(editor.quiet()) == [Interrupt()]
    assert not editor.waiting
    assert list(editor.quiet()) == []


def test_letters_come_one_after_the_other() -> None:
    editor = Editor()
    drafts = [editor.draft for meaning in editor.feed(b"yes") if isinstance(meaning, Letter)]
    assert drafts == ["y", "ye", "yes"]
