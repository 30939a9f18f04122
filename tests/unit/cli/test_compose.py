"""Which relay, which provider, which terminals."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from relay_runner import config
from relay_runner.cli import compose
from relay_runner.cli.compose import RelayAccess
from relay_runner.errors import ConfigError, RelayUnauthorized, RelayUnavailable
from relay_runner.relay.endpoint import fixed

pytestmark = pytest.mark.anyio


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> config.Paths:
    monkeypatch.setenv("RELAY_RUNNER_HOME", str(tmp_path))
    monkeypatch.delenv(config.INSIDE_VARIABLE, raising=False)
    return config.paths()


@pytest.mark.parametrize("name", list(compose.PROVIDERS))
def test_every_provider_can_be_made_and_knows_its_name(name: str) -> None:
    assert compose.provider(name).name == name


def test_a_program_without_a_provider_is_pointed_to_generic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "aider").write_text("#!/bin/sh\n")
    (tmp_path / "aider").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="start generic -- aider"):
        compose.check_provider("aider")
    with pytest.raises(ConfigError, match="use claude, codex, generic, demo"):
        compose.check_provider("xyzzy")


async def test_inside_an_agent_the_control_server_is_the_relay(
    paths: config.Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "URL": "http://127.0.0.1:9",
        "TOKEN": "secret",
        "ID": "bob",
        "PROVIDER_SESSION_ID": "s",
    }.items():
        monkeypatch.setenv(f"AGENT_RELAY_{name}", value)
    found = await compose.access(paths, config.Settings(relay_url="http://elsewhere"))
    assert (found.url, found.token, found.inside) == ("http://127.0.0.1:9", "secret", True)
    assert compose.me(found) == "agent:bob"
    with pytest.raises(ConfigError, match="an agent cannot stop an agent"):
        compose.refuse_inside("stop an agent")


async def test_a_configured_relay_is_used_as_it_is(paths: config.Paths) -> None:
    settings = config.Settings(relay_url="https://relay.example.org/", relay_token="t")
    found = await compose.access(paths, settings)
    assert (found.url, found.token, found.embedded) == ("https://relay.example.org", "t", False)
    flagged = await compose.access(paths, settings, url="http://127.0.0.1:5")
    assert flagged.url == "http://127.0.0.1:5"


@pytest.mark.parametrize("url", ["relay", "ftp://x", "http://", "//host"])
async def test_a_bad_url_is_a_person_s_mistake(paths: config.Paths, url: str) -> None:
    with pytest.raises(ConfigError, match="not a relay URL"):
        await compose.access(paths, config.Settings(), url=url)


@pytest.mark.parametrize(("token", "which"), [("", "a"), ("old", "another")])
def test_a_relay_elsewhere_that_does_not_take_the_token_says_what_to_do(token: str, which: str) -> None:
    far = RelayAccess("http://far:1", token, fixed("http://far:1", token), embedded=False)
    said = f"the relay at http://far:1 wants {which} token: {compose.TOKEN_HINT}"
    with pytest.raises(RelayUnauthorized) as caught, compose.token_wanted(far):
        raise RelayUnauthorized("no token", status=401)
    assert str(caught.value) == said


@pytest.mark.parametrize(("embedded", "status"), [(True, 401), (False, 403)])
def test_other_refusals_are_left_as_they_are(embedded: bool, status: int) -> None:
    found = RelayAccess("http://far:1", "t", fixed("http://far:1", "t"), embedded=embedded)
    with pytest.raises(RelayUnauthorized, match="needs operator"), compose.token_wanted(found):
        raise RelayUnauthorized("needs operator", status=status)


def token(claims: object) -> str:
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"head.{body}.signature"


@pytest.mark.parametrize(
    ("given", "who"),
    [
        (token({"sub": "person:alice"}), "person:alice"),
        (token({}), None),
        (token([]), None),
        ("", None),
        ("a.b", None),
        ("opaque-token", None),
    ],
)
def test_who_a_token_speaks_for(given: str, who: str | None) -> None:
    assert compose.me(compose.RelayAccess("http://x", given, fixed("http://x", given), embedded=True)) == who


def test_without_tmux_a_person_is_told(paths: config.Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    _, said = compose.terminals(paths)
    assert said is not None and said.startswith("tmux is not installed")
    _, chosen = compose.terminals(paths, tmux=False)
    assert chosen is not None and "not installed" not in chosen


async def test_a_relay_that_does_not_run_is_started_only_where_that_is_wanted(paths: config.Paths) -> None:
    with pytest.raises(RelayUnavailable, match="does not run"):
        await compose.access(paths, config.Settings(), start=False)
    assert not paths.relay_json.exists()
