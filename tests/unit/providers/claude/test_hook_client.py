"""The hook program as Claude Code runs it: a process of its own against a scripted control server."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from relay_runner.providers.claude import hook_client
from relay_runner.terminal import processes
from tests.terminals import listening, sockets, until

pytestmark = pytest.mark.anyio
__all__ = ["sockets"]
SCRIPT = str(Path(hook_client.__file__))
Answer = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any] | None]]
PATIENCE_S = 20.0


@dataclass
class Control:
    """Answer hooks by a function; None means to hang up without an answer."""

    folder: Path
    answer: Answer
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    port: int = 0
    at: Path | None = None
    """A unix socket to listen at, in place of the port."""
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    _serving: set[asyncio.Task[Any]] = field(default_factory=set)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Control]:
        """Listen on the same port every time, and say so in control.json."""
        if self.at is not None:
            server: asyncio.Server = await asyncio.start_unix_server(self._serve, self.at)
        else:
            server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
            self.port = server.sockets[0].getsockname()[1]
        self.save("p1")
        try:
            yield self
        finally:
            server.close()
            self.closing.set()
            async with asyncio.timeout(PATIENCE_S):
                await asyncio.gather(*self._serving)
                await server.wait_closed()
            self.closing.clear()

    async def hold(self) -> None:
        """Keep a caller waiting until the server closes."""
        await self.closing.wait()

    def save(self, process: str) -> None:
        """Put a process on record."""
        record: dict[str, Any] = {"url": "x", "port": self.port, "secret": "s3cret", "providerSessionId": process}
        if self.at is not None:
            record["socket"] = str(self.at)
        (self.folder / "control.json").write_text(json.dumps(record))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        length = int(next(line for line in head.split("\r\n") if line.startswith("Content-Length")).split(":")[1])
        name = head.split(" ")[1].removeprefix("/hooks/")
        payload = json.loads(await reader.readexactly(length))
        self.calls.append((name, payload))
        reply = await self.answer(name, payload)
        if reply is not None:
            body = json.dumps(reply).encode()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


def environ(folder: Path) -> dict[str, str]:
    return {"AGENT_RELAY_CONTEXT_STATE_DIR": str(folder), "AGENT_RELAY_PROVIDER_SESSION_ID": "p1", "PATH": os.defpath}


async def start(folder: Path, *arguments: str, via: tuple[str, ...] = ()) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *via,
        sys.executable,
        "-S",
        "-E",
        SCRIPT,
        *arguments,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environ(folder),
    )


async def run(folder: Path, *arguments: str, stdin: bytes = b"") -> tuple[int | None, bytes, bytes]:
    process = await start(folder, *arguments)
    out, err = await asyncio.wait_for(process.communicate(stdin), PATIENCE_S)
    return process.returncode, out, err


async def nothing(name: str, payload: dict[str, Any]) -> dict[str, Any]:
    return {}


async def offers(name: str, payload: dict[str, Any]) -> dict[str, Any]:
    return {"nonce": "n1", "text": "a message\twith “everything” 🎉\n"} if name == "rewake" else {"granted": True}


async def test_an_event_is_passed_on_and_its_answer_back(tmp_path: Path) -> None:
    async def answer(name: str, payload: dict[str, Any]) -> dict[str, Any]:
        return {"echo": payload}

    async with Control(tmp_path, answer).listening() as control:
        code, out, _ = await run(tmp_path, "event", "SessionStart", stdin=b'{"source": "startup"}')
        assert (code, json.loads(out)) == (0, {"echo": {"source": "startup"}})
        assert control.calls == [("SessionStart", {"source": "startup"})]
        assert "Authorization: Bearer s3cret\r\n" in control.heads[0]
        assert "X-Relay-Process: p1\r\n" in control.heads[0]


async def test_the_unix_socket_is_used_where_there_is_one(tmp_path: Path, sockets: Path) -> None:
    with listening() as stranger:  # whoever has the port hears nothing
        control = Control(tmp_path, offers, port=stranger.getsockname()[1], at=sockets / "x.ctl")
        async with control.listening():
            assert (await run(tmp_path, "event", "SessionStart", stdin=b"{}"))[0] == 0
            assert (await run(tmp_path, "rewake"))[0] == 2
        assert [name for name, _ in control.calls] == ["SessionStart", "rewake", "rewake-taken"]
        stranger.setblocking(False)
        with pytest.raises(BlockingIOError):
            stranger.accept()


async def test_an_event_without_a_runner_waits_at_the_port_that_is_held(tmp_path: Path, sockets: Path) -> None:
    with listening() as held:
        control = Control(tmp_path, nothing, port=held.getsockname()[1], at=sockets / "x.ctl")
        async with control.listening():
            pass  # it ran, and is gone
        process = await start(tmp_path, "event", "SessionStart")
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(b'{"source": "clear"}')
        process.stdin.close()
        caller, _ = await asyncio.to_thread(held.accept)  # by the runner that has come
        with caller:
            said = await asyncio.to_thread(caller.recv, 65536)
            while not said.endswith(b"}"):
                said += await asyncio.to_thread(caller.recv, 65536)
            caller.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"a":"b"}')
        assert b"POST /hooks/SessionStart " in said and said.endswith(b'{"source": "clear"}')
        assert json.loads(await asyncio.wait_for(process.stdout.read(), PATIENCE_S)) == {"a": "b"}
        assert await process.wait() == 0


async def test_a_socket_that_was_removed_leaves_the_port(tmp_path: Path, sockets: Path) -> None:
    control = Control(tmp_path, nothing)
    async with control.listening():
        control.at = sockets / "gone.ctl"
        control.save("p1")
        assert (await run(tmp_path, "event", "SessionStart", stdin=b"{}"))[0] == 0
    assert [name for name, _ in control.calls] == ["SessionStart"]


async def test_another_users_socket_hears_nothing(
    tmp_path: Path, sockets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hook_client, "peer_uid", lambda connection: os.getuid() + 1)
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.bind(str(sockets / "x.ctl"))
        stranger.listen()
        with pytest.raises(hook_client.Unreachable):
            hook_client.connect({"socket": str(sockets / "x.ctl"), "port": 1}, wait=False)
        with stranger.accept()[0] as caller:
            assert caller.recv(10) == b""


async def test_an_empty_answer_prints_nothing(tmp_path: Path) -> None:
    async with Control(tmp_path, nothing).listening():
        assert await run(tmp_path, "event", "SessionStart", stdin=b"{}") == (0, b"", b"")


async def test_without_a_runner_an_event_is_silent(tmp_path: Path) -> None:
    control = Control(tmp_path, nothing)
    async with control.listening():
        pass
    assert await run(tmp_path, "event", "SessionStart", stdin=b"{}") == (0, b"", b"")
    (tmp_path / "control.json").write_text("[]")
    assert await run(tmp_path, "event", "SessionStart", stdin=b"{}") == (0, b"", b"")
    (tmp_path / "control.json").unlink()
    assert await run(tmp_path, "event", "SessionStart", stdin=b"{}") == (0, b"", b"")


def test_outside_of_a_runner_it_does_nothing() -> None:
    done = subprocess.run([sys.executable, SCRIPT, "rewake"], env={}, capture_output=True, timeout=20, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


async def test_a_hook_of_an_older_process_is_silent(tmp_path: Path) -> None:
    async with Control(tmp_path, offers).listening() as control:
        control.save("p2")
        assert await run(tmp_path, "event", "SessionStart", stdin=b"{}") == (0, b"", b"")
        assert await run(tmp_path, "rewake") == (0, b"", b"")
        assert control.calls == []


async def test_wrong_usage_is_said(tmp_path: Path) -> None:
    code, _, err = await run(tmp_path, "what")
    assert code == 1
    assert b"usage" in err


async def test_a_message_is_written_after_its_grant(tmp_path: Path) -> None:
    async with Control(tmp_path, offers).listening() as control:
        code, out, err = await run(tmp_path, "rewake")
        assert (code, out, err.decode()) == (2, b"", "a message\twith “everything” 🎉\n")
        assert [name for name, _ in control.calls] == ["rewake", "rewake-taken"]
        assert control.calls[1][1]["nonce"] == "n1"
        assert control.calls[0][1]["pid"] == control.calls[1][1]["pid"]


async def test_a_large_message_is_written_whole(tmp_path: Path) -> None:
    text = "é" * 2_000_000

    async def answer(name: str, payload: dict[str, Any]) -> dict[str, Any]:
        return {"nonce": "n1", "text": text} if name == "rewake" else {"granted": True}

    async with Control(tmp_path, answer).listening():
        code, _, err = await run(tmp_path, "rewake")
        assert (code, err.decode()) == (2, text)


@pytest.mark.parametrize("refusal", [{"granted": False}, {}, None])
async def test_without_a_grant_nothing_is_written(tmp_path: Path, refusal: dict[str, Any] | None) -> None:
    asked = asyncio.Event()

    async def answer(name: str, payload: dict[str, Any]) -> dict[str, Any] | None:
        if name == "rewake-taken":
            return refusal
        if len([one for one, _ in control.calls if one == "rewake"]) > 1:
            asked.set()
            await control.hold()
        return {"nonce": "n1", "text": "secret"}

    control = Control(tmp_path, answer)
    async with control.listening():
        process = await start(tmp_path, "rewake")
        async with asyncio.timeout(PATIENCE_S):
            await asked.wait()  # it came back for another message
        process.terminate()
        _, err = await process.communicate()
        assert err == b""


async def test_one_poller_of_a_process_is_enough(tmp_path: Path) -> None:
    waiting = asyncio.Event()

    async def answer(name: str, payload: dict[str, Any]) -> dict[str, Any]:
        waiting.set()
        await control.hold()
        return {}

    control = Control(tmp_path, answer)
    async with control.listening():
        first = await start(tmp_path, "rewake")
        async with asyncio.timeout(PATIENCE_S):
            await waiting.wait()
        assert await run(tmp_path, "rewake") == (0, b"", b"")
        assert len(control.calls) == 1
        first.terminate()
        await first.communicate()


async def test_it_finds_the_next_runner(tmp_path: Path) -> None:
    called = asyncio.Event()

    async def hangs_up(name: str, payload: dict[str, Any]) -> None:
        called.set()

    control = Control(tmp_path, hangs_up)
    async with control.listening():
        process = await start(tmp_path, "rewake")
        async with asyncio.timeout(PATIENCE_S):
            await called.wait()
    control.answer = offers
    async with control.listening():
        _, err = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    assert (process.returncode, err[:9]) == (2, b"a message")


async def test_it_goes_when_the_provider_is_gone(tmp_path: Path) -> None:
    """A shell stands for the provider: it starts the poller and is killed."""
    polled = asyncio.Event()

    async def answer(name: str, payload: dict[str, Any]) -> dict[str, Any]:
        polled.set()
        await control.hold()
        return {}

    control = Control(tmp_path, answer)
    async with control.listening():
        shell = await start(tmp_path, "rewake", via=("/bin/sh", "-c", '"$@"; :', "sh"))
        async with asyncio.timeout(PATIENCE_S):
            await polled.wait()
        pid = control.calls[0][1]["pid"]
        shell.kill()
        await shell.communicate()
        await until(lambda: processes.identity(pid) is None)


def test_only_complete_answers_count() -> None:
    assert hook_client.answer(b'HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{"a":1}') == {"a": 1}
    assert hook_client.answer(b"HTTP/1.1 204 No Content\r\n\r\n") == {}
    assert hook_client.answer(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]") == {}
    for data in (
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"a":1}',
        b"HTTP/1.1 500 Oops\r\ncontent-length: 2\r\n\r\n{}",
    ):
        with pytest.raises(hook_client.Unreachable):
            hook_client.answer(data)


def test_it_imports_nothing_heavy() -> None:
    """It is started at every prompt and turn's end: what it costs, every turn costs."""
    code = f"import sys; sys.argv=['x']; exec(open({SCRIPT!r}).read().split('if __name__')[0]); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-S", "-E", "-c", code], capture_output=True, text=True, check=True, timeout=20
    )
    assert not {"asyncio", "typing", "http", "httpx", "urllib", "subprocess", "ctypes"} & set(done.stdout.split())


# --- the status line --------------------------------------------------------------------------------------------------


def own_line(folder: Path, place: str, command: str) -> None:
    file = folder / place
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"statusLine": {"type": "command", "command": command}}))


async def line(folder: Path, sources: str = "local,project,user", **status: Any) -> tuple[int | None, bytes, bytes]:
    payload = {"workspace": {"project_dir": str(folder / "work")}, **status}
    environment = {**environ(folder), "HOME": str(folder)}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-S", "-E", SCRIPT, "statusline", sources),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    )
    out, err = await asyncio.wait_for(process.communicate(json.dumps(payload).encode()), PATIENCE_S)
    return process.returncode, out, err


async def test_the_status_reaches_the_runner_and_the_users_own_line_is_shown(tmp_path: Path) -> None:
    own_line(tmp_path, ".claude/settings.json", "echo mine; cat; exit 3")
    async with Control(tmp_path, nothing).listening() as control:
        code, out, err = await line(tmp_path, model={"id": "opus"})
        assert (code, err) == (3, b"")
        assert out.startswith(b"mine\n")
        assert json.loads(out.partition(b"\n")[2])["model"] == {"id": "opus"}
        ((name, payload),) = control.calls
        assert (name, payload["model"]) == ("StatusLine", {"id": "opus"})


async def test_a_user_without_a_status_line_sees_none(tmp_path: Path) -> None:
    async with Control(tmp_path, nothing).listening() as control:
        assert await line(tmp_path) == (0, b"", b"")
        assert len(control.calls) == 1


async def test_the_nearest_settings_file_counts_and_only_those_that_are_asked_for(tmp_path: Path) -> None:
    for place, word in (
        (".claude/settings.json", "user"),
        ("work/.claude/settings.json", "project"),
        ("work/.claude/settings.local.json", "local"),
    ):
        own_line(tmp_path, place, f"echo {word}")
        assert (await line(tmp_path))[1] == f"{word}\n".encode()
    assert (await line(tmp_path, "user"))[1] == b"user\n"
    assert (await line(tmp_path, "-"))[1] == b""
    (tmp_path / "work/.claude/settings.local.json").write_text("not json")
    assert (await line(tmp_path))[1] == b"project\n"


async def test_without_a_runner_the_users_own_line_is_shown_all_the_same(tmp_path: Path) -> None:
    own_line(tmp_path, ".claude/settings.json", "echo mine")
    assert await line(tmp_path) == (0, b"mine\n", b"")


async def test_it_never_becomes_itself(tmp_path: Path) -> None:
    own_line(tmp_path, ".claude/settings.json", "relay-runner-hook statusline user")
    assert await line(tmp_path) == (0, b"", b"")
