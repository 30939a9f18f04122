"""What only tmux does: copy mode, viewers, adoption, servers that die. Each trap of tmux 3.3a has its test."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import libtmux
import pexpect
import pytest

from relay_runner.errors import TerminalError
from relay_runner.terminal import processes
from relay_runner.terminal import tmux as module
from relay_runner.terminal.base import Key, Terminal
from relay_runner.terminal.tmux import TmuxTerminals
from tests.contract.test_terminals import arrived, collecting, finish
from tests.terminals import server_pid, shown, sockets, spec, tmux, until

pytestmark = pytest.mark.anyio
__all__ = ["sockets", "tmux"]


def witness(terminal: Terminal) -> libtmux.Server:
    """A second pair of eyes on the same server."""
    return libtmux.Server(socket_path=terminal.saved.socket)


def ask(terminal: Terminal, text: str) -> str:
    """Return what tmux says of the pane."""
    return "".join(witness(terminal).cmd("display-message", "-p", "-t", terminal.saved.pane, text).stdout)


async def test_a_paste_into_a_dead_pane_does_not_kill_the_server(tmux: TmuxTerminals, tmp_path: Path) -> None:
    terminal = await tmux.open(spec(tmp_path, "sh", "-c", "read x"))
    await terminal.press(Key.ENTER)
    await terminal.wait_exit()
    await until(lambda: ask(terminal, "#{pane_dead}") == "1")
    for _ in range(5):
        with pytest.raises(Exception, match="has ended"):
            await terminal.paste("x", then=Key.ENTER)
    assert ask(terminal, "#{pane_dead}") == "1"
    assert witness(terminal).cmd("list-buffers").stdout == []
    await terminal.close()


async def test_a_program_that_outlives_its_pane_is_not_waited_for(
    tmux: TmuxTerminals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DEATH_PATIENCE_S", 0.1)
    terminal = await tmux.open(spec(tmp_path, "sh", "-c", "trap '' HUP; echo up; exec sleep 600"))
    await shown(terminal, "up")
    assert terminal.saved.pane_process is not None
    processes.send(terminal.saved.pane_process, signal.SIGKILL)
    await until(lambda: ask(terminal, "#{pane_dead}") == "1")
    async with asyncio.timeout(30):
        with pytest.raises(TerminalError, match="still runs"):
            await terminal.paste("x")
    await finish(terminal)


async def test_copy_mode_is_left_before_a_paste_and_before_keys(tmux: TmuxTerminals, tmp_path: Path) -> None:
    terminal, file = await collecting(tmux, tmp_path)
    puts = [
        (lambda: terminal.paste("a\nb", then=Key.ENTER), b"\x1b[200~a\nb\x1b[201~\r"),
        (lambda: terminal.press(Key.ENTER), b"\r"),
        (lambda: terminal.type("typed"), b"typed"),
    ]
    so_far = b""
    for put, expected in puts:
        witness(terminal).cmd("copy-mode", "-t", terminal.saved.pane)
        assert (await terminal.capture()).in_mode
        await put()
        so_far += expected
        assert await arrived(file, len(so_far)) == so_far
        assert not (await terminal.capture()).in_mode
    await finish(terminal)


async def test_a_viewer_does_not_change_the_size(tmux: TmuxTerminals, tmp_path: Path) -> None:
    terminal, _ = await collecting(tmux, tmp_path)
    viewer = attach(terminal, rows=10, columns=40)
    await until(lambda: ask(terminal, "#{session_attached}") == "1")
    assert await terminal.attended()
    assert ask(terminal, "#{pane_width}x#{pane_height}") == "200x50"
    viewer.send("\x1dd")  # Ctrl-] d
    viewer.expect(pexpect.EOF, timeout=20)
    viewer.close()
    assert viewer.exitstatus == 0
    assert not await terminal.attended()
    assert ask(terminal, "#{pane_width}x#{pane_height} #{session_attached}") == "200x50 0"
    await finish(terminal)


async def test_a_viewer_that_sees_a_part_is_told_so(tmux: TmuxTerminals, tmp_path: Path) -> None:
    terminal, _ = await collecting(tmux, tmp_path)
    small, large = attach(terminal, rows=24, columns=90), attach(terminal, rows=60, columns=210)
    await asyncio.to_thread(small.expect, "more: Ctrl-] arrows", timeout=20)
    await asyncio.to_thread(large.expect, "detach: Ctrl-] d", timeout=20)
    assert "more: Ctrl-] arrows" not in str(large.before)
    for viewer in (small, large):
        viewer.close(force=True)
    await finish(terminal)


async def test_a_viewer_types_and_cannot_split_or_end_the_pane(tmux: TmuxTerminals, tmp_path: Path) -> None:
    terminal, file = await collecting(tmux, tmp_path)
    viewer = attach(terminal)
    await until(lambda: ask(terminal, "#{session_attached}") == "1")
    for key in ("\x1dx", "\x1d&", '\x1d"', "\x1dc", "\x1d:"):
        viewer.send(key)
    viewer.send("\x02by hand")
    assert (await arrived(file, 8)).endswith(b"\x02by hand")
    assert ask(terminal, "#{session_windows}/#{window_panes}") == "1/1"
    viewer.close(force=True)
    await finish(terminal)


async def test_the_viewer_learns_the_agent_and_how_to_leave(tmux: TmuxTerminals, tmp_path: Path) -> None:
    terminal = await tmux.open(spec(tmp_path, "cat", name="bob"))
    viewer = attach(terminal)
    viewer.expect_exact("bob", timeout=20)
    viewer.expect_exact("detach: Ctrl-] d", timeout=20)
    viewer.close(force=True)
    await finish(terminal)


async def test_a_title_is_shown_as_it_is(tmux: TmuxTerminals, tmp_path: Path) -> None:
    title = "#(touch pwned) #{pid} #[fg=red] ##[x %H $HOME \"q' \\"
    terminal = await tmux.open(replace(spec(tmp_path, "cat"), title=title))
    outer = await tmux.open(spec(tmp_path, *terminal.attach_command(), name="outer", env={"TERM": "xterm"}))
    await shown(outer, f" {title} ")
    assert list(tmp_path.rglob("pwned")) == []
    await finish(outer)
    await finish(terminal)


async def test_it_opens_and_attaches_from_inside_another_tmux(
    tmux: TmuxTerminals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outer = await tmux.open(spec(tmp_path, "cat", name="outer"))
    monkeypatch.setenv("TMUX", f"{outer.saved.socket},1,0")
    monkeypatch.setenv("TMUX_PANE", "%0")
    inner = await tmux.open(spec(tmp_path, "sh", "-c", "echo [$TMUX$TMUX_PANE]; cat", name="inner"))
    await shown(inner, "[]")
    viewer = attach(inner, env=dict(os.environ))
    await until(lambda: ask(inner, "#{session_attached}") == "1")
    assert ask(outer, "#{session_attached}") == "0"
    viewer.close(force=True)
    await finish(inner)
    await finish(outer)


async def test_it_is_adopted_by_another_runner(tmux: TmuxTerminals, sockets: Path, tmp_path: Path) -> None:
    terminal, file = await collecting(tmux, tmp_path)
    terminal.detach()
    adopted = await TmuxTerminals(sockets).adopt(terminal.saved)
    assert adopted is not None
    assert adopted.process == terminal.process
    await adopted.paste("again")
    assert await arrived(file, 17) == b"\x1b[200~again\x1b[201~"
    await adopted.press(Key.CTRL_D)
    assert (await adopted.wait_exit()).code == 0
    assert await TmuxTerminals(sockets).adopt(terminal.saved) is None
    assert not Path(str(terminal.saved.socket)).exists()


async def test_a_killed_server_is_told_and_takes_the_program_along(tmux: TmuxTerminals, tmp_path: Path) -> None:
    terminal = await tmux.open(spec(tmp_path, "sleep", "60"))
    os.kill(server_pid(terminal), signal.SIGKILL)
    assert (await terminal.wait_exit()).code == -signal.SIGHUP
    with pytest.raises(TerminalError):
        await terminal.paste("x")
    with pytest.raises(TerminalError):
        await terminal.capture()
    assert await tmux.adopt(terminal.saved) is None


async def test_a_program_that_outlives_its_server_is_not_taken_for_dead(
    tmux: TmuxTerminals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay_runner.terminal.tmux.DEATH_PATIENCE_S", 0.2)
    terminal = await tmux.open(spec(tmp_path, "sh", "-c", "trap '' HUP; echo up; exec sleep 60"))
    await shown(terminal, "up")
    os.kill(server_pid(terminal), signal.SIGKILL)
    with pytest.raises(TerminalError, match="still runs"):
        await tmux.adopt(terminal.saved)
    assert (await terminal.terminate(grace_s=5)).code == -signal.SIGTERM
    assert await tmux.adopt(terminal.saved) is None


async def test_a_socket_that_was_cleaned_away_comes_back(tmux: TmuxTerminals, tmp_path: Path) -> None:
    terminal, file = await collecting(tmux, tmp_path)
    socket = Path(str(terminal.saved.socket))
    socket.unlink()
    await terminal.paste("still here")
    assert await arrived(file, 22) == b"\x1b[200~still here\x1b[201~"
    socket.unlink()
    assert await tmux.adopt(terminal.saved) is not None
    await finish(terminal)


async def test_the_folder_of_the_sockets_is_made_again(tmux: TmuxTerminals, sockets: Path, tmp_path: Path) -> None:
    terminal, file = await collecting(tmux, tmp_path)
    shutil.rmtree(sockets)
    assert await terminal.repair() is None
    await terminal.paste("still here")
    assert await arrived(file, 22) == b"\x1b[200~still here\x1b[201~"
    assert sockets.stat().st_mode & 0o777 == 0o700
    await finish(terminal)


async def test_a_socket_that_cannot_be_made_again_is_told(tmux: TmuxTerminals, tmp_path: Path) -> None:
    terminal, _ = await collecting(tmux, tmp_path)
    socket = Path(str(terminal.saved.socket))
    socket.unlink()
    socket.mkdir()
    assert "cannot be reached" in str(await terminal.repair())
    with pytest.raises(TerminalError, match="cannot be reached"):
        await tmux.adopt(terminal.saved)
    socket.rmdir()
    assert await terminal.repair() is None
    await finish(terminal)


async def test_a_server_without_a_socket_is_ended_by_its_pid(tmux: TmuxTerminals, tmp_path: Path) -> None:
    terminal, _ = await collecting(tmux, tmp_path)
    server = terminal.saved.server
    assert server is not None and server.pid == server_pid(terminal)
    socket = Path(str(terminal.saved.socket))
    socket.unlink()
    socket.mkdir()
    await terminal.terminate(grace_s=1)
    await terminal.close()
    assert await processes.gone_within([server], 5)


async def test_a_record_of_an_older_version_names_no_server(tmux: TmuxTerminals, tmp_path: Path) -> None:
    terminal, file = await collecting(tmux, tmp_path)
    Path(str(terminal.saved.socket)).unlink()
    adopted = await tmux.adopt(replace(terminal.saved, server=None))
    assert adopted is not None
    await adopted.paste("found")
    assert await arrived(file, 17) == b"\x1b[200~found\x1b[201~"
    await finish(adopted)


async def test_a_live_program_whose_run_folder_is_gone_is_not_taken_for_dead(
    tmux: TmuxTerminals, tmp_path: Path
) -> None:
    terminal, _ = await collecting(tmux, tmp_path)
    shutil.rmtree(terminal.saved.run_dir)
    assert await tmux.adopt(terminal.saved) is not None
    assert terminal.alive()
    await finish(terminal)


async def test_a_leftover_of_the_same_name_is_ended_first(tmux: TmuxTerminals, tmp_path: Path) -> None:
    first = await tmux.open(spec(tmp_path, "sh", "-c", "trap '' HUP; echo up; cat", name="twin"))
    await shown(first, "up")
    second = await tmux.open(spec(tmp_path, "cat", name="twin"))
    assert second.saved.socket == first.saved.socket
    assert not first.alive()
    assert second.alive()
    await finish(second)


async def test_ctrl_c_in_our_own_group_does_not_reach_tmux(tmux: TmuxTerminals, tmp_path: Path) -> None:
    terminal = await tmux.open(spec(tmp_path, "cat"))
    server = processes.stat(server_pid(terminal))
    program = processes.stat(terminal.process.pid)
    assert server is not None
    assert program is not None
    assert os.getpgrp() not in (server.group, program.group)
    assert program.foreground == program.group
    await finish(terminal)


async def test_tmux_knows_no_secret(tmux: TmuxTerminals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUR_SECRET", "s3cret")
    terminal = await tmux.open(spec(tmp_path, "cat", env={"ITS_SECRET": "s3cret"}))
    shown_by_tmux = witness(terminal).cmd("show-environment", "-g").stdout
    assert not [line for line in shown_by_tmux if "SECRET" in line]
    assert b"s3cret" not in Path(f"/proc/{server_pid(terminal)}/environ").read_bytes()
    await finish(terminal)


async def test_a_missing_tmux_is_told_with_what_to_do(sockets: Path, tmp_path: Path) -> None:
    with pytest.raises(TerminalError, match="no-tmux"):
        await TmuxTerminals(sockets, program="tmux-that-is-not-there").open(spec(tmp_path, "cat"))


async def test_a_long_name_still_gets_a_socket(sockets: Path, tmp_path: Path) -> None:
    deep = sockets / ("d" * 60)
    deep.mkdir()
    terminal = await TmuxTerminals(deep).open(spec(tmp_path, "cat", name="n" * 48))
    assert await terminal.capture()
    await finish(terminal)


async def test_a_viewer_is_shared_by_who_looks_and_gone_with_the_last(tmux: TmuxTerminals, tmp_path: Path) -> None:
    terminal = await tmux.open(spec(tmp_path, "cat"))
    viewer = ("sh", "-c", "echo shown by the viewer; exec cat")

    first, second = attach(terminal, viewer=viewer), attach(terminal, viewer=viewer)
    try:
        for person in (first, second):
            await asyncio.to_thread(person.expect, "shown by the viewer")
        assert len(viewers(terminal)) == 1, "one viewer for both"
        assert await terminal.attended()
        first.close(force=True)
        second.sendline("typed")
        await asyncio.to_thread(second.expect, "typed")
        assert "typed" not in (await terminal.capture()).text
    finally:
        first.close(force=True)
        second.close(force=True)
    await until(lambda: not viewers(terminal))
    assert terminal.alive() and not await terminal.attended()
    assert ask(terminal, "#{window_width}x#{window_height}") == "200x50"
    await finish(terminal)


async def test_a_viewer_outlives_one_program_and_not_the_last(tmux: TmuxTerminals, tmp_path: Path) -> None:
    viewer = ("sh", "-c", "echo shown by the viewer; exec cat")
    terminal = await tmux.open(spec(tmp_path, "cat"))
    person = attach(terminal, viewer=viewer)
    try:
        await asyncio.to_thread(person.expect, "shown by the viewer")
        (seen,) = viewers(terminal)
        await terminal.terminate(grace_s=0)
        await terminal.close(keep_viewer=True)
        another = await tmux.open(spec(tmp_path, "cat"))
        assert viewers(another) == [seen]
        await finish(another)
        assert not viewers(another)
        await asyncio.to_thread(person.expect, pexpect.EOF)
    finally:
        person.close(force=True)


async def test_who_looks_can_be_shown_another_viewer(tmux: TmuxTerminals, tmp_path: Path) -> None:
    terminal = await tmux.open(spec(tmp_path, "sleep", "600"))
    await terminal.show(("sh", "-c", "echo nobody looks; exec cat"))
    assert not viewers(terminal)
    person = attach(terminal, viewer=("sh", "-c", "echo the first; exec cat"))
    try:
        await asyncio.to_thread(person.expect, "the first")
        (seen,) = viewers(terminal)
        await terminal.show(("sh", "-c", "echo the second; exec cat"))
        await asyncio.to_thread(person.expect, "the second")
        (shown_now,) = viewers(terminal)
        assert shown_now != seen and person.isalive()
    finally:
        person.close(force=True)
    await finish(terminal)


def viewers(terminal: Terminal) -> list[str]:
    """Return the pids of what people see the program by."""
    server = libtmux.Server(socket_path=Path(terminal.saved.socket or "").with_suffix(".v"))
    return server.cmd("list-panes", "-a", "-F", "#{pane_pid}").stdout


def attach(
    terminal: Terminal,
    rows: int = 24,
    columns: int = 80,
    env: dict[str, str] | None = None,
    viewer: tuple[str, ...] = (),
) -> pexpect.spawn:
    """Look at the terminal as a person would."""
    command, *arguments = terminal.attach_command(viewer)
    surrounding = {"PATH": os.environ["PATH"], "TERM": "xterm-256color", **(env or {})}
    return pexpect.spawn(command, arguments, env=surrounding, dimensions=(rows, columns), encoding="utf-8")
