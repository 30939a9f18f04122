"""The relay that starts itself: found, started once, started again, ended."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from relay_runner.config import Paths, write_private
from relay_runner.errors import RelayRefused, RelayUnavailable
from relay_runner.protocol.messages import MessageQuery, NewMessage
from relay_runner.protocol.wire import encode
from relay_runner.relay import embedded
from relay_runner.relay.http import HttpRelay
from tests.contract.relays import hello

pytestmark = pytest.mark.anyio

WAIT_S = 30.0


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Paths]:
    """Return folders for one relay, which is ended afterwards whatever happened."""
    paths = Paths(tmp_path / "home", tmp_path / "home")
    yield paths
    file = embedded.read_file(paths)
    if file is not None and embedded._alive(file):
        os.kill(file.pid, signal.SIGKILL)


def pid_of(paths: Paths) -> int:
    file = embedded.read_file(paths)
    assert file is not None
    return file.pid


async def kill(paths: Paths) -> None:
    """End the relay without a word, and wait until it is gone."""
    file = embedded.read_file(paths)
    assert file is not None
    os.kill(file.pid, signal.SIGKILL)
    async with asyncio.timeout(WAIT_S):
        while embedded._alive(file):  # noqa: ASYNC110 - a process of somebody else's
            await asyncio.sleep(0.01)


async def test_it_starts_on_first_use_and_is_found_afterwards(home: Paths) -> None:
    assert not (await embedded.status(home)).running
    first = await embedded.ensure(home)
    pid = pid_of(home)
    assert await embedded.ensure(home) == first and pid_of(home) == pid
    found = await embedded.status(home)
    assert found.running and found.health is not None and found.file is not None
    assert (found.file.started_by, found.file.url) == ("client", first.url)
    # It is nobody's child, has a session of its own, and holds nothing of ours.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    assert int(fields[1]) != os.getpid() and int(fields[3]) != os.getsid(0)
    assert Path(f"/proc/{pid}/cwd").resolve() == Path("/")
    open_files = {str(link.resolve()) for link in Path(f"/proc/{pid}/fd").iterdir()}
    assert not [name for name in open_files if name.startswith("pipe:") or "/pipe:" in name]


async def test_ten_who_ask_at_once_get_one_relay(home: Paths) -> None:
    code = (
        "import asyncio, sys; from pathlib import Path; from relay_runner.config import Paths;"
        "from relay_runner.relay import embedded; home = Path(sys.argv[1]);"
        "print(asyncio.run(embedded.ensure(Paths(home, home))).url, embedded.read_file(Paths(home, home)).pid)"
    )
    command = [sys.executable, "-c", code, str(home.state)]
    starters = [await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE) for _ in range(10)]
    said = {(await starter.communicate())[0].decode() for starter in starters}
    assert len(said) == 1 and said.pop().startswith("http://127.0.0.1:")
    assert home.relay_log.read_text().count("listens on") == 1


async def test_the_environment_of_an_agent_does_not_come_along(home: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_RELAY_TOKEN", "secret")
    monkeypatch.setenv("CLAUDECODE", "1")
    await embedded.ensure(home)
    environ = Path(f"/proc/{pid_of(home)}/environ").read_bytes()
    assert b"secret" not in environ and b"CLAUDECODE" not in environ
    assert b"secret" not in Path(f"/proc/{pid_of(home)}/cmdline").read_bytes()


async def test_a_relay_that_died_is_started_again_by_who_notices(home: Paths) -> None:
    await embedded.ensure(home)
    async with HttpRelay(embedded.source(home)) as relay:
        sent = await relay.send(NewMessage(to="person:ann", body="x"))
        before = embedded.read_file(home)
        async with relay.connect(hello("bob")) as bus:
            await kill(home)
            with pytest.raises(RelayUnavailable):
                async with asyncio.timeout(WAIT_S):
                    async for _ in bus:
                        continue
        found = await relay.messages(MessageQuery(recipient="person:ann"))
        assert [record.message.id for record in found] == [sent.message.id]
        after = embedded.read_file(home)
        assert before is not None and after is not None
        assert after.pid != before.pid and after.url == before.url
        await kill(home)
        async with relay.connect(hello("bob")) as bus:
            assert bus.welcome.protocol == 1


async def test_a_relay_that_was_stopped_stays_so_until_somebody_needs_it(home: Paths) -> None:
    assert not await embedded.stop(home)
    await embedded.ensure(home)
    async with HttpRelay(embedded.source(home)) as relay:
        await relay.health()
        assert await embedded.stop(home)
        assert not await embedded.stop(home)
        found = await embedded.status(home)
        assert not found.running and found.health is None and found.file is not None and found.file.stopped
        with pytest.raises(RelayUnavailable, match="stopped"):
            await relay.health()
        await embedded.ensure(home)
        assert (await relay.health())["status"] == "ok"


async def test_a_relay_that_hangs_is_said_to_and_can_be_stopped(home: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "HEALTH_S", 0.2)
    await embedded.ensure(home)
    os.kill(pid_of(home), signal.SIGSTOP)
    with pytest.raises(RelayUnavailable, match="relay restart"):
        await embedded.ensure(home)
    found = await embedded.status(home)
    assert found.running and found.health is None
    assert await embedded.stop(home, timeout_s=0.2)
    assert not (await embedded.status(home)).running


async def test_another_process_with_its_pid_is_left_alone(home: Paths) -> None:
    await embedded.ensure(home)
    file = embedded.read_file(home)
    assert file is not None
    await kill(home)
    write_private(home.relay_json, encode(replace(file, pid=os.getpid())))
    assert not (await embedded.status(home)).running
    assert not await embedded.stop(home)
    await embedded.ensure(home)
    assert pid_of(home) != os.getpid()


async def test_another_protocol_is_one_line(home: Paths) -> None:
    await embedded.ensure(home)
    file = embedded.read_file(home)
    assert file is not None
    write_private(home.relay_json, encode(replace(file, protocol=99)))
    with pytest.raises(RelayRefused, match="relay restart"):
        await embedded.ensure(home)
    write_private(home.relay_json, encode(file))


async def test_a_relay_that_cannot_start_says_why(home: Paths) -> None:
    home.state.mkdir()
    home.relay_log.write_text("old lines\n")
    home.relay_db.write_bytes(b"no database" * 500)
    begin = time.monotonic()
    with pytest.raises(RelayUnavailable, match=r"relay\.db") as caught:
        await embedded.ensure(home)
    assert "\n" not in str(caught.value) and "old lines" not in str(caught.value)
    assert time.monotonic() - begin < embedded.START_S / 2


async def test_a_large_log_is_put_aside(home: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "MAX_LOG_BYTES", 10)
    home.state.mkdir()
    home.relay_log.write_text("a line that is too long\n")
    await embedded.ensure(home)
    assert "too long" not in home.relay_log.read_text()
    assert "too long" in home.relay_log.with_suffix(".log.1").read_text()


async def test_a_relay_that_cannot_be_looked_for_now_is_one_that_is_away(home: Paths) -> None:
    """Which its clients try again; anything else would end them."""
    home.relay_lock.mkdir(parents=True)
    for look in (embedded.source(home), lambda: embedded.ensure(home)):
        with pytest.raises(RelayUnavailable, match="Is a directory"):
            await look()
