"""Where unix sockets stand: in the state folder, where no cleaner of temporary files goes.

The kernel takes 107 bytes of a socket's path (103 on macOS), and a home may be longer than that. Then the folder is
reached by a short link in the user's runtime folder or in /tmp. Its name is drawn, not computed, so that no other user
can have taken it, and is written down, because the servers behind the sockets keep the path that they were started by:
a link that a cleaner removed is made again under the same name. A file system that has no sockets (some shared ones)
gets a folder in place of the link.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from relay_runner.errors import ConfigError

PATH_LIMIT = 103
"""Bytes of a socket's path: Linux takes 107."""
NAME_LIMIT = 22
"""Bytes of a socket's name at least: 16 hexadecimal digits and a suffix fit."""
FOLDER_LIMIT = PATH_LIMIT - NAME_LIMIT
TRIES = 20
PROBE_S = 2.0
_PREFIX = "relay-runner-"


def short(folder: Path, noted: Path) -> Path:
    """Return a short path to `folder`, a private one, under which sockets can be bound; `noted` keeps a drawn name."""
    if _takes_sockets(folder):
        return folder
    linked = folder if _has_sockets(folder) else None
    with _alone(folder):  # a runner and a relay that start together must not draw a name each
        return _kept_or_drawn(folder, noted, linked)


def _kept_or_drawn(folder: Path, noted: Path, linked: Path | None) -> Path:
    if (kept := _read(noted)) is not None and _ours(kept, linked):
        return kept
    for base in _bases():
        for _ in range(TRIES):
            drawn = base / f"{_PREFIX}{secrets.token_hex(4)}"
            if _ours(drawn, linked):
                noted.write_text(str(drawn), encoding="utf-8")
                noted.chmod(0o600)
                return drawn
    raise ConfigError(
        f"no folder for unix sockets: {folder} has too long a path or no socket support, and /tmp cannot be used",
        hint="set RELAY_RUNNER_HOME to a folder with a short path",
    )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a lock on a folder; where the file system has none for folders, whoever writes last is right."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def listen_at(path: Path, backlog: int) -> socket.socket:
    """Listen at a unix socket, in the place of what an earlier process left there; raise `OSError` where that fails."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(backlog)
    except OSError:
        listener.close()
        raise
    return listener


def peer_uid(connection: socket.socket) -> int:
    """Return the user on the other side of a unix socket."""
    if hasattr(socket, "SO_PEERCRED"):
        data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)  # pid, uid, gid
    else:
        data = connection.getsockopt(0, 1, 8)  # macOS, SOL_LOCAL, LOCAL_PEERCRED: version, uid
    return int.from_bytes(data[4:8], sys.byteorder)


def reachable(path: Path) -> bool:
    """Say whether a unix socket is there and leads to a process of this user, or to none at all now.

    A socket that cannot be seen (from a sandbox, say) is not reachable. Raise `ConfigError` for another user's.
    """
    if not path.is_socket():
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(PROBE_S)
        try:
            probe.connect(str(path))
            other = peer_uid(probe)
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    if other != os.getuid():
        raise ConfigError(f"another user's program listens on {path}", hint="restart the agent")
    return True


def _takes_sockets(folder: Path) -> bool:
    return len(os.fsencode(folder)) <= FOLDER_LIMIT and _has_sockets(folder)


def _has_sockets(folder: Path) -> bool:
    """Say whether the file system of `folder` has sockets; the path may be too long for one of them."""
    probe = folder / f".{secrets.token_hex(4)}"
    try:
        os.mkfifo(probe, 0o600)
        probe.unlink()
        if len(os.fsencode(folder)) <= FOLDER_LIMIT:
            with socket.socket(socket.AF_UNIX) as bound:
                bound.bind(str(probe))
            probe.unlink()
    except OSError:
        return False
    return True


def _bases() -> list[Path]:
    """Return where short names may stand, the user's own runtime folder first."""
    own = os.environ.get("XDG_RUNTIME_DIR")
    bases = [Path(own)] if own and len(os.fsencode(own)) < FOLDER_LIMIT - len(_PREFIX) - 8 else []
    return [base for base in (*bases, Path("/tmp")) if os.access(base, os.W_OK)]


def _read(noted: Path) -> Path | None:
    try:
        text = noted.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    return Path(text) if text.startswith("/") and len(os.fsencode(text)) <= FOLDER_LIMIT else None


def _ours(path: Path, target: Path | None) -> bool:
    """Make `path` a link to `target`, or a private folder without one; False where somebody else has the name."""
    with suppress(OSError):  # it is there already, or cannot be made: what is there decides
        if target is None:
            path.mkdir(mode=0o700)
        else:
            path.symlink_to(target)
    try:
        found = path.lstat()
        # Whose link it is decides where it leads: in a sticky folder only its owner can replace it.
        if found.st_uid != os.getuid():
            return False
        return not path.is_symlink() and path.is_dir() if target is None else path.readlink() == target
    except OSError:
        return False
