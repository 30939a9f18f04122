"""What an agent inherits."""

from __future__ import annotations

from relay_runner import config


def test_what_an_enclosing_agent_left_is_scrubbed() -> None:
    environ = {
        "PATH": "/bin",
        "AGENT_RELAY_TOKEN": "secret",
        "AGENT_RELAY_PROVIDER_SESSION_ID": "s",
        "CLAUDECODE": "1",
        "CLAUDE_CODE_ENTRYPOINT": "cli",
        "CLAUDE_CODE_USE_BEDROCK": "1",
        "TMUX": "/tmp/x",
        "RELAY_RUNNER_HOME": "/h",
    }
    assert config.scrub(environ) == {"PATH": "/bin", "CLAUDE_CODE_USE_BEDROCK": "1", "RELAY_RUNNER_HOME": "/h"}
