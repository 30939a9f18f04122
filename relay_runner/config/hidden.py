"""What the commands of a sandboxed agent must not see: the relay's credentials, and the doors out of the sandbox.

A sandbox that leaves the network open leaves unix sockets open, too: by that of a tmux server, a service manager or a
container engine a command runs what it likes outside. Folders stand here wherever there is one, for a mask over a
folder outlives what happens in it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from relay_runner.config.places import Paths, private_dir
from relay_runner.errors import ConfigError

DOORS = ("bus", "systemd", "podman", "docker.sock")
"""In the user's runtime folder: ways to have something run by somebody else."""
ENGINES = ("/run/docker.sock", "/run/podman/podman.sock", "/run/containerd/containerd.sock")


def hidden(paths: Paths, token_file: str | None, environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the folders and files to hide, by their real paths; all of them are there.

    `token_file` is where the token stands that a person configured, where it has a file of its own.
    """
    sockets = paths.sockets()
    # Settings that are written later, with a token in them perhaps, are hidden, too.
    found = [paths.state, private_dir(paths.config), sockets]
    if token_file is not None:
        found.append(Path(token_file).expanduser())
    found.append(_tmux(environ))
    if runtime := environ.get("XDG_RUNTIME_DIR"):
        found += [Path(runtime, door) for door in DOORS]
    found += [Path(engine) for engine in ENGINES]
    real = sorted({path.resolve() for path in found if path.exists()})
    return tuple(path for path in real if not any(above in path.parents for above in real))


def _tmux(environ: Mapping[str, str]) -> Path:
    """Return where the user's own tmux servers have their sockets, made as tmux makes it: one may start any time."""
    folder = Path(environ.get("TMUX_TMPDIR") or "/tmp", f"tmux-{os.getuid()}")
    try:
        return private_dir(folder)
    except ConfigError:
        return folder  # somebody else's, or nowhere to make it: then there is no server to hide
