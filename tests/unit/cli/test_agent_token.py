"""Which token a runner gets, from what is configured, and what it keeps of it for the next start."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

from relay_runner.cli import agent_token, compose
from relay_runner.cli.agent_token import AgentToken
from relay_runner.cli.choices import Request
from relay_runner.errors import RelayUnauthorized, RelayUnavailable
from relay_runner.protocol.tokens import (
    AGENT_PROFILE,
    INTERACTIVE_PROFILE,
    OPERATOR,
    PERSON_PROFILE,
    SEND,
    TokenGrant,
    TokenRequest,
)
from relay_runner.relay.endpoint import fixed
from relay_runner.relay.memory.relay import MemoryRelay
from relay_runner.runner.options import RunnerOptions
from tests.unit.cli.conftest import URL, World

pytestmark = pytest.mark.anyio


@pytest.fixture
def token(world: World, tmp_path: Path) -> AgentToken:
    world.paths.agent("bob").root.mkdir(parents=True)
    return AgentToken(Request(RunnerOptions(agent_id="bob", provider="demo", cwd=tmp_path, headless=True)), world.paths)


async def configured(world: World, monkeypatch: pytest.MonkeyPatch, **more: Any) -> TokenGrant:
    """Let a token that somebody made be the one in the settings."""
    values = {"subject": "agent:bob", "scopes": ("agent:bob", SEND), "profile_id": AGENT_PROFILE, "ttl_s": 3600.0}
    grant = await world.person.issue_token(TokenRequest(**{**values, **more}))

    async def access(*_: object, **__: object) -> compose.RelayAccess:
        return compose.RelayAccess(URL, grant.token, fixed(URL, grant.token), embedded=False)

    def relay_at(found: compose.RelayAccess) -> MemoryRelay:
        relay = MemoryRelay.of_agent("nobody", world.hub)
        relay.use_token(found.token)
        return relay

    monkeypatch.setattr(compose, "access", access)
    monkeypatch.setattr(compose, "relay_at", relay_at)
    return grant


def turn(world: World, seconds: float) -> None:
    """Let time pass on the relay."""
    now = world.hub.clock() + seconds
    for part in (world.hub, world.hub.board):
        part.clock = lambda: now  # type: ignore[method-assign]


async def test_an_agent_gets_a_token_of_its_own(world: World, token: AgentToken) -> None:
    _, grant = await token.first(lambda text: None)
    assert (grant.subject, grant.scopes, grant.profile_id) == ("agent:bob", ("agent:bob", "send"), "provider-agent")


async def test_an_agent_that_a_person_looks_at_has_a_profile_of_its_own(world: World, tmp_path: Path) -> None:
    shown = AgentToken(Request(RunnerOptions(agent_id="bob", provider="demo", cwd=tmp_path)), world.paths)
    _, grant = await shown.first(lambda text: None)
    assert grant.profile_id == INTERACTIVE_PROFILE


async def test_a_relay_that_is_not_there_is_asked_again_and_told_once(
    world: World, token: AgentToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_token, "RETRY_S", 0.0)
    works, errors = world.person.issue_token, [RelayUnavailable("gone"), RelayUnavailable("gone")]

    async def call(request: TokenRequest) -> TokenGrant:
        if errors:
            raise errors.pop()
        return await works(request)

    monkeypatch.setattr(world.person, "issue_token", call)
    told: list[str] = []
    await token.first(told.append)
    assert told == ["gone; trying until it answers"]
    errors.append(RelayUnavailable("gone"))
    with pytest.raises(RelayUnavailable):  # one that runs already waits by itself
        await token.another()


async def test_an_operators_token_makes_an_own_one(
    world: World, token: AgentToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    await configured(world, monkeypatch, subject="person:root", scopes=(SEND, OPERATOR), profile_id=PERSON_PROFILE)
    _, grant = await token.obtain()
    assert (grant.subject, grant.profile_id) == ("agent:bob", AGENT_PROFILE)


async def test_the_agents_own_token_is_known_as_that(
    world: World, token: AgentToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = await configured(world, monkeypatch)
    _, grant = await token.obtain()
    assert (grant.token, grant.jti, grant.expires_at) == (mine.token, mine.jti, mine.expires_at)


async def test_a_persons_token_that_may_speak_for_the_agent_is_told_from_its_own(
    world: World, token: AgentToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    await configured(world, monkeypatch, subject="person:ann", profile_id=PERSON_PROFILE)
    assert (await token.obtain())[1].subject == "person:ann"


async def test_a_token_that_may_not_speak_for_the_agent_is_refused_with_what_to_do(
    world: World, token: AgentToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    await configured(world, monkeypatch, subject="agent:eve", scopes=("agent:eve", SEND))
    with pytest.raises(RelayUnauthorized, match="relay token new bob"):
        await token.first(lambda text: None)


async def test_a_wrong_token_is_fatal(world: World, token: AgentToken, monkeypatch: pytest.MonkeyPatch) -> None:
    await configured(world, monkeypatch)
    turn(world, 3 * 3600.0)
    with pytest.raises(RelayUnauthorized):
        await token.first(lambda text: None)


async def test_a_configured_token_that_ended_just_now_is_renewed(
    world: World, token: AgentToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = await configured(world, monkeypatch)
    turn(world, 3600.0 + 60.0)
    assert (await token.obtain())[1].jti != mine.jti


async def test_what_a_configured_token_was_renewed_to_outlives_it(
    world: World, token: AgentToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    await configured(world, monkeypatch)
    _, grant = await token.obtain()
    holder = MemoryRelay.of_agent("nobody", world.hub)
    for _ in range(3):
        turn(world, 3000.0)
        holder.use_token(grant.token)
        grant = await holder.renew_token()
        token.keep(grant)
    file = world.paths.agent("bob").token
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert (await token.obtain())[1] == grant
    await configured(world, monkeypatch)  # another one in the settings
    assert (await token.obtain())[1].jti != grant.jti


async def test_a_token_that_cannot_be_kept_is_used_all_the_same(
    world: World, token: AgentToken, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await configured(world, monkeypatch)
    _, grant = await token.obtain()
    holder = MemoryRelay.of_agent("nobody", world.hub)
    holder.use_token(grant.token)
    world.paths.agent("bob").token.mkdir()
    token.keep(await holder.renew_token())
    assert "cannot be kept" in caplog.text


async def test_a_kept_token_that_cannot_be_read_is_left_alone(
    world: World, token: AgentToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = await configured(world, monkeypatch)
    world.paths.agent("bob").token.write_text("{")
    assert (await token.obtain())[1].jti == mine.jti
