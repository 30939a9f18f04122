"""Processes as /proc shows them: who they are, whether they run, when they end, what they leave behind.

Linux only. A process is always meant by pid *and* start time, so that a pid which the kernel gave to somebody else is
never signalled or waited for. The end of a process that is not our child is awaited through a pidfd.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from relay_runner.errors import TerminalError
from relay_runner.terminal.base import ProcessIdentity

_PROC = Path("/proc")
_LISTENS = "0A"
_OF_LOOPBACK = ("0100007F", "00000000")
"""127.0.0.1 and every address, as /proc/net/tcp writes them on a little-endian machine."""
_DEAD_STATES = frozenset("ZXx")


@dataclass(frozen=True, slots=True)
class ProcessStat:
    """The part of /proc/PID/stat that we read."""

    pid: int
    name: str
    state: str
    parent: int
    group: int
    session: int
    foreground: int
    """The foreground process group of its terminal, -1 without one."""
    started: int

    @property
    def identity(self) -> ProcessIdentity:
        """Who it is."""
        return ProcessIdentity(self.pid, self.started)

    @property
    def running(self) -> bool:
        """Whether it is more than a zombie."""
        return self.state not in _DEAD_STATES


def parse_stat(text: str) -> ProcessStat:
    """Read one /proc/PID/stat; the name may hold blanks and parentheses, so the last `)` ends it."""
    head, _, rest = text.rpartition(")")
    pid, _, name = head.partition(" (")
    fields = rest.split()
    return ProcessStat(
        pid=int(pid),
        name=name,
        state=fields[0],
        parent=int(fields[1]),
        group=int(fields[2]),
        session=int(fields[3]),
        foreground=int(fields[5]),
        started=int(fields[19]),
    )


def stat(pid: int) -> ProcessStat | None:
    """Return what the kernel says of `pid`, or None when there is no such process."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return parse_stat(text)


def identity(pid: int) -> ProcessIdentity | None:
    """Return who `pid` is now, or None when it runs no more."""
    found = stat(pid)
    return found.identity if found is not None and found.running else None


def runs(process: ProcessIdentity) -> bool:
    """Say whether this very process still runs; a zombie does not."""
    return identity(process.pid) == process


def lineage(pid: int) -> frozenset[ProcessIdentity]:
    """Return a process, those that it descends from, and the leaders of their sessions.

    A child whose parent died belongs to another parent, and still to its session.
    """
    line: list[ProcessStat] = []
    now = stat(pid)
    while now is not None and now not in line:
        line.append(now)
        now = stat(now.parent)
    leaders = [leader for one in line if (leader := stat(one.session)) is not None]
    return frozenset(one.identity for one in (*line, *leaders))


def boot_id() -> str:
    """Return what tells this boot of the machine from every other one: pids and start times hold only within it."""
    return (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def everything() -> Iterator[ProcessStat]:
    """Yield every process of the machine."""
    for entry in _PROC.iterdir():
        if entry.name.isdecimal() and (found := stat(int(entry.name))) is not None:
            yield found


def listening_user(port: int) -> int | None:
    """Return the user whose process listens at this port of 127.0.0.1, or None where that cannot be known."""
    try:
        lines = (_PROC / "net/tcp").read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return None
    for fields in map(str.split, lines):
        address, _, number = fields[1].partition(":")
        if fields[3] == _LISTENS and int(number, 16) == port and address in _OF_LOOPBACK:
            return int(fields[7])
    return None


def belongings(leader: ProcessIdentity) -> frozenset[ProcessIdentity]:
    """Return what runs in the session that `leader` leads, and every descendant of those, the leader left out.

    A dead leader's session is found by its number, which the kernel gives to nobody else while a member lives. When the
    number is another process's now, nothing is left, and nothing is returned.
    """
    now = stat(leader.pid)
    if now is not None and now.identity != leader:
        return frozenset()
    all_of_them = {found.pid: found for found in everything() if found.running}
    ours = {found.pid for found in all_of_them.values() if found.session == leader.pid}
    grew = True
    while grew:
        children = {found.pid for found in all_of_them.values() if found.parent in ours and found.pid not in ours}
        grew = bool(children)
        ours |= children
    return frozenset(all_of_them[pid].identity for pid in ours if pid != leader.pid)


async def wait_gone(process: ProcessIdentity) -> None:
    """Return when this process has ended (its parent need not have reaped it); cancelling is safe."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    except OSError as error:
        raise TerminalError(f"cannot watch process {process.pid}: {error.strerror}") from error
    try:
        if not runs(process):
            return
        loop = asyncio.get_running_loop()
        gone = asyncio.Event()
        loop.add_reader(descriptor, gone.set)
        try:
            await gone.wait()
        finally:
            loop.remove_reader(descriptor)
    finally:
        os.close(descriptor)


async def gone_within(processes: Iterable[ProcessIdentity], seconds: float) -> bool:
    """Say whether all of `processes` have ended before `seconds` are over."""
    try:
        async with asyncio.timeout(seconds):
            for process in processes:
                await wait_gone(process)
    except TimeoutError:
        return False
    return True


def send(process: ProcessIdentity, number: signal.Signals) -> None:
    """Signal this very process, if it still runs."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError:
        return
    try:
        # The descriptor pins the process: what is checked now cannot become somebody else before the signal.
        if runs(process):
            with suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(descriptor, number)
    finally:
        os.close(descriptor)


async def end(processes: frozenset[ProcessIdentity], grace_s: float) -> frozenset[ProcessIdentity]:
    """TERM, after `grace_s` KILL; return those that even then did not end within 2 s."""
    for number, patience in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 2.0)):
        for process in processes:
            send(process, number)
        if await gone_within(processes, patience):
            return frozenset()
    return frozenset(process for process in processes if runs(process))
