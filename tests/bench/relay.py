"""How many durable messages a second the embedded relay takes, with 50 agents connected; beside its floor.

    python -m tests.bench.relay [--seconds 5] [--connections 32] [--agents 50] [--json]

Four processes, as in real life: the relay, what posts to it (plain sockets with keep-alive, so that the measuring
costs little), what listens on its bus, and, in a run of its own, the floor: the same uvicorn answering an empty 201 to
the same posts. Every message counted was answered 201, so it was on the disk; afterwards the store is asked whether all
are there, and the listeners whether all were pushed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from relay_runner.protocol.calls import API, RelayFile
from relay_runner.protocol.frames import Hello, MessageNew
from relay_runner.protocol.wire import decode

WARM_UP_S = 1.0
READY_S = 30.0
BODY = "Please look at the failing test in tests/unit and say what you would change, and why. " * 3


@dataclass(frozen=True)
class Posted:
    """What one run of the poster measured."""

    per_s: float
    p50_ms: float
    p99_ms: float
    count: int


@dataclass(frozen=True)
class Figures:
    """What the benchmark reports."""

    messages_per_s: float
    floor_per_s: float
    ratio: float
    p50_ms: float
    p99_ms: float
    stored: int
    pushed: int
    rss_idle_mib: float
    rss_mib: float
    agents: int
    connections: int
    relay_cpu_us_per_message: float


class Poster(asyncio.Protocol):
    """One connection that posts, waits for the answer, and posts again."""

    def __init__(self, requests: list[bytes], times: list[tuple[float, float]]) -> None:
        self._requests = requests
        self._times = times
        self._next = 0
        self._buffer = b""
        self._sent_at = 0.0
        self.going = True
        self.idle = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._post()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, rest = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        if len(rest) < length:
            return
        if not head.startswith(b"HTTP/1.1 201"):
            raise AssertionError(self._buffer[:500])
        self._buffer = rest[length:]
        now = time.perf_counter()
        self._times.append((now, now - self._sent_at))
        self._post()

    def _post(self) -> None:
        if not self.going:
            self.idle.set()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(self._requests[self._next])
        self._next = (self._next + 1) % len(self._requests)

    def stop(self) -> None:
        """Post no more once the answer under way has come."""
        self.going = False


async def post(url: str, token: str, agents: int, connections: int, seconds: float) -> Posted:
    """Post to all agents in turn over several connections; measure after a warm-up."""
    host, port = url.removeprefix("http://").split(":")
    requests = [_request(host, token, f"agent-{number}") for number in range(agents)]
    times: list[tuple[float, float]] = []
    loop = asyncio.get_running_loop()
    posters = []
    for number in range(connections):
        shifted = requests[number % agents :] + requests[: number % agents]
        _, poster = await loop.create_connection(lambda r=shifted: Poster(r, times), host, int(port))  # type: ignore[misc]
        posters.append(poster)
    await asyncio.sleep(WARM_UP_S + seconds)
    for poster in posters:
        poster.stop()
    async with asyncio.timeout(READY_S):
        for poster in posters:
            await poster.idle.wait()
    begin = times[0][0] + WARM_UP_S
    counted = [(at, took) for at, took in times if begin <= at < begin + seconds]
    took = sorted(took for _, took in counted)
    return Posted(len(counted) / seconds, took[len(took) // 2] * 1e3, took[int(len(took) * 0.99)] * 1e3, len(times))


def _request(host: str, token: str, agent_id: str) -> bytes:
    body = json.dumps({"to": agent_id, "body": BODY}).encode()
    head = (
        f"POST {API}/messages HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def listen(url: str, token: str, agents: int) -> None:
    """Hold the buses of all agents; write what came to standard output at SIGTERM."""
    from relay_runner.relay.http import HttpRelay

    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    count = 0

    async def hold(number: int, up: asyncio.Semaphore) -> None:
        nonlocal count
        hello = Hello(
            agent_id=f"agent-{number}",
            instance_id="bench",
            runner_id=f"bench-{number}",
            provider="demo",
            machine="bench",
            version="0",
        )
        async with HttpRelay.at(url, token) as relay, relay.connect(hello) as bus:
            up.release()
            async for frame in bus:
                count += isinstance(frame, MessageNew)

    up = asyncio.Semaphore(0)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(hold(number, up)) for number in range(agents)]
        for _ in tasks:
            await up.acquire()
        _say("ready")
        await ended.wait()
        settled = -1
        while settled != count:  # what was pushed last may still be on its way
            settled = count
            await asyncio.sleep(0.3)
        for task in tasks:
            task.cancel()
    _say(str(count))


def floor(port: int) -> None:
    """Serve the cheapest answer that this uvicorn can give."""
    import uvicorn

    from relay_runner.server.http import read_body
    from relay_runner.server.serve import server_config

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await read_body(scope, receive)
        await send({"type": "http.response.start", "status": 201, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    config = server_config(application)
    config.port = port
    uvicorn.Server(config).run()


def measure(seconds: float, connections: int, agents: int) -> Figures:
    """Run everything and return the figures."""
    with tempfile.TemporaryDirectory() as folder, _floor() as floor_url:
        bottom = asyncio.run(post(floor_url, "none", agents, connections, seconds))
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with _relay(home) as (file, pid):
            idle = _rss_mib(pid)
            with _listeners(file, agents) as listeners:
                cpu = _cpu_s(pid)
                posted = asyncio.run(post(file.url, file.operator_token, agents, connections, seconds))
                used = _cpu_s(pid) - cpu
                rss = _rss_mib(pid)
                listeners.terminate()
                pushed = int(listeners.communicate(timeout=READY_S)[0].split()[-1])
        with sqlite3.connect(home / "relay.db") as store:
            stored = store.execute("SELECT count(*) FROM messages").fetchone()[0]
        store.close()
    if not stored == posted.count == pushed:
        raise AssertionError(f"answered {posted.count}, stored {stored}, pushed {pushed}")
    return Figures(
        messages_per_s=round(posted.per_s, 1),
        floor_per_s=round(bottom.per_s, 1),
        ratio=round(bottom.per_s / posted.per_s, 2),
        p50_ms=round(posted.p50_ms, 2),
        p99_ms=round(posted.p99_ms, 2),
        stored=stored,
        pushed=pushed,
        rss_idle_mib=round(idle, 1),
        rss_mib=round(rss, 1),
        agents=agents,
        connections=connections,
        relay_cpu_us_per_message=round(used / posted.count * 1e6, 1),
    )


@contextmanager
def _relay(home: Path) -> Iterator[tuple[RelayFile, int]]:
    reader, writer = os.pipe()
    command = [sys.executable, "-m", "relay_runner.server", "--home", str(home), "--ready-fd", str(writer)]
    with subprocess.Popen(command, pass_fds=(writer,), stderr=subprocess.DEVNULL) as process:
        os.close(writer)
        with os.fdopen(reader) as ready:
            ready.readline()
        try:
            yield decode((home / "relay.json").read_bytes(), RelayFile), process.pid
        finally:
            process.terminate()


@contextmanager
def _floor() -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with subprocess.Popen([sys.executable, "-m", "tests.bench.relay", "--floor", str(port)]) as process:
        deadline = time.monotonic() + READY_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


@contextmanager
def _listeners(file: RelayFile, agents: int) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.bench.relay", "--listen", file.url, "--agents", str(agents)]
    env = {**os.environ, "BENCH_TOKEN": file.operator_token}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def _rss_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    """Measure and print, or be one of the processes of a measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--agents", type=int, default=50)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--floor", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--listen", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.floor is not None:
        floor(options.floor)
    elif options.listen is not None:
        asyncio.run(listen(options.listen, os.environ["BENCH_TOKEN"], options.agents))
    else:
        figures = measure(options.seconds, options.connections, options.agents)
        _say(
            json.dumps(asdict(figures))
            if options.json
            else "\n".join(f"{k:26} {v}" for k, v in asdict(figures).items())
        )


if __name__ == "__main__":
    main()
