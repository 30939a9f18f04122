"""What our tmux servers are told, and what they must not see."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay_runner.errors import TerminalError
from relay_runner.terminal import client, terminfo
from relay_runner.terminal.client import TmuxServer

pytestmark = pytest.mark.anyio


def test_tmux_gets_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "s3cret")
    monkeypatch.setenv("TMUX", "/somebody/elses,1,0")
    assert set(client.scrubbed()) <= {"PATH", "HOME", "TZ", "TERM", "LANG", "LC_ALL"}


def test_a_title_cannot_change_the_settings() -> None:
    text = client.config('a"b\n#{pane_id} $HOME \\ %H')
    (line,) = [line for line in text.splitlines() if line.startswith("set -g status-left ")]
    assert line == "set -g status-left '#[bold] a\"b##{pane_id} $HOME \\ %%H #[default]'"


def test_a_path_too_long_for_a_socket_is_refused() -> None:
    with pytest.raises(TerminalError, match="too long"):
        TmuxServer("tmux", Path("/tmp") / ("x" * 120))


def test_a_terminal_description_that_exists_is_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminfo, "_FOLDERS", ())
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("TERMINFO", raising=False)
    assert client.terminal_name() == "screen-256color"
    (tmp_path / ".terminfo" / "t").mkdir(parents=True)
    (tmp_path / ".terminfo" / "t" / "tmux-256color").touch()
    assert client.terminal_name() == "tmux-256color"


async def test_without_tmux_there_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(TerminalError, match="install tmux"):
        await TmuxServer("/nowhere/tmux", tmp_path / "s").run("list-sessions")


async def test_no_server_is_no_answer(tmp_path: Path) -> None:
    server = TmuxServer("tmux", tmp_path / "s")
    assert not await server.answers()
    await server.kill()
    with pytest.raises(TerminalError, match="tmux: "):
        await server.run("list-sessions")
