"""What a profile may say, what it stands on, and what is said of a wrong one."""

from __future__ import annotations

from typing import Any

import pytest

from relay_runner.errors import ConfigError
from relay_runner.protocol.profiles import NO_PROFILE, asked, merged, profile_of


def test_what_is_not_said_is_left_as_it_is() -> None:
    assert profile_of({}, "x") == NO_PROFILE and asked(NO_PROFILE) == ()
    assert asked(profile_of({"name": "n", "base": "b", "home": "host", "relay": {"broad": True}}, "x")) == ()


def test_everything_that_is_asked_for_is_named() -> None:
    table: dict[str, Any] = {
        "provider": "claude",
        "home": "isolated",
        "relay": {"context": False, "broad": False},
        "instructions": {"repo": False, "global": False, "system": "s", "append": ["a"]},
        "skills": ["/s"],
        "plugins": ["/p"],
        "mcp": {"mode": "only", "servers": {"x": {"command": "c"}}},
        "hooks": {"mode": "none"},
        "permissions": {"mode": "ask", "allow": ["a"], "deny": ["d"]},
    }
    assert set(asked(profile_of(table, "x"))) == {
        "provider", "home", "relay.context", "relay.broad", "instructions.repo", "instructions.global",
        "instructions.system", "instructions.append", "skills", "plugins", "mcp.mode", "mcp.servers", "hooks.mode",
        "permissions.mode", "permissions.allow", "permissions.deny",
    }  # fmt: skip


def test_a_profile_stands_on_its_base() -> None:
    base = {
        "home": "isolated",
        "skills": ["/a"],
        "instructions": {"append": ["one"], "system": "old", "repo": False},
        "mcp": {"servers": {"x": {"command": "c", "args": ["1"]}, "y": {"command": "d"}}},
    }
    own = {
        "skills": ["/b"],
        "instructions": {"append": ["two"], "system": "new"},
        "mcp": {"servers": {"x": {"args": ["2"]}}},
    }
    assert merged(base, own) == {
        "home": "isolated",
        "skills": ["/a", "/b"],
        "instructions": {"append": ["one", "two"], "system": "new", "repo": False},
        "mcp": {"servers": {"x": {"command": "c", "args": ["2"]}, "y": {"command": "d"}}},
    }
    assert merged(base, {}) == base and merged({}, own) == own


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"nam": "x"}, ["nam"]),
        ({"relay": {"contxt": False}}, ["contxt", "relay"]),
        ({"relay": {"context": "no"}}, ["bool", "relay.context"]),
        ({"skills": "x"}, ["array", "skills"]),
        ({"mcp": {"mode": "some"}}, ["some", "mcp.mode"]),
        ({"home": "elsewhere"}, ["elsewhere", "home"]),
        ({"mcp": {"servers": {"x": {}}}}, ["x", "command or a url"]),
        ({"mcp": {"servers": {"x": {"command": "c", "url": "u"}}}}, ["x", "not both"]),
        ({"mcp": {"servers": {"x": {"cmd": "c"}}}}, ["cmd", "mcp.servers"]),
    ],
)
def test_a_wrong_one_is_one_line_that_says_where(table: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        profile_of(table, "a.toml")
    text = str(caught.value)
    assert "\n" not in text and all(word in text for word in ["a.toml", *words]), text
