"""Terminals on a pty of the runner's own: for machines without tmux (`--no-tmux`).

What is lost against tmux: nobody else can look at it, and it ends with the runner, because the kernel hangs up a
terminal whose other end is gone. So there is nothing to adopt. The screen is kept by a small emulator
(see `emulator`). Brackets are put around a paste only if the program asked for them, as every terminal does.
"""

from __future__ import annotations

import asyncio
import codecs
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from relay_runner.errors import ProviderExited, TerminalError
from relay_runner.protocol.envelope import sanitise, sanitise_line
from relay_runner.terminal import processes, shim
from relay_runner.terminal.base import ExitStatus, Key, ProcessIdentity, SavedTerminal, Screen, Terminal, TerminalSpec
from relay_runner.terminal.emulator import Emulator
from relay_runner.terminal.listener import asked_for

if TYPE_CHECKING:
    import pexpect

KIND = "pty"
TYPE_LIMIT = 1000
SWEEP_GRACE_S = 1.0
WRITE_S = 30.0
"""How long a program may read nothing of what is written to it, when the kernel holds no more."""
_READ = 1 << 16
_PIECES = 16
_INHERITED = ("TERM", "LANG", "LC_ALL", "COLUMNS", "LINES")
_KEYS = {
    Key.ENTER: b"\r",
    Key.ESCAPE: b"\x1b",
    Key.CTRL_C: b"\x03",
    Key.CTRL_D: b"\x04",
    Key.CTRL_G: b"\x07",
    Key.CTRL_S: b"\x13",
    Key.CTRL_U: b"\x15",
    Key.UP: b"\x1b[A",
    Key.DOWN: b"\x1b[B",
    Key.TAB: b"\t",
    Key.BACKSPACE: b"\x7f",
}


class PtyTerminals:
    """Open terminals on ptys; `sockets` is a short 0700 folder, needed where a socket is to be kept for a program."""

    def __init__(self, sockets: Path | None = None) -> None:
        self._sockets = sockets

    async def open(self, spec: TerminalSpec) -> Terminal:
        """Start the program; see `Terminals.open`."""
        with shim.prepared(spec, _INHERITED, self._sockets) as start:
            return await self._open(spec, start)

    async def _open(self, spec: TerminalSpec, start: shim.Start) -> Terminal:
        try:
            child = _spawn(start.command, spec)
        except OSError as error:
            raise TerminalError(f"cannot open a pty: {error.strerror}") from error
        leader = processes.identity(child.pid)
        wire = _Wire(child.child_fd, spec.width, spec.height)
        try:
            pid = await start.running()
            process = processes.identity(pid) if pid is not None else None
            if process is None or leader is None:
                status = await shim.exit_status(spec.run_dir)
                raise ProviderExited(
                    f"{spec.argv[0]} ended at once: {status}", exit_code=status.code, tail=wire.screen().tail()
                )
        except BaseException:
            wire.stop()
            if leader is not None:
                await asyncio.shield(processes.end(processes.belongings(leader) | {leader}, SWEEP_GRACE_S))
            _release(child)
            shim.clear(spec.run_dir)
            raise
        saved = SavedTerminal(KIND, process, str(spec.run_dir), pane_process=leader, keeper=start.keeper)
        return PtyTerminal(child, wire, saved)

    async def adopt(self, saved: SavedTerminal) -> Terminal | None:
        """Return None when the program of an earlier runner is dead, as it should be; see `Terminals.adopt`."""
        run_dir = Path(saved.run_dir)
        if not shim.other_boot(run_dir):
            if not await processes.gone_within([saved.process], SWEEP_GRACE_S):
                pid = saved.process.pid
                hint = f"end it with `kill {pid}`, then start again"
                raise TerminalError(f"process {pid} still runs on a pty that is gone", hint=hint)
            if saved.pane_process is not None:
                await processes.end(processes.belongings(saved.pane_process), SWEEP_GRACE_S)
        shim.clear(run_dir, saved.keeper)
        return None

    async def listener(self, saved: SavedTerminal) -> socket.socket | None:
        """Ask the shell that holds it; see `Terminals.listener`. A program that ignores the hang-up may still run."""
        return await asked_for(saved, self._sockets)


class PtyTerminal:
    """One program on one pty."""

    def __init__(self, child: pexpect.spawn, wire: _Wire, saved: SavedTerminal) -> None:
        self._child = child
        self._wire = wire
        self._saved = saved
        self._run_dir = Path(saved.run_dir)
        self._input = asyncio.Lock()
        self._exit: ExitStatus | None = None

    @property
    def saved(self) -> SavedTerminal:
        """What a later runner needs to find out that it is dead."""
        return self._saved

    @property
    def process(self) -> ProcessIdentity:
        """The provider's own process."""
        return self._saved.process

    async def paste(self, text: str, *, then: Key | None = None) -> None:
        """Put `text` in as one paste, in brackets if the program wants them; see `Terminal.paste`."""
        data = sanitise(text).encode()
        if self._wire.emulator.bracketed_paste:
            data = b"\x1b[200~" + data + b"\x1b[201~"
        await self._send(data + (_KEYS[then] if then is not None else b""))

    async def press(self, *keys: Key) -> None:
        """Press keys, one after the other."""
        await self._send(b"".join(_KEYS[key] for key in keys))

    async def type(self, text: str) -> None:
        """Send `text` as literal keys (one line, at most 1000 characters)."""
        line = sanitise_line(text, TYPE_LIMIT + 1) if "\n" in text else sanitise(text)
        if len(line) > TYPE_LIMIT:
            raise ValueError(f"more than {TYPE_LIMIT} characters to type")
        await self._send(line.encode())

    async def capture(self) -> Screen:
        """Return what is on the screen."""
        return self._wire.screen(dead=not self.alive())

    async def wait_exit(self) -> ExitStatus:
        """Return when the program has ended; cancelling is safe."""
        await processes.wait_gone(self.process)
        if self._exit is None:
            self._exit = await shim.exit_status(self._run_dir)
        return self._exit

    def alive(self) -> bool:
        """Say whether the program's process still runs (a zombie does not)."""
        return processes.runs(self.process)

    def attach_command(self, viewer: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Return the viewer, which needs none of ours; the pty itself cannot be shown to a second person."""
        return viewer

    async def repair(self) -> str | None:
        """Return None: nothing of it can be taken away."""
        return None

    async def show(self, viewer: tuple[str, ...]) -> None:
        """Do nothing: whoever looks started the viewer in a terminal of their own."""

    async def attended(self) -> bool:
        """Say no: nobody can attach to a pty."""
        return False

    async def terminate(self, *, grace_s: float = 5.0) -> ExitStatus:
        """End the program and everything in its session: TERM, after `grace_s` KILL; return how it ended."""
        leftovers = self._belongings()
        await processes.end(frozenset({self.process}), grace_s)
        self._exit = self._exit or await shim.exit_status(self._run_dir)
        await processes.end(leftovers | self._belongings(), min(grace_s, SWEEP_GRACE_S))
        return self._exit

    async def close(self, *, keep_viewer: bool = False) -> None:
        """Take the pty away, and whatever the dead program left running in its session."""
        if self._exit is None and not self.alive():
            self._exit = await shim.exit_status(self._run_dir)
        self._wire.stop()
        leader = self._saved.pane_process
        if leader is not None:
            await processes.end(self._belongings() | {leader}, SWEEP_GRACE_S)
        _release(self._child)
        shim.clear(self._run_dir, self._saved.keeper)

    def detach(self) -> None:
        """Let go of the terminal; the program gets its hang-up when this process ends."""
        self._wire.stop()

    async def _send(self, data: bytes) -> None:
        async with self._input:
            if not self.alive():
                status = await self.wait_exit()
                raise ProviderExited(f"the program has ended: {status}", exit_code=status.code)
            await self._wire.write(data)

    def _belongings(self) -> frozenset[ProcessIdentity]:
        leader = self._saved.pane_process
        return processes.belongings(leader) - {self.process} if leader is not None else frozenset()


class _Wire:
    """Our end of the pty: reads all the time, so that the program never waits for us, and writes without blocking."""

    def __init__(self, descriptor: int, width: int, height: int) -> None:
        self.emulator = Emulator(width, height)
        self._descriptor = descriptor
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._loop = asyncio.get_running_loop()
        self._stopped = False
        os.set_blocking(descriptor, False)
        self._loop.add_reader(descriptor, self._read)

    def screen(self, *, dead: bool = False) -> Screen:
        """Return what is on the screen, with what came up to now."""
        # A read gives one piece, of which the kernel holds several; who prints without end is not waited for.
        for _ in range(_PIECES):
            if self._stopped or not self._read():
                break
        return self.emulator.screen(dead=dead)

    async def write(self, data: bytes) -> None:
        """Write all of `data`, as fast as the program takes it."""
        rest = memoryview(data)
        while rest:
            if self._stopped:
                raise TerminalError("the pty is closed")
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:
                await self._writable()
            except OSError as error:
                raise TerminalError(f"cannot write to the pty: {error.strerror}") from error

    def stop(self) -> None:
        """Read no more."""
        if not self._stopped:
            self._stopped = True
            self._loop.remove_reader(self._descriptor)

    def _read(self) -> bool:
        """Take one piece of output, and say whether there was one."""
        try:
            data = os.read(self._descriptor, _READ)
        except BlockingIOError:
            return False
        except OSError:
            data = b""  # EIO is how Linux says that nobody holds the other end any more
        if data:
            self.emulator.feed(self._decoder.decode(data))
        else:
            self.stop()
        return bool(data)

    async def _writable(self) -> None:
        ready = asyncio.Event()
        self._loop.add_writer(self._descriptor, ready.set)
        try:
            async with asyncio.timeout(WRITE_S):
                await ready.wait()
        except TimeoutError:
            raise TerminalError(f"the program read nothing for {WRITE_S:g} s") from None
        finally:
            self._loop.remove_writer(self._descriptor)


def _spawn(command: tuple[str, ...], spec: TerminalSpec) -> pexpect.spawn:
    import pexpect

    env = {"PATH": os.environ.get("PATH", os.defpath), "TERM": "xterm-256color"}
    return pexpect.spawn(
        command[0], list(command[1:]), env=env, cwd=str(spec.cwd), dimensions=(spec.height, spec.width), echo=True
    )


def _release(child: pexpect.spawn) -> None:
    """Close our end and reap the script, which has ended: pexpect's own close would sleep on the loop."""
    child.ptyproc.delayafterclose = 0
    child.ptyproc.delayafterterminate = 0
    with suppress(OSError):
        child.close(force=False)
