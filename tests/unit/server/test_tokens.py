"""Tokens that were tampered with, outlived, or taken back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import jwt
import pytest

from relay_runner.errors import ProtocolError, RelayRefused, RelayUnauthorized
from relay_runner.protocol.access import Caller
from relay_runner.protocol.tokens import ADMIN, SEND, TokenRequest
from relay_runner.server.core import Core
from relay_runner.server.store.sqlite import SqliteStore

pytestmark = pytest.mark.anyio

ROOT = Caller("person:op", frozenset({SEND, ADMIN}))
REQUEST = TokenRequest(subject="agent:bob", scopes=("agent:bob", SEND), ttl_s=100.0)


async def test_only_our_own_signature_counts(tmp_path: Path) -> None:
    core = Core(SqliteStore(tmp_path / "r.db"))
    async with core.running():
        good = (await core.tokens.mint(REQUEST)).token
        claims = jwt.decode(good, options={"verify_signature": False})
        head, body, signature = good.split(".")
        forged = [
            jwt.encode(claims, "k" * 32, algorithm="HS256"),
            jwt.encode(claims, None, algorithm="none"),
            f"{head}.{body}.{signature[::-1]}",
            f"{head}.{body}.",
            jwt.encode({**claims, "scopes": "admin"}, core.store.signing_key, algorithm="HS256"),
            jwt.encode({"sub": "agent:bob"}, core.store.signing_key, algorithm="HS256"),
            jwt.encode({**claims, "jti": "unknown"}, core.store.signing_key, algorithm="HS256"),
            jwt.encode({**claims, "exp": "soon"}, core.store.signing_key, algorithm="HS256"),
        ]
        for token in forged:
            with pytest.raises(RelayUnauthorized):
                await core.tokens.caller(token)
        assert (await core.tokens.caller(good)).subject == "agent:bob"


async def test_a_token_outlives_the_process_but_not_its_time(tmp_path: Path) -> None:
    clock = [1000.0]
    first = Core(SqliteStore(tmp_path / "r.db", lambda: clock[0]), lambda: clock[0])
    async with first.running():
        grant = await first.tokens.mint(REQUEST)
    second = Core(SqliteStore(tmp_path / "r.db", lambda: clock[0]), lambda: clock[0])
    async with second.running():
        assert (await second.tokens.caller(grant.token)).jti == grant.jti
        clock[0] += 100.0
        with pytest.raises(RelayUnauthorized) as caught:
            await second.tokens.caller(grant.token)
        assert caught.value.code == "token-expired"
        caller = await second.tokens.caller(grant.token, grace_s=600.0)
        renewed = await second.tokens.renew(caller)
        assert renewed.expires_at == clock[0] + 100.0 and renewed.profile_id == grant.profile_id


async def test_a_revocation_takes_the_successors_along_and_survives_a_restart(tmp_path: Path) -> None:
    core = Core(SqliteStore(tmp_path / "r.db"))
    async with core.running():
        grant = await core.tokens.mint(REQUEST)
        other = await core.tokens.mint(REQUEST)
        child = await core.tokens.renew(await core.tokens.caller(grant.token))
        grandchild = await core.tokens.renew(await core.tokens.caller(child.token))
        await core.tokens.caller(grandchild.token)
        await core.store.revoke_token(child.jti)
        for token in (child.token, grandchild.token):
            with pytest.raises(RelayUnauthorized):
                await core.tokens.caller(token)
        await core.tokens.caller(grant.token)
    again = Core(SqliteStore(tmp_path / "r.db"))
    async with again.running():
        with pytest.raises(RelayUnauthorized) as caught:
            await again.tokens.caller(grandchild.token)
        assert caught.value.code == "token-revoked"
        await again.tokens.caller(other.token)
        await again.tokens.retire(other.token)
        await again.tokens.retire("nonsense")
        with pytest.raises(RelayUnauthorized):
            await again.tokens.caller(other.token)


@pytest.mark.parametrize(
    ("subject", "scopes", "ttl_s"),
    [
        ("bob", (SEND,), 60.0),
        ("tag:x", (SEND,), 60.0),
        ("agent:bob", ("everything",), 60.0),
        ("agent:bob", ("tag:x",), 60.0),
        ("agent:bob", (SEND,), 0.0),
        ("agent:bob", (SEND,), 1e12),
    ],
)
async def test_a_request_that_makes_no_sense_is_refused(
    tmp_path: Path, subject: str, scopes: tuple[str, ...], ttl_s: float
) -> None:
    core = Core(SqliteStore(tmp_path / "r.db"))
    async with core.running():
        with pytest.raises((RelayRefused, ProtocolError)):
            await core.tokens.issue(ROOT, TokenRequest(subject=subject, scopes=scopes, ttl_s=ttl_s))


async def test_no_successor_comes_after_a_revocation(tmp_path: Path) -> None:
    core = Core(SqliteStore(tmp_path / "r.db"))
    async with core.running():
        grant = await core.tokens.mint(REQUEST)
        made = [grant.token]
        enough = asyncio.Event()

        async def renew_on() -> None:
            while True:
                made.append((await core.tokens.renew(await core.tokens.caller(made[-1]))).token)
                if len(made) >= 10:
                    enough.set()

        async def revoke() -> None:
            await enough.wait()
            await core.store.revoke_token(grant.jti)

        admitted = await core.tokens.caller(grant.token)
        refused, *_ = await asyncio.gather(*(renew_on() for _ in range(5)), revoke(), return_exceptions=True)
        assert isinstance(refused, RelayUnauthorized)
        with pytest.raises(RelayUnauthorized):
            await core.tokens.renew(admitted)
        for token in made:
            with pytest.raises(RelayUnauthorized):
                await core.tokens.caller(token)


async def test_whoever_lost_their_token_since_makes_no_other(tmp_path: Path) -> None:
    core = Core(SqliteStore(tmp_path / "r.db"))
    async with core.running():
        request = TokenRequest(subject="person:op", scopes=(SEND, ADMIN), ttl_s=100.0)
        grant = await core.tokens.mint(request)
        admitted = await core.tokens.caller(grant.token)
        await core.store.revoke_token(grant.jti)
        with pytest.raises(RelayUnauthorized):
            await core.tokens.issue(admitted, REQUEST)
