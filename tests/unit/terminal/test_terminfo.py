"""Which TERM tmux is shown with."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay_runner.terminal import terminfo


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A machine that knows few terminals."""
    for name in ("xterm-256color", "dumb", "screen"):
        file = tmp_path / "known" / name[0] / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    monkeypatch.setattr(terminfo, "_FOLDERS", (str(tmp_path / "known"),))
    return {"HOME": str(tmp_path)}


@pytest.mark.parametrize(
    ("term", "used"),
    [
        ("screen", "screen"), ("xterm-kitty", "xterm-256color"), ("", "xterm-256color"), (None, "xterm-256color"),
        ("dumb", "xterm-256color"), ("unknown", "xterm-256color"), ("../x", "xterm-256color"),
    ],
)  # fmt: skip
def test_a_term_that_cannot_be_used_is_replaced(environ: dict[str, str], term: str | None, used: str) -> None:
    assert terminfo.usable({**environ, **({"TERM": term} if term is not None else {})}) == used


def test_descriptions_are_found_where_ncurses_looks(environ: dict[str, str], tmp_path: Path) -> None:
    for number, place in enumerate(("own/f/foot0", ".terminfo/f/foot1", "listed/66/foot2")):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
        more = {"TERMINFO": str(tmp_path / "own"), "TERMINFO_DIRS": f":{tmp_path / 'listed'}"}
        assert terminfo.usable({**environ, **more, "TERM": f"foot{number}"}) == f"foot{number}"


def test_a_machine_that_knows_none_keeps_its_own(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminfo, "_FOLDERS", (str(tmp_path / "none"),))
    assert terminfo.usable({**environ, "TERM": "foot"}) == "foot"
    assert terminfo.usable(environ) == "xterm-256color"
