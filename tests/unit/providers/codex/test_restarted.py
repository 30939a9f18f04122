from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from relay_runner.providers.codex import restarted
from relay_runner.providers.codex.client import opened
from relay_runner.providers.codex.memo import Memo
from relay_runner.providers.codex.session import Session
from tests.unit.providers.codex.server import THREAD, FakeServer, listening

pytestmark = pytest.mark.anyio
INJECT = "thread/inject_items"
ENDED: dict[str, Any] = {"id": "t1", "status": "completed"}


def joined(**changes: Any) -> Session:
    given = {"thread": {"id": THREAD, "status": {"type": "idle"}}, "turns": [ENDED], "source": "resume"}
    return Session(THREAD, methods=frozenset({INJECT}), **{**given, **changes})


async def told(tmp_path: Path, *sessions: Session) -> tuple[list[bool], FakeServer]:
    async with listening(tmp_path / "s") as server, opened(tmp_path / "s", lambda method, params: None) as client:
        server.answers[INJECT] = lambda params: {}
        return [await restarted.tell(client, Memo(tmp_path), session) for session in sessions], server


async def test_a_resumed_session_is_told_once_per_turn(tmp_path: Path) -> None:
    later = joined(turns=[{"id": "t2", "status": "interrupted"}])
    answers, server = await told(tmp_path, joined(), joined(), later)
    assert answers == [True, False, True]
    (item,) = server.called(INJECT)[0]["items"]
    assert (item["role"], "restarted" in item["content"][0]["text"]) == ("developer", True)


@pytest.mark.parametrize(
    "changes",
    [
        {"source": "fresh"},
        {"source": "start", "turns": []},
        {"turns": []},
        {"turns": [{"id": "t1", "status": "inProgress"}]},
        {"thread": {"id": THREAD, "status": {"type": "active"}}},
    ],
)
async def test_there_is_nothing_to_tell_a_new_or_a_busy_session(tmp_path: Path, changes: dict[str, Any]) -> None:
    answers, server = await told(tmp_path, joined(**changes))
    assert (answers, server.calls) == ([False], [])


async def test_a_version_that_cannot_or_will_not_is_left_alone(tmp_path: Path) -> None:
    old = joined()
    old.methods = frozenset()
    assert (await told(tmp_path, old))[0] == [False]
    async with listening(tmp_path / "s") as server, opened(tmp_path / "s", lambda method, params: None) as client:
        server.answers[INJECT] = lambda params: "not now"
        memo = Memo(tmp_path)
        assert (await restarted.tell(client, memo, joined()), memo.noticed) == (False, None)
