"""The loop of the live view: what happens on the relay and what is typed, onto the screen, until the person leaves."""

from __future__ import annotations

import asyncio
import os
import termios
import time
import tty
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.live import Live

from relay_runner.cli.dashboard.draw import screen
from relay_runner.cli.dashboard.keys import Decoder, Key
from relay_runner.cli.dashboard.view import Attach, Decide, Quit, View
from relay_runner.errors import ProtocolError, RelayRefused, RelayRunnerError, RelayUnavailable
from relay_runner.protocol.messages import MessageQuery
from relay_runner.protocol.permissions import NewDecision, PermissionQuery

if TYPE_CHECKING:
    from relay_runner.relay.base import Relay

CALM_S = 0.25
"""The relay is asked at most this often, however much happens on it."""
TICK_S = 1.0
"""Ages grow on the screen without any event."""
RETRY_S = 1.0
ESCAPE_S = 0.05
MESSAGES = 100
Show = Callable[[str], Awaitable[None]]
"""Shows an agent's terminal until the person leaves it; raises our own errors."""


class Dashboard:
    """Draws a `View`, keeps it true, and does what the person asks."""

    def __init__(self, relay: Relay, console: Console, show: Show, *, terminal: int = 0) -> None:
        self._relay = relay
        self._console = console
        self._show = show
        self._view = View()
        self._stale = asyncio.Event()
        self._keyboard = Keyboard(terminal)
        self._live = Live(
            console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        )

    async def run(self) -> None:
        """Show everything until the person leaves."""
        with self._live:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(work) for work in (self._follow(), self._refresh(), self._tick())]
                await self._obey()
                for task in tasks:
                    task.cancel()

    # --- what happens on the relay ------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        """Notice that something happened; without events the view is still looked after by `_tick`."""
        while True:
            with suppress(RelayUnavailable, RelayRefused, ProtocolError):  # `_refresh` says it
                async for _ in self._relay.events():
                    self._stale.set()
            await asyncio.sleep(RETRY_S)

    async def _refresh(self) -> None:
        while True:
            self._stale.clear()
            try:
                agents = await self._relay.agents()
                permissions = await self._relay.permissions(PermissionQuery(open=True))
                records = await self._relay.messages(MessageQuery(limit=MESSAGES))
            except (RelayUnavailable, RelayRefused, ProtocolError) as error:
                self._view.trouble = str(error)
                self._stale.set()
                await asyncio.sleep(RETRY_S)
            else:
                self._view.take(agents, permissions, records)
                await asyncio.sleep(CALM_S)
            self._draw()
            await self._stale.wait()

    async def _tick(self) -> None:
        while True:
            self._draw()
            await asyncio.sleep(TICK_S)

    def _draw(self) -> None:
        if self._live.is_started:
            size = self._console.size
            self._live.update(screen(self._view, width=size.width, height=size.height, now=time.time()), refresh=True)

    # --- what the person asks -----------------------------------------------------------------------------------------

    async def _obey(self) -> None:
        with self._keyboard:
            while True:
                for key in await self._keyboard.keys():
                    act = self._view.press(key)
                    if isinstance(act, Quit):
                        return
                    if isinstance(act, Attach):
                        await self._attach(act)
                        break  # what was typed after it was for the terminal
                    if isinstance(act, Decide):
                        await self._decide(act)
                self._draw()

    async def _decide(self, act: Decide) -> None:
        try:
            await self._relay.decide(act.permission_id, NewDecision(decision=act.decision, reason=act.reason))
        except (RelayUnavailable, RelayRefused, ProtocolError) as error:
            self._view.note = str(error)
        else:
            self._view.note = f"{act.permission_id[:8]}: {act.decision}"
        self._stale.set()

    async def _attach(self, act: Attach) -> None:
        self._live.stop()
        try:
            with self._keyboard.away():
                await self._show(act.agent_id)
        except RelayRunnerError as error:
            self._view.note = str(error)
        finally:
            self._live.start()
            self._stale.set()


class Keyboard:
    """The terminal's keys while the context is open; the terminal is given back as it was."""

    def __init__(self, terminal: int) -> None:
        self._terminal = terminal
        self._read: asyncio.Queue[bytes] = asyncio.Queue()
        self._decoder = Decoder()
        self._before: list[Any] = []

    def __enter__(self) -> Self:
        self._before = termios.tcgetattr(self._terminal)
        tty.setcbreak(self._terminal)
        settings = termios.tcgetattr(self._terminal)
        settings[3] &= ~termios.ISIG  # Ctrl-C is a key: it leaves like q
        termios.tcsetattr(self._terminal, termios.TCSADRAIN, settings)
        asyncio.get_running_loop().add_reader(self._terminal, self._take)
        return self

    def __exit__(self, *exc: object) -> None:
        asyncio.get_running_loop().remove_reader(self._terminal)
        termios.tcsetattr(self._terminal, termios.TCSADRAIN, self._before)

    @contextmanager
    def away(self) -> Iterator[None]:
        """Leave the terminal to somebody else for a while."""
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()

    async def keys(self) -> list[Key | str]:
        """Wait for the next keys; an Escape is one when nothing follows it for a moment."""
        try:
            async with asyncio.timeout(ESCAPE_S if self._decoder.waits else None):
                return self._decoder.feed(await self._read.get())
        except TimeoutError:
            return self._decoder.flush()

    def _take(self) -> None:
        data = os.read(self._terminal, 4096)
        self._read.put_nowait(data or b"q")  # the terminal is gone: leave
        if not data:
            asyncio.get_running_loop().remove_reader(self._terminal)
