"""Nothing of a profile is dropped without a word."""

from __future__ import annotations

import pytest

from relay_runner.cli import compose
from relay_runner.protocol.profiles import Fate, McpServer, Profile, asked, profile_of
from relay_runner.providers.projection import APPLIED, ignored, partly, project

ALL = profile_of(
    {
        "provider": "x",
        "home": "isolated",
        "relay": {"context": False, "broad": False},
        "instructions": {"repo": False, "global": False, "system": "s", "append": ["a"]},
        "skills": ["/s"],
        "plugins": ["/p"],
        "mcp": {"mode": "none", "servers": {"x": {"command": "c"}}},
        "hooks": {"mode": "none"},
        "permissions": {"mode": "ask", "allow": ["a"], "deny": ["d"]},
    },
    "all",
)


def test_what_a_provider_says_and_what_it_does_not() -> None:
    says = {"skills": APPLIED, "plugins": partly("half"), "home": ignored("it has none")}
    told = {one.key: (one.fate, one.why) for one in project(ALL, says, "never heard of it")}
    assert set(told) == set(asked(ALL))
    assert told["skills"] == (Fate.APPLIED, None) and told["plugins"] == (Fate.PARTLY, "half")
    assert told["home"] == (Fate.IGNORED, "it has none") and told["mcp.mode"] == (Fate.IGNORED, "never heard of it")
    for key in ("provider", "relay.broad", "permissions.mode"):
        assert told[key] == (Fate.APPLIED, None), "the runner does that itself"


@pytest.mark.parametrize("name", ["claude", "codex"])
@pytest.mark.parametrize(("mode", "fate"), [("read-only", Fate.IGNORED), ("ask", Fate.APPLIED)])
def test_a_read_only_agent_has_no_servers_and_says_so(name: str, mode: str, fate: Fate) -> None:
    wanted = profile_of({"permissions": {"mode": mode}, "mcp": {"servers": {"x": {"url": "http://x"}}}}, "x")
    told = {one.key: one.fate for one in compose.provider(name).project(wanted)}
    assert told["mcp.servers"] is fate


@pytest.mark.parametrize("name", sorted(compose.PROVIDERS))
def test_every_provider_answers_for_everything(name: str) -> None:
    provider = compose.provider(name)
    report = provider.project(ALL)
    assert [one.key for one in report] == list(asked(ALL))
    assert all(one.why for one in report if one.fate is not Fate.APPLIED)
    assert provider.project(Profile()) == ()
    (server,) = provider.project(profile_of({"mcp": {"servers": {"x": {"url": "http://x"}}}}, "x"))
    assert server.key == "mcp.servers" and McpServer(url="http://x").url
