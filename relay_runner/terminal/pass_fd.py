"""The program that passes a listening socket on: `take DOOR FD COMMAND...`, `give DOOR FD`. Standard library only.

A shell can hold an open descriptor for as long as it lives, and cannot send or receive one. So this stands in between,
for the few milliseconds that it takes: `take` receives the socket and becomes the command, which inherits it as FD;
`give` sends the FD that it inherited. DOOR is a unix socket that a runner listens at, and both sides make sure that the
other one is of the same user. It is copied beside the start script, so that an installation that is replaced meanwhile,
or removed, takes nothing from the programs that run.
"""

from __future__ import annotations

import os
import socket
import sys

TIMEOUT_S = 10.0


def peer_uid(connection: socket.socket) -> int:
    """Return the user on the other side of a unix socket."""
    if hasattr(socket, "SO_PEERCRED"):
        data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)  # pid, uid, gid
    else:
        data = connection.getsockopt(0, 1, 8)  # macOS, SOL_LOCAL, LOCAL_PEERCRED: version, uid
    return int.from_bytes(data[4:8], sys.byteorder)


def enter(door: str) -> socket.socket:
    """Connect to a runner of this user; raise `PermissionError` for whoever else stands there."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(TIMEOUT_S)
        connection.connect(door)
        if peer_uid(connection) != os.getuid():
            raise PermissionError("the other side belongs to another user")
    except BaseException:
        connection.close()
        raise
    return connection


def take(door: str, descriptor: int) -> None:
    """Receive a socket, and have it as `descriptor`, which a command that is run inherits."""
    with enter(door) as connection:
        _, received, _, _ = socket.recv_fds(connection, 1, 1)
    os.dup2(received[0], descriptor, inheritable=True)
    if received[0] != descriptor:
        os.close(received[0])


def give(door: str, descriptor: int) -> None:
    """Send `descriptor`."""
    with enter(door) as connection:
        socket.send_fds(connection, [b"x"], [descriptor])


def main(arguments: list[str]) -> int:
    """Pass the socket on; return the exit code, or become the command."""
    verb, door, descriptor, *command = arguments
    try:
        if verb == "give":
            give(door, int(descriptor))
        else:
            take(door, int(descriptor))
            os.execv(command[0], command)
    except (OSError, IndexError) as error:
        sys.stderr.write(f"relay-runner: the socket was not passed on: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
