"""What an agent inherits."""

from __future__ import annotations

import pytest

from relay_runner import config


def test_what_an_enclosing_agent_left_is_scrubbed() -> None:
    environ = {
        "PATH": "/bin",
        "AGENT_RELAY_TOKEN": "secret",
        "AGENT_RELAY_PROVIDER_SESSION_ID": "s",
        "CLAUDECODE": "1",
        "CLAUDE_CODE_ENTRYPOINT": "cli",
        "CLAUDE_CODE_USE_BEDROCK": "1",
        "CLAUDE_CODE_MESSAGING_SOCKET": "/tmp/cc-socks/1.sock",
        "CLAUDE_CODE_MESSAGING_TOKEN": "t",
        "CLAUDE_CODE_CHILD_NOTES_DIR": "/tmp/notes",
        "CLAUDE_CODE_SESSION_ATTENDED": "1",
        "CLAUDE_EFFORT": "medium",
        "CLAUDE_PID": "1",
        "CLAUDE_PLUGIN_ROOT": "/p",
        "TMUX": "/tmp/x",
        "RELAY_RUNNER_HOME": "/h",
    }
    assert config.scrub(environ) == {"PATH": "/bin", "CLAUDE_CODE_USE_BEDROCK": "1", "RELAY_RUNNER_HOME": "/h"}


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, "127.0.0.1,localhost,::1"),
        ({"NO_PROXY": "corp.example, 10.0.0.0/8"}, "corp.example,10.0.0.0/8,127.0.0.1,localhost,::1"),
        ({"NO_PROXY": "a", "no_proxy": "b localhost"}, "a,b,localhost,127.0.0.1,::1"),
        ({"no_proxy": "*"}, "*"),
        ({"NO_PROXY": " , "}, "127.0.0.1,localhost,::1"),
    ],
)
def test_loopback_is_kept_from_a_proxy_beside_what_the_user_excludes(given: dict[str, str], wanted: str) -> None:
    assert config.unproxied(given) == {"NO_PROXY": wanted, "no_proxy": wanted}


def test_what_several_places_exclude_counts_once() -> None:
    assert config.unproxied({"NO_PROXY": "a"}, {"no_proxy": "a,b"})["NO_PROXY"] == "a,b,127.0.0.1,localhost,::1"
