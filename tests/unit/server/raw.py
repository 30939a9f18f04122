"""A relay to talk to by bytes, as a stranger would."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from relay_runner.protocol.tokens import ADMIN, OPERATOR, SEND, TokenRequest
from relay_runner.server.core import Core
from tests.contract.relays import served


async def token_of(core: Core, subject: str = "person:op", *scopes: str) -> str:
    """Return a token with these scopes, or with all."""
    chosen = scopes or (SEND, OPERATOR, ADMIN)
    return (await core.tokens.mint(TokenRequest(subject=subject, scopes=chosen))).token


@asynccontextmanager
async def raw(folder: Path) -> AsyncIterator[tuple[Core, httpx.AsyncClient]]:
    """Return a relay and an HTTP client with an operator's token."""
    async with served(folder / "relay.db") as (core, url):
        headers = {"Authorization": f"Bearer {await token_of(core)}"}
        async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False, timeout=20) as client:
            yield core, client
