"""doctor and version, as they are printed."""

from __future__ import annotations

import pytest

from relay_runner import __version__
from relay_runner.cli import checks
from relay_runner.cli.checks import Check
from tests.unit.cli.conftest import World


@pytest.mark.parametrize(("state", "code"), [("ok", 0), ("warn", 0), ("fail", 1)])
def test_only_what_fails_is_a_failure(world: World, monkeypatch: pytest.MonkeyPatch, state: str, code: int) -> None:
    async def found() -> list[Check]:
        return [Check("ok", "python", "3.11"), Check(state, "tmux", "9.9", "install it")]

    monkeypatch.setattr(checks, "run", found)
    out, _ = world.run("doctor", code=code)
    assert out.splitlines()[2].split() == [state, "tmux", "9.9", "install", "it"]
    assert world.json("doctor", code=code)[1] == {"check": "tmux", "state": state, "detail": "9.9", "fix": "install it"}


def test_the_version(world: World) -> None:
    assert world.run("version")[0].startswith(f"relay-runner {__version__} (protocol 1, Python 3.")
    assert world.json("version")["version"] == __version__
