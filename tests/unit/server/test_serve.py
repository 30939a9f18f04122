"""A relay as a process: its lock, its port, its file, its end, and what survives `kill -9`."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from relay_runner.config import Paths
from relay_runner.errors import ConfigError, RelayUnauthorized
from relay_runner.protocol.calls import RelayFile
from relay_runner.protocol.messages import MessageQuery, NewMessage
from relay_runner.protocol.wire import decode
from relay_runner.relay.http import HttpRelay
from relay_runner.server.serve import bind, read_relay_file, serve
from tests.contract.relays import hello

pytestmark = pytest.mark.anyio

WAIT_S = 30.0


@contextmanager
def running(
    home: Path, *options: str, within: tuple[str, ...] = ()
) -> Iterator[tuple[subprocess.Popen[str], RelayFile]]:
    """Run a relay until the end of the context."""
    reader, writer = os.pipe()
    command = [
        *within,
        sys.executable,
        "-m",
        "relay_runner.server",
        "--home",
        str(home),
        "--ready-fd",
        str(writer),
        *options,
    ]
    with subprocess.Popen(command, pass_fds=(writer,), stderr=subprocess.PIPE, text=True) as process:
        os.close(writer)
        try:
            with os.fdopen(reader) as ready:
                assert ready.readline() == "ready\n", process.stderr and process.stderr.read()
            yield process, decode((home / "relay.json").read_bytes(), RelayFile)
        finally:
            process.kill()
            process.communicate(timeout=WAIT_S)


def relay_of(file: RelayFile) -> HttpRelay:
    return HttpRelay.at(file.url, file.operator_token)


async def test_what_was_acknowledged_survives_a_kill_at_once(tmp_path: Path) -> None:
    sent: list[int] = []
    for _ in range(3):
        with running(tmp_path) as (process, file):
            async with relay_of(file) as relay, asyncio.TaskGroup() as group:

                async def post(relay: HttpRelay = relay) -> None:
                    record = await relay.send(NewMessage(to="person:ann", body="keep me"))
                    sent.append(record.message.id)

                for _ in range(10):
                    group.create_task(post())
            process.send_signal(signal.SIGKILL)
            process.wait(WAIT_S)
    with running(tmp_path) as (_, file):
        async with relay_of(file) as relay:
            found = await relay.messages(MessageQuery(recipient="person:ann", oldest_first=True))
    assert [record.message.id for record in found] == sorted(sent) and len(sent) == 30


async def test_a_stop_is_in_order_and_the_next_start_is_the_same_relay(tmp_path: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        with running(tmp_path) as (process, file):
            async with relay_of(file) as relay:
                await relay.send(NewMessage(to="person:ann", body="x"))
                process.send_signal(number)
                assert process.wait(WAIT_S) == 0
        assert not (tmp_path / "relay.db-wal").exists()
        with running(tmp_path) as (_, again):
            assert (again.url, again.relay_id) == (file.url, file.relay_id)
            assert again.operator_token != file.operator_token
            async with relay_of(file) as old, relay_of(again) as new:
                with pytest.raises(RelayUnauthorized):
                    await old.messages(MessageQuery())
                assert await new.messages(MessageQuery())


async def test_a_stop_does_not_wait_for_those_who_listen(tmp_path: Path) -> None:
    with running(tmp_path) as (process, file):
        async with relay_of(file) as relay:
            events = aiter(relay.events(after=0))
            await relay.send(NewMessage(to="person:ann", body="x"))
            await anext(events)
            process.terminate()
            assert process.wait(WAIT_S) == 0
            await events.aclose()  # type: ignore[attr-defined]


def test_files_are_private(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(home):
        assert home.stat().st_mode & 0o777 == 0o700
        for file in home.iterdir():
            assert file.stat().st_mode & 0o077 == 0, file


def test_a_second_relay_says_who_runs(tmp_path: Path) -> None:
    with running(tmp_path) as (process, file):
        command = [sys.executable, "-m", "relay_runner.server", "--home", str(tmp_path)]
        second = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S)
        assert second.returncode == 1
        assert second.stderr.count("\n") == 1
        assert str(process.pid) in second.stderr and file.url in second.stderr and "relay stop" in second.stderr


async def test_a_port_that_is_taken_is_left_alone(tmp_path: Path) -> None:
    with running(tmp_path) as (_, file):
        port = int(file.url.rpartition(":")[2])
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", port))
        squatter.listen()
        with running(tmp_path) as (_, moved):
            assert moved.url != file.url
            async with relay_of(moved) as relay:
                assert (await relay.health())["status"] == "ok"
        with pytest.raises(ConfigError, match=str(port)):
            serve(Paths(tmp_path, tmp_path), port=port)
        with pytest.raises(OSError, match="in use"):
            bind("127.0.0.1", port)


def test_a_broken_store_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "relay.db").write_bytes(b"this is not a database, whatever its name says" * 100)
    command = [sys.executable, "-m", "relay_runner.server", "--home", str(tmp_path)]
    process = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S)
    assert process.returncode == 1
    assert "relay.db" in process.stderr and "Traceback" not in process.stderr


def test_another_address_is_warned_about(tmp_path: Path) -> None:
    with running(tmp_path, "--host", "0.0.0.0") as (process, file):
        assert file.url.startswith("http://127.0.0.1:")
        process.terminate()
        assert process.stderr is not None
        assert "listens on 0.0.0.0" in process.stderr.read()


def test_a_relay_file_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    assert read_relay_file(tmp_path / "relay.json") is None
    (tmp_path / "relay.json").write_text("{")
    assert read_relay_file(tmp_path / "relay.json") is None


async def test_the_settings_say_what_the_relay_takes_and_grants(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELAY_RUNNER_HOME", str(tmp_path))
    (tmp_path / "config.toml").write_text("max_attachment_mib = 2\nlease_s = 30")
    with running(tmp_path) as (_, file):
        async with relay_of(file) as relay, relay.connect(hello("bob")) as bus:
            assert (await relay.attachment_limits()).max_bytes == 2 * 1024 * 1024
            assert bus.welcome.lease_s == 30.0


async def test_half_sent_requests_do_not_stop_a_relay_that_may_open_few_files(tmp_path: Path) -> None:
    few = ("sh", "-c", 'ulimit -n 256 && exec "$0" "$@"')
    with running(tmp_path, within=few) as (process, file):
        port = int(file.url.rpartition(":")[2])
        writers = []
        for _ in range(300):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
            writers.append(writer)
        async with relay_of(file) as relay:
            await relay.send(NewMessage(to="person:ann", body="x"))
            assert len(await relay.messages(MessageQuery())) == 1
        for writer in writers:
            writer.close()
        process.terminate()
        assert process.wait(WAIT_S) == 0


async def test_a_relay_outlives_whoever_started_it(tmp_path: Path) -> None:
    """Its starter is gone before it is ready, and nobody reads what it logs."""
    unread = []
    for _ in range(2):
        reading, writing = os.pipe()
        os.close(reading)
        unread.append(writing)
    ready, stderr = unread
    command = [sys.executable, "-m", "relay_runner.server", "--home", str(tmp_path), "--ready-fd", str(ready)]
    with subprocess.Popen(command, pass_fds=(ready,), stderr=stderr) as process:
        for writing in unread:
            os.close(writing)
        try:
            async with asyncio.timeout(WAIT_S):
                while (file := read_relay_file(tmp_path / "relay.json")) is None:
                    assert process.poll() is None
                    await asyncio.sleep(0.02)
            async with relay_of(file) as relay:
                await relay.send(NewMessage(to="person:ann", body="x"))
                assert len(await relay.messages(MessageQuery())) == 1
            process.terminate()
            assert process.wait(WAIT_S) == 0
        finally:
            process.kill()
