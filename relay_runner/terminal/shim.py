"""How a program is started inside a terminal: by a short shell script that outlives it and writes down how it ended.

The script holds the environment and the arguments, so it is 0600 and deletes itself before it does anything else;
nothing of it is in any argv or in tmux's own environment. It stands between terminal and program because tmux forgets
every second exit status (its libutempter races it for SIGCHLD), and because a runner that died must still learn it.

Files in `run_dir`: `start.sh` (gone once started), `pid` (the program's own), `exit` (a number), `boot`, `pass_fd.py`.
`pid` and `exit` are complete when they end in a newline; they are there, empty and 0600, before the shell writes them.

The script also holds the runner's listening socket for as long as the program lives; see `listener`.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from relay_runner.errors import ProviderExited, TerminalError
from relay_runner.terminal import pass_fd, processes
from relay_runner.terminal.base import ExitStatus, TerminalSpec
from relay_runner.terminal.listener import HELD_AS, Door, door, pipe

SHELL = "/bin/sh"
PASS_FD = "pass_fd.py"
START_TIMEOUT_S = 10.0
EXIT_FILE_TIMEOUT_S = 2.0
_POLL_S = 0.003
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LAST_SIGNAL = 64
# What tmux and the shell add: the program has no business with the tmux that we drive, and its SHELL is not ours.
_ADDED = ("TMUX", "TMUX_PANE", "SHELL", "OLDPWD")
# What only the terminal knows; the caller's values are of the terminal that he sat at.
_OF_TERMINAL = frozenset({"TERM", "TERM_PROGRAM", "TERM_PROGRAM_VERSION"})

# Handlers, not `''`: an ignored signal stays ignored in the program, a handled one is reset to its default by exec.
# The program is a plain foreground child, so it has the terminal as its stdin and its foreground process group; the
# inner shell becomes the program by exec, so its pid is the program's. $0 marks it until then.
# Two shells, because the kernel reports a hang-up to the session's leader alone, and the program's group hears of it
# when the leader dies: the outer one dies of it, the inner one lives on and writes the exit code.
# What is held open is the shells' alone: a program that inherited it would pass it on to everything that it starts.
_BODY = """\
trap : INT QUIT TERM
(
trap : HUP INT QUIT TERM
keeper=
{keeper}{sh} -c 'echo $$ >"$0"; exec "$@"' {pid} "$@" {held_as}>&-
rc=$?
[ -z "$keeper" ] || kill -KILL "$keeper"
echo "$rc" >{exit}
exit "$rc"
)
exit $?
"""


# It waits in the opening of its pipe, for nothing else. The one who is asked at the end is the shell that waits for the
# program, by SIGKILL: whatever else may come must leave it alive for as long as the program is.
_KEEPER = """\
(
trap '' HUP INT QUIT TERM TSTP
while [ -p {pipe} ]; do
read -r door <{pipe} && {python} -I -S -E {pass_fd} give "$door" {held_as}
done
) </dev/null >/dev/null 2>&1 &
keeper=$!
"""


def quote(text: str | os.PathLike[str]) -> bytes:
    """Return `text` as one word of a shell script, whatever bytes it has."""
    raw = os.fsencode(text)
    if b"\0" in raw:
        raise TerminalError("a NUL cannot be in an argument or in the environment")
    return b"'" + raw.replace(b"'", b"'\\''") + b"'"


def render(
    argv: Sequence[str],
    env: Mapping[str, str],
    cwd: Path,
    run_dir: Path,
    inherited: Sequence[str],
    keeper: Path | None = None,
) -> bytes:
    """Return the script; names that no shell can export (`BASH_FUNC_f%%`) are left out of the environment.

    `inherited` names the variables of the surrounding terminal; those that `env` does not set are unset. `keeper` is
    the pipe at which the listening socket that it inherits can be asked for.
    """
    names = [name for name in env if _VARIABLE.fullmatch(name) and name not in _OF_TERMINAL]
    gone = [name for name in (*inherited, *_ADDED) if name not in env and name not in _OF_TERMINAL]
    lines = [
        b"rm -f -- " + quote(run_dir / "start.sh"),
        b"cd -- " + quote(cwd) + b" || exit 126",
        *(b"unset " + name.encode() for name in dict.fromkeys(gone)),
        *(b"export " + name.encode() + b"=" + quote(env[name]) for name in names),
        b"set -- " + b" ".join(quote(word) for word in argv),
    ]
    body = _BODY.format(
        sh=SHELL,
        keeper=_keeping(run_dir, keeper) if keeper is not None else "",
        pid=_shown(run_dir / "pid"),
        exit=_shown(run_dir / "exit"),
        held_as=HELD_AS,
    )
    return b"\n".join(lines) + b"\n" + os.fsencode(body)


def _keeping(run_dir: Path, pipe: Path) -> str:
    python, program = _shown(Path(sys.executable)), _shown(run_dir / PASS_FD)
    return _KEEPER.format(pipe=_shown(pipe), python=python, pass_fd=program, held_as=HELD_AS)


def check(spec: TerminalSpec) -> None:
    """Raise `ProviderExited` for a program that cannot run: not there, not executable, no folder to run in."""
    if not spec.argv:
        raise ProviderExited("there is no program to start", exit_code=127)
    if not spec.cwd.is_dir():
        raise ProviderExited(f"the folder {spec.cwd} does not exist", exit_code=126)
    if not os.access(spec.cwd, os.X_OK):
        raise ProviderExited(f"the folder {spec.cwd} cannot be entered", exit_code=126)
    program = spec.argv[0]
    if "/" not in program:
        if shutil.which(program, path=spec.env.get("PATH", os.defpath)) is None:
            raise ProviderExited(f"{program} is not on PATH", exit_code=127, hint="install it, or give its full path")
        return
    file = spec.cwd / program
    if not file.exists():
        raise ProviderExited(f"{program} does not exist", exit_code=127)
    if not file.is_file() or not os.access(file, os.X_OK):
        raise ProviderExited(f"{program} is not executable", exit_code=126)


def prepare(
    spec: TerminalSpec, inherited: Sequence[str], *, given_at: Path | None = None, keeper: Path | None = None
) -> tuple[str, ...]:
    """Write the script into `run_dir` and return the command line that runs it, with nothing secret in it.

    Where it is `given_at` a door, it begins by receiving a listening socket there and keeps it; `keeper` is its pipe.
    """
    check(spec)
    script = render(spec.argv, spec.env, spec.cwd.absolute(), spec.run_dir.absolute(), inherited, keeper)
    try:
        spec.run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("start.sh", "pid", "exit"):
            (spec.run_dir / name).unlink(missing_ok=True)
        write(spec.run_dir / "start.sh", script)
        write(spec.run_dir / "boot", processes.boot_id().encode())
        for name in ("pid", "exit"):
            write(spec.run_dir / name, b"")
        write(spec.run_dir / PASS_FD, Path(pass_fd.__file__).read_bytes())
    except OSError as error:
        raise TerminalError(f"cannot write into {spec.run_dir}: {error.strerror}") from error
    command = (SHELL, str(spec.run_dir.absolute() / "start.sh"))
    if given_at is None:
        return command
    program = str(spec.run_dir.absolute() / PASS_FD)
    return (sys.executable, "-I", "-S", "-E", program, "take", str(given_at), str(HELD_AS), *command)


@dataclass(frozen=True, slots=True)
class Start:
    """A script that is ready to run."""

    command: tuple[str, ...]
    run_dir: Path
    keeper: str | None
    """The pipe at which the listening socket can be asked for that the script will hold."""
    listener: socket.socket | None
    door: Door | None

    async def running(self) -> int | None:
        """Pass the socket on to the script that was just run; return the program's pid, None when it ended already."""
        if self.door is not None and self.listener is not None:
            await self.door.give(self.listener)
        return await started(self.run_dir)


@contextmanager
def prepared(spec: TerminalSpec, inherited: Sequence[str], sockets: Path | None) -> Iterator[Start]:
    """Write the script, and wait for it at a door in `sockets` for as long as the context where it has to be given one.

    The socket is in the script's hands before the program starts: it reads it before anything else.
    """
    if spec.listener is None:
        yield Start(prepare(spec, inherited), spec.run_dir, None, None, None)
        return
    if sockets is None:
        raise TerminalError("no folder for the sockets of a program")
    check(spec)
    keeper = pipe(sockets, spec.name)
    with door(sockets) as opened:
        command = prepare(spec, inherited, given_at=opened.path, keeper=keeper)
        yield Start(command, spec.run_dir, str(keeper), spec.listener, opened)


def write(path: Path, data: bytes) -> None:
    """Write a 0600 file."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


async def started(run_dir: Path) -> int | None:
    """Wait until the program itself runs and return its pid; None when it ended (or never ran) before we looked."""
    mark = _mark(run_dir)
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            while True:
                if _number(run_dir / "exit") is not None:
                    return None
                pid = _number(run_dir / "pid")
                # One that is just dying has no command line any more: its exit code follows.
                if pid is not None and (line := _command_line(pid)) and mark not in line:
                    return pid
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        raise TerminalError(f"the program did not start within {START_TIMEOUT_S:g} s") from None


async def exit_status(run_dir: Path) -> ExitStatus:
    """Return what the script wrote down about a program that is over; the writing may still be a moment away."""
    try:
        async with asyncio.timeout(EXIT_FILE_TIMEOUT_S):
            while True:
                code = _number(run_dir / "exit")
                if code is not None:
                    return ExitStatus(exit_code(code))
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        return ExitStatus(None)


def exit_code(shell_code: int) -> int:
    """Return minus the signal's number for a shell's 128 + n.

    A program that itself returns 128 + n to say that it was interrupted cannot be told apart, and means the same.
    """
    number = shell_code - 128
    return -number if 0 < number <= _LAST_SIGNAL and number in set(signal.Signals) else shell_code


def other_boot(run_dir: Path) -> bool:
    """Say whether the pids written in `run_dir` are of an earlier boot of the machine; one that says nothing is not."""
    try:
        return (run_dir / "boot").read_text(encoding="ascii") != processes.boot_id()
    except (OSError, UnicodeDecodeError):
        return False


def clear(run_dir: Path, keeper: str | None = None) -> None:
    """Remove the folder of a process that is over, and its keeper's pipe."""
    shutil.rmtree(run_dir, ignore_errors=True)
    if keeper is not None:
        Path(keeper).unlink(missing_ok=True)


def _mark(run_dir: Path) -> bytes:
    return os.fsencode(run_dir.absolute() / "pid")


def _shown(path: Path) -> str:
    return os.fsdecode(quote(path.absolute()))


def _number(path: Path) -> int | None:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    return int(data) if data.endswith(b"\n") and data.strip().isdigit() else None


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
