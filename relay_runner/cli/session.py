"""One command's conversation with its relay."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay_runner import config
from relay_runner.cli import compose, output

if TYPE_CHECKING:
    from relay_runner.relay.base import Relay


@dataclass(frozen=True, slots=True)
class Session:
    """An open relay, and how it was reached."""

    relay: Relay
    paths: config.Paths
    access: compose.RelayAccess

    async def me(self) -> str | None:
        """Return the principal that this command speaks for."""
        return compose.me(self.access)


@asynccontextmanager
async def open_session(*, only_person: str | None = None, start: bool = True) -> AsyncIterator[Session]:
    """Open the relay that environment and files choose; `only_person` names what an agent may not do.

    A relay of this machine that does not run is started, unless `start` is False: then it is `RelayUnavailable`.
    """
    if only_person is not None:
        compose.refuse_inside(only_person)
    compose.refuse_unmarked()
    paths = config.paths()
    # Inside an agent nothing configured counts, and a sandbox may hide it. No project chooses a relay, and this folder
    # may be gone.
    settings = config.Settings() if compose.inside_agent() else config.load(paths, None, os.environ)
    if (unused := compose.unused_token(settings, None)) is not None:
        output.note(unused)
    found = await compose.access(paths, settings, start=start)
    with compose.token_wanted(found):
        async with compose.relay_at(found) as relay:
            yield Session(relay, paths, found)
