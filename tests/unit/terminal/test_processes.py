"""Who a process is, and when it is over."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import anyio
import pytest

from relay_runner.terminal import processes
from relay_runner.terminal.base import ProcessIdentity
from tests.terminals import listening, until

pytestmark = pytest.mark.anyio


def sleeper(*, deaf: bool = False, session: bool = True) -> subprocess.Popen[bytes]:
    code = "import signal,time\n" + ("signal.signal(15, signal.SIG_IGN)\n" if deaf else "") + "print(flush=True)\n"
    child = subprocess.Popen(
        [sys.executable, "-c", code + "time.sleep(60)"], stdout=subprocess.PIPE, start_new_session=session
    )
    assert child.stdout is not None
    child.stdout.readline()
    child.stdout.close()
    return child


def test_a_name_with_blanks_and_parentheses_is_read() -> None:
    rest = " ".join(["S", "1", "2", "3", "4", "5", *["0"] * 13, "777", "0"])
    found = processes.parse_stat(f"42 (a (b) c) {rest}")
    assert (found.pid, found.name, found.state, found.parent, found.group) == (42, "a (b) c", "S", 1, 2)
    assert (found.session, found.foreground, found.started) == (3, 5, 777)


def test_we_run_and_a_later_process_with_our_pid_would_not_be_us() -> None:
    me = processes.identity(os.getpid())
    assert me is not None
    assert processes.runs(me)
    assert not processes.runs(ProcessIdentity(me.pid, me.started + 1))


def test_a_zombie_does_not_run() -> None:
    child = sleeper()
    me = processes.identity(child.pid)
    assert me is not None
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    found = processes.stat(child.pid)
    assert found is not None
    assert found.state == "Z"
    assert not processes.runs(me)
    child.wait()


async def test_the_end_of_a_process_is_awaited() -> None:
    child = sleeper()
    me = processes.identity(child.pid)
    assert me is not None
    assert not await processes.gone_within([me], 0.05)
    processes.send(me, signal.SIGKILL)
    assert await processes.gone_within([me], 10)
    child.wait()
    assert await processes.gone_within([me], 10)


async def test_a_process_that_is_deaf_to_term_is_killed() -> None:
    child = sleeper(deaf=True)
    me = processes.identity(child.pid)
    assert me is not None
    assert await processes.end(frozenset({me}), 0.05) == frozenset()
    assert child.wait() == -signal.SIGKILL


async def test_a_stranger_with_the_same_pid_is_never_signalled() -> None:
    child = sleeper()
    me = processes.identity(child.pid)
    assert me is not None
    stranger = ProcessIdentity(me.pid, me.started - 1)
    processes.send(stranger, signal.SIGKILL)
    assert await processes.gone_within([stranger], 1)
    assert processes.runs(me)
    assert processes.belongings(stranger) == frozenset()
    child.kill()
    child.wait()


def test_a_process_descends_from_its_parents_and_belongs_to_their_sessions() -> None:
    argv = ["sh", "-c", "(sleep 60 & echo $!); cat"]
    leader = subprocess.Popen(argv, start_new_session=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert leader.stdin is not None and leader.stdout is not None
    orphan, me, us = int(leader.stdout.readline()), processes.identity(leader.pid), processes.identity(os.getpid())
    assert me is not None and us is not None
    # Its own parent, a subshell, is gone or about to go; only the session tells then whose it is.
    assert me in processes.lineage(orphan)
    assert {me, us} <= processes.lineage(leader.pid)
    assert me not in processes.lineage(os.getpid())
    assert processes.lineage(2**22 + 1) == frozenset()
    os.kill(orphan, signal.SIGKILL)
    leader.stdin.close()
    leader.wait()
    leader.stdout.close()


async def test_what_a_leader_leaves_in_its_session_is_found() -> None:
    script = "sleep 60 & setsid sleep 60 & echo; wait"
    leader = subprocess.Popen(["sh", "-c", script], start_new_session=True, stdout=subprocess.PIPE)
    me = processes.identity(leader.pid)
    assert me is not None
    await until(lambda: len(processes.belongings(me)) >= 2)
    everyone = processes.belongings(me)
    leader.kill()
    leader.wait()
    assert any(one in everyone for one in processes.belongings(me))
    assert await processes.end(everyone, 5) == frozenset()
    assert leader.stdout is not None
    leader.stdout.close()
    await anyio.lowlevel.checkpoint()


def test_who_listens_at_a_port_is_known() -> None:
    with listening() as ours:
        port = ours.getsockname()[1]
        assert processes.listening_user(port) == os.getuid()
    assert processes.listening_user(port) is None
    with socket.socket() as everywhere:
        everywhere.bind(("0.0.0.0", port))
        everywhere.listen()
        assert processes.listening_user(port) == os.getuid()
