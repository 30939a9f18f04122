"""Fixtures of the contract suites."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contract.relays import WORLDS, World


@pytest.fixture(params=sorted(WORLDS))
async def world(request: pytest.FixtureRequest, tmp_path: Path, anyio_backend: str) -> AsyncIterator[World]:
    """Return every kind of relay in turn."""
    async with WORLDS[request.param](tmp_path) as made:
        yield made
