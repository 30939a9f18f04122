"""What every test gets: anyio on asyncio, and a runtime folder that is taken away with the last of them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# How long one example takes says more of the machine than of the code; every test has a timeout of its own.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


@pytest.fixture
def anyio_backend() -> str:
    """Run async tests on asyncio."""
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def runtime_folder() -> Iterator[None]:
    """Have the links to sockets in long paths (a test's folder is one) in a folder of this run."""
    with tempfile.TemporaryDirectory(prefix="rr-", dir="/tmp") as made, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", made)
        yield
