"""A port is bound for as long as the program lives, whatever becomes of the runner, and comes back to the next one."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from relay_runner.errors import ProviderExited, TerminalError
from relay_runner.terminal import listener as module
from relay_runner.terminal import processes
from relay_runner.terminal.base import Key, Terminal, Terminals, TerminalSpec
from relay_runner.terminal.listener import asked_for, door
from relay_runner.terminal.pty import PtyTerminals
from relay_runner.terminal.tmux import TmuxTerminals
from tests.terminals import bindable, listening, shown, sockets, spec, until

pytestmark = pytest.mark.anyio
__all__ = ["sockets"]
DESCRIPTORS = "import os; print('has', *sorted(os.listdir('/proc/self/fd')), flush=True); input()"


@pytest.fixture(params=["tmux", "pty"])
def terminals(request: pytest.FixtureRequest, sockets: Path) -> Terminals:
    return TmuxTerminals(sockets) if request.param == "tmux" else PtyTerminals(sockets)


def held(folder: Path, listener: socket.socket, *argv: str) -> TerminalSpec:
    return replace(spec(folder, *argv), listener=listener)


async def finish(terminal: Terminal) -> None:
    await terminal.terminate(grace_s=1)
    await terminal.close()


def shells(terminal: Terminal) -> list[processes.ProcessIdentity]:
    """Return what stands around the program: the outer shell, the inner one, the keeper."""
    leader = terminal.saved.pane_process
    assert leader is not None
    return sorted({leader, *processes.belongings(leader)} - {terminal.process}, key=lambda found: found.pid)


async def test_the_port_is_bound_until_the_program_ends_and_free_then(terminals: Terminals, tmp_path: Path) -> None:
    ours = listening()
    port = ours.getsockname()[1]
    terminal = await terminals.open(held(tmp_path, ours, "sh", "-c", "read x"))
    ours.close()  # as of a runner that died
    assert not bindable(port)
    await finish(terminal)
    assert bindable(port)
    assert not Path(terminal.saved.keeper or "").exists()


async def test_a_program_that_ends_by_itself_frees_the_port(terminals: Terminals, tmp_path: Path) -> None:
    ours = listening()
    port = ours.getsockname()[1]
    terminal = await terminals.open(held(tmp_path, ours, "sh", "-c", "read x; exit 3"))
    ours.close()
    await terminal.press(Key.ENTER)
    assert (await terminal.wait_exit()).code == 3
    await until(lambda: bindable(port))
    await terminal.close()


async def test_it_comes_back_to_whoever_asks_with_what_waits_in_its_backlog(
    terminals: Terminals, tmp_path: Path
) -> None:
    ours = listening()
    terminal = await terminals.open(held(tmp_path, ours, "sh", "-c", "read x"))
    address = ours.getsockname()
    ours.close()
    with socket.create_connection(address) as waiting:
        waiting.sendall(b"a hook")
        for _ in range(3):  # runners that died again before they served it
            got = await terminals.listener(terminal.saved)
            assert got is not None and got.getsockname() == address
            assert not os.get_inheritable(got.fileno())
            got.close()
        got = await terminals.listener(terminal.saved)
        assert got is not None
        served, _ = await asyncio.to_thread(got.accept)
        with served, got:
            assert served.recv(10) == b"a hook"
    await finish(terminal)
    assert await terminals.listener(terminal.saved) is None


async def test_the_program_itself_has_no_copy(terminals: Terminals, tmp_path: Path) -> None:
    with listening() as ours:
        terminal = await terminals.open(held(tmp_path, ours, sys.executable, "-c", DESCRIPTORS))
        await shown(terminal, "has 0 1 2 3")
        assert "has 0 1 2 3\n" in (await terminal.capture()).text + "\n"
        await finish(terminal)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGTSTP])
async def test_no_signal_to_the_terminal_takes_it_from_a_program_that_lives_on(
    sockets: Path, tmp_path: Path, number: signal.Signals
) -> None:
    terminals = TmuxTerminals(sockets)
    script = "trap '' HUP INT QUIT TERM TSTP; echo up; while :; do sleep 60; done"
    ours = listening()
    terminal = await terminals.open(held(tmp_path, ours, "sh", "-c", script))
    port = ours.getsockname()[1]
    ours.close()
    await shown(terminal, "up")
    _, inner, keeper = shells(terminal)[:3]
    for one in (inner, keeper):
        processes.send(one, number)
    assert not bindable(port)
    if number is not signal.SIGTSTP:  # a shell that is stopped cannot wait for its program
        got = await terminals.listener(terminal.saved)
        assert got is not None
        got.close()
    processes.send(inner, signal.SIGCONT)
    await finish(terminal)


@pytest.mark.parametrize("which", [0, 1, 2])
async def test_no_single_shell_that_is_killed_frees_the_port(
    sockets: Path, tmp_path: Path, which: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KNOCK_S", 0.1)
    terminals = TmuxTerminals(sockets)
    ours = listening()
    terminal = await terminals.open(held(tmp_path, ours, "sh", "-c", "trap '' HUP; echo up; while :; do sleep 9; done"))
    port = ours.getsockname()[1]
    ours.close()
    await shown(terminal, "up")
    doomed = shells(terminal)[which]
    processes.send(doomed, signal.SIGKILL)
    assert await processes.gone_within([doomed], 5)
    assert not bindable(port)
    got = await terminals.listener(terminal.saved)
    assert (got is None) == (which == 2), "only the keeper can pass it on"
    if got is not None:
        got.close()
    await finish(terminal)
    assert bindable(port), "what a dead shell leaves behind is ended with the terminal"


async def test_a_runner_that_dies_before_it_gives_leaves_a_shell_that_starts_nothing(
    sockets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def died(self: object, listener: socket.socket) -> None:
        raise TerminalError("the runner died here")

    monkeypatch.setattr("relay_runner.terminal.listener.Door.give", died)
    with listening() as ours, pytest.raises(TerminalError, match="died here"):
        await TmuxTerminals(sockets).open(held(tmp_path, ours, "sh", "-c", f"touch {tmp_path}/started; cat"))
    assert not (tmp_path / "started").exists()


async def test_a_program_that_ends_at_once_is_told_as_ever(terminals: Terminals, tmp_path: Path) -> None:
    script = tmp_path / "bad"
    script.write_text("#!/nowhere/interpreter\n")
    script.chmod(0o755)
    with listening() as ours, pytest.raises(ProviderExited, match="ended at once: exit code 12"):
        await terminals.open(held(tmp_path, ours, str(script)))


async def test_where_nothing_is_kept_nothing_is_asked_for(terminals: Terminals, tmp_path: Path) -> None:
    terminal = await terminals.open(spec(tmp_path, "cat"))
    assert terminal.saved.keeper is None
    assert await terminals.listener(terminal.saved) is None
    await finish(terminal)


async def test_what_is_passed_must_be_a_socket_that_listens(sockets: Path) -> None:
    with door(sockets) as opened:
        with socket.socket(socket.AF_UNIX) as visitor, socket.socket() as deaf:
            visitor.connect(str(opened.path))
            socket.send_fds(visitor, [b"x"], [deaf.fileno()])
            with pytest.raises(TerminalError, match="not a listening socket"):
                await opened.take()
        with socket.socket(socket.AF_UNIX) as visitor:
            visitor.connect(str(opened.path))
            visitor.sendall(b"x")
            with pytest.raises(TerminalError, match="not passed on"):
                await opened.take()
    assert not opened.path.exists()


async def test_a_door_that_nobody_comes_to_is_closed_in_time(sockets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PASS_S", 0.05)
    with door(sockets) as opened, pytest.raises(TerminalError, match="within"):
        await opened.take()


async def test_another_user_is_not_let_in(sockets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "peer_uid", lambda connection: os.getuid() + 1)
    monkeypatch.setattr(module, "PASS_S", 0.2)
    with door(sockets) as opened, listening() as ours, socket.socket(socket.AF_UNIX) as visitor:
        visitor.connect(str(opened.path))
        with pytest.raises(TerminalError, match="within"):
            await opened.give(ours)


async def test_a_plain_file_in_the_place_of_the_pipe_is_left_alone(sockets: Path, tmp_path: Path) -> None:
    terminal = await TmuxTerminals(sockets).open(spec(tmp_path, "cat"))
    (tmp_path / "file").write_text("mine")
    assert await asked_for(replace(terminal.saved, keeper=str(tmp_path / "file")), sockets) is None
    assert (tmp_path / "file").read_text() == "mine"
    await finish(terminal)
