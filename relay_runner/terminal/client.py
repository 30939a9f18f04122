"""One tmux server of ours: its socket, its settings, and command lines sent to it.

Why not libtmux: it hands its own environment to the server it starts (ours holds secrets), cannot put several tmux
commands into one call (leaving copy mode, looking at `pane_dead` and pasting must not be separated), has no stdin for
`load-buffer`, and costs 3 MiB in every runner, of 40. Measured on 0.62: it starts one `tmux` process for each call, as
this does, so nothing is slower here. The tests use it as a second pair of eyes.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from relay_runner.errors import TerminalError
from relay_runner.terminal import quoting, terminfo
from relay_runner.terminal.base import HEIGHT, WIDTH

CALL_TIMEOUT_S = 10.0
KILL_TIMEOUT_S = 2.0
SOCKET_LIMIT = 103
"""Bytes of a socket's path on every system; Linux takes 107."""
_PASSED_ON = ("HOME", "PATH", "TZ")

# The window keeps its size whoever looks at it: a smaller viewer sees the part around the cursor (the upper left one,
# where the program hides it), is told that there is more, and moves with the prefix and an arrow. Whatever could end,
# split or replace the one pane is not bound.
_CONFIG = """\
set -s escape-time 10
set -s exit-empty on
set -s set-clipboard off
set -gq exit-unattached off
set -g default-terminal {term}
set -g default-shell /bin/sh
set -g update-environment ""
set -g destroy-unattached off
set -g default-size {width}x{height}
set -g history-limit 5000
set -g mouse on
set -g prefix C-]
set -g prefix2 None
set -g status on
set -g status-interval 0
set -g status-style "bg=colour236,fg=colour252"
set -g status-left-length 80
set -g status-left {title}
set -g status-right-length 80
set -g status-right "#{{?window_bigger,more: Ctrl-] arrows   ,}}detach: Ctrl-] d   scroll: Ctrl-] [ "
set -g window-status-format ""
set -g window-status-current-format ""
set -g set-titles off
set -wg remain-on-exit on
set -wgq remain-on-exit-format ""
set -wg allow-rename off
set -wg automatic-rename off
set -wgq allow-passthrough off
set -wg aggressive-resize off
unbind -a -T prefix
bind C-] send-prefix
bind d detach-client
bind [ copy-mode
bind PPage copy-mode -u
bind -r Left refresh-client -L 10
bind -r Right refresh-client -R 10
bind -r Up refresh-client -U 5
bind -r Down refresh-client -D 5
unbind -q -n MouseDown3Pane
unbind -q -n M-MouseDown3Pane
unbind -q -n MouseDown3Status
unbind -q -n MouseDown3StatusLeft
"""


@dataclass(frozen=True, slots=True)
class Reply:
    """What tmux answered."""

    code: int
    out: str
    error: str


class TmuxServer:
    """Send command lines to the tmux server behind one socket."""

    def __init__(self, program: str, socket: Path) -> None:
        if len(os.fsencode(socket)) > SOCKET_LIMIT:
            raise TerminalError(f"the path of the socket {socket} is too long", hint="use a shorter runtime folder")
        self.program = program
        self.socket = socket

    async def ask(self, *arguments: str, stdin: bytes | None = None, before: Sequence[str] = ()) -> Reply:
        """Run one tmux command line (commands separated by `;` words) and return what came of it, good or bad."""
        try:
            client = await asyncio.create_subprocess_exec(
                self.program, "-u", *before, "-S", str(self.socket), *arguments,
                stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=scrubbed(),
                # Ctrl-C in the runner's own terminal must not hit a client in the middle of a paste.
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise TerminalError(f"cannot run {self.program}: {error.strerror}", hint="install tmux") from error
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                out, err = await client.communicate(stdin)
        except TimeoutError:
            raise TerminalError(f"tmux did not answer within {CALL_TIMEOUT_S:g} s") from None
        finally:
            if client.returncode is None:
                await _kill(client)
        return Reply(
            code=await client.wait(),
            out=out.decode("utf-8", "replace"),
            error=err.decode("utf-8", "replace").strip(),
        )

    async def run(self, *arguments: str, stdin: bytes | None = None) -> str:
        """Run one command line; raise `TerminalError` where tmux says no."""
        reply = await self.ask(*arguments, stdin=stdin)
        if reply.code != 0:
            raise TerminalError(f"tmux: {reply.error or f'exit code {reply.code}'}")
        return reply.out

    async def answers(self) -> bool:
        """Say whether a server stands behind the socket."""
        if not self.socket.is_socket():
            return False
        return (await self.ask("list-sessions")).code == 0

    async def kill(self) -> None:
        """End this one server, and take its socket away."""
        if self.socket.is_socket():
            await self.ask("kill-server")
            self.socket.unlink(missing_ok=True)


async def _kill(client: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError, TimeoutError):
        client.kill()
        async with asyncio.timeout(KILL_TIMEOUT_S):
            await client.wait()


def scrubbed() -> dict[str, str]:
    """Return the environment that tmux itself gets: nothing secret, UTF-8 for certain."""
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {"PATH": os.defpath, "TERM": "xterm-256color", **passed_on, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}


def config(title: str, width: int = WIDTH, height: int = HEIGHT) -> str:
    """Return our settings for a server whose status line shows `title`."""
    left = quoting.quoted(f"#[bold] {quoting.literal(title)} #[default]")
    return _CONFIG.format(term=terminal_name(), width=width, height=height, title=left)


def terminal_name() -> str:
    """Return the best TERM for programs in our panes that this machine has a description of."""
    return "tmux-256color" if terminfo.known("tmux-256color") else "screen-256color"
