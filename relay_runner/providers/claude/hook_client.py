"""The program that Claude Code runs: `event NAME`, `rewake`, `statusline`. Standard library only, and small.

It is started by `relay-runner-hook` (first on the provider's PATH) for every event that cannot be an http hook, and
once as the background poller that wakes the session up with a message. It finds the runner by `control.json` at each
call, so it outlives the runner and finds its successor. It never disturbs the person: whatever fails ends in exit 0.
The runner's unix socket is better than its port: only this user can listen there. The port stands in where the socket
cannot be seen, and for an event that no runner is there to take: it waits in the backlog that the shells keep.

`rewake` is the first rung of the delivery ladder. Claude Code (2.1.197) runs it as an `asyncRewake` hook: exit code 2
puts stderr into the conversation, exit code 0 does nothing. One poller per provider process, kept so by a file lock.

    poller -> runner   POST /hooks/rewake {pid}                 held open until there is a message
    runner -> poller   {"nonce": ..., "text": ...}
    poller -> runner   POST /hooks/rewake-taken {nonce, pid}
    runner -> poller   {"granted": true}                        only now the text is written, and the poller exits 2

Without the grant nothing is written: the runner can take an offer back, and then knows that nothing entered.

`statusline SOURCES` stands where the user's own status line would: it passes what Claude Code tells on to the runner,
and then becomes the user's command, with the same input. A user who has none sees none.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import socket
import sys
import time

TYPE_CHECKING = False  # `typing` alone would cost as much as everything else here
if TYPE_CHECKING:
    from typing import Any

CONNECT_TIMEOUT_S = 2.0
EVENT_TIMEOUT_S = 5.0
STATUS_TIMEOUT_S = 0.5
RECONNECT_FIRST_S = 0.1
RECONNECT_MAX_S = 2.0
PARENT_CHECK_S = 2.0
MAX_ANSWER_BYTES = 16 * 1024 * 1024


class Unreachable(Exception):
    """The runner did not answer: it is gone, or it is being replaced."""


class Orphaned(Exception):
    """The provider that started this hook is gone, or another process took its place."""


class Parent:
    """The provider process that started this hook."""

    def __init__(self) -> None:
        self.pid = os.getppid()
        self.descriptor: int | None = None
        try:
            self.descriptor = os.pidfd_open(self.pid)
        except OSError:
            return  # a kernel without pidfds: `wait` looks every few seconds instead

    def check(self) -> None:
        """Raise `Orphaned` when the provider is gone."""
        if os.getppid() != self.pid:
            raise Orphaned

    def wait(self, connection: socket.socket, deadline: float | None) -> None:
        """Return when `connection` has something to read; raise `Unreachable` at the deadline."""
        watched: list[socket.socket | int] = [connection] if self.descriptor is None else [connection, self.descriptor]
        while True:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise Unreachable
            pauses = [PARENT_CHECK_S if self.descriptor is None else None, left]
            readable, _, _ = select.select(watched, [], [], min((p for p in pauses if p is not None), default=None))
            if self.descriptor is not None and self.descriptor in readable:
                raise Orphaned
            self.check()
            if readable:
                return


def endpoint() -> dict[str, Any]:
    """Return where the runner listens; raise `Orphaned` when another provider process is on record."""
    path = os.path.join(os.environ["AGENT_RELAY_CONTEXT_STATE_DIR"], "control.json")  # noqa: PTH118
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123
            control = json.load(file)
    except (OSError, ValueError) as error:
        raise Unreachable from error
    if not isinstance(control, dict) or "port" not in control:
        raise Unreachable
    if control.get("providerSessionId") != os.environ["AGENT_RELAY_PROVIDER_SESSION_ID"]:
        raise Orphaned
    return control


def connect(control: dict[str, Any], *, wait: bool) -> socket.socket:
    """Connect to the runner; with `wait` where none is there now, to be heard by the next one if it comes soon."""
    if control.get("socket"):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(CONNECT_TIMEOUT_S)
        try:
            connection.connect(control["socket"])
            if peer_uid(connection) != os.getuid():
                raise Unreachable
            return connection
        except (FileNotFoundError, PermissionError):
            connection.close()
        except ConnectionRefusedError:
            connection.close()
            if not wait:
                raise
        except BaseException:
            connection.close()
            raise
    return socket.create_connection(("127.0.0.1", control["port"]), CONNECT_TIMEOUT_S)


def peer_uid(connection: socket.socket) -> int:
    """Return the user on the other side of a unix socket."""
    if hasattr(socket, "SO_PEERCRED"):
        data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)  # pid, uid, gid
    else:
        data = connection.getsockopt(0, 1, 8)  # macOS, SOL_LOCAL, LOCAL_PEERCRED: version, uid
    return int.from_bytes(data[4:8], sys.byteorder)


def post(
    name: str, payload: dict[str, Any], parent: Parent, timeout_s: float | None, *, wait: bool = False
) -> dict[str, Any]:
    """Post `payload` to the runner's `/hooks/name` and return its answer, an object; wait for ever without timeout."""
    control = endpoint()
    body = json.dumps(payload).encode()
    head = (
        f"POST /hooks/{name} HTTP/1.1\r\nHost: 127.0.0.1:{control['port']}\r\nConnection: close\r\n"
        f"Authorization: Bearer {control['secret']}\r\nX-Relay-Process: {control['providerSessionId']}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    try:
        with connect(control, wait=wait) as connection:
            connection.sendall(head.encode() + body)
            return answer(read_all(connection, parent, deadline))
    except (OSError, ValueError) as error:
        raise Unreachable from error


def read_all(connection: socket.socket, parent: Parent, deadline: float | None) -> bytes:
    """Return the whole answer; the runner hangs up after it."""
    data = bytearray()
    while len(data) < MAX_ANSWER_BYTES:
        parent.wait(connection, deadline)
        piece = connection.recv(65536)
        if not piece:
            return bytes(data)
        data += piece
    raise Unreachable


def answer(data: bytes) -> dict[str, Any]:
    """Return the JSON object of a complete HTTP answer; raise `Unreachable` for every other one."""
    head, separator, body = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(":", 1) for line in lines[1:] if ":" in line)
    status = lines[0].split(" ")[1:2]
    if status == ["204"]:
        return {}
    if not separator or status != ["200"] or len(body) != int(headers.get("content-length", "-1")):
        raise Unreachable
    value = json.loads(body)
    return value if isinstance(value, dict) else {}


def event(name: str) -> int:
    """Pass one hook's payload on, and the runner's answer back."""
    payload = json.loads(sys.stdin.buffer.read() or b"{}")
    reply = post(name, payload, Parent(), EVENT_TIMEOUT_S, wait=True)
    if reply:
        sys.stdout.write(json.dumps(reply))
    return 0


def rewake() -> int:
    """Wait for a message and put it into the conversation; return the exit code."""
    parent = Parent()
    sys.stdin.close()
    control = endpoint()
    folder = os.environ["AGENT_RELAY_CONTEXT_STATE_DIR"]
    lock = os.path.join(folder, f"rewake-{control['providerSessionId']}.lock")  # noqa: PTH118
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return 0  # another poller of this process waits already
    return serve(parent)


def serve(parent: Parent) -> int:
    """Ask the runner, or its successor, for a message until there is one; return the exit code."""
    pause = RECONNECT_FIRST_S
    while True:
        asked_at = time.monotonic()
        try:
            offer = post("rewake", {"pid": os.getpid()}, parent, None)
            if "text" in offer and take(offer, parent):
                write_all(2, offer["text"].encode())
                return 2
        except Unreachable:
            parent.check()
        quick = time.monotonic() - asked_at < RECONNECT_MAX_S
        pause = min(pause * 2, RECONNECT_MAX_S) if quick else RECONNECT_FIRST_S
        time.sleep(pause)


def take(offer: dict[str, Any], parent: Parent) -> bool:
    """Ask for the right to put the offered message in; False means that it was taken back."""
    taken = {"nonce": offer["nonce"], "pid": os.getpid()}
    return post("rewake-taken", taken, parent, EVENT_TIMEOUT_S).get("granted") is True


def status_line(sources: list[str]) -> int:
    """Pass the status on, and become the user's own status line; return when there is none."""
    data = sys.stdin.buffer.read()
    status = json.loads(data)
    command = users_command(status, sources)
    tell_status(status)
    if command:
        descriptor = os.memfd_create("status")
        write_all(descriptor, data)
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.dup2(descriptor, 0)
        os.execv("/bin/sh", ["sh", "-c", command])
    return 0


def tell_status(status: dict[str, Any]) -> bool:
    """Pass the status on; False where no runner is there, which changes nothing of what the user sees."""
    try:
        post("StatusLine", status, Parent(), STATUS_TIMEOUT_S)
    except (Unreachable, Orphaned, KeyError, OSError):
        return False
    return True


def users_command(status: dict[str, Any], sources: list[str]) -> str | None:
    """Return the user's own status line, from the settings files that Claude Code reads, nearest first."""
    config = os.environ.get("CLAUDE_CONFIG_DIR") or os.path.join(os.environ.get("HOME", ""), ".claude")  # noqa: PTH118
    project = (status.get("workspace") or {}).get("project_dir") or status.get("cwd") or "."
    files = {
        "local": f"{project}/.claude/settings.local.json",
        "project": f"{project}/.claude/settings.json",
        "user": f"{config}/settings.json",
    }
    for source, file in files.items():
        if source in sources:
            try:
                with open(file, encoding="utf-8") as settings:  # noqa: PTH123
                    line = json.load(settings).get("statusLine")
            except (OSError, ValueError, AttributeError):
                continue
            if isinstance(line, dict) and line.get("type") == "command" and isinstance(line.get("command"), str):
                command = str(line["command"])
                return None if "relay-runner-hook" in command else command
    return None


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`, however often the pipe takes only a part."""
    while data:
        data = data[os.write(descriptor, data) :]


def main(arguments: list[str]) -> int:
    """Run one hook and return its exit code."""
    if arguments[:1] == ["statusline"] and len(arguments) == 2:
        try:
            return status_line(arguments[1].split(","))
        except (ValueError, OSError):
            return 0
    if not {"AGENT_RELAY_CONTEXT_STATE_DIR", "AGENT_RELAY_PROVIDER_SESSION_ID"} <= set(os.environ):
        return 0  # not under a runner: the plugin was loaded by hand
    try:
        if arguments[:1] == ["rewake"]:
            return rewake()
        if arguments[:1] == ["event"] and len(arguments) == 2:
            return event(arguments[1])
    except (Unreachable, Orphaned, ValueError, OSError):
        return 0
    sys.stderr.write("usage: relay-runner-hook event NAME | rewake | statusline SOURCES\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
