from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from relay_runner.errors import ProviderNotReady, ProviderRefused
from relay_runner.providers.base import LaunchSpec
from relay_runner.providers.codex import session
from relay_runner.providers.codex.client import opened
from tests.contract.providers import launch_spec
from tests.unit.providers.codex.server import THREAD, FakeServer, listening

pytestmark = pytest.mark.anyio
LOST = "no rollout found for thread id"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[FakeServer]:
    async with listening(tmp_path / "s") as fake:
        yield fake


@pytest.fixture
def spec(tmp_path: Path) -> LaunchSpec:
    return launch_spec(tmp_path, headless=True)


async def joined(
    tmp_path: Path, spec: LaunchSpec, thread_id: str | None = None, *, adopted: bool = False
) -> session.Session:
    async with opened(tmp_path / "s", lambda method, params: None, pytest.fail) as client:
        return await session.join(client, spec, thread_id, adopted=adopted)


async def test_a_new_thread_is_named_at_once(tmp_path: Path, server: FakeServer, spec: LaunchSpec) -> None:
    found = await joined(tmp_path, replace(spec, label="Ann's"))
    assert (found.thread_id, found.source, found.turns) == (THREAD, "start", [])
    assert server.called("thread/name/set") == [{"threadId": THREAD, "name": "Ann's"}]
    (params,) = server.called("thread/start")
    assert params["developerInstructions"].startswith("The user's own.\n\n")
    assert found.upgrades == {"old": "new"}
    (skills,) = server.called("skills/extraRoots/set")
    assert skills["extraRoots"][0].endswith("codex/skills")


async def test_a_known_thread_is_resumed_with_its_newest_turn(
    tmp_path: Path, server: FakeServer, spec: LaunchSpec
) -> None:
    server.turns = [{"id": "t1", "status": "inProgress", "items": []}]
    found = await joined(tmp_path, spec, THREAD)
    assert (found.source, found.turns) == ("resume", server.turns)
    assert not server.called("thread/start")


async def test_a_lost_thread_is_replaced_by_a_fresh_one(tmp_path: Path, server: FakeServer, spec: LaunchSpec) -> None:
    server.answers["thread/resume"] = lambda params: f"{LOST} {params['threadId']}"
    assert (await joined(tmp_path, spec, THREAD)).source == "fresh"


async def test_an_archived_thread_is_taken_out_again(tmp_path: Path, server: FakeServer, spec: LaunchSpec) -> None:
    resume = server.answers["thread/resume"]
    server.answers["thread/unarchive"] = lambda params: {}
    server.answers["thread/resume"] = lambda params: (
        resume(params) if server.called("thread/unarchive") else f"session {THREAD} is archived. Run ..."
    )
    assert (await joined(tmp_path, spec, THREAD)).source == "resume"


@pytest.mark.parametrize("text", [f"thread {THREAD} already has an active writer", "something else"])
async def test_a_thread_that_cannot_be_had_is_not_replaced(
    tmp_path: Path, server: FakeServer, spec: LaunchSpec, text: str
) -> None:
    server.answers["thread/resume"] = lambda params: text
    with pytest.raises(ProviderNotReady) as error:
        await joined(tmp_path, spec, THREAD)
    assert "--fresh" in str(error.value.hint)
    assert not server.called("thread/start")


async def test_settings_that_the_server_refuses_say_so(tmp_path: Path, server: FakeServer, spec: LaunchSpec) -> None:
    server.answers["thread/start"] = lambda params: "failed to load configuration: Model provider `nope` not found"
    with pytest.raises(ProviderNotReady, match="nope"):
        await joined(tmp_path, spec)


async def test_an_adopted_server_knows_its_thread(tmp_path: Path, server: FakeServer, spec: LaunchSpec) -> None:
    assert (await joined(tmp_path, spec, adopted=True)).source == "resume"
    server.answers["thread/loaded/list"] = lambda params: {"data": []}
    assert (await joined(tmp_path, spec, adopted=True)).source == "start"


async def test_nobody_is_logged_in(tmp_path: Path, server: FakeServer, spec: LaunchSpec) -> None:
    server.answers["account/read"] = lambda params: {"account": None, "requiresOpenaiAuth": True}
    with pytest.raises(ProviderNotReady, match="not logged in"):
        await joined(tmp_path, spec)
    assert await joined(tmp_path, replace(spec, headless=False)), "a person can do it in the terminal"


async def test_whether_it_takes_context_is_asked_and_not_guessed(
    tmp_path: Path, server: FakeServer, spec: LaunchSpec
) -> None:
    assert (await joined(tmp_path, spec)).context
    server.answers["turn/start"] = lambda params: f"thread not found: {params['threadId']}"
    assert not (await joined(tmp_path, spec)).context, "it would be dropped without a word"
    server.answers["turn/start"] = lambda params: "Invalid request: unknown variant `untrusted`"
    assert not (await joined(tmp_path, spec)).context


async def test_a_version_that_lacks_what_is_not_needed(tmp_path: Path, server: FakeServer, spec: LaunchSpec) -> None:
    for method in ("skills/extraRoots/set", "account/read", "config/read", "model/list"):
        del server.answers[method]
    assert (await joined(tmp_path, spec)).upgrades == {}


async def test_the_methods_are_those_that_the_server_lists(
    tmp_path: Path, server: FakeServer, spec: LaunchSpec
) -> None:
    assert (await joined(tmp_path, spec)).methods == frozenset()  # this server does not tell them
    server.answers[session.NO_SUCH_METHOD] = lambda params: (
        "Invalid request: unknown variant `relayRunner/probe`, expected one of `initialize`, `thread/start`"
    )
    assert (await joined(tmp_path, spec)).methods == {"initialize", "thread/start"}


async def test_another_thread_keeps_what_was_found_out_and_one_that_is_lost_is_refused(
    tmp_path: Path, server: FakeServer, spec: LaunchSpec
) -> None:
    async with opened(tmp_path / "s", lambda method, params: None) as client:
        old = await session.join(client, spec, None, adopted=False)
        old.methods = frozenset({"initialize"})
        new = await session.another(client, spec, old, None)
        assert (new.source, new.context, new.upgrades, new.methods) == ("start", True, old.upgrades, old.methods)
        assert server.called("thread/start")[0] == server.called("thread/start")[1] == old.settings
        server.answers["thread/resume"] = lambda params: LOST
        with pytest.raises(ProviderRefused, match="there is no session"):
            await session.another(client, spec, old, "01a1fb2e-0000-7000-8000-00000000cafe")
