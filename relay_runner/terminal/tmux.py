"""Terminals in tmux: one server per agent, on a socket of its own, never the user's.

One server each, because tmux 3.3a dies of a paste into a dead pane, and then takes one agent with it at most. A person
can attach to it from anywhere, also from within another tmux; the pane keeps its size.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import secrets
import shutil
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from relay_runner.errors import ProviderExited, RelayRunnerError, TerminalError
from relay_runner.protocol.envelope import sanitise, sanitise_line
from relay_runner.terminal import processes, quoting, shim
from relay_runner.terminal.base import (
    ExitStatus,
    Key,
    ProcessIdentity,
    SavedTerminal,
    Screen,
    Terminal,
    TerminalSpec,
)
from relay_runner.terminal.client import SOCKET_LIMIT, TmuxServer, config, scrubbed
from relay_runner.terminal.listener import asked_for
from relay_runner.terminal.screen import FIELDS, parse_capture

KIND = "tmux"
VIEWER = "-viewer"
"""What the name of the session ends in that a viewer runs in, on a server of its own: it outlives the program's."""
VIEWER_SUFFIX = ".v"
"""What the viewer's socket ends in instead of `.sock`: there are 107 bytes."""
SETTINGS = "tmux.conf"
TYPE_LIMIT = 1000
DEATH_PATIENCE_S = 30.0
"""How long a program may take to end after its tmux died: its last hooks may wait for a runner for ten seconds."""
RESTORE_S = 1.0
SWEEP_GRACE_S = 1.0
_DEAD = "relay-runner: dead pane"
_OPENED = re.compile(r"%\d+ \d+ \d+\n")
_TMUXS_OWN = re.compile(r"[^A-Za-z0-9_-]")


class TmuxTerminals:
    """Open terminals in tmux; `sockets` is a short 0700 folder, for one unix socket per agent."""

    def __init__(self, sockets: Path, *, program: str = "tmux", restore: Callable[[], object] | None = None) -> None:
        """`restore` makes the folder of the sockets again where it is gone."""
        self._sockets = sockets
        self._program = program
        self._restore = restore or partial(sockets.mkdir, 0o700, parents=True, exist_ok=True)

    async def open(self, spec: TerminalSpec) -> Terminal:
        """Start the program; see `Terminals.open`.

        What an earlier process of the same name left on the socket is ended first: the caller has proven that nobody
        needs it (`adopt`), or nobody ever knew of it (a runner that died between start and writing it down).
        """
        program = shutil.which(self._program)
        if program is None:
            raise TerminalError(f"{self._program} is not installed", hint="install tmux, or use --no-tmux")
        server = TmuxServer(program, self._socket(spec.name))
        await _end_server(server)
        try:
            with shim.prepared(spec, tuple(scrubbed()), self._sockets) as start:
                pane, pane_process, its_server = await self._new_session(server, spec, start.command)
                pid = await start.running()
            process = processes.identity(pid) if pid is not None else None
            if process is None or pane_process is None:
                raise await self._never_ran(server, pane, spec)
        except BaseException:
            await asyncio.shield(_end_server(server))
            shim.clear(spec.run_dir)
            raise
        saved = SavedTerminal(
            kind=KIND,
            process=process,
            run_dir=str(spec.run_dir),
            socket=str(server.socket),
            session=_session(spec.name),
            pane=pane,
            pane_process=pane_process,
            server=its_server,
            keeper=start.keeper,
        )
        return TmuxTerminal(server, saved, self._restore)

    async def adopt(self, saved: SavedTerminal) -> Terminal | None:
        """Return the terminal of an earlier runner, or None; see `Terminals.adopt`."""
        if saved.kind != KIND or saved.socket is None or saved.pane is None or saved.pane_process is None:
            raise TerminalError(f"not a saved tmux terminal: {saved.kind}")
        server = TmuxServer(shutil.which(self._program) or self._program, Path(saved.socket))
        terminal = TmuxTerminal(server, saved, self._restore)
        if not shim.other_boot(Path(saved.run_dir)) and terminal.alive():
            if await terminal.reachable():
                return terminal
            # A tmux server that died takes its programs with it, but they need a moment to notice.
            if not await processes.gone_within([saved.process], DEATH_PATIENCE_S):
                pid = saved.process.pid
                raise TerminalError(
                    f"process {pid} still runs, but its tmux cannot be reached",
                    hint=f"end it with `kill {pid}`, then start again",
                )
        await terminal.close()
        return None

    async def listener(self, saved: SavedTerminal) -> socket.socket | None:
        """Ask the shell that holds it; see `Terminals.listener`."""
        return await asked_for(saved, self._sockets)

    async def _new_session(
        self, server: TmuxServer, spec: TerminalSpec, command: tuple[str, ...]
    ) -> tuple[str, ProcessIdentity | None, ProcessIdentity | None]:
        settings = spec.run_dir / SETTINGS
        shim.write(settings, config(spec.title or spec.name, spec.width, spec.height).encode())
        # Our script enters the folder: tmux would expand its name as a format, and run what stands in it in `#(...)`.
        # `window-size manual` in the settings kills a tmux 3.3a at its first session; set right after, it holds.
        reply = await server.ask(
            "new-session", "-d", "-s", _session(spec.name), "-x", str(spec.width), "-y", str(spec.height),
            "-c", "/", "-P", "-F", "#{pane_id} #{pane_pid} #{pid}", "--", *map(quoting.word, command),
            ";", "set-option", "-wg", "window-size", "manual",
            before=("-f", str(settings)),
        )  # fmt: skip
        if reply.code != 0 or not _OPENED.fullmatch(reply.out):
            raise TerminalError(f"tmux could not open a session: {reply.error or reply.out or reply.code}")
        pane, pid, its_server = reply.out.split()
        found = processes.stat(int(pid))
        return pane, found.identity if found is not None else None, processes.identity(int(its_server))

    async def _never_ran(self, server: TmuxServer, pane: str, spec: TerminalSpec) -> ProviderExited:
        status = await shim.exit_status(spec.run_dir)
        reply = await server.ask(*_capture(pane))
        tail = parse_capture(reply.out).tail() if reply.code == 0 else ""
        return ProviderExited(f"{spec.argv[0]} ended at once: {status}", exit_code=status.code, tail=tail)

    def _socket(self, name: str) -> Path:
        path = self._sockets / f"{_session(name)}.sock"
        if len(os.fsencode(path)) <= SOCKET_LIMIT:
            return path
        return self._sockets / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.sock"


class TmuxTerminal:
    """One program in one tmux server; holds nothing open, so that letting go of it costs nothing."""

    def __init__(self, server: TmuxServer, saved: SavedTerminal, restore: Callable[[], object]) -> None:
        self._server = server
        self._restore = restore
        self._viewer = TmuxServer(server.program, server.socket.with_suffix(VIEWER_SUFFIX))
        self._saved = saved
        self._pane = saved.pane or ""
        self._run_dir = Path(saved.run_dir)
        self._input = asyncio.Lock()
        self._exit: ExitStatus | None = None

    @property
    def saved(self) -> SavedTerminal:
        """What a later runner needs to adopt it."""
        return self._saved

    @property
    def process(self) -> ProcessIdentity:
        """The provider's own process."""
        return self._saved.process

    async def paste(self, text: str, *, then: Key | None = None) -> None:
        """Put `text` in as one bracketed paste; see `Terminal.paste`. Any size, one at a time."""
        buffer = f"relay-{secrets.token_hex(6)}"
        put = f"paste-buffer -d -p -r -b {buffer} -t {self._pane}"
        if then is not None:
            put += f" ; send-keys -t {self._pane} {then}"
        async with self._input:
            try:
                # One command line is one uninterrupted step of tmux's loop: the pane cannot die between the look at
                # pane_dead and the paste, which would kill a tmux 3.3a server, nor enter copy mode again.
                out = await self._run(
                    "load-buffer", "-b", buffer, "-", ";", *self._leave_mode(), ";",
                    "if-shell", "-F", "-t", self._pane, "#{pane_dead}", f"display-message -p '{_DEAD}'", put,
                    stdin=sanitise(text).encode(),
                )  # fmt: skip
            except BaseException:
                await asyncio.shield(self._forget(buffer))
                raise
            if _DEAD in out:
                await self._forget(buffer)
                raise await self._ended()

    async def press(self, *keys: Key) -> None:
        """Press keys, one after the other, after leaving copy mode."""
        async with self._input:
            await self._run(*self._leave_mode(), ";", "send-keys", "-t", self._pane, *keys)

    async def type(self, text: str) -> None:
        """Send `text` as literal keys (one line, at most 1000 characters)."""
        line = sanitise_line(text, TYPE_LIMIT + 1) if "\n" in text else sanitise(text)
        if len(line) > TYPE_LIMIT:
            raise ValueError(f"more than {TYPE_LIMIT} characters to type")
        async with self._input:
            await self._run(*self._leave_mode(), ";", "send-keys", "-t", self._pane, "-l", "--", quoting.word(line))

    async def capture(self) -> Screen:
        """Return what is on the screen."""
        return parse_capture(await self._run(*_capture(self._pane)))

    async def wait_exit(self) -> ExitStatus:
        """Return when the program has ended; cancelling is safe."""
        await processes.wait_gone(self.process)
        if self._exit is None:
            self._exit = await shim.exit_status(self._run_dir)
        return self._exit

    def alive(self) -> bool:
        """Say whether the program's process still runs (a zombie does not)."""
        return processes.runs(self.process)

    async def reachable(self) -> bool:
        """Say whether tmux still shows this very pane."""
        try:
            out = await self._run("display-message", "-p", "-t", self._pane, "#{pane_pid}")
        except TerminalError:
            return False
        return self._saved.pane_process is not None and out.strip() == str(self._saved.pane_process.pid)

    def attach_command(self, viewer: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Return the command line that shows the terminal to a person, also to one who sits in another tmux."""
        if not viewer:
            tmux = ("env", "-u", "TMUX", self._server.program, "-u", "-S", str(self._server.socket))
            return (*tmux, "attach-session", "-t", f"={self._saved.session}")
        session = f"{self._saved.session}{VIEWER}"
        tmux = ("env", "-u", "TMUX", self._server.program, "-u", "-f", str(self._run_dir / SETTINGS))
        options = [
            ("-w", "-t", f"={session}:", "remain-on-exit", "off"),
            ("-t", f"={session}:", "destroy-unattached", "on"),
        ]
        set_options = [word for option in options for word in (";", "set-option", *option)]
        shown = ("new-session", "-A", "-s", session, "-c", "/", "--", *map(quoting.word, viewer))
        return (*tmux, "-S", str(self._viewer.socket), *shown, *set_options)

    async def show(self, viewer: tuple[str, ...]) -> None:
        """Let those who look at a viewer see this one instead; nothing where nobody does."""
        if self._viewer.socket.is_socket():
            words = map(quoting.word, viewer)
            # Refused where the last of them left just now.
            await self._viewer.ask("respawn-pane", "-k", "-t", f"={self._saved.session}{VIEWER}:", "--", *words)

    async def attended(self) -> bool:
        """Say whether a client is attached, to the terminal or to its viewer."""
        for server in (self._server, self._viewer):
            if server.socket.is_socket() and (await server.ask("list-clients", "-F", "#{client_pid}")).out.strip():
                return True
        return False

    async def terminate(self, *, grace_s: float = 5.0) -> ExitStatus:
        """End the program and everything in its session: TERM, after `grace_s` KILL; return how it ended."""
        if not self._server.socket.is_socket():
            await self._restore_socket()  # of what an older version started, nobody could say later which server it was
        leftovers = self._belongings()
        await processes.end(frozenset({self.process}), grace_s)
        # The script is no part of it: it still has to write the exit code.
        self._exit = self._exit or await shim.exit_status(self._run_dir)
        await processes.end(leftovers | self._belongings(), min(grace_s, SWEEP_GRACE_S))
        return self._exit

    async def close(self, *, keep_viewer: bool = False) -> None:
        """Take the tmux server away, and whatever the dead program left running in its session."""
        if not shim.other_boot(self._run_dir):
            if self._exit is None and not self.alive():
                self._exit = await shim.exit_status(self._run_dir)
            await processes.end(self._belongings(), SWEEP_GRACE_S)
        await self._server.kill()
        if (server := self._saved.server) is not None and not shim.other_boot(self._run_dir):
            await processes.end(frozenset({server}), SWEEP_GRACE_S)  # one whose socket is gone heard nothing
        if not keep_viewer:
            await self._viewer.kill()
        shim.clear(self._run_dir, self._saved.keeper)

    def detach(self) -> None:
        """Let go of the terminal: there is nothing to let go of."""

    async def repair(self) -> str | None:
        """Have a socket that somebody cleaned away made again; see `Terminal.repair`."""
        if self._server.socket.is_socket() or not self.alive() or await self._restore_socket():
            return None
        return "its tmux cannot be reached: its socket is gone and cannot be recreated"

    async def _run(self, *arguments: str, stdin: bytes | None = None) -> str:
        if not self._server.socket.is_socket():
            await self._restore_socket()
        return await self._server.run(*arguments, stdin=stdin)

    async def _restore_socket(self) -> bool:
        """Have the socket made again, its folder too: a tmux server does that on SIGUSR1; say whether it is there."""
        if (server := self._its_server()) is None:
            return False
        with suppress(RelayRunnerError, OSError):  # then the server cannot make it, either
            self._restore()
        processes.send(server, signal.SIGUSR1)
        with suppress(TimeoutError):
            async with asyncio.timeout(RESTORE_S):
                while not self._server.socket.is_socket():  # noqa: ASYNC110 - nobody tells us
                    await asyncio.sleep(0.01)
        return self._server.socket.is_socket()

    def _its_server(self) -> ProcessIdentity | None:
        """Return the live server that the program runs in; an older version saved only what runs in it."""
        if self._saved.server is not None:
            return self._saved.server if processes.runs(self._saved.server) else None
        leader = processes.stat(self._saved.pane_process.pid) if self._saved.pane_process is not None else None
        server = processes.stat(leader.parent) if leader is not None and processes.runs(leader.identity) else None
        return server.identity if server is not None and server.name.startswith("tmux") else None

    def _belongings(self) -> frozenset[ProcessIdentity]:
        leader = self._saved.pane_process
        return processes.belongings(leader) - {self.process} if leader is not None else frozenset()

    def _leave_mode(self) -> tuple[str, ...]:
        return ("if-shell", "-F", "-t", self._pane, "#{pane_in_mode}", f"send-keys -t {self._pane} -X cancel")

    async def _forget(self, buffer: str) -> None:
        if self._server.socket.is_socket():
            await self._server.ask("delete-buffer", "-b", buffer)

    async def _ended(self) -> ProviderExited | TerminalError:
        """Return what a dead pane means: the program has ended, unless no hang-up ends it and it outlives its pane."""
        if not await processes.gone_within([self.process], DEATH_PATIENCE_S):
            pid = self.process.pid
            return TerminalError(f"process {pid} still runs, but its pane is gone", hint=f"end it with `kill {pid}`")
        status = await self.wait_exit()
        return ProviderExited(f"the program has ended: {status}", exit_code=status.code)


def _capture(pane: str) -> tuple[str, ...]:
    return ("display-message", "-p", "-t", pane, FIELDS, ";", "capture-pane", "-e", "-p", "-t", pane)


def _session(name: str) -> str:
    """Return `name` as tmux can have it: colons and dots are its own."""
    return _TMUXS_OWN.sub("_", name) or "agent"


async def _end_server(server: TmuxServer) -> None:
    """End a server of ours and every program in it."""
    if server.socket.is_socket():
        reply = await server.ask("list-panes", "-a", "-F", "#{pane_pid}")
        for word in reply.out.split():
            leader = processes.stat(int(word))
            if leader is not None:
                await processes.end(processes.belongings(leader.identity), SWEEP_GRACE_S)
    await server.kill()
