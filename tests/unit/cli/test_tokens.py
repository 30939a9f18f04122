"""Tokens as a person makes, lists and revokes them."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest

from relay_runner import config
from relay_runner.cli import app
from relay_runner.relay.memory.relay import MemoryRelay
from tests.unit.cli.conftest import World


def test_a_token_is_shown_once_and_works(world: World) -> None:
    out, err = world.run("relay", "token", "new", "bob", "--ttl", "2h")
    relay = MemoryRelay.of_agent("nobody", world.hub)
    relay.use_token(out.strip())
    told = asyncio.run(relay.who_am_i())
    assert (told.subject, told.profile_id, set(told.scopes)) == ("agent:bob", "provider-agent", {"agent:bob", "send"})
    assert told.expires_at - told.issued_at == 7200.0
    assert told.jti in err and out.strip() not in err
    listed = world.run("relay", "token", "list")[0]
    assert told.jti[:12] in listed and out.strip() not in listed
    head, *rows = listed.splitlines()
    assert head.split() == ["TOKEN", "FOR", "STATE", "ISSUED", "EXPIRES", "MAY"]
    row = next(row for row in rows if row.startswith(told.jti[:12]))
    assert "agent:bob" in row and " ago " in row and " in " in row and row.endswith("  send")


def test_a_token_may_go_into_a_private_file_instead(world: World, tmp_path: Path) -> None:
    file = tmp_path / "bob.token"
    told = world.json("relay", "token", "new", "person:ann", "--scope", "operator", "--out", str(file))
    assert "token" not in told and told["file"] == str(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    relay = MemoryRelay.of_agent("nobody", world.hub)
    relay.use_token(file.read_text().strip())
    assert set(asyncio.run(relay.who_am_i()).scopes) == {"send", "operator"}


def test_a_token_that_cannot_be_written_is_not_left_behind(world: World, tmp_path: Path) -> None:
    _, err = world.run("relay", "token", "new", "bob", "--out", str(tmp_path / "no" / "file"), code=2)
    assert "cannot write" in err
    assert [row["state"] for row in world.json("relay", "token", "list", "--all") if row["subject"] == "agent:bob"] == [
        "revoked"
    ]


def test_a_token_is_revoked_by_the_start_of_its_id_with_all_its_heirs(world: World) -> None:
    made = [world.json("relay", "token", "new", "bob") for _ in range(2)]
    holder = MemoryRelay.of_agent("nobody", world.hub)
    holder.use_token(made[0]["token"])
    heir = asyncio.run(holder.renew_token())
    assert world.json("relay", "token", "revoke", made[0]["jti"][:8])["successors"] == [heir.jti]
    states = {row["jti"]: row["state"] for row in world.json("relay", "token", "list", "--all")}
    assert [states[jti] for jti in (made[0]["jti"], heir.jti, made[1]["jti"])] == ["revoked", "revoked", "good"]
    good = {row["jti"] for row in world.json("relay", "token", "list")}
    assert made[1]["jti"] in good and made[0]["jti"] not in good


def test_a_start_that_is_short_or_means_none_revokes_nothing(world: World) -> None:
    made = world.json("relay", "token", "new", "bob")
    assert "could be" in world.run("relay", "token", "revoke", made["jti"][:2], code=2)[1]
    assert "no token" in world.run("relay", "token", "revoke", "nothing", code=2)[1]
    assert made["jti"] in {row["jti"] for row in world.json("relay", "token", "list")}


def test_the_token_in_use_is_not_revoked_by_itself(world: World) -> None:
    mine = asyncio.run(world.person.who_am_i()).jti
    assert "this command uses" in world.run("relay", "token", "revoke", mine, code=2)[1]


@pytest.mark.parametrize("words", [("bob", "--ttl", "soon"), ("bob", "--ttl", "0h"), ("tag:all",), ("Not An Id",)])
def test_what_makes_no_sense_is_told(world: World, words: tuple[str, ...]) -> None:
    assert app.run(["relay", "token", "new", *words]) in (1, 2)


@pytest.mark.parametrize("words", [("new", "bob"), ("list",), ("revoke", "x")])
def test_an_agent_keeps_its_hands_off(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(config.INSIDE_VARIABLE, "s")
    assert app.run(["relay", "token", *words]) == 2


def test_a_token_that_was_renewed_is_listed_while_it_still_works(world: World) -> None:
    made = world.json("relay", "token", "new", "bob")
    holder = MemoryRelay.of_agent("nobody", world.hub)
    holder.use_token(made["token"])
    heir = asyncio.run(holder.renew_token())
    states = {row["jti"]: row["state"] for row in world.json("relay", "token", "list")}
    assert (states[made["jti"]], states[heir.jti]) == ("replaced", "good")
