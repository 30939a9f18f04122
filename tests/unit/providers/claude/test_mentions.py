"""Mentions in other agents' messages."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay_runner.providers.claude.mentions import defuse_mentions


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two files."""
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "two words.txt").write_text("b")
    return tmp_path


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("see @a.txt", "see \\@a.txt"),
        ("@a.txt", "\\@a.txt"),
        ("(see @a.txt).", "(see \\@a.txt)."),
        ("\n@a.txt#L3-5\n", "\n\\@a.txt#L3-5\n"),
        ('open @"two words.txt" now', 'open \\@"two words.txt" now'),
        ("\u3002@a.txt", "\u3002\\@a.txt"),
        ("@/etc/passwd and @~", "\\@/etc/passwd and \\@~"),
        ("ask @agent-general-purpose", "ask \\@agent-general-purpose"),
        ('ask @"reviewer (agent)"', 'ask \\@"reviewer (agent)"'),
        ("read @server:file://x", "read \\@server:file://x"),
    ],
)
def test_what_would_bring_something_in_is_defused(folder: Path, text: str, wanted: str) -> None:
    assert defuse_mentions(text, [folder]) == wanted


@pytest.mark.parametrize(
    "text",
    ["@property\ndef x(self): ...", "mail me@a.txt", "@nobody", "a @ b", "@", '@""', "x@a.txt", f"@{'y' * 9999}"],
)
def test_the_rest_stays_as_it_is(folder: Path, text: str) -> None:
    assert defuse_mentions(text, [folder]) == text


def test_every_folder_counts(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.txt").write_text("b")
    assert defuse_mentions("@b.txt", [folder]) == "@b.txt"
    assert defuse_mentions("@b.txt", [folder, tmp_path / "deep"]) == "\\@b.txt"


@settings(deadline=None)
@given(st.text(alphabet='@ab./"\\\n :#\0é', max_size=40))
def test_only_backslashes_are_added(text: str) -> None:
    assert defuse_mentions(text, [Path("/")]).replace("\\", "") == text.replace("\\", "")
