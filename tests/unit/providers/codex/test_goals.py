from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from relay_runner.providers.base import ProcessState
from relay_runner.providers.codex.client import Client, opened
from relay_runner.providers.codex.goals import GET, SET, TAKE_UP_S, Goal
from relay_runner.providers.codex.memo import Memo
from tests.unit.providers.codex.server import THREAD, FakeServer, listening

pytestmark = pytest.mark.anyio
IDLE, BUSY = ProcessState.IDLE, ProcessState.BUSY


@asynccontextmanager
async def pursued(tmp_path: Path, status: str | None = "active") -> AsyncIterator[tuple[Goal, Client, FakeServer]]:
    """A thread with a goal, just joined."""
    async with listening(tmp_path / "s") as server, opened(tmp_path / "s", lambda method, params: None) as client:
        server.answers[GET] = lambda params: {"goal": status and {"status": status}}
        server.answers[SET] = lambda params: {}
        goal = Goal(Memo(tmp_path))
        await goal.look(client, THREAD, frozenset({GET, SET}))
        yield goal, client, server


def said(server: FakeServer) -> list[Any]:
    return [params["status"] for params in server.called(SET)]


async def test_it_is_put_aside_for_a_message_and_taken_up_when_none_came_for_a_while(tmp_path: Path) -> None:
    async with pursued(tmp_path) as (goal, client, server):
        await goal.tend(client, THREAD, BUSY, 1.0)
        assert said(server) == [], "nobody waits"
        assert goal.wait_for()
        await goal.tend(client, THREAD, BUSY, 2.0)
        assert (said(server), goal.aside(THREAD), goal.wait_for()) == (["paused"], True, False)
        await goal.tend(client, THREAD, IDLE, 3.0)
        await goal.tend(client, THREAD, BUSY, 3.5)  # the message's own turn
        await goal.tend(client, THREAD, IDLE, 10.0)
        await goal.tend(client, THREAD, IDLE, 10.0 + TAKE_UP_S / 2)
        assert said(server) == ["paused"]
        await goal.tend(client, THREAD, IDLE, 10.0 + TAKE_UP_S)
        assert (said(server), goal.aside(THREAD)) == (["paused", "active"], False)


async def test_one_that_was_put_aside_by_a_runner_that_died_is_taken_up(tmp_path: Path) -> None:
    Memo(tmp_path).put_aside(THREAD)
    async with pursued(tmp_path, "paused") as (goal, client, server):
        await goal.tend(client, THREAD, IDLE, 1.0)
        await goal.tend(client, THREAD, IDLE, 1.0 + TAKE_UP_S)
        assert said(server) == ["active"]


@pytest.mark.parametrize("status", ["complete", "blocked", None])
async def test_what_somebody_else_decided_stands(tmp_path: Path, status: str | None) -> None:
    Memo(tmp_path).put_aside(THREAD)
    async with pursued(tmp_path, status) as (goal, client, server):
        assert not goal.wait_for() and not goal.aside(THREAD)
        await goal.tend(client, THREAD, IDLE, 1.0)
        await goal.tend(client, THREAD, IDLE, 1.0 + TAKE_UP_S)
        assert said(server) == []


async def test_what_is_notified_is_known(tmp_path: Path) -> None:
    async with pursued(tmp_path, None) as (goal, _, _):
        goal.notice("thread/goal/updated", {"goal": {"status": "active"}})
        assert goal.wait_for()
        goal.notice("thread/goal/cleared", {})
        assert not goal.wait_for()


async def test_a_version_without_goals_or_one_that_refuses_is_left_alone(tmp_path: Path) -> None:
    async with pursued(tmp_path) as (goal, client, server):
        await goal.look(client, THREAD, frozenset())
        assert not goal.wait_for()
        server.answers[GET] = lambda params: "not now"
        await goal.look(client, THREAD, frozenset({GET}))
        assert not goal.wait_for()
        goal.notice("thread/goal/updated", {"goal": {"status": "active"}})
        server.answers[SET] = lambda params: "not now"
        assert goal.wait_for()
        await goal.tend(client, THREAD, BUSY, 1.0)
        assert not goal.aside(THREAD)
