from __future__ import annotations

from pathlib import Path

import pytest

from relay_runner.errors import ProviderRefused
from relay_runner.providers.base import ProcessState
from relay_runner.providers.codex.operations import sessions
from relay_runner.providers.codex.operations.args import Args
from tests.unit.providers.codex.operations.rooms import room
from tests.unit.providers.codex.server import THREAD

pytestmark = pytest.mark.anyio
OTHER = "01a1fb2e-0000-7000-8000-00000000cafe"


async def test_clear_starts_a_thread_with_the_same_settings_and_archives_the_old_one_if_asked(tmp_path: Path) -> None:
    async with room(tmp_path) as made:
        made.answers("thread/start", {"thread": {"id": OTHER}})
        made.answers("thread/archive", {})
        done = await sessions.clear(made.room, Args({"archive": True}))
        assert done == {"sessionId": OTHER, "formerSessionId": THREAD, "archived": True}
        assert [(joined.thread_id, joined.source) for joined in made.entered] == [(OTHER, "start")]
        assert made.server.calls[0] == ("thread/start", {"sandbox": "read-only"})
        assert ("thread/archive", {"threadId": THREAD}) in made.server.calls


async def test_a_fork_takes_the_settings_along_and_is_let_go(tmp_path: Path) -> None:
    async with room(tmp_path) as made:
        made.answers("thread/fork", {"thread": {"id": OTHER}})
        made.answers("thread/unsubscribe", {})
        made.state = ProcessState.BUSY
        done = await sessions.fork(made.room, Args({"before": "t2", "name": "aside"}))
        assert done == {"sessionId": OTHER, "forkedFromId": THREAD, "switched": False}
        (params,) = made.server.called("thread/fork")
        assert (params["sandbox"], params["beforeTurnId"], params["excludeTurns"]) == ("read-only", "t2", True)
        assert ("thread/unsubscribe", {"threadId": OTHER}) in made.server.calls
        assert made.entered == []
        with pytest.raises(ProviderRefused, match="busy"):
            await sessions.fork(made.room, Args({"switch": True}))


async def test_a_fork_can_take_the_agent_along(tmp_path: Path) -> None:
    async with room(tmp_path) as made:
        made.answers("thread/fork", {"thread": {"id": OTHER}})
        assert (await sessions.fork(made.room, Args({"switch": True})))["switched"] is True
        assert [joined.thread_id for joined in made.entered] == [OTHER]
        assert ("thread/unsubscribe", {"threadId": THREAD}) in made.server.calls


async def test_resume_of_a_session_that_is_lost_is_refused_and_nothing_changes(tmp_path: Path) -> None:
    async with room(tmp_path) as made:
        made.answers("thread/resume", f"no rollout found for thread id {OTHER}")
        with pytest.raises(ProviderRefused, match="there is no session"):
            await sessions.resume(made.room, Args({"sessionId": OTHER}))
        assert made.entered == []
        assert (await sessions.resume(made.room, Args({"sessionId": THREAD})))["formerSessionId"] == THREAD


async def test_the_own_session_is_not_archived_by_itself(tmp_path: Path) -> None:
    async with room(tmp_path) as made:
        made.answers("thread/archive", {})
        with pytest.raises(ProviderRefused, match="clear"):
            await sessions.archive(made.room, Args({"sessionId": THREAD}))
        assert await sessions.archive(made.room, Args({"sessionId": OTHER})) == {"sessionId": OTHER, "archived": True}


async def test_the_sessions_of_the_folder_are_listed(tmp_path: Path) -> None:
    async with room(tmp_path) as made:
        made.answers("thread/list", {"data": [{"id": THREAD, "name": "n", "preview": "x" * 999, "updatedAt": 5}]})
        (one,) = (await sessions.sessions(made.room, Args({"limit": 1000})))["sessions"]
        assert (one["sessionId"], one["current"], len(one["preview"])) == (THREAD, True, 200)
        assert made.server.calls[-1] == ("thread/list", {"cwd": str(tmp_path), "limit": 100, "archived": False})


async def test_a_session_that_was_loaded_with_other_rights_gets_the_agents(tmp_path: Path) -> None:
    async with room(tmp_path, approval_mode="read-only") as made:
        made.answers("thread/settings/update", {})
        made.room.session.methods = frozenset({"thread/settings/update"})
        loaded = {"thread": {"id": OTHER}, "approvalPolicy": "never", "sandbox": {"type": "dangerFullAccess"}}
        made.answers("thread/resume", loaded)
        made.server.answers["thread/turns/list"] = lambda params: {"data": []}
        await sessions.resume(made.room, Args({"sessionId": OTHER}))
        (given,) = [params for method, params in made.server.calls if method == "thread/settings/update"]
        assert given["permissions"] == "relay-runner-read-only"
        mine = {"sandbox": {"type": "readOnly"}, "activePermissionProfile": {"id": "relay-runner-read-only"}}
        made.answers("thread/resume", {**loaded, **mine})
        await sessions.resume(made.room, Args({"sessionId": OTHER}))
        assert [method for method, _ in made.server.calls].count("thread/settings/update") == 1
