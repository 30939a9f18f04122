import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from msgspec.structs import replace

from relay_runner.log import redact
from relay_runner.protocol.agents import WorkKind
from relay_runner.protocol.control import Attach, ControlEndpoint, StatusAnswer, StatusPost
from relay_runner.protocol.shape import CUT
from relay_runner.protocol.wire import decode, encode
from relay_runner.providers.base import HookCall, HookReply
from relay_runner.relay.memory.relay import MemoryRelay
from relay_runner.runner.control import MAX_BODY_BYTES, MAX_STATUS_BYTES, PORTS, ControlServer
from tests.scripted import ScriptedProcess
from tests.terminals import connected, listening, sockets, until

pytestmark = pytest.mark.anyio
__all__ = ["sockets"]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ControlServer]:
    control = ControlServer(MemoryRelay(), tmp_path / "control.json", status=lambda: b'{"agentStatus":"idle"}')
    control.bind(None)
    control.new_process()
    async with control.running():
        yield control


def _client(control: ControlServer, **changes: str) -> httpx.AsyncClient:
    headers = {
        "Authorization": f"Bearer {control.endpoint.secret}",
        "X-Relay-Process": control.endpoint.provider_session_id,
        **changes,
    }
    return httpx.AsyncClient(base_url=control.endpoint.url, headers=headers, timeout=20)


async def test_the_port_is_below_the_ephemeral_range_and_the_file_is_private(
    server: ControlServer, tmp_path: Path
) -> None:
    file = tmp_path / "control.json"
    assert server.endpoint.port in PORTS
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert decode(file.read_bytes(), ControlEndpoint) == server.endpoint


async def test_a_hook_reaches_the_process_and_its_answer_comes_back(server: ControlServer) -> None:
    process = ScriptedProcess()

    async def answer(call: HookCall) -> HookReply:
        return HookReply({"saw": call.payload["a"]})

    process.answer_hook = answer
    with server.serving(process):
        async with _client(server) as client:
            response = await client.post("/hooks/Stop", json={"a": 1})
    assert (response.status_code, response.json()) == (200, {"saw": 1})
    assert process.hooks[0].name == "Stop"


async def test_a_hook_with_half_a_character_in_it_reaches_the_process(server: ControlServer) -> None:
    process = ScriptedProcess()
    with server.serving(process):
        async with _client(server) as client:
            assert (await client.post("/hooks/Stop", content=rb'{"a": "cut \ud83d"}')).status_code == 200
    assert process.hooks[0].payload == {"a": "cut ?"}


async def test_a_hook_of_another_process_is_dropped(server: ControlServer) -> None:
    process = ScriptedProcess()
    with server.serving(process):
        async with _client(server, **{"X-Relay-Process": "an-older-one"}) as client:
            response = await client.post("/hooks/Stop", json={})
    assert (response.status_code, response.json()) == (200, {})
    assert process.hooks == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": ""}, 401),
        ({"Host": "evil.example"}, 403),
        ({"Origin": "http://127.0.0.1"}, 403),
    ],
)
async def test_nobody_else_gets_in(server: ControlServer, headers: dict[str, str], status: int) -> None:
    async with _client(server, **headers) as client:
        for path in ("/healthz", "/status", "/terminal", "/api/v1/agents", "/nothing"):
            response = await client.get(path)
            assert response.status_code == status
            assert response.json()["error"]["message"]


async def test_the_secret_of_an_older_process_is_worth_nothing(server: ControlServer) -> None:
    async with _client(server) as client:
        server.new_process()
        assert (await client.get("/healthz")).status_code == 401


async def test_a_body_without_end_is_refused_in_one_line(server: ControlServer) -> None:
    with server.serving(ScriptedProcess()):
        async with _client(server) as client:
            response = await client.post("/hooks/Stop", content=b"x" * (MAX_BODY_BYTES + 1))
    assert response.status_code == 400
    assert "larger than" in response.json()["error"]["message"]


async def test_a_body_that_is_no_json_is_refused_in_one_line(server: ControlServer) -> None:
    with server.serving(ScriptedProcess()):
        async with _client(server) as client:
            response = await client.post("/hooks/Stop", content=b"{")
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "protocol"


async def test_a_waiting_hook_learns_that_its_caller_hung_up(server: ControlServer) -> None:
    process, gone, waiting = ScriptedProcess(), asyncio.Event(), asyncio.Event()

    async def answer(call: HookCall) -> HookReply:
        waiting.set()
        await call.gone.wait()
        gone.set()
        return HookReply()

    process.answer_hook = answer
    with server.serving(process):
        async with _client(server) as client, asyncio.TaskGroup() as group:
            call = group.create_task(client.post("/hooks/rewake", json={}))
            await asyncio.wait_for(waiting.wait(), 10)
            call.cancel()
            await asyncio.wait_for(gone.wait(), 10)


async def test_the_port_of_a_live_process_is_taken_again_or_said_to_be_gone(tmp_path: Path) -> None:
    first = ControlServer(MemoryRelay(), tmp_path / "a.json", status=lambda: b"{}")
    first.bind(None)
    saved = first.new_process()
    second = ControlServer(MemoryRelay(), tmp_path / "b.json", status=lambda: b"{}")
    assert second.bind(saved) is False
    assert second.endpoint.port != saved.port
    async with first.running(), second.running():
        pass
    third = ControlServer(MemoryRelay(), tmp_path / "c.json", status=lambda: b"{}")
    assert third.bind(saved) is True
    assert third.endpoint == saved
    async with third.running(), _client(third) as client:
        assert (await client.get("/healthz")).json() == {"status": "ok"}


async def test_the_socket_that_was_held_is_served_with_what_waited_in_it(tmp_path: Path) -> None:
    first = ControlServer(MemoryRelay(), tmp_path / "a.json", status=lambda: b"{}")
    first.bind(None)
    saved = first.new_process()
    assert first.listener is not None
    held = first.listener.dup()  # as the program's shells have it
    first.listener.close()  # the runner died

    async def hook() -> httpx.Response:
        headers = {"Authorization": f"Bearer {saved.secret}", "X-Relay-Process": saved.provider_session_id}
        async with httpx.AsyncClient(timeout=20) as client:
            return await client.post(f"{saved.url}/hooks/Stop", headers=headers, json={"a": 1})

    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(hook())
        await until(lambda: connected(saved.port))
        second = ControlServer(MemoryRelay(), tmp_path / "b.json", status=lambda: b"{}")
        assert second.bind(saved, held) is True
        async with second.running():
            assert not waiting.done(), "it waits until there is a process to pass it on to"
            process = ScriptedProcess()
            with second.serving(process):
                assert (await waiting).status_code == 200
    assert [(call.name, call.payload) for call in process.hooks] == [("Stop", {"a": 1})]


async def test_a_hook_whose_caller_gave_up_before_there_was_a_runner_is_dropped(
    server: ControlServer, caplog: pytest.LogCaptureFixture
) -> None:
    process = ScriptedProcess()
    caplog.set_level("INFO")
    head = (
        f"POST /hooks/Stop HTTP/1.1\r\nHost: 127.0.0.1:{server.endpoint.port}\r\nContent-Length: 2\r\n"
        f"Authorization: Bearer {server.endpoint.secret}\r\n"
        f"X-Relay-Process: {server.endpoint.provider_session_id}\r\n\r\n{{}}"
    )
    with server.serving(process):
        # All before the event loop can accept it, as while no runner is there.
        with socket.create_connection(("127.0.0.1", server.endpoint.port)) as caller:
            caller.sendall(head.encode())
        await until(lambda: "gave up" in caplog.text)
    assert process.hooks == []


async def test_a_socket_of_another_port_is_not_served(tmp_path: Path) -> None:
    saved = ControlEndpoint(url="http://127.0.0.1:1", port=1, secret="s" * 20, provider_session_id="p")
    other = listening()
    control = ControlServer(MemoryRelay(), tmp_path / "c.json", status=lambda: b"{}")
    control.bind(saved, other)
    assert other.fileno() == -1
    async with control.running():
        pass


async def test_it_listens_at_a_unix_socket_too(tmp_path: Path, sockets: Path) -> None:
    at = sockets / "x.ctl"
    at.touch()  # what a runner that was killed left there
    control = ControlServer(MemoryRelay(), tmp_path / "c.json", status=lambda: b"{}", at=at)
    control.bind(None)
    control.new_process()
    assert decode((tmp_path / "c.json").read_bytes(), ControlEndpoint).socket == str(at)
    async with control.running():
        assert stat.S_IMODE(at.stat().st_mode) == 0o600
        transport = httpx.AsyncHTTPTransport(uds=str(at))
        headers = {"Authorization": f"Bearer {control.endpoint.secret}"}
        async with httpx.AsyncClient(transport=transport, base_url=control.endpoint.url) as client:
            assert (await client.get("/healthz", headers=headers)).json() == {"status": "ok"}
            assert (await client.get("/healthz")).status_code == 401
    assert not at.exists()


async def test_another_user_is_cut_off_at_the_unix_socket(
    tmp_path: Path, sockets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay_runner.runner.control.peer_uid", lambda connection: os.getuid() + 1)
    control = ControlServer(MemoryRelay(), tmp_path / "c.json", status=lambda: b"{}", at=sockets / "x.ctl")
    control.bind(None)
    control.new_process()
    async with control.running():
        headers = {"Authorization": f"Bearer {control.endpoint.secret}"}
        transport = httpx.AsyncHTTPTransport(uds=str(sockets / "x.ctl"))
        async with httpx.AsyncClient(transport=transport, base_url=control.endpoint.url, headers=headers) as client:
            with pytest.raises(httpx.TransportError):
                await client.get("/healthz")


async def test_who_comes_after_it_left_waits_for_the_next_runner(server: ControlServer) -> None:
    assert server.listener is not None
    held = server.listener.dup()
    server.leave()
    with held, socket.create_connection(("127.0.0.1", server.endpoint.port)) as caller:
        caller.sendall(b"x")
        held.setblocking(True)
        accepted, _ = await asyncio.to_thread(held.accept)
        with accepted:
            assert accepted.recv(1) == b"x"


async def test_the_status_can_be_asked(server: ControlServer) -> None:
    async with _client(server) as client:
        assert (await client.get("/status")).json() == {"agentStatus": "idle"}


async def test_how_its_terminal_is_shown_can_be_asked(server: ControlServer) -> None:
    async with _client(server) as client:
        assert (await client.get("/terminal")).status_code == 404
        server.terminal = lambda: Attach(kind="tmux", machine="here", columns=80, rows=24, command=("tmux", "attach"))
        told = (await client.get("/terminal")).json()
        assert (told["kind"], told["columns"], told["command"]) == ("tmux", 80, ["tmux", "attach"])


async def test_a_script_inside_posts_what_it_does(server: ControlServer) -> None:
    posts: list[StatusPost] = []

    def take(post: StatusPost) -> StatusAnswer:
        posts.append(post)
        return StatusAnswer(accepted=True)

    server.on_status = take
    async with _client(server) as client:
        post = {"status": "busy", "reason": "subagent", "id": "b1", "parentId": "t1", "clear": ["provider-turn"]}
        answered = await client.post("/status", json=post)
        assert (answered.status_code, answered.json()) == (200, {"accepted": True, "reason": None})
        assert (posts[0].reason, posts[0].parent_id, posts[0].clear) == (WorkKind.SUBAGENT, "t1", (WorkKind.TURN,))
        for wrong in ({"status": "sleeping"}, {}, {"status": "busy", "reason": "tea"}):
            assert (await client.post("/status", json=wrong)).status_code == 400
        large = {"status": "busy", "label": "x" * MAX_STATUS_BYTES}
        assert (await client.post("/status", json=large)).status_code == 400
    async with _client(server, Authorization="Bearer wrong") as stranger:
        assert (await stranger.post("/status", json=post)).status_code == 401
    assert len(posts) == 1


async def test_its_secrets_never_stand_in_a_log(tmp_path: Path) -> None:
    server = ControlServer(MemoryRelay(), tmp_path / "control.json", status=lambda: b"{}")
    server.bind(None)
    made = server.new_process()
    assert made.secret not in redact(f"curl says {made.secret}")
    server._socket.close()  # type: ignore[union-attr]
    again = ControlServer(MemoryRelay(), tmp_path / "control.json", status=lambda: b"{}")
    saved = replace(made, secret="the-secret-of-a-process-that-was-adopted")
    again.bind(saved)
    assert saved.secret not in redact(f"curl says {saved.secret}")
    again._socket.close()  # type: ignore[union-attr]


async def test_a_hook_that_is_too_deep_comes_without_what_is_too_deep(server: ControlServer) -> None:
    process = ScriptedProcess()
    deep = b"[" * 500 + b"]" * 500
    with server.serving(process):
        async with _client(server) as client:
            body = b'{"tool_name":"Bash","tool_input":{"a":' + deep + b"}}"
            assert (await client.post("/hooks/PreToolUse", content=body)).status_code == 200
            assert (await client.post("/hooks/PreToolUse", content=body.replace(b"[", b"[" * 50))).status_code == 400
            status = b'{"status":"busy","metadata":{"a":' + b"[" * 30 + b"]" * 30 + b"}}"
            assert (await client.post("/status", content=status)).status_code == 400
            for path in ("/status", "/api/v1/messages", "/api/v1/tasks"):
                assert (await client.post(path, content=body)).status_code == 400
            assert (await client.get("/healthz")).status_code == 200
    (hook,) = process.hooks
    assert hook.payload["tool_name"] == "Bash" and CUT in encode(hook.payload).decode()


async def test_a_head_without_an_end_is_refused_and_half_sent_requests_are_in_nobodys_way(
    server: ControlServer,
) -> None:
    writers = []
    for _ in range(50):
        _, writer = await asyncio.open_connection("127.0.0.1", server.endpoint.port)
        writer.write(b"POST /hooks/Stop HTTP/1.1\r\nHost: localhost\r\n")
        writers.append(writer)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.endpoint.port)
    writer.write(b"GET /healthz HTTP/1.1\r\nX: " + b"y" * 100_000)
    assert b" 431 " in await asyncio.wait_for(reader.read(), 20)
    async with _client(server) as client:
        assert (await client.get("/healthz")).status_code == 200
    for one in (*writers, writer):
        one.close()
